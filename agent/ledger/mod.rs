//! The ledger: every fault and its life. Pure and synchronous; time comes in
//! with each step, and what the world is told comes out as changes.
//!
//! `step` takes inputs apart, `state` is for what state sources tell,
//! `recovery` for what proves, `suppressed` for lines that were left out;
//! `tolerance` counts, `life` has the transitions, `proof` says what ends a
//! fault, `suppress` folds symptoms into causes, `escalate` and `siblings`
//! judge severity and find common parents, `timers` does what is due,
//! `census` binds faults to parts, `reload` holds faults against a pattern
//! set, `operator` is what people ask, `table` and `room` bound it all, and
//! `desired` makes of the faults what the node should look like.
//!
//! Invariant: no clock, no I/O, no async below this module; nothing depends
//! on the order of a hash map.

pub mod desired;
pub mod fault;

mod census;
mod escalate;
mod life;
mod operator;
mod proof;
mod recovery;
mod reload;
mod room;
mod siblings;
mod state;
mod step;
mod suppress;
mod suppressed;
mod table;
mod timers;
mod tolerance;
pub mod twins;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::parts::census::Census;
use crate::parts::ids::PartId;
use crate::patterns::set::{PatternSet, Stage};
use crate::signal::{Batch, Health, SourceId};
use crate::time::{BootId, Now, Timestamp, Uptime};
use fault::{Ended, Fault, FaultKey};
use recovery::Early;
pub use table::FAULTS_MAX;
use table::Table;

/// A fault with so many relapses in 30 days is `recurring`: only `replaced`
/// or a person clears it.
pub const RECURRING_RELAPSES: usize = 3;

/// The most relapses of a fault that are remembered; more than any
/// escalation can sensibly ask for.
const RELAPSES_KEPT: usize = 32;

/// What the ledger is stepped with.
#[derive(Clone, Debug)]
pub enum Input {
    /// What a source saw.
    Batch(Batch),
    /// A source came up, went down, or cannot exist here.
    Health(SourceId, Health),
    /// An instance of a source is gone.
    Gone(SourceId),
    /// A new pattern set is in force.
    Patterns(Arc<PatternSet>),
    /// What the census knew when it was last written down: names, but not
    /// who is there.
    Census(Arc<Census>),
    /// Time has passed.
    Tick,
}

/// What a person may ask of the ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Ends a fault.
    Clear {
        /// The fault's id, or `pattern part`, or a part with one fault.
        fault: String,
        /// Who asked.
        by: String,
        /// Why.
        why: String,
        /// Whether the part is said to have been replaced.
        replaced: bool,
        /// Clears although the failed serial is still present.
        force: bool,
    },
}

/// What became of a fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It holds (again, if `relapse`).
    Opened {
        /// Whether it came back after a proof.
        relapse: bool,
    },
    /// Severity or quarantine rose.
    Escalated,
    /// Severity or quarantine fell: what had raised it holds no more.
    Eased,
    /// Its proof has begun.
    Recovering,
    /// Its proof was interrupted; it holds as before.
    Interrupted,
    /// It was folded into its cause.
    Explained {
        /// The cause.
        by: FaultKey,
    },
    /// It is over.
    Cleared(Ended),
    /// Its part was found in another place, or under another name.
    Moved {
        /// Where it was.
        from: String,
    },
    /// It turned out to be on the part of another fault of its pattern.
    Merged {
        /// That fault's part.
        into: PartId,
    },
    /// Its probation is over.
    OffProbation,
    /// Its pattern was removed or disabled.
    Withdrawn,
}

impl ChangeKind {
    /// The word used in logs, metrics and history.
    pub fn word(&self) -> &'static str {
        match self {
            ChangeKind::Opened { .. } => "opened",
            ChangeKind::Escalated => "escalated",
            ChangeKind::Eased => "eased",
            ChangeKind::Recovering => "recovering",
            ChangeKind::Interrupted => "interrupted",
            ChangeKind::Explained { .. } => "explained",
            ChangeKind::Cleared(_) => "cleared",
            ChangeKind::Moved { .. } => "moved",
            ChangeKind::Merged { .. } => "merged",
            ChangeKind::OffProbation => "off-probation",
            ChangeKind::Withdrawn => "withdrawn",
        }
    }
}

/// One change, with the fault as it is after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When, by the wall clock; for an opening, the time of the observation.
    pub time: Timestamp,
    /// What.
    pub kind: ChangeKind,
    /// The fault after the change.
    pub fault: Fault,
}

/// What a ledger is told once.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node's name; with a pattern's name it decides the rollout.
    pub node: String,
    /// This boot of the machine.
    pub boot: BootId,
    /// The agent's mode, which caps the stage of every pattern.
    pub mode: Stage,
}

/// What the ledger has counted since it was made.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
pub struct Stats {
    /// Tolerated and cleared faults forgotten to make room.
    pub evicted: u64,
    /// Values of `same` and `distinct` that had no room.
    pub dropped_values: u64,
    /// Observations that opened nothing because the table was full of
    /// raised faults.
    pub refused: u64,
    /// Errors behind "callbacks suppressed" that belonged to no part.
    pub unplaced: u64,
    /// Signals of patterns that are not in force (any more).
    pub unknown: u64,
    /// Notes: matches of severity info.
    pub notes: u64,
    /// Records that sources lost.
    pub lost: u64,
    /// How often all faults were looked after, which costs the more the more
    /// there are: not at an ordinary record.
    #[serde(skip)]
    pub upkeeps: u64,
}

