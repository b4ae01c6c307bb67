//! A fault and all that is remembered of it. The whole struct is what the
//! store keeps, so a restart changes nothing; unknown fields of a newer
//! release are ignored and missing ones have defaults, so that releases open
//! each other's stores.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::twins::Sight;
use crate::parts::ids::PartId;
use crate::parts::part::{About, Attachment, Presence};
use crate::patterns::set::{Proof, Quarantine, Severity, Stage};
use crate::signal::SourceId;
use crate::time::{BootId, Timestamp, Uptime};

/// What makes a fault the same fault: its pattern and its part.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct FaultKey {
    /// The pattern's name.
    pub pattern: Arc<str>,
    /// The part it holds on.
    pub part: PartId,
}

impl FaultKey {
    /// The short id shown to people: eight hex digits that depend on the key
    /// alone, so a relapse keeps it.
    pub fn id(&self) -> String {
        let text = format!("{}\0{}", self.pattern, self.part);
        format!("{:08x}", crate::hash::fnv1a(text.as_bytes()) as u32)
    }
}

/// `pattern part`, as people and scenarios write it.
impl fmt::Display for FaultKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pattern, self.part)
    }
}

/// Where a fault is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Seen, within its tolerance (or `lasting` not yet over).
    Tolerated,
    /// Tolerance spent, waiting up to `settle` for a cause.
    Settling,
    /// It holds.
    Active,
    /// A proof has begun.
    Recovering,
    /// Folded into the fault that explains it.
    Explained,
    /// Over, with its proof; kept for probation and relapses.
    Cleared,
    /// Its pattern was removed or disabled.
    Withdrawn,
}

impl Phase {
    /// The word used everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Tolerated => "tolerated",
            Phase::Settling => "settling",
            Phase::Active => "active",
            Phase::Recovering => "recovering",
            Phase::Explained => "explained",
            Phase::Cleared => "cleared",
            Phase::Withdrawn => "withdrawn",
        }
    }

    /// Whether the fault is raised: it holds, or its proof is not complete.
    pub fn is_raised(self) -> bool {
        matches!(self, Phase::Active | Phase::Recovering)
    }
}

/// What ended a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// A recovery observation held, or the state was normal again.
    Recovered,
    /// Silence.
    Quiet,
    /// A new boot and silence.
    Rebooted,
    /// Another part in the place.
    Replaced {
        /// The person who said so, and why; none where the census saw it.
        #[serde(default)]
        told: Option<Told>,
    },
    /// A person said so.
    Cleared {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
}

/// A person's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
    /// Whether the census knew better, and was overridden.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
}

impl Ended {
    /// Whether it is another part's place now.
    pub fn is_replaced(&self) -> bool {
        matches!(self, Ended::Replaced { .. })
    }

    /// What a person gave as the reason, if one ended it.
    pub fn why(&self) -> Option<String> {
        match self {
            Ended::Cleared { why, .. } => Some(why.clone()),
            Ended::Replaced { told: Some(told) } => {
                let forced = match told.forced {
                    true => ", against the census",
                    false => "",
                };
                Some(format!("{} (said by {}{forced})", told.why, told.by))
            }
            _ => None,
        }
    }
}

/// As it is shown to people: `cleared by root`.
impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Recovered => f.write_str("recovered"),
            Ended::Quiet => f.write_str("quiet"),
            Ended::Rebooted => f.write_str("rebooted"),
            Ended::Replaced { .. } => f.write_str("replaced"),
            Ended::Cleared { by, .. } => write!(f, "cleared by {by}"),
        }
    }
}

/// One kept observation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// When it happened.
    pub time: Timestamp,
    /// Whether `time` is a reconstruction.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approximate: bool,
    /// The text or reading.
    pub text: String,
}

/// A length of time that accumulates while something holds; persisted as an
/// elapsed amount, so neither a restart nor a step of the wall clock adds to
/// it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
pub struct Stopwatch {
    /// What had elapsed when it last stopped.
    pub elapsed: Duration,
    /// Since when it runs, by the boot clock of this process.
    #[serde(skip)]
    pub since: Option<Uptime>,
}

impl Stopwatch {
    /// What has elapsed by `now`.
    pub fn read(&self, now: Uptime) -> Duration {
        let since = self.since.map_or(Duration::ZERO, |s| now.since(s));
        self.elapsed.saturating_add(since)
    }

    /// Lets it run from `now`, unless it runs.
    pub fn start(&mut self, now: Uptime) {
        self.since.get_or_insert(now);
    }

