//! What was written to the cluster, as the store keeps it: a few small
//! documents by name, each the latest, and what is still to be told there.
//!
//! What is to be told stands in a ring of slots. It reaches the disk in one
//! transaction with what it tells of, and leaves it once it was told, so that
//! neither an end of the agent nor an outage loses it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use super::apart::Apart;
use crate::signal::{Position, SourceId};
use crate::store::{Pending, Store};

/// What the names begin with, among the sources' positions.
const PREFIX: &str = "kubernetes/";

/// What the names of the slots begin with.
const SLOT: &str = "kubernetes/untold/";

/// How much may wait to be told, over an outage; the oldest makes room.
pub const UNTOLD_MAX: usize = 256;

/// The documents.
#[derive(Clone, Debug)]
pub struct Record {
    store: Arc<Store>,
    held: Arc<Mutex<Held>>,
    /// There is more to be told.
    more: Arc<Notify>,
    /// Where the disk is waited for.
    apart: Apart,
}

#[derive(Debug, Default)]
struct Held {
    documents: BTreeMap<SourceId, Position>,
    /// The number of what is to be told next.
    next: u64,
}

impl Record {
    /// No documents yet.
    pub fn new(store: Arc<Store>) -> Record {
        let (held, more, apart) = Default::default();
        Record { store, held, more, apart }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A document; `None` if there is none that can be read.
    pub fn read<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let held = self.held();
        let text = held.documents.get(format!("{PREFIX}{key}").as_str())?;
        serde_json::from_str(&text.0).ok()
    }

    /// Keeps a document; never waits for the disk.
    pub fn keep<T: Serialize>(&self, key: &str, document: &T) {
        self.keep_told::<&str>(key, document, &[]);
    }

    /// The same, in one transaction with what is to be told of it; how much
    /// that is older had to go for it.
    pub fn keep_told<T: Serialize>(
        &self,
        key: &str,
        document: &impl Serialize,
        tales: &[T],
    ) -> usize {
        let text = serde_json::to_string(document)
            .expect("documents have only text keys");
        let id: SourceId = format!("{PREFIX}{key}").into();
        let position = Position(text);
        self.held().documents.insert(Arc::clone(&id), position.clone());
        let prompt = !tales.is_empty();
        let mut pending = Pending { prompt, ..Pending::default() };
        pending.positions.insert(id, position);
        let lost = tales.iter().filter(|t| self.add(*t, &mut pending)).count();
        self.store.put(pending);
        lost
    }

    /// Takes what a store held that was opened late; what was written since
    /// is newer.
    pub fn restore(&self, positions: &BTreeMap<SourceId, Position>) {
        let mut held = self.held();
        for (id, position) in positions {
            if let Some((number, _)) = untold(id, position) {
                held.next = held.next.max(number.saturating_add(1));
            }
            if id.starts_with(PREFIX) {
                let entry = held.documents.entry(Arc::clone(id));
                entry.or_insert_with(|| position.clone());
            }
        }
        drop(held);
        self.more.notify_one();
    }

    /// Adds what is to be told, and to `pending` the row that remembers it;
    /// whether something older had to go for it.
    pub fn add<T: Serialize>(&self, tale: &T, pending: &mut Pending) -> bool {
        let text = serde_json::to_string(tale)
            .expect("what is told has only text keys");
        let mut held = self.held();
        let number = held.next;
        held.next += 1;
        let position = Position(format!("{number} {text}"));
        let id = slot(number);
        pending.positions.insert(Arc::clone(&id), position.clone());
        let old = held.documents.insert(id, position);
        drop(held);
        self.more.notify_one();
        old.is_some_and(|old| !old.0.is_empty())
    }

    /// The same, written for itself.
    pub fn tell<T: Serialize>(&self, tale: &T) -> bool {
        let mut pending = Pending { prompt: true, ..Pending::default() };
        let lost = self.add(tale, &mut pending);
        self.store.put(pending);
        lost
    }

