//! Disks: their state and error counts from sysfs, and the health logs of
//! NVMe drives by ioctl.
//!
//! Each disk is read on a thread of its own and waited for only so long, at
//! most one reading a disk: one that hangs is told not to answer, and delays
//! no other. No command goes to a disk that the kernel is recovering. The
//! self-tests and attribute tables of SATA and SAS disks are not read here.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::looking::{Turn, pause};
use super::nvme_log;
use super::owned::{Fields, Owned};
use super::recent::Recent;
use super::states::Told;
use super::{Context, End, Failure, Poll};
use crate::observation::Source;
use crate::probe::{PATIENCE, Probe};
use crate::signal::{Health, Position, SourceId};
use crate::time::Timestamp;
use crate::tree::{Progress, Tree};
use crate::{clock, devices};

mod read;
pub use read::{Disk, Reading, disks, read};

/// How long the disks of one turn are waited for: a health log takes
/// milliseconds, of a busy drive a second.
const DISK_PATIENCE: Duration = Duration::from_secs(5);

/// How many disks are read at once: each takes a thread.
const AT_ONCE: usize = 8;

/// The window of the counts "in the last 24 hours".
const DAY: Duration = Duration::from_secs(86_400);

/// Looks at the disks until told to stop.
///
/// # Errors
/// When the ledger is gone, or this boot has no id.
pub fn run(options: &Poll, context: &mut Context) -> Result<End, Failure> {
    let id = SourceId::from("disk");
    let boot = options.boot_id()?;
    let mut kept = Kept::resume(context.positions.get(&id), &boot);
    let (mut told, mut list) = (Told::default(), Probe::default());
    let mut probes: BTreeMap<Disk, Probe<Reading>> = BTreeMap::new();
    let mut anew = false;
    loop {
        let root = options.root.clone();
        let question = move |p: Progress| {
            (disks(&Tree::new(&root, p.clone())), p.refused())
        };
        match list.ask(PATIENCE, question) {
            Ok((Ok(disks), refused)) => {
                probes.retain(|disk, _| disks.contains(disk));
                for disk in disks {
                    probes.entry(disk).or_default();
                }
                let mut seen = look(options, &mut probes);
                let of_one = |(reading, _): &(Option<Reading>, Fields)| {
                    reading.as_ref().and_then(|r| r.refused.clone())
                };
                let refused = refused.or_else(|| seen.iter().find_map(of_one));
                context.tell(&id, refused.map_or(Health::Up, Health::Down))?;
                let now = clock::now().wall;
                for (reading, fields) in &mut seen {
                    kept.amend(reading.as_ref(), fields, now);
                }
                let position = kept.done(now);
                let seen: Vec<Fields> =
                    seen.into_iter().map(|(_, fields)| fields).collect();
                let turn = Turn { source: Source::Disk, id: &id, now, anew };
                turn.tell(&seen, position, &mut told, context)?;
            }
            Ok((Err(_), Some(refused))) => {
                context.tell(&id, Health::Down(refused))?;
            }
            Ok((Err(absent), None)) => return Ok(End::Absent(absent)),
            Err(hangs) => context.tell(&id, Health::Down(hangs))?,
        }
        if context.once {
            return Ok(End::Stopped);
        }
        match pause(options.every, None, context) {
            None => return Ok(End::Stopped),
            Some(other) => anew = other,
        }
    }
}

/// Reads all disks, some at once.
fn look(
    options: &Poll,
    probes: &mut BTreeMap<Disk, Probe<Reading>>,
) -> Vec<(Option<Reading>, Fields)> {
    let mut seen = Vec::new();
    let mut all: Vec<_> = probes.iter_mut().collect();
    for some in all.chunks_mut(AT_ONCE) {
        let mut begun = Vec::new();
        for (disk, probe) in some.iter_mut() {
            let (root, own) = (options.root.clone(), (*disk).clone());
            // One that hung when last asked is not waited for again.
            let waits = probe.is_free();
            let question = move |p: Progress| read(&Tree::new(&root, p), &own);
            begun.push(probe.begin(question).is_ok().then_some(waits));
        }
        let end = clock::boot().plus(DISK_PATIENCE);
        for ((disk, probe), begun) in some.iter_mut().zip(begun) {
            let left = match begun {
                Some(true) => end.since(clock::boot()),
                Some(false) | None => Duration::ZERO,
            };
            let reading = probe.answer(left).ok();
            seen.push(((*disk).clone(), reading));
        }
    }
    // A number that two of them have is none.
    let number =
        |(_, r): &(Disk, Option<Reading>)| r.as_ref()?.known_by.clone();
    let all: Vec<Option<String>> = seen.iter().map(number).collect();
    let mut told = Vec::new();
    for (disk, mut reading) in seen {
        if let Some(reading) = &mut reading {
            let same = all.iter().filter(|n| **n == reading.known_by).count();
            reading.known_by = reading.known_by.take().filter(|_| same == 1);
        }
        let fields = fields(&disk, reading.as_ref());
        told.push((reading, fields));
    }
    told
}

