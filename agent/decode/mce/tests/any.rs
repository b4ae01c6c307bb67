//! Any register values: nothing panics, and what is told holds together.

use proptest::prelude::*;

use super::super::bits::{ADDRV, AR, EN, MISCV, OVER, PCC, S, UC, VAL};
use super::*;
use crate::parts::ids::PART_ID_MAX;

/// Every sentence is shorter; places are told elsewhere.
const SUMMARY_MAX: usize = 160;

fn vendor() -> impl Strategy<Value = Option<Vendor>> {
    prop_oneof![
        Just(None),
        Just(Some(Vendor::Intel)),
        Just(Some(Vendor::Amd)),
        any::<u8>().prop_map(|n| Some(Vendor::of(n))),
    ]
}

/// Models that are known here, and any.
fn cpuid() -> impl Strategy<Value = Option<u32>> {
    const KNOWN: [u32; 12] = [
        0x206d7, 0x306f2, 0x406f1, 0x50654, 0x606a6, 0x806f8, 0x80_0f11,
        0xa2_0f10, 0x90_0f01, 0x60_0f12, 0x10_0f42, 0x506c9,
    ];
    prop_oneof![
        Just(None),
        prop::sample::select(&KNOWN[..]).prop_map(Some),
        any::<u32>().prop_map(Some),
    ]
}

/// Random bits, and low halves that are codes.
fn status() -> impl Strategy<Value = u64> {
    const CODES: [u64; 8] =
        [0x90, 0xc1, 0x134, 0x150, 0x17a, 0x11b, 0x405, 0xe0b];
    let flags = VAL | OVER | UC | EN | MISCV | ADDRV | PCC | S | AR;
    prop_oneof![
        any::<u64>(),
        (any::<u64>(), prop::sample::select(&CODES[..]))
            .prop_map(move |(high, code)| (high & flags) | VAL | code),
    ]
}

fn maybe() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        Just(None),
        (0u64..16).prop_map(Some),
        any::<u64>().prop_map(Some)
    ]
}

prop_compose! {
    fn registers()(
        (status, vendor, cpuid) in (status(), vendor(), cpuid()),
        (addr, misc, synd, ipid) in (maybe(), maybe(), maybe(), maybe()),
        (mcgstatus, mcgcap, tsc, ppin) in (maybe(), maybe(), maybe(), maybe()),
        (bank, cpu, socket, cs) in any::<
            (Option<u8>, Option<u32>, Option<u32>, Option<u16>),
        >(),
    ) -> Registers {
        Registers {
            status, vendor, cpuid, addr, misc, synd, ipid, mcgstatus, mcgcap,
            tsc, ppin, bank, cpu, socket, cs, ..Registers::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_registers_decode_to_something_consistent(r in registers()) {
        let got = decode(&r);
        let bits = |mask: u64| r.status & mask;
        if bits(VAL) == 0 {
            prop_assert_eq!(got.severity, Severity::None);
            prop_assert_eq!(&got.summary[..], "no error");
        } else if got.severity == Severity::None {
            prop_assert!(bits(EN) == 0 && got.exception);
        } else if bits(UC) != 0 {
            prop_assert!(got.severity.is_uncorrected());
        }
        if bits(UC | PCC) == UC | PCC && bits(VAL) != 0 && bits(EN) != 0 {
            prop_assert_eq!(got.severity, Severity::Fatal);
        }
        prop_assert!((1..=0x7fff).contains(&got.count));
        prop_assert!(got.tracking.is_none() || bits(UC) == 0);
        if let Some(address) = &got.address {
            prop_assert!(bits(ADDRV) != 0 && address.lsb < 64);
            prop_assert!(!address.usable || address.lsb <= 12);
        }
        prop_assert_eq!(got.overflow, bits(OVER) != 0);
    }

    #[test]
    fn parts_are_bounded_and_never_guessed(r in registers()) {
        let got = decode(&r);
        prop_assert!(got.summary.len() <= SUMMARY_MAX, "{}", got.summary);
        prop_assert!((1..=6).contains(&got.parts.len()));
        for part in &got.parts {
            prop_assert!(part.len() <= PART_ID_MAX, "{}", part);
            prop_assert!(part.is_ascii());
        }
        let last = got.parts.last().map(String::as_str);
        let memory = got.unit == Unit::Memory;
        let system = if memory { "memory/system" } else { "node/cpu" };
        prop_assert_eq!(last, Some(system));
        let dimm = got.parts.iter().any(|p| p.starts_with("dimm/"));
        if dimm {
            let (place, code) = (&got.place, &got.code);
            prop_assert!(place.slot.is_some() && place.channel.is_some());
            prop_assert_eq!(code.kind, Kind::MemoryController);
            prop_assert_eq!(bits_set(&r, ADDRV | MISCV), true);
        }
        if r.socket.is_none() && r.cpu.is_none() {
            let numbered = |p: &String| {
                p.contains("socket") || p.contains("cpu/cpu")
            };
            prop_assert!(!got.parts.iter().any(numbered));
        }
    }
}

fn bits_set(registers: &Registers, mask: u64) -> bool {
    registers.status & mask == mask
}
