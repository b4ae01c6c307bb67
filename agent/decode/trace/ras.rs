//! The events that tell of failing hardware: `mce:mce_record` and those of
//! `ras:` (include/trace/events/mce.h, include/ras/ras_event.h), from a
//! record to what it says.
//!
//! Fields are found by the names that the kernel's own description gives
//! them; one that a kernel does not have is told by nobody.

use super::format::{Format, Slot};
use crate::decode::cper::is_slot;
use crate::decode::mce::{Registers, Vendor};

/// Every event that is read, as `subsystem/name`.
pub const EVENTS: [&str; 7] = [
    "mce/mce_record",
    "ras/mc_event",
    "ras/extlog_mem_event",
    "ras/aer_event",
    "ras/memory_failure_event",
    "ras/non_standard_event",
    "ras/arm_event",
];

/// The longest text taken from a record: labels, messages, device names.
const TEXT_MAX: usize = 128;

/// How bad an error is, as EDAC and CPER grade it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// Repaired.
    Corrected,
    /// Lost, the machine goes on.
    Uncorrected,
    /// Lost and marked, not yet used.
    Deferred,
    /// Lost, the machine cannot go on.
    Fatal,
}

impl Grade {
    /// The word of the field `kind` of source `edac`.
    pub fn word(self) -> &'static str {
        match self {
            Grade::Corrected => "corrected",
            Grade::Uncorrected => "uncorrected",
            Grade::Deferred => "deferred",
            Grade::Fatal => "fatal",
        }
    }

    /// enum hw_event_mc_err_type (include/linux/edac.h); informational ones
    /// are no errors.
    fn of_edac(number: u64) -> Option<Grade> {
        match number {
            0 => Some(Grade::Corrected),
            1 => Some(Grade::Uncorrected),
            2 => Some(Grade::Deferred),
            3 => Some(Grade::Fatal),
            _ => None,
        }
    }

    /// CPER_SEV_* (include/linux/cper.h, UEFI appendix N).
    fn of_cper(number: u64) -> Option<Grade> {
        match number {
            0 => Some(Grade::Uncorrected),
            1 => Some(Grade::Fatal),
            2 => Some(Grade::Corrected),
            _ => None,
        }
    }
}

/// An error of memory, as an EDAC driver or firmware told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// How bad.
    pub grade: Grade,
    /// Whether firmware told it (extended log) and no EDAC driver.
    pub firmware: bool,
    /// How many errors: at least 1.
    pub count: u64,
    /// The memory controller.
    pub mc: Option<u64>,
    /// The DIMM's label, where one is named.
    pub label: String,
    /// The layers of the place; -1 is not known.
    pub layers: Option<[i64; 3]>,
    /// What the driver says.
    pub message: String,
    /// The physical address, if there is one.
    pub address: Option<u64>,
    /// The syndrome, if there is one.
    pub syndrome: Option<u64>,
}

/// How bad a PCIe error is (drivers/pci/pci.h: AER_NONFATAL and so on).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AerGrade {
    /// 2.
    Correctable,
    /// 0.
    NonFatal,
    /// 1.
    Fatal,
}

impl AerGrade {
    /// The word of the field `kind` of source `aer`.
    pub fn word(self) -> &'static str {
        match self {
            AerGrade::Correctable => "correctable",
            AerGrade::NonFatal => "nonfatal",
            AerGrade::Fatal => "fatal",
        }
    }
}

/// Errors of one PCIe function, told at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aer {
    /// The function, such as `0000:3b:00.0`.
    pub device: String,
    /// How bad.
    pub grade: AerGrade,
    /// The error status register.
    pub status: u32,
}

impl Aer {
    /// The names of the errors, as the kernel's counters and text have them.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        let table = match self.grade {
            AerGrade::Correctable => CORRECTABLE,
            AerGrade::NonFatal | AerGrade::Fatal => UNCORRECTABLE,
        };
        let set = (0..32).filter(|bit| self.status >> bit & 1 == 1);
        set.map(|bit| {
            let found = table.iter().find(|(b, _)| *b == bit);
            found.map_or("unknown", |(_, name)| *name)
        })
    }
}

/// aer_correctable_error_string (drivers/pci/pcie/aer.c).
const CORRECTABLE: &[(u32, &str)] = &[
    (0, "RxErr"),
    (6, "BadTLP"),
    (7, "BadDLLP"),
    (8, "Rollover"),
    (12, "Timeout"),
    (13, "NonFatalErr"),
    (14, "CorrIntErr"),
    (15, "HeaderOF"),
];

