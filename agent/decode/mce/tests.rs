//! Real values with what they mean, and any values at all.

mod any;
mod places;
mod vectors;

use super::*;

/// Registers of an Intel processor whose model is not known.
fn intel(status: u64) -> Registers {
    Registers { status, vendor: Some(Vendor::Intel), ..Registers::default() }
}

/// Registers of that model (CPUID(1).EAX) and bank.
fn of_model(cpuid: u32, bank: u8, status: u64) -> Registers {
    Registers { cpuid: Some(cpuid), bank: Some(bank), ..intel(status) }
}

/// Registers of a bank of AMD's with that MCA_IPID.
fn smca(ipid: u64, status: u64) -> Registers {
    Registers {
        status,
        ipid: Some(ipid),
        vendor: Some(Vendor::Amd),
        cpuid: Some(0x80_0f11),
        ..Registers::default()
    }
}

#[test]
fn a_yellow_bank_is_told_where_the_processor_can_tell_it() {
    const YELLOW: u64 = 0x8c40_0040_0001_0135;
    let tracks = Registers { mcgcap: Some(1 << 11), ..intel(YELLOW) };
    assert_eq!(decode(&tracks).tracking, Some(Tracking::Yellow));
    let cannot = Registers { mcgcap: Some(0), ..intel(YELLOW) };
    assert_eq!(decode(&cannot).tracking, None);
    // Nothing says that the bits mean it.
    assert_eq!(decode(&intel(YELLOW)).tracking, None);
    let skylake = of_model(0x50654, 1, YELLOW);
    assert_eq!(decode(&skylake).tracking, Some(Tracking::Yellow));
    let uncorrected = of_model(0x50654, 1, YELLOW | 1 << 61);
    assert_eq!(decode(&uncorrected).tracking, None);
}

#[test]
fn corrected_errors_are_counted_where_the_processor_counts() {
    const MANY: u64 = 0x8c00_0000_0001_0090 | 184 << 38;
    assert_eq!(decode(&intel(MANY)).count, 184);
    let cannot = Registers { mcgcap: Some(0x806), ..intel(MANY) };
    assert_eq!(decode(&cannot).count, 1);
    let pentium = of_model(0xf4a, 0, MANY);
    assert_eq!(decode(&pentium).count, 1);
}

#[test]
fn severities_are_those_of_the_kernels_table() {
    const CAP: u64 = 1 << 24 | 1 << 10;
    let grade = |status: u64, mcgstatus: u64, cs: u16| {
        let registers = Registers {
            mcgcap: Some(CAP),
            mcgstatus: Some(mcgstatus),
            cs: Some(cs),
            ..intel(status)
        };
        decode(&registers).severity
    };
    let (user, kernel) = (0x33, 0x10);
    let cases = [
        ("not valid", 0x3c00_0000_0000_0134, 0, user, Severity::None),
        ("not enabled", 0xae00_0000_0000_0134, 5, user, Severity::None),
        ("context corrupt", 0xbe00_0000_0000_0134, 5, user, Severity::Fatal),
        ("no address", 0xbd80_0000_0000_0134, 4, user, Severity::Fatal),
        ("no restart", 0xbd80_0000_0000_0134, 6, kernel, Severity::Fatal),
        ("scrub", 0xbd00_0000_0000_00c3, 5, user, Severity::Srao),
        ("scrub by CMCI", 0xbc00_0000_0000_00c3, 0, 0, Severity::Srao),
        ("write-back", 0xbd00_0000_0000_017a, 5, user, Severity::Srao),
        ("UCNA", 0xbc00_0000_0000_0090, 0, 0, Severity::Ucna),
        ("UCNA, over", 0xfc00_0000_0000_0090, 0, 0, Severity::Ucna),
        ("AR without S", 0xbc80_0000_0000_0134, 7, user, Severity::Fatal),
        ("user load", 0xbd80_0000_0000_0134, 7, user, Severity::Srar),
        ("user fetch", 0xbd80_0000_0000_0150, 7, user, Severity::Srar),
        ("kernel load", 0xbd80_0000_0000_0134, 7, kernel, Severity::Fatal),
        ("other thread", 0xbd80_0000_0000_0134, 5, user, Severity::Srar),
        ("lost events", 0xfd80_0000_0000_0134, 7, user, Severity::Fatal),
        ("other code", 0xbd80_0000_0000_0151, 7, user, Severity::Fatal),
        ("no place", 0xb180_0000_0000_0134, 7, user, Severity::Fatal),
        ("optional", 0xbd00_0000_0000_0090, 5, user, Severity::Srao),
        ("corrected", 0x9c00_0000_0000_0090, 0, 0, Severity::Corrected),
    ];
    for (name, status, mcgstatus, cs, want) in cases {
        assert_eq!(grade(status, mcgstatus, cs), want, "{name}");
    }
}