    /// Stops it at `now`, keeping what has elapsed.
    pub fn stop(&mut self, now: Uptime) {
        self.elapsed = self.read(now);
        self.since = None;
    }

    /// Back to zero, stopped.
    pub fn reset(&mut self) {
        *self = Stopwatch::default();
    }

    /// When it will read `target`, if it runs.
    pub fn due(&self, target: Duration) -> Option<Uptime> {
        let since = self.since?;
        Some(since.plus(target.saturating_sub(self.elapsed)))
    }
}

/// The tolerance's memory: times and counts within the window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Window {
    /// Counted observations, oldest first: when, and how many.
    pub counted: VecDeque<(Timestamp, u64)>,
    /// Values of `distinct`, each with when it was last seen.
    pub values: BTreeMap<String, Timestamp>,
    /// Windows of `same`, one a value.
    pub same: BTreeMap<String, VecDeque<(Timestamp, u64)>>,
    /// The last occasion, for `once per`.
    pub last_occasion: Option<Timestamp>,
    /// Values that had no room any more (more than 256 a part).
    pub dropped: u64,
    /// All errors since the window was last empty, also those that `once
    /// per` and `distinct` do not count.
    pub errors: u64,
    /// Whether a real observation, not only a drill's, is among them.
    pub real: bool,
}

/// A pattern that holds, held or may come to hold on a part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Pattern and part; the part by its identity, where the census knows it.
    pub key: FaultKey,
    /// What it was filed under first, if a better identity was learned: its
    /// id stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filed_as: Option<FaultKey>,
    /// What the census knows of the part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<About>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Its component group.
    pub component: Arc<str>,
    /// The pattern's own severity.
    pub base_severity: Severity,
    /// The severity with all escalations that apply.
    pub severity: Severity,
    /// The pattern's own quarantine.
    pub base_quarantine: Quarantine,
    /// The quarantine with all escalations that apply.
    pub quarantine: Quarantine,
    /// The Node condition that reports it.
    pub condition: Arc<str>,
    /// How far it may go.
    pub stage: Stage,
    /// Further parts for the technician.
    #[serde(default)]
    pub suspects: Vec<PartId>,
    /// The sources that saw it; its silence counts only while they are up.
    #[serde(default)]
    pub sources: Vec<SourceId>,
    /// Its proofs, as they were when it opened or the pattern changed.
    pub clear: Vec<Proof>,
    /// The hash of the pattern these rules came from.
    pub pattern_hash: u64,
    /// One sentence, filled in.
    pub summary: String,
    /// What the technician does, filled in.
    #[serde(default)]
    pub advice: String,
    /// Where it is explained.
    #[serde(default)]
    pub runbook: Option<Arc<str>>,
    /// The captures of the last match.
    #[serde(default)]
    pub captures: BTreeMap<String, String>,
    /// The rendered parents of its escalations, by index.
    #[serde(default)]
    pub parents: Vec<Option<PartId>>,
    /// The first observation.
    pub first: Evidence,
    /// The last few.
    #[serde(default)]
    pub last: VecDeque<Evidence>,
    /// When it was last seen.
    pub last_seen: Timestamp,
    /// The boot in which it last opened or was interrupted: a reboot proves
    /// something only after that one.
    pub last_boot: BootId,
    /// Errors since it opened (or, while tolerated, in the window).
    pub count: u64,
    /// Errors since it was first seen.
    #[serde(default)]
    pub total: u64,
    /// Whether it opened by text that tells of a previous boot.
    #[serde(default)]
    pub since_previous_boot: bool,
    /// Hashes of the history texts filed in `history_boot`.
    #[serde(default)]
    pub history_seen: Vec<u64>,
    /// The boot that `history_seen` is of; a store that lacks it means
    /// `last_boot`.
    #[serde(default)]
    pub history_boot: BootId,
    /// When it opened.
    #[serde(default)]
    pub opened: Option<Timestamp>,
    /// When it was cleared, explained or withdrawn.
    #[serde(default)]
    pub ended: Option<Timestamp>,
    /// What ended it.
    #[serde(default)]
    pub proof: Option<Ended>,
    /// The fault that explains it.
    #[serde(default)]
    pub explained_by: Option<FaultKey>,
    /// What people call the part of that fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explained_on: Option<PartId>,
    /// Faults kept as evidence of this one (an escalation on the parent).
    #[serde(default)]
    pub children: Vec<FaultKey>,
    /// Whether it was filed on the common parent of its children and has not
    /// been observed itself since.
    #[serde(default)]
    pub filed: bool,
    /// When it reopened after a proof; within the last 30 days.
    #[serde(default)]
    pub relapses: VecDeque<Timestamp>,
    /// Only `replaced` or a person clears it: it came back on probation, or
    /// too often.
    #[serde(default)]
    pub locked: bool,
    /// What a drill opened.
    #[serde(default)]
    pub injected: bool,
    /// The tolerance's memory.
    #[serde(default)]
    pub window: Window,
    /// What was counted lately, for sources that tell it too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sights: Vec<Sight>,
    /// How long `where` has held (`lasting`).
    #[serde(default)]
    pub held: Stopwatch,
    /// How long it has been active (`escalate: lasting`).
    #[serde(default)]
    pub active: Stopwatch,
    /// One stopwatch for each entry of `clear`.
    #[serde(default)]
    pub proofs: Vec<Stopwatch>,
    /// The `recovered` and `normal` entries of `clear` that have begun, by
    /// index: a stopwatch at zero does not tell.
    #[serde(default)]
    pub begun: Vec<u8>,
    /// How long it waits for its cause.
    #[serde(default)]
    pub settling: Stopwatch,
    /// How long it has been on probation; `None` when it is not.
    #[serde(default)]
    pub probation: Option<Stopwatch>,
    /// How long its probation is.
    #[serde(default)]
    pub probation_length: Duration,
}

