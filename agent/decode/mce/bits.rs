//! Where the bits of the registers are (arch/x86/include/asm/mce.h).

use super::registers::Registers;

/// MCi_STATUS: the registers hold an error.
pub const VAL: u64 = 1 << 63;
/// An error came while this one was still there.
pub const OVER: u64 = 1 << 62;
/// The hardware did not correct it.
pub const UC: u64 = 1 << 61;
/// Its reporting was enabled in MCi_CTL.
pub const EN: u64 = 1 << 60;
/// MCi_MISC means something.
pub const MISCV: u64 = 1 << 59;
/// MCi_ADDR means something.
pub const ADDRV: u64 = 1 << 58;
/// The state of the processor may be wrong.
pub const PCC: u64 = 1 << 57;
/// Intel: signalled by a machine check exception.
pub const S: u64 = 1 << 56;
/// Intel: the running program must not go on.
pub const AR: u64 = 1 << 55;
/// AMD: the syndrome register means something.
pub const SYNDV: u64 = 1 << 53;
/// AMD: an ECC corrected it.
pub const CECC: u64 = 1 << 46;
/// AMD: an ECC saw it and could not.
pub const UECC: u64 = 1 << 45;
/// AMD: data is lost and marked, nobody used it.
pub const DEFERRED: u64 = 1 << 44;
/// AMD: marked data was used.
pub const POISON: u64 = 1 << 43;

/// MCG_STATUS: the program can be restarted.
pub const RIPV: u64 = 1 << 0;
/// The instruction pointer is that of the error.
pub const EIPV: u64 = 1 << 1;
/// A machine check exception is in progress.
pub const MCIP: u64 = 1 << 2;

/// MCG_CAP: corrected errors are counted, and interrupt.
const CMCI_P: u64 = 1 << 10;
/// The hardware keeps a threshold.
const TES_P: u64 = 1 << 11;
/// Software recovery: the bits S and AR mean something.
const SER_P: u64 = 1 << 24;

/// The first Intel model of family 6 with CMCI and thresholds (Nehalem).
const NEHALEM: u8 = 0x1a;

/// What MCG_CAP tells, or where a source does not have it, what is true of
/// the model.
#[derive(Clone, Copy, Debug)]
pub struct Abilities {
    /// Corrected errors are counted in the status register.
    pub counts: bool,
    /// The status register has a threshold.
    pub tracks: bool,
    /// The bits S and AR mean something.
    pub recovers: bool,
    /// It is MCG_CAP that says so.
    pub told: bool,
}

impl Abilities {
    /// Those of the processor that the registers are of.
    pub fn of(registers: &Registers) -> Abilities {
        if let Some(cap) = registers.mcgcap {
            return Abilities {
                counts: cap & CMCI_P != 0,
                tracks: cap & TES_P != 0,
                recovers: cap & SER_P != 0,
                told: true,
            };
        }
        let model = registers.model();
        let modern = model.is_none_or(|m| m.family == 6 && m.model >= NEHALEM);
        Abilities {
            counts: modern,
            // An unlucky bit would condemn a processor: only for models
            // that are known to have it.
            tracks: modern && model.is_some(),
            recovers: modern,
            told: false,
        }
    }
}
