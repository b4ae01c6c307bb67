//! The ledger: every fault and its life. Pure and synchronous; time comes in
//! with each step, and what the world is told comes out as changes.
//!
//! Invariant: no clock, no I/O, no async below this module.

pub mod fault;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::patterns::set::PatternSet;
use crate::signal::{Batch, Health, SourceId};
use crate::time::Timestamp;
use fault::{Ended, Fault, FaultKey};

/// A fault with so many relapses in 30 days is `recurring`: only `replaced`
/// or a person clears it.
pub const RECURRING_RELAPSES: usize = 3;

/// What the ledger is stepped with.
#[derive(Clone, Debug)]
pub enum Input {
    /// What a source saw.
    Batch(Batch),
    /// A source came up, went down, or cannot exist here.
    Health(SourceId, Health),
    /// A new pattern set is in force.
    Patterns(Arc<PatternSet>),
    /// A person's command.
    Operator(Command),
    /// Time has passed.
    Tick,
}

/// What a person may ask of the ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Ends a fault.
    Clear {
        /// The fault's id, or `pattern part`, or a part with one fault.
        fault: String,
        /// Who asked.
        by: String,
        /// Why.
        why: String,
        /// Whether the part is said to have been replaced.
        replaced: bool,
        /// Clears although the failed serial is still present.
        force: bool,
    },
}

/// What became of a fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It holds (again, if `relapse`).
    Opened {
        /// Whether it came back after a proof.
        relapse: bool,
    },
    /// Severity or quarantine changed.
    Escalated,
    /// Its proof has begun.
    Recovering,
    /// Its proof was interrupted; it holds as before.
    Interrupted,
    /// It was folded into its cause.
    Explained {
        /// The cause.
        by: FaultKey,
    },
    /// It is over.
    Cleared(Ended),
    /// Its probation is over.
    OffProbation,
    /// Its pattern was removed or disabled.
    Withdrawn,
}

impl ChangeKind {
    /// The word used in logs, metrics and history.
    pub fn word(&self) -> &'static str {
        match self {
            ChangeKind::Opened { .. } => "opened",
            ChangeKind::Escalated => "escalated",
            ChangeKind::Recovering => "recovering",
            ChangeKind::Interrupted => "interrupted",
            ChangeKind::Explained { .. } => "explained",
            ChangeKind::Cleared(_) => "cleared",
            ChangeKind::OffProbation => "off-probation",
            ChangeKind::Withdrawn => "withdrawn",
        }
    }
}

/// One change, with the fault as it is after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When, by the wall clock; for an opening, the time of the observation.
    pub time: Timestamp,
    /// What.
    pub kind: ChangeKind,
    /// The fault after the change.
    pub fault: Fault,
}
