//! The agent and its store: one that is taken away, can't be had, or comes
//! late.

use std::fs;
use std::path::Path;

use faultline::ledger::fault::Fault;
use faultline::machine::Machine;
use faultline::store::{Pending, Store};
use serde_json::Value;

use crate::fault_sample;
use crate::life::{KMSG, NOTHING, kernel_says, unique, write_pattern};
use crate::support::{Agent, PATIENCE};

#[test]
fn faults_are_written_again_when_the_state_directory_was_taken_away() {
    let directory = tempfile::tempdir().unwrap();
    write_pattern(directory.path());
    let dev = unique("gone");
    let line = format!("<3>faultline drill: {dev} failed");
    if !kernel_says(&[line.clone(), line]) {
        return;
    }
    let agent = Agent::start(directory.path(), KMSG);
    agent.log_line(&format!("disk/{dev}"));
    agent.until(|a| a.stored_count_of(&dev) == Some(2));
    fs::remove_dir_all(directory.path().join("state")).unwrap();
    // Nothing more is said that would have to be written.
    agent.log_line("was removed, replaced or cut");
    agent.until(|a| a.metric("faultline_state_durable") == Some(1.0));
    assert_eq!(agent.stored_count_of(&dev), Some(2));
}

#[test]
fn an_order_that_cannot_be_written_says_so() {
    let directory = tempfile::tempdir().unwrap();
    write_pattern(directory.path());
    let dev = unique("unwritten");
    if !kernel_says(&[format!("<3>faultline drill: {dev} failed")]) {
        return;
    }
    let blocked = directory.path().join("state");
    fs::write(&blocked, "no directory").unwrap();
    let agent = Agent::start(directory.path(), KMSG);
    agent.log_line(&format!("disk/{dev}"));
    agent.until(|a| a.count_of(&dev) == Some(1));
    let wish = format!("{{\"fault\":\"disk/{dev}\",\"why\":\"a drill\"}}");
    let (status, answer) = agent.post("/v1/clear", &wish);
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("\"durable\":false"), "{answer}");
    assert!(answer.contains("could not be written yet"), "{answer}");
}

