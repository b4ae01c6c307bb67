//! Machine checks: MCi_STATUS and its companions, to words and places.
//!
//! [`decode`] is the whole interface: registers in, meaning out. It serves
//! the tracepoint, the kernel's text and `faultline decode` alike. Where the
//! model is not known, the codes that every processor shares are decoded,
//! and [`Decoded::architectural`] says so.
//!
//! Sources: Intel SDM volume 3B chapters 16 and 17, AMD's Processor
//! Programming References, Linux' arch/x86/kernel/cpu/mce and drivers/edac.

mod address;
mod bits;
mod code;
pub mod decoded;
mod intel;
mod place;
pub mod registers;
mod severity;
mod smca;
mod text;
pub mod words;

use bits::{Abilities, CECC, DEFERRED, OVER, PCC, POISON, UC, UECC, VAL};
pub use decoded::{Address, BankName, Code, Decoded, Kind, Place};
pub use place::FIRMWARE_BANK;
use place::is_firmwares;
pub use registers::{Model, Registers, Vendor};
use severity::{is_consumed_poison, is_smca};
pub use words::{Severity, Tracking, Unit};

/// Says what the registers mean. Any values are fine.
pub fn decode(registers: &Registers) -> Decoded {
    let status = registers.status;
    let firmware = is_firmwares(registers);
    let smca = smca::of(registers).filter(|_| !firmware);
    let intel = match firmware {
        true => intel::Known::default(),
        false => intel::bank(registers),
    };
    let coded = vendor(registers).filter(|_| !firmware);
    let mut code = code::code(status, coded);
    extend(registers, &mut code);
    let unit = unit(registers, &code);
    if unit == Unit::Memory && smca.is_none() && code.model_text.is_none() {
        let dram = is_smca(registers)
            && code.model == smca::DRAM_ECC
            && !is_consumed_poison(registers);
        code.model_text = dram.then(|| smca::extended("UMC", 0)).flatten();
    }
    let (severity, graded) = severity::grade(registers);
    let place = place::place(registers, &code, unit);
    let parts = place::parts(registers, unit, &place);
    let bank = smca.map(|bank| bank.name.clone()).or(intel.name);
    let architectural = match vendor(registers) {
        Some(v) if v.is_like_amd() && is_smca(registers) => smca.is_none(),
        Some(v) if v.is_like_amd() => !is_old_amd(registers),
        _ => bank.is_none(),
    };
    let amd = vendor(registers).is_some_and(Vendor::is_like_amd);
    let mut decoded = Decoded {
        summary: text::summary(
            severity,
            text::what(registers, unit, &code),
            &code,
            bank.as_ref(),
        ),
        severity,
        graded,
        unit,
        count: count(registers, severity),
        overflow: status & OVER != 0,
        poison: amd && status & (POISON | DEFERRED) != 0,
        tracking: tracking(registers),
        bank,
        address: address::address(registers, unit),
        code,
        place,
        parts,
        vendor: vendor(registers),
        model: registers.model(),
        architectural,
        exception: registers.is_exception(),
        polled: registers.tsc == Some(0),
        left_over: text::is_left_over(registers),
        contradicts: amd && status & (VAL | PCC | UC) == VAL | PCC,
        notes: Vec::new(),
    };
    decoded.notes = text::notes(registers, &decoded);
    decoded
}

/// The vendor, also where only the registers themselves show it.
fn vendor(registers: &Registers) -> Option<Vendor> {
    registers.vendor.or_else(|| {
        // Only AMD's banks have this register, and only AMD's since 17h.
        let ipid = registers.ipid.is_some_and(|ipid| ipid != 0);
        ipid.then_some(Vendor::Amd)
    })
}

/// Families 0Fh to 16h number their banks alike: 4 is the north bridge.
fn is_old_amd(registers: &Registers) -> bool {
    let family = registers.model().map(|model| model.family);
    family.is_some_and(|family| (0x0f..=0x16).contains(&family))
}

