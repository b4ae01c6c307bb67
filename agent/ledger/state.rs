//! State sources: they tell how something is, and only when that changes.
//!
//! What a source last said lives with the row, not with the fault: after a
//! restart nothing is known until the source tells it anew, and being told
//! the same again is no new observation.

use super::fault::Ended;
use super::fault::{FaultKey, Phase};
use super::step::{evidence, keep, show};
use super::tolerance::is_empty;
use super::{Ledger, proof};
use crate::patterns::set::{Pattern, Proof};
use crate::signal::{Signal, SourceId, Truth};

impl Ledger {
    /// A state source tells how it finds a pattern on a part.
    pub(super) fn take_state(
        &mut self,
        id: &SourceId,
        pattern: &Pattern,
        signal: Signal,
        truth: Truth,
    ) {
        let key = self.key_of(pattern, &signal.part);
        if truth != Truth::True {
            return self.state_ceased(&key, truth);
        }
        // Told again after a restart, it is the same as before; told while
        // a proof runs, it is back.
        let is_new = match self.table.get(&key) {
            None => true,
            Some(row) => {
                let fault = &row.fault;
                let is_over = fault.phase == Phase::Cleared
                    && fault.held.read(self.now.boot).is_zero();
                row.truth == Truth::False || is_over || !fault.begun.is_empty()
            }
        };
        if !is_new {
            self.resume(&key, pattern, signal);
            return;
        }
        let Some(key) = self.see(id, pattern, &signal) else { return };
        let Some(row) = self.table.get_mut(&key) else { return };
        row.truth = Truth::True;
        row.drilled = signal.injected;
        let fault = &mut row.fault;
        fault.total = fault.total.saturating_add(signal.count.max(1));
        match fault.phase {
            Phase::Active | Phase::Recovering | Phase::Explained => {
                fault.count = fault.count.saturating_add(signal.count.max(1));
                show(fault, pattern);
                self.interrupt(&key);
            }
            _ => {
                fault.held.reset();
                if fault.phase == Phase::Tolerated {
                    fault.count = signal.count.max(1);
                    fault.injected = signal.injected;
                }
                show(fault, pattern);
                self.finish_lasting(&key);
            }
        }
    }

    /// The state is told again: it still holds, perhaps in other words.
    fn resume(&mut self, key: &FaultKey, pattern: &Pattern, signal: Signal) {
        let (now, room) = (self.now.boot, self.table.room());
        let about = self.census.resolve(&signal.part).map(|f| f.about);
        if let Some(row) = self.table.get_mut(key) {
            row.truth = Truth::True;
            row.drilled = signal.injected;
            row.touched = now;
            let fault = &mut row.fault;
            let open =
                !matches!(fault.phase, Phase::Cleared | Phase::Withdrawn);
            if open && fault.captures != signal.captures {
                keep(fault, evidence(&signal), room);
                fault.last_seen = fault.last_seen.max(signal.time);
                fault.captures = signal.captures;
                fault.about = about.or(fault.about.take());
                show(fault, pattern);
            }
        }
        self.finish_lasting(key);
    }

    /// The state does not hold, or cannot be told.
    fn state_ceased(&mut self, key: &FaultKey, truth: Truth) {
        let now = self.now.boot;
        let Some(row) = self.table.get_mut(key) else { return };
        row.truth = truth;
        row.touched = now;
        if truth == Truth::Unknown {
            return;
        }
        let fault = &mut row.fault;
        fault.held.reset();
        match fault.phase {
            Phase::Tolerated if is_empty(&fault.window) => self.forget(key),
            Phase::Settling => self.end_quietly(key, Ended::Recovered),
            _ if proof::may_run(fault) => {
                let normal = |p: &Proof| matches!(p, Proof::Normal(_));
                if let Some(i) = fault.clear.iter().position(normal) {
                    let i = proof::index(i);
                    if !fault.begun.contains(&i) {
                        fault.begun.push(i);
                    }
                }
                self.recovering(key);
            }
            _ => {}
        }
    }

    /// Opens every state fault that has held long enough.
    pub(super) fn finish_all_lasting(&mut self) {
        let held = self.table.keys(|row| row.truth == Truth::True);
        for key in held {
            self.finish_lasting(&key);
        }
    }

    /// Opens a state fault that has held for `lasting`.
    pub(super) fn finish_lasting(&mut self, key: &FaultKey) {
        let now = self.now;
        let Some(pattern) = self.set.get(&key.pattern).cloned() else {
            return;
        };
        let Some(row) = self.table.get(key) else { return };
        let fault = &row.fault;
        let waits = matches!(fault.phase, Phase::Tolerated | Phase::Cleared);
        let is_over = fault.held.read(now.boot) >= pattern.lasting;
        if !waits || row.truth != Truth::True || !is_over {
            return;
        }
        let drill = row.drilled;
        let at = if pattern.lasting.is_zero() && fault.phase == Phase::Tolerated
        {
            fault.last_seen
        } else {
            now.wall
        };
        if let Some(row) = self.table.get_mut(key)
            && row.fault.phase == Phase::Cleared
        {
            row.fault.count = 1;
            show(&mut row.fault, &pattern);
        }
        self.spend(key, at, drill);
    }
}
