//! Source `ipmi-sel`: the event log of a BMC, from where it was last read.
//!
//! Its position is the last record, as it stands in the log. A long log is
//! read a piece at a time, and each piece is committed; records that were
//! there before the agent ever was are history. While the BMC is silent the
//! source is down: silence of a log that nobody reads is no health.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::ipmi_sensor::{instance, is_there};
use super::{Context, Counters, End, Failure};
use crate::clock;
use crate::decode::ipmi::sel::{Body, Entry, Stamp};
use crate::decode::ipmi::sensor::Sensor;
use crate::ipmi::Way;
use crate::ipmi::events::{self, Found, Log, LogError, Mark, New};
use crate::observation::bmc::Logged;
use crate::observation::{Observation, Source};
use crate::patterns::matcher::{Scratch, Taken};
use crate::signal::{Event, Health, Position, SourceId};
use crate::time::Timestamp;

/// Records in one piece: one commit, and a second of a slow BMC's time.
const PIECE: usize = 32;

/// Between two pieces: the sensors want their turn.
const BETWEEN: Duration = Duration::from_millis(100);

/// How long the names of the sensors are waited for at the start.
const NAMES_PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether they are there.
const NAMES_NAP: Duration = Duration::from_millis(200);

/// A BMC's clock has whole seconds, and how far it is from ours is known as
/// exactly.
const CLOCK_GRAIN: Duration = Duration::from_secs(2);

/// What was logged before the agent ever ran, and longer ago than this, opens
/// nothing: logs are kept for years, and what is not over by now will be told
/// again, by a sensor or by another event.
const HISTORY_MAX: Duration = Duration::from_secs(86_400);

/// A clock further off than this is not the time of events: it was never
/// set, or to something else.
const SKEW_MAX_SECONDS: i64 = 20 * 365 * 86_400;

/// How the log of one BMC is read.
#[derive(Clone, Debug)]
pub struct Options {
    /// The BMC.
    pub way: Way,
    /// How often it is looked whether it has grown.
    pub every: Duration,
    /// The host's root, to tell why there is no BMC.
    pub root: PathBuf,
    /// When the agent started: what was logged later is no history.
    pub started: Timestamp,
}

impl Options {
    /// The name under which this one's health and position are told.
    pub fn id(&self) -> SourceId {
        instance(Source::IpmiSel, &self.way)
    }
}

/// Reads until told to stop.
///
/// # Errors
/// The BMC may not be asked, or the ledger is gone.
pub fn run(options: &Options, context: &mut Context) -> Result<End, Failure> {
    if let Err(not_there) = is_there(&options.way, &options.root) {
        return not_there.end();
    }
    let id = options.id();
    if !await_names(options, context) {
        return Ok(End::Stopped);
    }
    let mark = context.positions.get(&id);
    let mark = mark.and_then(|p| serde_json::from_str::<Mark>(&p.0).ok());
    let mut log = Log::new(mark);
    loop {
        let more = match look(options, &id, &mut log, context) {
            Ok(more) => more,
            Err(Trouble::Stopped) => return Ok(End::Stopped),
            Err(Trouble::Failure(failure)) => return Err(failure),
            Err(Trouble::Log(why)) => {
                context.tell(&id, Health::Down(why))?;
                false
            }
        };
        if context.once && !more {
            return Ok(End::Stopped);
        }
        let pause = if more { BETWEEN } else { options.every };
        if context.stop.sleep(pause) {
            return Ok(End::Stopped);
        }
        context.patterns.refresh();
    }
}

/// Why a look came to nothing.
enum Trouble {
    Stopped,
    Failure(Failure),
    Log(String),
}

/// Waits until it is known what the BMC's sensors are called; false if told
/// to stop.
fn await_names(options: &Options, context: &Context) -> bool {
    let end = clock::boot().plus(NAMES_PATIENCE);
    let way = &options.way;
    while clock::boot() < end {
        let board = way.board.look();
        let known = board.get(&way.name);
        if known.is_some_and(|b| !b.known.is_empty() || b.why.is_some()) {
            return true;
        }
        if context.stop.sleep(NAMES_NAP) {
            return false;
        }
    }
    true
}

/// Reads one piece; says whether there is more.
fn look(
    options: &Options,
    id: &SourceId,
    log: &mut Log,
    context: &mut Context,
) -> Result<bool, Trouble> {
    let way = &options.way;
    let mut link = way.link(&context.stop);
    let began = clock::boot();
    let before = log.mark();
    let read = link.with(|link| {
        let (info, found) = log.look(link, PIECE)?;
        let skew = match found.new.is_empty() {
            true => None,
            false => skew(events::clock(link)?),
        };
        Ok((info, found, skew))
    });
    let (info, found, skew) = read.map_err(|error: LogError| match error {
        LogError::Transport(crate::ipmi::TransportError::Stopped) => {
            Trouble::Stopped
        }
        other => {
            // What was read and not told is read again.
            *log = Log::new((before != Mark::default()).then_some(before));
            Trouble::Log(other.to_string())
        }
    })?;
    let took = clock::boot().since(began);
    way.board.update(&way.name, |bmc| {
        bmc.log = Some((info.entries, info.free));
        bmc.log_pass = took;
    });
    let closed = |closed: super::Closed| Trouble::Failure(closed.into());
    context.up(id).map_err(closed)?;
    let known = way.board.look().remove(&way.name).unwrap_or_default().known;
    take(options, id, &found, (skew, &known), log.mark(), context)
        .map_err(Trouble::Failure)?;
    Ok(found.more)
}

