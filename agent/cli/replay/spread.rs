//! Journal entries that stand on several lines, or in a list, as one line
//! each: `journalctl -o json-pretty`, a list of JSON objects, and `journalctl
//! -o verbose`. Pure.
//!
//! Every line that goes in comes out as one line, empty where its text has
//! become part of another, so that numbers stay those of the log.

use serde::de::IgnoredAny;

/// An object is given up, and its lines taken as they are, when it is longer:
/// journald's own limit of a field is half of it (`journal_json_escape`).
const OBJECT_MAX: usize = 128 * 1024;

/// The lines of a log, as they come.
#[derive(Debug, Default)]
pub struct Spread {
    /// The lines of an object that is still open.
    held: Vec<Vec<u8>>,
    /// How many bytes they have.
    size: usize,
    /// Whether the line before belonged to an entry of `-o verbose`.
    verbose: bool,
}

impl Spread {
    /// Takes the next line; what is complete with it goes to `out`.
    pub fn take(&mut self, line: &[u8], out: &mut Vec<Vec<u8>>) {
        if !self.held.is_empty() {
            return self.within(line, out);
        }
        if opens(line) {
            self.hold(line);
            return;
        }
        if let Some(object) = listed(line) {
            out.push(object.to_vec());
        } else if let Some(field) = self.field(line) {
            out.push(field);
        } else {
            out.push(line.to_vec());
        }
    }

    /// The log has ended: what is open was no object.
    pub fn end(&mut self, out: &mut Vec<Vec<u8>>) {
        self.size = 0;
        out.append(&mut self.held);
    }

    fn hold(&mut self, line: &[u8]) {
        self.size += line.len() + 1;
        self.held.push(line.to_vec());
    }

    /// A line of an object that is open.
    fn within(&mut self, line: &[u8], out: &mut Vec<Vec<u8>>) {
        self.hold(line);
        let closes = matches!(line.trim_ascii(), b"}" | b"}," | b"}]");
        if closes {
            let whole = self.held.join(&b' ');
            let object = listed(&whole).unwrap_or(&whole);
            if serde_json::from_slice::<IgnoredAny>(object).is_err() {
                return self.end(out);
            }
            let before = self.held.len() - 1;
            out.extend(std::iter::repeat_n(Vec::new(), before));
            out.push(object.to_vec());
            self.held.clear();
            self.size = 0;
        } else if self.size > OBJECT_MAX {
            self.end(out);
        }
    }

    /// A line of `-o verbose` as `-o export` has it.
    fn field(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        if let Some(cursor) = cursor(line) {
            self.verbose = true;
            return Some([b"__CURSOR=", cursor].concat());
        }
        if !self.verbose {
            return None;
        }
        let Some(field) = line.strip_prefix(b"    ") else {
            self.verbose = false;
            // Whatever this is, the entry before has ended.
            return line.starts_with(b"-- ").then(Vec::new);
        };
        let name = field.iter().take_while(|b| {
            b.is_ascii_uppercase() || b.is_ascii_digit() || **b == b'_'
        });
        let name = name.count();
        match field.get(name) {
            Some(b'=') if name > 0 => Some(field.to_vec()),
            // The further lines of a long message.
            _ => Some(b"_FURTHER=".to_vec()),
        }
    }
}

/// Whether a list or an object begins that does not end on this line.
fn opens(line: &[u8]) -> bool {
    matches!(line.trim_ascii(), b"{" | b"[{" | b",{")
}

/// An object without the commas and brackets of the list that it is in.
fn listed(line: &[u8]) -> Option<&[u8]> {
    let text = line.trim_ascii();
    if matches!(text, b"[" | b"]") {
        return Some(b"");
    }
    let inner = text.strip_prefix(b"[").or_else(|| text.strip_prefix(b","));
    let inner = inner.unwrap_or(text);
    let end = inner.strip_suffix(b"]").or_else(|| inner.strip_suffix(b","));
    let inner = end.unwrap_or(inner).trim_ascii();
    let object = inner.starts_with(b"{") && inner.ends_with(b"}");
    object.then_some(inner)
}

/// The cursor at the end of an entry's first line: `Mon 2026-01-02
/// 15:04:05.123456 UTC [s=…;i=…;b=…;m=…;t=…;x=…]`.
fn cursor(line: &[u8]) -> Option<&[u8]> {
    let line = line.trim_ascii_end().strip_suffix(b"]")?;
    let at = line.windows(4).position(|w| w == b" [s=")?;
    let date = line[..at].split(|b| *b == b' ').nth(1)?;
    let cursor = &line[at + 2..];
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"=;".contains(b);
    let is_date = date.len() == 10 && date[4] == b'-' && date[7] == b'-';
    (is_date && cursor.iter().all(plain)).then_some(cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(log: &str) -> Vec<String> {
        let (mut spread, mut out) = (Spread::default(), Vec::new());
        for line in log.lines() {
            spread.take(line.as_bytes(), &mut out);
        }
        spread.end(&mut out);
        assert_eq!(out.len(), log.lines().count(), "line by line");
        let text = |line| String::from_utf8(line).unwrap();
        out.into_iter().map(text).collect()
    }

    #[test]
    fn an_object_over_several_lines_stands_on_its_last() {
        let log = "{\n\t\"A\" : \"}\",\n\t\"B\" : \"2\"\n}\n{\n}";
        let all = gathered(log);
        assert_eq!(all[..3], ["", "", ""]);
        assert_eq!(all[3], "{ \t\"A\" : \"}\", \t\"B\" : \"2\" }");
        assert_eq!(all[4..], ["", "{ }"]);
    }

    #[test]
    fn objects_in_a_list_are_freed_of_it() {
        let log = "[\n{\"A\":1},\n{\"A\":2}\n]";
        assert_eq!(gathered(log), ["", "{\"A\":1}", "{\"A\":2}", ""]);
        assert_eq!(gathered("[{\"A\":1}]"), ["{\"A\":1}"]);
        assert_eq!(gathered("[{\n\"A\":1\n},\n{\n}]")[2], "{ \"A\":1 }");
    }

    #[test]
    fn a_verbose_entry_is_told_field_by_field() {
        let log = "Mon 2026-11-23 01:41:51.000000 CET [s=a1;i=1;b=2;m=3;t=4;x=5]\n    \
                   PRIORITY=3\n    MESSAGE=one\n            two\n-- Boot 1 --";
        let told = [
            "__CURSOR=s=a1;i=1;b=2;m=3;t=4;x=5",
            "PRIORITY=3",
            "MESSAGE=one",
            "_FURTHER=",
            "",
        ];
        assert_eq!(gathered(log), told);
    }

    #[test]
    fn what_only_looks_so_is_left_as_it_is() {
        for log in [
            "{\nno object",
            "{\n  state 1\n  state 2\n}",
            "    MESSAGE=indented",
            "[    1.0] {",
            "[1] Timeout, retry]",
            "a b [s=1]",
        ] {
            assert_eq!(gathered(log), log.lines().collect::<Vec<_>>());
        }
        let endless = "{\n".to_owned() + &"x\n".repeat(OBJECT_MAX);
        assert_eq!(gathered(&endless)[1], "x");
    }
}
