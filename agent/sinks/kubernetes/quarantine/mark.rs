//! The mark on a Node: one taint or the cordon, one label for lists, one
//! annotation that says what was done, why, since when, and what was there
//! before. All of it is one merge patch that carries the version it was
//! decided at and the whole list of taints as read.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::cluster::{Node, QUARANTINE};
use super::{FAULT_TEXT_MAX, FAULTS_MAX, OVERRIDDEN, Want};
use crate::hash::fnv1a;
use crate::patterns::set::Quarantine;
use crate::time::Timestamp;

/// The taint's key; the same name as label and annotation.
pub const TAINT: &str = QUARANTINE;

/// What the annotation says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// How.
    pub how: Quarantine,
    /// The component of the worst fault.
    pub component: String,
    /// `pattern part` of each fault that asks, the worst first.
    pub faults: Vec<String>,
    /// Since when, as RFC 3339.
    pub since: String,
    /// The uid of the Node it was written on: copied to another Node it
    /// means nothing.
    pub uid: String,
    /// What was there before.
    #[serde(default)]
    pub before: Before,
    /// Whether it took no room in the budget, since somebody else kept the
    /// node out: it has to ask when that ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub free: bool,
}

/// What was there before, and stays when the mark goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Before {
    /// Whether the node was cordoned already.
    pub unschedulable: bool,
}

impl Mark {
    /// The mark that a Node carries, if it is one of this Node.
    pub fn read(node: &Node) -> Option<Mark> {
        let text = node.annotation(QUARANTINE)?;
        let mark: Mark = serde_json::from_str(text).ok()?;
        (mark.uid == node.metadata.uid).then_some(mark)
    }

    /// Whether what the mark says was done is still so.
    pub fn is_in_force(&self, node: &Node) -> bool {
        match self.how {
            Quarantine::None => false,
            Quarantine::Cordon => node.spec.unschedulable,
            Quarantine::Taint | Quarantine::Evict => has_taint(node),
        }
    }

    /// Whether a person's order names all that it was made for: the
    /// component, its condition, or what is in each of its faults' words.
    pub fn is_named_by(&self, what: &str) -> bool {
        let of_condition = what.strip_suffix("Fault");
        let named =
            |fault: &String| fault.split_whitespace().any(|word| word == what);
        self.component == what
            || of_condition
                .is_some_and(|c| c.eq_ignore_ascii_case(&self.component))
            || (!self.faults.is_empty() && self.faults.iter().all(named))
    }

    fn effect(&self) -> &'static str {
        match self.how {
            Quarantine::Evict => "NoExecute",
            _ => "NoSchedule",
        }
    }

    fn taint(&self) -> Option<Value> {
        (self.how != Quarantine::Cordon).then(|| {
            json!({ "key": TAINT, "value": self.component,
                    "effect": self.effect() })
        })
    }

    /// By which people's knowledge of one mark is told from that of another.
    pub fn print(&self) -> u64 {
        fnv1a(self.text().as_bytes())
    }

    /// The faults that it was made for, for people; anybody who may edit the
    /// Node could have written more.
    pub fn words(&self) -> Vec<String> {
        let words = self.faults.iter().take(FAULTS_MAX);
        let cut = |word: &String| {
            word[..word.floor_char_boundary(FAULT_TEXT_MAX)].to_owned()
        };
        words.map(cut).collect()
    }

    fn text(&self) -> String {
        serde_json::to_string(self).expect("strings and flags only")
    }

    /// Whether the Node shows exactly this mark.
    pub fn is_written(&self, node: &Node) -> bool {
        let ours: Vec<&Value> = taints(node).collect();
        let same = match self.taint() {
            None => ours.is_empty() && node.spec.unschedulable,
            Some(taint) => {
                let like = |t: &Value| {
                    ["key", "value", "effect"].iter().all(|k| t[k] == taint[k])
                };
                ours.len() == 1 && like(ours[0])
            }
        };
        same && node.label(QUARANTINE) == Some(self.how.word())
            && node.annotation(QUARANTINE) == Some(&self.text())
    }

    /// The patch that writes this mark on a Node, `instead` of the one that
    /// stands there.
    pub fn patch(&self, node: &Node, instead: Option<&Mark>) -> Value {
        let mut patch = Patch::of(node);
        patch.label(QUARANTINE, Some(self.how.word()));
        patch.annotation(QUARANTINE, Some(&self.text()));
        if node.annotation(OVERRIDDEN).is_some() {
            patch.annotation(OVERRIDDEN, None);
        }
        patch.taint(node, self.taint());
        let cordoned_by_us = instead.is_some_and(Mark::cordoned);
        match self.how {
            Quarantine::Cordon => patch.cordon(true),
            _ if cordoned_by_us => patch.cordon(false),
            _ => {}
        }
        patch.0
    }

    /// Whether this mark is a cordon where none was before.
    pub fn cordoned(&self) -> bool {
        self.how == Quarantine::Cordon && !self.before.unschedulable
    }
}

