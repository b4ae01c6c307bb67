//! Files of sysfs and /proc that hold what makes no sense, or are no files:
//! nothing is known of what they tell, which is not the same as well.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::server_tree::Server;
use crate::stubborn::{doctor, up};
use crate::support::Agent;

/// What becomes of a file.
enum Junk {
    Text(&'static str),
    Directory,
    Pipe,
}

const JUNK: [(&str, &str, Junk); 13] = [
    ("aer", "sys/bus/pci/devices/0000:5f:00.0/aer_dev_fatal", JUNK_TEXT),
    ("aer", "sys/bus/pci/devices/0000:5f:00.0/aer_dev_fatal", Junk::Pipe),
    (
        "aer",
        "sys/bus/pci/devices/0000:5f:00.0/aer_dev_nonfatal",
        Junk::Text("DLP 99999999999999999999999\n"),
    ),
    ("host", "proc/meminfo", Junk::Text("HardwareCorrupted:    -1 kB\n")),
    ("host", "sys/devices/system/cpu/online", Junk::Text("0-7,x\n")),
    ("disk", "sys/block/sda/device/state", Junk::Text("foo\n")),
    ("disk", "sys/block/sda/device/state", Junk::Pipe),
    ("disk", "sys/block/sda/device/ioerr_cnt", Junk::Text("zz\n")),
    (
        "pcie",
        "sys/bus/pci/devices/0000:5f:00.0/current_link_speed",
        Junk::Text("x GT/s\n"),
    ),
    ("raid", "proc/mdstat", Junk::Text("\x01\x02")),
    ("raid", "proc/mdstat", Junk::Directory),
    ("raid", "sys/block/md0/md/dev-sda1/errors", JUNK_TEXT),
    ("edac", "sys/devices/system/edac/mc/mc0/dimm3/dimm_ce_count", JUNK_TEXT),
];

const JUNK_TEXT: Junk = Junk::Text("junk\n");

fn spoil(path: &Path, junk: &Junk) {
    fs::remove_file(path).unwrap();
    match junk {
        Junk::Text(text) => fs::write(path, text).unwrap(),
        Junk::Directory => fs::create_dir(path).unwrap(),
        Junk::Pipe => {
            let mode = nix::sys::stat::Mode::S_IRWXU;
            nix::unistd::mkfifo(path, mode).unwrap();
        }
    }
}

fn restore(path: &Path, text: &[u8]) {
    match path.is_dir() {
        true => fs::remove_dir(path).unwrap(),
        false => fs::remove_file(path).unwrap(),
    }
    fs::write(path, text).unwrap();
}

fn config(dir: &Path) -> String {
    let off = "{ enabled: false }";
    let sources = ["aer", "disk", "edac", "host", "pcie", "raid"];
    let often = sources.map(|source| format!("  {source}: {{ every: 1s }}\n"));
    format!(
        "root: {}/host\nsources:\n  kmsg: {off}\n  journal: {off}\n  \
         mount: {off}\n  mce: {off}\n{}",
        dir.display(),
        often.concat()
    )
}

#[test]
fn a_file_that_makes_no_sense_is_unknown_and_not_well() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let root = dir.join("host");
    fs::create_dir_all(dir.join("patterns")).unwrap();
    Server::large().write_with_health(&root);
    for (source, path, junk) in &JUNK {
        let path = root.join(path);
        let before = fs::read(&path).unwrap();
        let (_, found) = doctor(&root, source);
        assert!(!found.contains("/sys/"), "{source}: {found}");
        spoil(&path, junk);
        let (verdict, found) = doctor(&root, source);
        assert_eq!(verdict, "warn", "{}: {found}", path.display());
        let file = path.file_name().unwrap().to_str().unwrap();
        assert!(found.contains(file), "{file}: {found}");
        restore(&path, &before);
    }
    let agent = Agent::start(dir, &config(dir));
    agent.log_line("faultline runs");
    for (source, path, junk) in JUNK.iter().filter(|j| j.0 != "edac") {
        agent.until(|agent| up(agent, source) == Some(1.0));
        let path = root.join(path);
        let before = fs::read(&path).unwrap();
        spoil(&path, junk);
        agent.until(|agent| up(agent, source) == Some(0.0));
        restore(&path, &before);
    }
    let (_, text) = agent.get("/api/v1/faults");
    let all: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(all["faults"], serde_json::json!([]));
    assert_eq!(agent.stop(), Some(0));
}
