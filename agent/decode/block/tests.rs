//! Blocks as kernels print them, whole, torn, mixed and cut off.

use proptest::prelude::*;

use super::*;
use crate::decode::mce::decode;

/// Feeds lines, one a millisecond.
fn assemble(lines: &[(&str, &str)]) -> Vec<Block> {
    let mut all = Assembler::default();
    let mut out = Vec::new();
    for (i, (caller, text)) in lines.iter().enumerate() {
        let time = Timestamp(1_000 * i as i64);
        all.feed(time, caller.as_bytes(), text.as_bytes(), &mut out);
    }
    all.end(&mut out);
    out
}

fn plain(text: &str) -> Vec<Block> {
    let lines: Vec<_> = text.lines().map(|l| ("", l.trim_start())).collect();
    assemble(&lines)
}

const INTEL: &str = "\
    mce: [Hardware Error]: Machine check events logged
    mce: [Hardware Error]: CPU 12: Machine Check: 0 Bank 13: 8c00004000010090
    mce: [Hardware Error]: TSC 0 ADDR 12345000 MISC 8c PPIN 1a2b3c 
    mce: [Hardware Error]: PROCESSOR 0:50654 TIME 1795311530 SOCKET 1 APIC 2a microcode 2000065";

#[test]
fn a_block_of_print_mce_is_whole() {
    let [block] = &plain(INTEL)[..] else { panic!() };
    let r = &block.registers;
    assert!(block.whole && !block.edac);
    assert_eq!((r.cpu, r.bank, r.socket), (Some(12), Some(13), Some(1)));
    assert_eq!(r.status, 0x8c00_0040_0001_0090);
    assert_eq!((r.addr, r.misc), (Some(0x1234_5000), Some(0x8c)));
    assert_eq!((r.tsc, r.mcgstatus), (Some(0), Some(0)));
    assert_eq!((r.ppin, r.apicid), (Some(0x1a_2b3c), Some(0x2a)));
    assert_eq!((r.cpuid, r.vendor), (Some(0x50654), Some(Vendor::Intel)));
    assert_eq!(r.time, Some(1_795_311_530));
    assert_eq!(r.microcode, Some(0x0200_0065));
    let decoded = decode(r);
    assert_eq!(decoded.parts[0], "channel/socket1-mc0-ch0");
}

#[test]
fn an_exception_tells_what_ran() {
    let [block] = &plain(
        "mce: [Hardware Error]: CPU 0: Machine Check Exception: 5 Bank 1: bd000000000000c0
        mce: [Hardware Error]: RIP !INEXACT! 10:<ffffffffba4592eb> {native_safe_halt+0xb/0x10}
        mce: [Hardware Error]: TSC 2d2f5d1b8 ADDR 8000000 MISC 8c
        mce: [Hardware Error]: PROCESSOR 0:50654 TIME 1795311540 SOCKET 0 APIC 0 microcode 1",
    )[..] else { panic!() };
    let r = &block.registers;
    assert_eq!((r.mcgstatus, r.cs), (Some(5), Some(0x10)));
    assert_eq!(r.ip, Some(0xffff_ffff_ba45_92eb));
}

const UMC: &str = "\
    [Hardware Error]: Corrected error, no action required.
    [Hardware Error]: CPU:2 (17:31:0) MC18_STATUS[Over|CE|MiscV|AddrV|-|-|SyndV|CECC|-|-|-]: 0xdc2040000000011b
    [Hardware Error]: Error Addr: 0x000000079d6c8440
    [Hardware Error]: PPIN: 0x0000000000abcdef
    [Hardware Error]: IPID: 0x0000009600150f00, Syndrome: 0x0000000010001103
    [Hardware Error]: Unified Memory Controller Ext. Error Code: 0, DRAM ECC error.
    [Hardware Error]: cache level: L3/GEN, tx: GEN, mem-tx: RD";

#[test]
fn a_block_of_amds_decoder_is_whole() {
    let [block] = &plain(UMC)[..] else { panic!() };
    let r = &block.registers;
    assert!(block.whole && !block.edac);
    assert_eq!((r.cpu, r.bank), (Some(2), Some(18)));
    assert_eq!(r.vendor, Some(Vendor::Amd));
    assert_eq!(r.addr, Some(0x7_9d6c_8440));
    assert_eq!(r.ipid, Some(0x96_0015_0f00));
    assert_eq!(r.ppin, Some(0xab_cdef));
    assert_eq!(r.tsc, None, "the text does not tell it");
    let decoded = decode(r);
    assert_eq!(decoded.place.channel, Some(1));
    assert_eq!(decoded.place.rank, Some(3));
    assert_eq!(decoded.parts[0], "channel/cpu2-umc1");
}

#[test]
fn the_line_of_the_edac_driver_inside_a_block_is_seen() {
    let with = UMC.replace(
        "    [Hardware Error]: cache",
        "    EDAC MC0: 1 CE on mc#0csrow#3channel#1 (csrow:3 channel:1 page:0x1)\n    [Hardware Error]: cache",
    );
    let [block] = &plain(&with)[..] else { panic!() };
    assert!(block.edac && block.whole);
}

