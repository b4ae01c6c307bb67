//! Parts that are swapped under a running agent: the host is a directory.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::server_tree::Server;
use crate::support::Agent;

/// Reads one log file of a host below `DIR/host`, and takes the census.
fn config(dir: &Path) -> String {
    let off = "{ enabled: false }";
    format!(
        "root: {}/host\nsources:\n  kmsg: {off}\n  journal: {off}\n  \
         mount: {off}\n  edac: {off}\n  \
         file: {{ paths: [{{ glob: /var/log/messages, kernel: true }}] }}\n  \
         inventory: {{ every: 1s, expect: {{ dimm: 16 }} }}\n",
        dir.display()
    )
}

/// A pattern for power supplies, which no kernel text is about.
fn write_pattern(dir: &Path) {
    let text = "version: 1\ncomponent: power\npatterns:\n  \
        - name: drill-psu\n    summary: \"supply {n} failed\"\n    \
        severity: error\n    source: kmsg\n    \
        where: { message: '^faultline drill: supply (?<n>[0-9]) failed' }\n    \
        part: \"psu/{n}\"\n    clear: [replaced]\n    advice: none\n    \
        examples:\n      \
        - { line: 'faultline drill: supply 1 failed', gives: { part: psu/1 } }\n\
        \x20     - { line: 'faultline drill: supply works', gives: nothing }\n";
    fs::create_dir_all(dir.join("patterns")).unwrap();
    fs::write(dir.join("patterns/drill.yaml"), text).unwrap();
}

fn prepare(dir: &Path, server: &Server) {
    write_pattern(dir);
    server.write(&dir.join("host"));
    fs::create_dir_all(dir.join("host/var/log")).unwrap();
    fs::write(dir.join("host/var/log/messages"), "").unwrap();
}

fn kernel_says(dir: &Path, lines: &[&str]) {
    let path = dir.join("host/var/log/messages");
    let mut log = fs::OpenOptions::new().append(true).open(path).unwrap();
    let now = faultline::clock::now().wall.to_string();
    for line in lines {
        writeln!(log, "{now} testnode kernel: {line}").unwrap();
    }
}

fn faults(agent: &Agent) -> Vec<Value> {
    let (_, text) = agent.get("/api/v1/faults");
    let all: Value = serde_json::from_str(&text).unwrap();
    all["faults"].as_array().unwrap().clone()
}

/// The fault of this pattern, once it is as it should be.
#[track_caller]
fn until(agent: &Agent, pattern: &str, so: impl Fn(&Value) -> bool) -> Value {
    let found = |agent: &Agent| {
        let all = faults(agent);
        all.into_iter().find(|f| f["pattern"] == pattern && so(f))
    };
    agent.until(|agent| found(agent).is_some());
    found(agent).unwrap()
}

/// When the census was last taken.
const LOOKS: &str =
    "faultline_source_last_success_timestamp_seconds{source=\"inventory\"}";

const LINES: &[&str] = &[
    "EDAC MC1: 1 UE memory read error on P1_Node0_Channel2_Dimm0 P2-DIMMC1 \
     (channel:2 slot:0 page:0x1f8f8 offset:0x40 grain:32)",
    "nvme nvme2: Removing after probe failure status: -19",
    "sd 0:0:3:0: [sdd] tag#1 Add. Sense: Internal target failure",
    "faultline drill: supply 2 failed",
];

