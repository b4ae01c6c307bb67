//! Names in IPMI: a byte that says type and length, then the text in one of
//! four encodings (IPMI 2.0 43.15 "Type/Length Byte Format"; FRU storage
//! definition, section 13).

/// Type code 00 means Unicode in a sensor record, raw bytes in a FRU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    /// Unicode.
    Unicode,
    /// Bytes without a meaning that is known here: shown in hexadecimal.
    Binary,
}

/// The digits of BCD plus, by nibble.
const BCD_PLUS: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ' ', '-', '.', ':', ',',
    '_',
];

/// Decodes `bytes` as `code` says (bits 7:6 of the type/length byte). The
/// result has no control characters and no blanks or padding at its ends; at
/// most three characters come of one byte, and no field is over 63 bytes.
pub fn decode(code: u8, zero: Zero, bytes: &[u8]) -> String {
    stem(code, zero, bytes).trim().to_owned()
}

/// The same with its blanks: the names of sensors that share a record go on
/// behind them.
pub fn stem(code: u8, zero: Zero, bytes: &[u8]) -> String {
    let text = match code & 3 {
        0 if zero == Zero::Binary => hex(bytes),
        0 => unicode(bytes),
        1 => bcd_plus(bytes),
        2 => six_bit(bytes),
        _ => bytes.iter().map(|b| char::from(*b)).collect(),
    };
    clean(&text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn bcd_plus(bytes: &[u8]) -> String {
    let nibbles = bytes.iter().flat_map(|b| [b >> 4, b & 0xf]);
    nibbles.map(|n| BCD_PLUS[usize::from(n)]).collect()
}

/// Four characters in three bytes, the low bits first; characters from the
/// blank on.
fn six_bit(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 4 / 3 + 1);
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in bytes {
        bits |= u32::from(*byte) << held;
        held += 8;
        while held >= 6 {
            // Six bits fit a byte.
            text.push(char::from(0x20 + (bits & 0x3f) as u8));
            bits >>= 6;
            held -= 6;
        }
    }
    text
}

/// UTF-16, of which the specification does not tell the order of bytes: the
/// one that makes letters. Some BMCs say Unicode and mean ASCII.
fn unicode(bytes: &[u8]) -> String {
    let is_ascii = |b: &u8| (0x20..0x7f).contains(b);
    let body = bytes.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
    if !bytes.len().is_multiple_of(2) || bytes[..body].iter().all(is_ascii) {
        return bytes.iter().map(|b| char::from(*b)).collect();
    }
    let units = |order: fn([u8; 2]) -> u16| -> Vec<u16> {
        bytes.chunks_exact(2).map(|c| order([c[0], c[1]])).collect()
    };
    let (little, big) = (units(u16::from_le_bytes), units(u16::from_be_bytes));
    let latin = |u: &[u16]| u.iter().filter(|u| **u < 0x100).count();
    let chosen = if latin(&big) > latin(&little) { big } else { little };
    String::from_utf16_lossy(&chosen)
}

/// Takes away what a terminal or a label must not see.
fn clean(text: &str) -> String {
    let text = text.trim_matches('\0');
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sdr(code: u8, bytes: &[u8]) -> String {
        decode(code, Zero::Unicode, bytes)
    }

    #[test]
    fn every_encoding_gives_its_text() {
        assert_eq!(sdr(3, b"P1 Temp\xb0"), "P1 Temp°");
        assert_eq!(sdr(1, &[0x12, 0xab, 0xcd, 0xef]), "12 -.:,_");
        assert_eq!(sdr(2, &[0x29, 0xdc, 0xa6]), "IPMI");
        assert_eq!(sdr(0, &[b'F', 0, b'1', 0]), "F1");
        assert_eq!(sdr(0, &[0, b'F', 0, b'1']), "F1");
        assert_eq!(decode(0, Zero::Binary, &[0xab, 1]), "ab01");
    }

    #[test]
    fn ascii_that_is_called_unicode_is_read_as_ascii() {
        assert_eq!(sdr(0, b"FAN1"), "FAN1");
        assert_eq!(sdr(0, b"FAN1\0\0"), "FAN1");
        assert_eq!(sdr(0, b"FAN"), "FAN");
    }

    #[test]
    fn padding_and_control_characters_never_reach_a_name() {
        assert_eq!(sdr(3, b" PSU1 \0\0"), "PSU1");
        assert_eq!(sdr(3, b"a\x1b[2Jb"), "a?[2Jb");
        assert_eq!(sdr(3, b""), "");
    }

    #[test]
    fn six_bit_text_of_any_length_is_read_to_its_last_whole_character() {
        assert_eq!(sdr(2, &[0x29]), "I");
        assert_eq!(sdr(2, &[0x29, 0xdc]), "IP");
    }
}