#[test]
fn the_old_north_bridge_tells_its_time_in_decimal() {
    let [block] = &plain(
        "[Hardware Error]: CPU:2 (15:2:0) MC4_STATUS[-|CE|MiscV|-|AddrV|-|-|CECC]: 0x9c5c4000b0080a13
        [Hardware Error]: MC4_ADDR: 0x0000000115e56020
        [Hardware Error]: TSC: 1234567
        [Hardware Error]: MC4 Error (node 0): DRAM ECC error detected on the NB.
        [Hardware Error]: cache level: L3/GEN, mem/io: MEM, mem-tx: RD, part-proc: RES (no timeout)",
    )[..] else { panic!() };
    let r = &block.registers;
    assert_eq!((r.tsc, r.addr), (Some(1_234_567), Some(0x1_15e5_6020)));
    assert!(block.whole);
}

#[test]
fn callers_keep_blocks_apart() {
    let head = |cpu, bank| {
        format!(
            "mce: [Hardware Error]: CPU {cpu}: Machine Check: 0 Bank {bank}: 8c00004000010090"
        )
    };
    let (a, b) = (head(1, 7), head(30, 8));
    let blocks = assemble(&[
        ("C1", &a),
        ("C30", &b),
        ("T9", "eth0: link up"),
        ("C30", "mce: [Hardware Error]: TSC 0 ADDR 2000 MISC 8c"),
        ("C1", "mce: [Hardware Error]: TSC 0 ADDR 1000 MISC 8c"),
        (
            "C1",
            "mce: [Hardware Error]: PROCESSOR 0:50654 TIME 1 SOCKET 0 APIC 1 microcode 1",
        ),
        (
            "C30",
            "mce: [Hardware Error]: PROCESSOR 0:50654 TIME 1 SOCKET 1 APIC 9 microcode 1",
        ),
    ]);
    let got: Vec<_> = blocks
        .iter()
        .map(|b| (b.registers.cpu, b.registers.socket, b.registers.addr))
        .collect();
    let want =
        [(Some(1), Some(0), Some(0x1000)), (Some(30), Some(1), Some(0x2000))];
    assert_eq!(got, want);
}

#[test]
fn without_callers_what_could_be_of_two_blocks_is_of_none() {
    let [a, b] = &plain(
        "mce: [Hardware Error]: CPU 1: Machine Check: 0 Bank 7: 8c00004000010090
        mce: [Hardware Error]: CPU 30: Machine Check: 0 Bank 8: 8c00004000010090
        mce: [Hardware Error]: TSC 0 ADDR 1000 MISC 8c
        mce: [Hardware Error]: PROCESSOR 0:50654 TIME 1 SOCKET 1 APIC 9 microcode 1",
    )[..] else { panic!() };
    for block in [a, b] {
        assert_eq!(block.registers.socket, None);
        assert_eq!(block.registers.addr, None);
        assert!(!block.whole);
    }
    assert_eq!(decode(&a.registers).parts[0], "channel/cpu1-bank7-ch0");
    assert_eq!(decode(&b.registers).parts[0], "channel/cpu30-bank8-ch0");
}

#[test]
fn a_block_that_was_cut_off_gives_what_is_known() {
    let lines: Vec<_> = INTEL.lines().map(str::trim_start).collect();
    let [block] = &assemble(&[("", lines[1])])[..] else { panic!() };
    assert!(!block.whole);
    assert_eq!(block.registers.socket, None);
    // A head that is cut within its number is none.
    let cut = &lines[1][..lines[1].len() - 1];
    assert_eq!(assemble(&[("", cut)]), []);
}

#[test]
fn a_processor_line_that_was_cut_off_names_no_processor_and_no_socket() {
    let lines: Vec<_> = INTEL.lines().map(str::trim_start).collect();
    let last = lines.iter().rposition(|l| l.contains("PROCESSOR")).unwrap();
    let whole = lines[last];
    let cut = |before: &str| {
        let at = whole.find(before).unwrap() + before.len();
        let mut all: Vec<_> = lines[..last].iter().map(|l| ("", *l)).collect();
        all.push(("", &whole[..at]));
        assemble(&all).remove(0)
    };
    let block = cut("PROCESSOR 0:506");
    assert_eq!((block.whole, block.registers.cpuid), (false, None));
    assert_eq!(block.registers.vendor, Some(Vendor::Intel));
    let block = cut("SOCKET ");
    assert_eq!(block.registers.cpuid, Some(0x50654));
    let block = cut(" APIC");
    assert_eq!((block.whole, block.registers.socket), (false, None));
}

#[test]
fn the_end_of_a_block_whose_beginning_was_lost_is_of_no_block() {
    let lines: Vec<_> = UMC.lines().map(|l| ("", l.trim_start())).collect();
    assert_eq!(assemble(&lines[2..]), []);
}

