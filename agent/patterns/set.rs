//! The compiled pattern set: what `compile` makes of files and what the
//! matcher and the ledger work with. Past this point nothing asks whether a
//! value is sane.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::template::Template;
use crate::observation::Source;

/// How bad a fault is; the order is the order of badness.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a note; never a fault.
    Info,
    /// Corrected, tolerated, or redundancy lost: repair when convenient.
    Warning,
    /// Needs repair; the node is still useful.
    Error,
    /// The node must not get new work.
    Fatal,
}

impl Severity {
    /// The word used everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Fatal => "fatal",
        }
    }
}

/// What keeps new work off the node; the order is the order of strength.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Quarantine {
    /// Nothing.
    #[default]
    None,
    /// A NoSchedule taint.
    Taint,
    /// `spec.unschedulable`.
    Cordon,
    /// A NoExecute taint.
    Evict,
}

impl Quarantine {
    /// The word used everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Quarantine::None => "none",
            Quarantine::Taint => "taint",
            Quarantine::Cordon => "cordon",
            Quarantine::Evict => "evict",
        }
    }
}

/// How far a pattern's faults may go.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Metrics and log only.
    Observe,
    /// Also conditions, events and notifications.
    Report,
    /// Also quarantine.
    Enforce,
}

/// `N in T, once per O`: tolerates N; what makes N+1 within (t−T, t] opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tolerance {
    /// How many are tolerated.
    pub count: u64,
    /// Within how long.
    pub window: Duration,
    /// Observations closer than this to the last counted one are the same
    /// occasion.
    pub once_per: Option<Duration>,
}

/// What `tolerate` counts besides plain occasions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubKey {
    /// Every observation counts in one window.
    None,
    /// Each rendered value has a window of its own.
    Same(Template),
    /// Only different rendered values count.
    Distinct(Template),
}

/// One entry of `clear`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// A recovery observation, then no fault for `hold`.
    Recovered {
        /// How long it must hold.
        hold: Duration,
    },
    /// State sources: false for so long.
    Normal(Duration),
    /// Silence for so long while the source is up.
    Quiet(Duration),
    /// A new boot, then silence for so long.
    Reboot(Duration),
    /// Another serial number in the same place.
    Replaced,
}

/// The conditions of one `escalate` entry; all that are set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EscalateIf {
    /// So many of this pattern's faults are active or recovering.
    pub parts: Option<u32>,
    /// With `parts`: only faults whose rendered parent is this one's.
    pub under: Option<Template>,
    /// So many errors since opening.
    pub count: Option<u64>,
    /// Active for so long.
    pub lasting: Option<Duration>,
    /// So many reopenings in 30 days.
    pub relapses: Option<u32>,
}

/// One entry of `escalate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// When it applies.
    pub when: EscalateIf,
    /// The severity while it does.
    pub severity: Option<Severity>,
    /// The quarantine while it does.
    pub quarantine: Option<Quarantine>,
    /// Files one fault on the common parent instead (`{parent}`).
    pub on_parent: bool,
}

/// One pattern, checked.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// Its unique name.
    pub name: Arc<str>,
    /// Its component group.
    pub component: Arc<str>,
    /// One sentence.
    pub summary: Template,
    /// How bad.
    pub severity: Severity,
    /// The source whose observations it takes.
    pub source: Source,
    /// The part, in order of preference.
    pub part: Vec<Template>,
    /// Further parts for the technician.
    pub suspects: Vec<Template>,
    /// What is tolerated; `None` opens at the first observation.
    pub tolerate: Option<Tolerance>,
    /// What the tolerance counts.
    pub sub_key: SubKey,
    /// State sources: how long `where` must hold.
    pub lasting: Duration,
    /// The proofs, in the order of the file.
    pub clear: Vec<Proof>,
    /// How long a fault is on probation after a proof by silence.
    pub probation: Duration,
    /// Escalations, in the order of the file.
    pub escalate: Vec<Escalation>,
    /// The patterns this one explains.
    pub suppresses: Vec<Arc<str>>,
    /// The sources that tell the same errors better.
    pub yields: Vec<Source>,
    /// Whether some pattern suppresses this one.
    pub suppressible: bool,
    /// How long a suppressible fault waits for its cause.
    pub settle: Duration,
    /// Whether its text tells of the past.
    pub history: bool,
    /// Known to be harmless.
    pub benign: bool,
    /// Takes only kernel lines that no other pattern knows.
    pub fallback: bool,
    /// The Node condition that reports it.
    pub condition: Arc<str>,
    /// What keeps work off the node while it holds.
    pub quarantine: Quarantine,
    /// How far it may go.
    pub stage: Stage,
    /// The share of nodes it applies to, 0 to 100.
    pub rollout: u8,
    /// What the technician does.
    pub advice: Template,
    /// Where it is explained.
    pub runbook: Option<Arc<str>>,
    /// The file it came from, as shown to people.
    pub file: Arc<str>,
    /// A stable hash of its whole text; it changes when the pattern does.
    pub hash: u64,
    /// Whether a fault of it may exist: set when it takes a fault's text, and
    /// by whoever restores faults or puts a later set in force.
    pub seen: Arc<AtomicBool>,
    /// The same of any pattern of its component.
    pub component_seen: Arc<AtomicBool>,
    /// Of how many patterns of the set that was said, counted for all of them
    /// together.
    pub expected: Arc<AtomicU64>,
}

/// Everything the matcher and the ledger know of patterns; immutable and
/// shared. `agent/patterns/matcher.rs` holds the compiled matchers.
#[derive(Debug)]
pub struct PatternSet {
    /// All patterns by name (disabled ones are not here).
    pub patterns: BTreeMap<Arc<str>, Arc<Pattern>>,
    /// The compiled matchers.
    pub matcher: super::matcher::Matcher,
    /// A hash over all patterns: the set in force.
    pub hash: u64,
    /// Whether a file of which no good version is known was left out: a fault
    /// of an unknown pattern may be one of its.
    pub incomplete: bool,
}

impl Pattern {
    /// Says that a fault of it may exist.
    pub fn expect(&self) {
        if self.seen.load(Ordering::Relaxed) {
            return;
        }
        self.seen.store(true, Ordering::Relaxed);
        self.component_seen.store(true, Ordering::Relaxed);
        // Whoever sees the new number sees what was said.
        self.expected.fetch_add(1, Ordering::Release);
    }
}

impl PatternSet {
    /// Says that faults of every pattern may exist: a set that is not the
    /// first of its process takes over what others have opened.
    pub fn expect_all(&self) {
        for pattern in self.patterns.values() {
            pattern.expect();
        }
    }

    /// The pattern of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Pattern>> {
        self.patterns.get(name)
    }
}
