//! What the sources of error counters (`edac`, `aer`) have in common: they
//! read all counters at intervals, and make an observation of each that has
//! grown.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::time::Duration;

use super::owned::{Fields, borrow};
use super::stop::{Woken, wait};
use super::tally::{Grown, Tally};
use super::{Context, Counters, End, Failure, Poll};
use crate::clock;
use crate::observation::{Observation, Source, Value};
use crate::patterns::matcher::{Scratch, Taken};
use crate::probe::{PATIENCE, Probe};
use crate::signal::{Health, Position, SourceId};
use crate::time::Timestamp;
use crate::tree::{Progress, Tree};

const DAY: f64 = 86_400.0;

/// A counter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The device that keeps it, a word.
    pub device: String,
    /// Its name there.
    pub counter: String,
    /// Where it stands.
    pub value: u64,
    /// How long ago it began at zero, where the device says that.
    pub age: Option<Duration>,
    /// Whether it is the sum of finer ones that were read too.
    pub sum: bool,
    /// Where the device hangs in the tree, where that matters.
    pub path: String,
    /// What it counts.
    pub fields: Fields,
}

impl Reading {
    fn key(&self) -> String {
        format!("{} {}", self.device, self.counter)
    }
}

/// The counters that did not stand at zero when they were last read.
#[derive(Clone, Debug, Default)]
pub struct Known(BTreeSet<String>);

impl Known {
    /// Whether any counter of the device did.
    pub fn has(&self, device: &str) -> bool {
        let mut after = self.0.range(device.to_owned()..);
        let rest = after.next().and_then(|key| key.strip_prefix(device));
        rest.is_some_and(|rest| rest.starts_with(' '))
    }
}

/// All counters, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// Those that do not stand at zero, or did not when last read.
    pub readings: Vec<Reading>,
    /// How many devices could be read.
    pub devices: usize,
    /// What is there and could not be read; why.
    pub failed: Vec<String>,
    /// How long the machine has been up.
    pub uptime: Option<Duration>,
}

impl Look {
    /// Adds a counter; `fields` is asked what it counts if that matters.
    pub fn add(
        &mut self,
        known: &Known,
        reading: Reading,
        fields: impl FnOnce() -> Fields,
    ) {
        // Nearly all stand at zero for ever.
        if reading.value > 0 {
            self.readings.push(Reading { fields: fields(), ..reading });
        } else if known.0.contains(&reading.key()) {
            self.readings.push(reading);
        }
    }

    /// Notes how reading a device's counters went.
    pub fn note(&mut self, device: &str, read: io::Result<()>) {
        match read {
            Ok(()) => self.devices += 1,
            // It went away while it was read.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) if e.raw_os_error() == Some(nix::libc::ENODEV) => {}
            Err(e) => {
                self.failed.push(format!("failed to read {device}: {e}"));
            }
        }
    }
}

/// A counter that has grown.
#[derive(Clone, Debug)]
pub struct Growth {
    /// The counter.
    pub reading: Reading,
    /// By how much.
    pub grown: Grown,
}

/// One sort of counters.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Which source they are.
    pub source: Source,
    /// Reads them all; an error says why there are none here.
    pub look: fn(&Tree, &Known) -> Result<Look, String>,
    /// Drops growth that other growth tells of too.
    pub sift: fn(&mut Vec<Growth>),
}