/// How often the rows of running stopwatches are due for the store: after
/// power loss a proof has at most so much less behind it.
pub const TIMED_ROWS_EVERY: Duration = Duration::from_secs(300);

/// Every fault and its life.
#[derive(Debug)]
pub struct Ledger {
    set: Arc<PatternSet>,
    /// For each suppressed pattern, the patterns that explain it.
    causes: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    options: Options,
    table: Table,
    /// Every part with its names; empty where nobody takes a census.
    census: Arc<Census>,
    /// Whether there is a census in this process: only then can a part be
    /// gone.
    has_census: bool,
    /// The sources that are up; at start none is.
    up: BTreeSet<SourceId>,
    /// The latest observation of each source, which makes its times
    /// monotone.
    clocks: BTreeMap<SourceId, Timestamp>,
    now: Now,
    changes: Vec<Change>,
    /// How many transitions there were: the upkeep ends when this rests.
    moves: u64,
    /// When the next thing is due; before that nothing needs upkeep.
    due: Option<Uptime>,
    /// Whether a fault opened since symptoms were last held against causes.
    opened: bool,
    /// Proofs that came while what is stored could not be read; `None` where
    /// nothing is waited for.
    early: Option<Early>,
    /// When the rows of running stopwatches were last taken; `None` makes
    /// them due.
    timed_rows_taken: Option<Uptime>,
    stats: Stats,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(set: Arc<PatternSet>, options: Options) -> Ledger {
        Ledger {
            causes: suppress::causes(&set),
            set,
            options,
            table: Table::default(),
            census: Arc::default(),
            has_census: false,
            up: BTreeSet::new(),
            clocks: BTreeMap::new(),
            now: Now::default(),
            changes: Vec::new(),
            moves: 0,
            due: None,
            opened: false,
            early: None,
            timed_rows_taken: Some(Uptime::default()),
            stats: Stats::default(),
        }
    }

    /// Moves everything by one input and returns what changed.
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Change> {
        self.begin(now);
        match input {
            // Nearly every batch only moves its source's position.
            Input::Batch(batch) if batch.events.is_empty() => {
                return std::mem::take(&mut self.changes);
            }
            Input::Batch(batch) => {
                if !self.take_batch(batch) {
                    return std::mem::take(&mut self.changes);
                }
            }
            Input::Health(id, Health::Up) => {
                self.up.insert(id);
            }
            Input::Health(id, Health::Down(_) | Health::Absent(_)) => {
                self.up.remove(&id);
            }
            Input::Gone(id) => self.hand_over(&id),
            Input::Patterns(set) => self.reload(set),
            Input::Census(census) => self.take_census(census),
            Input::Tick => return std::mem::take(&mut self.changes),
        }
        self.finish()
    }

    /// Sets the time and does what was due before the input.
    fn begin(&mut self, now: Now) {
        let boot = self.now.boot.max(now.boot);
        self.now = Now { wall: now.wall, boot };
        if self.due.is_some_and(|due| due <= boot) {
            self.upkeep();
        }
    }

    /// Does what the input made due and hands out the changes.
    fn finish(&mut self) -> Vec<Change> {
        self.upkeep();
        std::mem::take(&mut self.changes)
    }

    /// The faults, ordered by key. Their stopwatches may run: read them with
    /// the present time.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.table.iter().map(|row| &row.fault)
    }

    /// One fault.
    pub fn get(&self, key: &FaultKey) -> Option<&Fault> {
        self.table.get(key).map(|row| &row.fault)
    }

    /// The rows that changed since the last call, for the store; `None` is a
    /// forgotten one. Whoever keeps a ledger calls this: until then it
    /// remembers every key that changed. What stopwatches have elapsed by `now` is written into
    /// them. Rows whose stopwatches run come at least every
    /// [`TIMED_ROWS_EVERY`], if this is called that often (`next_deadline`
    /// does not wake the caller for it), and after [`Ledger::rest`].
    pub fn take_dirty(&mut self, now: Now) -> Vec<(FaultKey, Option<Fault>)> {
        let mut keys = self.table.take_dirty();
        let resting = |taken| now.boot.since(taken) < TIMED_ROWS_EVERY;
        if !self.timed_rows_taken.is_some_and(resting) {
            self.timed_rows_taken = Some(now.boot);
            keys.extend(self.table.keys(|row| row.fault.is_timed()));
        }
        let row = |key: FaultKey| {
            let fault = self.get(&key).map(|fault| fault.at(now.boot));
            (key, fault)
        };
        keys.into_iter().map(row).collect()
    }

    /// The process ends: what its stopwatches have counted is not to be lost,
    /// or an agent that is often restarted never has a proof.
    pub fn rest(&mut self) {
        self.timed_rows_taken = None;
    }

    /// The pattern set in force.
    pub fn patterns(&self) -> &Arc<PatternSet> {
        &self.set
    }

    /// What was counted.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Tells the world of a change to the fault as it now is.
    fn tell(&mut self, key: &FaultKey, kind: ChangeKind) {
        let Some(fault) = self.get(key).cloned() else { return };
        let time = match (&kind, fault.opened) {
            (ChangeKind::Opened { .. }, Some(opened)) => opened,
            _ => self.now.wall,
        };
        self.moves += 1;
        self.changes.push(Change { time, kind, fault });
    }

    /// Forgets a fault without a word.
    fn forget(&mut self, key: &FaultKey) {
        self.table.remove(key);
        self.moves += 1;
    }
}
