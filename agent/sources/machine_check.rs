//! A decoded machine check as an observation: the same fields, whether its
//! registers came from the tracepoint, the kernel's text or a log file.

use crate::decode::mce::{Decoded, Registers, Tracking, Vendor};
use crate::observation::{HISTORY, Observation, Source, Value};
use crate::time::Timestamp;

/// When a machine check was seen, and how sure that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it happened.
    pub time: Timestamp,
    /// Whether `time` is a reconstruction.
    pub approximate: bool,
    /// Whether a drill put it in.
    pub injected: bool,
    /// Whether it happened before the present boot.
    pub history: bool,
}

/// The texts that the fields borrow.
#[derive(Debug)]
pub struct Texts {
    place: String,
    status: String,
    address: Option<String>,
    page: Option<String>,
}

impl Texts {
    /// The texts of one machine check.
    pub fn of(registers: &Registers, decoded: &Decoded) -> Texts {
        let usable = decoded.address.as_ref().filter(|a| a.usable);
        Texts {
            place: decoded.place_in_words(),
            status: format!("{:016x}", registers.status),
            address: usable.map(|a| format!("{:x}", a.value)),
            page: usable.and_then(|a| a.page()).map(|p| format!("{p:x}")),
        }
    }
}

/// Hands `take` the observation of a machine check.
pub fn observe<T>(
    registers: &Registers,
    decoded: &Decoded,
    seen: Seen,
    take: impl FnOnce(&Observation<'_>) -> T,
) -> T {
    let texts = Texts::of(registers, decoded);
    let fields = fields(registers, decoded, &texts, seen.history);
    take(&Observation {
        patterns: Source::Mce,
        time: seen.time,
        approximate: seen.approximate,
        injected: seen.injected,
        fields: &fields,
    })
}

fn fields<'a>(
    registers: &Registers,
    decoded: &'a Decoded,
    texts: &'a Texts,
    history: bool,
) -> Vec<(&'static str, Value<'a>)> {
    let place = &decoded.place;
    let mut parts = decoded.parts.iter();
    let mut fields = vec![
        ("severity", Value::Word(decoded.severity.word())),
        ("kind", Value::Word(decoded.unit.word())),
        ("error", Value::Text(decoded.summary.as_bytes())),
        ("place", Value::Text(texts.place.as_bytes())),
        ("vendor", Value::Word(vendor(decoded.vendor))),
        ("status", Value::Text(texts.status.as_bytes())),
        ("count", Value::Number(decoded.count as f64)),
        ("overflow", Value::Flag(decoded.overflow)),
        ("poison", Value::Flag(decoded.poison)),
        ("yellow", Value::Flag(decoded.tracking == Some(Tracking::Yellow))),
        ("doubtful", Value::Flag(decoded.is_doubtful())),
        (HISTORY, Value::Flag(history)),
    ];
    let numbers = [
        ("cpu", place.cpu.or(registers.cpu)),
        ("socket", place.socket),
        ("bank", registers.bank.map(u32::from)),
        ("controller", place.controller.map(u32::from)),
        ("channel", place.channel.map(u32::from)),
        ("slot", place.slot.map(u32::from)),
        ("csrow", place.rank.map(u32::from)),
    ];
    for (name, number) in numbers {
        fields.extend(number.map(|n| (name, Value::Number(n.into()))));
    }
    let strings = [
        ("part", parts.next()),
        ("parent", parts.next()),
        ("pci", place.pci.as_ref()),
        ("address", texts.address.as_ref()),
        ("page", texts.page.as_ref()),
    ];
    for (name, text) in strings {
        fields.extend(text.map(|t| (name, Value::Text(t.as_bytes()))));
    }
    if let Some(bank) = &decoded.bank {
        fields.push(("unit", Value::Text(bank.short.as_bytes())));
    }
    if let Some(level) = decoded.code.level {
        fields.push(("level", Value::Word(level.word())));
    }
    if let Some(operation) = decoded.code.operation {
        fields.push(("operation", Value::Word(operation.word())));
    }
    fields
}

fn vendor(vendor: Option<Vendor>) -> &'static str {
    match vendor {
        Some(Vendor::Intel) => "intel",
        Some(Vendor::Amd) => "amd",
        Some(Vendor::Hygon) => "hygon",
        Some(Vendor::Zhaoxin) => "zhaoxin",
        Some(Vendor::Centaur) => "centaur",
        Some(Vendor::Other(_)) | None => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::mce::decode;
    use crate::observation::FieldKind;

    const SEEN: Seen = Seen {
        time: Timestamp(0),
        approximate: false,
        injected: false,
        history: false,
    };

    fn check(registers: &Registers, take: impl FnOnce(&Observation<'_>)) {
        observe(registers, &decode(registers), SEEN, take);
    }

    #[test]
    fn every_field_is_one_of_the_table_and_every_word_one_of_its_words() {
        let statuses = [
            0x8c00_0040_0001_0090u64,
            0xbd80_0000_0010_0134,
            0xdc20_3000_0000_011b,
            0xbe00_0000_0080_0400,
            0x8c40_0040_0001_010a,
            0,
            u64::MAX,
        ];
        let vendors = [None, Some(Vendor::Intel), Some(Vendor::Amd)];
        for (status, vendor) in
            statuses.iter().flat_map(|s| vendors.map(|v| (*s, v)))
        {
            let registers = Registers {
                status,
                vendor,
                bank: Some(7),
                addr: Some(0x1234_5678),
                misc: Some(0x8c),
                ipid: Some(0x96_0005_0f00),
                synd: Some(0x1000),
                mcgcap: Some(0x0f00_0c14),
                cpu: Some(3),
                socket: Some(1),
                cpuid: Some(0x50654),
                ..Registers::default()
            };
            check(&registers, |observation| {
                for (name, value) in observation.fields {
                    let table = Source::Mce.fields();
                    let spec = table.iter().find(|f| f.name == *name);
                    let spec = spec.unwrap_or_else(|| panic!("no {name}"));
                    match (spec.kind, value) {
                        (FieldKind::Word(words), Value::Word(word)) => {
                            assert!(words.contains(word), "{name}: {word}");
                        }
                        (FieldKind::Text, Value::Text(_))
                        | (FieldKind::Number, Value::Number(_))
                        | (FieldKind::Flag, Value::Flag(_)) => {}
                        other => panic!("{name}: {other:?}"),
                    }
                }
            });
        }
    }

    #[test]
    fn what_the_registers_do_not_tell_is_no_field() {
        let registers =
            Registers { status: 0x8c00_0040_0001_0090, ..Default::default() };
        check(&registers, |observation| {
            for name in ["cpu", "socket", "bank", "address", "page", "pci"] {
                assert_eq!(observation.get(name), None, "{name}");
            }
            let part = observation.get("part");
            assert_eq!(part, Some(Value::Text(b"memory/system")));
        });
    }
}
