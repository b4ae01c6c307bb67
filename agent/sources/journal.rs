//! The systemd journal, through `journalctl -o json`: the program knows every
//! journal format there will be, and runs apart from the agent.
//!
//! Kernel entries are left out where /dev/kmsg is read: they are the same
//! records. Where it is not, they are presented as kernel text; an entry is
//! the kernel's by `_TRANSPORT=kernel`, which only journald can write.

use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ChildStdout;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::PollFlags;
use serde::{Deserialize, Serialize};

use super::file_lines::Lines;
use super::forward;
use super::guard::guarded;
use super::journal_child::{Running, command, last, no_journal};
use super::journal_entry::Entry;
use super::mce_text::{Blocks, Printed};
use super::stop::{Woken, wait};
use super::{Context, Counters, End, Failure};
use crate::clock;
use crate::forms;
use crate::kernel::KernelRecord;
use crate::observation::{LEVELS, Observation, Source, Value};
use crate::patterns::matcher::{Scratch, Taken};
use crate::signal::{Event, Position, SourceId};
use crate::time::{Now, Uptime};

/// The name of the source and of its position.
const ID: &str = "journal";

/// The longest entry in JSON; an array of bytes takes four times its length.
const ENTRY_MAX: usize = 1024 * 1024;

/// How many events a batch holds before it is sent.
const EVENTS_MAX: usize = 64;

/// How often it is read before a batch ends, so that a journal that floods
/// does not keep the source from ending when it is told to.
const READS_MAX: usize = 64;

/// How often a position without events is sent.
const MARK_EVERY: Duration = Duration::from_secs(1);

/// A journalctl that has not ended after so long will follow.
const STARTED: Duration = Duration::from_secs(1);

/// How the journal is read.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program, found in PATH unless it has a slash.
    pub journalctl: PathBuf,
    /// A directory of journal files instead of the system's (`-D`), as
    /// `--root /host` needs it.
    pub directory: Option<PathBuf>,
    /// Whether kernel entries are presented as kernel text; set where
    /// /dev/kmsg can't be read. Otherwise they are left out.
    pub kernel: bool,
}

impl Default for Options {
    fn default() -> Options {
        let journalctl = PathBuf::from("journalctl");
        Options { journalctl, directory: None, kernel: false }
    }
}

/// How long journalctl has to show the last entry.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// Where the source stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    cursor: String,
}

/// Follows the journal until told to stop.
///
/// # Errors
/// When journalctl fails.
pub fn run(options: &Options, context: &mut Context) -> Result<End, Failure> {
    if let Some(why) = no_journal(options) {
        return Ok(End::Absent(why));
    }
    if !context.once && !options.kernel && cursor(context).is_none() {
        begin(options, context)?;
    }
    if !context.once && cursor(context).is_some() {
        // `--follow` shows this boot alone (systemd 250 to 257): what was
        // logged before it while nobody followed is read first.
        let end = read(options, context, false)?;
        if end != End::Stopped || context.stop.is_told() {
            return Ok(end);
        }
    }
    read(options, context, !context.once)
}

/// Commits where the journal ends before what follows is read: an agent that
/// is killed before the first entry would begin at another place, and skip
/// what lies between.
fn begin(options: &Options, context: &mut Context) -> Result<(), Failure> {
    // A program that isn't there or fails is told of by the call that reads.
    let Ok(mut child) = Running::start(last(options)) else { return Ok(()) };
    let stdout = child.child.stdout.take();
    let mut stdout = stdout.expect("its standard output is piped");
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    while text.len() < ENTRY_MAX {
        let fd = Some((stdout.as_fd(), PollFlags::POLLIN));
        if wait(&context.stop, fd, Some(LAST_PATIENCE)) != Woken::Ready {
            return Ok(());
        }
        match stdout.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => text.extend(&buffer[..n]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Ok(()),
        }
    }
    let entry = Entry::from_json(text.trim_ascii());
    let cursor = entry.map(|entry| entry.cursor).unwrap_or_default();
    if cursor.is_empty() {
        return Ok(()); // an empty journal
    }
    let id = SourceId::from(ID);
    context.send(&id, Vec::new(), Some(position(cursor)))?;
    context.until_committed(&[id]);
    Ok(())
}

