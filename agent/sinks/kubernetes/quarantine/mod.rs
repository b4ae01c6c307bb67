//! Quarantine: what keeps new work off the node. `mark` knows how it is
//! written on a Node, `decide` what to do next, as a pure function, and
//! `driver` does it, one request after the other.
//!
//! Only what the agent did is undone, and what others undid is respected.
//! Nothing here tells people: what happened is returned as [`Told`].

pub mod decide;
pub mod driver;
mod leave;
pub mod mark;
mod own_entry;
mod pauses;
mod tale;
pub mod task;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::budget::reason::Reason;
use crate::ledger::desired::Desired;
use crate::ledger::fault::{Fault, FaultKey};
use crate::patterns::set::{Quarantine, Severity};
use crate::time::{Timestamp, Uptime};

/// An annotation by which a person keeps the agent's hands off the node:
/// until a time (`2026-12-01T00:00:00Z; reason`), or for good.
pub const IGNORE: &str = "faultline.dev/ignore";

/// An annotation by which a person keeps a quarantine up, well or not.
pub const HOLD: &str = "faultline.dev/hold";

/// An annotation by which a person clears a fault: `fault or component;
/// reason`.
pub const CLEAR: &str = "faultline.dev/clear";

/// The agent's note that somebody else took its quarantine away, and when.
pub const OVERRIDDEN: &str = "faultline.dev/overridden";

/// How long somebody else's release is respected.
pub const RESPECT: Duration = Duration::from_secs(24 * 3600);

/// How long after a write of ours somebody's older list of taints may still
/// arrive: `kubectl taint` reads the list, changes it and writes all of it,
/// without the version that it read. A person who means our taint takes it
/// away and leaves others' alone.
pub const STALE: Duration = Duration::from_secs(30);

/// How many faults the Node's annotation names.
pub const FAULTS_MAX: usize = 16;

/// The longest text of one fault there.
pub const FAULT_TEXT_MAX: usize = 160;

/// What the settings of this agent say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether this agent quarantines at all (`mode: enforce`); where it does
    /// not, it only takes off what it once put on.
    pub enforce: bool,
    /// How long all faults must have been over before the node is released.
    pub release_after: Duration,
    /// Whether `evict` may be more than a NoSchedule taint.
    pub evict: bool,
    /// Whether the API server holds this agent to its own Node, or a person
    /// said to go on without. Where not, no node is taken out, and none that
    /// is out comes back for it.
    pub guarded: bool,
}

impl Default for Rules {
    /// Ten minutes: a fault that comes back by then does not make a node
    /// that flaps.
    fn default() -> Rules {
        let release_after = Duration::from_secs(600);
        Rules { enforce: true, release_after, evict: false, guarded: true }
    }
}

/// The quarantine that the faults ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// The strongest that any of them asks for.
    pub how: Quarantine,
    /// The component of the worst.
    pub component: String,
    /// The severity of the worst.
    pub severity: Severity,
    /// The pattern of the worst.
    pub pattern: String,
    /// Their ids, the worst first.
    pub faults: Vec<String>,
    /// `pattern part` of each of them, for people.
    pub words: Vec<String>,
    /// When a fatal one was last seen, by this node's wall clock.
    pub fatal_seen: Option<Timestamp>,
}

impl Want {
    /// What the faults ask for.
    pub fn of<'a>(
        desired: &Desired,
        faults: impl Iterator<Item = &'a Fault>,
    ) -> Option<Want> {
        if desired.quarantine == Quarantine::None {
            return None;
        }
        let all: BTreeMap<&FaultKey, &Fault> =
            faults.map(|fault| (&fault.key, fault)).collect();
        let asking = desired.because.iter();
        let asking: Vec<&Fault> =
            asking.filter_map(|key| all.get(key).copied()).collect();
        let worst = asking.first()?;
        let fatal = asking.iter().filter(|f| f.severity == Severity::Fatal);
        Some(Want {
            how: desired.quarantine,
            component: worst.component.to_string(),
            severity: worst.severity,
            pattern: worst.key.pattern.to_string(),
            faults: asking.iter().take(FAULTS_MAX).map(|f| f.id()).collect(),
            words: asking.iter().take(FAULTS_MAX).map(|f| words(f)).collect(),
            fatal_seen: fatal.map(|f| f.last_seen).max(),
        })
    }
}

fn words(fault: &Fault) -> String {
    let mut text = fault.title();
    text.truncate(text.floor_char_boundary(FAULT_TEXT_MAX));
    text
}

