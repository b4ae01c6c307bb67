//! The kernel's log as a benchmark uses it: settings, writing, the number of
//! its last record.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// What the kernel lets user space write: `on`, `off`, or few.
const DEVKMSG: &str = "/proc/sys/kernel/printk_devkmsg";

/// Why no benchmark can be run here.
pub fn usable() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root to write kernel records".into());
    }
    let open = File::options().read(true).write(true).open("/dev/kmsg");
    open.map(drop).map_err(|e| format!("/dev/kmsg: {e}"))
}

/// Settings that are put back at the end.
pub struct Settings(Vec<(&'static str, String)>);

/// Lets every write to /dev/kmsg through and nothing to the console.
pub fn open_for_all() -> Settings {
    let wanted = [(DEVKMSG, "on"), ("/proc/sys/kernel/printk", "1 4 1 7")];
    let mut before = Vec::new();
    for (path, value) in wanted {
        if let Ok(old) = fs::read_to_string(path) {
            // printk_devkmsg demands the newline.
            fs::write(path, format!("{value}\n")).expect("root may set it");
            before.push((path, old));
        }
    }
    Settings(before)
}

impl Drop for Settings {
    fn drop(&mut self) {
        for (path, old) in &self.0 {
            if let Err(e) = fs::write(path, old) {
                eprintln!("{path} is not as it was: {e}");
            }
        }
    }
}

/// Writes the benign corpus, line after line, for ever.
pub struct Writer {
    kmsg: File,
    lines: Vec<String>,
    next: usize,
    /// Whether each line is made one that never came before.
    pub fresh: bool,
}

impl Writer {
    pub fn open() -> Writer {
        let kmsg = File::options().write(true).open("/dev/kmsg");
        let text = include_str!("../../fixtures/corpus/benign.jsonl");
        let line = |json: &str| {
            let json: serde_json::Value =
                serde_json::from_str(json).expect("the corpus is JSON");
            format!("<12>{}", json["line"].as_str().expect("it has a line"))
        };
        Writer {
            kmsg: kmsg.expect("it was opened a moment ago"),
            lines: text.lines().map(line).collect(),
            next: 0,
            fresh: false,
        }
    }

    /// Sees to it that nothing is dropped: other programs on this machine
    /// set the limit too.
    pub fn ready(&self) {
        fs::write(DEVKMSG, "on\n").expect("root may set it");
    }

    /// Writes so many records as fast as it goes.
    pub fn burst(&mut self, count: usize) {
        self.ready();
        for _ in 0..count {
            let line = &self.lines[self.next % self.lines.len()];
            self.next += 1;
            let wrote = if self.fresh {
                let line = format!("{line} {}", self.next);
                self.kmsg.write_all(line.as_bytes())
            } else {
                self.kmsg.write_all(line.as_bytes())
            };
            wrote.expect("the log takes it");
        }
    }

    /// Writes one line.
    pub fn line(&mut self, text: &str) {
        let line = format!("<12>{text}");
        self.kmsg.write_all(line.as_bytes()).expect("the log takes it");
    }

    /// The number of a record written now.
    pub fn mark(&mut self) -> u64 {
        let mut options = File::options();
        options.read(true).custom_flags(nix::libc::O_NONBLOCK);
        let mut log = options.open("/dev/kmsg").expect("root may read it");
        log.seek(SeekFrom::End(0)).expect("the log can be skipped");
        self.line("faultline-bench mark");
        let mut buffer = [0; 8192];
        loop {
            let n = match log.read(&mut buffer) {
                Ok(n) => n,
                // Somebody else on this machine has set the limit again, and
                // the mark was dropped.
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    sleep_ms(20);
                    self.ready();
                    self.line("faultline-bench mark");
                    continue;
                }
                Err(e) => panic!("the log cannot be read: {e}"),
            };
            let text = String::from_utf8_lossy(&buffer[..n]);
            if text.contains("faultline-bench mark") {
                let seq = text.split(',').nth(1).expect("it has a number");
                return seq.parse().expect("it is a number");
            }
        }
    }
}

/// Lets time pass.
pub fn sleep_ms(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}
