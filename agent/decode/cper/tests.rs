//! Records as kernels print them, whole, cut off, mixed and absurd.

use super::section::PLACE_MAX;
use super::*;

fn feed(lines: &[&str]) -> Vec<Record> {
    let (mut assembler, mut out) = (Assembler::default(), Vec::new());
    for (i, line) in lines.iter().enumerate() {
        let time = Timestamp(i as i64);
        assembler.feed(time, false, line.as_bytes(), &mut out);
    }
    assembler.end(&mut out);
    out
}

fn one(lines: &[&str]) -> Section {
    let records = feed(lines);
    let [record] = &records[..] else { panic!("{records:?}") };
    let [section] = &record.sections[..] else { panic!("{record:?}") };
    section.clone()
}

const MEMORY: [&str; 9] = [
    "{7}[Hardware Error]: Hardware error from APEI Generic Hardware Error \
     Source: 1",
    "{7}[Hardware Error]: event severity: recoverable",
    "{7}[Hardware Error]:  Error 0, type: recoverable",
    "{7}[Hardware Error]:  fru_text: B1",
    "{7}[Hardware Error]:   section_type: memory error",
    "{7}[Hardware Error]:   physical_address: 0x000000276aeb0180",
    "{7}[Hardware Error]:   node:1 card:2 module:0 rank:0 bank:3 row:12",
    "{7}[Hardware Error]:   error_type: 3, multi-bit ECC",
    "{7}[Hardware Error]:   DIMM location: NODE 2 DIMM_B1 ",
];

#[test]
fn a_memory_record_names_its_dimm_place_and_page() {
    let section = one(&MEMORY);
    assert_eq!(section.severity, Severity::Recoverable);
    assert_eq!(section.kind, Kind::Memory);
    assert_eq!(section.label(), Some("NODE 2 DIMM_B1"));
    assert_eq!(section.page(), Some(0x27_6aeb0));
    assert_eq!(section.place, "node 1, card 2, module 0, rank 0");
    assert_eq!(section.error.as_deref(), Some("multi-bit ECC"));
    assert_eq!(section.error_type, Some(3));
}

#[test]
fn a_record_that_is_cut_off_says_what_it_says_and_no_more() {
    for end in 1..MEMORY.len() {
        for record in feed(&MEMORY[..end]) {
            for section in &record.sections {
                let known = ["B1", "NODE 2 DIMM_B1"];
                assert!(section.label().is_none_or(|l| known.contains(&l)));
            }
        }
    }
    let behind = feed(&MEMORY[5..]);
    assert_eq!(behind, [], "values of nobody knows what");
}

#[test]
fn a_section_whose_first_line_was_lost_is_known_by_its_values() {
    let lines: Vec<&str> =
        MEMORY.into_iter().filter(|l| !l.contains("section_type")).collect();
    assert_eq!(one(&lines).kind, Kind::Memory);
    assert_eq!(one(&lines).label(), Some("NODE 2 DIMM_B1"));
}

#[test]
fn records_of_two_numbers_in_one_another_stay_two() {
    let other = MEMORY.map(|line| {
        line.replace("{7}", "{8}").replace("B1", "C1").replace("276", "111")
    });
    let mixed: Vec<&str> =
        MEMORY.iter().zip(&other).flat_map(|(a, b)| [*a, b.as_str()]).collect();
    let records = feed(&mixed);
    let labels: Vec<_> =
        records.iter().map(|r| r.sections[0].label().unwrap()).collect();
    assert_eq!(labels, ["NODE 2 DIMM_B1", "NODE 2 DIMM_C1"]);
}

#[test]
fn the_previous_boots_records_have_no_number_and_end_with_their_sum() {
    let lines = [
        "BERT: Error records from previous boot:",
        "[Hardware Error]: event severity: fatal",
        "[Hardware Error]:  Error 0, type: fatal",
        "[Hardware Error]:   section_type: memory error",
        "[Hardware Error]:   DIMM location: not present. DMI handle: 0x0039 ",
        "[Hardware Error]: event severity: fatal",
        "[Hardware Error]:  Error 0, type: fatal",
        "[Hardware Error]:   section_type: PCIe error",
        "[Hardware Error]:   device_id: 0000:3B:00.0",
        "BERT: Total records found: 2",
    ];
    let records = feed(&lines);
    assert!(records.iter().all(|record| record.past));
    let [memory, pcie] = &records[..] else { panic!("{records:?}") };
    assert_eq!(memory.sections[0].handle, Some(0x39));
    assert_eq!(memory.sections[0].label(), None);
    assert_eq!(pcie.sections[0].device.as_deref(), Some("0000:3b:00.0"));
}

#[test]
fn old_kernels_words_say_the_same() {
    let section = one(&[
        "{1}[Hardware Error]: Hardware error from APEI Generic Hardware \
         Error Source: 0",
        "{1}[Hardware Error]: APEI generic hardware error status",
        "{1}[Hardware Error]: severity: 2, corrected",
        "{1}[Hardware Error]: section: 0, severity: 2, corrected",
        "{1}[Hardware Error]: flags: 0x01",
        "{1}[Hardware Error]: primary",
        "{1}[Hardware Error]: fru_text: CorrectedErr",
        "{1}[Hardware Error]: section_type: memory error",
        "{1}[Hardware Error]: error_status: 0x0000000000000400",
        "{1}[Hardware Error]: node: 0 ",
        "{1}[Hardware Error]: card: 3 ",
        "{1}[Hardware Error]: module: 0 ",
        "{1}[Hardware Error]: error_type: 2, single-bit ECC",
    ]);
    assert_eq!(section.severity, Severity::Corrected);
    assert_eq!(section.place, "node 0, card 3, module 0");
    assert_eq!(section.label(), None, "CorrectedErr is no slot");
}

