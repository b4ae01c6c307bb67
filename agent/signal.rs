//! What crosses from a source's thread to the ledger: signals, gaps, marks.
//!
//! A signal is an observation that a pattern took. It owns its text, since it
//! leaves the source's buffer; nearly no observation becomes one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::hash::fnv1a;
use crate::observation::{Observation, Source, Value};
use crate::parts::census::Census;
use crate::parts::ids::PartId;
use crate::time::Timestamp;

/// The longest evidence text kept, bytes; a kernel record is at most 1 KiB
/// of text (LOG_LINE_MAX, kernel/printk/printk.c).
pub const TEXT_MAX: usize = 1024;

/// What a match means for the fault of its pattern and part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Counts towards the tolerance and may open the fault.
    Open,
    /// Completes or begins the `recovered` proof at this index of `clear`.
    Proof(u8),
    /// Tells of the past: may open the fault, never counts.
    History,
    /// Belongs to a block or an opened fault; counts 0.
    Evidence,
    /// Severity info: never opens a fault.
    Note,
}

impl Effect {
    /// The word shown to people and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Effect::Open => "open",
            Effect::Proof(_) => "proof",
            Effect::History => "history",
            Effect::Evidence => "evidence",
            Effect::Note => "note",
        }
    }
}

/// By what an error is known again that another source tells too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twin {
    /// Equal for the same error, within a pattern.
    pub key: u64,
    /// How long before the signal's time it may have happened: counters are
    /// read at intervals.
    pub span: Duration,
}

impl Twin {
    /// What an observation is known by; `None` for those that no other
    /// source tells. A machine check is known by its CPU, bank and status;
    /// errors of a memory controller or a PCIe function by the part alone,
    /// since counters tell no more.
    pub fn of(observation: &Observation<'_>, part: &PartId) -> Option<Twin> {
        let number = |name| match observation.get(name) {
            Some(Value::Number(n)) => n.to_bits(),
            _ => u64::MAX,
        };
        let mut bytes = Vec::new();
        match observation.patterns {
            Source::Mce => {
                let Some(Value::Text(status)) = observation.get("status")
                else {
                    return None;
                };
                bytes.extend(number("cpu").to_le_bytes());
                bytes.extend(number("bank").to_le_bytes());
                bytes.extend(status);
            }
            Source::Edac | Source::Aer => {
                bytes.extend(part.as_str().as_bytes());
            }
            _ => return None,
        }
        let span = match observation.get("span") {
            Some(Value::Number(seconds)) => {
                Duration::try_from_secs_f64(seconds).unwrap_or_default()
            }
            _ => Duration::ZERO,
        };
        Some(Twin { key: fnv1a(&bytes), span })
    }
}

/// A pattern's match, on its way to the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// The pattern's name; the ledger looks it up in the set in force.
    pub pattern: Arc<str>,
    /// What the match means.
    pub effect: Effect,
    /// The part it is about: the first of `part` whose captures resolve.
    pub part: PartId,
    /// Further parts for the technician.
    pub suspects: Vec<PartId>,
    /// How many errors it stands for.
    pub count: u64,
    /// The rendered `same` or `distinct`.
    pub value: Option<String>,
    /// The rendered `under` of each `escalate` entry that has one.
    pub parents: Vec<Option<PartId>>,
    /// When it happened, by the wall clock.
    pub time: Timestamp,
    /// Whether `time` is a reconstruction.
    pub approximate: bool,
    /// Whether a drill put it in.
    pub injected: bool,
    /// By what it is known again when another source tells it too.
    pub twin: Option<Twin>,
    /// Captures and word fields, for the templates of summary and advice.
    pub captures: BTreeMap<String, String>,
    /// The text or reading itself, at most [`TEXT_MAX`] bytes, lossy UTF-8.
    pub text: String,
}

#[cfg(test)]
impl Signal {
    /// One error that opens, as tests need it.
    pub fn opening(pattern: &str, part: &str, time: Timestamp) -> Signal {
        Signal {
            pattern: pattern.into(),
            effect: Effect::Open,
            part: PartId::new(part),
            suspects: Vec::new(),
            count: 1,
            value: None,
            parents: Vec::new(),
            time,
            approximate: false,
            injected: false,
            twin: None,
            captures: BTreeMap::new(),
            text: String::new(),
        }
    }
}

/// How a state source finds a pattern on a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Truth {
    /// `where` holds.
    True,
    /// `where` does not hold.
    False,
    /// It cannot be told; holds are paused.
    Unknown,
}

/// One thing that happened at a source, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A pattern took an observation of an event source.
    Match(Signal),
    /// The truth of a state pattern on a part changed (or is told for the
    /// first time). `signal.effect` is `Open`.
    State(Signal, Truth),
    /// The kernel said that it left out `count` lines of the function that
    /// `patterns` name in `callbacks`; of which of them, it does not say.
    Suppressed {
        /// The patterns, in the order of their files; at least one.
        patterns: Arc<[Arc<str>]>,
        /// How many lines were left out.
        count: u64,
        /// When that was said.
        time: Timestamp,
        /// The line.
        text: String,
    },
    /// Observations of an informational pattern that were only counted.
    Notes {
        /// The pattern.
        pattern: Arc<str>,
        /// How many.
        count: u64,
    },
    /// Records were lost before they could be read.
    Gap {
        /// How many, exactly.
        lost: u64,
    },
    /// Somebody looked at the machine: which parts there are.
    Census(Arc<Census>),
}

/// The name under which a source's position and health are kept: the source,
/// and for `file` the path (`file:/var/log/messages`).
pub type SourceId = Arc<str>;

/// A source's position, as that source writes it; the ledger carries it
/// without looking inside. An empty one is forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub String);

/// What a source sends over the queue at once; stepped and committed as one.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Which source.
    pub source: Source,
    /// Which instance of it.
    pub id: SourceId,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Where the source stands after these events.
    pub position: Option<Position>,
}

/// Whether a source can do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It reads.
    Up,
    /// It should be readable here and is not; why.
    Down(String),
    /// It cannot exist here; why.
    Absent(String),
}
