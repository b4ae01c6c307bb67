//! One record of `/dev/kmsg`, parsed. Pure.
//!
//! `prefix,seq,usec,flag[,more…];text\n KEY=value\n`
//! (Documentation/ABI/testing/dev-kmsg). The prefix is
//! `(facility << 3) | level`; every byte below 0x20, from 0x7f, and the
//! backslash stand as `\xNN`, so a newline within the text is `\x0a`.

use std::borrow::Cow;

/// One record, borrowed from the read buffer, still escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The log level, 0 to 7.
    pub level: u8,
    /// 0 for the kernel; user space cannot write that.
    pub facility: u32,
    /// The record's number since the boot.
    pub seq: u64,
    /// Microseconds of the kernel's local clock when it was printed.
    pub usec: u64,
    /// Whether it continues a record that could not be appended to.
    pub continues: bool,
    /// Who printed it (`T12`, `C3`), empty if the kernel doesn't tell.
    pub caller: &'a [u8],
    /// The text, escaped.
    pub text: &'a [u8],
    /// Whether the text has a backslash, which is nearly never.
    pub escaped: bool,
    /// SUBSYSTEM=, escaped, empty if there is none.
    pub subsystem: &'a [u8],
    /// DEVICE=, escaped, empty if there is none.
    pub device: &'a [u8],
}

/// Why a record could not be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// There is no `;`.
    #[error("record has no ';' after its prefix")]
    NoText,
    /// A number is missing, or too large, or no number.
    #[error("record has no valid {0}")]
    Number(&'static str),
    /// There is no flag.
    #[error("record has no flag")]
    NoFlag,
}

/// Parses what one read(2) gave.
///
/// # Errors
/// When it is no record; nothing of it can be trusted then.
pub fn parse(raw: &[u8]) -> Result<Record<'_>, Malformed> {
    taken_apart(raw).map_err(|error| match memchr::memchr(b';', raw) {
        Some(_) => error,
        None => Malformed::NoText,
    })
}

fn taken_apart(raw: &[u8]) -> Result<Record<'_>, Malformed> {
    let (prefix, rest) = number(raw).ok_or(Malformed::Number("prefix"))?;
    let (seq, rest) = number(rest).ok_or(Malformed::Number("sequence"))?;
    let (usec, rest) = number(rest).ok_or(Malformed::Number("time"))?;
    let facility =
        u32::try_from(prefix >> 3).map_err(|_| Malformed::Number("prefix"))?;
    // Nearly always one letter is all that stands before the text.
    let ends = match rest {
        [_, b';', ..] => Some(1),
        _ => memchr::memchr(b';', rest),
    };
    let ends = ends.ok_or(Malformed::NoText)?;
    let (flag, more) = split(&rest[..ends], b',');
    let rest = &rest[ends + 1..];
    let special = memchr::memchr2(b'\n', b'\\', rest);
    let escaped = special.is_some_and(|at| rest[at] == b'\\');
    let newline = match special {
        Some(at) if escaped => {
            memchr::memchr(b'\n', &rest[at..]).map(|n| at + n)
        }
        at => at,
    };
    let (text, dictionary) = match newline {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (rest, &b""[..]),
    };
    let mut record = Record {
        level: (prefix & 7) as u8,
        facility,
        seq,
        usec,
        // `+` was how kernels up to 4.9 marked a further fragment.
        continues: match flag {
            [b'-', ..] => false,
            [b'c' | b'+', ..] => true,
            [] => return Err(Malformed::NoFlag),
            // A flag of a newer kernel: unknown, so nothing is joined.
            _ => false,
        },
        caller: b"",
        text,
        escaped,
        subsystem: b"",
        device: b"",
    };
    if !more.is_empty() {
        let mut fields = more.split(|b| *b == b',');
        record.caller = fields
            .find_map(|field| field.strip_prefix(b"caller="))
            .unwrap_or_default();
    }
    if !dictionary.is_empty() {
        for line in dictionary.split(|b| *b == b'\n') {
            if let Some(value) = line.strip_prefix(b" SUBSYSTEM=") {
                record.subsystem = value;
            } else if let Some(value) = line.strip_prefix(b" DEVICE=") {
                record.device = value;
            }
        }
    }
    Ok(record)
}

