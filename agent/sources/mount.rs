//! Mounted filesystems and whether they are read-only, from
//! `/proc/1/mountinfo` (proc_pid_mountinfo(5)).
//!
//! The kernel tells of changes: the file polls as POLLPRI and POLLERR when
//! the mounts have changed (fs/proc_namespace.c, mounts_poll), so nothing is
//! read on a timer.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::PollFlags;

use super::mount_info::{Mount, parse};
use super::stop::{Woken, wait};
use super::{Context, Counters, End, Failure};
use crate::clock;
use crate::observation::{Observation, Source, Value};
use crate::parts::ids::PartId;
use crate::signal::{Event, Signal, SourceId, Truth};
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

/// What was told: of each pattern and part, whether it holds.
type Told = BTreeMap<(Arc<str>, PartId), (Signal, Truth)>;

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
    let mut told = Told::new();
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
        let events = changes(&mut told, readings, anew);
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

/// How the patterns find these mounts. A filesystem may be mounted in many
/// places: what holds in one of them holds of the part.
fn look(mounts: &[Mount], now: Timestamp, context: &Context) -> Told {
    let matcher = &context.patterns.set().matcher;
    let mut events = Vec::new();
    let mut found = Told::new();
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
        matcher.observe_state(&observation, &mut events);
        for event in events.drain(..) {
            let Event::State(signal, truth) = event else { continue };
            let key = (Arc::clone(&signal.pattern), signal.part.clone());
            let holds = found.get(&key).is_some_and(|f| f.1 == Truth::True);
            if !holds {
                found.insert(key, (signal, truth));
            }
        }
    }
    found
}

/// What is new or other than was told, or, where another pattern set is in
/// force, all of it `anew`. What is mounted no more (or named by no pattern
/// any more) is unknown, not well: unmounting is no repair.
fn changes(told: &mut Told, found: Told, anew: bool) -> Vec<Event> {
    let mut events = Vec::new();
    for (key, (signal, _)) in told.iter() {
        if !found.contains_key(key) {
            events.push(Event::State(signal.clone(), Truth::Unknown));
        }
    }
    for (key, (signal, truth)) in &found {
        let before = told.get(key).map(|(_, truth)| truth);
        if anew || before != Some(truth) {
            events.push(Event::State(signal.clone(), *truth));
        }
    }
    *told = found;
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::Effect;

    fn reading(part: &str, truth: Truth) -> Told {
        let signal = Signal {
            pattern: "fs-readonly".into(),
            effect: Effect::Open,
            part: PartId::new(part),
            suspects: Vec::new(),
            count: 1,
            value: None,
            parents: Vec::new(),
            time: Timestamp(0),
            approximate: false,
            injected: false,
            captures: BTreeMap::new(),
            text: String::new(),
        };
        let key = (Arc::clone(&signal.pattern), signal.part.clone());
        Told::from([(key, (signal, truth))])
    }

    fn truths(events: &[Event]) -> Vec<Truth> {
        let truth = |event: &Event| match event {
            Event::State(_, truth) => *truth,
            other => panic!("{other:?}"),
        };
        events.iter().map(truth).collect()
    }

    #[test]
    fn only_what_has_changed_is_told_and_what_is_gone_is_unknown() {
        let mut told = Told::new();
        let healthy = || reading("fs/sda1", Truth::False);
        let first = changes(&mut told, healthy(), false);
        assert_eq!(truths(&first), [Truth::False]);
        assert!(changes(&mut told, healthy(), false).is_empty());
        let ill = reading("fs/sda1", Truth::True);
        let failed = changes(&mut told, ill, false);
        assert_eq!(truths(&failed), [Truth::True]);
        let gone = changes(&mut told, Told::new(), false);
        assert_eq!(truths(&gone), [Truth::Unknown]);
        assert!(changes(&mut told, Told::new(), false).is_empty());
        let back = changes(&mut told, healthy(), false);
        assert_eq!(truths(&back), [Truth::False]);
    }

    #[test]
    fn another_pattern_set_is_told_everything_and_what_it_no_longer_names() {
        let mut told = Told::new();
        let old = reading("fs/sda1", Truth::True);
        changes(&mut told, old.clone(), false);
        assert_eq!(truths(&changes(&mut told, old, true)), [Truth::True]);
        let renamed = reading("disk/sda1", Truth::True);
        let events = changes(&mut told, renamed, true);
        assert_eq!(truths(&events), [Truth::Unknown, Truth::True]);
    }

    #[test]
    fn a_device_mounted_in_one_place_twice_is_one_mount() {
        let line = "36 35 98:0 / /y rw - ext4 /dev/sda1 rw\n";
        assert_eq!(mounts(line.repeat(2).as_bytes()).len(), 1);
    }
}
