//! What is due: lasting, settling, proofs, probations, and forgetting.
//!
//! Stopwatches run by level, not by edge: after every input each is held
//! against the conditions under which it runs, so none can be left running.

use std::time::Duration;

use super::fault::{FaultKey, Phase, Stopwatch};
use super::life::RELAPSES_WITHIN;
use super::table::Row;
use super::{Ledger, proof, tolerance};
use crate::signal::Truth;
use crate::time::{Timestamp, Uptime};

/// A tolerated fault is forgotten only so long after it was last touched:
/// what is read from a back-log lies in the past by the wall clock while its
/// window is still filling.
const LINGER: Duration = Duration::from_secs(60);

/// How much longer than it would a symptom waits for a cause that already
/// holds, but not for long enough: while its source is silent its time stands
/// still.
const PATIENCE: Duration = Duration::from_secs(600);

/// A tolerated state of which its source says nothing (its part vanished) is
/// forgotten after so long.
const UNTOLD: Duration = Duration::from_secs(86_400);

impl Ledger {
    /// Does everything that is due, until nothing more follows from it.
    pub(super) fn upkeep(&mut self) {
        self.stats.upkeeps += 1;
        // Each round moves at least one fault one step along its life, which
        // has fewer steps than this.
        for _ in 0..8 * (self.table.len() + 8) {
            let before = self.moves;
            self.run_stopwatches();
            self.finish_all_lasting();
            self.finish_proofs();
            self.finish_settling();
            self.file_parents();
            self.fold_symptoms();
            self.finish_parents();
            self.raise_orphans();
            if self.moves == before {
                break;
            }
        }
        self.judge_all();
        self.finish_probations();
        self.sweep();
        let deadlines = self.table.iter().filter_map(|r| self.deadline(r));
        self.due = deadlines.min();
    }

    /// When something will be due that only a tick brings about.
    pub fn next_deadline(&self) -> Option<Uptime> {
        self.due
    }

