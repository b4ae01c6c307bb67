//! The policy on Nodes: each thing that an agent may not change, on
//! both endpoints, on its own Node and on another's.

use std::path::Path;

use hyper::Method;
use serde_json::{Value, json};

use super::kube::manifests::{node_token, overlay, pod_token, token};
use super::kube::{Cluster, JSON, MERGE, STRATEGIC};
use super::{applied, ask, create_nodes};

const OWN: &str = "/api/v1/nodes/n1";
const OTHER: &str = "/api/v1/nodes/n2";
const KEY: &str = "faultline.dev/quarantine";

fn taints(all: &[Value]) -> Value {
    json!({"spec": {"taints": all}})
}

fn taint(key: &str, value: &str, effect: &str) -> Value {
    match value {
        "" => json!({"key": key, "effect": effect}),
        _ => json!({"key": key, "value": value, "effect": effect}),
    }
}

/// Those of others.
fn one() -> Value {
    taint("one", "1", "NoSchedule")
}

fn two() -> Value {
    taint("two", "", "NoExecute")
}

fn note(key: &str, value: Value) -> Value {
    json!({"metadata": {"annotations": {key: value}}})
}

fn label(key: &str, value: Value) -> Value {
    json!({"metadata": {"labels": {key: value}}})
}

fn condition(kind: &str) -> Value {
    json!({"status": {"conditions": [{
        "type": kind, "status": "True", "reason": "X", "message": "m",
        "lastHeartbeatTime": "2026-01-01T00:00:00Z",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]}})
}

fn status(field: &str, value: Value) -> Value {
    json!({"status": {field: value}})
}

fn spec(field: &str, value: Value) -> Value {
    json!({"spec": {field: value}})
}

/// What an agent does on its own Node: the endpoint, the kind of patch.
fn allowed() -> Vec<(&'static str, &'static str, Value)> {
    let ours = taint(KEY, "memory", "NoSchedule");
    let mut marked = taints(&[one(), ours, two()]);
    marked["metadata"]["labels"][KEY] = json!("taint");
    marked["metadata"]["annotations"] =
        json!({KEY: "{}", "faultline.dev/clear": null});
    vec![
        ("", MERGE, marked),
        ("", MERGE, taints(&[one(), two()])),
        ("", MERGE, spec("unschedulable", json!(true))),
        ("", MERGE, spec("unschedulable", Value::Null)),
        ("", MERGE, note("faultline.dev/patterns", json!("17"))),
        ("", MERGE, note("faultline.dev/patterns", Value::Null)),
        ("/status", STRATEGIC, condition("MemoryFault")),
    ]
}

/// Of the metadata, which both endpoints change.
fn denied_everywhere() -> Vec<(&'static str, Value)> {
    let metadata =
        |field: &str, value: Value| json!({"metadata": {field: value}});
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": "n2",
                        "uid": "u2"}]);
    vec![
        ("a label changed", label("team", json!("b"))),
        ("a label taken away", label("team", Value::Null)),
        ("a label added", label("new", json!("x"))),
        ("retired", label("faultline.dev/retired", json!("true"))),
        ("an annotation changed", note("note", json!("ours"))),
        ("an annotation taken away", note("note", Value::Null)),
        ("an annotation added", note("new", json!("x"))),
        ("an order given", note("faultline.dev/clear", json!("all"))),
        ("itself ignored", note("faultline.dev/ignore", json!("always"))),
        ("a hold taken away", note("faultline.dev/hold", Value::Null)),
        ("a finalizer added", metadata("finalizers", json!(["a.b/c"]))),
        ("finalizers taken away", metadata("finalizers", Value::Null)),
        ("another owner", metadata("ownerReferences", owner)),
        ("no owner", metadata("ownerReferences", Value::Null)),
    ]
}

