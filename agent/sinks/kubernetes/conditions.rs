//! The conditions of the own Node: what each should say. `patch` makes it
//! so. Pure.
//!
//! One condition for each component group: True while a fault is raised,
//! Unknown while a source that should tell can't be read, False otherwise;
//! none where nothing could ever tell.

mod patch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use patch::{CLEARED, CONDITIONS, Haste, Memory, PATTERNS, Plan, plan};

use crate::ledger::desired::{ConditionState, Status};
use crate::observation::Source;
use crate::signal::{Health, SourceId};
use crate::sinks::board::Notice;
use crate::time::{Timestamp, Uptime};

/// Every type ends so. Machine controllers replace nodes over types that
/// others set (KernelDeadlock, ReadonlyFilesystem, …Ready): ours are told
/// from them by their name.
pub const SUFFIX: &str = "Fault";

/// The reason while no fault is known.
const NO_FAULT: &str = "NoFault";

/// The reason while a source can't be read.
const UNREADABLE: &str = "SourceUnreadable";

/// The reason where the Node told of faults that this agent's state does not
/// hold: it was lost, and nobody has said since that they are over.
pub const STATE_LOST: &str = "StateLost";

/// What a condition should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// This.
    Is(Stand),
    /// What it is now: it can't be told yet.
    Keep,
}

/// A condition as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// True, False or Unknown.
    pub status: &'static str,
    /// One CamelCase word.
    pub reason: String,
    /// For people; bounded, one line.
    pub message: String,
    /// Since when, unless the Node has it with this status already.
    pub since: Option<Timestamp>,
    /// What is news: a message that differs alone is none.
    pub essence: u64,
    /// Whether the ledger knows a fault of this group.
    pub known: bool,
}

/// Since when each source can't be read, by the boot clock.
#[derive(Clone, Debug, Default)]
pub struct Blind(BTreeMap<SourceId, Uptime>);

impl Blind {
    /// Takes note of the sources' health.
    pub fn note(
        &mut self,
        health: &BTreeMap<SourceId, Option<Health>>,
        now: Uptime,
    ) {
        let down = |id: &SourceId| {
            matches!(health.get(id), Some(Some(Health::Down(_))))
        };
        self.0.retain(|id, _| down(id));
        for id in health.keys().filter(|id| down(id)) {
            self.0.entry(Arc::clone(id)).or_insert(now);
        }
    }

    fn is_past(&self, id: &SourceId, grace: Duration, now: Uptime) -> bool {
        self.0.get(id).is_some_and(|since| now.since(*since) >= grace)
    }

    /// When the next grace time ends.
    pub fn next(&self, grace: Duration, now: Uptime) -> Option<Uptime> {
        let ends = self.0.values().map(|since| since.plus(grace));
        ends.filter(|end| *end > now).min()
    }
}

/// What the conditions should be. Types that are not in it should not be on
/// the Node.
pub fn wanted(
    notice: &Notice,
    blind: &Blind,
    grace: Duration,
    now: Uptime,
) -> BTreeMap<Arc<str>, Want> {
    let mut wanted = BTreeMap::new();
    for (kind, sources) in notice.groups.iter() {
        let known = notice.desired.conditions.get(kind);
        let want = match known {
            Some(state) if state.status == Status::True => Some(raised(state)),
            _ => judge(notice, sources, known, |id| {
                blind.is_past(id, grace, now)
            }),
        };
        if let Some(want) = want.filter(|_| is_valid(kind)) {
            wanted.insert(Arc::clone(kind), want);
        }
    }
    // A fault can outlive its pattern's group by a moment: a reload.
    for (kind, state) in &notice.desired.conditions {
        if state.status == Status::True && is_valid(kind) {
            wanted.entry(Arc::clone(kind)).or_insert_with(|| raised(state));
        }
    }
    wanted
}

fn raised(state: &ConditionState) -> Want {
    Want::Is(Stand {
        status: "True",
        reason: state.reason.clone(),
        message: state.message.clone(),
        since: state.since,
        essence: state.essence,
        known: true,
    })
}

/// A group without a raised fault.
fn judge(
    notice: &Notice,
    sources: &BTreeSet<Source>,
    known: Option<&ConditionState>,
    is_blind: impl Fn(&SourceId) -> bool,
) -> Option<Want> {
    let mut up = Vec::new();
    let mut down = Vec::new();
    let mut untold = false;
    for (id, health) in serving(notice, sources) {
        match health {
            Some(Health::Up) => {
                let name = id.split(':').next().unwrap_or_default();
                if !up.iter().any(|known| known == name) {
                    up.push(name.to_owned());
                }
            }
            Some(Health::Down(why)) => down.push((id, why)),
            Some(Health::Absent(_)) => {}
            None => untold = true,
        }
    }
    if !notice.complete || untold {
        return Some(Want::Keep);
    }
    if up.is_empty() && down.is_empty() {
        return None;
    }
    if down.is_empty() {
        return Some(Want::Is(over(known, &up)));
    }
    let blind: Vec<String> = down
        .iter()
        .filter(|(id, _)| is_blind(id))
        .map(|(id, why)| format!("{id}: {why}"))
        .collect();
    if blind.is_empty() {
        return Some(Want::Keep);
    }
    let mut message = format!("cannot be read: {}", blind.join("; "));
    if !up.is_empty() {
        message.push_str(&format!(" (read: {})", up.join(", ")));
    }
    let essence = crate::hash::fnv1a(message.as_bytes());
    let reason = UNREADABLE.to_owned();
    let known = known.is_some();
    let (status, since) = ("Unknown", None);
    Some(Want::Is(Stand { status, reason, message, since, essence, known }))
}

/// The sources that serve a group, with their health. The kernel's text may
/// come from the journal or from files where the device is not read.
fn serving<'a>(
    notice: &'a Notice,
    sources: &'a BTreeSet<Source>,
) -> impl Iterator<Item = (&'a SourceId, &'a Option<Health>)> {
    let kmsg = notice.health.contains_key(Source::Kmsg.name());
    let stands_in = !kmsg && sources.contains(&Source::Kmsg);
    notice.health.iter().filter(move |(id, _)| {
        let name = id.split(':').next().unwrap_or_default();
        let text = [Source::Journal.name(), Source::File.name()];
        sources.iter().any(|source| source.name() == name)
            || (stands_in && text.contains(&name))
    })
}

/// A group that has no fault, or none any more.
fn over(known: Option<&ConditionState>, up: &[String]) -> Stand {
    let (status, known_some) = ("False", known.is_some());
    if let Some(state) = known {
        return Stand {
            status,
            reason: state.reason.clone(),
            message: state.message.clone(),
            since: state.since,
            essence: state.essence,
            known: known_some,
        };
    }
    let message = format!("no fault; looked for by {}", up.join(", "));
    let essence = crate::hash::fnv1a(message.as_bytes());
    let reason = NO_FAULT.to_owned();
    let since = None;
    Stand { status, reason, message, since, essence, known: known_some }
}

/// Whether a type is one that we may write.
pub fn is_valid(kind: &str) -> bool {
    kind.len() <= 63
        && kind.ends_with(SUFFIX)
        && kind.starts_with(|c: char| c.is_ascii_uppercase())
        && kind.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests;
