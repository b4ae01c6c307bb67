//! The firmware's tables (DMTF DSP0134, SMBIOS 3.7): the few structures that
//! tell what is plugged in where. Pure, on bytes that any firmware may have
//! written; what makes no sense is left out, and a table that ends early is
//! reported, since parts that are not in it are not known to be missing.

use super::serials;

/// The most structures looked at; a large server has some hundred.
const STRUCTURES_MAX: usize = 4096;

/// The end-of-table structure (7.45).
const END: u8 = 127;

/// What the tables tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// The system (type 1).
    pub system: Identity,
    /// The baseboard (type 2).
    pub board: Identity,
    /// Processor sockets with a processor in them (type 4).
    pub processors: Vec<Processor>,
    /// Memory slots with a module in them (type 17).
    pub memory: Vec<Memory>,
    /// Expansion slots (type 9): designation and bus address.
    pub slots: Vec<(String, String)>,
    /// Devices on the board (type 41): designation and bus address.
    pub onboard: Vec<(String, String)>,
    /// Power supplies that are there (type 39).
    pub supplies: Vec<Supply>,
    /// Whether the table was read to its end.
    pub complete: bool,
}

/// Who made something, and its numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Who made it.
    pub maker: Option<String>,
    /// What it is.
    pub product: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
}

/// A processor in its socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processor {
    /// The socket's designation.
    pub socket: Option<String>,
    /// Its version, which names the model.
    pub model: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
}

/// A memory module in its slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The structure's number, by which firmware's records name it.
    pub handle: Option<u16>,
    /// The slot's label.
    pub locator: Option<String>,
    /// The bank's label.
    pub bank: Option<String>,
    /// Who made it.
    pub maker: Option<String>,
    /// Its part number.
    pub model: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Its size in MiB, if the table tells.
    pub mib: Option<u64>,
}

/// A power supply in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Supply {
    /// Where it is.
    pub location: Option<String>,
    /// What it is called.
    pub name: Option<String>,
    /// Who made it.
    pub maker: Option<String>,
    /// Its part number.
    pub model: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
}

/// One structure: its type, its formatted bytes (with the header), and its
/// strings.
struct Structure<'a> {
    kind: u8,
    bytes: &'a [u8],
    strings: Vec<&'a [u8]>,
}

