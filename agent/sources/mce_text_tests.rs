//! A machine check in text is told once, with the smallest part for certain.

use super::*;
use crate::patterns::compile::compile;
use crate::patterns::parse::{SourceFile, parse};
use crate::patterns::set::PatternSet;

/// A pattern on the first line of a block, and one on its meaning.
const TEXT: &str = r#"
version: 1
component: cpu
patterns:
  - name: text
    summary: "Machine check"
    severity: error
    source: kmsg
    where: { message: '^(?:mce: )?\[Hardware Error\]: CPU[ :](?<cpu>\d+)' }
    part: "cpu/cpu{cpu}"
    clear: [{ quiet: 24h }]
    advice: "Look."
    examples:
      - line: "mce: [Hardware Error]: CPU 1: Machine Check: 0 Bank 1: 9c00004000010135"
        gives: { part: cpu/cpu1 }
      - line: "mce: no"
        gives: nothing
  - name: reason
    summary: "Machine check"
    severity: error
    source: kmsg
    where: { message: ['^mce: \[Hardware Error\]: Machine check: ', '^Kernel panic - not syncing: Fatal machine check'] }
    part: node/cpu
    clear: [{ quiet: 24h }]
    advice: "Look."
    examples:
      - line: "mce: [Hardware Error]: Machine check: Processor context corrupt"
        gives: { part: node/cpu }
      - line: "mce: no"
        gives: nothing
"#;

const DECODED: &str = r#"
  - name: decoded
    summary: "{error}"
    severity: error
    source: mce
    where: { severity: [corrected, fatal] }
    part: "cpu/{part}"
    count: "{count}"
    clear: [{ quiet: 24h }]
    advice: "Look."
    examples:
      - observation: { severity: fatal, part: cpu1 }
        gives: { part: cpu/cpu1 }
      - observation: { severity: srao, part: cpu1 }
        gives: nothing
"#;

fn set(text: &str) -> PatternSet {
    let file = SourceFile {
        name: "mine.yaml".into(),
        text: text.into(),
        builtin: false,
    };
    let file = parse(&file).unwrap_or_else(|e| panic!("{e}"));
    let (set, _) = compile(&[file]).unwrap_or_else(|all| panic!("{}", all[0]));
    set
}

fn both() -> PatternSet {
    set(&format!("{TEXT}{}", DECODED.trim_start_matches('\n')))
}

/// The kernel's text through blocks, a second's hundredth a line.
struct Log {
    set: PatternSet,
    blocks: Blocks,
    scratch: Scratch,
    events: Vec<Event>,
    at: Timestamp,
}

impl Log {
    fn new(set: PatternSet) -> Log {
        Log {
            set,
            blocks: Blocks::default(),
            scratch: Scratch::default(),
            events: Vec::new(),
            at: Timestamp(1_000_000_000),
        }
    }

    fn print(&mut self, lines: &str) {
        for line in lines.lines() {
            self.line(line.trim_start(), false, None);
        }
    }

    fn line(&mut self, text: &str, injected: bool, uptime: Option<Duration>) {
        self.at = self.at.plus(Duration::from_millis(10));
        let record = KernelRecord {
            text: text.as_bytes(),
            form: None,
            level: Some(0),
            subsystem: b"",
            device: b"",
            time: self.at,
            approximate: false,
            injected,
        };
        let (matcher, scratch) = (&self.set.matcher, &mut self.scratch);
        let from = self.events.len();
        matcher.observe_kernel(&record, scratch, &mut self.events);
        let printed = Printed { uptime, ..Printed::at(self.at) };
        let matching = (matcher, scratch);
        self.blocks.record(&record, printed, from, matching, &mut self.events);
    }

    fn end(&mut self) {
        let matching = (&self.set.matcher, &mut self.scratch);
        self.blocks.end(matching, &mut self.events);
    }

