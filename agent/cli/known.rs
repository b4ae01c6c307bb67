//! What is known of this node's faults: told by the running agent, or read
//! from its store when none runs.

use std::collections::VecDeque;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::client;
use crate::config::Config;
use crate::machine::Machine;
use crate::store::{self, HistoryEntry, Loaded};
use crate::time::Uptime;
use crate::view::FaultView;

/// Who told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Teller {
    /// The running agent.
    Agent,
    /// The store; why there was no agent to ask, and what else people must
    /// know of it.
    Store(Vec<String>),
}

impl Teller {
    /// `agent` or `store`, as JSON has it.
    pub fn word(&self) -> &'static str {
        match self {
            Teller::Agent => "agent",
            Teller::Store(_) => "store",
        }
    }

    /// What people must know before they believe the rest.
    pub fn warning(&self) -> Option<String> {
        match self {
            Teller::Agent => None,
            Teller::Store(notes) => Some(notes.join("; ")),
        }
    }

    fn store(why: &client::Error, notes: Vec<String>) -> Teller {
        let held = "this is what the store held when the agent ended";
        let first = [why.to_string(), held.to_owned()];
        Teller::Store(first.into_iter().chain(notes).collect())
    }
}

/// The faults, whatever their state.
///
/// # Errors
/// There is neither an agent nor a store, or one of them is broken.
pub fn faults(config: &Config) -> anyhow::Result<(Vec<FaultView>, Teller)> {
    match client::get(&config.socket, "/api/v1/faults") {
        Ok(answer) => Ok((list(answer, "faults")?, Teller::Agent)),
        Err(error) if error.is_not_running() => {
            let loaded = read_store(config, 0, &error)?;
            let view = |f| FaultView::of(f, Uptime::default());
            let faults = loaded.faults.iter().map(view).collect();
            Ok((faults, Teller::store(&error, loaded.notes)))
        }
        Err(error) => Err(error.into()),
    }
}

/// The last `limit` changes, oldest first.
///
/// # Errors
/// As [`faults`].
pub fn history(
    config: &Config,
    limit: usize,
) -> anyhow::Result<(VecDeque<HistoryEntry>, Teller)> {
    let path = format!("/api/v1/history?limit={limit}");
    match client::get(&config.socket, &path) {
        Ok(answer) => {
            let mut entries: VecDeque<HistoryEntry> =
                list(answer, "history")?.into();
            // What the agent keeps at hand may be shorter than the store.
            if entries.len() < limit
                && let Ok(all) = store::read_history(&config.state_dir, limit)
                && all.len() > entries.len()
            {
                entries = all;
            }
            while entries.len() > limit {
                entries.pop_front();
            }
            Ok((entries, Teller::Agent))
        }
        Err(error) if error.is_not_running() => {
            let loaded = read_store(config, limit, &error)?;
            Ok((loaded.history, Teller::store(&error, loaded.notes)))
        }
        Err(error) => Err(error.into()),
    }
}

/// What the store holds for this machine, with the last `history` changes.
fn read_store(
    config: &Config,
    history: usize,
    agent: &client::Error,
) -> anyhow::Result<Loaded> {
    let machine = Machine::read(&config.root);
    store::read_on(&config.state_dir, &machine, history)
        .map_err(|error| no_store(agent, error))
}

fn no_store(agent: &client::Error, store: store::Error) -> anyhow::Error {
    match store {
        store::Error::Missing { path } => {
            let dir = path.parent().unwrap_or(Path::new("/"));
            anyhow::anyhow!(
                "nothing is known: {agent}, and {} holds no store",
                dir.display()
            )
        }
        other => anyhow::Error::new(other).context(agent.to_string()),
    }
}

/// The list that an answer holds, itself or under `key`.
pub fn list<T: serde::de::DeserializeOwned>(
    answer: Value,
    key: &str,
) -> anyhow::Result<Vec<T>> {
    let list = match answer {
        Value::Object(mut map) => map.remove(key).unwrap_or(Value::Null),
        other => other,
    };
    serde_json::from_value(list).with_context(|| {
        format!(
            "the agent's {key} have another shape; is it \
            another release?"
        )
    })
}

/// The fault that a person means: its id, `pattern part`, or a part or a
/// pattern with one fault that holds.
///
/// # Errors
/// A sentence that says what to write instead; `Ok(None)` if nothing has
/// such a name at all.
pub fn find<'a>(
    faults: &'a [FaultView],
    what: &str,
) -> anyhow::Result<Option<&'a FaultView>> {
    let what = what.trim();
    let exact = faults
        .iter()
        .find(|f| f.id == what || format!("{} {}", f.pattern, f.part) == what);
    if exact.is_some() {
        return Ok(exact);
    }
    let named = |f: &&FaultView| f.pattern == what || is_on(f, what);
    let mut candidates: Vec<_> = faults.iter().filter(named).collect();
    if candidates.iter().any(|f| is_raised(f)) {
        candidates.retain(|f| is_raised(f));
    }
    match candidates.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        several => {
            let names: Vec<_> = several
                .iter()
                .take(8)
                .map(|f| format!("{} ({} {})", f.id, f.pattern, f.part))
                .collect();
            anyhow::bail!(
                "{what:?} has {} faults; name one by its id: {}",
                several.len(),
                names.join(", ")
            )
        }
    }
}

/// Whether a fault is on a part of this name, identity or serial number.
fn is_on(fault: &FaultView, what: &str) -> bool {
    fault.part == what
        || fault.identity == what
        || fault.serial.as_deref() == Some(what)
        || fault.aliases.iter().any(|alias| alias == what)
}

/// Whether a fault holds: it is active, or its proof is not complete.
pub fn is_raised(fault: &FaultView) -> bool {
    fault.state == "active" || fault.state == "recovering"
}
