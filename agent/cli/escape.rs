//! Text from outside in the output of a command: one cell of a table, one
//! line of a report, one JSON document.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::escape::acts;

/// `text` as it may be shown, on one line and without tabs, which would bend
/// a table.
pub fn escape(text: &str) -> Cow<'_, str> {
    match crate::escape::escape(text.as_bytes()) {
        safe if safe.contains('\t') => safe.replace('\t', "\\t").into(),
        safe => safe,
    }
}

/// JSON text in which nothing acts on a terminal: such characters stand as
/// `\uNNNN`, which every JSON reader takes for the same character. JSON has
/// them only within strings.
pub fn quiet_json(json: &str) -> Cow<'_, str> {
    // Line ends between the tokens of indented JSON are no danger.
    let hot = |c: char| c != '\n' && acts(c);
    if !json.contains(hot) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if hot(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_line_of_text_that_does_nothing() {
        assert_eq!(escape("a\tb\nc"), "a\\tb\\x0ac");
        assert_eq!(escape("disk \u{1b}[2Jsda"), "disk \\x1b[2Jsda");
        assert_eq!(escape("sda\u{202e}adv"), "sda\\u{202e}adv");
        assert_eq!(escape("s\u{200b}da\u{2066}"), "s\\u{200b}da\\u{2066}");
        assert!(matches!(escape("Größe 3 µs: ok"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_keeps_its_meaning_when_it_is_made_quiet() {
        let text = "a\u{9b}b\u{202e}c\u{e0001}d\u{7f}";
        let json = serde_json::to_string_pretty(&[text]).unwrap();
        let quiet = quiet_json(&json);
        assert!(!quiet.contains(|c: char| c != '\n' && acts(c)), "{quiet}");
        let back: Vec<String> = serde_json::from_str(&quiet).unwrap();
        assert_eq!(back, [text]);
    }
}
