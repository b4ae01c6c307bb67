//! MCACOD, bits 15:0 of MCi_STATUS: the codes that all processors share.
//!
//! Intel SDM 3B 17.9 "Interpreting the MCA error codes"; AMD's are the same
//! families with wider tests (drivers/edac/mce_amd.h).

use super::decoded::{Code, Kind};
use super::registers::Vendor;
use super::words::{Level, Operation, Role, Space, Transaction};

/// Intel: corrected errors of this kind are filtered (bit 12).
const FILTERED: u16 = 1 << 12;

/// Takes the low half of MCi_STATUS apart.
pub fn code(status: u64, vendor: Option<Vendor>) -> Code {
    let amd = vendor.is_some_and(Vendor::is_like_amd);
    let mca = status as u16;
    // AMD has no filtering: its bit 12 belongs to the code.
    let plain = if amd { mca } else { mca & !FILTERED };
    let kind = if amd { amd_kind(plain) } else { kind(plain) };
    let field = |low: u32, bits: u32| plain >> low & ((1 << bits) - 1);
    let mut code = Code {
        mca,
        model: (status >> 16) as u16,
        model_text: None,
        kind,
        filtered: !amd && mca & FILTERED != 0,
        operation: None,
        level: None,
        transaction: None,
        role: None,
        space: None,
        timeout: None,
    };
    match kind {
        Kind::Hierarchy => code.level = Some(level(plain, amd)),
        Kind::Tlb => {
            code.level = Some(level(plain, amd));
            code.transaction = transaction(field(2, 2));
        }
        Kind::MemoryController | Kind::MemoryCache => {
            code.operation = memory_operation(field(4, 3));
        }
        Kind::Cache => {
            code.level = Some(level(plain, amd));
            code.transaction = transaction(field(2, 2));
            code.operation = operation(field(4, 4));
        }
        Kind::Bus => {
            code.level = Some(level(plain, amd));
            code.operation = operation(field(4, 4));
            code.space = Some(space(field(2, 2)));
            code.timeout = Some(field(8, 1) == 1);
            code.role = Some(role(field(9, 2)));
        }
        _ => {}
    }
    code
}

/// The channel of a memory controller code; 15 stands for none.
pub fn channel(code: &Code) -> Option<u8> {
    let channel = (code.mca & 0xf) as u8;
    let has_one =
        matches!(code.kind, Kind::MemoryController | Kind::MemoryCache);
    (has_one && channel != 15).then_some(channel)
}

/// The order of the tests is that of the manual: the first that fits.
fn kind(code: u16) -> Kind {
    match code {
        0 => Kind::None,
        1 => Kind::Unclassified,
        2 => Kind::MicrocodeRom,
        3 => Kind::External,
        4 => Kind::Redundancy,
        5 => Kind::InternalParity,
        6 => Kind::SmmCode,
        0x0e0b => Kind::Io,
        0x0400 => Kind::Timer,
        _ if code >> 2 == 3 => Kind::Hierarchy,
        _ if code >> 4 == 1 => Kind::Tlb,
        _ if code >> 7 == 1 => Kind::MemoryController,
        _ if code >> 8 == 1 => Kind::Cache,
        _ if code >> 7 == 5 => Kind::MemoryCache,
        _ if code >> 10 == 1 => Kind::Internal,
        _ if code >> 11 == 1 => Kind::Bus,
        _ => Kind::Unknown,
    }
}

/// AMD's families (TLB_ERROR, MEM_ERROR, BUS_ERROR, INT_ERROR).
fn amd_kind(code: u16) -> Kind {
    match code {
        0 => Kind::None,
        _ if code & 0xfff0 == 0x0010 => Kind::Tlb,
        _ if code & 0xff00 == 0x0100 => Kind::Cache,
        _ if code & 0xf800 == 0x0800 => Kind::Bus,
        _ if code & 0xf4ff == 0x0400 => Kind::Internal,
        _ => Kind::Unknown,
    }
}

fn level(code: u16, amd: bool) -> Level {
    match code & 3 {
        0 if amd => Level::Reserved,
        0 => Level::L0,
        1 => Level::L1,
        2 => Level::L2,
        _ => Level::Generic,
    }
}

fn transaction(field: u16) -> Option<Transaction> {
    match field {
        0 => Some(Transaction::Instruction),
        1 => Some(Transaction::Data),
        2 => Some(Transaction::Generic),
        _ => None,
    }
}

fn operation(field: u16) -> Option<Operation> {
    const RRRR: [Operation; 9] = [
        Operation::Generic,
        Operation::Read,
        Operation::Write,
        Operation::DataRead,
        Operation::DataWrite,
        Operation::InstructionFetch,
        Operation::Prefetch,
        Operation::Eviction,
        Operation::Snoop,
    ];
    RRRR.get(usize::from(field)).copied()
}

fn memory_operation(field: u16) -> Option<Operation> {
    const MMM: [Operation; 5] = [
        Operation::Generic,
        Operation::Read,
        Operation::Write,
        Operation::AddressCommand,
        Operation::Scrub,
    ];
    MMM.get(usize::from(field)).copied()
}

fn role(field: u16) -> Role {
    match field {
        0 => Role::Requester,
        1 => Role::Responder,
        2 => Role::Observer,
        _ => Role::Generic,
    }
}

fn space(field: u16) -> Space {
    match field {
        0 => Space::Memory,
        1 => Space::Reserved,
        2 => Space::Io,
        _ => Space::Other,
    }
}
