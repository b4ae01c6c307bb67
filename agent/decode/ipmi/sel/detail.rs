//! What the data bytes of an event say beyond its state, where the
//! specification defines it (IPMI 2.0 table 42-3). What the maker defines is
//! kept as raw bytes and not guessed.

use super::Event;
use crate::decode::ipmi::kinds;
use crate::decode::ipmi::sensor::SPECIFIC;

/// What the data bytes say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// Memory: the module, counted within the sensor's entity.
    pub dimm: Option<u8>,
    /// The slot or connector.
    pub slot: Option<(SlotKind, u8)>,
    /// Another sensor that it is about, by number.
    pub sensor: Option<u8>,
    /// A FRU that it is about, by device id.
    pub fru: Option<u8>,
    /// The rest, in words.
    pub words: Option<&'static str>,
}

/// What sits in a slot (table 42-3, type 21h, second byte of data).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// PCI.
    Pci,
    /// A disk.
    Drive,
    /// What the sensor's entity says.
    OfEntity,
    /// Memory.
    Dimm,
    /// A fan.
    Fan,
    /// PCI Express.
    Pcie,
    /// Another.
    Other,
}

impl SlotKind {
    /// Every word.
    pub const WORDS: [&'static str; 7] =
        ["pci", "drive", "entity", "dimm", "fan", "pcie", "other"];

    fn of(code: u8) -> SlotKind {
        match code {
            0 => SlotKind::Pci,
            1 | 10 | 11 => SlotKind::Drive,
            5 => SlotKind::OfEntity,
            7 => SlotKind::Dimm,
            8 => SlotKind::Fan,
            9 => SlotKind::Pcie,
            _ => SlotKind::Other,
        }
    }

    /// The word.
    pub fn word(self) -> &'static str {
        SlotKind::WORDS[self as usize]
    }
}

impl Event {
    /// What the data bytes say beyond the state.
    pub fn detail(&self) -> Detail {
        let mut detail = Detail::default();
        if self.reading_type != SPECIFIC {
            return detail;
        }
        let [what, second, third] = self.data;
        // 11b says that the byte is the sensor type's own.
        let second = (what >> 6 == 3).then_some(second);
        let third = (what >> 4 & 3 == 3).then_some(third);
        let offset = self.offset();
        let known = |byte: Option<u8>, unspecified| {
            byte.filter(|byte| *byte != unspecified)
        };
        match (self.kind, offset) {
            (kinds::MEMORY, _) => detail.dimm = known(third, 0xff),
            (kinds::EVENT_LOGGING, 0) => detail.dimm = known(second, 0xff),
            (kinds::SLOT, _) => {
                let kind = second.map(|s| SlotKind::of(s & 0x7f));
                detail.slot = kind.zip(known(third, 0xff));
            }
            (0x28, 0 | 4) => detail.sensor = second,
            (0x28, 5) => detail.fru = third,
            (kinds::POWER_SUPPLY, 6) => {
                detail.words = third.and_then(|t| nth(&MISMATCH, t & 0xf));
            }
            (kinds::WATCHDOG, _) => {
                detail.words = second.and_then(|s| nth(&TIMER_USE, s & 0xf));
            }
            (kinds::FIRMWARE_PROGRESS, 0) => {
                detail.words = second.and_then(|s| nth(&POST_ERROR, s));
            }
            (kinds::FIRMWARE_PROGRESS, 1 | 2) => {
                detail.words = second.and_then(|s| nth(&PROGRESS, s));
            }
            _ => {}
        }
        detail
    }
}

fn nth(words: &[&'static str], at: u8) -> Option<&'static str> {
    words.get(usize::from(at)).copied()
}

/// Why a supply's configuration is wrong.
const MISMATCH: [&str; 5] = [
    "vendor mismatch",
    "revision mismatch",
    "processor missing",
    "power supply rating mismatch",
    "voltage rating mismatch",
];

/// Who set the watchdog.
const TIMER_USE: [&str; 6] =
    ["", "BIOS FRB2", "BIOS/POST", "OS load", "SMS/OS", "OEM"];

/// What the firmware found at its start.
const POST_ERROR: [&str; 14] = [
    "unspecified",
    "no system memory installed",
    "no usable system memory",
    "unrecoverable hard disk failure",
    "unrecoverable system board failure",
    "unrecoverable diskette failure",
    "unrecoverable hard disk controller failure",
    "unrecoverable keyboard failure",
    "removable boot media not found",
    "unrecoverable video controller failure",
    "no video device detected",
    "firmware corruption detected",
    "CPU voltage mismatch",
    "CPU speed matching failure",
];

/// How far the firmware is, or hung.
const PROGRESS: [&str; 26] = [
    "unspecified",
    "memory initialization",
    "hard disk initialization",
    "secondary processor initialization",
    "user authentication",
    "user-initiated system setup",
    "USB resource configuration",
    "PCI resource configuration",
    "option ROM initialization",
    "video initialization",
    "cache initialization",
    "SM bus initialization",
    "keyboard controller initialization",
    "embedded controller initialization",
    "docking station attachment",
    "enabling docking station",
    "docking station ejection",
    "disabling docking station",
    "calling operating system wake-up vector",
    "starting operating system boot",
    "baseboard initialization",
    "",
    "floppy initialization",
    "keyboard test",
    "pointing device test",
    "primary processor initialization",
];