    /// `pattern part count effect` of what was given.
    fn given(&self) -> Vec<String> {
        let shown = self.events.iter().filter_map(|event| match event {
            Event::Match(s) => Some(format!(
                "{} {} {} {}",
                s.pattern,
                s.part,
                s.count,
                s.effect.word()
            )),
            _ => None,
        });
        shown.collect()
    }
}

const BLOCK: &str = "\
    mce: [Hardware Error]: CPU 12: Machine Check: 0 Bank 13: 8c00008000010090
    mce: [Hardware Error]: TSC 0 ADDR 12345000 MISC 86
    eth0: link is up
    mce: [Hardware Error]: PROCESSOR 0:50654 TIME 1795311530 SOCKET 1 APIC 2a microcode 2000065";

#[test]
fn a_block_that_a_pattern_takes_counts_once_and_its_lines_are_evidence() {
    let mut log = Log::new(both());
    log.print(BLOCK);
    assert!(!log.blocks.is_open());
    assert_eq!(
        log.given(),
        [
            "decoded cpu/channel/socket1-mc0-ch0 2 open",
            "text cpu/cpu12 0 evidence"
        ]
    );
}

#[test]
fn identical_blocks_of_one_source_are_separate_errors() {
    let mut log = Log::new(both());
    log.print(BLOCK);
    log.print(BLOCK);
    let opens = log.given().iter().filter(|g| g.ends_with("open")).count();
    assert_eq!(opens, 2);
}

#[test]
fn where_no_pattern_takes_the_block_the_lines_count_as_they_are() {
    let mut log = Log::new(set(TEXT));
    log.print(BLOCK);
    assert_eq!(log.given(), ["text cpu/cpu12 1 open"]);
    // Nor is what no pattern of its severity takes.
    let mut log = Log::new(both());
    log.print("mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 7: bc00000000010090");
    log.end();
    assert_eq!(log.given(), ["text cpu/cpu3 1 open"]);
}

#[test]
fn events_wait_for_their_block_and_no_longer() {
    let mut log = Log::new(both());
    let head = BLOCK.lines().next().unwrap();
    log.line(head, false, None);
    assert!(log.blocks.is_open());
    assert_eq!(log.given(), [""; 0]);
    let (t0, second) = (Uptime::default(), Duration::from_secs(1));
    assert!(log.blocks.waits(t0));
    assert!(log.blocks.waits(t0.plus(second / 2)));
    assert!(!log.blocks.waits(t0.plus(second)));
    log.end();
    // Cut off: neither the socket is known nor whether this maker counts.
    assert_eq!(
        log.given(),
        [
            "decoded cpu/channel/cpu12-bank13-ch0 1 open",
            "text cpu/cpu12 0 evidence"
        ]
    );
    assert!(!log.blocks.waits(t0));
}

#[test]
fn what_an_edac_driver_tells_with_its_dimm_is_left_to_it() {
    let mut log = Log::new(both());
    log.print(
        "[Hardware Error]: CPU:2 (17:31:0) MC18_STATUS[Over|CE|MiscV|AddrV|-|-|SyndV|CECC|-|-|-]: 0xdc2040000000011b
        [Hardware Error]: IPID: 0x0000009600150f00, Syndrome: 0x0000000010001103
        EDAC MC0: 1 CE on mc#0csrow#3channel#1 (csrow:3 channel:1 page:0x1)
        [Hardware Error]: cache level: L3/GEN, tx: GEN, mem-tx: RD",
    );
    assert_eq!(log.given(), ["text cpu/cpu2 1 open"]);
}

