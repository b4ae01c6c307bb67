//! The conditions of the own Node: what each should say, and the one patch
//! that makes it so. Pure.
//!
//! One condition for each component group: True while a fault is raised,
//! Unknown while a source that should tell can't be read, False otherwise;
//! none where nothing could ever tell. The types that are ours stand in an
//! annotation, written in the same patch, so that they can be told from
//! others' and taken away by whoever comes after us.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::cluster::Node;
use crate::ledger::desired::{ConditionState, MESSAGE_MAX, Status};
use crate::observation::Source;
use crate::signal::{Health, SourceId};
use crate::sinks::board::Notice;
use crate::time::{Timestamp, Uptime};

/// The annotation that lists the condition types that are ours.
pub const CONDITIONS: &str = "faultline.dev/conditions";

/// The annotation that tells which pattern set is in force.
pub const PATTERNS: &str = "faultline.dev/patterns";

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

/// The essence that is remembered of a condition whose lost state a person
/// has settled.
pub const CLEARED: u64 = 1;

/// The longest reason (`metav1.Condition`; a Node's are not checked).
const REASON_MAX: usize = 128;

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

/// What the API server would take although it makes no sense.
fn made_valid(stand: &Stand) -> (String, String) {
    let letters = |c: &char| c.is_ascii_alphanumeric();
    let mut reason: String =
        stand.reason.chars().filter(letters).take(REASON_MAX).collect();
    if !reason.starts_with(|c: char| c.is_ascii_alphabetic()) {
        reason.insert(0, 'P');
    }
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut message: String = stand.message.chars().map(plain).collect();
    message.truncate(message.floor_char_boundary(MESSAGE_MAX));
    (reason, message)
}

/// What was written to the Node, as the store keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Which Node: one that was re-created under the same name has decided
    /// nothing.
    pub uid: String,
    /// The types that were written, each with its essence.
    pub types: BTreeMap<String, u64>,
}

/// How soon a patch should go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Haste {
    /// Nobody waits for it.
    Later,
    /// A condition changes.
    Soon,
    /// The node turns from well to failing, or back.
    Now,
}

/// A patch of `nodes/status`.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The body, as a strategic merge patch.
    pub body: Value,
    /// How soon.
    pub haste: Haste,
    /// What is remembered once it is done.
    pub memory: Memory,
}

/// The types that are ours on this Node.
fn ours(node: &Node, memory: &Memory) -> BTreeSet<String> {
    let listed = node.annotation(CONDITIONS).unwrap_or_default();
    let listed = listed.split(',').filter(|kind| is_valid(kind));
    let mut ours: BTreeSet<String> = listed.map(str::to_owned).collect();
    if memory.uid == node.metadata.uid {
        ours.extend(memory.types.keys().cloned());
    }
    ours
}

fn existing<'a>(node: &'a Node, kind: &str) -> Option<&'a Value> {
    node.status.conditions.iter().find(|c| c["type"] == *kind)
}

/// The patch that brings the Node to what is wanted; `None`: it is so.
pub fn plan(
    node: &Node,
    wanted: &BTreeMap<Arc<str>, Want>,
    notice: &Notice,
    memory: &Memory,
    now: Timestamp,
) -> Option<Plan> {
    let mut making = Making::new(node, memory, now);
    for (kind, want) in wanted {
        making.settle(kind, want);
    }
    if notice.complete {
        for kind in ours(node, memory) {
            if !wanted.contains_key(kind.as_str()) {
                making.remove(&kind);
            }
        }
    }
    making.finish(notice)
}

/// A plan in the making.
struct Making<'a> {
    node: &'a Node,
    memory: &'a Memory,
    now: Timestamp,
    entries: Vec<Value>,
    kept: BTreeSet<String>,
    next: Memory,
    haste: Haste,
    /// Whether any condition of ours is True, on the Node and when done.
    failing: [bool; 2],
}

