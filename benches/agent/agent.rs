//! The agent as a child process, and what the kernel tells of it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};

use super::ring::sleep_ms;

/// The agent as built with this benchmark.
pub const BINARY: &str = env!("CARGO_BIN_EXE_faultline");

/// A running agent with a state directory of its own.
pub struct Agent {
    child: Child,
    address: String,
    _state: tempfile::TempDir,
}

impl Agent {
    /// Starts it and waits for its first record; returns the milliseconds
    /// that took, as seen from outside.
    pub fn start(args: &[&str]) -> (Agent, f64) {
        let state = tempfile::tempdir().expect("there is room");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("it is bound").to_string();
        drop(free);
        let log =
            File::create(state.path().join("log")).expect("there is room");
        let before = faultline::clock::monotonic();
        let child = Command::new(BINARY)
            .args(["run", "--accept-userspace", "--listen", &address])
            .arg("--state-dir")
            .arg(state.path())
            .arg("--socket")
            .arg(state.path().join("socket"))
            .args(args)
            .stdout(log)
            .spawn()
            .expect("the binary was built");
        let agent = Agent { child, address, _state: state };
        while agent.counted("faultline_observations_total") == 0 {
            sleep_ms(1);
        }
        let took = faultline::clock::monotonic() - before;
        agent.settle();
        (agent, took as f64 / 1000.0)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has been idle for some milliseconds.
    pub fn settle(&self) {
        settle(self.pid());
    }

    /// VmRSS and RssAnon, kB.
    pub fn memory(&self) -> (u32, u32) {
        let path = format!("/proc/{}/status", self.pid());
        let text = fs::read_to_string(path).expect("it runs");
        let field = |name: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(name));
            let number = line.and_then(|l| l.split_whitespace().next());
            number.and_then(|n| n.parse().ok()).expect("the kernel tells")
        };
        (field("VmRSS:"), field("RssAnon:"))
    }

    /// One connection that stays open, for many looks at the page.
    pub fn connect(&self) -> Option<TcpStream> {
        let stream = TcpStream::connect(&self.address).ok()?;
        stream.set_nodelay(true).ok()?;
        let wait = std::time::Duration::from_secs(5);
        stream.set_read_timeout(Some(wait)).ok()?;
        Some(stream)
    }

    /// A counter of the kernel log's source; 0 while nobody answers.
    pub fn counted(&self, name: &str) -> u64 {
        let page = self.connect().and_then(|mut s| metrics(&mut s));
        let name = format!("{name}{{source=\"kmsg\"}} ");
        let page = page.unwrap_or_default();
        let line = page.lines().find_map(|l| l.strip_prefix(&name));
        line.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself; the figures then show it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The whole `/metrics` page over an open connection.
pub fn metrics(stream: &mut TcpStream) -> Option<String> {
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        let n = stream.read(&mut piece).ok().filter(|n| *n > 0)?;
        answer.extend_from_slice(&piece[..n]);
        let text = std::str::from_utf8(&answer).ok()?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1)?;
        let length: usize = length.split("\r\n").next()?.parse().ok()?;
        if body.len() >= length {
            return Some(body.to_owned());
        }
    }
}

/// CPU time of all threads of a process, nanoseconds.
pub fn cpu(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let one = |task: fs::DirEntry| -> Option<u64> {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    let tasks = tasks.into_iter().flatten().flatten();
    tasks.filter_map(one).sum()
}

/// Waits until a process has used no CPU time for some milliseconds.
pub fn settle(pid: u32) {
    let (mut last, mut quiet) = (cpu(pid), 0);
    while quiet < 5 {
        sleep_ms(2);
        let now = cpu(pid);
        quiet = if now == last { quiet + 1 } else { 0 };
        last = now;
    }
}
