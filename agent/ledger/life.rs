//! The transitions of a fault's life. Everything else decides *that* one is
//! due; what it does to the fault, and who is told, stands here.
//!
//! While a fault waits for its cause or is explained, `proof` still holds
//! what ended its previous life: that is how its opening is known to be a
//! relapse.

use std::time::Duration;

use super::fault::{Ended, Fault, FaultKey, Phase, Stopwatch};
use super::{ChangeKind, Ledger, RECURRING_RELAPSES, proof, tolerance};
use crate::signal::Truth;
use crate::time::{Timestamp, Uptime};

/// How long a relapse counts, and so how long a cleared fault is remembered.
pub(super) const RELAPSES_WITHIN: Duration = Duration::from_secs(30 * 86_400);

impl Ledger {
    /// The tolerance is spent (or `lasting` over, or history told) at `at`.
    /// `drill`: by nothing but a drill's observations.
    pub(super) fn spend(&mut self, key: &FaultKey, at: Timestamp, drill: bool) {
        let now = self.now.boot;
        let settle = self
            .set
            .get(&key.pattern)
            .filter(|pattern| pattern.suppressible)
            .map(|pattern| pattern.settle);
        let Some(row) = self.table.get_mut(key) else { return };
        let fault = &mut row.fault;
        // What a drill opens is no relapse, nor is what follows a drill.
        let past = !fault.injected
            || fault.probation.is_some()
            || !fault.relapses.is_empty();
        if drill || !past {
            fault.proof = None;
        }
        fault.injected = drill;
        fault.children.clear();
        fault.opened = Some(at);
        fault.held.reset();
        self.moves += 1;
        if let Some(cause) = self.cause_of(key) {
            return self.explain(key, cause);
        }
        match settle {
            Some(settle) if !settle.is_zero() => {
                if let Some(row) = self.table.get_mut(key) {
                    row.fault.phase = Phase::Settling;
                    row.fault.settling.reset();
                    row.fault.settling.start(now);
                }
            }
            _ => self.open(key),
        }
    }

    /// It holds, from `fault.opened` on.
    pub(super) fn open(&mut self, key: &FaultKey) {
        let now = self.now;
        let Some(row) = self.table.get_mut(key) else { return };
        let fault = &mut row.fault;
        let opened = *fault.opened.get_or_insert(now.wall);
        let relapse = fault.proof.take().is_some();
        if relapse {
            relapsed(fault, opened);
        }
        if !fault.injected {
            fault.probation = None;
        }
        fault.phase = Phase::Active;
        fault.ended = None;
        fault.explained_by = None;
        fault.settling.reset();
        fault.active.reset();
        fault.active.start(now.boot);
        self.opened = true;
        self.judge(key);
        self.tell(key, ChangeKind::Opened { relapse });
        self.recovering(key);
    }

    /// A proof that takes time has begun, if one has.
    pub(super) fn recovering(&mut self, key: &FaultKey) {
        let Some(row) = self.table.get_mut(key) else { return };
        let fault = &mut row.fault;
        if fault.locked {
            fault.begun.clear();
        }
        if fault.phase == Phase::Active && !fault.begun.is_empty() {
            fault.phase = Phase::Recovering;
            self.tell(key, ChangeKind::Recovering);
        }
    }

    /// Seen again, so much that its proofs begin anew.
    pub(super) fn interrupt(&mut self, key: &FaultKey) {
        let Some(row) = self.table.get_mut(key) else { return };
        let fault = &mut row.fault;
        fault.last_boot.clone_from(&self.options.boot);
        proof::reset(fault);
        if fault.phase == Phase::Recovering {
            fault.phase = Phase::Active;
            self.tell(key, ChangeKind::Interrupted);
        }
    }

    /// Folds it into its cause.
    pub(super) fn explain(&mut self, key: &FaultKey, cause: FaultKey) {
        let wall = self.now.wall;
        let on = self.get(&cause).map(|fault| fault.name().clone());
        let Some(row) = self.table.get_mut(key) else { return };
        let fault = &mut row.fault;
        fault.phase = Phase::Explained;
        fault.explained_by = Some(cause.clone());
        fault.explained_on = on.filter(|name| *name != cause.part);
        fault.ended = Some(wall);
        fault.settling.reset();
        fault.active.reset();
        if cause.pattern == key.pattern {
            self.adopt(&cause, std::slice::from_ref(key));
        }
        self.tell(key, ChangeKind::Explained { by: cause });
    }

    /// It is over, with this proof; what it explains is over with it.
    pub(super) fn end(&mut self, key: &FaultKey, proof: Ended) {
        let now = self.now;
        let Some(row) = self.table.get_mut(key) else { return };
        close(&mut row.fault, proof.clone(), now.wall);
        let fault = &mut row.fault;
        match &proof {
            Ended::Quiet | Ended::Rebooted => {
                let length = fault.probation_length;
                if !length.is_zero() && !fault.injected {
                    fault.probation = Some(running(now.boot));
                }
            }
            _ => {}
        }
        self.tell(key, ChangeKind::Cleared(proof.clone()));
        self.end_explained(key, &proof);
    }

