//! Whose position is on the disk.
//!
//! A source that begins in the middle of something (the end of a log) and is
//! killed before its first position was written would begin at another place
//! the next time, and nobody would know of what lies between. So it waits,
//! once, until the place is committed. Later positions need no waiting: what
//! was read since the last one is read again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::signal::{Position, SourceId};

/// The sources with a position on the disk.
#[derive(Debug, Default)]
pub struct Committed {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// As many as there are positions in the store.
    ids: BTreeSet<SourceId>,
    /// The disk takes nothing: waiting helps nobody.
    in_vain: bool,
}

impl Committed {
    /// Waits until the position of `id` is on the disk, or the disk is known
    /// to take none, or `patience` is over; whether it is there.
    pub fn wait(&self, id: &SourceId, patience: Duration) -> bool {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), patience, |state| {
                !state.ids.contains(id) && !state.in_vain
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.ids.contains(id)
    }

    /// These are on the disk; an empty one is forgotten there.
    pub(super) fn add(&self, positions: &BTreeMap<SourceId, Position>) {
        let mut state = self.lock();
        for (id, position) in positions {
            if position.0.is_empty() {
                state.ids.remove(id);
            } else if !state.ids.contains(id) {
                state.ids.insert(id.clone());
            }
        }
        state.in_vain = false;
        drop(state);
        self.changed.notify_all();
    }

    /// Nothing can be written.
    pub(super) fn fail(&self) {
        self.lock().in_vain = true;
        self.changed.notify_all();
    }

    /// Each change is complete in itself, so a panic elsewhere spoils nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn what_is_on_the_disk_is_not_waited_for_nor_what_cannot_get_there() {
        let committed = Committed::default();
        let (here, there) = (SourceId::from("a"), SourceId::from("b"));
        let at = |text: &str| {
            let position = Position(text.to_owned());
            BTreeMap::from([(here.clone(), position)])
        };
        committed.add(&at("1"));
        assert!(committed.wait(&here, LONG));
        committed.fail();
        assert!(!committed.wait(&there, LONG));
        committed.add(&at("2"));
        assert!(!committed.wait(&there, Duration::ZERO));
        committed.add(&at(""));
        assert!(!committed.wait(&here, Duration::ZERO));
    }
}
