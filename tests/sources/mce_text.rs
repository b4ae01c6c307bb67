//! Machine checks in the text of the kernel's log and of log files: told
//! once, whole where the lines come in pieces, and never half counted.

use std::collections::BTreeMap;
use std::time::Duration;

use faultline::clock;
use faultline::patterns::compile::compile;
use faultline::patterns::parse::{SourceFile, parse};
use faultline::patterns::set::PatternSet;
use faultline::queue::Message;
use faultline::signal::{Effect, Event, Signal};
use faultline::sources::Setup;
use faultline::sources::file::{Follow, Options, Trust};

use crate::bench::{Bench, append};
use crate::kmsg::Packets;

const PATTERNS: &str = r#"
version: 1
component: cpu
patterns:
  - name: text
    summary: "Machine check"
    severity: error
    source: kmsg
    where: { message: '^mce: \[Hardware Error\]: CPU (?<cpu>\d+): ' }
    part: "cpu/cpu{cpu}"
    clear: [{ quiet: 24h }]
    advice: "Look."
    examples:
      - line: "mce: [Hardware Error]: CPU 1: Machine Check: 0 Bank 1: 9c00004000010135"
        gives: { part: cpu/cpu1 }
      - line: "mce: no"
        gives: nothing
  - name: decoded
    summary: "{error}"
    severity: error
    source: mce
    where: { severity: corrected }
    part: "cpu/{place}"
    count: "{count}"
    clear: [{ quiet: 24h }]
    advice: "Look."
    examples:
      - observation: { severity: corrected, place: CPU 1, count: 2 }
        gives: { part: cpu/CPU 1, count: 2 }
      - observation: { severity: srao, place: CPU 1 }
        gives: nothing
"#;

const BLOCK: [&str; 3] = [
    "mce: [Hardware Error]: CPU 12: Machine Check: 0 Bank 13: 8c00008000010090",
    "mce: [Hardware Error]: TSC 5d1b8 ADDR 12345000 MISC 86",
    "mce: [Hardware Error]: PROCESSOR 0:50654 TIME 1795311530 SOCKET 1 APIC 2a microcode 2000065",
];

/// Where the whole block happened.
const PLACE: &str = "cpu/socket 1, memory controller 0, channel 0";

fn bench(setup: Setup) -> Bench {
    Bench::of(set(), setup, BTreeMap::new(), false)
}

fn once(setup: Setup) -> Bench {
    Bench::of(set(), setup, BTreeMap::new(), true)
}

fn set() -> PatternSet {
    let file = SourceFile {
        name: "mine.yaml".into(),
        text: PATTERNS.into(),
        builtin: false,
    };
    compile(&[parse(&file).unwrap()]).unwrap().0
}

/// The matches of the next batch that has any, and its position.
fn next(bench: &Bench) -> (Vec<Signal>, String) {
    let limit = Duration::from_secs(20);
    loop {
        let message = bench.messages.recv_timeout(limit).unwrap();
        let Message::Batch(batch) = message else { continue };
        if batch.events.is_empty() {
            continue;
        }
        let signals = batch.events.into_iter().map(|event| match event {
            Event::Match(signal) => signal,
            other => panic!("{other:?}"),
        });
        return (signals.collect(), batch.position.unwrap().0);
    }
}

/// That the block counted once, and its first line is evidence.
fn is_told_once(signals: &[Signal], place: &str, count: u64) {
    let [decoded, text] = signals else { panic!("{signals:?}") };
    assert_eq!((&*decoded.pattern, decoded.effect), ("decoded", Effect::Open));
    assert_eq!((decoded.part.as_str(), decoded.count), (place, count));
    assert_eq!((&*text.pattern, text.effect), ("text", Effect::Evidence));
    assert_eq!(text.count, 0);
}

