//! Files of sysfs that refuse, hang or vanish under a running agent: the
//! source that reads them says why it can't, all others go on, and nothing is
//! taken for a fault.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::not_run::not_run;
use crate::server_tree::Server;
use crate::stubborn_tree::{StubbornTree, Way};
use crate::support::{Agent, PROGRAM};

/// A file for each source that looks at sysfs or /proc, which it needs.
const FILES: [(&str, &str); 6] = [
    ("edac", "sys/devices/system/edac/mc/mc0/dimm3/dimm_ce_count"),
    ("aer", "sys/devices/pci0000:5d/0000:5d:02.0/aer_dev_nonfatal"),
    (
        "pcie",
        "sys/devices/pci0000:5d/0000:5d:03.0/0000:61:00.0/current_link_width",
    ),
    ("raid", "sys/block/md0/md/dev-sdb1/state"),
    (
        "host",
        "sys/devices/system/cpu/cpu3/thermal_throttle/\
      core_throttle_count",
    ),
    (
        "disk",
        "sys/devices/pci0000:5d/0000:5d:01.0/0000:5f:00.0/nvme/nvme0/\
      state",
    ),
];

/// What the census reads of a drive.
const SERIAL: &str =
    "sys/devices/pci0000:5d/0000:5d:04.0/0000:62:00.0/nvme/nvme3/serial";

struct Host {
    // Dropped in this order: whoever hangs in the tree is let go first.
    tree: StubbornTree,
    agent: Agent,
    dir: tempfile::TempDir,
}

impl Host {
    /// An agent over a server whose files can misbehave; none, and loudly
    /// so, where there is no FUSE.
    fn start(test: &str) -> Option<Host> {
        let holder = tempfile::tempdir().unwrap();
        let dir = holder.path();
        fs::create_dir_all(dir.join("patterns")).unwrap();
        fs::create_dir(dir.join("host")).unwrap();
        Server::largest().write_with_health(&dir.join("real"));
        fs::create_dir_all(dir.join("real/var/log")).unwrap();
        fs::write(dir.join("real/var/log/messages"), "").unwrap();
        let mounted = StubbornTree::mount(&dir.join("real"), &dir.join("host"));
        let tree = match mounted {
            Ok(tree) => tree,
            Err(why) => {
                not_run(test, &why);
                return None;
            }
        };
        let agent = Agent::start(dir, &config(dir));
        agent.log_line("faultline runs");
        let host = Host { tree, agent, dir: holder };
        for (source, _) in FILES {
            host.agent.until(|agent| up(agent, source) == Some(1.0));
        }
        host.agent.until(|agent| up(agent, "inventory") == Some(1.0));
        Some(host)
    }

    fn reason(&self, source: &str) -> String {
        let node: Value =
            serde_json::from_str(&self.agent.get("/api/v1/node").1).unwrap();
        let sources = node["sources"].as_array().unwrap();
        let own = sources.iter().find(|s| s["source"] == source).unwrap();
        own["reason"].as_str().unwrap_or_default().to_owned()
    }

    fn all(&self) -> Vec<Value> {
        let (_, text) = self.agent.get("/api/v1/faults");
        let all: Value = serde_json::from_str(&text).unwrap();
        all["faults"].as_array().unwrap().clone()
    }

    fn kernel_says(&self, line: &str) {
        let log = self.dir.path().join("real/var/log/messages");
        let now = faultline::clock::now().wall.to_string();
        let mut log = fs::OpenOptions::new().append(true).open(log).unwrap();
        writeln!(log, "{now} testnode kernel: {line}").unwrap();
    }

    /// The faults that were opened.
    fn faults(&self) -> Vec<String> {
        let all = self.all();
        let open = all.iter().filter(|f| f["opened"].is_string());
        open.map(|f| format!("{} {}", f["pattern"], f["part"])).collect()
    }

    /// The verdict of `doctor` about a source, beside the agent.
    fn doctor(&self, name: &str) -> (String, String) {
        doctor(&self.dir.path().join("host"), name)
    }
}

/// The verdict of `doctor` about a source of the host below `root`, and what it
/// found.
pub fn doctor(root: &Path, name: &str) -> (String, String) {
    let ran = std::process::Command::new(PROGRAM)
        .args(["doctor", "--json", "--root"])
        .arg(root)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|c| c["name"] == name).unwrap();
    let text = |key: &str| check[key].as_str().unwrap().to_owned();
    (text("verdict"), text("found"))
}

/// Whether a source reads, as the metrics say.
pub fn up(agent: &Agent, source: &str) -> Option<f64> {
    agent.metric(&format!("faultline_source_up{{source=\"{source}\"}}"))
}

fn config(dir: &Path) -> String {
    let off = "{ enabled: false }";
    let often =
        FILES.map(|(source, _)| format!("  {source}: {{ every: 1s }}\n"));
    format!(
        "root: {}/host\nsources:\n  kmsg: {off}\n  journal: {off}\n  \
         mount: {off}\n  mce: {off}\n  \
         file: {{ paths: [{{ glob: /var/log/messages, kernel: true }}] }}\n  \
         inventory: {{ every: 1s }}\n{}",
        dir.display(),
        often.concat()
    )
}