impl<'a> Making<'a> {
    fn new(node: &'a Node, memory: &'a Memory, now: Timestamp) -> Making<'a> {
        let uid = node.metadata.uid.clone();
        let same = memory.uid == uid;
        let types =
            if same { memory.types.clone() } else { BTreeMap::default() };
        Making {
            node,
            memory,
            now,
            entries: Vec::new(),
            kept: BTreeSet::new(),
            next: Memory { uid, types },
            haste: Haste::Later,
            failing: [false; 2],
        }
    }

    fn settle(&mut self, kind: &Arc<str>, want: &Want) {
        let found = existing(self.node, kind);
        let was_true = found.is_some_and(|c| c["status"] == "True");
        self.failing[0] |= was_true;
        let Want::Is(stand) = want else {
            self.failing[1] |= was_true;
            if found.is_some() && ours(self.node, self.memory).contains(&**kind)
            {
                self.kept.insert(kind.to_string());
            }
            return;
        };
        let lost = self.lost(kind, stand, found);
        let stand = lost.as_ref().unwrap_or(stand);
        self.kept.insert(kind.to_string());
        self.failing[1] |= stand.status == "True";
        if self.is_so(kind, stand, found) {
            self.next.types.insert(kind.to_string(), stand.essence);
            return;
        }
        self.write(kind, stand, found);
    }

    /// What the Node tells of faults that the agent knows nothing of.
    fn lost(
        &self,
        kind: &str,
        stand: &Stand,
        found: Option<&Value>,
    ) -> Option<Stand> {
        let found = found?;
        let lost_before = found["reason"] == STATE_LOST;
        let wrote = self.memory.uid == self.node.metadata.uid
            && self.memory.types.contains_key(kind);
        let tells = found["status"] == "True" && !wrote;
        let listed = ours(self.node, self.memory).contains(kind);
        if stand.known || !listed || !(tells || lost_before) {
            return None;
        }
        // A person took the type off the remembered ones: it is over.
        if lost_before && self.memory.types.get(kind) == Some(&CLEARED) {
            return None;
        }
        let message = found["message"].as_str().unwrap_or_default();
        let since = found["lastTransitionTime"].as_str().unwrap_or("?");
        let message = match lost_before {
            true => message.to_owned(),
            false => format!(
                "the agent's state was lost; before, since {since}: {message}"
            ),
        };
        let essence = crate::hash::fnv1a(STATE_LOST.as_bytes());
        Some(Stand {
            status: "Unknown",
            reason: STATE_LOST.to_owned(),
            message,
            since: None,
            essence,
            known: true,
        })
    }

    fn is_so(&self, kind: &str, stand: &Stand, found: Option<&Value>) -> bool {
        let Some(found) = found else { return false };
        let (reason, message) = made_valid(stand);
        let remembered = self.memory.uid == self.node.metadata.uid
            && self.memory.types.get(kind) == Some(&stand.essence);
        found["status"] == *stand.status
            && found["reason"] == *reason
            && (found["message"] == *message || remembered)
    }

    fn write(&mut self, kind: &str, stand: &Stand, found: Option<&Value>) {
        let (reason, message) = made_valid(stand);
        let stays = found.filter(|c| c["status"] == *stand.status);
        let since = stays.map(|c| c["lastTransitionTime"].clone());
        let since = since.filter(Value::is_string).unwrap_or_else(|| {
            // Never later than now: a clock that was set back since.
            let since = stand.since.map_or(self.now, |s| s.min(self.now));
            json!(since.to_string())
        });
        self.entries.push(json!({
            "type": kind,
            "status": stand.status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": self.now.to_string(),
            "lastTransitionTime": since,
        }));
        self.next.types.insert(kind.to_owned(), stand.essence);
        let quiet = found.is_none() && stand.status == "False";
        if !quiet {
            self.haste = self.haste.max(Haste::Soon);
        }
    }

    fn remove(&mut self, kind: &str) {
        self.next.types.remove(kind);
        if let Some(found) = existing(self.node, kind) {
            self.failing[0] |= found["status"] == "True";
            self.entries.push(json!({ "$patch": "delete", "type": kind }));
            self.haste = self.haste.max(Haste::Soon);
        }
    }

    fn finish(mut self, notice: &Notice) -> Option<Plan> {
        let mut notes = Map::new();
        let mut note = |key: &str, value: Option<String>| {
            if self.node.annotation(key) != value.as_deref() {
                notes.insert(key.to_owned(), json!(value));
            }
        };
        let kept: Vec<&str> = self.kept.iter().map(String::as_str).collect();
        note(CONDITIONS, (!kept.is_empty()).then(|| kept.join(",")));
        let hash = format!("{:016x}", notice.patterns);
        if notice.complete {
            note(PATTERNS, (!notice.groups.is_empty()).then_some(hash));
        }
        if notes.is_empty() && self.entries.is_empty() {
            return None;
        }
        if self.failing[0] != self.failing[1] && !self.entries.is_empty() {
            self.haste = Haste::Now;
        }
        // With the uid, a Node re-created meanwhile refuses the patch (422,
        // "field is immutable").
        let mut metadata = json!({ "uid": self.node.metadata.uid });
        if !notes.is_empty() {
            metadata["annotations"] = Value::Object(notes);
        }
        let mut body = json!({ "metadata": metadata });
        if !self.entries.is_empty() {
            body["status"] = json!({ "conditions": self.entries });
        }
        Some(Plan { body, haste: self.haste, memory: self.next })
    }
}

#[cfg(test)]
mod tests;