/// aer_uncorrectable_error_string (drivers/pci/pcie/aer.c).
const UNCORRECTABLE: &[(u32, &str)] = &[
    (0, "Undefined"),
    (4, "DLP"),
    (5, "SDES"),
    (12, "TLP"),
    (13, "FCP"),
    (14, "CmpltTO"),
    (15, "CmpltAbrt"),
    (16, "UnxCmplt"),
    (17, "RxOF"),
    (18, "MalfTLP"),
    (19, "ECRC"),
    (20, "UnsupReq"),
    (21, "ACSViol"),
    (22, "UncorrIntErr"),
    (23, "BlockedTLP"),
    (24, "AtomicOpBlocked"),
    (25, "TLPBlockedErr"),
    (26, "PoisonTLPBlocked"),
    (27, "DMWrReqBlocked"),
    (28, "IDECheck"),
    (29, "MisIDETLP"),
    (30, "PCRC_CHECK"),
    (31, "TLPXlatBlocked"),
];

/// What one record tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A machine check.
    MachineCheck(Box<Registers>),
    /// An error of memory.
    Memory(Memory),
    /// Errors of a PCIe function.
    Aer(Aer),
    /// The kernel dealt with a page whose data are lost.
    PageFailed {
        /// The page.
        pfn: u64,
        /// What became of it.
        result: &'static str,
    },
    /// Firmware told an error of a kind that the kernel does not know.
    NonStandard {
        /// How bad.
        grade: Grade,
        /// The part, as firmware names it.
        fru: String,
        /// The kind of section, as a GUID.
        section: String,
    },
    /// An error of an Arm processor.
    Arm {
        /// How bad, where the kernel tells.
        grade: Option<Grade>,
        /// The CPU, where the kernel tells.
        cpu: Option<u64>,
        /// The multiprocessor affinity register: which core.
        mpidr: Option<u64>,
    },
}

/// Reads the records of one event.
#[derive(Clone, Debug)]
pub struct Reader {
    /// What `common_type` is in its records.
    pub id: u64,
    kind: Kind,
    slots: Vec<Option<Slot>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    MachineCheck,
    Edac,
    Extlog,
    Aer,
    PageFailed,
    NonStandard,
    Arm,
}

impl Kind {
    /// The event's name, and the names of the fields in the order in which
    /// the functions below take them.
    const ALL: [(&'static str, Kind, &'static [&'static str]); 7] = [
        (
            "mce_record",
            Kind::MachineCheck,
            &[
                "status",
                "addr",
                "misc",
                "synd",
                "ipid",
                "mcgstatus",
                "mcgcap",
                "ip",
                "tsc",
                "walltime",
                "ppin",
                "cpu",
                "cpuid",
                "apicid",
                "socketid",
                "microcode",
                "cs",
                "bank",
                "cpuvendor",
            ],
        ),
        (
            "mc_event",
            Kind::Edac,
            &[
                "error_type",
                "msg",
                "label",
                "error_count",
                "mc_index",
                "top_layer",
                "middle_layer",
                "lower_layer",
                "address",
                "syndrome",
            ],
        ),
        ("extlog_mem_event", Kind::Extlog, &["sev", "pa", "fru_text"]),
        ("aer_event", Kind::Aer, &["dev_name", "status", "severity"]),
        ("memory_failure_event", Kind::PageFailed, &["pfn", "result"]),
        (
            "non_standard_event",
            Kind::NonStandard,
            &["sev", "fru_text", "sec_type"],
        ),
        ("arm_event", Kind::Arm, &["sev", "cpu", "mpidr"]),
    ];
}

impl Reader {
    /// A reader of the event of this description; `None` for events that
    /// are not read.
    pub fn new(format: &Format) -> Option<Reader> {
        let (_, kind, names) =
            Kind::ALL.iter().find(|(name, ..)| *name == format.name)?;
        let slots = names.iter().map(|name| format.slot(name)).collect();
        Some(Reader { id: format.id, kind: *kind, slots })
    }

    /// What the record tells; `None` where it lacks what it must have, or
    /// tells of no error.
    pub fn read(&self, record: &[u8]) -> Option<Told> {
        let fields = Fields { slots: &self.slots, record };
        match self.kind {
            Kind::MachineCheck => machine_check(&fields),
            Kind::Edac => edac(&fields),
            Kind::Extlog => extlog(&fields),
            Kind::Aer => aer(&fields),
            Kind::PageFailed => page_failed(&fields),
            Kind::NonStandard => non_standard(&fields),
            Kind::Arm => Some(Told::Arm {
                grade: fields.number(0).and_then(Grade::of_cper),
                cpu: fields.number(1),
                mpidr: fields.number(2),
            }),
        }
    }
}

/// One record and where its fields are.
struct Fields<'a> {
    slots: &'a [Option<Slot>],
    record: &'a [u8],
}

impl<'a> Fields<'a> {
    fn slot(&self, i: usize) -> Option<Slot> {
        self.slots.get(i).copied().flatten()
    }