/// How far the BMC's clock is ahead of ours, if it can be the time at all.
fn skew(bmc: Option<u32>) -> Option<i64> {
    let ours = clock::now().wall.0 / 1_000_000;
    let ahead = i64::from(bmc?) - ours;
    (ahead.abs() < SKEW_MAX_SECONDS).then_some(ahead)
}

/// When an event happened by our clock, and whether that is a guess.
fn time(stamp: Stamp, skew: Option<i64>, now: Timestamp) -> (Timestamp, bool) {
    let (Stamp::At(seconds), Some(skew)) = (stamp, skew) else {
        return (now, true);
    };
    let ours = (i64::from(seconds) - skew) * 1_000_000;
    // Whole seconds: one that has just begun is not in the future.
    (Timestamp(ours).min(now), ours > now.0 + 2_000_000)
}

fn take(
    options: &Options,
    id: &SourceId,
    found: &Found,
    (skew, known): (Option<i64>, &Arc<Vec<Sensor>>),
    mark: Mark,
    context: &mut Context,
) -> Result<(), Failure> {
    let now = clock::now().wall;
    let counters = context.counters(id);
    Counters::add(&counters.observations, found.new.len() as u64);
    Counters::add(&counters.invalid, found.invalid);
    counters.succeeded(now);
    if found.begun_anew {
        tracing::info!(
            source = %id,
            "the event log was cleared, or has overwritten what was read"
        );
    }
    let (mut scratch, mut out) = (Scratch::default(), Vec::new());
    let way = &options.way;
    for (at, New { entry, history, over }) in found.new.iter().enumerate() {
        let (time, approximate) = time(entry.time, skew, now);
        // The first look comes a moment after the start.
        let began = options.started.plus(CLOCK_GRAIN);
        let history = *history && (approximate || time < began);
        let is_old = approximate || now.since(time) > HISTORY_MAX;
        if history && (is_old || has_ended(entry, &found.new[at + 1..])) {
            continue;
        }
        let mut logged = Logged::new(entry.clone(), sensor(entry, known));
        logged.part = way.part(logged.part);
        logged.over = *over;
        let fields = logged.fields(&way.name, history);
        let observation = Observation {
            patterns: Source::IpmiSel,
            time,
            approximate,
            injected: false,
            fields: &fields,
        };
        let set = context.patterns.set();
        let matcher = &set.matcher;
        let before = out.len();
        let taken = matcher.observe(&observation, &mut scratch, &mut out);
        if history {
            // One that is tolerated says nothing, and history does not count.
            let opened = out.split_off(before);
            out.extend(opened.into_iter().filter(|event| {
                !matches!(event, Event::Match(signal)
                    if set.get(&signal.pattern)
                        .is_some_and(|p| p.tolerate.is_some()))
            }));
        }
        Counters::add(&counters.matches, u64::from(taken == Taken::Taken));
    }
    let position = serde_json::to_string(&mark).map(Position);
    let position = position.expect("a mark has only text and numbers");
    if context.positions.get(id) != Some(&position) || !out.is_empty() {
        context.send(id, out, Some(position))?;
    }
    Ok(())
}

/// Whether what this record tells of was over before the log was first read.
fn has_ended(entry: &Entry, later: &[New]) -> bool {
    let Body::Event(event) = &entry.body else { return false };
    event.holds()
        && later.iter().any(|new| match &new.entry.body {
            Body::Event(other) => {
                other.key == event.key
                    && other.state() == event.state()
                    && !other.holds()
            }
            Body::Oem { .. } => false,
        })
}

/// The sensor that an entry is about, if its record is known.
fn sensor<'a>(entry: &Entry, known: &'a [Sensor]) -> Option<&'a Sensor> {
    match &entry.body {
        Body::Event(event) => known.iter().find(|sensor| sensor.tells(event)),
        Body::Oem { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(at: u16, number: u8, state: u8, is_over: bool) -> New {
        let over = if is_over { 0x80 } else { 0 };
        let mut raw = [0; 16];
        raw[..2].copy_from_slice(&at.to_le_bytes());
        raw[2..].copy_from_slice(&[
            2,
            0,
            0,
            0,
            0x60,
            0x20,
            0,
            4,
            8,
            number,
            0x6F | over,
            state,
            0xFF,
            0xFF,
        ]);
        let entry = crate::decode::ipmi::sel::parse(&raw).unwrap();
        New { entry, history: true, over: is_over }
    }

    #[test]
    fn what_ended_before_the_log_was_first_read_is_known_to_have() {
        let first = record(1, 0x32, 3, false).entry;
        let later = |new: New| has_ended(&first, &[new]);
        assert!(later(record(2, 0x32, 3, true)));
        assert!(!later(record(2, 0x32, 1, true)), "another state");
        assert!(!later(record(2, 0x31, 3, true)), "another sensor");
        assert!(!later(record(2, 0x32, 3, false)), "once more");
        assert!(!has_ended(&first, &[]));
    }

    #[test]
    fn the_time_of_an_event_is_ours_whatever_the_bmc_thinks() {
        let now = Timestamp(1_700_000_000_000_000);
        let at = |s: u32| Stamp::At(s);
        let (ours, guess) = time(at(1_700_003_600), Some(7200), now);
        assert_eq!((now.since(ours).as_secs(), guess), (3600, false));
        let (ours, guess) = time(at(1_700_000_001), Some(0), now);
        assert_eq!((ours, guess), (now, false));
        for (stamp, skew) in [
            (Stamp::None, Some(0)),
            (Stamp::SinceStart(5), Some(0)),
            (at(1), None),
        ] {
            assert_eq!(time(stamp, skew, now), (now, true));
        }
    }
}
