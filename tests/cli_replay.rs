//! `faultline replay` on the logs in `fixtures/logs`.

#![expect(clippy::unwrap_used, reason = "a helper of tests may panic")]

mod cli_support;

use std::collections::BTreeSet;

use cli_support::{run, run_with};
use serde_json::Value;

/// Some hours of the same node, in each format.
const FORMATS: [&str; 5] = [
    "fixtures/logs/node.dmesg.log",
    "fixtures/logs/node.dmesg-T.log",
    "fixtures/logs/node.dmesg-x.log",
    "fixtures/logs/node.kmsg.log",
    "fixtures/logs/node.journal.log",
];

fn place() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn json(args: &[&str]) -> Value {
    let ran = run(place().path(), args);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(ran.err, "");
    serde_json::from_str(&ran.out).unwrap()
}

fn lines(args: &[&str]) -> Vec<Value> {
    let ran = run(place().path(), args);
    assert_eq!(ran.status, 0, "{ran:?}");
    ran.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

/// `pattern part state` of every fault.
fn faults(replay: &Value) -> BTreeSet<String> {
    let faults = replay["faults"].as_array().unwrap();
    let name = |f: &Value| {
        format!(
            "{} {} {}",
            text(f, "pattern"),
            text(f, "part"),
            text(f, "state")
        )
    };
    faults.iter().map(name).collect()
}

#[test]
fn every_format_tells_the_same_faults() {
    let first = faults(&json(&["replay", "--json", FORMATS[0]]));
    assert!(
        first.contains(
            "memory-uncorrected dimm/CPU_SrcID#0_MC#0_Chan#1_DIMM#0 active"
        ),
        "{first:?}"
    );
    let export = ["fixtures/logs/node.export.log"];
    for format in FORMATS[1..].iter().chain(&export) {
        let other = faults(&json(&["replay", "--json", format]));
        assert_eq!(other, first, "{format}");
    }
}

#[test]
fn people_read_each_life_and_what_would_have_been_done() {
    let ran = run(
        place().path(),
        &["replay", "--year", "2026", "fixtures/logs/node.messages.log"],
    );
    assert_eq!(ran.status, 0, "{ran:?}");
    insta::assert_snapshot!(ran.out);
}

#[test]
fn a_log_without_dates_is_told_in_seconds_since_boot() {
    let ran = run(place().path(), &["replay", "fixtures/logs/node.dmesg.log"]);
    insta::assert_snapshot!(ran.out);
}

#[test]
fn a_program_named_like_an_error_opens_nothing() {
    let faults = faults(&json(&["replay", "--json", FORMATS[3]]));
    assert!(!faults.iter().any(|f| f.contains("DIMM_Z9")), "{faults:?}");
}

#[test]
fn time_after_the_last_line_passes_only_when_told_to() {
    let log = "fixtures/logs/node.messages.log";
    let cleared = |replay: &Value| {
        let faults = faults(replay);
        let of = |f: &&String| f.ends_with(" cleared");
        faults.iter().filter(of).count()
    };
    let before = json(&["replay", "--json", log]);
    let after = json(&["replay", "--json", "--follow-up", "10d", log]);
    assert!(cleared(&after) > cleared(&before));
    let ran = run(place().path(), &["replay", "--follow-up", "60", log]);
    assert_eq!(ran.status, 64);
    assert!(ran.err.contains("60s"), "{ran:?}");
}

#[test]
fn each_line_that_matched_is_one_object_with_its_number() {
    for format in FORMATS {
        let all = lines(&["replay", "--matches", "--json", format]);
        let input = std::fs::read(format).unwrap();
        let input: Vec<_> = input.split(|b| *b == b'\n').collect();
        assert!(!all.is_empty());
        for matched in &all {
            let n = usize::try_from(matched["n"].as_u64().unwrap()).unwrap();
            let line = String::from_utf8_lossy(input[n - 1]);
            let shown = text(matched, "line");
            assert!(shown.starts_with(&*line), "{format} {n}: {shown}");
            let matches = matched["matches"].as_array().unwrap();
            assert!(!matches.is_empty());
            for one in matches {
                let effect = text(one, "effect");
                let known = ["open", "proof", "history", "evidence", "note"];
                assert!(known.contains(&effect), "{one}");
                let opens = one["count"].as_u64().unwrap() > 0;
                assert!(opens || effect != "open", "{one}");
            }
        }
        let memory = all.iter().flat_map(|m| m["matches"].as_array().unwrap());
        let memory: Vec<_> = memory
            .filter(|m| text(m, "pattern") == "memory-uncorrected")
            .collect();
        assert_eq!(memory.len(), 1, "{format}");
        assert_eq!(
            text(memory[0], "part"),
            "dimm/CPU_SrcID#0_MC#0_Chan#1_DIMM#0"
        );
        assert_eq!(text(memory[0], "severity"), "fatal");
    }
}

#[test]
fn hostile_bytes_neither_act_nor_end_the_replay() {
    for mode in [
        &["replay"][..],
        &["replay", "--json"],
        &["replay", "--matches"],
        &["replay", "--matches", "--json"],
    ] {
        let mut args = mode.to_vec();
        args.push("fixtures/logs/hostile.log");
        let ran = run(place().path(), &args);
        assert_eq!(ran.status, 0, "{ran:?}");
        let acts = |c: char| c != '\n' && faultline::escape::acts(c);
        assert!(!ran.out.contains(acts), "{:?}", ran.out);
        assert!(ran.out.contains("DIMM_B1"), "{}", ran.out);
        assert!(!ran.out.contains("DIMM_D1"), "{}", ran.out);
    }
}

#[test]
fn trouble_that_no_pattern_knows_is_counted_by_shape() {
    let log = "kern  :err   : [    1.000000] acme 7: flux capacitor lost\n\
               kern  :err   : [    2.000000] acme 9: flux capacitor lost\n\
               kern  :info  : [    3.000000] acme 9: all is well\n";
    let ran = run_with(place().path(), &["replay"], log.as_bytes());
    assert!(ran.out.contains("2 line(s) look like trouble"), "{ran:?}");
    assert!(ran.out.contains("2  acme #: flux capacitor lost"), "{ran:?}");
    let ran = run_with(place().path(), &["replay", "--json"], log.as_bytes());
    let replay: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(replay["unexplained"][0]["count"], 2);
    assert_eq!(replay["input"]["unexplained"], 2);
}

#[test]
fn bare_lines_take_no_time() {
    let line = "EDAC MC0: 1 UE memory read error on DIMM_A1 (channel:0 slot:0 \
                page:0x1 offset:0x0 grain:32)\n";
    let ran = run_with(
        place().path(),
        &["replay", "--json"],
        line.repeat(3).as_bytes(),
    );
    let replay: Value = serde_json::from_str(&ran.out).unwrap();
    let fault = &replay["faults"][0];
    assert_eq!(fault["count"], 3);
    assert_eq!(fault["first_seen"], fault["last_seen"]);
    assert_eq!(replay["input"]["first"], Value::Null);
}

#[test]
fn a_long_log_is_not_kept_in_memory() {
    use std::io::Write;
    let dir = place();
    let mut child = cli_support::faultline(dir.path())
        .args(["replay", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut write = |from: u32, to: u32| {
        for i in from..to {
            let line = format!("[{i:>5}.000000] usb 1-1: new device\n");
            stdin.write_all(line.as_bytes()).unwrap();
        }
    };
    // All but what the pipe holds has been read when a write is done.
    write(0, 50_000);
    let early = peak(child.id());
    write(50_000, 400_000);
    let late = peak(child.id());
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert!(late - early < 4096, "{early} KiB grew to {late} KiB");
}

/// The largest resident size so far, KiB.
fn peak(pid: u32) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_log_is_held_against_the_parts_of_a_host_where_that_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let log = b"[    9.000000] nvme nvme2: Removing after probe failure \
                status: -19\n";
    let server = "fixtures/hosts/large-server";
    let args = ["replay", "--json", "--root", server, "-"];
    let ran = run_with(dir.path(), &args, log);
    assert!(ran.out.contains("\"part\": \"disk/nvme2\""), "{ran:?}");
    assert!(ran.out.contains("S64GNE0R721"), "{}", ran.out);
    let plain = run_with(dir.path(), &["replay", "--json", "-"], log);
    assert!(plain.out.contains("disk/nvme2"), "{plain:?}");
    assert!(!plain.out.contains("S64GNE0R721"), "{}", plain.out);
}

/// One event as the kernel tells it, in several lines; nothing that holds
/// may count more than one.
#[test]
fn one_event_told_in_several_lines_counts_one() {
    let place = place();
    let mut seen = 0;
    for entry in std::fs::read_dir("fixtures/logs/one-event").unwrap() {
        let path = entry.unwrap().path();
        let mut log = std::fs::read_to_string(&path).unwrap();
        // Whatever waits for its cause has waited long enough then.
        log.push_str("[ 9000.000000] tick\n");
        let late = place.path().join("event.log");
        std::fs::write(&late, log).unwrap();
        let replay = json(&["replay", "--json", late.to_str().unwrap()]);
        let all = replay["faults"].as_array().unwrap();
        let raised: Vec<&Value> =
            all.iter().filter(|f| text(f, "state") == "active").collect();
        assert!(!raised.is_empty(), "{}: {all:?}", path.display());
        // Who else reports a machine check is no other part.
        if path.file_name().unwrap().to_str().unwrap().starts_with("mce-") {
            assert_eq!(raised.len(), 1, "{}: {all:?}", path.display());
        }
        for fault in raised {
            assert_eq!(fault["count"], 1, "{}: {fault}", path.display());
        }
        seen += 1;
    }
    assert!(seen >= 10, "{seen} events");
}

#[test]
fn lines_of_a_broken_export_are_told() {
    // Its length went through an editor, or the rest was cut off.
    let head = b"__CURSOR=s=1\n_TRANSPORT=kernel\nMESSAGE\n";
    let rest = b"EDAC MC0: 1 UE\n\nEDAC MC0: 1 UE\n";
    let place = place();
    let path = place.path().join("export");
    let path = path.to_str().unwrap();
    for (length, passed) in [(u64::MAX, 3), (1 << 20, 3), (14, 0)] {
        let log = [&head[..], &length.to_le_bytes(), rest].concat();
        std::fs::write(path, log).unwrap();
        let replay = json(&["replay", "--json", path]);
        assert_eq!(replay["input"]["lines_passed_over"], passed, "{length}");
        let said = "line(s) passed over: the journal export is broken";
        let told = run(place.path(), &["replay", path]).out;
        assert_eq!(told.contains(said), passed > 0, "{told}");
        let ran = run(place.path(), &["replay", "--matches", "--json", path]);
        assert_eq!(ran.err.contains(said), passed > 0, "{}", ran.err);
    }
}

#[test]
fn a_long_message_in_an_export_is_no_record_and_hides_none() {
    let kernel = |dimm: u32| {
        format!(
            "__CURSOR=s=1;i={dimm}\n__REALTIME_TIMESTAMP=1700000000000000\n\
             _TRANSPORT=kernel\nMESSAGE=EDAC MC0: 1 UE memory read error on \
             CPU_SrcID#0_MC#0_Chan#1_DIMM#{dimm} (channel:1 slot:{dimm} \
             page:0x1f8f8 offset:0x40 grain:32)\n\n"
        )
    };
    for size in [100, 40_000, 70_000] {
        let blank = "x".repeat(size);
        // What journald writes with its length: an escape, or a newline.
        let message = format!("\x1b[1m{blank}\r\n\n{}\n", kernel(7));
        let mut log =
            b"__CURSOR=s=1;i=9\n_TRANSPORT=journal\nMESSAGE\n".to_vec();
        log.extend((message.len() as u64).to_le_bytes());
        log.extend(message.as_bytes());
        log.extend(b"\n\n");
        log.extend(kernel(0).as_bytes());
        log.extend(kernel(1).as_bytes());
        let place = place();
        let path = place.path().join("export");
        std::fs::write(&path, log).unwrap();
        let replay = json(&["replay", "--json", path.to_str().unwrap()]);
        let parts: BTreeSet<&str> = replay["faults"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fault| text(fault, "part"))
            .collect();
        let wanted = ["0", "1"]
            .map(|n| format!("dimm/CPU_SrcID#0_MC#0_Chan#1_DIMM#{n}"));
        assert!(parts.iter().eq(wanted.iter()), "{size}: {parts:?}");
    }
}

#[test]
fn holes_in_a_log_hide_no_line() {
    let place = place();
    let path = place.path().join("messages");
    let line = "Mar  2 07:30:00 host kernel: EDAC MC0: 1 UE memory read error \
                on DIMM_A1 (channel:1 slot:0 page:0x1f8f8 offset:0x40 grain:32)";
    std::fs::write(&path, format!("\0\0\0{line}\n")).unwrap();
    let replay = json(&["replay", "--json", path.to_str().unwrap()]);
    let found = faults(&replay);
    assert!(
        found.contains("memory-uncorrected dimm/DIMM_A1 active"),
        "{found:?}"
    );
}
