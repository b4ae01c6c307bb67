//! What the node should look like, as a function of its faults: conditions
//! and quarantine. Sinks compare it with what is and write the difference.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fault::{Fault, FaultKey, Phase};
use crate::hash::fnv1a;
use crate::parts::part::Presence;
use crate::patterns::set::{Quarantine, Severity, Stage};
use crate::time::Timestamp;

/// The longest message of a condition; Kubernetes allows 32 KiB, but every
/// byte is stored for every node and read by people.
pub const MESSAGE_MAX: usize = 1024;

/// The room kept for `and N more`.
const MORE_MAX: usize = 32;

/// Whether a condition holds; True means failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// A fault is raised.
    True,
    /// There was a fault; it is over.
    False,
}

/// One condition of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionState {
    /// Whether it holds.
    pub status: Status,
    /// The worst fault's pattern in CamelCase.
    pub reason: String,
    /// The faults, the worst first; at most [`MESSAGE_MAX`] bytes.
    pub message: String,
    /// Since when: the first of the faults that hold, or the end of the last
    /// one that is over.
    #[serde(skip)]
    pub since: Option<Timestamp>,
    /// A hash over what the faults are and not how often they were seen: a
    /// count in the message alone is no news.
    #[serde(skip)]
    pub essence: u64,
}

/// The state the node should have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// By name. A condition that no fault was ever about is not here.
    pub conditions: BTreeMap<Arc<str>, ConditionState>,
    /// What keeps new work off the node.
    pub quarantine: Quarantine,
    /// The component of the worst fault that asks for quarantine.
    pub taint: Option<String>,
    /// The faults that ask for quarantine, the worst first.
    pub because: Vec<FaultKey>,
}

/// What these faults make of the node. Faults in stage `observe` appear
/// nowhere; those in `report`, and what a drill opened, quarantine nothing.
/// One that is explained is no condition, and keeps its quarantine where the
/// faults that are raised ask for less.
pub fn desired<'a>(faults: impl Iterator<Item = &'a Fault>) -> Desired {
    let mut raised = Vec::new();
    let mut cleared = Vec::new();
    let mut explained = Vec::new();
    for fault in faults.filter(|fault| fault.stage >= Stage::Report) {
        match fault.phase {
            Phase::Active | Phase::Recovering => raised.push(fault),
            Phase::Cleared => cleared.push(fault),
            // What was raised, or would have been at once.
            Phase::Explained
                if fault.opened.is_some()
                    || fault.severity == Severity::Fatal =>
            {
                explained.push(fault);
            }
            _ => {}
        }
    }
    let worst_first = |a: &&Fault, b: &&Fault| {
        let badness = |f: &Fault| (f.severity, f.quarantine);
        badness(b)
            .cmp(&badness(a))
            .then_with(|| (a.opened, &a.key).cmp(&(b.opened, &b.key)))
    };
    raised.sort_by(worst_first);
    cleared.sort_by(|a, b| (b.ended, &b.key).cmp(&(a.ended, &a.key)));
    let asks = |f: &&Fault| {
        f.stage == Stage::Enforce
            && !f.injected
            && f.is_own()
            && f.quarantine > Quarantine::None
    };
    let mut quarantining: Vec<&Fault> =
        raised.iter().copied().filter(asks).collect();
    // To know why is no reason to let work onto the node: what a weaker fault
    // explains asks on.
    let strongest = quarantining.iter().map(|f| f.quarantine).max();
    explained.retain(|f| asks(f) && Some(f.quarantine) > strongest);
    quarantining.append(&mut explained);
    quarantining.sort_by(worst_first);
    Desired {
        conditions: conditions(&raised, &cleared),
        quarantine: quarantining
            .iter()
            .map(|f| f.quarantine)
            .max()
            .unwrap_or_default(),
        taint: quarantining.first().map(|f| f.component.to_string()),
        because: quarantining.iter().map(|f| f.key.clone()).collect(),
    }
}

fn conditions(
    raised: &[&Fault],
    cleared: &[&Fault],
) -> BTreeMap<Arc<str>, ConditionState> {
    let mut groups: BTreeMap<Arc<str>, (Status, Vec<&Fault>)> = BTreeMap::new();
    for fault in raised {
        let group = groups
            .entry(fault.condition.clone())
            .or_insert((Status::True, Vec::new()));
        group.1.push(fault);
    }
    for fault in cleared {
        let group = groups
            .entry(fault.condition.clone())
            .or_insert((Status::False, Vec::new()));
        if group.0 == Status::False {
            group.1.push(fault);
        }
    }
    let state = |(name, (status, faults)): (_, (Status, Vec<&Fault>))| {
        let reason = faults.first().map(|f| camel_case(&f.key.pattern));
        let reason = reason.unwrap_or_default();
        let message = message(&faults);
        let since = match status {
            Status::True => faults.iter().filter_map(|f| f.opened).min(),
            Status::False => faults.iter().filter_map(|f| f.ended).max(),
        };
        let essence = essence(&faults);
        (name, ConditionState { status, reason, message, since, essence })
    };
    groups.into_iter().map(state).collect()
}

/// What people would call a change of these faults.
fn essence(faults: &[&Fault]) -> u64 {
    let mut text = String::new();
    for fault in faults {
        // A String takes every write.
        let _ = write!(
            text,
            "{} {} {} {:?} {:?} {} {} {} {:?};",
            fault.key,
            fault.name(),
            fault.severity.word(),
            fault.presence(),
            fault.proof,
            fault.on_probation(),
            fault.locked,
            fault.injected,
            fault.about.as_ref().map(|a| (&a.place, &a.serial)),
        );
    }
    fnv1a(text.as_bytes())
}

/// The faults in words, as many as fit.
fn message(faults: &[&Fault]) -> String {
    let mut text = String::new();
    for (i, fault) in faults.iter().enumerate() {
        let mut one = words(fault);
        let more = faults.len() - i;
        let room = MESSAGE_MAX - MORE_MAX;
        if i == 0 && one.len() > room {
            one.truncate(one.floor_char_boundary(room));
        }
        if text.len() + one.len() + 2 > room && i > 0 {
            text.push_str(&format!("; and {more} more"));
            break;
        }
        if i > 0 {
            text.push_str("; ");
        }
        text.push_str(&one);
    }
    text
}

fn words(fault: &Fault) -> String {
    let drill = if fault.injected { "injected: " } else { "" };
    let mut part = fault.name().to_string();
    if let Some(about) = &fault.about {
        let serial = about.serial.as_ref().map(|s| format!("S/N {s}"));
        for word in about.place.iter().chain(&serial) {
            part.push_str(&format!(", {word}"));
        }
    }
    let mut text = format!("{drill}{} ({part})", fault.summary);
    if fault.presence() == Some(Presence::Gone) {
        text.push_str(", not present");
    }
    if fault.phase == Phase::Cleared {
        if let Some(proof) = &fault.proof {
            text.push_str(&format!(", over: {proof}"));
        }
        if fault.on_probation() {
            text.push_str(", on probation");
        }
    } else if fault.locked {
        text.push_str(", came back: only replacing it or a person clears it");
    }
    text
}

/// `memory-uncorrected` as Kubernetes writes reasons: `MemoryUncorrected`.
fn camel_case(name: &str) -> String {
    crate::patterns::pattern::camel_case(name, "")
}
