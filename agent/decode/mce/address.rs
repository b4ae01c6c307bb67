//! MCi_ADDR: what of it is an address, and of what.

use super::bits::{ADDRV, MISCV, POISON};
use super::decoded::Address;
use super::registers::{Registers, Vendor};
use super::severity::{is_consumed_poison, is_smca};
use super::words::{AddressMode, Unit};

/// A page has 2^12 bytes.
const PAGE_SHIFT: u8 = 12;

/// The address of the error, if the registers have one.
pub fn address(registers: &Registers, unit: Unit) -> Option<Address> {
    if registers.status & ADDRV == 0 {
        return None;
    }
    let addr = registers.addr?;
    match registers.vendor {
        _ if is_smca(registers) => Some(smca(registers, addr, unit)),
        Some(vendor) if vendor.is_like_amd() => Some(legacy_amd(addr, unit)),
        Some(vendor) if vendor.is_like_intel() => {
            Some(intel(registers, addr, vendor))
        }
        _ => Some(Address {
            value: addr,
            lsb: 0,
            mode: AddressMode::Unknown,
            usable: false,
        }),
    }
}

/// Clears the bits below `lsb`.
fn above(addr: u64, lsb: u8) -> u64 {
    addr.checked_shr(u32::from(lsb)).unwrap_or(0) << (lsb & 63)
}

/// MCi_MISC says what the address is (mce_usable_address, mce/core.c).
fn intel(registers: &Registers, addr: u64, vendor: Vendor) -> Address {
    let misc = registers.misc.filter(|_| registers.status & MISCV != 0);
    let Some(misc) = misc else {
        // Nothing says what it is. Only Intel and Zhaoxin must say it.
        let usable = vendor == Vendor::Centaur;
        let mode = AddressMode::Unknown;
        return Address { value: addr, lsb: 0, mode, usable };
    };
    let lsb = (misc & 0x3f) as u8;
    let mode = match misc >> 6 & 7 {
        0 => AddressMode::SegmentOffset,
        1 => AddressMode::Linear,
        2 => AddressMode::Physical,
        3 => AddressMode::Memory,
        7 => AddressMode::Generic,
        _ => AddressMode::Reserved,
    };
    let usable = lsb <= PAGE_SHIFT && mode == AddressMode::Physical;
    Address { value: above(addr, lsb), lsb, mode, usable }
}

/// The lowest valid bit stands in bits 61:56, the address in 55:0
/// (smca_extract_err_addr, mce/amd.c). A memory controller's address counts
/// within its channel: no page of the system.
fn smca(registers: &Registers, addr: u64, unit: Unit) -> Address {
    let lsb = (addr >> 56 & 0x3f) as u8;
    let value = above(addr & ((1 << 56) - 1), lsb);
    if unit == Unit::Memory && !is_consumed_poison(registers) {
        let mode = AddressMode::Normalized;
        return Address { value, lsb, mode, usable: false };
    }
    let poison = registers.status & POISON != 0;
    let mode =
        if poison { AddressMode::Physical } else { AddressMode::Unknown };
    Address { value, lsb, mode, usable: poison && lsb <= PAGE_SHIFT }
}

/// The north bridge tells addresses of the system's memory.
fn legacy_amd(addr: u64, unit: Unit) -> Address {
    let memory = unit == Unit::Memory;
    let mode =
        if memory { AddressMode::Physical } else { AddressMode::Unknown };
    Address { value: addr, lsb: 0, mode, usable: memory }
}
