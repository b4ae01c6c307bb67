//! Status values out of real reports, with what they mean, field by field.

use super::super::bits::{
    ADDRV, AR, CECC, DEFERRED, EN, MISCV, OVER, PCC, POISON, S, SYNDV, UC,
    UECC, VAL,
};
use super::super::words::{Level, Operation, Transaction};
use super::*;

/// One value and its meaning.
struct Vector {
    status: u64,
    registers: Registers,
    /// Exactly these of the flags are set.
    flags: u64,
    severity: Severity,
    unit: Unit,
    kind: Kind,
    model_code: u16,
    operation: Option<Operation>,
    level: Option<Level>,
    transaction: Option<Transaction>,
    channel: Option<u8>,
    part: &'static str,
}

/// The flags that vectors tell, but those that only one maker has.
const COMMON: u64 = VAL | OVER | UC | EN | MISCV | ADDRV | PCC;
const INTELS: u64 = COMMON | S | AR;
const AMDS: u64 = COMMON | SYNDV | CECC | UECC | DEFERRED | POISON;

/// What most vectors have: Intel, memory, corrected, on CPU 3 of socket 0.
fn vector(status: u64) -> Vector {
    Vector {
        status,
        registers: Registers { cpu: Some(3), socket: Some(0), ..intel(status) },
        flags: VAL | MISCV | ADDRV,
        severity: Severity::Corrected,
        unit: Unit::Memory,
        kind: Kind::MemoryController,
        model_code: 0,
        operation: None,
        level: None,
        transaction: None,
        channel: None,
        part: "memory/socket0",
    }
}

/// A core's failure.
fn core(status: u64) -> Vector {
    Vector {
        severity: Severity::Fatal,
        unit: Unit::Core,
        kind: Kind::Internal,
        part: "cpu/cpu3",
        ..vector(status)
    }
}

/// Of AMD's, on CPU 0 without a socket, as its text tells.
fn amd(status: u64, ipid: Option<u64>, cpuid: u32) -> Vector {
    Vector {
        registers: Registers {
            cpu: Some(0),
            vendor: Some(Vendor::Amd),
            cpuid: Some(cpuid),
            ipid,
            synd: Some(0x1103),
            status,
            ..Registers::default()
        },
        kind: Kind::Cache,
        operation: Some(Operation::Read),
        level: Some(Level::Generic),
        transaction: Some(Transaction::Generic),
        ..vector(status)
    }
}

fn intel_vectors() -> Vec<Vector> {
    let read = Some(Operation::Read);
    vec![
        Vector {
            model_code: 8,
            operation: Some(Operation::Scrub),
            channel: Some(2),
            ..vector(0x8c00_004f_0008_00c2)
        },
        Vector {
            model_code: 1,
            operation: read,
            channel: Some(0),
            ..vector(0x8c00_0040_0001_0090)
        },
        Vector {
            flags: VAL | EN,
            model_code: 9,
            operation: Some(Operation::Generic),
            ..vector(0x9000_0040_0009_008f)
        },
        Vector {
            flags: VAL | UC | EN | MISCV | PCC,
            model_code: 0x40,
            ..core(0xba00_0000_0040_0405)
        },
        Vector {
            flags: VAL | UC | EN | MISCV | ADDRV | PCC,
            severity: Severity::Fatal,
            model_code: 0x101,
            operation: read,
            channel: Some(1),
            ..vector(0xbe00_0000_0101_0091)
        },
        Vector {
            flags: VAL | UC | MISCV | ADDRV | PCC,
            unit: Unit::Cache,
            kind: Kind::Cache,
            model_code: 3,
            operation: Some(Operation::Generic),
            level: Some(Level::L2),
            transaction: Some(Transaction::Generic),
            ..core(0xae20_0000_0003_110a)
        },
        Vector {
            flags: VAL | UC | EN | MISCV | ADDRV | S | AR,
            severity: Severity::Srar,
            // Data that memory lost, and that a load used.
            unit: Unit::Memory,
            kind: Kind::Cache,
            model_code: 0x10,
            operation: Some(Operation::DataRead),
            level: Some(Level::L0),
            transaction: Some(Transaction::Data),
            part: "memory/system",
            ..core(0xbd80_0000_0010_0134)
        },
        Vector {
            flags: VAL | UC | ADDRV | PCC,
            model_code: 2,
            ..core(0xa600_0000_0002_0408)
        },
        Vector {
            flags: VAL | OVER | UC | ADDRV | PCC,
            model_code: 2,
            ..core(0xe600_0000_0002_0408)
        },
        // Two that were injected into a virtual machine.
        Vector {
            flags: VAL | EN | MISCV | ADDRV,
            severity: Severity::Corrected,
            unit: Unit::Unknown,
            kind: Kind::None,
            part: "cpu/socket0",
            ..core(0x9c00_0000_0000_0000)
        },
        Vector {
            flags: VAL | UC | EN | MISCV | ADDRV | S,
            severity: Severity::Srao,
            operation: Some(Operation::Scrub),
            channel: Some(0),
            ..vector(0xbd00_0000_0000_00c0)
        },
    ]
}

