//! What agents have put on a Node, and the patches that take all of it away:
//! for `faultline uninstall`. What people wrote to the agents stays, and is
//! named. Pure.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use super::DOMAIN;
use super::budget::register;
use super::cluster::{Lease, Node, QUARANTINE, RETIRED};
use super::conditions::{CONDITIONS, is_valid};
use super::quarantine::mark::{has_taint, unmark};
use super::quarantine::{CLEAR, HOLD, IGNORE, mark::Mark};

/// What agents left on one Node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traces {
    /// The Node.
    pub node: String,
    /// The types of conditions.
    pub conditions: Vec<String>,
    /// Whether our taint is there.
    pub taint: bool,
    /// Whether the node is cordoned, and by the agent.
    pub cordon: bool,
    /// Labels.
    pub labels: Vec<String>,
    /// Annotations.
    pub annotations: Vec<String>,
    /// What people put there, which stays.
    pub people: Vec<String>,
}

impl Traces {
    /// Whether there is nothing to take away.
    pub fn is_clean(&self) -> bool {
        let lists = [&self.conditions, &self.labels, &self.annotations];
        !self.taint && !self.cordon && lists.iter().all(|l| l.is_empty())
    }
}

/// What agents left on a Node; `raw` is the whole object.
pub fn traces(node: &Node, raw: &Value) -> Traces {
    let orders = [IGNORE, HOLD, CLEAR];
    let own_prefix = format!("{DOMAIN}/");
    let notes = node.metadata.annotations.keys();
    let (people, annotations): (Vec<String>, Vec<String>) = notes
        .filter(|key| key.starts_with(&own_prefix))
        .cloned()
        .partition(|key| orders.contains(&key.as_str()));
    let people = people
        .into_iter()
        .chain(node.label(RETIRED).map(|_| RETIRED.to_owned()))
        .collect();
    let label = node.label(QUARANTINE).map(|_| QUARANTINE.to_owned());
    let mark = Mark::read(node);
    Traces {
        node: node.metadata.name.clone(),
        conditions: conditions(node, raw).into_iter().collect(),
        taint: has_taint(node),
        cordon: mark.is_some_and(|m| m.cordoned()) && node.spec.unschedulable,
        labels: label.into_iter().collect(),
        annotations,
        people,
    }
}

/// The types that the annotation lists, and those of which the API server
/// remembers that an agent set them.
fn conditions(node: &Node, raw: &Value) -> BTreeSet<String> {
    let listed = node.annotation(CONDITIONS).unwrap_or_default();
    let mut all: BTreeSet<String> =
        listed.split(',').map(str::to_owned).collect();
    let managed = raw["metadata"]["managedFields"].as_array();
    let own = |entry: &&Value| entry["manager"] == "faultline";
    for entry in managed.into_iter().flatten().filter(own) {
        let fields = &entry["fieldsV1"]["f:status"]["f:conditions"];
        let keys = fields.as_object().into_iter().flatten();
        all.extend(keys.filter_map(|(key, _)| kind_of(key)));
    }
    let there = |kind: &String| {
        let mut conditions = node.status.conditions.iter();
        is_valid(kind) && conditions.any(|c| c["type"] == **kind)
    };
    all.into_iter().filter(there).collect()
}

/// The type in `k:{"type":"DiskFault"}` (structured-merge-diff, `fieldpath`).
fn kind_of(key: &str) -> Option<String> {
    let key: Value = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
    Some(key["type"].as_str()?.to_owned())
}

/// The patch that takes away what is not status, at the version read.
pub fn main_patch(node: &Node, traces: &Traces) -> Option<Value> {
    let mut bare = traces.clone();
    bare.conditions.clear();
    if bare.is_clean() {
        return None;
    }
    // A mark that says nothing of the taint: it has our key all the same.
    let mark = Mark::read(node);
    let mut patch = unmark(node, mark.as_ref(), None);
    if traces.taint {
        let others = node.spec.taints.iter();
        let others: Vec<&Value> =
            others.filter(|taint| taint["key"] != QUARANTINE).collect();
        patch["spec"]["taints"] = json!(others);
    }
    for key in &traces.annotations {
        patch["metadata"]["annotations"][key] = Value::Null;
    }
    Some(patch)
}

