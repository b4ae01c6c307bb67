//! Symptoms and causes: a fault that another one explains is folded into it.
//!
//! A symptom waits `settle` for its cause, for as long as a cause that settles
//! itself or begins to hold, and when raised still folds into a cause that
//! opens within a minute of it, or within `settle` where that is longer. What
//! appears nowhere (stage `observe`) and what a drill opened explain nothing
//! but their like: they would take marks off the node and give none. A
//! cause may itself be explained; no fault ever explains one that (through
//! others) explains it, so
//! chains end at a raised fault. When that ends, the whole chain ends with it; when
//! it is withdrawn, what it explained is raised after all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Ledger;
use super::fault::{Fault, FaultKey, Phase};
use super::table::Row;
use crate::patterns::set::{PatternSet, Stage};

/// How long after its own opening a raised symptom folds into a cause.
const CAUSE_WITHIN: Duration = Duration::from_secs(60);

/// The longest chain of causes; longer ones are not made.
const CHAIN_MAX: usize = 32;

/// For each suppressed pattern, those that suppress it.
pub(super) fn causes(set: &PatternSet) -> BTreeMap<Arc<str>, Vec<Arc<str>>> {
    let mut causes: BTreeMap<Arc<str>, Vec<Arc<str>>> = BTreeMap::new();
    for pattern in set.patterns.values() {
        for symptom in &pattern.suppresses {
            let of_symptom = causes.entry(symptom.clone()).or_default();
            of_symptom.push(pattern.name.clone());
        }
    }
    causes
}

impl Ledger {
    /// The fault that explains this one: a raised one if there is one, else
    /// one that is itself explained.
    pub(super) fn cause_of(&self, key: &FaultKey) -> Option<FaultKey> {
        let fault = self.get(key)?;
        // One that waits longer than that waits for its cause.
        let settle = self.set.get(&key.pattern).map(|p| p.settle);
        let within = settle.unwrap_or_default().max(CAUSE_WITHIN);
        let limit = fault.opened.unwrap_or(self.now.wall).plus(within);
        let waits = fault.phase == Phase::Settling;
        let names = self.causes.get(&key.pattern).into_iter().flatten();
        let causes = names
            .flat_map(|name| self.table.of(name))
            .filter(|row| self.may_be_of(key, &row.fault.key))
            .filter(|row| shows(&row.fault, fault))
            .filter(|row| {
                row.fault.opened.is_some_and(|t| waits || t <= limit)
            });
        let parents = self.parents_of(key);
        // Its parent before others: that is what the parent stands on.
        parents
            .chain(causes)
            .filter(|row| holds(row) && row.fault.key != *key)
            .filter(|row| !self.is_explained_by(&row.fault.key, key))
            .min_by_key(|row| !row.fault.phase.is_raised())
            .map(|row| row.fault.key.clone())
    }

    /// Whether by their parts one fault may be a symptom of another: its part
    /// lies in the other's, or nobody could tell which part it is.
    pub(super) fn may_be_of(&self, key: &FaultKey, cause: &FaultKey) -> bool {
        let raw = |key| self.get(key).map_or(&key.part, |f| f.name());
        self.lies_in(key, cause) || raw(key).stands_for(raw(cause))
    }

    /// Whether `cause` explains `key` through any number of others (or the
    /// chain is too long to tell).
    pub(super) fn is_explained_by(
        &self,
        key: &FaultKey,
        cause: &FaultKey,
    ) -> bool {
        let mut at = key;
        for _ in 0..CHAIN_MAX {
            let by = self.get(at).and_then(|f| f.explained_by.as_ref());
            match by {
                None => return false,
                Some(by) if by == cause => return true,
                Some(by) => at = by,
            }
        }
        true
    }

    /// Folds raised and waiting symptoms into causes, if any fault opened
    /// since this was last done.
    pub(super) fn fold_symptoms(&mut self) {
        if !std::mem::take(&mut self.opened) {
            return;
        }
        let symptoms = self.table.keys(|row| {
            let phase = row.fault.phase;
            phase.is_raised() || phase == Phase::Settling
        });
        for key in symptoms {
            // One of those before it may have taken it along.
            let waits = self.get(&key).is_some_and(|fault| {
                fault.phase.is_raised() || fault.phase == Phase::Settling
            });
            if !waits {
                continue;
            }
            if let Some(cause) = self.cause_of(&key) {
                self.explain(&key, cause);
            }
        }
    }

    /// Raises faults whose cause no longer explains them.
    pub(super) fn raise_orphans(&mut self) {
        let explained =
            self.table.keys(|row| row.fault.phase == Phase::Explained);
        for key in explained {
            if self.is_anchored(&key) {
                continue;
            }
            if let Some(row) = self.table.get_mut(&key) {
                row.fault.explained_by = None;
            }
            match self.cause_of(&key) {
                Some(cause) => self.explain(&key, cause),
                None => self.open(&key),
            }
        }
    }

    /// Whether the chain of causes ends at a fault that holds.
    fn is_anchored(&self, key: &FaultKey) -> bool {
        let mut at = key;
        for _ in 0..=CHAIN_MAX {
            let Some(fault) = self.get(at) else { return false };
            let Some(by) = &fault.explained_by else {
                return fault.phase.is_raised();
            };
            if !self.may_explain(by, at) {
                return false;
            }
            at = by;
        }
        false
    }

    /// Whether by the patterns in force `cause` explains `symptom`.
    fn may_explain(&self, cause: &FaultKey, symptom: &FaultKey) -> bool {
        // A parent of siblings has their pattern, and is made of them.
        if cause.pattern == symptom.pattern {
            return true;
        }
        let (by, of) = (self.get(cause), self.get(symptom));
        by.zip(of).is_some_and(|(by, of)| shows(by, of))
            && self
                .set
                .get(&cause.pattern)
                .is_some_and(|p| p.suppresses.contains(&symptom.pattern))
    }
}

/// Whether people see `cause` wherever they would see `symptom`.
fn shows(cause: &Fault, symptom: &Fault) -> bool {
    cause.stage >= symptom.stage.min(Stage::Report)
        && (symptom.injected || !cause.injected)
}

/// Whether a fault holds, be it explained itself.
fn holds(row: &Row) -> bool {
    row.fault.phase.is_raised() || row.fault.phase == Phase::Explained
}