#[test]
fn swapped_parts_are_the_proof_replaced_and_others_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut server = Server::large();
    prepare(dir, &server);
    let agent = Agent::start(dir, &config(dir));
    agent.log_line("faultline runs");
    kernel_says(dir, LINES);
    for (pattern, part, place, serial) in [
        ("memory-uncorrected", "dimm/P2-DIMMC1", "P2-DIMMC1", "36A1B24A"),
        ("nvme-removed", "disk/nvme2", "slot 3", "S64GNE0R721"),
        ("disk-hardware-error", "disk/sdd", "bay 3", "ZC1A3X7Q0000"),
        ("drill-psu", "psu/PSU2", "PSU2", "P2K4ACK11BT002"),
    ] {
        let fault = until(&agent, pattern, |f| f["state"] == "active");
        assert_eq!(fault["part"], part);
        assert_eq!(fault["serial"], serial);
        assert!(fault["place"].as_str().unwrap().contains(place), "{fault}");
        assert_eq!(fault["presence"], "present");
        let info = format!(
            "faultline_part_info{{model=\"{}\",part=\"{part}\"",
            fault["model"].as_str().unwrap()
        );
        assert_eq!(agent.metric(&info), Some(1.0), "{info}");
    }
    // A healthy neighbour is swapped, and the failed disk changes its bay.
    server.dimms[3].serial = "4F00AA17".into();
    server.sas.swap(3, 5);
    (server.sas[3].place, server.sas[5].place) = ("3".into(), "5".into());
    server.write(&dir.join("host"));
    let moved = until(&agent, "disk-hardware-error", |f| {
        f["place"].as_str().is_some_and(|p| p.ends_with("bay 5"))
    });
    assert_eq!(
        (&moved["state"], &moved["part"]),
        (&"active".into(), &"disk/sdf".into())
    );
    // A person can't have replaced what is still there.
    let wish = "{\"fault\":\"ZC1A3X7Q0000\",\"why\":\"x\",\"replaced\":true}";
    let (status, answer) = agent.post("/v1/clear", wish);
    assert_eq!(status, 409, "{answer}");
    assert!(answer.contains("still in enclosure"), "{answer}");
    // An empty slot is no proof.
    let drive = server.nvme.remove(2);
    server.write(&dir.join("host"));
    until(&agent, "nvme-removed", |f| f["presence"] == "missing");
    // Now the failed ones.
    server.nvme.insert(2, drive);
    server.nvme[2].serial = "S64GNE0W99999".into();
    server.sas[5].serial = "ZC1NEW0000".into();
    server.dimms[10].serial = "4F00AA18".into();
    server.supplies[1].serial = "P2K4NEW".into();
    server.write(&dir.join("host"));
    for pattern in [
        "memory-uncorrected",
        "nvme-removed",
        "disk-hardware-error",
        "drill-psu",
    ] {
        let over = until(&agent, pattern, |f| f["state"] == "cleared");
        assert_eq!(over["proof"], "replaced", "{pattern}");
    }
    assert_eq!(agent.stop(), Some(0));
}

/// `faultline clear … --replaced` where no agent runs; the exit status and
/// what it said.
fn clear_replaced(dir: &Path, what: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faultline"));
    command.arg("--config").arg(dir.join("config.yaml"));
    command.args(["clear", what, "--why", "swapped", "--replaced"]);
    let done = command.output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    (done.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn without_an_agent_a_person_can_not_have_replaced_what_is_still_there() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut server = Server::large();
    prepare(dir, &server);
    let agent = Agent::start(dir, &config(dir));
    agent.log_line("faultline runs");
    kernel_says(dir, LINES);
    for pattern in ["nvme-removed", "disk-hardware-error"] {
        until(&agent, pattern, |f| f["state"] == "active");
    }
    assert_eq!(agent.stop(), Some(0));
    let (status, said) = clear_replaced(dir, "ZC1A3X7Q0000");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("still in enclosure"), "{said}");
    // What was taken out is not missed afterwards.
    server.nvme.remove(2);
    server.write(&dir.join("host"));
    let (status, said) = clear_replaced(dir, "S64GNE0R721");
    assert_eq!(status, Some(0), "{said}");
    let agent = Agent::start(dir, &config(dir));
    agent.log_line("faultline runs");
    let over = until(&agent, "nvme-removed", |f| f["state"] == "cleared");
    assert_eq!(over["proof"], "replaced");
    let disk = until(&agent, "disk-hardware-error", |_| true);
    assert_eq!(disk["state"], "active");
    // A part that is missed is so from the first look on.
    agent.until(|agent| agent.metric(LOOKS).is_some_and(|n| n > 0.0));
    let missed = |f: &Value| f["pattern"] == "disk-missing";
    let all = faults(&agent);
    assert!(!all.iter().any(missed), "{all:#?}");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_part_is_missed_over_a_restart_and_a_boot() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut server = Server::large();
    prepare(dir, &server);
    let agent = Agent::start(dir, &config(dir));
    agent.log_line("faultline runs");
    assert_eq!(agent.stop(), Some(0));
    server.dimms.remove(6);
    server.write(&dir.join("host"));
    let boot = dir.join("host/proc/sys/kernel/random");
    fs::create_dir_all(&boot).unwrap();
    fs::write(boot.join("boot_id"), "another\n").unwrap();
    let agent = Agent::start(dir, &config(dir));
    agent.log_line("faultline runs");
    let missing = until(&agent, "dimm-missing", |_| true);
    assert_eq!(missing["part"], "dimm/P1-DIMMG1");
    assert_eq!(missing["serial"], "36A1B246");
    assert_eq!(missing["presence"], "missing");
    let fewer = until(&agent, "parts-too-few", |_| true);
    assert_eq!(fewer["part"], "node/dimm");
    assert_eq!(agent.stop(), Some(0));
}

/// Where the state of the drive of this name is written.
fn state_of(dir: &Path, name: &str) -> std::path::PathBuf {
    dir.join("host/sys/class/nvme").join(name).join("state")
}

/// The same with states of disks, and a census as often as `every`.
fn with_disks(dir: &Path, every: &str) -> String {
    let census = format!("inventory: {{ every: {every}, ");
    config(dir).replace("inventory: { every: 1s, ", &census)
        + "  disk: { every: 1s }\n"
}