/// The patch that takes the conditions away.
pub fn status_patch(node: &Node, traces: &Traces) -> Option<Value> {
    let gone = |kind: &String| json!({ "$patch": "delete", "type": kind });
    let gone: Vec<Value> = traces.conditions.iter().map(gone).collect();
    (!gone.is_empty()).then(|| {
        json!({ "metadata": { "uid": node.metadata.uid },
                "status": { "conditions": gone } })
    })
}

/// Takes all entries off the Lease; how many there were.
pub fn strip(lease: &mut Lease) -> usize {
    let entries = lease.annotations().map(|(key, _)| key.to_owned());
    let entries: Vec<String> =
        entries.filter(|key| key.ends_with(register::SUFFIX)).collect();
    for key in &entries {
        lease.annotate(key, None);
    }
    entries.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &Value) -> (Node, Traces) {
        let node: Node = serde_json::from_value(raw.clone()).unwrap();
        let found = traces(&node, raw);
        (node, found)
    }

    #[test]
    fn what_others_and_people_put_there_stays() {
        let raw = json!({
            "metadata": {
                "name": "n1", "uid": "u", "resourceVersion": "7",
                "labels": { QUARANTINE: "taint", RETIRED: "true", "a": "b" },
                "annotations": {
                    CONDITIONS: "DiskFault,GoneFault", IGNORE: "burn-in",
                    "faultline.dev/patterns": "1", "example.com/x": "y" },
                "managedFields": [
                    { "manager": "faultline", "fieldsV1": { "f:status": {
                        "f:conditions": { "k:{\"type\":\"FanFault\"}": {},
                                          ".": {} } } } },
                    { "manager": "other", "fieldsV1": { "f:status": {
                        "f:conditions": { "k:{\"type\":\"RackFault\"}": {} }
                    } } },
                ],
            },
            "spec": { "unschedulable": true, "taints": [
                { "key": "a/b", "effect": "NoSchedule" },
                { "key": QUARANTINE, "effect": "NoSchedule" }] },
            "status": { "conditions": [
                { "type": "Ready" }, { "type": "DiskFault" },
                { "type": "FanFault" }, { "type": "RackFault" }] },
        });
        let (node, found) = read(&raw);
        assert_eq!(found.conditions, ["DiskFault", "FanFault"]);
        assert_eq!(found.people, [IGNORE, RETIRED]);
        // Nothing says that the cordon is the agent's.
        assert!(found.taint && !found.cordon);
        let patch = main_patch(&node, &found).unwrap();
        assert_eq!(
            patch["spec"],
            json!({ "taints": [
            { "key": "a/b", "effect": "NoSchedule" }] })
        );
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        let notes = patch["metadata"]["annotations"].as_object().unwrap();
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert_eq!(patch["metadata"]["labels"], json!({ QUARANTINE: null }));
        let status = status_patch(&node, &found).unwrap();
        assert_eq!(status["status"]["conditions"][1]["type"], "FanFault");
    }

    #[test]
    fn a_cordon_goes_only_where_the_agent_made_it() {
        for (before, ours) in [(false, true), (true, false)] {
            let mark = json!({ "how": "cordon", "component": "disk",
                "faults": [], "since": "", "uid": "u",
                "before": { "unschedulable": before } });
            let raw = json!({
                "metadata": { "uid": "u", "annotations": {
                    QUARANTINE: mark.to_string() } },
                "spec": { "unschedulable": true },
            });
            let (node, found) = read(&raw);
            assert_eq!(found.cordon, ours);
            let patch = main_patch(&node, &found).unwrap();
            let expected = if ours { json!(false) } else { Value::Null };
            assert_eq!(patch["spec"]["unschedulable"], expected);
        }
    }

    #[test]
    fn a_node_that_no_agent_touched_needs_no_patch() {
        let raw = json!({ "metadata": { "name": "n" }, "status": {
            "conditions": [{ "type": "DiskFault" }] } });
        let (node, found) = read(&raw);
        assert!(found.is_clean());
        assert_eq!(main_patch(&node, &found), None);
        assert_eq!(status_patch(&node, &found), None);
        let mut lease = Lease(json!({ "metadata": { "annotations": {
            "n1/faultline": "{}", "faultline.dev/limits": "x" } } }));
        assert_eq!(strip(&mut lease), 1);
        assert_eq!(lease.annotation("faultline.dev/limits"), Some("x"));
    }
}
