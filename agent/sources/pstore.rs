//! What the kernel kept of a panic over the boot that it caused: the dumps in
//! `/sys/fs/pstore` (fs/pstore/platform.c, `pstore_dump`), and where
//! systemd-pstore moves them.
//!
//! A dump holds the end of the log. The agent has read most of it before the
//! panic; what it can't have read are the last moments, and only those are
//! told, as history. Nothing is ever deleted.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::mce_text::{Blocks, Printed};
use super::text::{Line, Reader};
use super::{Context, Failure, forward};
use crate::clock;
use crate::kernel::KernelRecord;
use crate::patterns::matcher::Scratch;
use crate::probe::Probe;
use crate::signal::{Effect, Event, Health, Position, SourceId};
use crate::time::Timestamp;

/// Where dumps are; systemd-pstore(8) makes a directory for each panic.
const PLACES: [&str; 2] = ["sys/fs/pstore", "var/lib/systemd/pstore"];

/// How deep systemd-pstore's directories go.
const DEPTH: usize = 3;

/// How many files are looked at; a panic makes a dozen.
const FILES_MAX: usize = 1_024;

/// The most of one file that is read; a backend's whole store is smaller.
const FILE_MAX: u64 = 1 << 20;

/// An agent that runs here for the first time tells no panic that is older
/// than this before the boot: it was dealt with. Later ones it tells however
/// long the machine was off after them.
const FRESH: Duration = Duration::from_secs(86_400);

/// The parts of one panic are written within seconds; systemd-pstore writes
/// them anew, all at once.
const TOGETHER: Duration = Duration::from_secs(60);

/// How long before the panic the last moments begin.
const MOMENTS: Duration = Duration::from_secs(10);

/// How long reading the dumps may take; the kernel's log waits meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many dumps are remembered as read.
const READ_MAX: usize = 64;

/// One file: a part of what was kept, the first part being the log's end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    /// Which dump of its boot it belongs to.
    count: u32,
    number: u32,
    written: Timestamp,
    text: Vec<u8>,
}

/// What was told of already.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    written: Vec<Timestamp>,
    /// Nothing that was written before is told.
    #[serde(default)]
    since: Option<Timestamp>,
}

/// Tells the last moments before the panic that led to this boot, once.
///
/// # Errors
/// When the ledger is gone.
pub fn run(root: &Path, context: &mut Context) -> Result<(), Failure> {
    let id = SourceId::from("kmsg:pstore");
    let stored = context.positions.get(&id);
    let stored = stored.and_then(|p| serde_json::from_str(&p.0).ok());
    let mut known: Known = stored.unwrap_or_default();
    let mut booted = clock::now().wall;
    booted = booted.minus(Duration::from_micros(clock::monotonic()));
    // They may be on a disk that hangs, and the log is to be read all the
    // same. What could not be read proves nothing of an earlier panic.
    let (mut probe, at) = (Probe::default(), root.to_owned());
    let parts = match probe.ask(PATIENCE, move |_| parts(&at)) {
        Ok(parts) => parts,
        Err(_) => {
            let reason = "reading what the kernel kept of a panic hangs: see \
                          /sys/fs/pstore and /var/lib/systemd/pstore";
            return Ok(context.tell(&id, Health::Down(reason.into()))?);
        }
    };
    let all = dumps(parts);
    // Whoever has read the log here before was there to tell them.
    let first = !context.positions.contains_key(&SourceId::from("kmsg"));
    let begins = first && known.since.is_none() && !all.is_empty();
    if begins {
        known.since = Some(booted.minus(FRESH));
    }
    let since = known.since.unwrap_or_default();
    let fresh = |dump: &Vec<Part>| {
        let written = dump.first().map(|part| part.written);
        written.is_some_and(|written| {
            written >= since
                && !known.written.iter().any(|at| near(*at, written))
        })
    };
    let dumps: Vec<Vec<Part>> = all.into_iter().filter(fresh).collect();
    if begins && dumps.is_empty() {
        // The next start is not the first.
        let position = serde_json::to_string(&known).ok().map(Position);
        context.send(&id, Vec::new(), position)?;
    }
    for dump in dumps {
        let Some(written) = dump.first().map(|part| part.written) else {
            continue;
        };
        let text: Vec<u8> =
            dump.into_iter().flat_map(|part| part.text).collect();
        let events = history(&text, written.min(booted), context);
        known.written.push(written);
        known.written.sort_unstable();
        let excess = known.written.len().saturating_sub(READ_MAX);
        let forgotten = known.written.drain(..excess).max();
        known.since = known.since.max(forgotten.map(|at| at.plus(TOGETHER)));
        let position = serde_json::to_string(&known).ok().map(Position);
        context.up(&id)?;
        context.send(&id, events, position)?;
    }
    // A boot that left no panic is the proof of what an earlier one told.
    if !known.written.is_empty() {
        context.up(&id)?;
    }
    Ok(())
}