#[test]
fn an_edac_line_that_a_pattern_takes_counts_in_place_of_its_block() {
    const DRIVER: &str = r#"
  - name: dimm
    summary: "{dimm}"
    severity: error
    source: kmsg
    where: { message: '^EDAC MC\d+: \d+ UE on (?<dimm>[\w#]+) ' }
    part: "dimm/{dimm}"
    clear: [{ quiet: 24h }]
    advice: "Look."
    examples:
      - line: "EDAC MC1: 1 UE on mc#1csrow#1channel#6 (csrow:1)"
        gives: { part: "dimm/mc#1csrow#1channel#6" }
      - line: "EDAC MC: no"
        gives: nothing
"#;
    let mut log = Log::new(set(&format!(
        "{TEXT}{}{}",
        DRIVER.trim_start_matches('\n'),
        DECODED.trim_start_matches('\n')
    )));
    log.print(
        "[Hardware Error]: CPU:2 (17:31:0) MC18_STATUS[Over|-|-|AddrV|-|-|SyndV|UECC|Deferred|-|-]: 0xd42030000000011b
        [Hardware Error]: IPID: 0x0000009600650f00, Syndrome: 0x000000400a800101
        EDAC MC1: 1 UE on mc#1csrow#1channel#6 (csrow:1 channel:6)
        [Hardware Error]: cache level: L3/GEN, tx: GEN, mem-tx: RD",
    );
    assert_eq!(
        log.given(),
        ["dimm dimm/mc#1csrow#1channel#6 1 open", "text cpu/cpu2 0 evidence"]
    );
}

#[test]
fn the_grade_before_a_block_is_evidence_like_its_lines() {
    const GRADE: &str = r#"
  - name: grade
    summary: "Fatal"
    severity: error
    source: kmsg
    where: { message: '^\[Hardware Error\]: System Fatal error' }
    part: node/cpu
    clear: [{ quiet: 24h }]
    advice: "Look."
    examples:
      - line: "[Hardware Error]: System Fatal error."
        gives: { part: node/cpu }
      - line: "[Hardware Error]: no"
        gives: nothing
"#;
    let patterns = || {
        set(&format!(
            "{TEXT}{}{}",
            GRADE.trim_start_matches('\n'),
            DECODED.trim_start_matches('\n')
        ))
    };
    const LINE: &str = "[Hardware Error]: System Fatal error.";
    let mut log = Log::new(patterns());
    log.line(LINE, false, None);
    assert!(log.blocks.is_open() && log.given().is_empty(), "it waits");
    log.print(
        "[Hardware Error]: CPU:2 (17:31:0) MC18_STATUS[-|UE|MiscV|AddrV|PCC|-|SyndV|UECC|-|-|-]: 0xbe2020000000011b
        [Hardware Error]: IPID: 0x0000009600550f00, Syndrome: 0x0000000010001103
        [Hardware Error]: cache level: L3/GEN, tx: GEN, mem-tx: RD",
    );
    assert_eq!(
        log.given(),
        [
            "decoded cpu/channel/cpu2-umc5 1 open",
            "grade node/cpu 0 evidence",
            "text cpu/cpu2 0 evidence"
        ]
    );
    // Without its block it is all there is.
    for other in ["eth0: link is up", ""] {
        let mut log = Log::new(patterns());
        log.line(LINE, false, None);
        match other {
            "" => log.end(),
            other => log.line(other, false, None),
        }
        assert!(!log.blocks.is_open());
        assert_eq!(log.given(), ["grade node/cpu 1 open"], "{other}");
    }
}

#[test]
fn the_reason_after_a_block_that_was_told_is_evidence() {
    const REASON: &str =
        "mce: [Hardware Error]: Machine check: Processor context corrupt";
    let fatal = BLOCK.replace("8c00008000010090", "be00000000800400");
    let mut log = Log::new(both());
    log.print(&fatal);
    log.print(REASON);
    assert_eq!(log.given().last().unwrap(), "reason node/cpu 0 evidence");
    log.print("Kernel panic - not syncing: Fatal machine check");
    assert_eq!(log.given().last().unwrap(), "reason node/cpu 0 evidence");
    // Alone it is all that is known.
    let mut log = Log::new(both());
    log.print(REASON);
    assert_eq!(log.given(), ["reason node/cpu 1 open"]);
}