#[test]
fn a_file_that_refuses_blinds_its_source_alone_and_opens_nothing() {
    let Some(host) = Host::start("files that refuse") else { return };
    for (source, path) in FILES {
        host.tree.set(path, Way::Refuses);
        host.agent.until(|agent| up(agent, source) == Some(0.0));
        let reason = host.reason(source);
        assert!(reason.contains("os error 5"), "{source}: {reason}");
        for (other, _) in FILES.iter().filter(|(other, _)| *other != source) {
            assert_eq!(up(&host.agent, other), Some(1.0), "{other}");
        }
        let (verdict, found) = host.doctor(source);
        assert_eq!(verdict, "warn", "{source}: {found}");
        assert!(found.contains("os error 5"), "{source}: {found}");
        host.tree.forget(path);
        host.agent.until(|agent| up(agent, source) == Some(1.0));
    }
    assert_eq!(host.faults(), [""; 0]);
}

#[test]
fn a_drive_whose_number_can_not_be_read_is_the_one_that_was_there() {
    let Some(host) = Host::start("a serial number that refuses") else {
        return;
    };
    host.kernel_says("nvme nvme3: Removing after probe failure status: -19");
    host.agent.until(|_| !host.faults().is_empty());
    let looks = |agent: &Agent| {
        let series = "faultline_observations_total{source=\"inventory\"}";
        agent.metric(series).unwrap()
    };
    for way in [Way::Refuses, Way::Vanishes] {
        for turn in ["set", "forgotten"] {
            match turn {
                "set" => host.tree.set(SERIAL, way),
                _ => host.tree.forget(SERIAL),
            }
            // Some forty parts a look.
            let before = looks(&host.agent);
            host.agent.until(|agent| looks(agent) > before + 100.0);
            let all = host.all();
            let mut all = all.iter();
            let fault = all.find(|f| f["pattern"] == "nvme-removed").unwrap();
            assert_eq!(fault["state"], "active", "{way:?} {turn}: {fault}");
            assert_eq!(fault["serial"], "S64GNE0R7031", "{way:?} {turn}");
            let presence = &fault["presence"];
            assert_eq!(presence, "present", "{way:?} {turn}: {fault}");
        }
    }
    assert_eq!(host.all().len(), 1, "{:?}", host.all());
}

#[test]
fn a_file_that_hangs_holds_up_nobody_but_its_source() {
    let Some(host) = Host::start("files that hang") else { return };
    for (_, path) in FILES {
        host.tree.set(path, Way::Hangs);
    }
    for (source, path) in FILES.iter().filter(|(s, _)| *s != "disk") {
        host.agent.until(|_| host.tree.is_waited_for(path));
        host.agent.until(|agent| up(agent, source) == Some(0.0));
        let reason = host.reason(source);
        assert!(reason.contains("hangs"), "{source}: {reason}");
    }
    // Disks are waited for one by one: only that one does not answer.
    assert_eq!(up(&host.agent, "disk"), Some(1.0));
    // Text is read at once all the while.
    let line = "sd 0:0:3:0: [sdd] tag#1 Add. Sense: Internal target failure";
    host.kernel_says(line);
    let began = faultline::clock::boot();
    host.agent.until(|_| !host.faults().is_empty());
    let took = faultline::clock::boot().since(began);
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(host.faults(), ["\"disk-hardware-error\" \"disk/sdd\""]);
    // Patience for each that hangs: one has to do here.
    let (last, path) = FILES[3];
    for (source, path) in FILES.iter().filter(|(s, _)| *s != last) {
        host.tree.forget(path);
        host.agent.until(|agent| up(agent, source) == Some(1.0));
    }
    let (verdict, found) = host.doctor(last);
    assert_eq!((&*verdict, found.contains("hangs")), ("warn", true), "{found}");
    host.tree.forget(path);
    host.agent.until(|agent| up(agent, last) == Some(1.0));
    assert_eq!(host.faults().len(), 1);
}

#[test]
fn a_file_that_takes_seconds_delays_its_source_and_is_no_fault() {
    let Some(host) = Host::start("files that take seconds") else { return };
    let (source, path) = FILES[0];
    host.tree.set(path, Way::Waits(Duration::from_secs(3)));
    let counted = "faultline_observations_total{source=\"aer\"}";
    let last =
        "faultline_source_last_success_timestamp_seconds{source=\"edac\"}";
    let before = host.agent.metric(last).unwrap();
    host.agent.until(|agent| agent.metric(last).unwrap() > before + 3.0);
    assert_eq!(up(&host.agent, source), Some(1.0));
    assert!(host.agent.metric(counted).is_some());
    assert_eq!(host.faults(), [""; 0]);
}