/// The extended code of AMD's banks, and what it says.
fn extend(registers: &Registers, code: &mut Code) {
    let amd = vendor(registers).is_some_and(Vendor::is_like_amd);
    if !amd || is_firmwares(registers) {
        return;
    }
    // Before SMCA five bits (mce_amd_init, xec_mask).
    let mask = if is_smca(registers) { 0x3f } else { 0x1f };
    code.model &= mask;
    if let Some(bank) = smca::of(registers) {
        code.model_text = smca::extended(bank.name.short, code.model);
    } else if is_old_amd(registers) && registers.bank == Some(4) {
        code.model_text = smca::north_bridge(code.model);
    }
}

/// What kind of thing it is: by the bank where it is known, else by the code.
fn unit(registers: &Registers, code: &Code) -> Unit {
    if is_firmwares(registers) {
        return by_code(code.kind, Unit::Unknown);
    }
    if is_consumed_poison(registers) {
        return Unit::Memory;
    }
    if let Some(bank) = smca::of(registers) {
        return match bank.unit {
            Unit::Core if smca::is_watchdog(bank, code.model) => Unit::Timer,
            // No cache has a reserved level: such a code says nothing.
            Unit::Core if code.level == Some(words::Level::Reserved) => {
                Unit::Core
            }
            // A core's unit reports its caches and buffers by the code.
            Unit::Core => by_code(code.kind, Unit::Core),
            // Where the processor cannot go on, who asked does not matter.
            Unit::Interconnect
                if registers.status & (UC | PCC) == 0
                    && smca::is_refused(bank, code.model) =>
            {
                Unit::Request
            }
            unit => unit,
        };
    }
    let ecc = registers.status & (CECC | UECC) != 0;
    let amd = vendor(registers).is_some_and(Vendor::is_like_amd);
    // MEM_ERROR of the last level with an ECC bit: what memory controllers
    // report (amd_mce_is_memory_error, and every UMC record seen).
    if amd && ecc && is_smca(registers) && code.mca == 0x011b {
        return Unit::Memory;
    }
    if is_old_amd(registers) && registers.bank == Some(4) && amd {
        return match code.model {
            0x0 | 0x8 => Unit::Memory,
            0x1c..=0x1f => Unit::Cache,
            _ => Unit::Interconnect,
        };
    }
    by_code(code.kind, Unit::Unknown)
}

fn by_code(kind: Kind, otherwise: Unit) -> Unit {
    match kind {
        Kind::MemoryController | Kind::MemoryCache => Unit::Memory,
        Kind::Cache | Kind::Hierarchy => Unit::Cache,
        Kind::Tlb => Unit::Tlb,
        Kind::Bus => Unit::Interconnect,
        Kind::Io => Unit::Io,
        Kind::Timer => Unit::Timer,
        Kind::Internal
        | Kind::InternalParity
        | Kind::MicrocodeRom
        | Kind::Redundancy
        | Kind::SmmCode => Unit::Core,
        Kind::None | Kind::Unclassified | Kind::External | Kind::Unknown => {
            otherwise
        }
    }
}

/// Bits 52:38 count corrected errors where MCG_CAP.CMCI_P says so.
fn count(registers: &Registers, severity: Severity) -> u64 {
    // The same bits are flags on AMD's: without a maker they say nothing.
    let intel = registers.vendor.is_some_and(Vendor::is_like_intel);
    let counts =
        intel && !is_firmwares(registers) && Abilities::of(registers).counts;
    if !counts || severity != Severity::Corrected {
        return 1;
    }
    (registers.status >> 38 & 0x7fff).max(1)
}

/// Bits 54:53 where MCG_CAP.TES_P says so, of corrected errors.
fn tracking(registers: &Registers) -> Option<Tracking> {
    let intel = registers.vendor.is_some_and(Vendor::is_like_intel);
    let valid = registers.status & (VAL | UC) == VAL;
    if !intel || !valid || !Abilities::of(registers).tracks {
        return None;
    }
    Some(match registers.status >> 53 & 3 {
        0 => Tracking::None,
        1 => Tracking::Green,
        2 => Tracking::Yellow,
        _ => Tracking::Reserved,
    })
}

#[cfg(test)]
mod tests;