fn denied_of_the_spec() -> Vec<(&'static str, Value)> {
    let ours = taint(KEY, "memory", "NoSchedule");
    let cidr = json!({"spec": {"podCIDR": "10.9.0.0/24",
                               "podCIDRs": ["10.9.0.0/24"]}});
    vec![
        ("the order of taints", taints(&[two(), one()])),
        ("the order with ours between", taints(&[two(), ours, one()])),
        ("a taint taken away", taints(&[one()])),
        ("all taints taken away", spec("taints", Value::Null)),
        (
            "a taint added",
            taints(&[one(), two(), taint("three", "", "NoSchedule")]),
        ),
        ("a taint's value", taints(&[taint("one", "2", "NoSchedule"), two()])),
        ("a taint's effect", taints(&[one(), taint("two", "", "NoSchedule")])),
        (
            "a key that begins as ours",
            taints(&[one(), two(), taint(&format!("{KEY}d"), "", "NoExecute")]),
        ),
        ("podCIDRs", cidr),
        ("providerID", spec("providerID", json!("a://b"))),
    ]
}

fn denied_of_the_status() -> Vec<(&'static str, &'static str, Value)> {
    let gone = json!([{"$patch": "delete", "type": "Ready"}]);
    let address = json!([{"type": "InternalIP", "address": "10.0.0.9"}]);
    let endpoints = json!({"kubeletEndpoint": {"Port": 1}});
    let images = json!([{"names": ["x"], "sizeBytes": 1}]);
    let attached = json!([{"name": "v", "devicePath": "/dev/v"}]);
    vec![
        ("Ready", STRATEGIC, condition("Ready")),
        ("a condition of others", STRATEGIC, condition("KernelDeadlock")),
        ("Faulty", STRATEGIC, condition("MemoryFaulty")),
        ("no Ready", STRATEGIC, status("conditions", gone)),
        ("no condition", MERGE, status("conditions", Value::Null)),
        ("capacity", MERGE, status("capacity", json!({"cpu": "1"}))),
        ("allocatable", MERGE, status("allocatable", json!({"cpu": "1"}))),
        ("addresses", MERGE, status("addresses", address)),
        ("daemonEndpoints", MERGE, status("daemonEndpoints", endpoints)),
        ("nodeInfo", MERGE, status("nodeInfo", json!({"kernelVersion": "x"}))),
        ("volumesInUse", MERGE, status("volumesInUse", json!(["v"]))),
        ("volumesAttached", MERGE, status("volumesAttached", attached)),
        ("images", MERGE, status("images", images)),
        ("phase", MERGE, status("phase", json!("Terminated"))),
        (
            "declaredFeatures",
            MERGE,
            status("declaredFeatures", json!(["GuestCPUs"])),
        ),
    ]
}

/// A cluster with the policy in force, and the agent of `n1`.
struct Ward<'a> {
    cluster: &'a Cluster,
    agent: &'a Path,
}

impl Ward<'_> {
    fn patch(&self, path: &str, kind: &str, body: &Value) -> (u16, String) {
        let body = (kind, Some(body));
        ask(self.cluster, self.agent, Method::PATCH, path, body)
    }

    fn until_in_force(&self) {
        let probe = note("faultline.dev/probe", json!("1"));
        self.cluster.until("the policy is in force", |_| {
            let path = format!("{OTHER}?dryRun=All");
            matches!(self.patch(&path, MERGE, &probe).0, 422 | 403)
        });
    }

    fn node(&self, path: &str) -> Value {
        self.cluster.get(path.trim_end_matches("/status"))
    }

    /// The policy says no, in its own words, and nothing changed.
    fn refused(&self, what: &str, path: &str, kind: &str, body: &Value) {
        let before = self.node(path);
        let (code, why) = self.patch(path, kind, body);
        assert!(matches!(code, 403 | 422), "{what} {path}: {code} {why}");
        assert!(why.contains("an agent"), "{what} {path}: {why}");
        assert_eq!(before, self.node(path), "{what}");
    }

    /// The endpoint does not touch it, whatever it answers.
    fn untouched(&self, what: &str, path: &str, kind: &str, body: &Value) {
        let before = self.node(path);
        let (code, why) = self.patch(path, kind, body);
        let after = self.node(path);
        for side in ["spec", "status"] {
            assert_eq!(before[side], after[side], "{what}: {code} {why}");
        }
    }
}