#[test]
fn of_two_drives_that_changed_places_the_dead_one_stays_failed() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut server = Server::large();
    prepare(dir, &server);
    server.write_with_health(&dir.join("host"));
    fs::write(state_of(dir, "nvme3"), "dead\n").unwrap();
    let config = with_disks(dir, "1s");
    let agent = Agent::start(dir, &config);
    agent.log_line("faultline runs");
    let dead = until(&agent, "disk-offline", |f| f["state"] == "active");
    assert_eq!(dead["serial"], "S64GNE0R731");
    assert_eq!(agent.stop(), Some(0));
    // They change places while nobody looks.
    let (one, three) =
        (server.nvme[1].serial.clone(), server.nvme[3].serial.clone());
    (server.nvme[1].serial, server.nvme[3].serial) = (three, one);
    server.write_with_health(&dir.join("host"));
    fs::write(state_of(dir, "nvme1"), "dead\n").unwrap();
    let agent = Agent::start(dir, &config);
    agent.log_line("faultline runs");
    let moved = until(&agent, "disk-offline", |f| {
        f["part"] == "disk/nvme1"
            && f["summary"].as_str().unwrap().contains("nvme1")
    });
    assert_eq!(moved["serial"], "S64GNE0R731");
    assert_eq!(moved["id"], dead["id"]);
    let state = &moved["state"];
    assert_eq!(state, "active", "{moved}");
    assert!(moved["place"].as_str().unwrap().contains("slot 2"), "{moved}");
    // A few more looks bring nothing else.
    let looks = |agent: &Agent| {
        agent.metric("faultline_observations_total{source=\"disk\"}").unwrap()
    };
    let before = looks(&agent);
    agent.until(|agent| looks(agent) > before + 40.0);
    let all = faults(&agent);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["state"], "active");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_new_drive_that_is_dead_on_arrival_is_the_one_that_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut server = Server::large();
    prepare(dir, &server);
    server.write_with_health(&dir.join("host"));
    // The next look for parts is far away.
    let agent = Agent::start(dir, &with_disks(dir, "15s"));
    agent.log_line("faultline runs");
    let up = "faultline_source_up{source=\"disk\"}";
    agent.until(|agent| agent.metric(up) == Some(1.0));
    server.nvme[2].serial = "NEWDOA0001".into();
    server.write_with_health(&dir.join("host"));
    fs::write(state_of(dir, "nvme2"), "dead\n").unwrap();
    until(&agent, "disk-offline", |f| f["state"] == "active");
    let known = until(&agent, "disk-offline", |f| f["place"].is_string());
    assert_eq!(known["serial"], "NEWDOA0001");
    assert_eq!(known["part"], "disk/nvme2");
    assert_eq!(known["state"], "active", "{known}");
    assert_eq!(faults(&agent).len(), 1, "{:?}", faults(&agent));
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_failed_drive_that_is_pulled_does_not_recover() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let server = Server::large();
    prepare(dir, &server);
    server.write_with_health(&dir.join("host"));
    fs::write(state_of(dir, "nvme3"), "dead\n").unwrap();
    let agent = Agent::start(dir, &with_disks(dir, "1s"));
    agent.log_line("faultline runs");
    until(&agent, "disk-offline", |f| f["state"] == "active");
    // Files go one after the other.
    fs::remove_file(state_of(dir, "nvme3")).unwrap();
    let looks = |agent: &Agent| {
        agent.metric("faultline_observations_total{source=\"disk\"}").unwrap()
    };
    let before = looks(&agent);
    agent.until(|agent| looks(agent) > before + 40.0);
    let own = |fault: &Value| fault["pattern"] == "disk-offline";
    let fault = faults(&agent).into_iter().find(own).unwrap();
    assert_eq!(fault["state"], "active", "{fault}");
    fs::remove_file(dir.join("host/sys/class/nvme/nvme3")).unwrap();
    let gone = until(&agent, "disk-offline", |f| f["presence"] == "missing");
    assert_eq!(gone["state"], "active", "{gone}");
    // It comes back in another slot, as dead as it was.
    let mut server = server;
    server.nvme.swap(1, 3);
    let places = (server.nvme[1].place.clone(), server.nvme[3].place.clone());
    (server.nvme[1].place, server.nvme[3].place) = (places.1, places.0);
    server.write_with_health(&dir.join("host"));
    fs::write(state_of(dir, "nvme1"), "dead\n").unwrap();
    let back = until(&agent, "disk-offline", |f| {
        f["presence"] == "present" && f["part"] == "disk/nvme1"
    });
    assert_eq!(back["state"], "active", "{back}");
    assert_eq!(agent.stop(), Some(0));
}
