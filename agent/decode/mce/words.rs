//! The words of a decoded machine check: closed sets, in lower case, as
//! fields of observations, in `--json` and in sentences.

use serde::Serialize;

/// How bad it is, as the kernel grades it (mce/severity.c).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// No valid error in the registers, or none that was enabled.
    None,
    /// The hardware repaired it.
    Corrected,
    /// AMD: data is lost (poisoned), nobody has used it yet.
    Deferred,
    /// Intel: data is lost (poisoned), nobody has used it yet: uncorrected,
    /// no action required.
    Ucna,
    /// Found by a scrub or a write-back: software recoverable, action
    /// optional. The kernel takes the page out of use.
    Srao,
    /// A program used lost data: software recoverable, action required. The
    /// kernel kills the program.
    Srar,
    /// Uncorrected, and the registers cannot tell whether software can go on.
    Uncorrected,
    /// The machine stops, or has stopped.
    Fatal,
}

impl Severity {
    /// Every word, for the table of fields.
    pub const WORDS: [&'static str; 8] = [
        "none",
        "corrected",
        "deferred",
        "ucna",
        "srao",
        "srar",
        "uncorrected",
        "fatal",
    ];

    /// The word.
    pub fn word(self) -> &'static str {
        Severity::WORDS[self as usize]
    }

    /// Whether data was lost.
    pub fn is_uncorrected(self) -> bool {
        self > Severity::Corrected
    }
}

/// What kind of thing reports it; decides which component's patterns care.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// DRAM and its controller.
    Memory,
    /// A cache of the processor.
    Cache,
    /// A translation buffer.
    Tlb,
    /// A processor core otherwise.
    Core,
    /// Bus, links between processors, the fabric inside one.
    Interconnect,
    /// PCIe and other I/O seen by the processor.
    Io,
    /// A watchdog inside the processor: something did not answer.
    Timer,
    /// Power, security and management controllers of the processor.
    Controller,
    /// None: a device, its driver or the firmware asked for an address that
    /// is nobody's, or that it may not have.
    Request,
    /// It cannot be told.
    Unknown,
}

impl Unit {
    /// Every word, for the table of fields.
    pub const WORDS: [&'static str; 10] = [
        "memory",
        "cache",
        "tlb",
        "core",
        "interconnect",
        "io",
        "timer",
        "controller",
        "request",
        "unknown",
    ];

    /// The word.
    pub fn word(self) -> &'static str {
        Unit::WORDS[self as usize]
    }
}

/// What was being done: the RRRR field of cache and bus codes, the MMM field
/// of memory controller codes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// RRRR 0, MMM 0: not told.
    Generic,
    /// RRRR 1, MMM 1.
    Read,
    /// RRRR 2, MMM 2.
    Write,
    /// RRRR 3.
    DataRead,
    /// RRRR 4.
    DataWrite,
    /// RRRR 5.
    InstructionFetch,
    /// RRRR 6.
    Prefetch,
    /// RRRR 7.
    Eviction,
    /// RRRR 8; AMD calls it a probe.
    Snoop,
    /// MMM 3.
    AddressCommand,
    /// MMM 4.
    Scrub,
}

impl Operation {
    /// Every word, for the table of fields.
    pub const WORDS: [&'static str; 11] = [
        "generic",
        "read",
        "write",
        "data-read",
        "data-write",
        "instruction-fetch",
        "prefetch",
        "eviction",
        "snoop",
        "address-command",
        "scrub",
    ];

    /// The word.
    pub fn word(self) -> &'static str {
        Operation::WORDS[self as usize]
    }
}

/// The TT field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transaction {
    /// 0.
    Instruction,
    /// 1.
    Data,
    /// 2.
    Generic,
}

/// The LL field. It is taken as the manuals have it: cache level 1 is `1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Intel's 0.
    L0,
    /// 1.
    L1,
    /// 2.
    L2,
    /// 3: the last level, or not told.
    Generic,
    /// AMD's 0.
    Reserved,
}

impl Level {
    /// Whether each core has such a cache for itself. The last level is
    /// shared, and a generic one may be.
    pub fn is_a_cores(self) -> bool {
        matches!(self, Level::L0 | Level::L1 | Level::L2)
    }

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Level::L0 => "l0",
            Level::L1 => "l1",
            Level::L2 => "l2",
            Level::Generic => "generic",
            Level::Reserved => "reserved",
        }
    }
}

/// How many corrected errors the bank itself has seen, by its own threshold:
/// bits 54:53 where MCG_CAP.TES_P is set (Intel SDM 3B, "Threshold-Based
/// Error Status").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tracking {
    /// 0: no tracking for this error.
    None,
    /// 1: below the threshold.
    Green,
    /// 2: above it. The processor itself predicts its failure.
    Yellow,
    /// 3.
    Reserved,
}

impl Tracking {
    /// Every word, for the table of fields.
    pub const WORDS: [&'static str; 4] =
        ["none", "green", "yellow", "reserved"];

    /// The word.
    pub fn word(self) -> &'static str {
        Tracking::WORDS[self as usize]
    }
}

/// The PP field of a bus code: this processor's part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// 0: it made the request.
    Requester,
    /// 1: it answered one.
    Responder,
    /// 2: it saw one of others.
    Observer,
    /// 3: not told.
    Generic,
}

/// The II field of a bus code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    /// 0: a memory access.
    Memory,
    /// 1 is reserved.
    Reserved,
    /// 2: input and output.
    Io,
    /// 3: anything else.
    Other,
}

/// How MCi_ADDR is to be read (Intel: MCi_MISC bits 8:6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressMode {
    /// 0: an offset in a segment.
    SegmentOffset,
    /// 1.
    Linear,
    /// 2.
    Physical,
    /// 3: an address of the memory, not of the system.
    Memory,
    /// 7.
    Generic,
    /// 4 to 6.
    Reserved,
    /// AMD's memory controllers: an address within the channel.
    Normalized,
    /// The registers do not tell.
    Unknown,
}