#[test]
fn a_processors_record_tells_which_and_what() {
    let section = one(&[
        "{3}[Hardware Error]: event severity: fatal",
        "{3}[Hardware Error]:  Error 0, type: fatal",
        "{3}[Hardware Error]:   section_type: IA32/X64 processor error",
        "{3}[Hardware Error]:   Local APIC_ID: 0x14",
        "{3}[Hardware Error]:   CPUID Info:",
        "{3}[Hardware Error]:   00000000: 000506f7 00000000 14100800",
        "{3}[Hardware Error]:   Error Information Structure 0:",
        "{3}[Hardware Error]:    Error Structure Type: \
         a55701f5-e3ef-43de-ac72-249b573fad2c",
        "{3}[Hardware Error]:    Error Structure Type: cache error",
    ]);
    assert_eq!(section.kind, Kind::Processor);
    assert_eq!(section.processor, Some(0x14));
    assert_eq!(section.error.as_deref(), Some("cache error"));
    let general = one(&[
        "{4}[Hardware Error]: event severity: corrected",
        "{4}[Hardware Error]:  Error 0, type: corrected",
        "{4}[Hardware Error]:   section_type: general processor error",
        "{4}[Hardware Error]:   error_type: 0x02",
        "{4}[Hardware Error]:   TLB error",
    ]);
    assert_eq!(general.error.as_deref(), Some("TLB error"));
}

#[test]
fn a_section_is_as_bad_as_its_record_where_it_does_not_say() {
    let lines = |severity: &str| {
        [
            format!("{{5}}[Hardware Error]: event severity: {severity}"),
            "{5}[Hardware Error]:  section_type: PCIe error".to_owned(),
        ]
    };
    let record = |severity| {
        let lines = lines(severity);
        feed(&[&lines[0], &lines[1]]).remove(0)
    };
    assert_eq!(record("fatal").sections[0].severity, Severity::Fatal);
    assert_eq!(record("info").sections, [], "nothing failed");
}

#[test]
fn only_slots_names_are_labels() {
    for slot in [
        "B2",
        "A12",
        "DIMM_A1",
        "DIMM A1",
        "PROC 1 DIMM 3",
        "P1-DIMMA1",
        "CPU0_DIMM_B1",
    ] {
        assert!(is_slot(slot), "{slot}");
    }
    for junk in [
        "CorrectedErr",
        "DIMM",
        "DIMM ?",
        "DIMM error",
        "Unknown DIMM",
        "B",
        "2",
        "",
        "Card02, ChnB, DIMM0",
        "A1/../B\u{7f}2",
    ] {
        assert!(!is_slot(junk), "{junk}");
    }
}

#[test]
fn what_a_drill_puts_in_never_completes_a_record() {
    let (mut assembler, mut out) = (Assembler::default(), Vec::new());
    for (i, line) in MEMORY.iter().enumerate() {
        let injected = i >= 5;
        assembler.feed(Timestamp(0), injected, line.as_bytes(), &mut out);
    }
    assembler.end(&mut out);
    assert_eq!(out[0].sections[0].dimm, None);
}

#[test]
fn nothing_grows_without_end() {
    let (mut assembler, mut out) = (Assembler::default(), Vec::new());
    for number in 0..100 {
        for line in MEMORY {
            let line = line.replace("{7}", &format!("{{{number}}}"));
            let text = line.as_bytes();
            assembler.feed(Timestamp(0), false, text, &mut out);
        }
    }
    assert!(assembler.open.len() <= OPEN_MAX);
    let mut sections = vec!["{1}[Hardware Error]: event severity: fatal"];
    sections.extend(["{1}[Hardware Error]:  Error 0, type: fatal"; 1000]);
    let place = "{1}[Hardware Error]:   node: 1 card: 2 rank: 3";
    sections.extend([place; 1000]);
    let record = feed(&sections).remove(0);
    assert_eq!(record.sections.len(), SECTIONS_MAX);
    assert!(record.sections.iter().all(|s| s.place.len() <= PLACE_MAX));
}

#[test]
fn no_bytes_are_too_strange() {
    for line in [
        &b"{"[..],
        b"{}[Hardware Error]: x",
        b"{99999999999999999999}[Hardware Error]: event severity: fatal",
        b"{1}[Hardware Error]: \xff\xfe",
        b"{1}[Hardware Error]:   DIMM location: \x01\x02",
        b"{1}[Hardware Error]:   device_id: 0000:zz:00.0",
        b"{1}[Hardware Error]:   node: : : card",
        b"[Hardware Error]:    ",
        b"BERT: ",
        b"BERT: BERT: BERT: ",
    ] {
        let (mut assembler, mut out) = (Assembler::default(), Vec::new());
        let first = b"{1}[Hardware Error]:  Error 0, type: fatal";
        assembler.feed(Timestamp(0), false, first, &mut out);
        assembler.feed(Timestamp(0), false, line, &mut out);
        assembler.end(&mut out);
        let mut sections = out.iter().flat_map(|r| &r.sections);
        assert!(sections.all(|s| s.dimm.is_none() && s.device.is_none()));
    }
}
