//! One line of a firmware record, as the kernel prints it.
//!
//! Printed by drivers/firmware/efi/cper.c for GHES and BERT
//! (drivers/acpi/apei) and for the extended log (drivers/acpi/acpi_extlog.c);
//! the wordings from 3.10 to 6.x. Lines of one record bear the same number
//! in braces; those of the boot error record bear none.

use super::{Kind, Severity};

/// No line is longer; the rest is not looked at.
const LINE_MAX: usize = 256;

/// A line, and the record it says it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The number in braces; none in the boot error record.
    pub number: Option<u32>,
    /// What it says.
    pub what: What<'a>,
}

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// A record begins.
    Begin,
    /// There are no more records of the previous boot.
    End,
    /// How bad all of it is.
    Severity(Severity),
    /// A section begins, which is so bad.
    Section(Option<Severity>),
    /// What the section is about.
    Kind(Kind),
    /// A value of the section, by its name if it has one.
    Value(&'a str, &'a str),
    /// Nothing that is needed.
    Words,
}

const MARK: &str = "[Hardware Error]: ";

/// Whether a line may be of such a record: cheap, and nearly always no.
pub fn may_be(text: &[u8]) -> bool {
    match text.first() {
        Some(b'{') => text.get(1).is_some_and(u8::is_ascii_digit),
        Some(b'[') => {
            text.starts_with(b"[Hardware Error]:  ")
                || text.starts_with(b"[Hardware Error]: event severity: ")
        }
        Some(b'B') => text.starts_with(b"BERT: "),
        _ => false,
    }
}

/// Whether the kernel stops for a record (`__ghes_panic`).
pub fn is_panic(text: &[u8]) -> bool {
    // Nearly always no, without a call of memcmp(3).
    text.first() == Some(&b'K')
        && text.starts_with(b"Kernel panic - not syncing: Fatal hardware error")
}

/// What the line says, if it is of a record.
pub fn parse(text: &[u8]) -> Option<Line<'_>> {
    if !may_be(text) {
        return None;
    }
    let text = &text[..text.len().min(LINE_MAX)];
    let text = std::str::from_utf8(text).ok()?;
    if let Some(rest) = text.strip_prefix("BERT: ") {
        let what = if rest.starts_with("Error records from previous boot") {
            What::Begin
        } else if rest.starts_with("Total records found")
            || rest.contains("Skipped ")
        {
            What::End
        } else {
            return parse(rest.as_bytes());
        };
        return Some(Line { number: None, what });
    }
    let (number, rest) = match text.strip_prefix('{') {
        Some(rest) => {
            let (number, rest) = rest.split_once('}')?;
            (Some(number.parse().ok()?), rest)
        }
        None => (None, text),
    };
    let what = what(rest.strip_prefix(MARK)?.trim());
    Some(Line { number, what })
}

fn what(text: &str) -> What<'_> {
    if text.starts_with("Hardware error from APEI")
        || text.starts_with("APEI generic hardware error status")
        || text.starts_with("Hardware error detected on CPU")
    {
        return What::Begin;
    }
    // Before 4.2: `section: 0, severity: 1, recoverable`.
    if text.starts_with("section: ") {
        let word = text.rsplit(", ").next().unwrap_or_default();
        return What::Section(severity(word));
    }
    let Some((key, value)) = text.split_once(": ") else {
        return What::Value("", text);
    };
    let value = value.trim();
    match key {
        "event severity" => severity(value).map_or(What::Words, What::Severity),
        // Before 4.2: `severity: 2, corrected`.
        "severity" => value
            .split_once(", ")
            .and_then(|(_, word)| severity(word))
            .map_or(What::Words, What::Severity),
        "section_type" => What::Kind(kind(value)),
        "section type" => What::Kind(Kind::Other),
        _ if key.starts_with("Error ") && key.ends_with(", type") => {
            What::Section(severity(value))
        }
        _ => What::Value(key, value),
    }
}

/// cper_severity_strs
fn severity(word: &str) -> Option<Severity> {
    match word.trim() {
        "info" => Some(Severity::Info),
        "corrected" => Some(Severity::Corrected),
        "recoverable" => Some(Severity::Recoverable),
        "fatal" => Some(Severity::Fatal),
        _ => None,
    }
}

fn kind(text: &str) -> Kind {
    match text {
        "memory error" => Kind::Memory,
        "PCIe error" => Kind::Pcie,
        "ARM processor error" => Kind::Arm,
        "general processor error" | "IA32/X64 processor error" => {
            Kind::Processor
        }
        _ => Kind::Other,
    }
}
