//! The kernel's log, from `/dev/kmsg`.
//!
//! One read(2) gives one record. The ring is the kernel's, and its own buffer:
//! whatever the agent cannot take at once stays there, and what the ring has
//! overwritten before it was read is counted exactly, by the sequence numbers.
//! Semantics: Documentation/ABI/testing/dev-kmsg and devkmsg_read in
//! kernel/printk/printk.c.
//!
//! A record that no pattern takes costs a read, a parse and a match: no
//! allocation, no clock, no lock.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;
use serde::{Deserialize, Serialize};

use super::forward;
use super::guard::guarded;
use super::kmsg_chunk::{Chunk, RECORD_MAX};
use super::kmsg_cont::Fragments;
use super::kmsg_open::{OpenError, boot_id};
use super::kmsg_record::{Record, parse, unescape};
use super::mce_text::{Blocks, FIRST_POLL, Printed, may_be};
use super::stop::{Woken, wait};
use super::{Context, Counters, End, Failure, pstore};
use crate::forms;
use crate::kernel::KernelRecord;
use crate::patterns::matcher::Scratch;
use crate::signal::{Event, Position, SourceId};
use crate::time::{Now, Timestamp, Uptime};
use crate::{clock, devices};

/// Room for some 64 records of the usual size and one of the longest.
const BUFFER: usize = 2 * RECORD_MAX;

/// How many records are read, or nearly, before a batch ends: bounds what a restart
/// would read again, and how old a batch's one clock reading can be.
const RECORDS_MAX: u32 = 512;

/// How many events a batch holds before it is sent; those of the records
/// that were read with the last come on top.
const EVENTS_MAX: usize = 64;

/// How often a position without events is sent.
const MARK_EVERY: Duration = Duration::from_secs(1);

/// Seconds, of every CPU alike (mce_check_interval, mce/core.c).
const CHECK_INTERVAL: &str =
    "sys/devices/system/machinecheck/machinecheck0/check_interval";

/// How long it looks for the rest of a machine check before it asks again
/// whether that is worth waiting for.
const BLOCK_LOOK: Duration = Duration::from_millis(100);

/// The log is looked at this often though nothing woke us. The kernel tells
/// its readers late, from a deferred interrupt (wake_up_klogd in
/// kernel/printk/printk.c); on some virtual machines a reader that sleeps was
/// seen to be told of a record only by the next one, however late that came.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Once the ring has been read to its end, what comes has just happened. It
/// has not where the end was not reached for so long (a full queue, a machine
/// that has no time for us), until it is reached again: till then the
/// records' own time stamps say more.
const LIVE: Duration = Duration::from_secs(2);

/// Where the kernel's log is and whose records count.
#[derive(Clone, Debug)]
pub struct Options {
    /// The host's root, below which the dumps of a panic are.
    pub root: PathBuf,
    /// The device.
    pub path: PathBuf,
    /// The file with this boot's id.
    pub boot_id: PathBuf,
    /// The file that says how often the kernel polls for machine checks.
    pub check_interval: PathBuf,
    /// Whether records that user space wrote are taken for the kernel's, as
    /// drills need it.
    pub accept_userspace: bool,
    /// The size of the read buffer; only tests make it smaller.
    pub buffer: usize,
}

impl Options {
    /// The host's log, below `root`.
    pub fn under(root: &Path) -> Options {
        Options {
            root: root.to_owned(),
            path: root.join("dev/kmsg"),
            boot_id: root.join("proc/sys/kernel/random/boot_id"),
            check_interval: root.join(CHECK_INTERVAL),
            accept_userspace: false,
            buffer: BUFFER,
        }
    }
}

/// Where the source stands: which record of which boot it read last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    boot: String,
    seq: u64,
}

/// Opens the log for reading, without waiting for records.
///
/// # Errors
/// When it may not or cannot be opened; the text says what is missing.
pub fn open(options: &Options) -> Result<File, OpenError> {
    let path = &options.path;
    let opened = devices::open(path, false);
    opened.map_err(|error| OpenError::of(path, error))
}

