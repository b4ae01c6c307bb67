//! Commands that talk to a running agent over its socket.

#![expect(clippy::unwrap_used, reason = "a helper of tests may panic")]

mod cli_support;

use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use cli_support::{Ran, faultline, run};
use serde_json::Value;

/// More than a slow machine needs.
const TRIES: u32 = 1000;

/// An agent that follows one log file, and ends with the test.
struct Agent {
    dir: tempfile::TempDir,
    child: Child,
}

impl Agent {
    fn start() -> Agent {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().display();
        let config = format!(
            "listen: none\n\
             patterns: [{place}/none]\n\
             sources:\n  \
               kmsg: {{ enabled: false }}\n  \
               journal: {{ enabled: false }}\n  \
               mount: {{ enabled: false }}\n  \
               file:\n    \
                 paths: [{{ glob: {place}/log, kernel: true }}]\n"
        );
        std::fs::write(dir.path().join("config.yaml"), config).unwrap();
        std::fs::write(dir.path().join("log"), "").unwrap();
        let child = faultline(dir.path())
            .arg("run")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let agent = Agent { dir, child };
        agent.until(&["status"], |ran| ran.status == 0);
        // The log is followed from where it ends when its source starts: only
        // what comes after that is seen.
        agent.until(&["status", "--json"], |_| {
            std::fs::read_dir(format!("/proc/{}/fd", agent.child.id()))
                .unwrap()
                .filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
                .any(|open| open == agent.path().join("log"))
        });
        agent
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn log(&self, line: &str) {
        let path = self.path().join("log");
        let mut log =
            std::fs::OpenOptions::new().append(true).open(path).unwrap();
        writeln!(log, "{line}").unwrap();
    }

    /// Asks until the answer is as wanted.
    fn until(&self, args: &[&str], wanted: impl Fn(&Ran) -> bool) -> Ran {
        let mut ran = run(self.path(), args);
        for _ in 0..TRIES {
            if wanted(&ran) {
                return ran;
            }
            std::thread::sleep(Duration::from_millis(20));
            ran = run(self.path(), args);
        }
        panic!("{args:?} came to {ran:?}");
    }

    fn json(&self, args: &[&str]) -> Value {
        let ran = run(self.path(), args);
        serde_json::from_str(&ran.out).unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs it with a socket of its own.
fn run_elsewhere(dir: &Path, args: &[&str]) -> Ran {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_faultline"))
        .arg("--config")
        .arg(dir.join("config.yaml"))
        .arg("--state-dir")
        .arg(dir.join("state"))
        .args(args)
        .output()
        .unwrap();
    Ran {
        status: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

const UE: &str = "Mar  2 08:30:01 node17 kernel: [ 9001.250019] EDAC MC0: 1 \
                  UE memory read error on DIMM_A1 (channel:1 slot:0 \
                  page:0x1f8f8 offset:0x440 grain:32)";

#[test]
fn a_fault_is_seen_explained_and_cleared_through_the_socket() {
    let mut agent = Agent::start();
    agent.log(UE);
    let ran = agent.until(&["status"], |ran| ran.status == 2);
    assert!(ran.out.contains("dimm/DIMM_A1"), "{ran:?}");
    assert!(!ran.out.contains("no agent"), "{ran:?}");
    let status = agent.json(&["status", "--json"]);
    assert_eq!(status["from"], "agent");
    let id = status["faults"][0]["id"].as_str().unwrap().to_owned();
    let ran = run(agent.path(), &["explain", &id]);
    assert!(ran.out.contains("EDAC MC0: 1 UE"), "{ran:?}");

    let ran = run(agent.path(), &["clear", "dimm/DIMM_B1", "--why", "x"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.err.contains("DIMM_B1"), "{ran:?}");
    let ran = run(agent.path(), &["clear", &id, "--why", "DIMM reseated"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(run(agent.path(), &["status"]).status, 0);
    let history = agent.json(&["history", "--json", &id]);
    let last = history["history"].as_array().unwrap().last().unwrap();
    assert_eq!(last["change"], "cleared");
    assert_eq!(last["why"], "DIMM reseated");

    let elsewhere = agent.path().join("elsewhere");
    let elsewhere = elsewhere.to_str().unwrap();
    let args = ["--socket", elsewhere, "clear", &id, "--why", "x"];
    let ran = run_elsewhere(agent.path(), &args);
    assert_eq!(ran.status, 3, "behind the agent's back: {ran:?}");
    assert!(ran.err.contains("has the store"), "{ran:?}");

    let ran = run(agent.path(), &["status", "--unexplained"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let ran = run(agent.path(), &["run"]);
    assert_eq!(ran.status, 1, "a second agent: {ran:?}");

    let pid = nix::unistd::Pid::from_raw(agent.child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).unwrap();
    assert!(agent.child.wait().unwrap().success());
    let ran = run(agent.path(), &["status", "--all"]);
    assert!(ran.out.contains("no agent is running"), "{ran:?}");
    assert!(ran.out.contains("cleared"), "{ran:?}");
}