impl Fault {
    /// The short id shown to people, which a relapse and a better identity
    /// keep.
    pub fn id(&self) -> String {
        self.filed_as.as_ref().unwrap_or(&self.key).id()
    }

    /// What people call the part.
    pub fn name(&self) -> &PartId {
        self.about.as_ref().map_or(&self.key.part, |about| &about.name)
    }

    /// Pattern and part, as people write it.
    pub fn title(&self) -> String {
        format!("{} {}", self.key.pattern, self.name())
    }

    /// The fault that explains it, as people write it.
    pub fn cause(&self) -> Option<String> {
        let by = self.explained_by.as_ref()?;
        let part = self.explained_on.as_ref().unwrap_or(&by.part);
        Some(format!("{} {part}", by.pattern))
    }

    /// Whether it is about this node's own hardware or software: what is
    /// remote, virtual or lent takes no node out of service.
    pub fn is_own(&self) -> bool {
        let attachment = self.about.as_ref().map(|about| about.attachment);
        attachment.is_none_or(|a| a == Attachment::Local)
    }

    /// Whether the part is there; `None` if the census does not count it.
    pub fn presence(&self) -> Option<Presence> {
        let about = self.about.as_ref()?;
        about.counted.then_some(about.presence)
    }

    /// Whether its part is this one or lies in it.
    pub fn lies_in(&self, part: &PartId, name: &PartId) -> bool {
        let within = self.about.as_ref().map_or(&[][..], |a| &a.within);
        self.key.part.is_within(part)
            || within.contains(part)
            || self.name().is_within(name)
    }

    /// Whether a proof by silence ended it and its probation is not over.
    pub fn on_probation(&self) -> bool {
        self.probation.is_some()
    }

    /// Whether it came back after each of three proofs in 30 days.
    pub fn recurring(&self) -> bool {
        self.relapses.len() >= super::RECURRING_RELAPSES
    }

    /// A copy as the store keeps it: what every stopwatch has elapsed by
    /// `now` is written into it, and none runs.
    pub fn at(&self, now: Uptime) -> Fault {
        let mut copy = self.clone();
        for watch in copy.stopwatches_mut() {
            watch.stop(now);
        }
        copy
    }

    /// Whether any of its stopwatches runs.
    pub fn is_timed(&self) -> bool {
        let own = [&self.held, &self.active, &self.settling];
        own.into_iter()
            .chain(&self.proofs)
            .chain(&self.probation)
            .any(|watch| watch.since.is_some())
    }

    /// Takes what was seen of the same fault by an agent that did not know
    /// this one yet. Of what both counted, nobody knows how much is the same;
    /// the larger count is never too large.
    pub fn catch_up(&mut self, known: &Fault) {
        self.count = self.count.max(known.count);
        self.total = self.total.max(known.total);
        if known.last_seen > self.last_seen {
            self.last_seen = known.last_seen;
            self.last.clone_from(&known.last);
        }
    }

    fn stopwatches_mut(&mut self) -> impl Iterator<Item = &mut Stopwatch> {
        [&mut self.held, &mut self.active, &mut self.settling]
            .into_iter()
            .chain(&mut self.proofs)
            .chain(&mut self.probation)
    }
}
