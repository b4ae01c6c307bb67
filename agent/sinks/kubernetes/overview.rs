//! A node as `faultline nodes` shows it: what its conditions and annotations
//! tell, believed only while its agent is alive. Pure.
//!
//! An agent in a pod is alive while the pod is Ready, and a kubelet that is
//! not heard of any more vouches for no pod. An agent that runs as a unit on
//! the host has no pod and writes nothing while nothing happens: it is alive
//! as far as anybody can see from here for [`PATIENCE`] after it last wrote.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::cluster::{Node, QUARANTINE};
use super::conditions::{CONDITIONS, is_valid};
use super::listed::{FAULTS, Listed, OneFault, is_zero};
use super::person::Pod;
use super::quarantine::mark::Mark;
use super::quarantine::{HOLD, IGNORE, OVERRIDDEN};
use crate::time::Timestamp;

/// So long without a live agent, and what it wrote is believed no more.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// The longest text taken from a condition's message.
const MESSAGE_MAX: usize = 160;

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its agent lives, looks, and finds nothing.
    Ok,
    /// Nobody can say: no live agent, or sources that can't be read.
    Unknown,
    /// A fault holds.
    Failing,
}

impl State {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Unknown => "unknown",
            State::Failing => "failing",
        }
    }
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeView {
    /// Its name.
    pub node: String,
    /// How it stands.
    pub state: State,
    /// Why that is unknown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// How bad the worst fault is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// Since when it has held, or the quarantine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The faults, the worst first.
    pub faults: Vec<OneFault>,
    /// How many more there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub more: usize,
    /// What the agent did to keep work off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<QuarantineView>,
    /// Whether it is cordoned, by whomever.
    pub cordoned: bool,
    /// Whether its kubelet says that it is ready.
    pub ready: bool,
    /// People's orders that stand on it, by annotation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<&'static str>,
    /// Its agent.
    pub agent: AgentView,
    /// When the Node was made.
    pub created: String,
}

/// A quarantine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuarantineView {
    /// `taint`, `cordon` or `evict`.
    pub how: String,
    /// Since when.
    pub since: String,
    /// Whether taint or cordon are there, and nobody took them off.
    pub in_force: bool,
}

/// Who looks after a node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AgentView {
    /// `pod`, `unit` or `none`.
    pub runs_as: &'static str,
    /// The pod's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Whether what it wrote is believed.
    pub live: bool,
    /// Since when nothing is heard of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<String>,
}

fn moment(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp(time.as_microsecond()))
}

fn find<'a>(conditions: &'a [Value], kind: &str) -> Option<&'a Value> {
    conditions.iter().find(|c| c["type"] == *kind)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The node `now`, by the server's clock; `pods` are those of agents on it.
pub fn overview(node: &Node, pods: &[&Pod], now: Timestamp) -> NodeView {
    let ours = own_conditions(node);
    let agent = agent(node, pods, &ours, now);
    let (faults, more) = faults(node, &ours);
    let quarantine = quarantine(node);
    let unknown = unknown(&ours, &agent);
    let state = match () {
        () if !agent.live => State::Unknown,
        () if !faults.is_empty() => State::Failing,
        () if !unknown.is_empty() => State::Unknown,
        () => State::Ok,
    };
    let worst = faults.first();
    let since = worst.map(|f| f.since.clone()).filter(|s| !s.is_empty());
    let orders = [IGNORE, HOLD, OVERRIDDEN];
    let stands =
        |key: &&'static str| node.annotation(key).is_some_and(|v| v != "false");
    NodeView {
        node: node.metadata.name.clone(),
        state,
        severity: worst.map(|f| f.severity.clone()),
        since: since.or_else(|| quarantine.as_ref().map(|q| q.since.clone())),
        faults,
        more,
        quarantine,
        cordoned: node.spec.unschedulable,
        ready: node.is_ready(),
        orders: orders.into_iter().filter(stands).collect(),
        unknown,
        agent,
        created: node.metadata.creation_timestamp.clone(),
    }
}

/// The conditions that agents wrote.
fn own_conditions(node: &Node) -> Vec<&Value> {
    let listed = node.annotation(CONDITIONS).unwrap_or_default();
    let all = &node.status.conditions;
    let valid = listed.split(',').filter(|kind| is_valid(kind));
    valid.filter_map(|kind| find(all, kind)).collect()
}

