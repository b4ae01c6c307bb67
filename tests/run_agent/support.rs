//! An agent in a process of its own, and how it is looked at from outside.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Longer than anything here takes on a busy machine; only a failure waits
/// for so long.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The built program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_faultline");

/// A command that starts the agent on this configuration file.
pub fn command(config: &Path) -> Command {
    prepare(Command::new(PROGRAM), config)
}

/// Has a command run the agent on this configuration file.
fn prepare(mut command: Command, config: &Path) -> Command {
    command.arg("run").arg("--config").arg(config);
    command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC");
    command
}

/// A directory with a configuration, and the agent that runs on it.
pub struct Agent {
    pub dir: PathBuf,
    pub child: Child,
    pub address: String,
    lines: Receiver<String>,
}

/// A TCP port that was free a moment ago.
pub fn free_address() -> String {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    probe.local_addr().unwrap().to_string()
}

/// Writes a configuration for `dir` with `more` at its end.
pub fn write_config(dir: &Path, address: &str, more: &str) -> PathBuf {
    let text = format!(
        "node: testnode\nstate_dir: {0}/state\nsocket: {0}/run/f.sock\n\
         listen: {address}\npatterns: [{0}/patterns]\n{more}",
        dir.display()
    );
    let path = dir.join("config.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

impl Agent {
    /// Starts an agent; `more` is added to its configuration.
    pub fn start(dir: &Path, more: &str) -> Agent {
        Agent::start_by(Command::new(PROGRAM), dir, more)
    }

    /// The same, by a command to whose arguments the agent's are added.
    pub fn start_by(program: Command, dir: &Path, more: &str) -> Agent {
        let address = free_address();
        let config = write_config(dir, &address, more);
        let mut child =
            prepare(program, &config).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Agent { dir: dir.to_owned(), child, address, lines }
    }

    /// Waits for a log line that contains `text`.
    pub fn log_line(&self, text: &str) -> String {
        let mut seen = String::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            if line.contains(text) {
                return line;
            }
            seen.push_str(&line);
            seen.push('\n');
        }
        panic!("no log line with {text:?}, but:\n{seen}");
    }

    /// Asks over TCP; status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        let stream = TcpStream::connect(&self.address).unwrap();
        ask(stream, &format!("GET {path} HTTP/1.1\r\n"), "")
    }

    /// Asks over the socket; status and body.
    pub fn post(&self, path: &str, body: &str) -> (u16, String) {
        let stream = UnixStream::connect(self.dir.join("run/f.sock")).unwrap();
        ask(stream, &format!("POST {path} HTTP/1.1\r\n"), body)
    }

    /// The value of a metric, by the start of its line.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let (status, page) = self.get("/metrics");
        assert_eq!(status, 200);
        let line = page.lines().find(|l| l.starts_with(series))?;
        line.rsplit(' ').next().unwrap().parse().ok()
    }

    /// Waits until something is so; fails with the agent's state when it
    /// never is.
    #[track_caller]
    pub fn until(&self, so: impl Fn(&Agent) -> bool) {
        for _ in 0..PATIENCE.as_millis() / 20 {
            if so(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let (_, faults) = self.get("/api/v1/faults");
        let (_, node) = self.get("/api/v1/node");
        let (_, metrics) = self.get("/metrics");
        panic!("it never came to be so: {faults}\n{node}\n{metrics}");
    }

    /// How many errors the agent counted on `disk/NAME`.
    pub fn count_of(&self, name: &str) -> Option<u64> {
        let (_, faults) = self.get("/api/v1/faults");
        let faults: serde_json::Value = serde_json::from_str(&faults).ok()?;
        let part = format!("disk/{name}");
        let all = faults["faults"].as_array()?;
        all.iter().find(|f| f["part"] == *part)?["count"].as_u64()
    }

    /// How many errors on `disk/NAME` the store holds.
    pub fn stored_count_of(&self, name: &str) -> Option<u64> {
        let loaded = faultline::store::read(&self.dir.join("state")).ok()?;
        let part = format!("disk/{name}");
        let mut all = loaded.faults.iter();
        all.find(|f| f.key.part.as_str() == part).map(|f| f.count)
    }

    /// Sends SIGTERM and waits; the exit status.
    pub fn stop(mut self) -> Option<i32> {
        signal(&self.child, nix::sys::signal::Signal::SIGTERM);
        self.child.wait().unwrap().code()
    }
}

/// Sends a signal to a child that has not been waited for.
pub fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    let pid = i32::try_from(child.id()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request on a connection of its own; status and body.
pub fn ask(
    mut stream: impl Read + Write,
    start: &str,
    body: &str,
) -> (u16, String) {
    let request = format!(
        "{start}host: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n\
         {body}",
        body.len()
    );
    // A server may answer and close before it has read everything.
    let _ = stream.write_all(request.as_bytes());
    answer(stream)
}

/// Reads an answer to its end; status 0 when there is none.
pub fn answer(mut stream: impl Read) -> (u16, String) {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok());
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status.unwrap_or(0), body.to_owned())
}
