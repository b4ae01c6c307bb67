//! The samples in docs/commands.md are what the commands print. With
//! UPDATE_DOCS=1 in the environment they are written anew instead, to be
//! looked at before they are committed.

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

const DOCS: &str = "docs/commands.md";

/// What the store holds that the samples of `status`, `history`, `explain`
/// and `clear` are about.
const LINES: [(u64, &str); 4] = [
    (0, "critical medium error, dev sdb, sector 2531621912 op 0x0:(READ)"),
    (3600, "critical medium error, dev sdb, sector 2531621920 op 0x0:(READ)"),
    (4000, "bond0: (slave eno1): link status definitely down, disabling slave"),
    (
        4060,
        "bond0: (slave eno1): link status definitely up, 10000 Mbps full duplex",
    ),
];

fn prepare(dir: &Path) {
    let set = PatternFiles::new(Vec::new()).load().unwrap().set;
    let start = Timestamp(1_772_431_200_000_000);
    let mut drive = Drive::new(Arc::clone(&set), start);
    let mut pending = Pending::default();
    for (at, line) in LINES {
        let mut changes = drive.advance(start.plus(Duration::from_secs(at)));
        changes.extend(drive.kernel_text(line.as_bytes(), None).changes);
        pending.history.extend(changes.iter().map(HistoryEntry::of));
    }
    let changes = drive.advance(start.plus(Duration::from_secs(7200)));
    pending.history.extend(changes.iter().map(HistoryEntry::of));
    let at = drive.now().boot;
    let faults = drive.ledger().faults();
    pending.faults = faults.map(|f| (f.key.clone(), Some(f.at(at)))).collect();
    let store = Store::start(dir.join("state"), Machine::default());
    store.first(Duration::from_secs(20)).unwrap();
    store.put(pending);
    assert!(store.close(Duration::from_secs(20)));
}

/// The arguments of a command line, with double quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words
}

/// What a block would show on this machine.
fn replay_block(dir: &Path, block: &[&str]) -> Vec<String> {
    let mut shown = Vec::new();
    let mut status = 0;
    for line in block.iter().filter(|l| l.starts_with("$ ")) {
        shown.push((*line).to_owned());
        if *line == "$ echo $?" {
            shown.push(status.to_string());
            continue;
        }
        let words = words(line.strip_prefix("$ faultline ").unwrap());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ran = run(dir, &words);
        status = ran.status;
        let place = dir.display().to_string();
        let text = format!("{}{}", ran.out, ran.err);
        let text = text
            .replace(
                &format!("{place}/socket"),
                "/run/faultline/faultline.sock",
            )
            .replace(&format!("{place}/state"), "/var/lib/faultline")
            .replace(
                &format!("{place}/config.yaml"),
                "/etc/faultline/config.yaml",
            );
        shown.extend(text.lines().map(steady));
    }
    shown
}

/// Ages depend on when the test runs, and the number of patterns on how many
/// there are: each age is shown as `2h ago`, each such number as 300.
fn steady(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for i in 1..words.len() {
        if words[i].trim_end_matches([')', ';', ',']) == "ago" {
            let open = if words[i - 1].starts_with('(') { "(" } else { "" };
            words[i - 1] = format!("{open}2h");
        }
    }
    for i in 2..words.len() {
        if words[i].trim_end_matches(',') == "force" {
            words[i - 2] = "300".to_owned();
        }
    }
    words.join(" ").trim_end().to_owned()
}

#[test]
fn every_sample_is_what_the_command_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCS);
    let text = std::fs::read_to_string(&path).unwrap();
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let mut fresh = Vec::new();
    let mut lines = text.lines();
    let mut samples = 0;
    while let Some(line) = lines.next() {
        fresh.push(line.to_owned());
        if line == "```console" {
            let block: Vec<&str> =
                lines.by_ref().take_while(|l| *l != "```").collect();
            fresh.extend(replay_block(dir.path(), &block));
            fresh.push("```".to_owned());
            samples += 1;
        }
    }
    assert!(samples >= 10, "only {samples} samples");
    let fresh = fresh.join("\n") + "\n";
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, fresh).unwrap();
        return;
    }
    for (is, should) in text.lines().zip(fresh.lines()) {
        assert_eq!(is, should, "{DOCS} is not what is printed (see the top)");
    }
    assert_eq!(text.lines().count(), fresh.lines().count());
}