#[test]
fn what_a_poll_found_before_it_was_due_is_of_the_time_before() {
    let effect = |uptime: u64, tsc: &str| {
        let mut log = Log::new(both());
        let uptime = Some(Duration::from_secs(uptime));
        for line in BLOCK.replace("TSC 0", tsc).lines() {
            log.line(line.trim_start(), false, uptime);
        }
        log.given()[0].rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(effect(1, "TSC 0"), "history");
    assert_eq!(effect(1, "TSC 5d1b8"), "open");
    assert_eq!(effect(301, "TSC 0"), "open");
}

#[test]
fn user_space_completes_no_block_of_the_kernels() {
    let mut log = Log::new(both());
    let lines: Vec<&str> = BLOCK.lines().map(str::trim_start).collect();
    log.line(lines[0], false, None);
    log.line(lines[3], true, None);
    log.end();
    let first = &log.given()[0];
    assert_eq!(first, "decoded cpu/channel/cpu12-bank13-ch0 1 open");
}

#[test]
fn text_that_users_chose_is_no_machine_check() {
    let mut log = Log::new(both());
    log.print(
        "traps: [Hardware Error]: CPU 1: Machine Check: 0 Bank 1: 9c00004000010135[77] general protection",
    );
    assert!(!log.blocks.is_open());
}

#[test]
fn a_whole_block_of_an_old_kernel_counts_without_its_mark() {
    const OLD: &str = "\
    HARDWARE ERROR
    CPU 4: Machine Check Exception:                5 Bank 8: be0000000100009f
    RIP !INEXACT! 10:<ffffffff812c4a41> {intel_idle+0xb1/0x170}
    TSC a66b05434fcf4 ADDR 67081b300 MISC 2140040486 
    PROCESSOR 0:206c2 TIME 1428957562 SOCKET 1 APIC 20
    This is not a software problem!";
    let mut log = Log::new(both());
    log.print(OLD);
    assert_eq!(log.given(), ["decoded cpu/memory/socket1 1 open"]);
    log.print("Kernel panic - not syncing: Fatal machine check on current");
    assert_eq!(log.given().last().unwrap(), "reason node/cpu 0 evidence");
    // What is not whole counts by its lines, as far as patterns know them.
    let (cut, _) = OLD.split_once("    PROCESSOR").unwrap();
    let mut log = Log::new(both());
    log.print(cut);
    assert!(log.blocks.is_open());
    log.end();
    assert_eq!(log.given(), [""; 0]);
}

#[test]
fn the_block_of_an_old_edac_driver_leaves_the_counting_to_its_report() {
    const OLD: &str = "\
    CPU 6: Machine Check Exception: 0 Bank 9: 8c00004e000800c1
    TSC 0 ADDR 67081b300 MISC 2140040486 PROCESSOR 0:206d7 TIME 1428957562 SOCKET 1 APIC 20";
    let mut log = Log::new(both());
    log.print(OLD);
    let alone = ["decoded cpu/channel/socket1-mc0-ch1 1 open"];
    assert_eq!(log.given(), alone);
    let mut log = Log::new(both());
    log.print("sbridge: HANDLING MCE MEMORY ERROR");
    log.print(OLD);
    assert_eq!(log.given(), [""; 0]);
    // It says so before each.
    log.print(OLD);
    assert_eq!(log.given(), alone);
}

#[test]
fn what_other_cpus_report_of_a_shared_bank_is_evidence() {
    let block = |cpu: u32, apic: u32| {
        format!(
            "mce: [Hardware Error]: CPU {cpu}: Machine Check Exception: 5 \
             Bank 6: bb80000000000e0b\n\
             mce: [Hardware Error]: TSC 603312c7dd484 MISC 11000000\n\
             mce: [Hardware Error]: PROCESSOR 0:50654 TIME 1616567954 \
             SOCKET 0 APIC {apic:x} microcode 200005e"
        )
    };
    let mut log = Log::new(both());
    log.print(&block(15, 0x26));
    log.print(&block(55, 0x27));
    let given = log.given();
    let opens = given.iter().filter(|event| event.ends_with(" open"));
    assert_eq!(opens.count(), 1, "{given:?}");
    assert_eq!(given.last().unwrap(), "text cpu/cpu55 0 evidence");
}
