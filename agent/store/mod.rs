//! The store: faults, source positions and the history of changes, in one
//! SQLite database under the state directory.
//!
//! Here are the types and the file's own rules; `database.rs` opens and
//! writes (`aside.rs` renames what is damaged), `writer.rs` is the thread that
//! does so, `committed.rs` says whose position it wrote, `read.rs` is how
//! everybody else reads it, as it lies on the disk (`wal.rs`).
//!
//! Invariant: counts and positions reach the disk in one transaction.
//! Invariant: nothing here ever makes the ledger's thread wait for a disk.

mod aside;
mod committed;
mod database;
mod read;
mod wal;
mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

pub use committed::Committed;
pub use database::{OURS, SCHEMA};
pub use read::{read, read_history, read_on};
pub use writer::{Status, Store};

use crate::ledger::fault::{Fault, FaultKey};
use crate::ledger::{Change, ChangeKind, FAULTS_MAX};
use crate::signal::{Position, SourceId};

/// The database's name in the state directory.
pub const FILE: &str = "state.db";

/// How many changes the history keeps; at some hundred bytes each it stays
/// within a few megabytes, and holds years of an ordinary node.
pub const HISTORY_ROWS: u64 = 10_000;

/// How many changes are loaded at start and kept in memory.
pub const HISTORY_RECENT: usize = 256;

/// How many changes wait to be written: a full table of faults may open and
/// end at once. More are dropped, oldest first, and counted.
pub const HISTORY_PENDING: usize = 2300;

/// How many changed faults wait for a disk that doesn't write. Those that
/// hold are fewer (`ledger::FAULTS_MAX`): the rest are forgotten ones.
const FAULTS_PENDING: usize = 4 * FAULTS_MAX;

/// One line of the history: a change, as people and the JSON API see it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryEntry {
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// What: opened, escalated, eased, recovering, interrupted, explained, cleared,
    /// moved, merged,
    /// off-probation, withdrawn, or `cloned disk` for a fault that the store
    /// brought from another machine.
    pub change: String,
    /// The fault's short id.
    pub id: String,
    /// The pattern.
    pub pattern: String,
    /// The component group.
    pub component: String,
    /// The part, as people call it.
    pub part: String,
    /// Where it sat then.
    pub place: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// info, warning, error or fatal, after the change.
    pub severity: String,
    /// One sentence.
    pub summary: String,
    /// Errors since it opened.
    pub count: u64,
    /// What ended it.
    pub proof: Option<String>,
    /// Why a person cleared it, or where it was before it moved.
    pub why: Option<String>,
    /// The fault that explains it, `pattern part`.
    pub explained_by: Option<String>,
    /// Whether it came back after a proof.
    pub relapse: bool,
    /// Whether a drill opened it.
    pub injected: bool,
}

impl HistoryEntry {
    /// The entry for a change.
    pub fn of(change: &Change) -> HistoryEntry {
        let mut entry = HistoryEntry::about(&change.fault);
        entry.time = change.time.to_string();
        entry.change = change.kind.word().to_owned();
        match &change.kind {
            ChangeKind::Opened { relapse } => entry.relapse = *relapse,
            ChangeKind::Explained { .. } => {
                entry.explained_by = change.fault.cause();
            }
            ChangeKind::Moved { from } => {
                entry.why = Some(format!("was in {from}"));
            }
            ChangeKind::Merged { into } => {
                entry.why = Some(format!("is the fault on {into}"));
            }
            ChangeKind::Cleared(proof) => {
                entry.proof = Some(proof.to_string());
                entry.why = proof.why();
            }
            _ => {}
        }
        entry
    }

    /// The entry for a fault that another machine's store brought along.
    fn cloned(fault: &Fault) -> HistoryEntry {
        HistoryEntry {
            time: fault.last_seen.to_string(),
            change: "cloned disk".to_owned(),
            ..HistoryEntry::about(fault)
        }
    }

    fn about(fault: &Fault) -> HistoryEntry {
        let about = fault.about.as_ref();
        HistoryEntry {
            id: fault.id(),
            pattern: fault.key.pattern.to_string(),
            component: fault.component.to_string(),
            part: fault.name().to_string(),
            place: about.and_then(|a| a.place.clone()),
            serial: about.and_then(|a| a.serial.clone()),
            severity: fault.severity.word().to_owned(),
            summary: fault.summary.clone(),
            count: fault.count,
            injected: fault.injected,
            ..HistoryEntry::default()
        }
    }
}