/// What its conditions leave open.
fn unknown(ours: &[&Value], agent: &AgentView) -> Vec<String> {
    let mut why = Vec::new();
    if !agent.live {
        let since = agent.silent_since.as_deref();
        why.push(match (agent.runs_as, since) {
            ("none", _) => "no agent".to_owned(),
            ("pod", Some(at)) => format!("its agent is not Ready since {at}"),
            (_, Some(at)) => format!("no pod, and nothing written since {at}"),
            _ => "its agent is not Ready".to_owned(),
        });
    } else if ours.is_empty() {
        why.push("its agent reports no condition".to_owned());
    }
    for condition in ours.iter().filter(|c| c["status"] == "Unknown") {
        let mut message = text(&condition["message"]);
        message.truncate(message.floor_char_boundary(MESSAGE_MAX));
        let (kind, reason) = (&condition["type"], &condition["reason"]);
        why.push(format!("{} {}: {message}", text(kind), text(reason)));
    }
    why
}

/// The faults that the annotation lists, and those of conditions of which
/// it lists none.
fn faults(node: &Node, ours: &[&Value]) -> (Vec<OneFault>, usize) {
    let listed = node.annotation(FAULTS).and_then(Listed::parse);
    let Listed { mut faults, more } = listed.unwrap_or_default();
    for condition in ours.iter().filter(|c| c["status"] == "True") {
        let kind = text(&condition["type"]);
        // Past the end of a list that was cut, it may be there.
        if more > 0 || faults.iter().any(|f| f.condition == kind) {
            continue;
        }
        let mut part = text(&condition["message"]);
        part.truncate(part.floor_char_boundary(MESSAGE_MAX));
        faults.push(OneFault {
            id: String::new(),
            pattern: text(&condition["reason"]),
            part,
            // It is not told; nobody should take it for less than it is.
            severity: "error".to_owned(),
            since: text(&condition["lastTransitionTime"]),
            condition: kind,
        });
    }
    let badness = |f: &OneFault| match f.severity.as_str() {
        "fatal" => 0,
        "error" => 1,
        _ => 2,
    };
    faults.sort_by_key(badness);
    (faults, more)
}

fn quarantine(node: &Node) -> Option<QuarantineView> {
    if let Some(mark) = Mark::read(node) {
        return Some(QuarantineView {
            how: mark.how.word().to_owned(),
            in_force: mark.is_in_force(node),
            since: mark.since,
        });
    }
    let how = node.label(QUARANTINE)?.to_owned();
    Some(QuarantineView { how, since: String::new(), in_force: true })
}

fn agent(
    node: &Node,
    pods: &[&Pod],
    ours: &[&Value],
    now: Timestamp,
) -> AgentView {
    let views = pods.iter().map(|pod| in_pod(node, pod, now));
    // While pods are replaced there are two.
    let best = views.max_by_key(|view| {
        let silent = view.silent_since.clone();
        (view.live, silent.is_none(), silent)
    });
    best.unwrap_or_else(|| on_host(ours, now))
}

fn since_ready(conditions: &[Value]) -> Result<(), Option<String>> {
    match find(conditions, "Ready") {
        Some(ready) if ready["status"] == "True" => Ok(()),
        Some(ready) => Err(Some(text(&ready["lastTransitionTime"]))),
        None => Err(None),
    }
}

fn in_pod(node: &Node, pod: &Pod, now: Timestamp) -> AgentView {
    let made = || pod.metadata.creation_timestamp.clone();
    let pod_ready = since_ready(&pod.status.conditions)
        .map_err(|since| since.unwrap_or_else(made));
    let node_ready = since_ready(&node.status.conditions);
    let node_ready = node_ready.map_err(Option::unwrap_or_default);
    let going = pod.metadata.deletion_timestamp.clone();
    // The earliest that anything was wrong.
    let silent = [pod_ready.err(), node_ready.err(), going];
    let silent_since = silent.into_iter().flatten().min();
    let live = silent_since.as_deref().is_none_or(|at| is_recent(at, now));
    let pod = Some(pod.metadata.name.clone());
    AgentView { runs_as: "pod", pod, live, silent_since }
}

fn on_host(ours: &[&Value], now: Timestamp) -> AgentView {
    let written = ours.iter().map(|c| text(&c["lastHeartbeatTime"])).max();
    let live = written.as_deref().is_some_and(|at| is_recent(at, now));
    AgentView {
        runs_as: if written.is_some() { "unit" } else { "none" },
        pod: None,
        live,
        silent_since: written,
    }
}

fn is_recent(at: &str, now: Timestamp) -> bool {
    moment(at).is_some_and(|at| now.since(at) < PATIENCE)
}

#[cfg(test)]
mod tests;
