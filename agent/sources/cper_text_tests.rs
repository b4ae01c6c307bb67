//! What firmware's records come to, told as kernel text.

use super::super::mce_text::{Blocks, Printed};
use super::*;
use crate::patterns::{
    builtin, compile::compile, parse::parse, set::PatternSet,
};
use crate::signal::Effect;

fn shipped() -> PatternSet {
    let files = builtin::files();
    let files = files.iter().map(|file| parse(file).unwrap());
    compile(&files.collect::<Vec<_>>()).unwrap().0
}

/// What opens: pattern, part, and whether it is history.
fn opened(lines: &[&str]) -> Vec<(String, String, bool)> {
    let set = shipped();
    let (mut blocks, mut scratch) = (Blocks::default(), Scratch::default());
    let mut events = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let record = KernelRecord {
            text: line.as_bytes(),
            form: None,
            level: None,
            subsystem: b"",
            device: b"",
            time: Timestamp(i as i64),
            approximate: false,
            injected: false,
        };
        let from = events.len();
        let matcher = &set.matcher;
        matcher.observe_kernel(&record, &mut scratch, &mut events);
        let printed = Printed::at(record.time);
        let matching = (matcher, &mut scratch);
        blocks.record(&record, printed, from, matching, &mut events);
    }
    blocks.end((&set.matcher, &mut scratch), &mut events);
    assert!(!blocks.is_open());
    let opened = events.into_iter().filter_map(|event| match event {
        Event::Match(s) if s.count == 0 => None,
        Event::Match(s) => match s.effect {
            Effect::Open | Effect::History => Some((
                s.pattern.to_string(),
                s.part.to_string(),
                s.effect == Effect::History,
            )),
            _ => None,
        },
        _ => None,
    });
    opened.collect()
}

const FATAL: &str = "{2}[Hardware Error]: event severity: fatal";
const ERROR: &str = "{2}[Hardware Error]:  Error 0, type: fatal";
const PANIC: &str = "Kernel panic - not syncing: Fatal hardware error!";

fn found(pattern: &str, part: &str, past: bool) -> (String, String, bool) {
    (pattern.to_owned(), part.to_owned(), past)
}

#[test]
fn a_fatal_record_opens_at_once_on_what_it_names_and_its_panic_is_evidence() {
    let pcie = [
        FATAL,
        ERROR,
        "{2}[Hardware Error]:   section_type: PCIe error",
        "{2}[Hardware Error]:   device_id: 0000:65:00.0",
        "{2}[Hardware Error]:   aer_uncor_status: 0x00000020, \
         aer_uncor_mask: 0x00100000",
        PANIC,
    ];
    let wanted = found("pcie-fatal-counted", "pci/0000:65:00.0", false);
    assert_eq!(opened(&pcie), [wanted]);
    let processor = [
        FATAL,
        ERROR,
        "{2}[Hardware Error]:   section_type: IA32/X64 processor error",
        "{2}[Hardware Error]:    Error Structure Type: cache error",
        PANIC,
    ];
    let wanted = found("mce-uncorrected", "node/cpu", false);
    assert_eq!(opened(&processor), [wanted]);
    let named = "{2}[Hardware Error]:   Local APIC_ID: 0x49";
    let processor = [FATAL, ERROR, processor[2], named, processor[3]];
    let wanted = found("mce-uncorrected", "cpu/apic73", false);
    assert_eq!(opened(&processor), [wanted]);
    let panic = found("firmware-panic", "node/firmware", false);
    assert_eq!(opened(&[PANIC]), [panic], "nobody said why");
}

#[test]
fn the_machine_check_that_the_kernel_makes_of_a_record_is_evidence() {
    let check = |addr: &str| {
        [
            "mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 255: \
             bc0000000000009f"
                .to_owned(),
            format!("mce: [Hardware Error]: TSC 0 ADDR {addr} "),
            "mce: [Hardware Error]: PROCESSOR 2:a00f11 TIME 1589934366 \
             SOCKET 0 APIC 0 microcode 1"
                .to_owned(),
        ]
    };
    let record = [
        "{2}[Hardware Error]: event severity: recoverable",
        "{2}[Hardware Error]:  Error 0, type: recoverable",
        "{2}[Hardware Error]:   section_type: memory error",
        "{2}[Hardware Error]:   physical_address: 0x0000000712345000",
        "{2}[Hardware Error]:   error_type: 3, multi-bit ECC",
        "{2}[Hardware Error]:   DIMM location: NODE 2 DIMM_B1",
    ];
    let told = |addr: &str| {
        let check = check(addr);
        let check = check.iter().map(String::as_str);
        let lines: Vec<&str> = record.into_iter().chain(check).collect();
        opened(&lines)
    };
    let dimm = "dimm/NODE 2 DIMM_B1";
    let wanted = found("firmware-memory-uncorrected", dimm, false);
    assert_eq!(told("712345040"), std::slice::from_ref(&wanted));
    let other = found("mce-memory-uncorrected", "memory/system", false);
    let mut both = told("812345000");
    both.sort();
    assert_eq!(both, [wanted, other], "an error of another page");
}

#[test]
fn a_record_that_says_nothing_leaves_its_lines_as_they_are() {
    let lines = ["{9}[Hardware Error]:   error_type: 3, multi-bit ECC"];
    let wanted = found("memory-firmware-uncorrected", "memory/system", false);
    assert_eq!(opened(&lines), [wanted]);
}

#[test]
fn lines_of_others_between_keep_what_they_gave() {
    let lines = [
        "{2}[Hardware Error]: event severity: recoverable",
        "{2}[Hardware Error]:  Error 0, type: recoverable",
        "EDAC MC0: 1 UE on mc#0csrow#0channel#0 (csrow:0 channel:0)",
        "{2}[Hardware Error]:   section_type: memory error",
    ];
    let mut both = opened(&lines);
    both.sort();
    assert_eq!(
        both,
        [
            found("firmware-memory-uncorrected", "memory/system", false),
            found("memory-uncorrected", "dimm/mc#0csrow#0channel#0", false),
        ]
    );
}

#[test]
fn every_field_is_one_of_the_table() {
    let sections =
        [Kind::Memory, Kind::Pcie, Kind::Processor, Kind::Arm, Kind::Other];
    let lines = [
        FATAL,
        ERROR,
        "{2}[Hardware Error]:  fru_text: B1",
        "{2}[Hardware Error]:   physical_address: 0x1234567000",
        "{2}[Hardware Error]:   device_id: 0000:65:00.0",
        "{2}[Hardware Error]:   Local APIC_ID: 0x14",
    ];
    let (mut assembler, mut out) = (Assembler::default(), Vec::new());
    for line in lines {
        assembler.feed(Timestamp(0), false, line.as_bytes(), &mut out);
    }
    assembler.end(&mut out);
    let mut record = out.remove(0);
    let seen = Seen {
        time: Timestamp(0),
        approximate: false,
        injected: false,
        history: false,
    };
    for kind in sections {
        record.sections[0].kind = kind;
        let mut told = 0;
        tell(&record, seen, &mut |observation| {
            told += 1;
            let table = observation.patterns.fields();
            for (name, _) in observation.fields {
                assert!(table.iter().any(|f| f.name == *name), "{name}");
            }
            true
        });
        assert_eq!(told, 1, "{kind:?}");
    }
}
