//! What the sources' threads share with the rest: the pattern set in force,
//! and counters that the metrics read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::patterns::set::PatternSet;
use crate::signal::SourceId;
use crate::time::Timestamp;

/// The pattern set in force. Readers keep a [`Local`] copy and look only at
/// the generation, so a line costs no lock.
#[derive(Debug)]
pub struct PatternsCell {
    set: Mutex<Arc<PatternSet>>,
    generation: AtomicU64,
}

impl PatternsCell {
    /// Puts a first set in force.
    pub fn new(set: Arc<PatternSet>) -> PatternsCell {
        PatternsCell { set: Mutex::new(set), generation: AtomicU64::new(0) }
    }

    /// Puts another set in force; threads see it at their next batch.
    pub fn replace(&self, set: Arc<PatternSet>) {
        *locked(&self.set) = set;
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The set in force.
    pub fn current(&self) -> Arc<PatternSet> {
        Arc::clone(&locked(&self.set))
    }
}

/// One thread's copy of the set in force.
#[derive(Clone, Debug)]
pub struct Local {
    cell: Arc<PatternsCell>,
    set: Arc<PatternSet>,
    generation: u64,
}

impl Local {
    /// A copy of what is in force now.
    pub fn new(cell: &Arc<PatternsCell>) -> Local {
        // The generation first: a set replaced in between is taken again.
        let generation = cell.generation.load(Ordering::Acquire);
        Local { cell: Arc::clone(cell), set: cell.current(), generation }
    }

    /// Takes a newer set, if there is one; says whether there was.
    pub fn refresh(&mut self) -> bool {
        let generation = self.cell.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.set = self.cell.current();
            self.generation = generation;
            return true;
        }
        false
    }

    /// The set as of the last refresh.
    pub fn set(&self) -> &PatternSet {
        &self.set
    }
}

/// One source's counters; they only grow, except the time.
#[derive(Debug, Default)]
pub struct Counters {
    /// Observations made: records, lines, entries, readings.
    pub observations: AtomicU64,
    /// Observations that at least one pattern took.
    pub matches: AtomicU64,
    /// Records lost before they could be read, exactly.
    pub lost: AtomicU64,
    /// Records that could not be understood.
    pub invalid: AtomicU64,
    /// How often it failed and was started again.
    pub restarts: AtomicU64,
    last_success: AtomicI64,
}

impl Counters {
    /// When it last read to the end of what there was; zero if never.
    pub fn last_success(&self) -> Timestamp {
        Timestamp(self.last_success.load(Ordering::Relaxed))
    }

    /// Notes that it has read to the end.
    pub fn succeeded(&self, now: Timestamp) {
        self.last_success.store(now.0, Ordering::Relaxed);
    }

    /// Adds a batch's worth to a counter.
    pub fn add(counter: &AtomicU64, n: u64) {
        if n != 0 {
            counter.fetch_add(n, Ordering::Relaxed);
        }
    }
}

/// Everyone's counters by source id.
#[derive(Debug, Default)]
pub struct Stats {
    by_id: Mutex<BTreeMap<SourceId, Arc<Counters>>>,
}

impl Stats {
    /// The counters of one source, made at the first call.
    pub fn of(&self, id: &SourceId) -> Arc<Counters> {
        let mut by_id = locked(&self.by_id);
        Arc::clone(by_id.entry(Arc::clone(id)).or_default())
    }

    /// Forgets the counters of a source that is gone.
    pub fn forget(&self, id: &SourceId) {
        locked(&self.by_id).remove(id);
    }

    /// All counters, in the order of their ids.
    pub fn all(&self) -> Vec<(SourceId, Arc<Counters>)> {
        let by_id = locked(&self.by_id);
        by_id.iter().map(|(k, v)| (Arc::clone(k), Arc::clone(v))).collect()
    }
}

/// A panic elsewhere does not make a counter or a set wrong.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patterns::matcher::Matcher;

    fn set(hash: u64) -> Arc<PatternSet> {
        let (patterns, matcher) = (BTreeMap::new(), Matcher::default());
        Arc::new(PatternSet { patterns, matcher, hash, incomplete: false })
    }

    #[test]
    fn a_replaced_set_is_seen_at_the_next_refresh() {
        let cell = Arc::new(PatternsCell::new(set(1)));
        let mut local = Local::new(&cell);
        cell.replace(set(2));
        assert_eq!(local.set().hash, 1);
        local.refresh();
        assert_eq!(local.set().hash, 2);
    }
}