/// What a store held when it was opened.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The faults.
    pub faults: Vec<Fault>,
    /// Where each source stood.
    pub positions: BTreeMap<SourceId, Position>,
    /// The last changes, oldest first, at most [`HISTORY_RECENT`].
    pub history: VecDeque<HistoryEntry>,
    /// What people must be told of the opening: a file set aside, a cloned
    /// disk, rows that could not be read.
    pub notes: Vec<String>,
}

impl Loaded {
    /// Adds newer changes to the last `limit`.
    fn add_history(&mut self, newer: VecDeque<HistoryEntry>, limit: usize) {
        self.history.extend(newer);
        while self.history.len() > limit {
            self.history.pop_front();
        }
    }
}

/// What waits to be written; latest wins.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    /// Changed faults; `None` is forgotten.
    pub faults: BTreeMap<FaultKey, Option<Fault>>,
    /// Positions that moved; an empty one is forgotten.
    pub positions: BTreeMap<SourceId, Position>,
    /// New history, oldest first.
    pub history: VecDeque<HistoryEntry>,
    /// Whether positions alone are in a hurry: a source's first one is.
    pub prompt: bool,
    /// Whether it is everything that there is, for a file begun anew.
    pub whole: bool,
}

impl Pending {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
            && self.positions.is_empty()
            && self.history.is_empty()
            && !self.whole
    }

    /// Whether only positions moved: no hurry.
    fn only_positions(&self) -> bool {
        self.faults.is_empty()
            && self.history.is_empty()
            && !self.prompt
            && !self.whole
    }

    /// Adds what is newer; returns how many history entries had no room.
    fn merge(&mut self, newer: Pending) -> u64 {
        self.faults.extend(newer.faults);
        if self.faults.len() > FAULTS_PENDING {
            // Rows that stay behind are tolerated at most, and forgotten
            // again after a restart.
            self.faults.retain(|_, fault| fault.is_some());
        }
        self.positions.extend(newer.positions);
        self.prompt |= newer.prompt;
        self.whole |= newer.whole;
        self.history.extend(newer.history);
        let mut dropped = 0;
        while self.history.len() > HISTORY_PENDING {
            self.history.pop_front();
            dropped += 1;
        }
        dropped
    }
}

/// The latest changes, in memory: they can be shown while the disk hangs.
#[derive(Debug, Default)]
pub struct Recent(Mutex<VecDeque<HistoryEntry>>);

impl Recent {
    /// Adds newer entries; the oldest make room.
    pub fn add(&self, entries: impl IntoIterator<Item = HistoryEntry>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(entries);
        while all.len() > HISTORY_RECENT {
            all.pop_front();
        }
    }

    /// The last `limit`, oldest first.
    pub fn last(&self, limit: usize) -> VecDeque<HistoryEntry> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let skip = all.len().saturating_sub(limit);
        all.iter().skip(skip).cloned().collect()
    }
}

impl Error {
    /// Whether somebody else is at it just now: an agent that is being
    /// killed, or one that starts in vain.
    fn is_contention(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
        match self {
            Error::Locked { .. } => true,
            Error::Sqlite { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(DatabaseBusy | DatabaseLocked)
            ),
            _ => false,
        }
    }
}

/// Why the store could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory can't be made or looked at.
    #[error("{}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite says no.
    #[error("{}: {source}", path.display())]
    Sqlite {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// It is damaged and could not be set aside.
    #[error("{}: damaged ({reason}), and can't be set aside: {why}",
        path.display())]
    SetAside {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// Why it stays where it is.
        why: String,
    },
    /// Another agent writes there.
    #[error("{}: another faultline uses this state directory",
        path.display())]
    Locked {
        /// The lock's file.
        path: PathBuf,
    },
    /// The file or its log was taken away, replaced or cut while it was open.
    #[error("{}: the file, or its log, was removed, replaced or cut",
        path.display())]
    Vanished {
        /// Which file.
        path: PathBuf,
    },
    /// A newer release wrote it in a way that this one can't read.
    #[error("{}: written by a newer release (schema {schema})",
        path.display())]
    TooNew {
        /// Which file.
        path: PathBuf,
        /// Its schema number.
        schema: i64,
    },
    /// There is no store.
    #[error("{}: there is no store", path.display())]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
}
