//! The least that can read the kernel's log: one poll(2), then read(2) until
//! nothing is left. What the agent costs is measured against it.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Reads for ever; of each record that says that a unit is lost it tells which,
/// and when that was read.
pub fn read() {
    let mut options = File::options();
    options.read(true).custom_flags(nix::libc::O_NONBLOCK);
    let mut log = options.open("/dev/kmsg").expect("root may read it");
    log.seek(SeekFrom::End(0)).expect("the log can be skipped");
    let mut out = std::io::stdout();
    out.write_all(b"\n").expect("the parent listens");
    let mut buffer = [0; 8192];
    loop {
        match log.read(&mut buffer) {
            Ok(n) => {
                // Only records of the latency benchmark are this short.
                if n < 100 && buffer[..n].ends_with(b" is lost\n") {
                    let now = faultline::clock::monotonic();
                    let text = String::from_utf8_lossy(&buffer[..n]);
                    let unit = text.split(' ').rev().nth(2);
                    let unit = unit.expect("the benchmark wrote it");
                    writeln!(out, "{unit} {now}").expect("the parent listens");
                }
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                let mut fds = [PollFd::new(log.as_fd(), PollFlags::POLLIN)];
                poll(&mut fds, PollTimeout::NONE).expect("poll works");
            }
            // Overrun: the next read goes on with what is left.
            Err(e) if e.raw_os_error() == Some(nix::libc::EPIPE) => {}
            Err(e) => panic!("the log cannot be read: {e}"),
        }
    }
}

/// A bare reader as a process of its own, reading.
pub fn start() -> Child {
    let own = std::env::current_exe().expect("it is running");
    let mut child = Command::new(own)
        .arg("bare-reader")
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let out = child.stdout.as_mut().expect("it has a pipe");
    out.read_exact(&mut [0]).expect("it says that it reads");
    child
}