fn near(a: Timestamp, b: Timestamp) -> bool {
    a.since(b).max(b.since(a)) <= TOGETHER
}

/// All parts of panics that can be read.
fn parts(root: &Path) -> Vec<Part> {
    let mut files = Vec::new();
    for place in PLACES {
        walk(&root.join(place), DEPTH, &mut files);
    }
    files.iter().filter_map(|path| part(path)).collect()
}

fn walk(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let name = entry.file_name();
        if kind.is_dir() && depth > 1 {
            walk(&entry.path(), depth - 1, files);
        } else if kind.is_file()
            && name.to_string_lossy().starts_with("dmesg-")
            && files.len() < FILES_MAX
        {
            files.push(entry.path());
        }
    }
}

/// A part of a panic; none if it is of anything less, or compressed.
fn part(path: &Path) -> Option<Part> {
    let file = File::open(path).ok()?;
    let about = file.metadata().ok()?;
    let mut text = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut text).ok()?;
    let end = text.iter().position(|b| *b == b'\n')?;
    let (count, number) = header(std::str::from_utf8(&text[..end]).ok()?)?;
    text.drain(..=end);
    let written = Timestamp(about.mtime().saturating_mul(1_000_000));
    Some(Part { count, number, written, text })
}

/// `Panic#2 Part1`
fn header(line: &str) -> Option<(u32, u32)> {
    let (count, number) = line.strip_prefix("Panic#")?.split_once(" Part")?;
    Some((count.parse().ok()?, number.trim().parse().ok()?))
}

/// The parts by dump, each dump's from its oldest line on.
fn dumps(mut parts: Vec<Part>) -> Vec<Vec<Part>> {
    parts.sort_by_key(|part| part.written);
    let mut dumps: Vec<Vec<Part>> = Vec::new();
    for part in parts {
        let same = |dump: &&mut Vec<Part>| {
            dump.iter().all(|other| {
                other.count == part.count
                    && near(other.written, part.written)
                    && other.number != part.number
            })
        };
        match dumps.iter_mut().find(same) {
            Some(dump) => dump.push(part),
            None => dumps.push(vec![part]),
        }
    }
    for dump in &mut dumps {
        dump.sort_by_key(|part| std::cmp::Reverse(part.number));
    }
    dumps
}

/// What the patterns find in the last moments of a log that ended then.
fn history(text: &[u8], ended: Timestamp, context: &Context) -> Vec<Event> {
    let lines = last_moments(text);
    let end = lines.iter().rev().find_map(Line::uptime).unwrap_or_default();
    let (mut blocks, mut scratch) = (Blocks::default(), Scratch::default());
    let mut events = Vec::new();
    for line in &lines {
        let before = end.saturating_sub(line.uptime().unwrap_or(end));
        let time = ended.minus(before);
        let record = KernelRecord {
            text: &line.text,
            form: Some(line.form),
            level: line.level,
            subsystem: &line.subsystem,
            device: &line.device,
            time,
            approximate: true,
            injected: false,
        };
        let from = events.len();
        forward::kernel(context, &record, &mut scratch, &mut events);
        let printed = Printed::line(line, time);
        let told = (&record, printed);
        let scratch = &mut scratch;
        let blocks = &mut blocks;
        forward::machine_check(
            context,
            told,
            from,
            blocks,
            scratch,
            &mut events,
        );
    }
    let ended = (clock::boot(), true);
    forward::holds(context, ended, &mut blocks, &mut scratch, &mut events);
    past(&mut events);
    events
}

/// What opens is history, and what was well before a panic proves nothing.
fn past(events: &mut Vec<Event>) {
    events.retain(|event| match event {
        Event::Match(signal) => !matches!(signal.effect, Effect::Proof(_)),
        _ => false,
    });
    for event in events {
        if let Event::Match(signal) = event
            && signal.effect == Effect::Open
        {
            signal.effect = Effect::History;
        }
    }
}

/// The lines from shortly before the panic on.
fn last_moments(text: &[u8]) -> Vec<Line> {
    let mut reader = Reader::new(Timestamp(0), TimeZone::UTC);
    let mut lines = Vec::new();
    for raw in text.split(|b| *b == b'\n') {
        if raw.starts_with(b"Panic#") {
            continue; // the header of the next part
        }
        lines.extend(reader.line(raw).cloned());
    }
    lines.extend(reader.end().cloned());
    let panics = |line: &&Line| line.text.starts_with(b"Kernel panic");
    let at = lines.iter().find(panics).or(lines.last());
    let Some(at) = at.and_then(Line::uptime) else { return lines };
    let begin = at.saturating_sub(MOMENTS);
    lines.retain(|line| line.uptime().is_none_or(|up| up >= begin));
    lines
}

#[cfg(test)]
mod tests {
    use super::super::guard::tests::context_with;
    use super::*;
    use crate::observation::Source;
    use crate::patterns::{builtin, compile::compile, parse::parse};
    use crate::queue::Message;