fn position(cursor: String) -> Position {
    let text = serde_json::to_string(&Mark { cursor });
    Position(text.expect("a string is valid JSON"))
}

/// Where to go on.
fn cursor(context: &Context) -> Option<String> {
    let position = context.positions.get(ID)?;
    let mark = serde_json::from_str::<Mark>(&position.0).ok()?;
    Some(mark.cursor)
}

/// Runs journalctl until it ends or the source is told to stop.
fn read(
    options: &Options,
    context: &mut Context,
    follow: bool,
) -> Result<End, Failure> {
    let started = Running::start(command(options, cursor(context), follow));
    let mut child = match started {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let name = options.journalctl.display();
            return Ok(End::Absent(format!("there is no {name}")));
        }
        Err(error) => {
            return Err(Failure::of("failed to start journalctl", &error));
        }
    };
    let result = take(options, context, follow, &mut child);
    // A journal that was vacuumed or replaced may not know the cursor; what
    // is left of it begins at the next entry.
    if let Err(Failure(why)) = &result
        && why.contains("cursor")
        && context.positions.remove(ID).is_some()
    {
        tracing::warn!(reason = %why, "the journal's position is lost");
    }
    result
}

/// Takes the entries that the child prints.
fn take(
    options: &Options,
    context: &mut Context,
    follow: bool,
    child: &mut Running,
) -> Result<End, Failure> {
    let stdout = child.child.stdout.take();
    let mut stdout = stdout.expect("its standard output is piped");
    let nonblocking = FcntlArg::F_SETFL(OFlag::O_NONBLOCK);
    fcntl(&stdout, nonblocking)
        .map_err(|e| Failure::of("failed to read journalctl", &e.into()))?;
    let mut reading = Reading::new(options.kernel, context);
    if reading.wait(&stdout, Some(STARTED)) == Woken::Timeout {
        reading.context.up(&reading.id)?;
    }
    let mut buffer = vec![0; 64 * 1024];
    loop {
        reading.context.patterns.refresh();
        reading.now = clock::now();
        let open = reading.drain(&mut stdout, &mut buffer)?;
        let stop = reading.context.stop.is_told();
        reading.flush(stop || !open)?;
        if stop {
            return Ok(End::Stopped);
        }
        if !open {
            child.ended()?;
            if follow {
                return Err(Failure("journalctl has ended".into()));
            }
            reading.context.up(&reading.id)?;
            return Ok(End::Stopped);
        }
        let unmarked = reading.cursor != reading.marked;
        let time = unmarked.then_some(MARK_EVERY);
        reading.wait(&stdout, time);
    }
}

/// The state of one run.
struct Reading<'c> {
    context: &'c mut Context,
    id: SourceId,
    counters: Arc<Counters>,
    kernel: bool,
    lines: Lines,
    scratch: Scratch,
    blocks: Blocks,
    events: Vec<Event>,
    now: Now,
    cursor: String,
    marked: String,
    marked_at: Uptime,
    observations: u64,
    matches: u64,
    invalid: u64,
}

impl<'c> Reading<'c> {
    fn new(kernel: bool, context: &'c mut Context) -> Self {
        let id = SourceId::from(ID);
        Reading {
            counters: context.counters(&id),
            context,
            id,
            kernel,
            lines: Lines::bounded(ENTRY_MAX),
            scratch: Scratch::default(),
            blocks: Blocks::default(),
            events: Vec::new(),
            now: Now::default(),
            cursor: String::new(),
            marked: String::new(),
            marked_at: Uptime::default(),
            observations: 0,
            matches: 0,
            invalid: 0,
        }
    }

    fn wait(&self, stdout: &ChildStdout, time: Option<Duration>) -> Woken {
        let fd = Some((stdout.as_fd(), PollFlags::POLLIN));
        wait(&self.context.stop, fd, time)
    }