/// Reads records until told to stop.
///
/// # Errors
/// When the device cannot be opened or read.
pub fn run(options: &Options, context: &mut Context) -> Result<End, Failure> {
    let file = open(options).map_err(|e| Failure(e.to_string()))?;
    let boot = boot_id(&options.boot_id)?;
    let id = SourceId::from("kmsg");
    pstore::run(&options.root, context)?;
    context.up(&id)?;
    let mut reading = Reading::new(options, context, id, boot);
    reading.follow(&file)
}

/// The state of one run over the log.
struct Reading<'c> {
    context: &'c mut Context,
    accept_userspace: bool,
    check_interval: PathBuf,
    buffer: usize,
    id: SourceId,
    counters: Arc<Counters>,
    boot: String,
    /// The number of the next record, if that is known.
    expected: Option<u64>,
    /// The last record read in this run.
    last: Option<u64>,
    /// The last record whose position was sent, and when.
    marked: Option<u64>,
    marked_at: Uptime,
    moment: Moment,
    /// Whether the ring was read to its end, and not [`LIVE`] ago.
    caught_up: bool,
    /// When it last was at the end of the ring.
    end_at: Uptime,
    /// Whether it has waited since the clock was last looked at.
    waited: bool,
    batch: Batch,
    fragments: Fragments,
    blocks: Blocks,
    scratch: Scratch,
    unescaped: Vec<u8>,
}

/// What has come since the last flush.
#[derive(Default)]
struct Batch {
    events: Vec<Event>,
    observations: u64,
    matches: u64,
    lost: u64,
    invalid: u64,
}

/// The one clock reading of a batch.
#[derive(Clone, Copy, Default)]
struct Moment {
    now: Now,
    /// The wall clock at the kernel's time 0, unless `live`.
    base: Timestamp,
    /// Whether what is read now has just happened.
    live: bool,
}

/// Why a drain ended.
#[derive(PartialEq)]
enum Drained {
    /// The ring has no more.
    Empty,
    /// The batch is full.
    Full,
}