fn amd_vectors() -> Vec<Vector> {
    const UMC: u64 = 0x96_0015_0f00;
    const LS: u64 = 0xb0_0000_0000;
    vec![
        Vector {
            flags: VAL | EN | MISCV | ADDRV | SYNDV | CECC,
            channel: Some(1),
            part: "channel/cpu0-umc1",
            ..amd(0x9c20_4000_0000_011b, Some(UMC), 0x80_0f11)
        },
        Vector {
            flags: VAL | OVER | EN | MISCV | ADDRV | SYNDV | UECC | DEFERRED,
            severity: Severity::Deferred,
            channel: Some(1),
            part: "channel/cpu0-umc1",
            ..amd(0xdc20_3000_0000_011b, Some(UMC), 0x80_0f11)
        },
        Vector {
            flags: VAL | UC | EN | MISCV | ADDRV | UECC | POISON,
            severity: Severity::Srar,
            model_code: 12,
            operation: Some(Operation::DataRead),
            level: Some(Level::L1),
            transaction: Some(Transaction::Data),
            part: "memory/system",
            ..amd(0xbc00_2800_000c_0135, Some(LS), 0x80_0f11)
        },
        Vector {
            flags: VAL | ADDRV | PCC | DEFERRED,
            severity: Severity::Deferred,
            unit: Unit::Unknown,
            kind: Kind::None,
            operation: None,
            level: None,
            transaction: None,
            part: "cpu/cpu0",
            ..amd(0x8700_9008_0000_0000, None, 0xa5_0f00)
        },
    ]
}

#[test]
fn every_vector_means_what_was_found_out_about_it() {
    let all = intel_vectors().into_iter().map(|v| (v, INTELS));
    let all = all.chain(amd_vectors().into_iter().map(|v| (v, AMDS)));
    for (v, flags) in all {
        let name = format!("{:016x}", v.status);
        let got = decode(&v.registers);
        assert_eq!(v.status & flags, v.flags, "{name}");
        assert_eq!(got.severity, v.severity, "{name}: {}", got.graded);
        assert_eq!(got.unit, v.unit, "{name}");
        assert_eq!(got.count, 1, "{name}");
        assert_eq!(got.overflow, v.flags & OVER != 0, "{name}");
        assert_eq!(got.code.kind, v.kind, "{name}");
        assert_eq!(got.code.model, v.model_code, "{name}");
        assert_eq!(got.code.operation, v.operation, "{name}");
        assert_eq!(got.code.level, v.level, "{name}");
        assert_eq!(got.code.transaction, v.transaction, "{name}");
        assert_eq!(got.place.channel, v.channel, "{name}");
        let poison = v.flags & (POISON | DEFERRED) != 0;
        assert_eq!(got.poison, poison, "{name}");
        assert_eq!(got.parts[0], v.part, "{name}");
    }
}

#[test]
fn who_used_poisoned_data_is_not_who_lost_it() {
    let registers = Registers {
        addr: Some(0x7_9d6c_8440),
        socket: Some(1),
        cpu: Some(7),
        ..smca(0xb0_0000_0000, 0xbc00_2800_000c_0135)
    };
    let got = decode(&registers);
    assert_eq!(
        (got.unit, &got.parts[..]),
        (Unit::Memory, &["memory/system".to_owned()][..])
    );
    assert_eq!(got.place.channel, None);
    assert_eq!(got.address.unwrap().page(), Some(0x79d6c8));
}

#[test]
fn only_the_filter_bit_of_the_cache_error_is_filtered() {
    assert!(decode(&intel(0xae20_0000_0003_110a)).code.filtered);
    assert!(!decode(&intel(0xae20_0000_0003_010a)).code.filtered);
}

#[test]
fn what_an_atom_kept_of_an_earlier_reset_is_said_to_be_that() {
    let of = |cpuid, tsc| {
        let registers = Registers {
            tsc: Some(tsc),
            ..of_model(cpuid, 4, 0xa600_0000_0002_0408)
        };
        let notes = decode(&registers).notes;
        notes.iter().any(|n| n.starts_with("Atom processors"))
    };
    assert!(of(0x506c9, 0));
    assert!(!of(0x506c9, 77));
    assert!(!of(0x50654, 0));
}

#[test]
fn contradictory_bits_are_not_to_be_believed() {
    let registers = smca(0, 0x8700_9008_0000_0000);
    let got = decode(&registers);
    assert!(got.contradicts);
    assert!(got.notes.iter().any(|n| n.contains("contradict")));
    assert!(!decode(&smca(0, 0xbea0_0000_0000_0108)).contradicts);
    // From a report: random bits, of an unknown bank, reporting enabled.
    assert!(decode(&smca(0, 0xd349_f989_0824_448b)).contradicts);
}

#[test]
fn the_extended_code_is_told_in_words() {
    let text = |ipid, status| decode(&smca(ipid, status)).code.model_text;
    let dram = Some("DRAM ECC error");
    assert_eq!(text(0x96_0005_0f00, 0x9c20_4000_0000_011b), dram);
    // The bank is known by the code alone.
    assert_eq!(text(0, 0x9c20_4000_0000_011b), dram);
    let link = Some("link error");
    assert_eq!(text(0x0001_002e_0000_0000, 0x9820_0000_0002_080b), link);
}
