//! What the sink of the cluster counts for itself; the metrics page reads it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::patterns::set::Severity;
use crate::time::Timestamp;

/// Pairs of verb and code with a count of their own: six verbs and the codes
/// that an API server and proxies before it give.
const PAIRS_MAX: usize = 64;

/// The counters.
#[derive(Debug, Default)]
pub struct Counts {
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    connected: AtomicBool,
    guarded: AtomicBool,
    written: AtomicI64,
    events: AtomicU64,
    events_dropped: AtomicU64,
    restarts: AtomicU64,
    token_ends: AtomicI64,
    standing: Mutex<Option<Standing>>,
}

/// How this node stands with quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// In a word.
    pub word: &'static str,
    /// The severity of the worst fault that asks.
    pub severity: Option<Severity>,
    /// Since when.
    pub since: Timestamp,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Requests by verb and code; code 0: no answer.
    pub requests: Vec<(&'static str, u16, u64)>,
    /// Whether the own Node is being followed.
    pub connected: bool,
    /// Whether the API server is known to hold the agent to its own Node.
    pub guarded: bool,
    /// When the Node last had, or was given, the state it should have.
    pub written: Timestamp,
    /// Changes told by Events.
    pub events: u64,
    /// Changes that no Event tells.
    pub events_dropped: u64,
    /// How often all that talks to the API server had to begin anew.
    pub restarts: u64,
    /// When the token of a unit on the host ends, if it has one that does.
    pub token_ends: Option<Timestamp>,
    /// How this node stands with quarantine; `None` before that is known.
    pub standing: Option<Standing>,
}

impl Counts {
    /// Counts a request.
    pub fn request(&self, verb: &'static str, code: Option<u16>) {
        let code = code.unwrap_or(0);
        let mut all =
            self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < PAIRS_MAX || all.contains_key(&(verb, code)) {
            *all.entry((verb, code)).or_default() += 1;
        }
    }

    /// Notes whether the own Node is being followed.
    pub fn connected(&self, connected: bool) {
        self.connected.store(connected, Relaxed);
    }

    /// Notes whether the API server holds the agent to its own Node.
    pub fn guarded(&self, guarded: bool) {
        self.guarded.store(guarded, Relaxed);
    }

    /// Whether the own Node is being followed.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Relaxed)
    }

    /// Notes that the Node is as it should be.
    pub fn written(&self, now: Timestamp) {
        self.written.store(now.0, Relaxed);
    }

    /// Counts changes that Events told.
    pub fn events(&self, changes: usize) {
        self.events.fetch_add(changes as u64, Relaxed);
    }

    /// Counts changes that no Event tells.
    pub fn events_dropped(&self, changes: usize) {
        self.events_dropped.fetch_add(changes as u64, Relaxed);
    }

    /// Counts a new beginning after a panic.
    pub fn restarted(&self) {
        self.restarts.fetch_add(1, Relaxed);
    }

    /// Notes when the token ends.
    pub fn token_ends(&self, at: Option<Timestamp>) {
        self.token_ends.store(at.unwrap_or_default().0, Relaxed);
    }

    /// Notes how this node stands with quarantine.
    pub fn standing(
        &self,
        word: &'static str,
        severity: Option<Severity>,
        now: Timestamp,
    ) {
        let mut held =
            self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let same = held
            .as_ref()
            .filter(|held| held.word == word && held.severity == severity);
        let since = same.map_or(now, |held| held.since);
        *held = Some(Standing { word, severity, since });
    }

    /// The counters now.
    pub fn show(&self) -> Shown {
        let all = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = all.iter().map(|((verb, code), n)| (*verb, *code, *n));
        Shown {
            requests: requests.collect(),
            connected: self.is_connected(),
            guarded: self.guarded.load(Relaxed),
            written: Timestamp(self.written.load(Relaxed)),
            events: self.events.load(Relaxed),
            events_dropped: self.events_dropped.load(Relaxed),
            restarts: self.restarts.load(Relaxed),
            token_ends: Some(Timestamp(self.token_ends.load(Relaxed)))
                .filter(|ends| ends.0 != 0),
            standing: self
                .standing
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }
}
