//! Observations of a recovery, and what they prove.
//!
//! Those that come while what is stored cannot be read (a disk that is
//! mounted late, a store that another process still holds) are kept for the
//! faults that stand there, since their lines are not read again. (What a
//! state source finds needs no keeping: it is asked again.)

use std::collections::VecDeque;

use super::Ledger;
use super::fault::{Ended, FaultKey, Phase};
use super::step::{evidence, keep};
use super::tolerance::empty;
use crate::patterns::set::{Pattern, Proof};
use crate::signal::{Signal, Truth};

/// How many are kept; the oldest go first. Of some 500 bytes each.
const EARLY_MAX: usize = 256;

/// Proofs in the order in which they came, each with its place in its
/// pattern's `clear`.
#[derive(Debug, Default)]
pub(super) struct Early(VecDeque<(Signal, u8)>);

impl Early {
    fn keep(&mut self, signal: &Signal, i: u8) {
        if self.0.len() >= EARLY_MAX {
            self.0.pop_front();
        }
        self.0.push_back((signal.clone(), i));
    }
}

impl Ledger {
    /// What is stored can't be read yet; [`Ledger::restore`] will bring it.
    pub fn await_store(&mut self) {
        self.early = Some(Early::default());
    }

    /// Proves those of the faults just read that were not seen again since.
    pub(super) fn take_early_proofs(&mut self, read: &[FaultKey]) {
        let early = self.early.take().unwrap_or_default();
        for (signal, i) in early.0 {
            let Some(pattern) = self.set.get(&signal.pattern).cloned() else {
                continue;
            };
            for key in self.proved_by(&pattern, &signal) {
                let fault = self.get(&key);
                let older = fault.is_some_and(|f| f.last_seen <= signal.time);
                if older && read.contains(&key) {
                    self.prove(&key, &signal, i);
                }
            }
        }
    }

    /// A recovery observation about a part, for the pattern's faults on it
    /// and on parts within it; whether there is one.
    pub(super) fn take_proof(
        &mut self,
        pattern: &Pattern,
        signal: &Signal,
        i: u8,
    ) -> bool {
        if let Some(early) = &mut self.early {
            early.keep(signal, i);
        }
        if self.table.of(&pattern.name).next().is_none() {
            return false; // nearly always
        }
        let keys = self.proved_by(pattern, signal);
        for key in &keys {
            self.prove(key, signal, i);
        }
        !keys.is_empty()
    }

    /// The pattern's faults on the signal's part and on parts within it.
    fn proved_by(&self, pattern: &Pattern, signal: &Signal) -> Vec<FaultKey> {
        let part = self.key_of(pattern, &signal.part).part;
        let rows = self.table.of(&pattern.name);
        let proved = rows.filter(|r| r.fault.lies_in(&part, &signal.part));
        proved.map(|row| row.fault.key.clone()).collect()
    }

    fn prove(&mut self, key: &FaultKey, signal: &Signal, i: u8) {
        let room = self.table.room();
        let Some(row) = self.table.get_mut(key) else { return };
        let holds = row.truth == Truth::True;
        let fault = &mut row.fault;
        let hold = match fault.clear.get(usize::from(i)) {
            Some(Proof::Recovered { hold }) => *hold,
            // The rules changed between match and step.
            _ => return,
        };
        // A state that a source still finds is not over, and what a drill
        // says of a real fault proves nothing.
        if holds || (signal.injected && !fault.injected) {
            return;
        }
        keep(fault, evidence(signal), room);
        match fault.phase {
            // With a hold the line alone proves nothing: what is tolerated
            // then goes on counting, or a part that recovers after every
            // failure could never use its tolerance up.
            Phase::Tolerated if hold.is_zero() => self.forget(key),
            Phase::Cleared if hold.is_zero() => {
                empty(&mut fault.window, None);
            }
            Phase::Tolerated | Phase::Cleared => {}
            Phase::Withdrawn => {}
            _ if fault.locked => {}
            Phase::Settling if hold.is_zero() => {
                self.end_quietly(key, Ended::Recovered);
            }
            _ if hold.is_zero() => self.end(key, Ended::Recovered),
            _ => {
                if !fault.begun.contains(&i) {
                    fault.begun.push(i);
                }
                self.recovering(key);
            }
        }
    }
}
