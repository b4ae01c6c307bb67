//! A guest: boots it, runs commands in it over its second serial line, and
//! acts on it from outside through QEMU's monitor.
//!
//! What a guest left behind (console, disks) stays in `target/lab/guests/NAME`
//! until the next run, for whoever has to find out why a test failed.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::not_run::not_run;

/// A boot takes four seconds on an idle machine; compilers may be running.
const BOOT: Duration = Duration::from_secs(300);
/// No command in a guest takes this long, unless the guest is stuck.
const COMMAND: Duration = Duration::from_secs(300);
/// The status by which `prepare` says that the lab can't run here.
const UNAVAILABLE: i32 = 69;

/// A processor that QEMU knows and whose kernel code is the one to test.
pub const INTEL: &str = "Skylake-Server-v4";
/// See [`INTEL`]; the first family with scalable machine checks.
pub const AMD: &str = "EPYC-Rome";

/// A running guest; it ends with this value.
pub struct Guest {
    dir: PathBuf,
    qemu: Child,
    line: BufReader<UnixStream>,
    /// The boot that answered last.
    pub boot_id: String,
}

impl Guest {
    /// Boots a guest with this processor and further QEMU arguments. None,
    /// and loudly so, where the lab can't run.
    pub fn boot(name: &str, cpu: &str, arguments: &[&str]) -> Option<Guest> {
        Guest::start(name, cpu, arguments, false)
    }

    /// Boots a guest that runs Debian's systemd, without the agent. None, and
    /// loudly so, where the lab can't run or has no systemd.
    pub fn boot_host(name: &str) -> Option<Guest> {
        Guest::start(name, INTEL, &[], true)
    }

    fn start(
        name: &str,
        cpu: &str,
        arguments: &[&str],
        systemd: bool,
    ) -> Option<Guest> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab");
        let prepared = Command::new(scripts.join("prepare")).output().unwrap();
        let said = String::from_utf8_lossy(&prepared.stdout);
        if prepared.status.code() == Some(UNAVAILABLE) {
            not_run(&format!("lab: {name}"), said.trim());
            return None;
        }
        assert!(
            prepared.status.success(),
            "tests/lab/prepare: {}",
            String::from_utf8_lossy(&prepared.stderr)
        );
        let lab = Path::new(said.trim());
        if systemd && !lab.join("host.cpio").exists() {
            not_run(&format!("lab: {name}"), "no systemd for the guest");
            return None;
        }
        let dir = lab.join("guests").join(name);
        if dir.exists() {
            std::fs::remove_dir_all(&dir).unwrap();
        }
        std::fs::create_dir_all(&dir).unwrap();
        let log = std::fs::File::create(dir.join("qemu.log")).unwrap();
        let mut boot = Command::new(scripts.join("boot"));
        if systemd {
            boot.env("FAULTLINE_LAB_SYSTEMD", "yes");
        }
        let qemu = boot
            .args([dir.to_str().unwrap(), cpu])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let line = BufReader::new(connect(&dir.join("line")));
        let mut guest = Guest { dir, qemu, line, boot_id: String::new() };
        guest.await_boot();
        Some(guest)
    }

    /// Waits until the guest is up (again).
    pub fn await_boot(&mut self) {
        self.boot_id = self.read_until("@@lab ready ", BOOT).1;
        eprintln!("guest is up: boot {}", self.boot_id);
    }

    /// Boots the guest again, without asking anybody in it.
    pub fn reboot(&mut self) {
        self.monitor("system_reset");
        self.await_boot();
    }

    /// Runs a shell command and returns its status and what it printed. What
    /// it leaves in the background has to print elsewhere.
    pub fn try_run(&mut self, command: &str) -> (i32, String) {
        eprintln!("# {command}");
        self.ask(command)
    }

    /// The same, for what is asked again and again: the test's log does not
    /// show it.
    pub fn ask(&mut self, command: &str) -> (i32, String) {
        assert!(!command.contains('\n'), "a command is one line");
        self.line.get_mut().write_all(command.as_bytes()).unwrap();
        self.line.get_mut().write_all(b"\n").unwrap();
        let (text, status) = self.read_until("@@lab rc=", COMMAND);
        // The newline before the mark is the guest's first process's.
        let text = text.strip_suffix('\n').unwrap_or(&text).to_owned();
        (status.parse().unwrap(), text)
    }

    /// Runs a shell command that does not end: the guest does.
    pub fn leave(&mut self, command: &str) {
        eprintln!("# {command}");
        let line = format!("{command}\n");
        self.line.get_mut().write_all(line.as_bytes()).unwrap();
    }

    /// Runs a shell command that has to succeed.
    pub fn run(&mut self, command: &str) -> String {
        let (status, text) = self.try_run(command);
        assert_eq!(status, 0, "{command}: {text}");
        text
    }

    /// Runs a command of QEMU's monitor and returns what it said.
    pub fn monitor(&self, command: &str) -> String {
        eprintln!("(qemu) {command}");
        let mut monitor = connect(&self.dir.join("monitor"));
        monitor.set_read_timeout(Some(COMMAND)).unwrap();
        // A command that is sent before the prompt can be lost.
        prompt(&mut monitor);
        monitor.write_all(command.as_bytes()).unwrap();
        monitor.write_all(b"\n").unwrap();
        let said = prompt(&mut monitor);
        // The first line is the echo, redrawn at every character.
        let said = said.split_once('\n').map_or("", |(_, rest)| rest);
        let said = said.trim_end_matches("(qemu) ").trim();
        for word in ["unknown command", "Error:", "not found"] {
            assert!(!said.contains(word), "{command}: {said}");
        }
        said.to_owned()
    }

    /// Everything up to a line that begins with the mark, and its rest.
    fn read_until(&mut self, mark: &str, limit: Duration) -> (String, String) {
        let deadline = Instant::now() + limit;
        let mut text = String::new();
        let mut line = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let turn = left.max(Duration::from_millis(1));
            self.line.get_ref().set_read_timeout(Some(turn)).unwrap();
            match self.line.read_until(b'\n', &mut line) {
                Ok(0) => panic!("QEMU ended"),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    panic!("no {mark:?} within {limit:?}: {text}")
                }
                Err(e) => panic!("the guest's line: {e}"),
            }
            let whole = String::from_utf8_lossy(&line).replace('\r', "");
            line.clear();
            if let Some(rest) = whole.strip_prefix(mark) {
                return (text, rest.trim().to_owned());
            }
            text.push_str(&whole);
        }
    }

    /// The end of the console and of what QEMU said, for a failed test.
    fn last_words(&self) -> String {
        let end = |file: &str| {
            let text = std::fs::read(self.dir.join(file)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(30)..].join("\n")
        };
        let (console, qemu) = (end("console.log"), end("qemu.log"));
        let dir = self.dir.display();
        format!("-- console, in {dir}\n{console}\n-- QEMU\n{qemu}")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.last_words());
        }
        self.qemu.kill().expect("QEMU is a child of this process");
        self.qemu.wait().expect("QEMU is a child of this process");
    }
}

/// QEMU makes its sockets within a second.
fn connect(path: &Path) -> UnixStream {
    let deadline = Instant::now() + BOOT;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return stream,
            Err(e) if Instant::now() > deadline => {
                panic!("{}: {e}", path.display())
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn prompt(monitor: &mut UnixStream) -> String {
    let mut said = Vec::new();
    let mut byte = [0];
    while !said.ends_with(b"(qemu) ") {
        monitor.read_exact(&mut byte).expect("QEMU's monitor answers");
        said.push(byte[0]);
    }
    String::from_utf8_lossy(&said).into_owned()
}
