//! One section of a firmware record: what failed, and what its lines say of
//! it. What makes no sense is not kept: a label has a label's letters, a
//! function a function's shape.

use super::{Kind, Severity};
use crate::parts::ids::is_pci_address;

/// The longest text that is kept of a line.
const TEXT_MAX: usize = 64;

/// How long the place of a memory error becomes at most: eight numbers.
pub(super) const PLACE_MAX: usize = 96;

/// One section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// How bad.
    pub severity: Severity,
    /// What it is about.
    pub kind: Kind,
    /// What firmware calls the part; its own words, or junk.
    pub fru: Option<String>,
    /// The DIMM's labels in the firmware's tables.
    pub dimm: Option<String>,
    /// Else where its entry is in those tables.
    pub handle: Option<u16>,
    /// Node, card, module, rank, as firmware counts them.
    pub place: String,
    /// The physical address.
    pub address: Option<u64>,
    /// The number of the kind of error.
    pub error_type: Option<u32>,
    /// The kind of error in words.
    pub error: Option<String>,
    /// The PCIe function, such as `0000:3b:00.0`.
    pub device: Option<String>,
    /// Its error status registers.
    pub correctable: Option<u32>,
    /// The same of what could not be corrected.
    pub uncorrectable: Option<u32>,
    /// The processor: APIC id, or MPIDR.
    pub processor: Option<u64>,
}

impl Section {
    pub(super) fn new(severity: Severity) -> Section {
        Section {
            severity,
            kind: Kind::Other,
            fru: None,
            dimm: None,
            handle: None,
            place: String::new(),
            address: None,
            error_type: None,
            error: None,
            device: None,
            correctable: None,
            uncorrectable: None,
            processor: None,
        }
    }

    /// The page of its address, where it is about memory.
    pub fn page(&self) -> Option<u64> {
        let address = self.address.filter(|_| self.kind == Kind::Memory);
        address.map(|address| address >> 12)
    }

    /// The name of the DIMM: that of the firmware's tables, else what
    /// firmware calls it if that is a slot.
    pub fn label(&self) -> Option<&str> {
        let fru = self.fru.as_deref().filter(|fru| is_slot(fru));
        self.dimm.as_deref().or(fru)
    }

    /// Takes a value that a line of it gives.
    pub(super) fn set(&mut self, key: &str, value: &str) {
        let hex = || {
            let value = value.split([',', ' ']).next().unwrap_or_default();
            u64::from_str_radix(value.strip_prefix("0x")?, 16).ok()
        };
        let register = || hex().and_then(|n| u32::try_from(n).ok());
        self.guess(key, value);
        match key {
            "fru_text" => self.fru = text(value),
            "physical_address" | "physical address" => self.address = hex(),
            "error_type" | "Error Structure Type" => self.set_error(value),
            "DIMM location" => self.set_dimm(value),
            "device_id" => {
                let device = is_pci_address(value).then_some(value);
                self.device = device.map(str::to_ascii_lowercase);
            }
            "aer_cor_status" => self.correctable = register(),
            "aer_uncor_status" => self.uncorrectable = register(),
            "Local APIC_ID" | "processor_id" => self.processor = hex(),
            "Multiprocessor Affinity Register (MPIDR)" => {
                self.processor = hex();
            }
            // `cache error`, on a line of its own.
            "" if value.ends_with(" error") => self.error = text(value),
            // `node: 1 card: 2 module: 0 rank: 1 …`, and before 4.2 a line
            // for each.
            "node" | "card" | "module" | "rank" => {
                self.add_place(&format!("{key}: {value}"));
            }
            "" if value.starts_with("node:") => self.add_place(value),
            _ => {}
        }
    }

    /// What it is about, by values that only such sections have, where the
    /// line that tells it was lost.
    fn guess(&mut self, key: &str, value: &str) {
        if self.kind != Kind::Other {
            return;
        }
        self.kind = match key {
            "physical_address" | "DIMM location" | "node" => Kind::Memory,
            "" if value.starts_with("node:") => Kind::Memory,
            "device_id" => Kind::Pcie,
            "Local APIC_ID" => Kind::Processor,
            _ => return,
        };
    }

    /// `3, multi-bit ECC` of memory; `cache error` of a processor.
    fn set_error(&mut self, value: &str) {
        let (number, words) = match value.split_once(", ") {
            Some((number, words)) => (number.parse().ok(), words),
            None => (None, value),
        };
        // A GUID stands there first; the words are on the next line.
        if !words.contains('-') || words.contains(' ') {
            self.error = text(words);
        }
        self.error_type = number;
    }

    /// `DIMM location: P0_Node1 DIMM_A1`, or where to look it up.
    fn set_dimm(&mut self, value: &str) {
        match value.split_once("DMI handle: ") {
            Some((_, handle)) => {
                let digits = handle.trim().strip_prefix("0x");
                let handle = digits
                    .and_then(|digits| u16::from_str_radix(digits, 16).ok());
                // Not provided, and unknown (SMBIOS 7.18).
                let none = [0, 0xfffe, 0xffff];
                self.handle = handle.filter(|handle| !none.contains(handle));
            }
            None => self.dimm = text(value).filter(|label| is_label(label)),
        }
    }

    fn add_place(&mut self, pairs: &str) {
        for (key, value) in pairs_of(pairs) {
            let known = ["node", "card", "module", "rank"].contains(&key);
            let piece = format!("{key} {value}");
            if known && self.place.len() + piece.len() < PLACE_MAX {
                if !self.place.is_empty() {
                    self.place.push_str(", ");
                }
                self.place.push_str(&piece);
            }
        }
    }
}

/// `node:1 card:2`, `node: 1 card: 2`
fn pairs_of(text: &str) -> Vec<(&str, u32)> {
    let mut words = text.split([' ', ':']).filter(|word| !word.is_empty());
    let mut pairs = Vec::new();
    while let Some(key) = words.next() {
        let Some(value) = words.next() else { break };
        if let Ok(value) = value.parse() {
            pairs.push((key, value));
        }
    }
    pairs
}

fn text(value: &str) -> Option<String> {
    let good = |c: char| c.is_ascii_graphic() || c == ' ';
    let text: String =
        value.chars().filter(|c| good(*c)).take(TEXT_MAX).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn is_label(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || " _#./-".contains(c))
}

/// Whether what firmware calls a part is a slot's label: `B2`, `DIMM_A1`,
/// `PROC 1 DIMM 3`, `P1-DIMMA1`. It is free text, and often junk.
pub fn is_slot(fru: &str) -> bool {
    if !is_label(fru) {
        return false;
    }
    let mut letters = fru.chars();
    let letter = letters.next().is_some_and(|c| c.is_ascii_uppercase());
    let rest = letters.as_str();
    let digits = (1..=2).contains(&rest.len())
        && rest.bytes().all(|b| b.is_ascii_digit());
    if letter && digits {
        return true;
    }
    let Some((_, behind)) = fru.split_once("DIMM") else { return false };
    let behind = behind.trim_start_matches([' ', '_', '-']);
    let digit = behind.bytes().any(|b| b.is_ascii_digit());
    let first = behind.chars().next();
    digit && first.is_some_and(|c| c.is_ascii_uppercase() || c.is_numeric())
}