    /// Ends what `cause` explains, without a word: it was told as explained.
    /// Each keeps its past if it has one, else it is forgotten.
    fn end_explained(&mut self, cause: &FaultKey, proof: &Ended) {
        let mut causes = vec![cause.clone()];
        while let Some(cause) = causes.pop() {
            let of_cause = self.table.keys(|row| {
                row.fault.phase == Phase::Explained
                    && row.fault.explained_by.as_ref() == Some(&cause)
            });
            for key in of_cause {
                self.end_quietly(&key, proof.clone());
                causes.push(key);
            }
        }
    }

    /// Ends a fault that is not raised.
    pub(super) fn end_quietly(&mut self, key: &FaultKey, proof: Ended) {
        let wall = self.now.wall;
        let Some(row) = self.table.get_mut(key) else { return };
        let holds = row.truth == Truth::True;
        let fault = &mut row.fault;
        if holds {
            // It was only explained by what is over; its source goes on
            // finding it, and will not say so again.
            close(fault, proof, wall);
            fault.phase = Phase::Tolerated;
            fault.proof = None;
            self.moves += 1;
            return;
        }
        let sibling = fault
            .explained_by
            .as_ref()
            .is_some_and(|cause| cause.pattern == key.pattern);
        if sibling || has_past(fault) {
            close(fault, proof, wall);
            self.moves += 1;
        } else {
            self.forget(key);
        }
    }

    /// Its pattern is gone. Only what people were told of is told.
    pub(super) fn withdraw(&mut self, key: &FaultKey) {
        let wall = self.now.wall;
        let Some(row) = self.table.get_mut(key) else { return };
        let fault = &mut row.fault;
        let told = fault.phase.is_raised() || fault.phase == Phase::Explained;
        if told {
            fault.phase = Phase::Withdrawn;
            fault.ended = Some(wall);
            self.tell(key, ChangeKind::Withdrawn);
        }
        self.forget(key);
    }
}

/// Whether an earlier life of this fault is remembered.
fn has_past(fault: &Fault) -> bool {
    fault.proof.is_some()
        || fault.probation.is_some()
        || !fault.relapses.is_empty()
}

/// Notes a reopening after a proof, and locks the fault when it came back on
/// probation or too often.
fn relapsed(fault: &mut Fault, opened: Timestamp) {
    fault.relapses.retain(|t| opened.since(*t) < RELAPSES_WITHIN);
    fault.relapses.push_back(opened);
    // Escalations and the lock look at the last few only.
    while fault.relapses.len() > super::RELAPSES_KEPT {
        fault.relapses.pop_front();
    }
    if fault.probation.is_some() || fault.relapses.len() >= RECURRING_RELAPSES {
        fault.locked = true;
    }
}

/// Takes over what another fault of the same part has behind it: one that
/// came back under another name came back all the same.
pub(super) fn inherit(fault: &mut Fault, other: &Fault) {
    fault.locked |= other.locked;
    fault.relapses.extend(&other.relapses);
    fault.relapses.make_contiguous().sort_unstable();
    let surplus = fault.relapses.len().saturating_sub(super::RELAPSES_KEPT);
    fault.relapses.drain(..surplus);
    if other.phase == Phase::Cleared && has_past(other) {
        let probation = fault.probation.take();
        fault.probation = probation.or(other.probation);
        match fault.phase {
            Phase::Active | Phase::Recovering => {
                let opened = fault.opened.unwrap_or(fault.last_seen);
                relapsed(fault, opened);
                fault.probation = None;
            }
            // Should it be opened, it is a relapse.
            _ => fault.proof = fault.proof.take().or(other.proof.clone()),
        }
    }
    if fault.locked && fault.phase == Phase::Recovering {
        fault.begun.clear();
        fault.phase = Phase::Active;
    }
}

/// What every end does: empties the window, stops everything.
fn close(fault: &mut Fault, proof: Ended, wall: Timestamp) {
    fault.phase = Phase::Cleared;
    fault.ended = Some(wall);
    fault.proof = Some(proof);
    fault.explained_by = None;
    if matches!(
        fault.proof,
        Some(Ended::Replaced { .. } | Ended::Cleared { .. })
    ) {
        fault.locked = false;
        fault.probation = None;
    }
    if fault.proof.as_ref().is_some_and(Ended::is_replaced) {
        // Another part in the place has no past.
        fault.relapses.clear();
    }
    tolerance::empty(&mut fault.window, None);
    fault.held.reset();
    fault.active.reset();
    fault.settling.reset();
    proof::reset(fault);
}

fn running(now: Uptime) -> Stopwatch {
    Stopwatch { elapsed: Duration::ZERO, since: Some(now) }
}
