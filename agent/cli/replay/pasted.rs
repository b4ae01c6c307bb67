//! What terminals, editors and mails put into a log that is handed on. Pure.

/// U+FEFF in UTF-8, which some editors begin a file with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Takes it away, line by line.
#[derive(Debug, Default)]
pub struct Pasted {
    /// What stands before every line, known from the first that is not
    /// empty. Later ones may begin with anything, what users wrote included.
    before: Option<Vec<u8>>,
}

impl Pasted {
    /// The log's next line as it was before it was handed on.
    pub fn clean(&mut self, line: &mut Vec<u8>) {
        // What a crash, or a log truncated under its writer, leaves.
        let holes = line.iter().take_while(|byte| **byte == 0).count();
        line.drain(..holes);
        if self.before.is_none() && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        // A record of the kernel has no such byte: it stands as `\x1b`.
        if line.contains(&0x1b) {
            *line = without_colours(line);
        }
        if self.before.is_none() && !line.trim_ascii().is_empty() {
            let own = unquoted(line).len();
            self.before = Some(line[..line.len() - own].to_vec());
        }
        if let Some(before) = &self.before
            && line.starts_with(before)
        {
            line.drain(..before.len());
        }
    }
}

/// Without what sets colours and wipes the rest of a line: `ESC [ … m`, `K`
/// (ECMA-48, 8.3.117 and 8.3.41).
fn without_colours(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let inner = after.strip_prefix(b"[").filter(|_| byte == 0x1b);
        let Some(inner) = inner else {
            out.push(byte);
            continue;
        };
        let parameter = |b: &&u8| b.is_ascii_digit() || **b == b';';
        let length = inner.iter().take_while(parameter).count();
        match inner.get(length) {
            Some(b'm' | b'K') => rest = &inner[length + 1..],
            _ => out.push(byte),
        }
    }
    out
}

/// Without the `> ` of an answer, and the blanks before a line's time. Other
/// blanks are the line's own: the kernel indents what belongs to the line
/// before, and the properties of a record.
fn unquoted(line: &[u8]) -> &[u8] {
    let mut text = line;
    while let Some(rest) = text.trim_ascii_start().strip_prefix(b">") {
        text = rest.strip_prefix(b" ").unwrap_or(rest);
    }
    let bare = text.trim_ascii_start();
    let time = bare.strip_prefix(b"[").map(<[u8]>::trim_ascii_start);
    match time.and_then(<[u8]>::first) {
        Some(digit) if digit.is_ascii_digit() => bare,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(lines: &[&str]) -> Vec<String> {
        let mut pasted = Pasted::default();
        let clean = |line: &&str| {
            let mut line = line.as_bytes().to_vec();
            pasted.clean(&mut line);
            String::from_utf8(line).unwrap()
        };
        lines.iter().map(clean).collect()
    }

    #[test]
    fn what_others_put_before_a_line_is_taken_away() {
        let line = "[   12.345678] EDAC MC0: 1 UE";
        for pasted in [
            "\u{feff}[   12.345678] EDAC MC0: 1 UE",
            "    [   12.345678] EDAC MC0: 1 UE",
            "> [   12.345678] EDAC MC0: 1 UE",
            "> > [   12.345678] EDAC MC0: 1 UE",
            "\x1b[32m[   12.345678] \x1b[0m\x1b[31;1mEDAC MC0: 1 UE\x1b[0m\x1b[K",
        ] {
            let again = pasted.trim_start_matches('\u{feff}');
            let both = cleaned(&["", pasted, again]);
            assert_eq!(both[1..], [line, line], "{pasted:?}");
        }
        let quoted = ["> EDAC MC0: 1 UE", ">", "> a > b"];
        assert_eq!(cleaned(&quoted), ["EDAC MC0: 1 UE", ">", "a > b"]);
    }

    #[test]
    fn only_what_stands_before_the_first_line_is_taken_from_others() {
        let log = [
            "Nov 22 03:00:00 host app[12]: x",
            "                              [   12.345678] EDAC MC0: 1 UE",
            "> [   12.345678] EDAC MC0: 1 UE",
            " SUBSYSTEM=pci",
            "\u{feff}not the first line",
            "\x1b[2J is more than a colour",
            "\x1b",
        ];
        assert_eq!(cleaned(&log), log);
    }
}