#[test]
fn a_block_read_in_pieces_is_told_once_and_its_position_with_it() {
    let mut packets = Packets::new();
    packets.write(&format!("0,1,1000,-;{}\n", BLOCK[0]));
    let bench = bench(Setup::Kmsg(packets.options()));
    std::thread::sleep(Duration::from_millis(200)); // read, and half
    packets.write("6,2,1001,-;eth0: link is up\n");
    packets.write(&format!("0,3,1002,-;{}\n", BLOCK[1]));
    packets.write(&format!("0,4,1003,-;{}\n", BLOCK[2]));
    let (signals, position) = next(&bench);
    is_told_once(&signals, PLACE, 2);
    assert!(position.contains("\"seq\":4"), "{position}");
    drop(bench.stop());
}

#[test]
fn a_block_whose_end_never_comes_is_told_as_far_as_it_goes() {
    let mut packets = Packets::new();
    packets.write(&format!("0,1,1000,-;{}\n", BLOCK[0]));
    let began = clock::boot();
    let bench = bench(Setup::Kmsg(packets.options()));
    let (signals, _) = next(&bench);
    // Whether this maker counts in the status is not known without its end.
    is_told_once(&signals, "cpu/the socket of CPU 12, channel 0", 1);
    let took = clock::boot().since(began);
    assert!(took >= Duration::from_millis(900), "{took:?}");
    drop(bench.stop());
}

#[test]
fn a_single_pass_does_not_wait_for_the_rest() {
    let mut packets = Packets::new();
    packets.write(&format!("0,1,1000,-;{}\n", BLOCK[0]));
    let bench = once(Setup::Kmsg(packets.options()));
    let began = clock::boot();
    let (signals, position) = next(&bench);
    // Whether this maker counts in the status is not known without its end.
    is_told_once(&signals, "cpu/the socket of CPU 12, channel 0", 1);
    assert!(position.contains("\"seq\":1"), "{position}");
    // It would wait for a second.
    assert!(clock::boot().since(began) < Duration::from_millis(900));
}

#[test]
fn a_block_in_a_log_file_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kern.log");
    append(&path, "Jan  2 15:04:05 h kernel: before\n");
    let trust = Trust { kernel: true, ..Trust::default() };
    let follow = vec![Follow { glob: "/kern.log".into(), trust }];
    let root = dir.path().to_owned();
    let bench = bench(Setup::File(Options { follow, root }));
    bench.until_position(&format!("file:{}", path.display()));
    for line in BLOCK {
        append(&path, &format!("Jan  2 15:04:06 h kernel: {line}\n"));
    }
    let (signals, _) = next(&bench);
    is_told_once(&signals, PLACE, 2);
    drop(bench.stop());
}

const LOGGED: [&str; 6] = [
    "Hardware event. This is not a software error.",
    "MCE 0",
    "CPU 12 BANK 7 TSC 1eef782aae",
    "MISC 140041586 ADDR 67a2f5c000",
    "STATUS 8c00004000010091 MCGSTATUS 0",
    "CPUID Vendor Intel Family 6 Model 85 Step 4",
];

#[test]
fn a_machine_check_in_the_log_of_mcelog_is_told_where_that_is_trusted() {
    for machine_checks in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mcelog");
        append(&path, "mcelog: Family 6 Model 85 CPU\n");
        let trust = Trust { machine_checks, ..Trust::default() };
        let follow = vec![Follow { glob: "/mcelog".into(), trust }];
        let root = dir.path().to_owned();
        let bench = bench(Setup::File(Options { follow, root }));
        let id = format!("file:{}", path.display());
        bench.until_position(&id);
        for line in LOGGED {
            append(&path, &format!("{line}\n"));
        }
        if machine_checks {
            let (signals, _) = next(&bench);
            let parts: Vec<_> =
                signals.iter().map(|signal| signal.part.as_str()).collect();
            assert_eq!(
                parts,
                ["cpu/the socket of CPU 12, memory controller 0, channel 1"]
            );
        } else {
            bench.until_observed(&id, 6);
        }
        drop(bench.stop());
    }
}