    const LATE: &str = "\
<0>[  100.500000] mce: [Hardware Error]: CPU 1: Machine Check Exception: 5 \
Bank 4: be00000000000134
<0>[  100.500001] mce: [Hardware Error]: TSC 1eef782aae ADDR 1200000 MISC 8c
<0>[  100.500002] mce: [Hardware Error]: PROCESSOR 0:50654 TIME 1795340969 \
SOCKET 0 APIC 0 microcode 1
<0>[  100.600000] Kernel panic - not syncing: Fatal machine check
";
    const EARLY: &str = "\
<6>[   12.000000] e1000e 0000:00:1f.6 eno1: NIC Link is Down
<3>[   50.000000] Out of memory: Killed process 1 (a)
";

    fn host(files: &[(&str, String)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn panic_in(place: &str) -> tempfile::TempDir {
        let at = |n| format!("{place}/dmesg-efi-{n}");
        host(&[
            (&at(1), format!("Panic#1 Part1\n{LATE}")),
            (&at(2), format!("Panic#1 Part2\n{EARLY}")),
            (&at(3), format!("Oops#1 Part1\n{LATE}")),
        ])
    }

    #[test]
    fn the_parts_of_a_panic_are_put_in_order_and_only_its_end_is_told() {
        for place in ["sys/fs/pstore", "var/lib/systemd/pstore/176/001"] {
            let host = panic_in(place);
            let dumps = dumps(parts(host.path()));
            assert_eq!(dumps.len(), 1, "an oops is no panic");
            let text: Vec<u8> =
                dumps[0].iter().flat_map(|p| p.text.clone()).collect();
            assert!(text.starts_with(EARLY.as_bytes()));
            let lines = last_moments(&text);
            assert_eq!(lines.len(), 4);
            assert!(lines[0].text.starts_with(b"mce: "));
        }
    }

    #[test]
    fn a_panic_is_history_and_told_once() {
        let host = panic_in("sys/fs/pstore");
        let files = builtin::files();
        let files = files.iter().map(|file| parse(file).unwrap());
        let (set, _) = compile(&files.collect::<Vec<_>>()).unwrap();
        let (mut context, messages) = context_with(Source::Kmsg, set);
        run(host.path(), &mut context).unwrap();
        run(host.path(), &mut context).unwrap();
        drop(context);
        let mut batches = Vec::new();
        while let Ok(message) = messages.try_recv() {
            if let Message::Batch(batch) = message {
                batches.push(batch);
            }
        }
        let [batch] = &batches[..] else { panic!("{batches:?}") };
        let opened: Vec<_> = batch
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Match(s) if s.effect == Effect::History => {
                    Some(s.pattern.to_string())
                }
                _ => None,
            })
            .collect();
        // The line of the panic itself is evidence of it.
        assert_eq!(opened, ["mce-uncorrected"]);
    }

    /// What is opened of a panic `days` before this boot.
    fn told_after(days: u64, ran_before: bool) -> usize {
        let host = panic_in("sys/fs/pstore");
        let age = Duration::from_secs(days * 86_400);
        for n in [1, 2] {
            let path = format!("sys/fs/pstore/dmesg-efi-{n}");
            let file = File::options().write(true).open(host.path().join(path));
            let when = std::time::UNIX_EPOCH
                + Duration::from_micros(clock::now().wall.minus(age).0 as u64);
            file.unwrap().set_modified(when).unwrap();
        }
        let files = builtin::files();
        let files = files.iter().map(|file| parse(file).unwrap());
        let (set, _) = compile(&files.collect::<Vec<_>>()).unwrap();
        let (mut context, messages) = context_with(Source::Kmsg, set);
        if ran_before {
            let position = Position("x".into());
            context.positions.insert("kmsg".into(), position);
        }
        run(host.path(), &mut context).unwrap();
        drop(context);
        let mut opened = 0;
        while let Ok(message) = messages.try_recv() {
            let Message::Batch(batch) = message else { continue };
            let history = |event: &&Event| matches!(event, Event::Match(s) if s.effect == Effect::History);
            opened += batch.events.iter().filter(history).count();
        }
        opened
    }

    #[test]
    fn a_panic_before_days_without_power_is_told_but_not_one_from_before_us() {
        assert_eq!(told_after(200, true), 1, "off over months");
        assert_eq!(told_after(200, false), 0, "dealt with long ago");
        assert_eq!(told_after(0, false), 1);
    }

    #[test]
    fn what_is_no_dump_of_a_panic_is_left_alone() {
        assert_eq!(header("Panic#2 Part13"), Some((2, 13)));
        for bad in ["Oops#1 Part1", "Panic#", "Panic#x Part1", "Panic#1"] {
            assert_eq!(header(bad), None, "{bad}");
        }
        let garbage = host(&[("sys/fs/pstore/dmesg-efi-1.enc.z", "x".into())]);
        assert_eq!(parts(garbage.path()), []);
        assert_eq!(parts(Path::new("/nonexistent")), []);
    }
}