/// The mark that a want makes on a Node which carries `old`.
pub fn mark(
    want: &Want,
    how: Quarantine,
    node: &Node,
    old: Option<&Mark>,
    now: Timestamp,
) -> Mark {
    let cordoned = match old {
        // What was there before the first mark is what stays.
        Some(old) if old.how == Quarantine::Cordon => old.before.unschedulable,
        _ => node.spec.unschedulable,
    };
    Mark {
        how,
        component: want.component.clone(),
        faults: want.words.clone(),
        since: old.map_or_else(|| now.to_string(), |old| old.since.clone()),
        uid: node.metadata.uid.clone(),
        before: Before { unschedulable: how == Quarantine::Cordon && cordoned },
        free: old.map_or_else(|| is_free(node), |old| old.free),
    }
}

/// Whether somebody keeps work off the node by a decision of their own, so
/// that marking it takes nothing from anybody. A node that is not ready is
/// none of these: it comes back by itself, and its mark would stay.
pub fn is_free(node: &Node) -> bool {
    node.spec.unschedulable || node.row(None).retired
}

/// The taints with our key; there should be one at most.
pub fn taints(node: &Node) -> impl Iterator<Item = &Value> {
    node.spec.taints.iter().filter(|taint| taint["key"] == TAINT)
}

/// The taints of others, in order.
pub fn others(node: &Node) -> Vec<Value> {
    let all = node.spec.taints.iter();
    all.filter(|taint| taint["key"] != TAINT).cloned().collect()
}

/// The patch that takes the taint away, and nothing else.
pub fn drop_taint(node: &Node) -> Value {
    let mut patch = Patch::of(node);
    patch.taint(node, None);
    patch.0
}

/// Whether our taint is there.
pub fn has_taint(node: &Node) -> bool {
    taints(node).next().is_some()
}

/// Whether the Node carries label or annotation of a mark.
pub fn has_signs(node: &Node) -> bool {
    node.label(QUARANTINE).is_some() || node.annotation(QUARANTINE).is_some()
}

/// The patch that takes a mark off, and only what the agent did: a cordon
/// that was there before stays, and so does the taint where a mark says
/// nothing of one.
pub fn unmark(
    node: &Node,
    mark: Option<&Mark>,
    overridden: Option<Timestamp>,
) -> Value {
    let mut patch = Patch::of(node);
    if node.label(QUARANTINE).is_some() {
        patch.label(QUARANTINE, None);
    }
    if node.annotation(QUARANTINE).is_some() {
        patch.annotation(QUARANTINE, None);
    }
    let note = overridden.map(|at| at.to_string());
    if note.is_some() || node.annotation(OVERRIDDEN).is_some() {
        patch.annotation(OVERRIDDEN, note.as_deref());
    }
    if mark.is_some() {
        patch.taint(node, None);
    }
    if mark.is_some_and(Mark::cordoned) && node.spec.unschedulable {
        patch.cordon(false);
    }
    patch.0
}

/// The patch that takes one annotation away.
pub fn drop_annotation(node: &Node, key: &str) -> Value {
    let mut patch = Patch::of(node);
    patch.annotation(key, None);
    patch.0
}

/// A merge patch (RFC 7386) of one version of one Node.
struct Patch(Value);

impl Patch {
    fn of(node: &Node) -> Patch {
        Patch(json!({ "metadata": {
            "uid": node.metadata.uid,
            "resourceVersion": node.metadata.resource_version,
        } }))
    }

    fn label(&mut self, key: &str, value: Option<&str>) {
        self.0["metadata"]["labels"][key] = json!(value);
    }

    fn annotation(&mut self, key: &str, value: Option<&str>) {
        self.0["metadata"]["annotations"][key] = json!(value);
    }

    /// The whole list, ours in place of what has our key; left out of the
    /// patch if that changes nothing.
    fn taint(&mut self, node: &Node, ours: Option<Value>) {
        let mut list = others(node);
        list.extend(ours);
        if list != node.spec.taints {
            self.spec().insert("taints".into(), Value::Array(list));
        }
    }

    fn cordon(&mut self, cordoned: bool) {
        self.spec().insert("unschedulable".into(), cordoned.into());
    }

    fn spec(&mut self) -> &mut Map<String, Value> {
        if !self.0["spec"].is_object() {
            self.0["spec"] = Value::Object(Map::new());
        }
        self.0["spec"].as_object_mut().expect("made an object just now")
    }
}