#[test]
fn a_later_line_is_of_another_block() {
    let mut all = Assembler::default();
    let mut out = Vec::new();
    let lines: Vec<_> = INTEL.lines().map(|l| l.trim_start()).collect();
    let id = all.feed(Timestamp(0), b"", lines[1].as_bytes(), &mut out);
    assert_eq!((id, all.is_idle()), (Some(0), false));
    let late = Timestamp(0).plus(WAIT + Duration::from_micros(1));
    let id = all.feed(late, b"", lines[2].as_bytes(), &mut out);
    assert_eq!((id, out.len(), all.is_idle()), (None, 1, true));
}

#[test]
fn a_torn_line_is_put_together() {
    let [block] = &plain(
        "mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 1: 9c00000000000000
        mce: [Hardware Error]: TSC 0
        usb 1-1: new device
        ADDR 12345000
        MISC 8c
        mce: [Hardware Error]: PROCESSOR 2:60fb1 TIME 1795311530 SOCKET 0 APIC 0 microcode 1000065",
    )[..] else { panic!() };
    let r = &block.registers;
    assert_eq!((r.addr, r.misc), (Some(0x1234_5000), Some(0x8c)));
    assert_eq!(r.vendor, Some(Vendor::Amd));
}

#[test]
fn firmwares_bank_is_told_by_its_number() {
    for bank in ["-1", "255"] {
        let text = format!(
            "mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank {bank}: 940000000000009f"
        );
        let [block] = &plain(&text)[..] else { panic!() };
        assert_eq!(block.registers.bank, Some(255));
        let decoded = decode(&block.registers);
        assert_eq!(decoded.parts, ["memory/system"]);
    }
}

#[test]
fn lines_of_edac_drivers_and_of_firmware_are_of_no_block() {
    for text in [
        "EDAC sbridge MC1: CPU 6: Machine Check Event: 0 Bank 9: 8c00004e000800c1",
        "{1}[Hardware Error]: event severity: corrected",
        "[Hardware Error]:   section_type: memory error",
        "tpm tpm0: [Hardware Error]: Adjusting reported durations.",
        "Dell CPU 6: Machine Check Exception: 0 Bank 9: 8c00004e000800c1",
    ] {
        assert_eq!(plain(text), [], "{text}");
    }
}

#[test]
fn a_block_that_bears_no_mark_says_so() {
    const HEAD: &str =
        "CPU 6: Machine Check Exception: 0 Bank 9: 8c00004e000800c1";
    let [block] = &plain(HEAD)[..] else { panic!() };
    assert!(block.bare && !block.driver && !block.whole);
    let drivers = format!("sbridge: HANDLING MCE MEMORY ERROR\n{HEAD}");
    let [block] = &plain(&drivers)[..] else { panic!() };
    assert!(block.bare && block.driver);
    // The kernel's mark is on every line that it can be on.
    let [block] = &plain(&format!("[Hardware Error]: {HEAD}"))[..] else {
        panic!()
    };
    assert!(!block.bare);
}

#[test]
fn only_so_many_blocks_are_open() {
    let lines: Vec<_> = (0..OPEN_MAX + 3)
        .map(|i| {
            let head = format!(
                "[Hardware Error]: CPU {i}: Machine Check: 0 Bank 1: 9c00000000000135"
            );
            (format!("C{i}"), head)
        })
        .collect();
    let mut all = Assembler::default();
    let mut out = Vec::new();
    for (caller, text) in &lines {
        all.feed(Timestamp(0), caller.as_bytes(), text.as_bytes(), &mut out);
    }
    assert_eq!(out.len(), 3);
    all.end(&mut out);
    assert_eq!(out.len(), lines.len());
}

proptest! {
    #[test]
    fn any_lines_give_at_most_a_block_for_each_head(
        lines in prop::collection::vec(
            (0u8..3, 0usize..12, 0i64..3_000_000), 0..60,
        ),
    ) {
        let text: Vec<&str> = INTEL.lines().chain(UMC.lines())
            .map(|l| l.trim_start()).collect();
        let mut all = Assembler::default();
        let (mut out, mut heads, mut time) = (Vec::new(), 0, 0);
        for (caller, line, step) in lines {
            time += step;
            let line = text.get(line).copied().unwrap_or("other");
            heads += usize::from(line.contains(" Bank 13:") || line.contains("_STATUS["));
            let caller = ["", "C1", "T2"][usize::from(caller)];
            all.feed(Timestamp(time), caller.as_bytes(), line.as_bytes(), &mut out);
        }
        all.end(&mut out);
        prop_assert_eq!(out.len(), heads);
        prop_assert!(all.is_idle());
    }

    #[test]
    fn any_bytes_are_a_line_or_none(text: Vec<u8>, within: bool) {
        line::parse(&text, within);
        let mut whole = b"[Hardware Error]: ".to_vec();
        whole.extend_from_slice(&text);
        line::parse(&whole, within);
    }

    #[test]
    fn words_of_the_right_kind_never_panic(
        text in "(mce: )?\\[Hardware Error\\]: [A-Z]{0,4}[0-9a-fx:<>\\[\\] ,_A-Z]{0,60}",
    ) {
        line::parse(text.as_bytes(), true);
    }
}