    fn number(&self, i: usize) -> Option<u64> {
        self.slot(i)?.number(self.record)
    }

    /// The low half of a number.
    fn word(&self, i: usize) -> Option<u32> {
        self.number(i).map(|n| n as u32)
    }

    fn text(&self, i: usize) -> Option<String> {
        let text = self.slot(i)?.text(self.record)?;
        let text = &text[..text.len().min(TEXT_MAX)];
        let text = String::from_utf8_lossy(text);
        Some(text.replace(char::is_control, " ").trim().to_owned())
    }
}

fn machine_check(fields: &Fields<'_>) -> Option<Told> {
    let number = |i| fields.number(i);
    let byte = |i| fields.number(i).map(|n| n as u8);
    Some(Told::MachineCheck(Box::new(Registers {
        status: number(0)?,
        addr: number(1),
        misc: number(2),
        synd: number(3),
        ipid: number(4),
        mcgstatus: number(5),
        mcgcap: number(6),
        ip: number(7),
        tsc: number(8),
        time: number(9),
        ppin: number(10),
        cpu: fields.word(11),
        cpuid: fields.word(12),
        apicid: fields.word(13),
        socket: fields.word(14),
        microcode: fields.word(15),
        cs: byte(16).map(u16::from),
        bank: byte(17),
        vendor: byte(18).map(Vendor::of),
    })))
}

fn edac(fields: &Fields<'_>) -> Option<Told> {
    let layer = |i| fields.number(i).map(|n| n as i64);
    let layers = || Some([layer(5)?, layer(6)?, layer(7)?]);
    Some(Told::Memory(Memory {
        grade: Grade::of_edac(fields.number(0)?)?,
        firmware: false,
        count: fields.number(3).unwrap_or(1).max(1),
        mc: fields.number(4),
        label: fields.text(2).unwrap_or_default(),
        layers: layers(),
        message: fields.text(1).unwrap_or_default(),
        address: fields.number(8).filter(|a| *a != 0),
        syndrome: fields.number(9).filter(|s| *s != 0),
    }))
}

fn extlog(fields: &Fields<'_>) -> Option<Told> {
    Some(Told::Memory(Memory {
        grade: Grade::of_cper(fields.number(0)?)?,
        firmware: true,
        count: 1,
        mc: None,
        // Free text, and often junk.
        label: fields.text(2).filter(|fru| is_slot(fru)).unwrap_or_default(),
        layers: None,
        message: "told by firmware".into(),
        address: fields.number(1).filter(|a| *a != 0),
        syndrome: None,
    }))
}

fn aer(fields: &Fields<'_>) -> Option<Told> {
    let device = fields.text(0)?;
    let grade = match fields.number(2)? {
        0 => AerGrade::NonFatal,
        1 => AerGrade::Fatal,
        2 => AerGrade::Correctable,
        _ => return None,
    };
    let status = fields.word(1)?;
    Some(Told::Aer(Aer { device, grade, status }))
}

/// enum mf_result (include/linux/mm.h).
fn page_failed(fields: &Fields<'_>) -> Option<Told> {
    let result = match fields.number(1)? {
        0 => "ignored",
        1 => "failed",
        2 => "delayed",
        3 => "recovered",
        _ => "unknown",
    };
    Some(Told::PageFailed { pfn: fields.number(0)?, result })
}

fn non_standard(fields: &Fields<'_>) -> Option<Told> {
    let guid = fields.slot(2).and_then(|s| s.bytes(fields.record));
    Some(Told::NonStandard {
        grade: Grade::of_cper(fields.number(0)?)?,
        fru: fields.text(1).unwrap_or_default(),
        section: guid.and_then(show_guid).unwrap_or_default(),
    })
}

/// A GUID as firmware's documents write it: the first three groups are
/// little-endian numbers (UEFI appendix A).
fn show_guid(bytes: &[u8]) -> Option<String> {
    let b: &[u8; 16] = bytes.try_into().ok()?;
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::with_capacity(36);
    for (i, at) in order.into_iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{:02x}", b[at]));
    }
    Some(text)
}

#[cfg(test)]
mod tests;
