//! The one patch that brings the own Node's conditions to what they should
//! be. Pure.
//!
//! The types that are ours stand in an annotation, written in the same patch,
//! so that they can be told from others' and taken away by whoever comes
//! after us; the Node's uid is in it too, so that a Node made anew refuses
//! what was meant for another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::cluster::Node;
use super::super::listed::{self, FAULTS};
use super::{STATE_LOST, Stand, Want, is_valid};
use crate::ledger::desired::MESSAGE_MAX;
use crate::sinks::board::Notice;
use crate::time::Timestamp;

/// The annotation that lists the condition types that are ours.
pub const CONDITIONS: &str = "faultline.dev/conditions";

/// The annotation that tells which pattern set is in force.
pub const PATTERNS: &str = "faultline.dev/patterns";

/// The essence that is remembered of a condition whose lost state a person
/// has settled.
pub const CLEARED: u64 = 1;

/// The longest reason (`metav1.Condition`; a Node's are not checked).
const REASON_MAX: usize = 128;

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

pub(super) fn existing<'a>(node: &'a Node, kind: &str) -> Option<&'a Value> {
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
        // Before all is known, none means nothing.
        let faults = listed::text(&notice.faults);
        let reports = !notice.groups.is_empty();
        if notice.complete || faults.is_some() {
            note(FAULTS, faults.filter(|_| reports));
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
