//! An agent that watches a test's BMC, looked at from outside.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::bmc::READER;

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running agent; it ends with this value.
pub struct Agent {
    child: Child,
    address: String,
    dir: PathBuf,
}

fn free_address() -> String {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    probe.local_addr().unwrap().to_string()
}

impl Agent {
    /// Starts one in `dir` on the BMC at `port`; `patterns` come on top of
    /// those that are shipped.
    pub fn start(dir: &std::path::Path, port: u16, patterns: &str) -> Agent {
        Agent::start_beside(dir, port, "", patterns)
    }

    /// The same with another source.
    pub fn start_beside(
        dir: &std::path::Path,
        port: u16,
        other: &str,
        patterns: &str,
    ) -> Agent {
        let sources = format!(
            "  ipmi: {{ bmcs: [\"lan:127.0.0.1:{port}\"], fast: 1s, \
             normal: 1s, slow: 1s, log: 1s }}\n{other}"
        );
        Agent::start_with(dir, &sources, patterns)
    }

    /// Starts one in `dir` on the host that is the directory `host`.
    pub fn start_on(
        dir: &std::path::Path,
        host: &std::path::Path,
        patterns: &str,
    ) -> Agent {
        let sources =
            format!("  hwmon: {{ every: 1s }}\nroot: {}\n", host.display());
        Agent::start_with(dir, &sources, patterns)
    }

    fn start_with(
        dir: &std::path::Path,
        sources: &str,
        patterns: &str,
    ) -> Agent {
        let address = free_address();
        let own = dir.join("patterns");
        std::fs::create_dir_all(&own).unwrap();
        if !patterns.is_empty() {
            std::fs::write(own.join("own.yaml"), patterns).unwrap();
        }
        let config = format!(
            "node: testnode\nstate_dir: {0}/state\nsocket: {0}/f.sock\n\
             listen: {address}\npatterns: [{0}/patterns]\nsources:\n  \
             kmsg: {{ enabled: false }}\n  journal: {{ enabled: false }}\n  \
             mce: {{ enabled: false }}\n{sources}",
            dir.display()
        );
        let path = dir.join("config.yaml");
        std::fs::write(&path, config).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_faultline"))
            .arg("run")
            .arg("--config")
            .arg(&path)
            .env("FAULTLINE_IPMI_USER", READER.0)
            .env("FAULTLINE_IPMI_PASSWORD", READER.1)
            .env_remove("NOTIFY_SOCKET")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let agent = Agent { child, address, dir: dir.to_owned() };
        agent.until("it serves", |agent| agent.get("/metrics").is_some());
        agent
    }

    /// Asks over HTTP; `None` if it does not answer.
    pub fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    }

    /// The value of the series whose line begins so and contains all that.
    pub fn metric(&self, begin: &str, with: &[&str]) -> Option<f64> {
        let page = self.get("/metrics")?;
        let line = page.lines().find(|line| {
            line.starts_with(begin) && with.iter().all(|w| line.contains(w))
        })?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// The faults that it shows.
    pub fn faults(&self) -> Vec<Value> {
        let text = self.get("/api/v1/faults").unwrap_or_default();
        let told: Value = serde_json::from_str(&text).unwrap_or_default();
        told["faults"].as_array().cloned().unwrap_or_default()
    }

    /// The fault of this pattern on this part.
    pub fn fault(&self, pattern: &str, part: &str) -> Option<Value> {
        self.faults()
            .into_iter()
            .find(|f| f["pattern"] == pattern && f["part"] == part)
    }

    /// Its history, oldest first.
    pub fn history(&self) -> Vec<Value> {
        let text = self.get("/api/v1/history?limit=1000").unwrap_or_default();
        let told: Value = serde_json::from_str(&text).unwrap_or_default();
        told["history"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until a fault was opened.
    pub fn await_opened(&self, pattern: &str, part: &str) {
        self.await_change(pattern, part, "opened", &Value::Null);
    }

    /// Waits until it was cleared, with this proof.
    pub fn await_cleared(&self, pattern: &str, part: &str, proof: &str) {
        self.await_change(pattern, part, "cleared", &proof.into());
    }

    fn await_change(
        &self,
        pattern: &str,
        part: &str,
        change: &str,
        proof: &Value,
    ) {
        self.until(&format!("{pattern} {part} {change}"), |agent| {
            agent.history().iter().any(|entry| {
                entry["pattern"] == pattern
                    && entry["part"] == part
                    && entry["change"] == change
                    && entry["proof"] == *proof
            })
        });
    }

    /// Waits until something is so.
    pub fn until(&self, what: &str, so: impl Fn(&Agent) -> bool) {
        for _ in 0..PATIENCE.as_millis() / 50 {
            if so(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let short = |entry: &Value, keys: &[&str]| {
            let words = keys.iter().map(|key| entry[key].to_string());
            words.collect::<Vec<_>>().join(" ")
        };
        let keys = ["state", "pattern", "part", "serial", "proofs"];
        let faults: Vec<_> =
            self.faults().iter().map(|f| short(f, &keys)).collect();
        let keys = ["time", "change", "pattern", "part", "proof"];
        let history: Vec<_> =
            self.history().iter().map(|e| short(e, &keys)).collect();
        let page = self.get("/metrics").unwrap_or_default();
        let bmc: Vec<&str> = page
            .lines()
            .filter(|l| l.starts_with("faultline_ipmi_e"))
            .collect();
        panic!("never: {what}\n{faults:#?}\n{history:#?}\n{bmc:#?}");
    }

    /// Ends it as a crash does.
    pub fn crash(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it in order.
    pub fn stop(mut self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
    }

    /// Asks with a command of the program, with this agent's settings.
    pub fn ask(&self, what: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_faultline"))
            .args(what)
            .arg("--config")
            .arg(self.dir.join("config.yaml"))
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// How many files it has open.
    pub fn descriptors(&self) -> usize {
        let dir = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(dir).unwrap().count()
    }

    /// What it keeps.
    pub fn dir(&self) -> &std::path::Path {
        &self.dir
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
