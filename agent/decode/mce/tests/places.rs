//! Banks, controllers, channels and slots, by model.

use super::*;

const READ: u64 = 0x8c00_0040_0001_0091; // channel 1, with address and misc

fn part(cpuid: u32, bank: u8, misc: u64) -> String {
    let registers = Registers {
        misc: Some(misc),
        addr: Some(0x1000),
        socket: Some(1),
        cpu: Some(40),
        ..of_model(cpuid, bank, READ)
    };
    decode(&registers).parts[0].clone()
}

#[test]
fn a_channels_own_bank_says_which_channel_it_is() {
    // Skylake: 13 and 14 are controller 0, 15 and 16 controller 1, and 17
    // and 18 their third channels.
    assert_eq!(part(0x50654, 13, 0x86), "channel/socket1-mc0-ch0");
    assert_eq!(part(0x50654, 16, 0x86), "channel/socket1-mc1-ch1");
    assert_eq!(part(0x50654, 17, 0x86), "channel/socket1-mc0-ch2");
    assert_eq!(part(0x50654, 18, 0x86), "channel/socket1-mc1-ch2");
    // In front of the controller the code says it.
    assert_eq!(part(0x50654, 8, 0x86), "channel/socket1-mc1-ch1");
    // Broadwell: four banks for each controller.
    assert_eq!(part(0x406f1, 13, 0x86), "channel/socket1-mc1-ch1");
}

#[test]
fn newer_servers_tell_the_slot() {
    // Ice Lake: rank in 58:56, of which the upper bit is the slot.
    assert_eq!(part(0x606a6, 22, 5 << 56), "dimm/socket1-mc2-ch1-slot1");
    assert_eq!(part(0x606a6, 13, 3 << 56), "dimm/socket1-mc0-ch0-slot0");
    // Sapphire Rapids: slot in 58.
    assert_eq!(part(0x806f8, 16, 1 << 58), "dimm/socket1-mc1-ch1-slot1");
    // Persistent memory: bits 62:59 are 8.
    let persistent = 8 << 59 | 5 << 56;
    assert_eq!(part(0x606a6, 22, persistent), "channel/socket1-mc2-ch1");
    // Not one of the channels' banks.
    assert_eq!(part(0x606a6, 23, 5 << 56), "channel/socket1-bank23-ch1");
}

#[test]
fn what_no_one_knows_of_a_bank_stays_the_bank() {
    assert_eq!(part(0xa06d0, 13, 0x86), "channel/socket1-bank13-ch1");
}

#[test]
fn without_a_socket_the_cpu_stands_for_it() {
    let registers = Registers { cpu: Some(40), ..of_model(0x50654, 13, READ) };
    let got = decode(&registers);
    assert_eq!(
        got.parts,
        ["channel/cpu40-mc0-ch0", "memory/cpu40-mc0", "memory/system"]
    );
}

#[test]
fn a_shared_bank_is_the_sockets_and_not_the_cpus_that_read_it() {
    let l3 = Registers {
        cpu: Some(7),
        socket: Some(1),
        ..smca(0x0007_00b0_0000_0000, 0x9c20_4000_0004_010b)
    };
    let got = decode(&l3);
    assert_eq!(got.bank.unwrap().short, "L3");
    assert_eq!(got.parts, ["cpu/socket1", "node/cpu"]);
    let l2 = Registers { ipid: Some(0x0002_00b0_0000_0000), ..l3.clone() };
    assert_eq!(decode(&l2).parts[0], "cpu/cpu7");
    // The socket is not told: CPU 7 lies in it.
    let text = Registers { socket: None, ..l3 };
    assert_eq!(decode(&text).parts, ["cpu/cpu7", "node/cpu"]);
}

#[test]
fn the_old_north_bridge_is_memory_or_a_link() {
    let of = |status| {
        let registers = Registers {
            vendor: Some(Vendor::Amd),
            cpuid: Some(0x60_0f12),
            bank: Some(4),
            cpu: Some(2),
            status,
            ..Registers::default()
        };
        let got = decode(&registers);
        (got.unit, got.parts[0].clone(), got.code.model_text)
    };
    let dram = Some("DRAM ECC error");
    let memory = (Unit::Memory, "memory/system".to_owned(), dram);
    assert_eq!(of(0x9c5c_4000_b008_0a13), memory);
    let (unit, part, text) = of(0xb200_0000_0007_0f0f);
    assert_eq!((unit, &part[..]), (Unit::Interconnect, "cpu/cpu2"));
    assert!(text.unwrap().starts_with("watchdog"));
}

