//! The table of faults: by pattern and part, bounded, with a note of what
//! changed since it was last written down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fault::{Fault, FaultKey, Phase};
use super::room::Room;
use crate::parts::ids::PartId;
use crate::patterns::set::Severity;
use crate::signal::Truth;
use crate::time::Uptime;

/// The most faults kept. A machine has some hundred parts that fail; more
/// means that a pattern takes something for a part that is none. Each takes
/// some kilobytes (`room.rs`).
pub const FAULTS_MAX: usize = 1024;

/// How many fatal ones are kept beyond those: a flood of lesser faults must
/// not hide the one for which a node has to be emptied.
const FATAL_MORE: usize = 64;

/// How many go at once when the table is full, so that a flood of new parts
/// does not search the whole table for each of them.
const EVICTED_AT_ONCE: usize = 64;

/// A fault and what is known of it in this process only.
#[derive(Debug)]
pub(super) struct Row {
    /// The fault.
    pub fault: Fault,
    /// What a state source last said of it.
    pub truth: Truth,
    /// Whether a drill said so.
    pub drilled: bool,
    /// When an observation last touched it.
    pub touched: Uptime,
}

impl Row {
    /// A row of which no source has said anything in this process.
    pub fn new(fault: Fault, now: Uptime) -> Row {
        Row { fault, truth: Truth::Unknown, drilled: false, touched: now }
    }

    /// Whether it may make room for another: it is not raised, and is not
    /// the only memory of a state that still holds.
    fn is_evictable(&self) -> bool {
        matches!(self.fault.phase, Phase::Tolerated | Phase::Cleared)
            && self.truth != Truth::True
    }
}

/// All rows, in the order of their keys.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<Arc<str>, BTreeMap<PartId, Row>>,
    len: usize,
    dirty: BTreeSet<FaultKey>,
}

impl Table {
    pub fn iter(&self) -> impl Iterator<Item = &Row> {
        self.rows.values().flat_map(BTreeMap::values)
    }

    /// All rows, to run their stopwatches; marks nothing.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Row> {
        self.rows.values_mut().flat_map(BTreeMap::values_mut)
    }

    /// The rows of one pattern.
    pub fn of(&self, pattern: &str) -> impl Iterator<Item = &Row> {
        self.rows.get(pattern).into_iter().flat_map(BTreeMap::values)
    }

    /// The keys of the rows for which `wanted` holds.
    pub fn keys(&self, wanted: impl Fn(&Row) -> bool) -> Vec<FaultKey> {
        let rows = self.iter().filter(|row| wanted(row));
        rows.map(|row| row.fault.key.clone()).collect()
    }

    pub fn get(&self, key: &FaultKey) -> Option<&Row> {
        self.rows.get(&key.pattern)?.get(&key.part)
    }

    /// A row that is about to change.
    pub fn get_mut(&mut self, key: &FaultKey) -> Option<&mut Row> {
        let row = self.rows.get_mut(&key.pattern)?.get_mut(&key.part)?;
        self.dirty.insert(key.clone());
        Some(row)
    }

    /// Puts a new row in; false if there is no room for it.
    #[must_use]
    pub fn insert(&mut self, row: Row, evicted: &mut u64) -> bool {
        let key = row.fault.key.clone();
        let limit = match row.fault.severity {
            Severity::Fatal => FAULTS_MAX + FATAL_MORE,
            _ => FAULTS_MAX,
        };
        if self.len >= FAULTS_MAX && self.get(&key).is_none() {
            *evicted += self.evict();
            if self.len >= limit {
                return false;
            }
        }
        self.place(key, row);
        true
    }

    /// Puts a row in that was in a table before, of this process or of
    /// another; false if it was a larger one.
    #[must_use]
    pub fn put_back(&mut self, row: Row) -> bool {
        let key = row.fault.key.clone();
        if self.len >= FAULTS_MAX + FATAL_MORE && self.get(&key).is_none() {
            return false;
        }
        self.place(key, row);
        true
    }

    fn place(&mut self, key: FaultKey, row: Row) {
        self.dirty.insert(key.clone());
        let rows = self.rows.entry(key.pattern).or_default();
        if rows.insert(key.part, row).is_none() {
            self.len += 1;
        }
    }

    /// Forgets a row.
    pub fn remove(&mut self, key: &FaultKey) -> Option<Row> {
        let rows = self.rows.get_mut(&key.pattern)?;
        let row = rows.remove(&key.part)?;
        if rows.is_empty() {
            self.rows.remove(&key.pattern);
        }
        self.len -= 1;
        self.dirty.insert(key.clone());
        Some(row)
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// What each fault may take among so many.
    pub fn room(&self) -> Room {
        Room::among(self.len)
    }

    /// Makes all faults fit; returns how many values of windows had to go.
    pub fn fit_all(&mut self) -> u64 {
        let room = self.room();
        self.iter_mut().map(|row| room.fit(&mut row.fault)).sum()
    }

    /// Notes a change that did not go through [`Table::get_mut`].
    pub fn touch(&mut self, key: FaultKey) {
        self.dirty.insert(key);
    }

    /// What changed since the last call.
    pub fn take_dirty(&mut self) -> BTreeSet<FaultKey> {
        std::mem::take(&mut self.dirty)
    }

    /// Forgets the oldest rows that are not raised; those that a relapse
    /// would be judged by go last.
    fn evict(&mut self) -> u64 {
        let mut oldest: Vec<_> = self
            .iter()
            .filter(|row| row.is_evictable())
            .map(|row| &row.fault)
            .map(|f| {
                let past = f.on_probation() || !f.relapses.is_empty();
                (past, f.last_seen, f.key.clone())
            })
            .collect();
        oldest.sort();
        oldest.truncate(EVICTED_AT_ONCE);
        for (_, _, key) in &oldest {
            self.remove(key);
        }
        oldest.len() as u64
    }
}