/// What is remembered over a restart, of the Node with this uid. Losing it
/// costs only the memory that somebody else wiped every trace of a mark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// The Node's uid: a Node re-created under the same name has decided
    /// nothing.
    pub uid: String,
    /// The version at which it was last seen marked by us.
    pub marked_at: Option<String>,
    /// The version at which our own release was sent.
    pub releasing: Option<String>,
    /// Why it was sent.
    pub why: Option<Why>,
    /// The mark that people know of; none if they know of none.
    pub told: Option<u64>,
    /// Whether a mark was found while nothing at all was remembered: the
    /// store was lost, and with it what the faults were. No proof is known,
    /// so only a person, or the same faults seen and proved over, end it.
    pub orphaned: bool,
    /// The `clear` annotation that was carried out, until it is gone.
    pub answered: Option<String>,
    /// The `clear` annotation that is being carried out.
    pub obeying: Option<String>,
    /// The `ignore` annotation that held a quarantine back, once people were
    /// told of it.
    pub ignored: Option<String>,
    /// Others' taints as last seen beside our mark, and since when the mark
    /// has been seen; begins anew after a restart.
    #[serde(skip)]
    pub beside: Option<(Vec<Value>, Uptime)>,
    /// When our own release was seen; begins anew after a restart.
    #[serde(skip)]
    pub released: Option<Uptime>,
    /// Since when all faults are over; begins anew after a restart.
    #[serde(skip)]
    pub well_since: Option<Uptime>,
}

/// Where the memory outlives the process: the store, and in simulations
/// something that loses what it did not have time for.
pub trait Keep {
    /// Takes the memory, to be durable some time later, and what is to be
    /// told with it: both are durable or neither is.
    fn keep(&self, memory: &Memory, told: &[Told]);

    /// Waits until what was taken is durable; not for long, since a node
    /// whose disk is dead has to be marked as well.
    fn settle(&self) -> impl Future<Output = ()>;
}

/// What a person asked for through an annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The fault, part, pattern or component.
    pub what: String,
    /// Why.
    pub reason: String,
    /// The annotation's value, to be handed back when it is carried out.
    pub text: String,
}

/// What happened, for events, log and notifications.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// The node was quarantined.
    Quarantined {
        /// How.
        how: Quarantine,
        /// Which faults asked.
        words: Vec<String>,
    },
    /// What is written on the node changed, the quarantine stays.
    Changed {
        /// How it is quarantined now.
        how: Quarantine,
        /// Which faults ask.
        words: Vec<String>,
    },
    /// Quarantine was asked for and denied.
    Denied(Vec<Reason>),
    /// The quarantine was taken off.
    Released(Why),
    /// A quarantine is asked for, and a person said to ignore the node.
    Ignored {
        /// Until then, or until the annotation goes.
        until: Option<Timestamp>,
        /// The annotation.
        text: String,
    },
    /// Somebody else took it off; respected until then, or until new
    /// evidence of a fatal fault.
    Overridden(Timestamp),
    /// The API server refused for good what was asked.
    Refused(String),
}

/// Why a quarantine was taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Every fault that asked for it is over.
    Over,
    /// A person said to ignore the node.
    Ignored,
    /// This agent does not quarantine (any more).
    Mode,
    /// It took no room while somebody else kept the node out, and there is
    /// none now that the node is back.
    NoRoom,
}

impl Why {
    /// As people are told.
    pub fn words(self) -> &'static str {
        match self {
            Why::Over => "every fault that asked for it is over",
            Why::Ignored => "the annotation faultline.dev/ignore says so",
            Why::Mode => "this agent is not in mode: enforce",
            Why::NoRoom => {
                "it was free while the node was cordoned, and the budget has \
                 no room for it now"
            }
        }
    }
}

/// How the node stands, for metrics and `status`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Standing {
    /// Nothing asks for quarantine, nothing is written.
    #[default]
    Free,
    /// Quarantined.
    Quarantined(Quarantine),
    /// All faults are over; waiting to be released.
    Releasing,
    /// Kept quarantined by a person.
    Held,
    /// Quarantined for faults that a lost store knew: nobody can say that
    /// they are over.
    Orphaned,
    /// Denied.
    Waiting(Vec<Reason>),
    /// A person said to ignore this node.
    Ignored(Option<Timestamp>),
    /// Somebody took the quarantine away; respected until then.
    Overridden(Timestamp),
    /// Nothing is known: the API server gave no answer.
    Unknown(String),
}

impl Standing {
    /// The word used in metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Standing::Free => "free",
            Standing::Quarantined(_) => "quarantined",
            Standing::Releasing => "releasing",
            Standing::Held => "held",
            Standing::Orphaned => "orphaned",
            Standing::Waiting(_) => "waiting",
            Standing::Ignored(_) => "ignored",
            Standing::Overridden(_) => "overridden",
            Standing::Unknown(_) => "unknown",
        }
    }
}
