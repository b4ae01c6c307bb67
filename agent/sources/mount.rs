//! Mounted filesystems and whether they are read-only, from
//! `/proc/1/mountinfo` (proc_pid_mountinfo(5)).
//!
//! The kernel tells of changes: the file polls as POLLPRI and POLLERR when
//! the mounts have changed (fs/proc_namespace.c, mounts_poll), so nothing is
//! read on a timer.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::PollFlags;

use super::mount_info::{Mount, parse};
use super::states::{Found, Told};
use super::stop::{Woken, wait};
use super::{Context, Counters, End, Failure};
use crate::clock;
use crate::observation::{Observation, Source, Value};
use crate::signal::SourceId;
use crate::time::Timestamp;

/// How many mounts are looked at; nodes full of containers have thousands,
/// of some dozen devices.
const MOUNTS_MAX: usize = 16 * 1024;

/// How often it is looked whether other patterns are in force; a counter is
/// read for that, not the mounts.
const PATTERNS_EVERY: Duration = Duration::from_secs(10);

/// Where the mounts are listed.
#[derive(Clone, Debug)]
pub struct Options {
    /// The mountinfo file.
    pub path: PathBuf,
}

impl Options {
    /// The host's mounts, below `root`: those of its first process, since
    /// the agent's own may be a container's.
    pub fn under(root: &Path) -> Options {
        Options { path: root.join("proc/1/mountinfo") }
    }
}

/// Reads the mounts at every change until told to stop.
///
/// # Errors
/// When the list cannot be read.
pub fn run(options: &Options, context: &mut Context) -> Result<End, Failure> {
    let path = &options.path;
    let fail =
        |e| Failure::of(format!("failed to read {}", path.display()), &e);
    // Where other processes are hidden (systemd's ProtectProc=), our own
    // view is all there is.
    let own = path.with_file_name("../self/mountinfo");
    let opened = File::open(path).or_else(|e| File::open(own).map_err(|_| e));
    let mut file = opened.map_err(fail)?;
    let id = SourceId::from("mount");
    let counters = context.counters(&id);
    let mut told = Told::default();
    let mut anew = false;
    loop {
        let mut text = Vec::new();
        file.rewind().map_err(fail)?;
        file.read_to_end(&mut text).map_err(fail)?;
        context.up(&id)?;
        let now = clock::now().wall;
        let mounts = mounts(&text);
        let readings = look(&mounts, now, context);
        Counters::add(&counters.observations, mounts.len() as u64);
        counters.succeeded(now);
        let events = told.changes(readings, anew);
        if !events.is_empty() {
            Counters::add(&counters.matches, events.len() as u64);
            context.send(&id, events, None)?;
        }
        if context.once {
            return Ok(End::Stopped);
        }
        loop {
            let fd = Some((file.as_fd(), PollFlags::POLLPRI));
            let woken = wait(&context.stop, fd, Some(PATTERNS_EVERY));
            if woken == Woken::Stop {
                return Ok(End::Stopped);
            }
            // Also where the mounts change all the time.
            anew = context.patterns.refresh();
            if anew || woken == Woken::Ready {
                break;
            }
        }
    }
}

/// The mounts of block devices, each device, place and state once.
fn mounts(text: &[u8]) -> Vec<Mount> {
    let lines = text.split(|b| *b == b'\n');
    let mut all: Vec<Mount> =
        lines.filter_map(parse).take(MOUNTS_MAX).collect();
    all.sort();
    all.dedup();
    all
}

/// How the patterns find these mounts.
fn look(mounts: &[Mount], now: Timestamp, context: &Context) -> Found {
    let matcher = &context.patterns.set().matcher;
    let mut found = Found::default();
    for mount in mounts {
        let observation = Observation {
            patterns: Source::Mount,
            time: now,
            approximate: false,
            injected: false,
            fields: &[
                ("mountpoint", Value::Text(&mount.mountpoint)),
                ("device", Value::Text(&mount.device)),
                ("fstype", Value::Text(&mount.fstype)),
                ("readonly", Value::Flag(mount.readonly)),
            ],
        };
        found.look(matcher, &observation);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_mounted_in_one_place_twice_is_one_mount() {
        let line = "36 35 98:0 / /y rw - ext4 /dev/sda1 rw\n";
        assert_eq!(mounts(line.repeat(2).as_bytes()).len(), 1);
    }
}