    /// What is still to be told, oldest first, but for what is `known`.
    pub fn untold<T: DeserializeOwned>(
        &self,
        known: impl Fn(u64) -> bool,
    ) -> Vec<(u64, T)> {
        let held = self.held();
        let mut all: Vec<(u64, T)> = held
            .documents
            .iter()
            .filter_map(|(id, position)| untold(id, position))
            .filter(|(number, _)| !known(*number))
            .filter_map(|(n, text)| Some((n, serde_json::from_str(text).ok()?)))
            .collect();
        all.sort_by_key(|(number, _)| *number);
        all
    }

    /// Returns when there may be more to be told.
    pub async fn more(&self) {
        self.more.notified().await;
    }

    /// These were told, all at once.
    pub fn told(&self, numbers: &[u64]) {
        let mut pending = Pending { prompt: true, ..Pending::default() };
        let mut held = self.held();
        for number in numbers {
            let id = slot(*number);
            let Some(position) = held.documents.get_mut(&id) else { continue };
            // Something newer may have taken the slot.
            if untold(&id, position).is_some_and(|(n, _)| n == *number) {
                position.0.clear();
                pending.positions.insert(id, position.clone());
            }
        }
        drop(held);
        self.store.put(pending);
    }

    /// Waits until all is on the disk, but no longer than `patience`.
    pub async fn settle(&self, patience: Duration) {
        let store = Arc::clone(&self.store);
        // What the disk can't do, nobody waits for.
        let _ = self.apart.ask(patience, move || store.flush(patience)).await;
    }

    /// Everything, for a store that begins anew.
    pub fn all(&self) -> BTreeMap<SourceId, Position> {
        self.held().documents.clone()
    }
}

fn slot(number: u64) -> SourceId {
    format!("{SLOT}{}", number % UNTOLD_MAX as u64).into()
}

/// Number and text of what a slot holds.
fn untold<'a>(id: &str, position: &'a Position) -> Option<(u64, &'a str)> {
    let (number, text) = position.0.split_once(' ')?;
    let number = number.parse().ok()?;
    id.starts_with(SLOT).then_some((number, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    fn record(directory: &std::path::Path) -> (Arc<Store>, Record) {
        let store = Store::start(directory.into(), Machine::default());
        let store = Arc::new(store);
        let loaded = store.first(Duration::from_secs(20)).unwrap();
        let record = Record::new(Arc::clone(&store));
        record.restore(&loaded.positions);
        (store, record)
    }

    fn untold(record: &Record) -> Vec<(u64, String)> {
        record.untold(|_| false)
    }

    #[test]
    fn what_was_not_told_outlives_the_agent_and_what_was_told_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let (store, first) = record(directory.path());
        for text in ["a", "b", "c"] {
            assert!(!first.tell(&text));
        }
        first.told(&[1]);
        assert!(store.close(Duration::from_secs(20)));
        drop((store, first));
        let (store, second) = record(directory.path());
        assert_eq!(untold(&second), [(0, "a".into()), (2, "c".into())]);
        assert!(!second.tell(&"d"));
        assert_eq!(untold(&second)[2], (3, "d".into()));
        assert!(store.close(Duration::from_secs(20)));
    }

    #[test]
    fn the_oldest_makes_room_and_its_late_answer_takes_nothing_away() {
        let directory = tempfile::tempdir().unwrap();
        let (store, record) = record(directory.path());
        for number in 0..UNTOLD_MAX {
            assert!(!record.tell(&number.to_string()));
        }
        assert!(record.tell(&"one more"));
        record.told(&[0]);
        let all = untold(&record);
        assert_eq!(all.len(), UNTOLD_MAX);
        assert_eq!((all[0].0, &*all[UNTOLD_MAX - 1].1), (1, "one more"));
        assert!(store.close(Duration::from_secs(20)));
    }
}
