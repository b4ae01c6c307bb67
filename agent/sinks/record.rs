//! What was written to the cluster, as the store keeps it: a few small
//! documents by name, each the latest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::signal::{Position, SourceId};
use crate::store::{Pending, Store};

/// What the names begin with, among the sources' positions.
const PREFIX: &str = "kubernetes/";

/// The documents.
#[derive(Clone, Debug)]
pub struct Record {
    store: Arc<Store>,
    held: Arc<Mutex<BTreeMap<SourceId, Position>>>,
}

impl Record {
    /// No documents yet.
    pub fn new(store: Arc<Store>) -> Record {
        Record { store, held: Arc::default() }
    }

    /// A document; `None` if there is none that can be read.
    pub fn read<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let text = held.get(format!("{PREFIX}{key}").as_str())?;
        serde_json::from_str(&text.0).ok()
    }

    /// Keeps a document; never waits for the disk.
    pub fn keep<T: Serialize>(&self, key: &str, document: &T) {
        let text = serde_json::to_string(document)
            .expect("documents have only text keys");
        let id: SourceId = format!("{PREFIX}{key}").into();
        let position = Position(text);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(Arc::clone(&id), position.clone());
        drop(held);
        let mut pending = Pending::default();
        pending.positions.insert(id, position);
        self.store.put(pending);
    }

    /// Takes what a store held that was opened late; what was written since
    /// is newer.
    pub fn restore(&self, positions: &BTreeMap<SourceId, Position>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, position) in positions {
            if id.starts_with(PREFIX) {
                let entry = held.entry(Arc::clone(id));
                entry.or_insert_with(|| position.clone());
            }
        }
    }

    /// Everything, for a store that begins anew.
    pub fn all(&self) -> BTreeMap<SourceId, Position> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