    fn deadline(&self, row: &Row) -> Option<Uptime> {
        let fault = &row.fault;
        let pattern = self.set.get(&fault.key.pattern);
        let held = pattern.and_then(|p| fault.held.due(p.lasting));
        let settle = pattern.and_then(|p| fault.settling.due(p.settle));
        let settle = settle.max(self.causes_settle(row));
        let probation =
            fault.probation.and_then(|p| p.due(fault.probation_length));
        [
            held,
            settle,
            probation,
            proof::next(fault),
            self.next_escalation(fault),
            self.forgotten_at(row),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn run_stopwatches(&mut self) {
        let now = self.now.boot;
        let parents: Vec<FaultKey> = self
            .table
            .keys(|row| !row.fault.children.is_empty())
            .into_iter()
            .filter(|key| self.has_children(key))
            .collect();
        let sees_parts = self.sees_parts();
        let mut stopped = Vec::new();
        for row in self.table.iter_mut() {
            let key = &row.fault.key;
            let is_state = self
                .set
                .get(&key.pattern)
                .is_some_and(|pattern| pattern.source.is_state());
            let around = proof::Around {
                up: &self.up,
                boot: &self.options.boot,
                is_state,
                has_children: parents.contains(key),
                sees_parts,
            };
            let watched = proof::is_watched(&row.fault, &self.up);
            let mut changed = proof::run(row, now, &around);
            let fault = &mut row.fault;
            let waits =
                matches!(fault.phase, Phase::Tolerated | Phase::Cleared);
            let holds = waits && watched && row.truth == Truth::True;
            let settles = fault.phase == Phase::Settling;
            let raised = fault.phase.is_raised();
            changed |= drive(&mut fault.held, holds, now);
            changed |= drive(&mut fault.settling, settles, now);
            changed |= drive(&mut fault.active, raised, now);
            if let Some(watch) = &mut fault.probation {
                drive(watch, true, now);
            }
            if changed {
                stopped.push(fault.key.clone());
            }
        }
        for key in stopped {
            self.table.touch(key);
        }
    }

    fn finish_proofs(&mut self) {
        let now = self.now.boot;
        let complete = self.table.iter().filter_map(|row| {
            let proof = proof::complete(&row.fault, now)?;
            Some((row.fault.key.clone(), proof))
        });
        let complete: Vec<_> = complete.collect();
        for (key, proof) in complete {
            // An earlier one may have ended this one as its symptom.
            if self.get(&key).is_some_and(proof::may_run) {
                self.end(&key, proof);
            }
        }
    }

    /// When the last of those faults has settled that may explain this one
    /// once they have; one that only begins to hold is waited for as long as
    /// [`PATIENCE`] goes.
    fn causes_settle(&self, row: &Row) -> Option<Uptime> {
        let key = &row.fault.key;
        if row.fault.phase != Phase::Settling {
            return None;
        }
        let settle = |key: &FaultKey| self.set.get(&key.pattern);
        let at_most = settle(key)
            .and_then(|p| row.fault.settling.due(p.settle + PATIENCE));
        let names = self.causes.get(&key.pattern).into_iter().flatten();
        names
            .flat_map(|name| self.table.of(name))
            .filter(|cause| cause.fault.key != *key)
            .filter(|cause| self.may_be_of(key, &cause.fault.key))
            .filter_map(|cause| match cause.fault.phase {
                Phase::Settling => {
                    let pattern = settle(&cause.fault.key)?;
                    cause.fault.settling.due(pattern.settle)
                }
                _ if begins_to_hold(cause) => at_most,
                _ => None,
            })
            .max()
    }

    /// Opens what has waited long enough for its cause: first those whose
    /// cause is not due as well, so that causes open before their symptoms.
    fn finish_settling(&mut self) {
        let now = self.now.boot;
        let due = self.table.keys(|row| {
            let pattern = self.set.get(&row.fault.key.pattern);
            let settle = pattern.map_or(Duration::ZERO, |p| p.settle);
            row.fault.phase == Phase::Settling
                && row.fault.settling.read(now) >= settle
                && self.causes_settle(row).is_none_or(|t| t <= now)
        });
        let explains = |cause: &FaultKey, key: &FaultKey| {
            let names = self.causes.get(&key.pattern);
            cause != key
                && names.is_some_and(|n| n.contains(&cause.pattern))
                && self.may_be_of(key, cause)
        };
        let (second, first): (Vec<_>, Vec<_>) = due
            .iter()
            .partition(|key| due.iter().any(|cause| explains(cause, key)));
        for key in first.into_iter().chain(second) {
            match self.cause_of(key) {
                Some(cause) => self.explain(key, cause),
                None => self.open(key),
            }
        }
    }

    fn finish_probations(&mut self) {
        let now = self.now.boot;
        let over = self.table.keys(|row| {
            let length = row.fault.probation_length;
            row.fault.probation.is_some_and(|p| p.read(now) >= length)
        });
        for key in over {
            self.end_probation(&key, None);
        }
    }

    /// Forgets what is over and past.
    fn sweep(&mut self) {
        let now = self.now;
        let past = self.table.keys(|row| {
            self.forgotten_at(row).is_some_and(|due| due <= now.boot)
        });
        for key in past {
            self.table.remove(&key);
        }
    }

    /// When a fault that is not raised will be forgotten, by the boot clock
    /// as of this step.
    ///
    /// A cleared one is remembered by the wall clock, since relapses count in
    /// wall time: a step of that clock can then at most cost the memory of a
    /// fault that is over, never a raised one.
    fn forgotten_at(&self, row: &Row) -> Option<Uptime> {
        let fault = &row.fault;
        let wall = |t: Timestamp| self.now.boot.plus(t.since(self.now.wall));
        match fault.phase {
            Phase::Tolerated => {
                let pattern = self.set.get(&fault.key.pattern);
                if pattern.is_some_and(|p| p.source.is_state()) {
                    let untold = row.truth != Truth::True;
                    return untold.then(|| row.touched.plus(UNTOLD));
                }
                let window = pattern.and_then(|p| p.tolerate);
                let length = window.map_or(Duration::ZERO, |t| t.window);
                let linger = row.touched.plus(LINGER.min(length));
                let passes = tolerance::passes(&fault.window, length);
                Some(passes.map_or(linger, wall).max(linger))
            }
            Phase::Cleared if !fault.on_probation() => {
                // One whose state still holds waits to be raised again.
                let ended = fault.ended.unwrap_or(fault.last_seen);
                (row.truth != Truth::True)
                    .then(|| wall(ended.plus(RELAPSES_WITHIN)))
            }
            _ => None,
        }
    }
}

/// Runs or stops a stopwatch; whether it was stopped.
fn drive(watch: &mut Stopwatch, runs: bool, now: Uptime) -> bool {
    if runs {
        watch.start(now);
        return false;
    }
    let stops = watch.since.is_some();
    watch.stop(now);
    stops
}

/// Whether a state holds, or held when it was last read, and not yet for as
/// long as its pattern wants.
fn begins_to_hold(row: &Row) -> bool {
    let Row { fault, truth, .. } = row;
    matches!(fault.phase, Phase::Tolerated | Phase::Cleared)
        && *truth != Truth::False
        && fault.held != Stopwatch::default()
}