/// Reads the counters until told to stop.
///
/// # Errors
/// When the ledger is gone, or this boot has no id.
pub fn run(
    kind: Kind,
    options: &Poll,
    context: &mut Context,
) -> Result<End, Failure> {
    let id = SourceId::from(kind.source.name());
    let boot = options.boot_id()?;
    let mut tally = Tally::resume(context.positions.get(&id), &boot);
    let mut probe = Probe::default();
    loop {
        let root = options.root.clone();
        let known = Known(tally.counting());
        let question = move |progress: Progress| {
            let tree = Tree::new(&root, progress.clone());
            ((kind.look)(&tree, &known), progress.refused())
        };
        let look = match probe.ask(PATIENCE, question) {
            Ok((Ok(mut look), refused)) => {
                if look.failed.is_empty() {
                    look.failed.extend(refused);
                }
                Some(look)
            }
            Ok((Err(_), Some(refused))) => {
                context.tell(&id, Health::Down(refused))?;
                None
            }
            Ok((Err(absent), None)) => return Ok(End::Absent(absent)),
            Err(hangs) => {
                context.tell(&id, Health::Down(hangs))?;
                None
            }
        };
        if let Some(look) = look {
            tell_health(&id, &look, context)?;
            take(kind, &id, look, &mut tally, context)?;
        }
        if context.once {
            return Ok(End::Stopped);
        }
        if wait(&context.stop, None, Some(options.every)) == Woken::Stop {
            return Ok(End::Stopped);
        }
        context.patterns.refresh();
    }
}

/// One device that can't be read makes the source as a whole blind: its
/// silence must not pass for health.
fn tell_health(
    id: &SourceId,
    look: &Look,
    context: &mut Context,
) -> Result<(), Failure> {
    let Some(first) = look.failed.first() else {
        return Ok(context.up(id)?);
    };
    let more = look.failed.len() - 1;
    let why = match more {
        0 => first.clone(),
        more => format!("{first}; and {more} more"),
    };
    Ok(context.tell(id, Health::Down(why))?)
}

/// Sends what has grown, and where all counters stand.
fn take(
    kind: Kind,
    id: &SourceId,
    look: Look,
    tally: &mut Tally,
    context: &mut Context,
) -> Result<(), Failure> {
    let now = clock::now().wall;
    let counters = context.counters(id);
    Counters::add(&counters.observations, look.readings.len() as u64);
    let uptime = look.uptime;
    let growth = grow(kind, look, tally, now);
    let mut scratch = Scratch::default();
    let mut events = Vec::new();
    for growth in &growth {
        let (fields, span) = fields(growth, uptime);
        let observation = Observation {
            patterns: kind.source,
            time: now,
            // Nobody knows when within the span.
            approximate: span > PATIENCE * 6,
            injected: false,
            fields: &fields,
        };
        let matcher = &context.patterns.set().matcher;
        let taken = matcher.observe(&observation, &mut scratch, &mut events);
        Counters::add(&counters.matches, u64::from(taken == Taken::Taken));
    }
    counters.succeeded(now);
    let position: Option<Position> = tally.done(now);
    if !events.is_empty() || position.is_some() {
        context.send(id, events, position)?;
    }
    Ok(())
}

/// Which counters have grown, and by how much.
fn grow(
    kind: Kind,
    look: Look,
    tally: &mut Tally,
    now: Timestamp,
) -> Vec<Growth> {
    let mut growth = Vec::new();
    for reading in look.readings {
        let grown = tally.read(&reading.key(), reading.value, now);
        if let Some(grown) = grown {
            growth.push(Growth { reading, grown });
        }
    }
    (kind.sift)(&mut growth);
    growth
}

/// The observation's fields: what the counter counts, by how much it has
/// grown, and within how long at most.
fn fields(
    growth: &Growth,
    uptime: Option<Duration>,
) -> (Vec<(&'static str, Value<'_>)>, Duration) {
    let Growth { reading, grown } = growth;
    let span = grown.within.or(reading.age).or(uptime).unwrap_or_default();
    let count = grown.by as f64;
    // More within less than a day are no more than that in a day.
    let days = (span.as_secs_f64() / DAY).max(1.0);
    let mut fields = borrow(&reading.fields);
    fields.push(("count", Value::Number(count)));
    fields.push(("span", Value::Number(span.as_secs_f64().round())));
    fields.push(("day", Value::Number((count / days).round())));
    (fields, span)
}