#[test]
fn without_recovery_uncorrected_is_all_that_can_be_told() {
    let grade = |status: u64| {
        let old = Registers { mcgcap: Some(6), ..intel(status) };
        decode(&old).severity
    };
    assert_eq!(grade(0x9c00_0000_0000_0090), Severity::Corrected);
    assert_eq!(grade(0xbc00_0000_0000_0090), Severity::Uncorrected);
    assert_eq!(grade(0xfc00_0000_0000_0090), Severity::Fatal);
}

#[test]
fn skylakes_quiet_scrub_is_no_corrected_error() {
    const SCRUB: u64 = 0x8c00_0040_0010_00c1;
    let grade = |cpuid, bank| decode(&of_model(cpuid, bank, SCRUB)).severity;
    assert_eq!(grade(0x50654, 13), Severity::Srao);
    assert_eq!(grade(0x50657, 18), Severity::Srao);
    assert_eq!(grade(0x50654, 12), Severity::Corrected);
    assert_eq!(grade(0x50653, 13), Severity::Corrected);
    assert_eq!(grade(0x606a6, 13), Severity::Corrected);
}

#[test]
fn amds_severities_are_the_kernels() {
    const UC: u64 = 0xbc00_2800_000c_0135;
    let lone = |status| decode(&smca(0xb0_0000_0000, status)).severity;
    assert_eq!(lone(UC), Severity::Srar);
    assert_eq!(lone(UC | 1 << 57), Severity::Fatal);
    assert_eq!(lone(UC | 1 << 62), Severity::Srar);
    let in_kernel = Registers {
        mcgstatus: Some(5),
        cs: Some(0x10),
        ..smca(0xb0_0000_0000, UC)
    };
    assert_eq!(decode(&in_kernel).severity, Severity::Fatal);
    let old = |status| {
        let registers =
            Registers { ipid: None, cpuid: Some(0x10_0f42), ..smca(0, status) };
        decode(&registers).severity
    };
    assert_eq!(old(UC), Severity::Uncorrected);
    assert_eq!(old(UC | 1 << 62), Severity::Fatal);
    // Family 10h has no deferred errors.
    assert_eq!(old(0x9c00_1000_0000_0135), Severity::Corrected);
}

#[test]
fn hygon_is_read_as_amd_and_zhaoxin_as_intel() {
    let hygon = Registers {
        vendor: Some(Vendor::Hygon),
        cpuid: Some(0x90_0f01),
        ..smca(0x96_0005_0f00, 0x9c20_4000_0000_011b)
    };
    assert_eq!(decode(&hygon).unit, Unit::Memory);
    let zhaoxin = Registers {
        vendor: Some(Vendor::Zhaoxin),
        ..intel(0x8c00_0040_0001_0091)
    };
    let got = decode(&zhaoxin);
    assert_eq!((got.unit, got.place.channel), (Unit::Memory, Some(1)));
}

