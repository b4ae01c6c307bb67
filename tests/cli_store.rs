//! Commands that read or change the store when no agent runs.

#![expect(clippy::unwrap_used, reason = "a helper of tests may panic")]

mod cli_support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cli_support::run;
use faultline::drive::Drive;
use faultline::machine::Machine;
use faultline::reload::PatternFiles;
use faultline::store::{HistoryEntry, Pending, Store};
use faultline::time::Timestamp;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

const DIMM: &str = "dimm/CPU_SrcID#0_MC#0_Chan#1_DIMM#0";

/// A state directory as an agent leaves it that saw these lines.
fn after(lines: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let set = PatternFiles::new(Vec::new()).load().unwrap().set;
    let start = Timestamp(1_772_431_200_000_000);
    let mut drive = Drive::new(Arc::clone(&set), start);
    let mut pending = Pending::default();
    for (i, line) in lines.iter().enumerate() {
        let after = Duration::from_secs(60 * i as u64);
        drive.advance(start.plus(after));
        let changes = drive.kernel_text(line.as_bytes(), None).changes;
        pending.history.extend(changes.iter().map(HistoryEntry::of));
    }
    let at = drive.now().boot;
    let faults = drive.ledger().faults();
    pending.faults = faults.map(|f| (f.key.clone(), Some(f.at(at)))).collect();
    save(&dir.path().join("state"), pending, Machine::default());
    dir
}

fn save(dir: &Path, pending: Pending, machine: Machine) {
    let store = Store::start(dir.to_owned(), machine);
    store.first(PATIENCE).unwrap();
    store.put(pending);
    assert!(store.close(PATIENCE));
}

/// A fatal fault and a warning.
fn sick() -> tempfile::TempDir {
    after(&[
        "bond0: (slave eno1): link status definitely down, disabling slave",
        "EDAC MC0: 1 UE memory read error on CPU_SrcID#0_MC#0_Chan#1_DIMM#0 \
         (channel:1 slot:0 page:0x1f8f8 offset:0x440 grain:32)",
    ])
}

fn json(dir: &Path, args: &[&str]) -> Value {
    let ran = run(dir, args);
    serde_json::from_str(&ran.out)
        .unwrap_or_else(|e| panic!("{args:?}: {e}: {ran:?}"))
}

#[test]
fn the_worst_fault_decides_the_status() {
    let warning = after(&[
        "bond0: (slave eno1): link status definitely down, disabling slave",
    ]);
    assert_eq!(run(warning.path(), &["status"]).status, 1);
    let fatal = sick();
    let ran = run(fatal.path(), &["status"]);
    assert_eq!(ran.status, 2);
    assert!(ran.out.contains("no agent is running"), "{}", ran.out);
    assert!(ran.out.contains(DIMM) && ran.out.contains("nic/eno1"));
}

#[test]
fn no_fault_in_the_store_of_a_dead_agent_is_no_good_news() {
    let dir = after(&["EDAC MC: Ver: 3.0.0"]);
    let ran = run(dir.path(), &["status"]);
    assert_eq!(ran.status, 3, "{ran:?}");
}

#[test]
fn a_fault_is_explained_under_the_same_headings_as_everywhere() {
    let dir = sick();
    let ran = run(dir.path(), &["explain", DIMM]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let headings = ["what", "part", "affects", "done", "impact", "action"];
    for heading in
        headings.into_iter().chain(["runbook", "evidence", "proofs", "life"])
    {
        let found = ran.out.lines().any(|l| l.starts_with(heading));
        assert!(found, "{heading}: {}", ran.out);
    }
    let told = json(dir.path(), &["explain", "--json", DIMM]);
    assert_eq!(told["fault"]["part"], DIMM);
    assert_eq!(told["history"][0]["change"], "opened");
}

#[test]
fn clear_records_who_and_why_and_is_seen_at_once() {
    let dir = sick();
    let why = ["clear", DIMM, "--why", "swapped with DIMM 2"];
    let ran = run(dir.path(), &why);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.out.contains("no agent is running"), "{ran:?}");
    assert_eq!(run(dir.path(), &["status"]).status, 1);
    let history = json(dir.path(), &["history", "--json", DIMM]);
    let last = history["history"].as_array().unwrap().last().unwrap();
    assert_eq!(last["change"], "cleared");
    assert_eq!(last["why"], "swapped with DIMM 2");
    let by = last["proof"].as_str().unwrap();
    assert!(by.starts_with("cleared by ") && by.len() > 11, "{by}");
    let again = run(dir.path(), &why);
    assert_eq!(again.status, 1, "{again:?}");
}

#[test]
fn a_clear_that_says_nothing_or_names_nothing_changes_nothing() {
    let dir = sick();
    let before = json(dir.path(), &["status", "--json"]);
    for args in [
        &["clear", DIMM][..],
        &["clear", DIMM, "--why", " "],
        &["clear", "disk/none", "--why", "x"],
    ] {
        let ran = run(dir.path(), args);
        assert!(ran.status == 64 || ran.status == 1, "{ran:?}");
        assert!(!ran.err.is_empty());
    }
    assert_eq!(json(dir.path(), &["status", "--json"]), before);
}

#[test]
fn a_damaged_store_is_told_and_left_alone() {
    let dir = sick();
    let path = dir.path().join("state/state.db");
    std::fs::write(&path, b"not a database, but long enough to be one")
        .unwrap();
    for args in [&["status"][..], &["history"]] {
        let ran = run(dir.path(), args);
        assert_eq!(ran.status, 3, "{ran:?}");
        assert!(ran.err.contains("state.db"), "{ran:?}");
    }
    assert!(std::fs::read(&path).unwrap().starts_with(b"not a database"));
}

#[test]
fn another_machines_faults_on_a_cloned_disk_are_history() {
    let dir = sick();
    let machine_id = |id: &str| {
        let etc = dir.path().join("none/etc");
        std::fs::create_dir_all(&etc).unwrap();
        std::fs::write(etc.join("machine-id"), id).unwrap();
        Machine::read(&dir.path().join("none"))
    };
    let (old, new) = (
        "1f0e8f6cb3d94a0f8a6d0f7c21b5e9d4",
        "8c2a71d95e0b4c6f93d1e7a4405f6b38",
    );
    save(&dir.path().join("state"), Pending::default(), machine_id(old));
    assert_eq!(run(dir.path(), &["status"]).status, 2);
    machine_id(new);
    let ran = run(dir.path(), &["status"]);
    assert_eq!(ran.status, 3, "{ran:?}");
    assert!(ran.out.contains("another machine"), "{}", ran.out);
    assert!(!ran.out.contains(DIMM), "{}", ran.out);
    let history = json(dir.path(), &["history", "--json"]);
    let warning = history["warning"].as_str().unwrap();
    assert!(warning.contains("another machine"), "{warning}");
    let last = history["history"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["change"], "cloned disk", "{history}");
    // Looking has changed nothing: on its own machine all is as before.
    machine_id(old);
    assert_eq!(run(dir.path(), &["status"]).status, 2);
}
