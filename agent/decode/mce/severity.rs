//! How bad it is, as Linux grades it (arch/x86/kernel/cpu/mce/severity.c).
//!
//! The kernel's table knows what a decoder cannot: whether the code that ran
//! was one of the places from which the kernel recovers. Where that decides,
//! the worse is told.

use super::bits::{
    ADDRV, AR, Abilities, DEFERRED, EIPV, EN, MISCV, OVER, PCC, POISON, RIPV,
    S, UC, VAL,
};
use super::place::is_firmwares;
use super::registers::{Registers, Vendor};
use super::smca;
use super::words::{Severity, Unit};

/// A severity and why.
pub type Grade = (Severity, &'static str);

/// MCACOD without its filter bit.
const MCACOD: u64 = 0xefff;
/// Patrol scrub, any channel: 0xC0 to 0xCF.
const SCRUB: u64 = 0x00c0;
/// An explicit write-back of the last level cache.
const WRITE_BACK: u64 = 0x017a;
/// A data load.
const DATA_LOAD: u64 = 0x0134;
/// An instruction fetch.
const FETCH: u64 = 0x0150;
/// Skylake-X reports uncorrected patrol scrubs as corrected ones with
/// MSCOD 0x0010, from stepping 4 in banks 13 to 18.
const QUIET_SCRUB: u64 = 0x0010_00c0;

const NOT_VALID: Grade = (Severity::None, "the registers hold no error");
const NOT_ENABLED: Grade =
    (Severity::None, "its reporting was not enabled (EN is 0)");
const CORRUPT: Grade = (Severity::Fatal, "the processor's state is corrupt");

/// Grades one machine check.
pub fn grade(registers: &Registers) -> Grade {
    if registers.status & VAL == 0 {
        return NOT_VALID;
    }
    if is_firmwares(registers) {
        return any(registers);
    }
    match registers.vendor {
        Some(vendor) if vendor.is_like_amd() => amd(registers),
        Some(vendor) if vendor.is_like_intel() => intel(registers),
        Some(_) | None if is_smca(registers) => amd(registers),
        Some(_) | None => any(registers),
    }
}

/// Whether the bank is described by MCA_IPID: all AMD since family 17h.
pub fn is_smca(registers: &Registers) -> bool {
    let family = registers.model().map(|model| model.family);
    let amd = registers.vendor.is_none_or(Vendor::is_like_amd);
    amd && (registers.ipid.is_some_and(|ipid| ipid != 0)
        || family.is_some_and(|family| family >= 0x17))
}

/// Whether marked (poisoned) data was used: the unit that says so is not the
/// one that lost the data, which is memory anywhere in the machine. What
/// passes an I/O unit may as well be a device's.
pub fn is_consumed_poison(registers: &Registers) -> bool {
    const USED: u64 = UC | POISON;
    if intel_used_poison(registers) {
        return true;
    }
    let others = |bank: &smca::Bank| {
        matches!(bank.unit, Unit::Memory | Unit::Io | Unit::Controller)
    };
    is_smca(registers)
        && registers.status & USED == USED
        && !smca::of(registers).is_some_and(others)
}

/// A load or a fetch that wants action: Intel's processors report so what was
/// marked before it came to them (SDM volume 3B, 15.9.3.2: recoverable
/// errors, action required). Where a block was cut off before it names the
/// maker the code does: AMD's caches have no level 0.
fn intel_used_poison(registers: &Registers) -> bool {
    const WANTS: u64 = VAL | UC | MISCV | ADDRV | S | AR;
    let intel = registers.vendor.is_none_or(Vendor::is_like_intel);
    intel
        && registers.status & (WANTS | PCC) == WANTS
        && matches!(registers.status & MCACOD, DATA_LOAD | FETCH)
}

/// Whether the kernel itself ran; `None` where no one can tell.
fn in_kernel(registers: &Registers) -> Option<bool> {
    // Polls and interrupts say nothing of what ran when it happened.
    if !registers.is_exception() {
        return None;
    }
    registers.cs.map(|cs| cs & 3 != 3)
}

/// What every processor shares: valid, uncorrected, context corrupt.
fn any(registers: &Registers) -> Grade {
    let status = registers.status;
    if status & PCC != 0 {
        return CORRUPT;
    }
    if status & UC != 0 {
        return (
            Severity::Uncorrected,
            "uncorrected; what software can do depends on the processor",
        );
    }
    (Severity::Corrected, "the hardware corrected it")
}

fn intel(registers: &Registers) -> Grade {
    let status = registers.status;
    let exception = registers.is_exception();
    if exception && status & EN == 0 {
        return NOT_ENABLED;
    }
    if status & PCC != 0 {
        return CORRUPT;
    }
    if exception {
        let ip = registers.mcgstatus.unwrap_or(0) & (RIPV | EIPV);
        if ip == 0 {
            return (
                Severity::Fatal,
                "neither the program nor the error has an address",
            );
        }
        if in_kernel(registers) == Some(true) && ip & RIPV == 0 {
            return (
                Severity::Fatal,
                "in the kernel, which cannot be restarted",
            );
        }
    }
    if Abilities::of(registers).recovers {
        recoverable(registers)
    } else {
        old_intel(registers)
    }
}

/// Before software error recovery (MCG_CAP.SER_P).
fn old_intel(registers: &Registers) -> Grade {
    let status = registers.status;
    if status & UC == 0 {
        (Severity::Corrected, "the hardware corrected it")
    } else if status & OVER != 0 {
        (Severity::Fatal, "uncorrected, and other errors were lost")
    } else if in_kernel(registers) == Some(true) {
        (Severity::Fatal, "uncorrected, in the kernel")
    } else {
        (Severity::Uncorrected, "uncorrected, on a processor without recovery")
    }
}

/// With software error recovery: UC, S and AR decide.
fn recoverable(registers: &Registers) -> Grade {
    let status = registers.status;
    let bits = |mask: u64| status & mask;
    if bits(UC | AR) == UC {
        if bits(MCACOD & !0xf) == SCRUB {
            return (Severity::Srao, "found by the patrol scrub");
        }
        if bits(MCACOD) == WRITE_BACK {
            return (Severity::Srao, "found when the cache was written back");
        }
    }
    if is_quiet_scrub(registers) {
        return (
            Severity::Srao,
            "an uncorrected patrol scrub, which this model reports as \
             corrected",
        );
    }
    match bits(UC | S | AR) {
        UC => (Severity::Ucna, "uncorrected data that nobody has used"),
        n if n == UC | AR && bits(OVER) == 0 => (
            Severity::Fatal,
            "action required but not signalled: an illegal combination",
        ),
        n if n == UC | AR => (
            Severity::Uncorrected,
            "an illegal combination, and other errors were lost",
        ),
        n if n == UC | S | AR => action_required(registers),
        n if n == UC | S && bits(OVER) == 0 => {
            (Severity::Srao, "action optional, of an unknown kind")
        }
        n if n == UC | S => {
            (Severity::Srao, "action optional, and other errors were lost")
        }
        _ => (Severity::Corrected, "the hardware corrected it"),
    }
}

fn is_quiet_scrub(registers: &Registers) -> bool {
    const MASK: u64 = UC | ADDRV | MISCV | 0xffff_eff0;
    let skylake = registers.model().is_some_and(|model| {
        (model.family, model.model) == (6, 0x55) && model.stepping >= 4
    });
    skylake
        && registers.bank.is_some_and(|bank| (13..=18).contains(&bank))
        && registers.status & MASK == ADDRV | MISCV | QUIET_SCRUB
}

fn action_required(registers: &Registers) -> Grade {
    let status = registers.status;
    if status & OVER != 0 {
        return (
            Severity::Fatal,
            "action required, and other errors were lost",
        );
    }
    let place = status & (ADDRV | MISCV) == ADDRV | MISCV;
    let ip = registers.mcgstatus.map(|status| status & (RIPV | EIPV));
    if place && registers.is_exception() && ip == Some(RIPV) {
        return (
            Severity::Srar,
            "another thread of the core used lost data; this one goes on",
        );
    }
    let known = matches!(status & MCACOD, DATA_LOAD | FETCH);
    if !place || !known {
        return (Severity::Fatal, "action required, of an unknown kind");
    }
    match in_kernel(registers) {
        Some(true) => (Severity::Fatal, "the kernel used lost data"),
        Some(false) => (Severity::Srar, "a program used lost data"),
        None => (Severity::Srar, "lost data was used"),
    }
}

fn amd(registers: &Registers) -> Grade {
    let status = registers.status;
    // Without UC this bit is a contradiction; the kernel's decoder looks at
    // it for uncorrected errors only (decode_error_status, mce_amd.c).
    let corrupt =
        status & PCC != 0 && (status & UC != 0 || registers.is_exception());
    if corrupt {
        return CORRUPT;
    }
    if status & UC != 0 {
        return match in_kernel(registers) {
            Some(true) => (Severity::Fatal, "uncorrected, in the kernel"),
            _ if is_smca(registers) => {
                (Severity::Srar, "uncorrected; the kernel ends the program")
            }
            _ if status & OVER != 0 => {
                (Severity::Fatal, "uncorrected, and other errors were lost")
            }
            _ => (Severity::Uncorrected, "uncorrected"),
        };
    }
    if status & DEFERRED != 0 && has_deferred(registers) {
        let code = (status >> 16 & 0x3f) as u16;
        if smca::of(registers).is_some_and(|b| smca::is_refused(b, code)) {
            return (Severity::Deferred, "nobody answered a request");
        }
        return (Severity::Deferred, "lost data that nobody has used");
    }
    (Severity::Corrected, "the hardware corrected it")
}

/// Bit 44 tells deferred errors since family 15h.
fn has_deferred(registers: &Registers) -> bool {
    registers.model().is_none_or(|model| model.family >= 0x15)
}