#[test]
fn an_address_is_usable_as_the_kernel_finds_it() {
    let address = |misc: u64| {
        let registers = Registers {
            addr: Some(0x1234_5678),
            misc: Some(misc),
            ..intel(0x8c00_0040_0001_0090)
        };
        decode(&registers).address.unwrap()
    };
    let physical = address(0x86);
    assert!(physical.usable);
    assert_eq!((physical.value, physical.lsb), (0x1234_5640, 6));
    assert_eq!(physical.page(), Some(0x12345));
    assert!(!address(0x46).usable, "linear");
    assert!(!address(0x8d).usable, "coarser than a page");
    let bare = Registers { addr: Some(1), ..intel(0x8400_0040_0001_0090) };
    assert!(!decode(&bare).address.unwrap().usable, "MISCV is 0");
    // A memory controller's address counts within its channel.
    let umc = Registers {
        addr: Some(0x0c00_0000_1234_5678),
        ..smca(0x96_0005_0f00, 0x9c20_4000_0000_011b)
    };
    let got = decode(&umc).address.unwrap();
    assert_eq!((got.value, got.lsb, got.usable), (0x1234_5000, 12, false));
}

#[test]
fn an_io_error_names_the_port() {
    let registers = Registers {
        misc: Some(0x0000_0001_3b19_0000),
        socket: Some(0),
        ..intel(0xba00_0000_0000_0e0b)
    };
    let got = decode(&registers);
    assert_eq!(got.unit, Unit::Io);
    assert_eq!(got.parts[0], "pci/0001:3b:03.1");
}

#[test]
fn unknown_models_degrade_to_the_architectural_code_and_say_so() {
    let said = |registers: &Registers| {
        let got = decode(registers);
        let noted = got.notes.iter().any(|n| n.contains("not known here"));
        assert_eq!(got.architectural, noted);
        noted
    };
    assert!(said(&intel(0x8c00_0040_0001_0090)));
    assert!(said(&of_model(0xa06d0, 13, 0x8c00_0040_0001_0090)));
    assert!(!said(&of_model(0x50654, 13, 0x8c00_0040_0001_0090)));
    assert!(said(&smca(0xfff_0000_0000, 0x9c20_4000_0000_0135)));
    assert!(!said(&smca(0x96_0005_0f00, 0x9c20_4000_0000_011b)));
}

#[test]
fn a_request_that_the_fabric_refuses_is_no_fault_of_the_processor() {
    // A GPU of an APU with a bad address, as a kernel printed it.
    let refused = decode(&smca(0x2e_0000_0000, 0x9420_3000_0001_085b));
    assert_eq!(refused.severity, Severity::Deferred);
    assert_eq!(refused.unit, Unit::Request);
    assert_eq!(
        refused.summary,
        "deferred (uncorrected, not yet used) refused request (CS: coherent \
         slave): address violation"
    );
    // One that stops the processor is graded as such.
    let fatal = smca(0x2e_0000_0000, 0xb620_2000_0001_085b);
    assert_eq!(decode(&fatal).unit, Unit::Interconnect);
    assert_eq!(decode(&fatal).severity, Severity::Fatal);
    // A parity error is the fabric's own.
    let parity = smca(0x2e_0000_0000, 0x9420_3000_0005_085b);
    assert_eq!(decode(&parity).unit, Unit::Interconnect);
}

#[test]
fn who_used_lost_data_is_no_faulty_processor_though_the_block_is_cut_off() {
    // As a server printed it; what names the maker was lost.
    let cut = Registers {
        status: 0xbd80_0000_0010_0134,
        bank: Some(1),
        cpu: Some(296),
        mcgstatus: Some(0xf),
        cs: Some(0x10),
        ..Registers::default()
    };
    let decoded = decode(&cut);
    assert_eq!(decoded.unit, Unit::Memory);
    assert_eq!(decoded.parts, ["memory/system"]);
    let amd = Registers { vendor: Some(Vendor::Amd), ..cut };
    assert_eq!(decode(&amd).unit, Unit::Cache);
}