impl Structure<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn word(&self, at: usize) -> Option<u16> {
        let bytes = self.bytes.get(at..at + 2)?;
        Some(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn long(&self, at: usize) -> Option<u32> {
        let b = self.bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    /// The string whose number stands at `at`; numbers begin with 1.
    fn string(&self, at: usize) -> Option<String> {
        let number = usize::from(self.byte(at)?).checked_sub(1)?;
        let bytes = self.strings.get(number)?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    fn text(&self, at: usize) -> Option<String> {
        serials::model(&self.string(at)?)
    }

    fn serial(&self, at: usize) -> Option<String> {
        serials::serial(&self.string(at)?)
    }
}

/// Reads the table; `entry` is the entry point, which tells how long it
/// should be, or empty where it can't be read.
pub fn parse(entry: &[u8], table: &[u8]) -> Tables {
    let mut tables = Tables::default();
    let expected = structures_expected(entry);
    let mut rest = table;
    let mut seen = 0;
    while let Some((structure, after)) = next(rest) {
        rest = after;
        seen += 1;
        if structure.kind == END {
            tables.complete = true;
            break;
        }
        if seen >= STRUCTURES_MAX {
            break;
        }
        take(&mut tables, &structure);
    }
    // Old tables have a number of structures and no end.
    tables.complete |= expected.is_some_and(|n| n == seen && n > 0);
    tables
}

/// The number of structures of a 32-bit entry point (5.2.1, offset 1Ch).
fn structures_expected(entry: &[u8]) -> Option<usize> {
    if !entry.starts_with(b"_SM_") {
        return None;
    }
    let bytes = entry.get(0x1c..0x1e)?;
    Some(usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
}

/// The structure at the start of `bytes`, and what follows it.
fn next(bytes: &[u8]) -> Option<(Structure<'_>, &[u8])> {
    let length = usize::from(*bytes.get(1)?);
    if length < 4 {
        return None;
    }
    let formatted = bytes.get(..length)?;
    let mut rest = &bytes[length..];
    let mut strings = Vec::new();
    // Strings end with a zero each and with another after the last; a
    // structure without any has two zeros (6.1.3).
    loop {
        let end = rest.iter().position(|b| *b == 0)?;
        let (string, after) = (&rest[..end], &rest[end + 1..]);
        if string.is_empty() {
            let after = match strings.is_empty() {
                true => after.strip_prefix(&[0]).unwrap_or(after),
                false => after,
            };
            let kind = bytes[0];
            let structure = Structure { kind, bytes: formatted, strings };
            return Some((structure, after));
        }
        strings.push(string);
        rest = after;
    }
}

fn take(tables: &mut Tables, s: &Structure<'_>) {
    match s.kind {
        1 if tables.system == Identity::default() => {
            tables.system = identity(s);
        }
        2 if tables.board == Identity::default() => {
            tables.board = identity(s);
        }
        4 => tables.processors.extend(processor(s)),
        9 => tables.slots.extend(slot(s)),
        17 => tables.memory.extend(memory(s)),
        39 => tables.supplies.extend(supply(s)),
        41 => tables.onboard.extend(onboard(s)),
        _ => {}
    }
}

fn identity(s: &Structure<'_>) -> Identity {
    Identity { maker: s.text(4), product: s.text(5), serial: s.serial(7) }
}

/// Type 4: central processors (3) whose socket is populated (status bit 6).
fn processor(s: &Structure<'_>) -> Option<Processor> {
    let is_cpu = s.byte(5)? == 3;
    let is_populated = s.byte(0x18)? & 0x40 != 0;
    (is_cpu && is_populated).then(|| Processor {
        socket: s.text(4),
        model: s.text(0x10),
        serial: s.serial(0x20),
    })
}

/// Type 17: size 0 is an empty slot, 7FFFh says that the size stands in the
/// extended field, FFFFh that it is not known; bit 15 set counts KiB.
fn memory(s: &Structure<'_>) -> Option<Memory> {
    // ROM and flash, which firmware lists too, are no modules.
    if s.byte(0x12).is_some_and(|kind| (0x08..=0x0c).contains(&kind)) {
        return None;
    }
    let mib = match s.word(0x0c)? {
        0 => return None,
        0xffff => None,
        0x7fff => s.long(0x1c).map(|size| u64::from(size & 0x7fff_ffff)),
        size if size & 0x8000 != 0 => Some(u64::from(size & 0x7fff) / 1024),
        size => Some(u64::from(size)),
    };
    Some(Memory {
        handle: s.word(2),
        locator: s.text(0x10),
        bank: s.text(0x11),
        maker: s.text(0x17),
        serial: s.serial(0x18),
        model: s.text(0x1a),
        mib,
    })
}

/// Type 9, which has a bus address since release 2.6; FFh means none.
fn slot(s: &Structure<'_>) -> Option<(String, String)> {
    let (segment, bus, devfn) = (s.word(0x0d)?, s.byte(0x0f)?, s.byte(0x10)?);
    address(s.text(4)?, segment, bus, devfn)
}

/// Type 41: bit 7 of the device type says that it is enabled.
fn onboard(s: &Structure<'_>) -> Option<(String, String)> {
    if s.byte(5)? & 0x80 == 0 {
        return None;
    }
    let (segment, bus, devfn) = (s.word(7)?, s.byte(9)?, s.byte(0x0a)?);
    address(s.text(4)?, segment, bus, devfn)
}

fn address(
    name: String,
    segment: u16,
    bus: u8,
    devfn: u8,
) -> Option<(String, String)> {
    let is_none = (bus == 0xff && devfn == 0xff)
        || (segment == 0xffff)
        || (bus == 0 && devfn == 0);
    let (device, function) = (devfn >> 3, devfn & 7);
    let bdf = format!("{segment:04x}:{bus:02x}:{device:02x}.{function}");
    (!is_none).then_some((name, bdf))
}

/// Type 39: bit 1 of the characteristics says that it is there, bit 2 that
/// it is unplugged from the wall.
fn supply(s: &Structure<'_>) -> Option<Supply> {
    let is_present = s.word(0x0e)? & 0b10 != 0;
    is_present.then(|| Supply {
        location: s.text(5),
        name: s.text(6),
        maker: s.text(7),
        serial: s.serial(8),
        model: s.text(0x0a),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A structure: header, body, strings (6.1).
    fn structure(kind: u8, body: &[u8], strings: &[&str]) -> Vec<u8> {
        let length = u8::try_from(body.len() + 4).unwrap();
        let mut out = vec![kind, length, 0, 0];
        out.extend(body);
        for string in strings {
            out.extend(string.as_bytes());
            out.push(0);
        }
        out.extend(if strings.is_empty() { &[0, 0][..] } else { &[0] });
        out
    }

    fn module(size: u16, strings: &[&str]) -> Vec<u8> {
        let mut body = vec![0; 0x28 - 4];
        body[8..10].copy_from_slice(&size.to_le_bytes());
        body[12] = 1;
        body[20] = 2;
        structure(17, &body, strings)
    }

    fn end() -> Vec<u8> {
        structure(END, &[], &[])
    }

    #[test]
    fn modules_are_read_and_empty_slots_are_none() {
        let table = [
            module(0x4000, &["DIMM_A1", "36A1B240"]),
            module(0, &["DIMM_A2", "NO DIMM"]),
            module(0xffff, &["DIMM_B1", "00000000"]),
            module(0x8400, &["DIMM_B2", "4F00AA17"]),
            end(),
        ]
        .concat();
        let tables = parse(b"", &table);
        let found: Vec<_> = tables
            .memory
            .iter()
            .map(|m| (m.locator.as_deref().unwrap(), m.mib, m.serial.is_some()))
            .collect();
        let expected = [
            ("DIMM_A1", Some(16384), true),
            ("DIMM_B1", None, false),
            ("DIMM_B2", Some(1), true),
        ];
        assert_eq!(found, expected);
        assert!(tables.complete);
    }

    #[test]
    fn a_table_without_its_end_is_not_complete_unless_it_has_all() {
        let one = module(0x4000, &["DIMM_A1", "36A1B240"]);
        assert!(!parse(b"", &one).complete);
        assert!(!parse(b"", b"").complete);
        let mut entry = b"_SM_".to_vec();
        entry.resize(0x1f, 0);
        entry[0x1c] = 1;
        assert!(parse(&entry, &one).complete);
        entry[0x1c] = 2;
        assert!(!parse(&entry, &one).complete);
        let cut = &one[..one.len() - 3];
        assert!(parse(&entry, cut).memory.is_empty());
    }

    #[test]
    fn a_bus_address_is_read_as_sysfs_writes_it() {
        let mut body = vec![0; 0x11 - 4];
        body[0] = 1;
        body[0x0f - 4] = 0x3b;
        body[0x10 - 4] = 0x0a;
        let slot = structure(9, &body, &["PCIe Slot 3"]);
        body[0x0f - 4] = 0xff;
        body[0x10 - 4] = 0xff;
        let none = structure(9, &body, &["PCIe Slot 4"]);
        let tables = parse(b"", &[slot, none, end()].concat());
        let expected = ("PCIe Slot 3".into(), "0000:3b:01.2".into());
        assert_eq!(tables.slots, [expected]);
    }

    #[test]
    fn strings_that_are_not_there_are_none() {
        let mut body = vec![0; 0x28 - 4];
        body[8] = 1;
        body[12] = 200;
        let table = [structure(17, &body, &["only one"]), end()].concat();
        let tables = parse(b"", &table);
        assert_eq!(tables.memory.len(), 1);
        assert_eq!(tables.memory[0].locator, None);
    }
}
