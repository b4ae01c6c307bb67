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

use super::gathered::Gathered;
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
    /// Matches of a flood that were not counted.
    pub left_out: u64,
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
        if self.left_out > 0 {
            write!(f, ", {} of a flood not counted", self.left_out)?;
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
    let (mut gathered, is_late) = gather(&receiver);
    let unread = if is_late { running.unfinished() } else { vec![] };
    running.stop();
    drop(receiver);
    for id in unread {
        let why = format!("not read to its end in {} s", PATIENCE.as_secs());
        gathered.health.insert(id, Health::Down(why));
    }
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
    let (state, reason) = match gathered.shortfall(id) {
        Some(why) if state == "read" => ("unknown", Some(why)),
        _ => (state, reason),
    };
    let counters = stats.of(id);
    Reading {
        source: id.to_string(),
        state,
        reason,
        records: counters.observations.load(Relaxed),
        lost: counters.lost.load(Relaxed),
        left_out: gathered.left_out.get(id).copied().unwrap_or(0),
        invalid: counters.invalid.load(Relaxed),
        since: since.filter(|_| state == "read").map(|t| t.to_string()),
    }
}

/// Takes everything until all sources have ended, or their time is over.
/// Says whether it is.
fn gather(receiver: &Receiver<Message>) -> (Gathered, bool) {
    let mut gathered = Gathered::default();
    let end = clock::boot().plus(PATIENCE);
    loop {
        let message = match receiver.recv_timeout(end.since(clock::boot())) {
            Ok(message) => message,
            Err(why) => return (gathered, why == RecvTimeoutError::Timeout),
        };
        match message {
            Message::Health(id, health) => {
                gathered.health.insert(id, health);
            }
            Message::Gone(id) => {
                gathered.health.remove(&id);
            }
            Message::Batch(batch) => {
                for event in batch.events {
                    gathered.take(&batch.id, batch.source, event);
                }
            }
            // Nobody but the sources has the other end.
            _ => {}
        }
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
