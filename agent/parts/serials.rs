//! Serial numbers that are none: what firmware writes where nobody entered a
//! number. A fault filed under such a number would follow every part that
//! lacks one.

/// The longest serial number, model or place kept; the longest real one, an
/// NVMe qualified name, is 223 bytes (NVMe Base Specification 2.0, 4.5).
pub const TEXT_MAX: usize = 96;

/// What firmware vendors leave in their tables, in lower case, without what
/// is neither letter nor digit.
const PLACEHOLDERS: &[&str] = &[
    "tobefilledbyoem",
    "notspecified",
    "notprovided",
    "notavailable",
    "notapplicable",
    "notpresent",
    "notinstalled",
    "notsupported",
    "none",
    "null",
    "na",
    "nil",
    "unknown",
    "undefined",
    "uninitialized",
    "unspecified",
    "invalid",
    "empty",
    "default",
    "defaultstring",
    "noserial",
    "nodimm",
    "nomodule",
    "nomoduleinstalled",
    "oem",
    "serial",
    "serialnumber",
    "systemserialnumber",
    "chassisserialnumber",
    "baseboardserialnumber",
    "123456789",
    "1234567890",
    "0123456789",
    "123456789abc",
    "0123456789abcdef",
    "123456789012",
    "12345678",
    "1234567",
    "123456",
    "01234567",
    "012345678",
    "012345678912",
    "fillbyoem",
    "filledbyoem",
    "badindex",
    "outofspec",
    "xxx",
];

/// Prefixes of numbered placeholders: `SerNum0`, `Array1_PartNumber0`, …
const NUMBERED: &[&str] = &[
    "sernum",
    "serialnum",
    "assettagnum",
    "partnum",
    "manufacturer",
    "modulepartnumber",
    "dimm",
    "array",
];

/// Text of a table or of sysfs as it may be shown: printable, single blanks,
/// bounded; `None` if nothing is left.
pub fn tidy(text: &str) -> Option<String> {
    let mut out = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        // A blank at the end would be one too many.
        if out.len() + 1 >= TEXT_MAX {
            return Some(out);
        }
        if !out.is_empty() {
            out.push(' ');
        }
        for c in word.chars() {
            if out.len() + c.len_utf8() > TEXT_MAX {
                return Some(out.trim_end().to_owned());
            }
            // What is no text was a broken table.
            out.push(if c == char::REPLACEMENT_CHARACTER { '?' } else { c });
        }
    }
    (!out.is_empty()).then_some(out)
}

/// Its letters and digits, in lower case.
pub fn plain(text: &str) -> String {
    let plain = text.bytes().filter(u8::is_ascii_alphanumeric);
    plain.map(|b| char::from(b.to_ascii_lowercase())).collect()
}

/// A serial number, if the text is one.
pub fn serial(text: &str) -> Option<String> {
    let text = tidy(text)?;
    let plain = plain(&text);
    if plain.len() < 3 || text.contains('?') {
        return None;
    }
    // 00000000, 0xFFFFFFFF, XXXXXXXX, 0-0-0-0, naa.0000000000000000.
    let bare = ["0x", "naa", "eui"];
    let bare = bare.iter().find_map(|prefix| plain.strip_prefix(prefix));
    let bare = bare.unwrap_or(&plain);
    let first = bare.chars().next();
    if bare.chars().all(|c| Some(c) == first) {
        return None;
    }
    if PLACEHOLDERS.contains(&plain.as_str()) {
        return None;
    }
    let numbered = NUMBERED.iter().any(|prefix| {
        let rest = plain.strip_prefix(prefix);
        let rest = rest.map(|r| r.trim_start_matches("ser"));
        rest.is_some_and(|r| {
            r.len() <= 3 && r.bytes().all(|b| b.is_ascii_digit())
        })
    });
    // `A1_SerNum0`: AMI puts the slot first.
    let of_slot = ["sernum", "serialnum", "assettagnum"].iter().any(|word| {
        plain.rsplit_once(word).is_some_and(|(slot, rest)| {
            slot.len() <= 8
                && rest.len() <= 3
                && rest.bytes().all(|b| b.is_ascii_digit())
        })
    });
    let arrayed = plain.starts_with("array") && plain.contains("num");
    (!numbered && !arrayed && !of_slot).then_some(text)
}

/// A model or part number: any text that is no placeholder.
pub fn model(text: &str) -> Option<String> {
    let text = tidy(text)?;
    let plain = plain(&text);
    let none = plain.is_empty() || PLACEHOLDERS.contains(&plain.as_str());
    (!none).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_firmware_writes_for_nothing_is_no_serial_number() {
        for text in [
            "",
            "  ",
            "To Be Filled By O.E.M.",
            "To be filled by O.E.M.",
            "Not Specified",
            "NO DIMM",
            "N/A",
            "00000000",
            "0x00000000",
            "eui.0000000000000000",
            "FFFFFFFF",
            "xxxxxxxx",
            "SerNum0",
            "A1_SerNum0",
            "DIMM1_SerNum12",
            "Array1_SerialNumber0",
            "System Serial Number",
            "Default string",
            "0123456789",
            "1",
            "..............",
            "\u{fffd}\u{fffd}ab12",
        ] {
            assert_eq!(serial(text), None, "{text:?}");
        }
    }

    #[test]
    fn real_serial_numbers_are_kept_as_they_stand() {
        for text in [
            "S4EWNX0M123456",
            "3A1B9C04",
            "ZC1 2345",
            "naa.5000c500a1b2c3d4",
            "0c:42:a1:00:00:01",
            "02A1012301",
        ] {
            assert_eq!(serial(text).as_deref(), Some(text));
        }
        let padded = "S3YANX0K   \0\0";
        assert_eq!(serial(padded).as_deref(), Some("S3YANX0K"));
    }

    #[test]
    fn hostile_text_stays_printable_and_short() {
        let text = format!("\u{1b}[2J{}", "é".repeat(500));
        let tidy = tidy(&text).unwrap();
        assert!(tidy.len() <= TEXT_MAX && !tidy.contains('\u{1b}'));
    }

    #[test]
    fn a_text_that_is_full_at_the_end_of_a_word_gets_no_blank() {
        for length in TEXT_MAX - 2..=TEXT_MAX {
            let word = "x".repeat(length);
            let tidy = tidy(&format!("{word} y")).unwrap();
            assert!(tidy.len() <= TEXT_MAX, "{length}");
            assert_eq!(tidy.trim_end(), tidy, "{length}");
        }
    }
}