#[test]
fn places_are_told_in_words() {
    let registers = Registers {
        socket: Some(1),
        addr: Some(0),
        misc: Some(5 << 56),
        ..of_model(0x606a6, 22, READ)
    };
    assert_eq!(
        decode(&registers).place_in_words(),
        "socket 1, memory controller 2, channel 1, slot 1, rank 1"
    );
    assert_eq!(decode(&intel(1 << 63)).place_in_words(), "unknown");
}

#[test]
fn a_cores_watchdog_is_no_cache() {
    let of = |ipid| {
        let registers =
            Registers { cpu: Some(2), ..smca(ipid, 0xbea0_0000_0000_0108) };
        let got = decode(&registers);
        (got.unit, got.parts[0].clone(), got.summary)
    };
    let (unit, part, summary) = of(0x0005_00b0_0000_0000);
    assert_eq!((unit, &part[..]), (Unit::Timer, "cpu/cpu2"));
    assert_eq!(
        summary,
        "fatal internal timer error: a core made no progress (EX: execution \
         unit): watchdog timeout"
    );
    let (unit, part, summary) = of(0x0001_00b0_0000_0000);
    assert_eq!((unit, &part[..]), (Unit::Core, "cpu/cpu2"));
    assert!(summary.starts_with("fatal error of a processor core"));
}

#[test]
fn what_the_kernel_makes_of_a_firmwares_record_is_memory_on_any_processor() {
    const RECORD: u64 = 0x9c00_0000_0000_009f;
    let amd = Registers {
        vendor: Some(Vendor::Amd),
        cpuid: Some(0xa1_0f11),
        cpu: Some(0),
        socket: Some(0),
        bank: Some(255),
        addr: Some(0x7_1234_5000),
        status: RECORD,
        ..Registers::default()
    };
    // Older kernels give it the number of a bank that every processor has.
    let old = Registers { bank: Some(1), ..of_model(0x50654, 1, RECORD) };
    let old = Registers { socket: Some(0), cpu: Some(0), ..old };
    for registers in [&amd, &old] {
        let got = decode(registers);
        assert_eq!(got.unit, Unit::Memory);
        assert_eq!(got.parts, ["memory/system"]);
        assert_eq!(got.bank, None);
        assert_eq!(got.severity, Severity::Corrected);
        let lost = Registers { status: RECORD | 1 << 61, ..registers.clone() };
        assert_eq!(decode(&lost).severity, Severity::Uncorrected);
        let fatal = RECORD | 1 << 61 | 1 << 57;
        let fatal = Registers { status: fatal, ..registers.clone() };
        assert_eq!(decode(&fatal).severity, Severity::Fatal);
    }
}

#[test]
fn the_memory_stacks_of_an_accelerator_are_no_channels_of_dimms() {
    let hbm = smca(0x0001_0096_0019_2f00, 0x9c20_4000_0003_011b);
    let hbm = Registers { socket: Some(1), ..hbm };
    let got = decode(&hbm);
    assert_eq!(got.parts, ["memory/socket1", "memory/system"]);
    assert_eq!(got.code.model_text, None);
}

#[test]
fn a_count_is_read_only_where_the_maker_is_known() {
    let nobody =
        Registers { status: 0x9c20_4000_0000_011b, ..Registers::default() };
    assert_eq!(decode(&nobody).count, 1);
}

#[test]
fn poison_that_passes_an_io_unit_is_no_dimm() {
    // Turin's NBIO, PCIe error, uncorrected and poisoned.
    let nbio = smca(0x0000_0018_1343_0400, 0xbe20_0800_0001_0e0b);
    let got = decode(&Registers { socket: Some(0), ..nbio });
    assert_eq!(got.unit, Unit::Io);
    assert_eq!(got.parts[0], "cpu/socket0");
    // A core that uses marked data names no part of its own.
    let core = smca(0x0010_00b0_0000_0000, 0xbc00_0800_0000_0135);
    assert_eq!(decode(&core).parts, ["memory/system"]);
}

#[test]
fn the_old_north_bridge_tells_of_the_l3_too() {
    let l3 = Registers {
        vendor: Some(Vendor::Amd),
        cpuid: Some(0x100f42),
        bank: Some(4),
        ..intel(0xbe00_0000_001c_017b)
    };
    assert_eq!(decode(&l3).unit, Unit::Cache);
}