/// What is told of one disk.
fn fields(disk: &Disk, reading: Option<&Reading>) -> Fields {
    let mut fields = vec![
        ("disk", Owned::Text(disk.name.clone())),
        ("bus", Owned::Word(disk.bus.word())),
        ("answers", Owned::Flag(reading.is_some())),
    ];
    let Some(reading) = reading else { return fields };
    let identity = reading.known_by.clone();
    fields.extend(identity.map(|own| ("identity", Owned::Text(own))));
    fields.extend(reading.state.map(|word| ("state", Owned::Word(word))));
    fields.push(("attachment", Owned::Word(reading.attachment)));
    let number = |n: u64| Owned::Number(n as f64);
    fields.extend(reading.model.clone().map(|m| ("model", Owned::Text(m))));
    fields.extend(reading.capacity.map(|c| ("capacity", number(c))));
    fields.extend(reading.io_errors.map(|n| ("io_errors", number(n))));
    let Some(health) = &reading.health else { return fields };
    let degrees = |t: i32| ("temperature", Owned::Number(f64::from(t)));
    fields.extend(health.temperature.map(degrees));
    fields.extend([
        ("media_errors", number(health.media_errors)),
        ("spare", number(u64::from(health.spare))),
        ("wear", number(u64::from(health.wear))),
        ("spare_low", Owned::Flag(health.spare_low)),
        ("overheated", Owned::Flag(health.overheated)),
        ("unreliable", Owned::Flag(health.unreliable)),
        ("readonly", Owned::Flag(health.readonly)),
        ("backup_failed", Owned::Flag(health.backup_failed)),
    ]);
    fields
}

/// What must outlive a restart of the agent.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    boot: String,
    /// Commands that failed; they are counted from the boot on.
    io: Recent,
    /// Errors of the medium; the drive counts them for ever.
    media: Recent,
    /// The largest capacity of this boot, by serial number.
    capacity: BTreeMap<String, u64>,
    /// The disks whose capacity was read since it was last kept.
    #[serde(skip)]
    seen: BTreeSet<String>,
    /// Whether a capacity is to be kept.
    #[serde(skip)]
    grown: bool,
}

/// So many disks are remembered; beyond, those that are not there any more
/// are forgotten. Volumes of a cluster come and go all day.
const CAPACITIES_MAX: usize = 1_024;

impl Kept {
    fn resume(position: Option<&Position>, boot: &str) -> Kept {
        let kept = position.and_then(|p| serde_json::from_str(&p.0).ok());
        let (io, media, capacity) = match kept {
            Some(Kept { io, media, capacity, boot: of, .. }) => {
                let here = of == boot;
                let capacity = if here { capacity } else { BTreeMap::new() };
                (Some(io), Some(media), capacity)
            }
            None => (None, None, BTreeMap::new()),
        };
        Kept {
            boot: boot.to_owned(),
            io: Recent::go_on(io, boot, DAY),
            media: Recent::go_on(media, "", DAY),
            capacity,
            seen: BTreeSet::new(),
            grown: false,
        }
    }

    /// Adds what needs the past to be told.
    fn amend(
        &mut self,
        reading: Option<&Reading>,
        fields: &mut Fields,
        now: Timestamp,
    ) {
        let Some(reading) = reading else { return };
        let name = &reading.identity;
        if let Some(errors) = reading.io_errors {
            let day = self.io.read(name, errors, now);
            fields.push(("io_errors_day", Owned::Number(day as f64)));
        }
        if let Some(health) = &reading.health {
            let day = self.media.read(name, health.media_errors, now);
            fields.push(("media_errors_day", Owned::Number(day as f64)));
        }
        if let Some(capacity) = reading.capacity {
            let most = self.capacity.entry(name.clone()).or_default();
            self.grown |= capacity > *most;
            *most = capacity.max(*most);
            self.seen.insert(name.clone());
            fields.push(("shrunk", Owned::Flag(capacity < *most)));
        }
    }

    fn done(&mut self, now: Timestamp) -> Option<Position> {
        // Both, whatever the first says.
        let (io, media) = (self.io.settle(now), self.media.settle(now));
        let seen = std::mem::take(&mut self.seen);
        if self.capacity.len() > CAPACITIES_MAX {
            self.capacity.retain(|name, _| seen.contains(name));
        }
        let capacity = std::mem::take(&mut self.grown);
        let changed = io || media || capacity;
        let position = changed.then(|| serde_json::to_string(self));
        position.and_then(Result::ok).map(Position)
    }
}