impl<'c> Reading<'c> {
    fn new(
        options: &Options,
        context: &'c mut Context,
        id: SourceId,
        boot: String,
    ) -> Reading<'c> {
        let stored = context.positions.get(&id);
        let mark = stored.and_then(|p| serde_json::from_str::<Mark>(&p.0).ok());
        // A position of another boot says nothing of this one: all of the
        // ring is new.
        let seq = mark.filter(|mark| mark.boot == boot).map(|mark| mark.seq);
        Reading {
            counters: context.counters(&id),
            accept_userspace: options.accept_userspace,
            check_interval: options.check_interval.clone(),
            buffer: options.buffer,
            context,
            id,
            boot,
            expected: seq.map(|seq| seq.saturating_add(1)),
            last: None,
            marked: seq,
            marked_at: clock::boot(),
            moment: Moment::default(),
            caught_up: false,
            end_at: Uptime(0),
            waited: false,
            batch: Batch::default(),
            fragments: Fragments::default(),
            blocks: Blocks::default(),
            scratch: Scratch::default(),
            unescaped: Vec::new(),
        }
    }

    fn follow(&mut self, file: &File) -> Result<End, Failure> {
        let mut chunk = Chunk::new(self.buffer);
        loop {
            self.context.patterns.refresh();
            self.look_at_the_clock();
            let drained = self.drain(file, &mut chunk)?;
            let stop = self.context.stop.is_told();
            let empty = drained == Drained::Empty;
            let ended = stop || (empty && self.context.once);
            if self.holds(ended) {
                if empty {
                    let fd = Some((file.as_fd(), PollFlags::POLLIN));
                    wait(&self.context.stop, fd, Some(BLOCK_LOOK));
                    self.waited = true;
                }
                continue;
            }
            self.flush(ended)?;
            if stop {
                return Ok(End::Stopped);
            }
            if !empty {
                continue;
            }
            self.caught_up = true;
            self.counters.succeeded(self.moment.now.wall);
            if self.context.once || self.wait(file)? == Woken::Stop {
                return Ok(End::Stopped);
            }
        }
    }

    /// Waits for records; a position not yet sent is sent when its time has
    /// come.
    fn wait(&mut self, file: &File) -> Result<Woken, Failure> {
        let fd = || Some((file.as_fd(), PollFlags::POLLIN));
        let mut woken = Woken::Timeout;
        if self.is_unmarked() {
            let passed = self.moment.now.boot.since(self.marked_at);
            let rest = MARK_EVERY.saturating_sub(passed);
            woken = wait(&self.context.stop, fd(), Some(rest));
            if woken != Woken::Ready {
                self.flush(true)?;
            }
        }
        if woken == Woken::Timeout {
            woken = wait(&self.context.stop, fd(), Some(LOOK_EVERY));
        }
        self.waited = true;
        Ok(woken)
    }

    fn look_at_the_clock(&mut self) {
        let now = clock::now();
        // Only at the end it waits, so that is no delay.
        if std::mem::take(&mut self.waited) {
            self.end_at = now.boot;
        }
        self.caught_up &= now.boot.since(self.end_at) < LIVE;
        if !self.caught_up {
            let monotonic = Duration::from_micros(clock::monotonic());
            self.moment.base = now.wall.minus(monotonic);
        }
        self.moment.now = now;
        self.moment.live = self.caught_up;
    }

    fn drain(
        &mut self,
        file: &File,
        chunk: &mut Chunk,
    ) -> Result<Drained, Failure> {
        let mut read = 0;
        while read < RECORDS_MAX && self.batch.events.len() < EVENTS_MAX {
            let filled = chunk.fill(file);
            for raw in chunk.records() {
                read += 1;
                if guarded("kmsg", raw, || self.take(raw)).is_none() {
                    self.skip(raw);
                }
            }
            let Err(error) = filled else { continue };
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EAGAIN) => return Ok(Drained::Empty),
                // Ours was overwritten and the next read gives the oldest
                // kept: the gap shows in its number. Or a signal.
                Some(Errno::EPIPE | Errno::EINTR) => read += 1,
                Some(Errno::EINVAL) => {
                    read += 1;
                    self.too_long();
                }
                _ => return Err(Failure::of("failed to read", &error)),
            }
        }
        Ok(Drained::Full)
    }

    /// A record did not fit the buffer; the kernel has moved on behind it
    /// (devkmsg_read advances before it looks at the length).
    fn too_long(&mut self) {
        self.batch.invalid += 1;
        // Where nothing was read yet it may be one that was read before the
        // restart; if it was not, the gap shows in the next number.
        if self.last.is_some() {
            self.expected = self.expected.map(|seq| seq.saturating_add(1));
            self.gap(1);
        }
    }

    /// Whether the batch waits for the rest of a machine check.
    fn holds(&mut self, ended: bool) -> bool {
        let when = (self.moment.now.boot, ended);
        let (scratch, events) = (&mut self.scratch, &mut self.batch.events);
        forward::holds(self.context, when, &mut self.blocks, scratch, events)
    }

    fn gap(&mut self, lost: u64) {
        self.holds(true);
        self.batch.lost += lost;
        self.batch.events.push(Event::Gap { lost });
        self.fragments.clear();
    }

    /// Goes on behind a record that made [`Reading::take`] panic.
    #[cold]
    fn skip(&mut self, raw: &[u8]) {
        self.batch.invalid += 1;
        self.fragments.clear();
        self.blocks.abandon(&mut self.batch.events);
        self.scratch = Scratch::default();
        // Its number is the first thing that is looked at.
        if let Ok(record) = parse(raw) {
            self.expected = Some(record.seq.saturating_add(1));
            self.last = Some(record.seq);
        }
    }

    /// Takes what one read gave.
    fn take(&mut self, raw: &[u8]) {
        let Ok(record) = parse(raw) else {
            self.batch.invalid += 1;
            if self.last.is_some() {
                self.expected = self.expected.map(|seq| seq.saturating_add(1));
            }
            return;
        };
        if let Some(expected) = self.expected {
            if record.seq < expected {
                return; // read before the restart
            }
            if record.seq > expected {
                self.gap(record.seq - expected);
            }
        }
        self.expected = Some(record.seq.saturating_add(1));
        self.last = Some(record.seq);
        if record.facility != 0 && !self.accept_userspace {
            return;
        }
        self.batch.observations += 1;
        if record.continues {
            self.continued(&record);
        } else {
            let from = self.batch.events.len();
            self.observe(&record);
            let events = &self.batch.events[from..];
            self.fragments.remember(raw, &record, events);
            self.assemble(&record, from);
        }
    }

    /// Matches the record that `fragment` continues, once more.
    fn continued(&mut self, fragment: &Record<'_>) {
        let mut fragments = std::mem::take(&mut self.fragments);
        if let Some(joined) = fragments.join(fragment) {
            let from = self.batch.events.len();
            self.observe(&joined.whole(fragment));
            joined.keep_new(&mut self.batch.events, from);
            // What the joined text gave stays where it is: the beginning
            // has given its share already.
            let from = self.batch.events.len();
            self.assemble(&joined.whole(fragment), from);
        }
        self.fragments = fragments;
    }

    fn observe(&mut self, record: &Record<'_>) {
        let moment = self.moment;
        let text = match record.escaped {
            false => record.text, // nearly always
            true => unescape(record.text, &mut self.unescaped),
        };
        let kernel = kernel_record(record, text, moment);
        let (scratch, events) = (&mut self.scratch, &mut self.batch.events);
        if forward::kernel(self.context, &kernel, scratch, events) {
            self.batch.matches += 1;
        }
    }

    /// Takes the record for the machine check that it may be a line of.
    fn assemble(&mut self, record: &Record<'_>, from: usize) {
        if !self.blocks.is_open() && !may_be(record.text) {
            return; // nearly always
        }
        let first_poll = first_poll(&self.check_interval);
        let text = unescape(record.text, &mut self.unescaped);
        let kernel = kernel_record(record, text, self.moment);
        let printed = Printed {
            at: Timestamp(i64::try_from(record.usec).unwrap_or(i64::MAX)),
            caller: record.caller,
            uptime: Some(Duration::from_micros(record.usec)),
            first_poll,
        };
        let (scratch, events) = (&mut self.scratch, &mut self.batch.events);
        forward::machine_check(
            self.context,
            (&kernel, printed),
            from,
            &mut self.blocks,
            scratch,
            events,
        );
    }

    fn is_unmarked(&self) -> bool {
        self.last.is_some() && self.last != self.marked
    }

    /// Adds up the batch and sends it if it has events; without events, the
    /// position if its time has come or `mark` says so.
    fn flush(&mut self, mark: bool) -> Result<(), Failure> {
        let mut batch = std::mem::take(&mut self.batch);
        let counters = &self.counters;
        Counters::add(&counters.observations, batch.observations);
        Counters::add(&counters.matches, batch.matches);
        Counters::add(&counters.lost, batch.lost);
        Counters::add(&counters.invalid, batch.invalid);
        let now = self.moment.now.boot;
        let due = self.is_unmarked()
            && (mark || now.since(self.marked_at) >= MARK_EVERY);
        if batch.events.is_empty() && !due {
            return Ok(());
        }
        self.scratch.take_notes(&mut batch.events);
        let position = self.last.or(self.marked).map(|seq| {
            let mark = Mark { boot: self.boot.clone(), seq };
            let text = serde_json::to_string(&mark);
            Position(text.expect("a string and a number are valid JSON"))
        });
        self.marked = self.last.or(self.marked);
        self.marked_at = now;
        Ok(self.context.send(&self.id, batch.events, position)?)
    }
}

/// The record as the patterns take it; the matcher finds the form in the same
/// pass as the patterns where nothing in the text was escaped.
fn kernel_record<'a>(
    record: &Record<'a>,
    text: &'a [u8],
    moment: Moment,
) -> KernelRecord<'a> {
    let printed = Duration::from_micros(record.usec);
    KernelRecord {
        text,
        form: record.escaped.then(|| forms::form_of(record.text)),
        level: Some(record.level),
        subsystem: record.subsystem,
        device: record.device,
        time: match moment.live {
            true => moment.now.wall,
            false => moment.base.plus(printed),
        },
        approximate: !moment.live,
        injected: record.facility != 0,
    }
}

/// When the first poll after the boot was due. An interval that is not the
/// kernel's own was set later: what the kernel found before that is history
/// for certain only within it. Where it is 0 the kernel does not poll at all.
pub(super) fn first_poll(check_interval: &Path) -> Duration {
    let text = std::fs::read_to_string(check_interval).unwrap_or_default();
    match text.trim().parse() {
        Ok(0) => Duration::MAX,
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => FIRST_POLL,
    }
}

#[cfg(test)]
#[path = "kmsg_tests.rs"]
mod tests;
