//! The pass itself: every configured source reads what there is and ends.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use serde::Serialize;

use crate::clock;
use crate::config::Config;
use crate::observation::Source;
use crate::parts::census::Census;
use crate::patterns::set::PatternSet;
use crate::queue::{Message, queue};
use crate::signal::{Event, Health, SourceId};
use crate::sources::{
    self, PatternsCell, Setup, Shared, Stats, Stop, Unexplained,
};
use crate::time::Timestamp;

/// How long the sources have. A journal of months takes seconds; what takes
/// longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long they have to end when they are told to.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// Matches kept; past that the oldest sort of trouble is known well enough,
/// and a flood must not fill the memory.
const EVENTS_MAX: usize = 100_000;

/// What one source found, and when it happened.
#[derive(Clone, Debug)]
pub struct Found {
    /// When.
    pub time: Timestamp,
    /// Where.
    pub source: Source,
    /// What.
    pub event: Event,
}

/// How reading one source went.
#[derive(Clone, Debug, Serialize)]
pub struct Reading {
    /// The source.
    pub source: String,
    /// `read`, `unknown` (should be readable here and isn't) or `absent`.
    pub state: &'static str,
    /// Why not.
    pub reason: Option<String>,
    /// Records read.
    pub records: u64,
    /// Records lost before they could be read.
    pub lost: u64,
    /// Records that could not be understood.
    pub invalid: u64,
    /// The time of the oldest record, where it is known.
    pub since: Option<String>,
}

/// As people read it.
impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.reason.as_deref().unwrap_or_default();
        if self.state != "read" {
            return write!(f, "{}: {}: {reason}", self.source, self.state);
        }
        write!(f, "{}: read {} record(s)", self.source, self.records)?;
        if let Some(since) = &self.since {
            write!(f, ", since {since}")?;
        }
        if self.lost > 0 {
            write!(f, ", {} lost before", self.lost)?;
        }
        if self.invalid > 0 {
            write!(f, ", {} not understood", self.invalid)?;
        }
        Ok(())
    }
}

/// What all sources found.
#[derive(Clone, Debug)]
pub struct Pass {
    /// In the order in which it happened.
    pub events: Vec<Found>,
    /// How each source went, in the order of the table of sources.
    pub readings: Vec<Reading>,
    /// The census of parts, if one was taken.
    pub census: Option<Arc<Census>>,
}

/// Lets every source read once.
///
/// # Errors
/// No thread could be made.
pub fn pass(config: &Config, set: &Arc<PatternSet>) -> anyhow::Result<Pass> {
    let (sender, receiver) = queue();
    let stats = Arc::new(Stats::default());
    let shared = Shared {
        queue: sender,
        patterns: Arc::new(PatternsCell::new(Arc::clone(set))),
        stats: Arc::clone(&stats),
        unexplained: Arc::new(Unexplained::default()),
        stop: Stop::new()?,
        committed: None,
        once: true,
    };
    let setups = crate::run::setups(config);
    let ids: Vec<_> = setups.iter().map(Setup::id).collect();
    let since = oldest_record(&config.root, &setups);
    let running = sources::start(setups, &shared, &BTreeMap::new())?;
    drop(shared); // the queue ends when the last source does
    let mut gathered = gather(&receiver);
    running.stop();
    drop(receiver);
    for id in running.join(Some(END_PATIENCE)) {
        let why = format!("it hangs: no end within {} s", PATIENCE.as_secs());
        gathered.health.insert(id, Health::Down(why));
    }
    let mut readings = Vec::new();
    for id in &ids {
        // Instances of a source (`file:/var/log/messages`) tell for it.
        let instance = |name: &str| {
            name.strip_prefix(&**id) == Some("")
                || name.starts_with(&format!("{id}:"))
        };
        let mut names: Vec<SourceId> =
            gathered.health.keys().filter(|n| instance(n)).cloned().collect();
        if names.is_empty() {
            names.push(Arc::clone(id));
        }
        for name in names {
            let since = if &*name == "kmsg" { since } else { None };
            readings.push(reading(&name, &gathered, &stats, since));
        }
    }
    gathered.events.sort_by_key(|found| found.time);
    let census = gathered.census;
    Ok(Pass { events: gathered.events, readings, census })
}

fn reading(
    id: &SourceId,
    gathered: &Gathered,
    stats: &Stats,
    since: Option<Timestamp>,
) -> Reading {
    let (state, reason) = match gathered.health.get(id) {
        Some(Health::Up) => ("read", None),
        Some(Health::Absent(why)) => ("absent", Some(why.clone())),
        Some(Health::Down(why)) => ("unknown", Some(why.clone())),
        None => ("unknown", Some("it said nothing".to_owned())),
    };
    let counters = stats.of(id);
    Reading {
        source: id.to_string(),
        state,
        reason,
        records: counters.observations.load(Relaxed),
        lost: counters.lost.load(Relaxed),
        invalid: counters.invalid.load(Relaxed),
        since: since.filter(|_| state == "read").map(|t| t.to_string()),
    }
}

/// What came over the queue.
#[derive(Debug, Default)]
struct Gathered {
    events: Vec<Found>,
    health: BTreeMap<SourceId, Health>,
    census: Option<Arc<Census>>,
}

/// Takes everything until all sources have ended.
fn gather(receiver: &Receiver<Message>) -> Gathered {
    let mut gathered = Gathered::default();
    let end = clock::boot().plus(PATIENCE);
    loop {
        let left = end.since(clock::boot());
        let message = match receiver.recv_timeout(left) {
            Ok(message) => message,
            Err(RecvTimeoutError::Disconnected) => return gathered,
            Err(RecvTimeoutError::Timeout) => return gathered,
        };
        match message {
            Message::Health(id, health) => {
                gathered.health.insert(id, health);
            }
            Message::Batch(batch) => {
                for event in batch.events {
                    if let Event::Census(census) = event {
                        gathered.census = Some(census);
                        continue;
                    }
                    let Some(time) = time_of(&event) else { continue };
                    if gathered.events.len() < EVENTS_MAX {
                        let source = batch.source;
                        gathered.events.push(Found { time, source, event });
                    }
                }
            }
            // Nobody but the sources has the other end.
            _ => {}
        }
    }
}

fn time_of(event: &Event) -> Option<Timestamp> {
    match event {
        Event::Match(signal) | Event::State(signal, _) => Some(signal.time),
        Event::Suppressed { time, .. } => Some(*time),
        // Counted by the source; kept apart.
        Event::Notes { .. } | Event::Gap { .. } | Event::Census(_) => None,
    }
}

/// When the oldest record of the ring was printed. Its time counts from the
/// boot by a clock that stops in suspend.
fn oldest_record(root: &Path, setups: &[Setup]) -> Option<Timestamp> {
    let kmsg = |s: &Setup| s.source() == Source::Kmsg;
    setups.iter().find(|s| kmsg(s))?;
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(root.join("dev/kmsg"))
        .ok()?;
    let mut record = vec![0; 16 * 1024];
    let length = file.read(&mut record).ok()?;
    let head = std::str::from_utf8(&record[..length.min(64)]).ok();
    let us: u64 = head?.split(',').nth(2)?.parse().ok()?;
    let age = clock::monotonic().checked_sub(us)?;
    Some(clock::now().wall.minus(Duration::from_micros(age)))
}