#[test]
fn an_agent_changes_what_is_its_own_on_its_own_node_and_nothing_else() {
    let Some((cluster, _)) = applied("the policy on Nodes", &["base"]) else {
        return;
    };
    create_nodes(&cluster);
    let agent = pod_token(&cluster, "n1");
    let ward = Ward { cluster: &cluster, agent: &agent };
    ward.until_in_force();
    for (side, kind, body) in allowed() {
        let (code, answer) = ward.patch(&format!("{OWN}{side}"), kind, &body);
        assert_eq!(code, 200, "{side} {body}: {answer}");
    }
    let own_status = format!("{OWN}/status");
    for (what, body) in denied_everywhere() {
        ward.refused(what, OWN, MERGE, &body);
        ward.refused(what, &own_status, MERGE, &body);
    }
    for (what, body) in denied_of_the_spec() {
        ward.refused(what, OWN, MERGE, &body);
        ward.untouched(what, &own_status, MERGE, &body);
    }
    for (what, kind, body) in denied_of_the_status() {
        ward.refused(what, &own_status, kind, &body);
        ward.untouched(what, OWN, kind, &body);
    }
    // Fields of old servers; today's guard or drop them by themselves.
    let source = json!({"configMap": {
        "namespace": "a", "name": "b", "kubeletConfigKey": "c"}});
    for (what, value) in [("configSource", source), ("externalID", json!("x"))]
    {
        ward.untouched(what, OWN, MERGE, &spec(what, value.clone()));
        ward.untouched(what, &own_status, MERGE, &spec(what, value));
    }
    // What it may do on its own Node it may not on another.
    for (side, kind, body) in allowed() {
        ward.refused("another's", &format!("{OTHER}{side}"), kind, &body);
    }
    // Nor by any other verb.
    let node = cluster.get(OWN);
    for (method, path) in [
        (Method::PUT, OWN),
        (Method::PUT, &*own_status),
        (Method::DELETE, OWN),
        (Method::DELETE, "/api/v1/nodes"),
        (Method::POST, "/api/v1/nodes"),
    ] {
        let body = (JSON, Some(&node));
        let (code, why) = ask(&cluster, &agent, method, path, body);
        assert_eq!(code, 403, "{path}: {why}");
    }
}

#[test]
fn a_token_that_is_bound_to_the_node_says_the_same_and_an_unbound_nothing() {
    let Some((cluster, _)) = applied("tokens of the agents", &["base"]) else {
        return;
    };
    create_nodes(&cluster);
    let unit = node_token(&cluster, "n1");
    let ward = Ward { cluster: &cluster, agent: &unit };
    ward.until_in_force();
    let body = note("faultline.dev/patterns", json!("18"));
    assert_eq!(ward.patch(OWN, MERGE, &body).0, 200);
    ward.refused("another's", OTHER, MERGE, &body);
    let unbound = token(&cluster, "unbound", None);
    let ward = Ward { cluster: &cluster, agent: &unbound };
    let body = note("faultline.dev/patterns", json!("19"));
    ward.refused("a token without a node", OWN, MERGE, &body);
    ward.refused("a token without a node", OTHER, MERGE, &body);
}

/// What the policy must name, by the server's own description of a Node.
fn properties(cluster: &Cluster, kind: &str) -> Vec<String> {
    let described = cluster.get("/openapi/v2");
    let name = format!("io.k8s.api.core.v1.{kind}");
    let found = described["definitions"][name]["properties"].as_object();
    found.unwrap().keys().cloned().collect()
}

#[test]
fn every_field_that_the_server_knows_of_a_node_is_in_the_policy() {
    let test = "the policy against the server's fields";
    let Some((cluster, _)) = applied(test, &["base"]) else { return };
    let path = overlay("base/policy.yaml");
    let policy = std::fs::read_to_string(path).unwrap();
    for (kind, side) in [("NodeSpec", "spec"), ("NodeStatus", "status")] {
        let all = properties(&cluster, kind);
        assert!(all.len() > 5, "{all:?}");
        for field in all.iter().filter(|field| *field != "unschedulable") {
            let named = [format!("{side}.{field}"), format!("{side}.?{field}")];
            let named = named.iter().any(|name| policy.contains(name));
            assert!(named, "{side}.{field} is any agent's to change");
        }
    }
}