    /// Takes what there is, up to a batch; says whether the child's output
    /// is still open.
    fn drain(
        &mut self,
        stdout: &mut ChildStdout,
        buffer: &mut [u8],
    ) -> Result<bool, Failure> {
        for _ in 0..READS_MAX {
            if self.events.len() >= EVENTS_MAX {
                break;
            }
            let n = match stdout.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => {
                    return Err(Failure::of("failed to read journalctl", &e));
                }
            };
            self.context.up(&self.id)?;
            let empty = Lines::default();
            let mut lines = std::mem::replace(&mut self.lines, empty);
            // An entry that was cut is no JSON any more, and counted as that.
            lines.feed(&buffer[..n], |line| {
                if guarded(ID, line, || self.line(line)).is_none() {
                    self.skip(line);
                }
            });
            self.lines = lines;
        }
        self.counters.succeeded(self.now.wall);
        Ok(true)
    }

    fn line(&mut self, line: &[u8]) {
        let Some(entry) = Entry::from_json(line) else {
            self.invalid += u64::from(!line.is_empty());
            return;
        };
        if entry.kernel {
            if self.kernel {
                self.observations += 1;
                self.kernel_entry(&entry);
            }
        } else {
            self.observations += 1;
            self.entry(&entry);
        }
        if !entry.cursor.is_empty() {
            self.cursor = entry.cursor;
        }
    }

    /// Goes on behind an entry that made [`Reading::line`] panic.
    #[cold]
    fn skip(&mut self, line: &[u8]) {
        self.invalid += 1;
        self.blocks.abandon(&mut self.events);
        self.scratch = Scratch::default();
        // Its cursor, unless it is the entry itself that can't be parsed.
        let entry = guarded(ID, b"", || Entry::from_json(line)).flatten();
        if let Some(cursor) = entry.map(|entry| entry.cursor)
            && !cursor.is_empty()
        {
            self.cursor = cursor;
        }
    }

    fn kernel_entry(&mut self, entry: &Entry) {
        let record = KernelRecord {
            text: &entry.message,
            form: Some(forms::form_of(&entry.message)),
            level: entry.level,
            subsystem: entry.subsystem.as_bytes(),
            device: entry.device.as_bytes(),
            time: entry.when().unwrap_or(self.now.wall),
            approximate: false,
            injected: false,
        };
        let (scratch, events) = (&mut self.scratch, &mut self.events);
        let from = events.len();
        if forward::kernel(self.context, &record, scratch, events) {
            self.matches += 1;
        }
        let at = Printed::at(record.time);
        let told = (&record, Printed { uptime: entry.uptime, ..at });
        let blocks = &mut self.blocks;
        forward::machine_check(
            self.context,
            told,
            from,
            blocks,
            scratch,
            events,
        );
    }

    fn entry(&mut self, entry: &Entry) {
        let mut fields = vec![("message", Value::Text(&entry.message))];
        if !entry.unit.is_empty() {
            fields.push(("unit", Value::Text(entry.unit.as_bytes())));
        }
        if !entry.identifier.is_empty() {
            let identifier = entry.identifier.as_bytes();
            fields.push(("identifier", Value::Text(identifier)));
        }
        if let Some(level) = entry.level {
            let word = LEVELS[usize::from(level)];
            fields.push(("level", Value::Word(word)));
        }
        let observation = Observation {
            patterns: Source::Journal,
            time: entry.when().unwrap_or(self.now.wall),
            approximate: false,
            injected: false,
            fields: &fields,
        };
        let matcher = &self.context.patterns.set().matcher;
        let (scratch, events) = (&mut self.scratch, &mut self.events);
        if matcher.observe(&observation, scratch, events) == Taken::Taken {
            self.matches += 1;
        }
    }

    fn flush(&mut self, must: bool) -> Result<(), Failure> {
        let take = std::mem::take::<u64>;
        let counters = &self.counters;
        Counters::add(&counters.observations, take(&mut self.observations));
        Counters::add(&counters.matches, take(&mut self.matches));
        Counters::add(&counters.invalid, take(&mut self.invalid));
        let now = self.now.boot;
        let (scratch, events) = (&mut self.scratch, &mut self.events);
        let when = (now, must);
        let blocks = &mut self.blocks;
        if forward::holds(self.context, when, blocks, scratch, events) {
            return Ok(());
        }
        let due = self.cursor != self.marked
            && (must || now.since(self.marked_at) >= MARK_EVERY);
        if self.events.is_empty() && !due {
            return Ok(());
        }
        let mut events = std::mem::take(&mut self.events);
        self.scratch.take_notes(&mut events);
        self.marked.clone_from(&self.cursor);
        self.marked_at = now;
        let position =
            (!self.cursor.is_empty()).then(|| position(self.cursor.clone()));
        Ok(self.context.send(&self.id, events, position)?)
    }
}