/// How the health log of each NVMe drive can be read, for `doctor`: what is
/// read, and why the first that isn't can't be.
pub fn health_logs(tree: &Tree) -> Result<(usize, Option<String>), String> {
    let mut refused = None;
    let disks = disks(tree)?;
    for disk in &disks {
        if disk.bus == read::Bus::Scsi {
            read(tree, disk); // notes what can't be read
            continue;
        }
        let state = format!("sys/class/nvme/{}/state", disk.name);
        if read::state(tree, &state).is_some_and(|state| state != "live") {
            continue; // it is being recovered: it must not be asked
        }
        let path = tree.at(&format!("dev/{}", disk.name));
        let opened = devices::open(&path, false);
        match opened.and_then(|file| nvme_log::read(&file)) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let why = format!("there is no {}", path.display());
                refused.get_or_insert(why);
            }
            Err(e) => {
                refused.get_or_insert(format!("{}: {e}", path.display()));
            }
        }
    }
    Ok((disks.len(), refused))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    fn nvme(state: &str) -> tempfile::TempDir {
        host(&[
            ("sys/class/nvme/nvme0/state", state),
            ("sys/class/nvme/nvme0/serial", "S1"),
            ("sys/class/nvme/nvme0/nvme0n1/size", "2048"),
            ("sys/class/nvme/nvme0/nvme0n1/nvme0n1p1/size", "1024"),
            ("dev/nvme0", ""),
        ])
    }

    fn disk(name: &str, bus: read::Bus) -> Disk {
        Disk { bus, name: name.to_owned() }
    }

    #[test]
    fn a_disk_in_error_handling_is_asked_nothing() {
        let nvme0 = disk("nvme0", read::Bus::Nvme);
        for (state, asked) in [
            ("live\n", true),
            ("resetting\n", false),
            ("deleting\n", false),
            ("deleting (no IO)\n", false),
        ] {
            let (host, progress) = (nvme(state), Progress::default());
            let tree = Tree::new(host.path(), progress.clone());
            let reading = read(&tree, &nvme0);
            let word = state.trim().split(' ').next();
            assert_eq!(reading.state, word);
            assert_eq!(reading.refused, None);
            assert_eq!(reading.capacity, Some(1 << 20));
            assert_eq!(progress.path().ends_with("dev/nvme0"), asked);
        }
    }

    #[test]
    fn a_disk_that_hangs_does_not_answer_and_delays_no_other() {
        let host = nvme("live\n");
        let poll = Poll { root: host.path().to_owned(), every: Duration::ZERO };
        let (_hang, never) = sync_channel::<()>(0);
        let mut stuck = Probe::default();
        let hangs = stuck.ask(Duration::ZERO, move |_| {
            never.recv().ok();
            read(
                &Tree::new("/".as_ref(), Progress::default()),
                &disk("sda", read::Bus::Scsi),
            )
        });
        assert!(hangs.is_err());
        let mut probes = BTreeMap::from([
            (disk("nvme0", read::Bus::Nvme), Probe::default()),
            (disk("sda", read::Bus::Scsi), stuck),
        ]);
        let began = clock::boot();
        let seen = look(&poll, &mut probes);
        assert!(clock::boot().since(began) < DISK_PATIENCE);
        let answers: Vec<_> =
            seen.iter().map(|(reading, _)| reading.is_some()).collect();
        assert_eq!(answers, [true, false]);
        assert!(seen[1].1.contains(&("answers", Owned::Flag(false))));
        assert!(seen[1].1.iter().all(|(name, _)| *name != "state"));
    }

    #[test]
    fn what_a_disk_lost_is_remembered_over_a_restart_until_the_boot() {
        let at = |s: i64| Timestamp(1_700_000_000_000_000 + s * 1_000_000);
        let read = |capacity, errors, kept: &mut Kept, s| {
            let reading = Reading {
                identity: "S1".into(),
                model: None,
                state: Some("live"),
                attachment: "local",
                capacity: Some(capacity),
                io_errors: Some(errors),
                health: None,
                refused: None,
                known_by: None,
            };
            let mut fields = Fields::new();
            kept.amend(Some(&reading), &mut fields, at(s));
            fields
        };
        let shrunk =
            |fields: &Fields| fields.contains(&("shrunk", Owned::Flag(true)));
        let mut kept = Kept::resume(None, "a");
        assert!(!shrunk(&read(100, 5, &mut kept, 0)));
        let position = kept.done(at(0));
        let mut kept = Kept::resume(position.as_ref(), "a");
        let fields = read(0, 8, &mut kept, 60);
        assert!(shrunk(&fields));
        assert!(fields.contains(&("io_errors_day", Owned::Number(3.0))));
        let mut other = Kept::resume(position.as_ref(), "b");
        assert!(!shrunk(&read(50, 1, &mut other, 60)));
    }

    #[test]
    fn volumes_that_come_and_go_are_not_remembered_for_ever() {
        let at = |s: i64| Timestamp(1_700_000_000_000_000 + s * 1_000_000);
        let mut kept = Kept::resume(None, "a");
        for n in 0..3 * CAPACITIES_MAX {
            let reading = Reading {
                identity: format!("volume-{n}"),
                model: None,
                state: Some("live"),
                attachment: "remote",
                capacity: Some(100),
                io_errors: None,
                health: None,
                refused: None,
                known_by: None,
            };
            kept.amend(Some(&reading), &mut Fields::new(), at(n as i64));
            let position = kept.done(at(n as i64));
            assert!(position.is_some(), "a capacity is kept at once");
            assert!(kept.capacity.len() <= CAPACITIES_MAX + 1);
        }
    }
}
