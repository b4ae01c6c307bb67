//! Text from outside, made safe to show: a log line must not be able to act
//! on a terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// The text with control characters, bidirectional overrides and invalid
/// UTF-8 written as `\xNN` or `\u{…}`; a tab stays a tab.
pub fn escape(text: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(text)
        && !text.contains(acts)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            if !acts(c) {
                out.push(c);
            } else if c.is_ascii() {
                write!(out, "\\x{:02x}", u32::from(c))
                    .expect("writing to a String cannot fail");
            } else {
                write!(out, "\\u{{{:x}}}", u32::from(c))
                    .expect("writing to a String cannot fail");
            }
        }
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}")
                .expect("writing to a String cannot fail");
        }
    }
    Cow::Owned(out)
}

/// Whether a terminal would act on the character instead of showing it:
/// controls, what turns the order of text around, what has no width, and the
/// separators that some take for a line's end (Unicode Standard 9.1, 23.2).
pub fn acts(c: char) -> bool {
    let hidden = matches!(c,
        '\u{61c}' | '\u{180e}' | '\u{feff}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}');
    (c.is_control() && c != '\t') || hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_written_out() {
        assert_eq!(escape(b"plain \tline"), "plain \tline");
        assert_eq!(escape(b"\x1b[31mred\x07"), "\\x1b[31mred\\x07");
        assert_eq!(escape("a\u{202e}b\u{9b}".as_bytes()), "a\\u{202e}b\\u{9b}");
        assert_eq!(escape(b"\xff\xfe"), "\\xff\\xfe");
    }

    #[test]
    fn ordinary_text_is_not_copied() {
        assert!(matches!(escape(b"EDAC MC0: 1 CE"), Cow::Borrowed(_)));
    }
}