#[test]
fn detection_goes_on_without_a_state_directory() {
    let directory = tempfile::tempdir().unwrap();
    write_pattern(directory.path());
    // A file where the directory should be.
    fs::write(directory.path().join("state"), "").unwrap();
    let dev = unique("nostate");
    if !kernel_says(&[format!("<3>faultline drill: {dev} failed")]) {
        return;
    }
    let agent = Agent::start(directory.path(), KMSG);
    agent.log_line("the state is not durable");
    agent.log_line("faultline runs");
    agent.until(|a| a.count_of(&dev) == Some(1));
    assert_eq!(agent.metric("faultline_state_durable"), Some(0.0));
    fs::remove_file(directory.path().join("state")).unwrap();
    agent.until(|a| a.metric("faultline_state_durable") == Some(1.0));
    agent.until(|a| a.stored_count_of(&dev) == Some(1));
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_store_that_comes_late_brings_its_faults_along() {
    let directory = tempfile::tempdir().unwrap();
    write_pattern(directory.path());
    let elsewhere = directory.path().join("elsewhere");
    let store = Store::start(elsewhere.clone(), Machine::read("/".as_ref()));
    store.first(PATIENCE).unwrap();
    let json = fault_sample::stored("drill-failed", "disk/late", 5);
    let fault: Fault = serde_json::from_value(json).unwrap();
    let mut pending = Pending::default();
    pending.faults.insert(fault.key.clone(), Some(fault));
    store.put(pending);
    assert!(store.close(PATIENCE));
    // The disk with the state is not mounted yet.
    let state = directory.path().join("state");
    fs::write(&state, "").unwrap();
    let agent = Agent::start(directory.path(), NOTHING);
    agent.log_line("faultline runs");
    assert_eq!(agent.count_of("late"), None);
    fs::remove_file(&state).unwrap();
    fs::rename(&elsewhere, &state).unwrap();
    agent.until(|a| a.count_of("late") == Some(5));
    agent.until(|a| a.metric("faultline_state_durable") == Some(1.0));
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_raised_fault_in_a_late_store_is_not_undone_by_a_tolerated_line() {
    let directory = tempfile::tempdir().unwrap();
    write_pattern(directory.path());
    let file = directory.path().join("patterns/drill.yaml");
    let tolerant = fs::read_to_string(&file).unwrap();
    let tolerant =
        tolerant.replace("    clear:", "    tolerate: 5 in 1h\n    clear:");
    fs::write(&file, tolerant).unwrap();
    let dev = unique("undone");
    let elsewhere = directory.path().join("elsewhere");
    let store = Store::start(elsewhere.clone(), Machine::read("/".as_ref()));
    store.first(PATIENCE).unwrap();
    let part = format!("disk/{dev}");
    let json = fault_sample::stored("drill-failed", &part, 7);
    let fault: Fault = serde_json::from_value(json).unwrap();
    let mut pending = Pending::default();
    pending.faults.insert(fault.key.clone(), Some(fault));
    store.put(pending);
    assert!(store.close(PATIENCE));
    // The disk with the state is not mounted yet, and one line is logged.
    let state = directory.path().join("state");
    fs::write(&state, "").unwrap();
    let line = format!("<3>faultline drill: {dev} failed");
    if !kernel_says(&[line]) {
        return;
    }
    let agent = Agent::start(directory.path(), KMSG);
    agent.log_line("faultline runs");
    agent.until(|a| a.count_of(&dev) == Some(1));
    fs::remove_file(&state).unwrap();
    fs::rename(&elsewhere, &state).unwrap();
    agent.until(|a| a.count_of(&dev) == Some(7));
    agent.until(|a| a.stored_count_of(&dev) == Some(7));
    assert_eq!(agent.stop(), Some(0));
}

/// Puts a store with this fault in place of a directory that was not there
/// yet when `agent` started.
fn comes_late(directory: &Path, machine: &Machine, fault: Value) {
    let elsewhere = directory.join("elsewhere");
    let store = Store::start(elsewhere.clone(), machine.clone());
    store.first(PATIENCE).unwrap();
    let fault: Fault = serde_json::from_value(fault).unwrap();
    let mut pending = Pending::default();
    pending.faults.insert(fault.key.clone(), Some(fault));
    store.put(pending);
    assert!(store.close(PATIENCE));
    let state = directory.join("state");
    fs::remove_file(&state).unwrap();
    fs::rename(elsewhere, state).unwrap();
}

#[test]
fn a_raised_fault_in_a_late_store_keeps_its_past_and_its_count() {
    let directory = tempfile::tempdir().unwrap();
    write_pattern(directory.path());
    fs::write(directory.path().join("state"), "").unwrap();
    let dev = unique("past");
    if !kernel_says(&[format!("<3>faultline drill: {dev} failed")]) {
        return;
    }
    let agent = Agent::start(directory.path(), KMSG);
    agent.log_line("faultline runs");
    agent.until(|a| a.count_of(&dev) == Some(1));
    let part = format!("disk/{dev}");
    let stored = fault_sample::stored("drill-failed", &part, 7);
    comes_late(directory.path(), &Machine::read("/".as_ref()), stored);
    agent.until(|a| a.count_of(&dev) == Some(7));
    let (_, faults) = agent.get("/api/v1/faults");
    assert!(faults.contains("\"opened\":\"1970-01-01"), "{faults}");
    agent.until(|a| a.stored_count_of(&dev) == Some(7));
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_fault_in_a_late_store_is_cleared_by_a_proof_that_came_before() {
    let directory = tempfile::tempdir().unwrap();
    write_pattern(directory.path());
    let file = directory.path().join("patterns/drill.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let recovers = "clear: [{ recovered: { where: { message: \
        '^faultline drill: (?<dev>[a-z0-9]{1,32}) works' } } }]";
    let text = text.replace("clear: [replaced]", recovers).replace(
        "gives: nothing",
        "gives: { part: disk/a1, proof: recovered }",
    );
    fs::write(&file, text).unwrap();
    fs::write(directory.path().join("state"), "").unwrap();
    let agent = Agent::start(directory.path(), KMSG);
    agent.log_line("faultline runs");
    let (dev, other) = (unique("early"), unique("other"));
    let works = format!("<6>faultline drill: {dev} works");
    let failed = format!("<3>faultline drill: {other} failed");
    if !kernel_says(&[works, failed]) {
        return;
    }
    agent.until(|a| a.count_of(&other) == Some(1));
    let part = format!("disk/{dev}");
    let mut stored = fault_sample::stored("drill-failed", &part, 7);
    stored["injected"] = true.into();
    stored["clear"] = serde_json::json!(
        [{ "recovered": { "hold": { "secs": 0, "nanos": 0 } } }]
    );
    comes_late(directory.path(), &Machine::read("/".as_ref()), stored);
    let told = agent.log_line(&part);
    assert!(told.contains("\"proof\":\"recovered\""), "{told}");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_state_fault_in_a_late_store_is_told_how_things_are_now() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    fs::create_dir_all(dir.join("patterns")).unwrap();
    let text = "version: 1\ncomponent: test\npatterns:\n  \
        - name: drill-readonly\n    summary: \"{mountpoint} is read-only\"\n    \
        severity: error\n    source: mount\n    \
        where: { readonly: true }\n    part: \"fs/{mountpoint}\"\n    \
        clear: [{ normal: 1s }]\n    advice: none\n";
    fs::write(dir.join("patterns/drill.yaml"), text).unwrap();
    fs::create_dir_all(dir.join("proc/1")).unwrap();
    let mounts = "1 0 8:1 / /data rw - ext4 /dev/sda1 rw\n";
    fs::write(dir.join("proc/1/mountinfo"), mounts).unwrap();
    fs::write(dir.join("state"), "").unwrap();
    let more = format!(
        "root: {}\nsources:\n  kmsg: {{ enabled: false }}\n  \
         journal: {{ enabled: false }}\n",
        dir.display()
    );
    let agent = Agent::start(dir, &more);
    agent.log_line("faultline runs");
    // It was read-only when the agent ended, and is no more.
    let mut stored = fault_sample::stored("drill-readonly", "fs//data", 1);
    stored["clear"] =
        serde_json::json!([{ "normal": { "secs": 1, "nanos": 0 } }]);
    stored["sources"] = serde_json::json!(["mount"]);
    comes_late(dir, &Machine::read(dir), stored);
    let opened = agent.log_line("fs//data");
    assert!(opened.contains("\"kind\":"), "{opened}");
    agent.until(|a| {
        let (_, faults) = a.get("/api/v1/faults");
        faults.contains("\"proof\":\"recovered\"")
    });
    assert_eq!(agent.stop(), Some(0));
}
