//! Where it is, and the parts it may be filed under.
//!
//! A part is named only as far as the registers tell: a channel where the
//! slot is not known, a socket where the channel is not, and a bank's own
//! number where no one knows which controller the bank belongs to.

use super::bits::{MISCV, SYNDV};
use super::decoded::{Code, Kind, Place};
use super::intel;
use super::registers::Registers;
use super::severity::{is_consumed_poison, is_smca};
use super::smca;
use super::words::Unit;

/// Firmware's records are given to the kernel under this bank number
/// (apei_mce_report_mem_error, mce/apei.c: -1 in eight bits).
pub const FIRMWARE_BANK: u8 = 255;

/// The bank that older kernels gave them (before 4.1 or so), the first that
/// a machine check was sure to have.
const OLD_FIRMWARE_BANK: u8 = 1;

/// What firmware's records say in the place of an error code, on processors
/// of every maker: memory, any channel (apei_mce_report_mem_error).
const FIRMWARE_CODE: u16 = 0x009f;

/// Whether the kernel made it of a record of the firmware: it has Intel's
/// code, and CPU 0, whatever the processor and wherever the error.
pub fn is_firmwares(registers: &Registers) -> bool {
    let code = registers.status as u16 == FIRMWARE_CODE;
    registers.bank == Some(FIRMWARE_BANK)
        || code && registers.bank == Some(OLD_FIRMWARE_BANK)
}

/// Where it is.
pub fn place(registers: &Registers, code: &Code, unit: Unit) -> Place {
    let mut place = Place {
        socket: registers.socket,
        cpu: registers.cpu,
        ppin: registers.ppin.filter(|ppin| *ppin != 0),
        ..Place::default()
    };
    if is_firmwares(registers) {
        // Always CPU 0 and socket 0: they say nothing.
        (place.socket, place.cpu) = (None, None);
        return place;
    }
    place.is_cpus_own = is_cpus_own(registers, code, unit);
    if unit == Unit::Memory {
        if is_smca(registers) {
            amd_place(registers, code, &mut place);
        } else {
            intel::place(registers, code, &mut place);
        }
    }
    place.pci = pci(registers, code);
    place
}

/// Whether the unit belongs to the CPU that read it.
fn is_cpus_own(registers: &Registers, code: &Code, unit: Unit) -> bool {
    if let Some(bank) = smca::of(registers) {
        return bank.per_core;
    }
    if let Some(per_core) = intel::bank(registers).per_core {
        return per_core;
    }
    match unit {
        Unit::Cache => code.level.is_some_and(|level| level.is_a_cores()),
        Unit::Tlb | Unit::Core | Unit::Timer => true,
        _ => false,
    }
}

fn amd_place(registers: &Registers, code: &Code, place: &mut Place) {
    // How the stacks of an accelerator number theirs is not known here.
    let umc = smca::of(registers).is_some_and(smca::is_dram_controller);
    let Some(ipid) = registers.ipid.filter(|_| umc) else { return };
    place.channel = Some(smca::umc_channel(ipid));
    let synd = registers.synd.filter(|_| registers.status & SYNDV != 0);
    if code.model == smca::DRAM_ECC {
        place.rank = synd.map(smca::csrow);
    }
}

/// The port whose I/O failed (IO-MCA; SDM 3B "MCi_MISC for I/O errors").
fn pci(registers: &Registers, code: &Code) -> Option<String> {
    if code.kind != Kind::Io || registers.status & MISCV == 0 {
        return None;
    }
    let misc = registers.misc?;
    let field = |low: u32, bits: u32| misc >> low & ((1 << bits) - 1);
    Some(format!(
        "{:04x}:{:02x}:{:02x}.{:x}",
        field(32, 8),
        field(24, 8),
        field(19, 5),
        field(16, 3),
    ))
}

/// The parts, smallest first; the last one always exists.
pub fn parts(registers: &Registers, unit: Unit, place: &Place) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(pci) = &place.pci {
        parts.push(format!("pci/{pci}"));
    }
    if unit == Unit::Memory {
        if !is_consumed_poison(registers) {
            memory(registers, place, &mut parts);
        }
        parts.push("memory/system".into());
        return parts;
    }
    let core = place.cpu.map(|cpu| format!("cpu/cpu{cpu}"));
    let socket = place.socket.map(|socket| format!("cpu/socket{socket}"));
    // A shared unit is filed under the socket; where that is not known, the
    // CPU that read it lies in the right one.
    if place.is_cpus_own || socket.is_none() {
        parts.extend(core);
    }
    parts.extend(socket);
    parts.push("node/cpu".into());
    parts
}

fn memory(registers: &Registers, place: &Place, parts: &mut Vec<String>) {
    let socket = match (place.socket, place.cpu) {
        (Some(socket), _) => format!("socket{socket}"),
        (None, Some(cpu)) => format!("cpu{cpu}"),
        (None, None) => return,
    };
    let umc = is_smca(registers);
    if let Some(channel) = place.channel {
        let channel = match (place.controller, registers.bank) {
            _ if umc => Some(format!("{socket}-umc{channel}")),
            (Some(mc), _) => Some(format!("{socket}-mc{mc}-ch{channel}")),
            (None, Some(bank)) => {
                Some(format!("{socket}-bank{bank}-ch{channel}"))
            }
            (None, None) => None,
        };
        if let Some(channel) = channel {
            if let Some(slot) = place.slot {
                parts.push(format!("dimm/{channel}-slot{slot}"));
            }
            parts.push(format!("channel/{channel}"));
        }
    }
    if let Some(mc) = place.controller {
        parts.push(format!("memory/{socket}-mc{mc}"));
    }
    // Of all the memory of a socket only a socket's number can tell.
    if place.socket.is_some() {
        parts.push(format!("memory/{socket}"));
    }
}
