//! Proofs that come while what is stored cannot be read: a disk that is
//! mounted late, a store that another process still holds. Their lines are
//! not read again, so they are kept for the faults that stand there. (What a
//! state source finds needs no keeping: it is asked again.)

use std::collections::VecDeque;

use super::Ledger;
use super::fault::FaultKey;
use crate::signal::Signal;

/// How many are kept; the oldest go first. Of some 500 bytes each.
const EARLY_MAX: usize = 256;

/// Proofs in the order in which they came, each with its place in its
/// pattern's `clear`.
#[derive(Debug, Default)]
pub(super) struct Early(VecDeque<(Signal, u8)>);

impl Early {
    pub(super) fn keep(&mut self, signal: &Signal, i: u8) {
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
}
