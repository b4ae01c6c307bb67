//! What terminals, editors and mails put into a log that is handed on. Pure.

/// U+FEFF in UTF-8, which some editors begin a file with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Takes it away from a line; `first` of its log.
pub fn clean(line: &mut Vec<u8>, first: bool) {
    if first && line.starts_with(BYTE_ORDER_MARK) {
        line.drain(..BYTE_ORDER_MARK.len());
    }
    // A record of the kernel has no such byte: it stands as `\x1b`.
    if line.contains(&0x1b) {
        *line = without_colours(line);
    }
    let quoted = line.len() - unquoted(line).len();
    line.drain(..quoted);
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

    fn cleaned(line: &str, first: bool) -> String {
        let mut line = line.as_bytes().to_vec();
        clean(&mut line, first);
        String::from_utf8(line).unwrap()
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
            assert_eq!(cleaned(pasted, true), line, "{pasted:?}");
        }
        assert_eq!(cleaned("> EDAC MC0: 1 UE", false), "EDAC MC0: 1 UE");
    }

    #[test]
    fn a_line_of_its_own_stays_as_it_is() {
        for line in [
            "",
            " SUBSYSTEM=pci",
            "               second line of a record",
            "[   12.345678]   indented text",
            "a > b",
            "\u{feff}not the first line",
            "\x1b[2J is more than a colour",
            "\x1b",
        ] {
            assert_eq!(cleaned(line, false), line);
        }
    }
}
