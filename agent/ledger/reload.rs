//! Holds faults against a pattern set: a hot reload, or what was stored
//! against the set in force after a restart.

use std::sync::Arc;

use super::fault::{Fault, FaultKey, Phase};
use super::table::Row;
use super::{ChangeKind, Ledger, proof, siblings, step, suppress, tolerance};
use crate::hash::fnv1a;
use crate::patterns::set::{Pattern, PatternSet, Severity, Stage, SubKey};
use crate::time::{BootId, Now, Uptime};

impl Ledger {
    /// Puts back what was stored. Stopwatches stay stopped until what they
    /// wait for is told again; what the patterns make of the faults comes
    /// with the next step.
    pub fn restore(&mut self, now: Now, faults: Vec<Fault>) {
        self.now = now;
        self.timed_rows_taken = Some(now.boot);
        let keys: Vec<_> = faults.iter().map(|f| f.key.clone()).collect();
        for mut fault in faults {
            if fault.phase == Phase::Withdrawn {
                continue;
            }
            let proofs = fault.clear.len();
            fault.proofs.resize(proofs, Default::default());
            fault.begun.retain(|i| usize::from(*i) < proofs);
            if fault.history_boot == BootId::default() {
                fault.history_boot.clone_from(&fault.last_boot);
            }
            for source in &fault.sources {
                let clock = self.clocks.entry(source.clone()).or_default();
                *clock = (*clock).max(fault.last_seen);
            }
            let known = self.table.get(&fault.key);
            let told = known.map(|row| (row.truth, row.drilled));
            let mut row = Row::new(fault, now.boot);
            // What its source has told this process holds of it, too.
            (row.truth, row.drilled) = told.unwrap_or((row.truth, row.drilled));
            if self.is_counting(&row.fault) {
                // Its window decides when it is forgotten, as before.
                row.touched = Uptime::default();
            }
            if !self.table.put_back(row) {
                self.stats.refused += 1;
            }
        }
        self.stats.dropped_values += self.table.fit_all();
        // Only what differs from the store need be written again.
        self.table.take_dirty();
        self.judge_patterns();
        self.take_early_proofs(&keys);
        // Whatever follows from that is due at once.
        self.due = Some(now.boot);
    }

    /// Whether its window is still filling by the wall clock; if not, it may
    /// come from a back-log of which more is to be read.
    fn is_counting(&self, fault: &Fault) -> bool {
        let tolerance = self
            .set
            .get(&fault.key.pattern)
            .and_then(|pattern| pattern.tolerate);
        tolerance
            .and_then(|t| tolerance::passes(&fault.window, t.window))
            .is_some_and(|passes| passes > self.now.wall)
    }

    /// Another pattern set is in force.
    pub(super) fn reload(&mut self, set: Arc<PatternSet>) {
        self.causes = suppress::causes(&set);
        self.set = set;
        self.judge_patterns();
    }

    fn judge_patterns(&mut self) {
        for key in self.table.keys(|_| true) {
            let pattern = self.set.get(&key.pattern).cloned();
            if pattern.is_none() && self.set.incomplete {
                // Its file may be the one that could not be loaded. A bad
                // file changes nothing; the fault keeps its own rules.
                continue;
            }
            let faulty =
                pattern.filter(|p| !p.benign && p.severity != Severity::Info);
            let Some(pattern) = faulty else {
                self.withdraw(&key);
                continue;
            };
            let stage = self.stage_of(&pattern);
            let Some(fault) = self.get(&key) else { continue };
            if fault.pattern_hash != pattern.hash {
                self.rule(&key, &pattern);
            }
            let differs = self.get(&key).is_some_and(|f| f.stage != stage);
            if differs && let Some(row) = self.table.get_mut(&key) {
                row.fault.stage = stage;
            }
        }
    }

    /// Puts a changed pattern's rules into force for a fault.
    fn rule(&mut self, key: &FaultKey, pattern: &Pattern) {
        let Some(row) = self.table.get_mut(key) else { return };
        let fault = &mut row.fault;
        fault.component = pattern.component.clone();
        fault.condition = pattern.condition.clone();
        fault.base_severity = pattern.severity;
        fault.base_quarantine = pattern.quarantine;
        fault.runbook = pattern.runbook.clone();
        fault.probation_length = pattern.probation;
        fault.pattern_hash = pattern.hash;
        if !fault.phase.is_raised() {
            // The raised ones are judged, and told, with the upkeep.
            fault.severity = pattern.severity;
            fault.quarantine = pattern.quarantine;
        }
        if fault.parents.len() != pattern.escalate.len() {
            // Parents belong to entries; the next match renders new ones.
            fault.parents.clear();
        }
        let rules = siblings::clear_rules(pattern, fault);
        if rules != fault.clear {
            proof::replace(fault, rules);
        }
        let window = &fault.window;
        let other_counts = match pattern.sub_key {
            SubKey::None => window.counted.is_empty(),
            SubKey::Same(_) => window.same.is_empty(),
            SubKey::Distinct(_) => window.values.is_empty(),
        };
        if other_counts {
            tolerance::empty(&mut fault.window, None);
        }
        if !fault.filed {
            step::show(fault, pattern);
        }
        if fault.phase == Phase::Recovering && fault.begun.is_empty() {
            fault.phase = Phase::Active;
            self.tell(key, ChangeKind::Interrupted);
        }
    }

    /// How far the pattern's faults may go on this node.
    pub(super) fn stage_of(&self, pattern: &Pattern) -> Stage {
        let node = self.options.node.as_bytes();
        let name = pattern.name.as_bytes();
        let share = fnv1a(&[node, b"\0", name].concat()) % 100;
        if share >= u64::from(pattern.rollout) {
            return Stage::Observe;
        }
        pattern.stage.min(self.options.mode)
    }
}