/// The decimal number before the next comma, and what follows it.
fn number(head: &[u8]) -> Option<(u64, &[u8])> {
    /// So many digits always fit.
    const FIT: usize = 19;
    let mut value: u64 = 0;
    let mut at = 0;
    while let Some(digit @ 0..=9) = head.get(at).map(|b| b.wrapping_sub(b'0')) {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    if at == 0 || head.get(at) != Some(&b',') {
        return None;
    }
    if at > FIT {
        value = std::str::from_utf8(&head[..at]).ok()?.parse().ok()?;
    }
    Some((value, &head[at + 1..]))
}

fn split(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    match memchr::memchr(at, text) {
        Some(position) => (&text[..position], &text[position + 1..]),
        None => (text, b""),
    }
}

/// The text without its escapes, written to `buffer` only if it has any. A
/// backslash that begins no escape stays: the kernel prints none.
pub fn unescape<'a>(text: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    let Some(first) = memchr::memchr(b'\\', text) else {
        return text; // nearly always
    };
    buffer.clear();
    buffer.extend_from_slice(&text[..first]);
    let mut rest = &text[first..];
    while let Some((&byte, after)) = rest.split_first() {
        match after {
            [b'x', high, low, after @ ..] if byte == b'\\' => {
                if let (Some(high), Some(low)) = (hex(*high), hex(*low)) {
                    buffer.push(high << 4 | low);
                    rest = after;
                    continue;
                }
            }
            _ => {}
        }
        buffer.push(byte);
        rest = after;
    }
    buffer
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|d| d as u8)
}

/// The text as the kernel escapes it; what tests and drills write.
pub fn escape(text: &[u8]) -> Cow<'_, [u8]> {
    let plain = |b: &u8| (0x20..0x7f).contains(b) && *b != b'\\';
    if text.iter().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len() + 16);
    for byte in text {
        if plain(byte) {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_with_everything_is_read() {
        let raw = b"3,1234,98765,-,caller=T10,new=1;nvme 0000:04:00.0: \
            off\\x0anow\n SUBSYSTEM=pci\n DEVICE=+pci:0000:04:00.0\n";
        let record = parse(raw).unwrap();
        assert_eq!((record.level, record.facility), (3, 0));
        assert_eq!((record.seq, record.usec), (1234, 98765));
        assert_eq!(record.caller, b"T10");
        assert_eq!(record.subsystem, b"pci");
        assert_eq!(record.device, b"+pci:0000:04:00.0");
        let mut buffer = Vec::new();
        let text = unescape(record.text, &mut buffer);
        assert_eq!(text, b"nvme 0000:04:00.0: off\nnow");
    }

    #[test]
    fn a_record_of_user_space_has_its_facility() {
        let record = parse(b"30,7,1,-;systemd[1]: hello; world\n").unwrap();
        assert_eq!((record.level, record.facility), (6, 3));
        assert_eq!(record.text, b"systemd[1]: hello; world");
        assert!(parse(b"6,8,1,c;more").unwrap().continues);
    }

    #[test]
    fn what_is_no_record_says_why() {
        assert_eq!(parse(b""), Err(Malformed::NoText));
        assert_eq!(parse(b";x"), Err(Malformed::Number("prefix")));
        assert_eq!(parse(b"-6,1,1,-;x"), Err(Malformed::Number("prefix")));
        assert_eq!(parse(b"6,,1,-;x"), Err(Malformed::Number("sequence")));
        assert_eq!(
            parse(b"6,99999999999999999999,1,-;x"),
            Err(Malformed::Number("sequence")),
        );
        assert_eq!(parse(b"6,1,1;x"), Err(Malformed::Number("time")));
        assert_eq!(parse(b"6,1,1,;x"), Err(Malformed::NoFlag));
    }

    #[test]
    fn a_backslash_that_begins_no_escape_stays() {
        let mut buffer = Vec::new();
        assert_eq!(unescape(b"a\\xzz\\", &mut buffer), b"a\\xzz\\");
        assert_eq!(unescape(b"\\x5c\\x41", &mut buffer), b"\\A");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(raw: Vec<u8>) {
            let mut buffer = Vec::new();
            if let Ok(record) = parse(&raw) {
                unescape(record.text, &mut buffer);
            }
            unescape(&raw, &mut buffer);
        }

        #[test]
        fn bytes_of_the_right_alphabet_never_panic(
            raw in "[0-9,;c=\\\\x\n A-Z-]{0,80}",
        ) {
            // Only that it returns.
            let _ = parse(raw.as_bytes());
        }

        #[test]
        fn what_is_written_is_read_back(
            prefix in 0u64..2048, seq: u64, usec: u64, text: Vec<u8>,
            continues: bool, device: Vec<u8>,
        ) {
            let flag = if continues { 'c' } else { '-' };
            let mut raw =
                format!("{prefix},{seq},{usec},{flag};").into_bytes();
            raw.extend_from_slice(&escape(&text));
            raw.extend_from_slice(b"\n DEVICE=");
            raw.extend_from_slice(&escape(&device));
            raw.push(b'\n');
            let record = parse(&raw).unwrap();
            let (mut one, mut two) = (Vec::new(), Vec::new());
            prop_assert_eq!(u64::from(record.level), prefix & 7);
            prop_assert_eq!(u64::from(record.facility), prefix >> 3);
            prop_assert_eq!((record.seq, record.usec), (seq, usec));
            prop_assert_eq!(record.continues, continues);
            prop_assert_eq!(unescape(record.text, &mut one), &text[..]);
            prop_assert_eq!(unescape(record.device, &mut two), &device[..]);
        }
    }
}
