//! What a machine check means: the result of [`decode`](super::decode).

use serde::Serialize;

use super::registers::{Model, Vendor};
use super::words::{
    AddressMode, Level, Operation, Role, Severity, Space, Tracking,
    Transaction, Unit,
};

/// One decoded machine check. Every text in it is bounded and made of our own
/// words and of numbers, so it may go into labels and parts as it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decoded {
    /// What happened, in one sentence without its place.
    pub summary: String,
    /// How bad it is.
    pub severity: Severity,
    /// Why it is graded so.
    pub graded: &'static str,
    /// What kind of thing reports it.
    pub unit: Unit,
    /// Corrected errors that this record stands for: at least 1, more where
    /// the processor counts (MCi_STATUS bits 52:38, with MCG_CAP.CMCI_P).
    pub count: u64,
    /// Errors were lost: `count` is a lower bound.
    pub overflow: bool,
    /// Lost data was marked as such, or a mark was found (AMD).
    pub poison: bool,
    /// The threshold the hardware keeps for this bank, where it has one.
    pub tracking: Option<Tracking>,
    /// What the bank belongs to, where that is known.
    pub bank: Option<BankName>,
    /// The error code, taken apart.
    pub code: Code,
    /// Where in the machine.
    pub place: Place,
    /// The parts it may be filed under, smallest first, never guessed; the
    /// last is always one that exists. See [`Place`] for the names.
    pub parts: Vec<String>,
    /// The address, if there is one.
    pub address: Option<Address>,
    /// The processor's maker.
    pub vendor: Option<Vendor>,
    /// Family, model and stepping.
    pub model: Option<Model>,
    /// Only the codes that all processors share were used: the model, or
    /// what its bank is, is not known here.
    pub architectural: bool,
    /// Found by a machine check exception, not by a poll or an interrupt.
    pub exception: bool,
    /// Found by a poll that could not tell when it happened: TSC is 0. With
    /// a time before the first poll was due it is of the time before the
    /// boot.
    pub polled: bool,
    /// Of a kind that some processors keep of an earlier reset and tell at
    /// each boot, though the machine runs without trouble.
    pub left_over: bool,
    /// The bits contradict each other: the record is not to be believed.
    pub contradicts: bool,
    /// What a person should know to judge this record, a sentence each.
    pub notes: Vec<&'static str>,
}

impl Decoded {
    /// Whether nobody should act on this record alone.
    pub fn is_doubtful(&self) -> bool {
        self.left_over || self.contradicts
    }

    /// The place in words: `socket 0, memory controller 1, channel 2`;
    /// `unknown` where the registers tell none.
    pub fn place_in_words(&self) -> String {
        let amd = self.vendor.is_some_and(Vendor::is_like_amd);
        super::text::place(&self.place, amd)
    }
}

/// What a bank belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BankName {
    /// A short name: `UMC`, `L3`, `iMC`.
    pub short: &'static str,
    /// In words.
    pub long: &'static str,
}

/// The error code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Code {
    /// MCACOD, bits 15:0, as it stands in the register.
    pub mca: u16,
    /// Intel MSCOD, bits 31:16; AMD's extended code (21:16, before SMCA
    /// 20:16).
    pub model: u16,
    /// What the extended code says for this kind of bank.
    pub model_text: Option<&'static str>,
    /// The code's family.
    pub kind: Kind,
    /// Bit 12 (Intel): corrected errors are filtered, not each is told.
    pub filtered: bool,
    /// What was being done.
    pub operation: Option<Operation>,
    /// Cache level.
    pub level: Option<Level>,
    /// Instruction or data.
    pub transaction: Option<Transaction>,
    /// This processor's part in a bus transaction.
    pub role: Option<Role>,
    /// Memory or I/O.
    pub space: Option<Space>,
    /// A request timed out.
    pub timeout: Option<bool>,
}

/// The families of MCACOD (Intel SDM 3B 17.9; AMD APM 2 chapter 9).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// 0: no error code.
    None,
    /// 1.
    Unclassified,
    /// 2.
    MicrocodeRom,
    /// 3: another processor told this one.
    External,
    /// 4: functional redundancy check.
    Redundancy,
    /// 5.
    InternalParity,
    /// 6: code in SMM left its memory.
    SmmCode,
    /// 0000_1110_0000_1011: an error of the I/O bus (Intel).
    Io,
    /// 11LL.
    Hierarchy,
    /// 1_TTLL.
    Tlb,
    /// 1MMM_CCCC.
    MemoryController,
    /// 1_RRRR_TTLL.
    Cache,
    /// 10_1MMM_CCCC: memory used as a cache.
    MemoryCache,
    /// 0x400: most often a core that made no progress.
    Timer,
    /// 01xx_xxxx_xxxx.
    Internal,
    /// 1PPT_RRRR_IILL.
    Bus,
    /// None of these.
    Unknown,
}

/// Where in the machine. What is not known is `None`.
///
/// Names of parts made of it, smallest first:
/// `dimm/socketS-mcM-chC-slotD`, `channel/socketS-mcM-chC` (where the
/// controller is not known `channel/socketS-bankB-chC`, AMD
/// `channel/socketS-umcU`), `memory/socketS-mcM`, `memory/socketS`,
/// `cpu/cpuN` for what belongs to one core, `cpu/socketS`, and last
/// `memory/system` or `node/cpu`. Where only the CPU is known that read a
/// bank shared by its socket, `cpuN` stands for the socket:
/// `channel/cpu0-umc3`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The socket.
    pub socket: Option<u32>,
    /// The CPU that read the bank.
    pub cpu: Option<u32>,
    /// Whether the failing unit belongs to that CPU alone; otherwise the CPU
    /// only happened to be the one that read a shared bank.
    pub is_cpus_own: bool,
    /// The memory controller of the socket.
    pub controller: Option<u8>,
    /// The channel: of the controller (Intel), of the socket (AMD's UMC).
    pub channel: Option<u8>,
    /// The DIMM's slot on the channel.
    pub slot: Option<u8>,
    /// The chip select row (AMD), the rank of the DIMM (Intel).
    pub rank: Option<u8>,
    /// The processor's own number (PPIN).
    pub ppin: Option<u64>,
    /// The PCI function whose I/O failed: `0000:3b:00.0`.
    pub pci: Option<String>,
}

/// An address in a machine check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Address {
    /// The value, without what is not part of the address. As text in JSON,
    /// whose numbers are shorter.
    #[serde(serialize_with = "as_text")]
    pub value: u64,
    /// The lowest bit that is valid; the bits below it are zero.
    pub lsb: u8,
    /// What kind of address it is.
    pub mode: AddressMode,
    /// Whether it names a page of the system's memory, and so whether the
    /// kernel can take that page out of use (mce_usable_address).
    pub usable: bool,
}

fn as_text<S: serde::Serializer>(
    number: &u64,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("0x{number:x}"))
}

impl Address {
    /// The page, if the address is one of the system's memory.
    pub fn page(&self) -> Option<u64> {
        self.usable.then_some(self.value >> 12)
    }
}
