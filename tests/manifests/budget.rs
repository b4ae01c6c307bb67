//! The policies on the budget's Lease and on Events.

use std::path::Path;

use hyper::Method;
use serde_json::{Value, json};

use super::kube::manifests::pod_token;
use super::kube::{Cluster, JSON, MERGE};
use super::{applied, ask, create_nodes};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/faultline/leases";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/faultline/leases/\
                     faultline-budget";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

/// What is done to the Lease before it is put.
type Change<'a> = &'a dyn Fn(&mut Value);

/// Puts the Lease changed, as the agent; `query` goes to its path.
fn put(
    cluster: &Cluster,
    agent: &Path,
    query: &str,
    change: Change<'_>,
) -> (u16, String) {
    let mut lease = cluster.get(LEASE);
    change(&mut lease);
    let path = format!("{LEASE}{query}");
    ask(cluster, agent, Method::PUT, &path, (JSON, Some(&lease)))
}

/// Sets an annotation of the Lease, or takes it away.
fn entry<'a>(
    name: &'static str,
    value: Option<&'a str>,
) -> impl Fn(&mut Value) + 'a {
    move |lease: &mut Value| {
        let all = &mut lease["metadata"]["annotations"];
        match value {
            Some(text) => all[name] = json!(text),
            None => drop(all.as_object_mut().unwrap().remove(name)),
        }
    }
}

fn set(field: &'static str, value: Value) -> impl Fn(&mut Value) {
    move |lease: &mut Value| lease["metadata"][field] = value.clone()
}

#[test]
fn an_agent_writes_its_own_entry_of_the_budget_and_no_other() {
    let Some((cluster, _)) = applied("the policy on the budget", &["base"])
    else {
        return;
    };
    create_nodes(&cluster);
    let agent = pod_token(&cluster, "n1");
    let put =
        |query: &str, change: Change<'_>| put(&cluster, &agent, query, change);
    let theirs = json!({"metadata": {"annotations": {"n2/faultline": "{}"}}});
    cluster.patch(LEASE, MERGE, &theirs);
    cluster.until("the policy is in force", |_| {
        let wrong = entry("n2/faultline", Some("x"));
        put("?dryRun=All", &wrong).0 == 422
    });
    assert_eq!(put("", &entry("n1/faultline", Some("{}"))).0, 200);
    assert_eq!(put("", &entry("n1/faultline", Some("{ }"))).0, 200);
    let holder =
        |lease: &mut Value| lease["spec"]["holderIdentity"] = json!("me");
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": "n1",
                        "uid": "u"}]);
    let limits = "faultline.dev/limits";
    let crowd = "A".repeat(4097);
    let changes: [(&str, Change<'_>); 11] = [
        ("a register that is full", &entry("n1/faultline", Some(&crowd))),
        ("another's entry", &entry("n2/faultline", Some("x"))),
        ("another's entry gone", &entry("n2/faultline", None)),
        ("an entry of no node", &entry("n3/faultline", Some("{}"))),
        ("the limits", &entry(limits, Some("cluster: { nodes: 99 }"))),
        ("no limits", &entry(limits, None)),
        ("all annotations gone", &set("annotations", Value::Null)),
        ("a label", &set("labels", json!({"a": "b"}))),
        ("an owner", &set("ownerReferences", owner)),
        ("a finalizer", &set("finalizers", json!(["a.b/c"]))),
        ("the holder", &holder),
    ];
    for (what, change) in changes {
        let before = cluster.get(LEASE);
        let (code, why) = put("", change);
        assert_eq!(code, 422, "{what}: {why}");
        assert!(why.contains("an agent"), "{what}: {why}");
        assert_eq!(before, cluster.get(LEASE), "{what}");
    }
    assert_eq!(put("", &entry("n1/faultline", None)).0, 200);

    let other = json!({"apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease", "metadata": {"name": "faultline-budget-2"}});
    cluster.create(LEASES, &other);
    let other_path = format!("{LEASE}-2");
    let more = json!({"metadata": {"annotations": {"n1/faultline": "{}"}}});
    for (method, path) in [
        (Method::DELETE, LEASE),
        (Method::DELETE, LEASES),
        (Method::POST, LEASES),
        (Method::PATCH, LEASE),
        (Method::GET, &*other_path),
        (Method::PATCH, &*other_path),
        (Method::GET, LEASES),
    ] {
        let body = (MERGE, Some(&more));
        let (code, why) = ask(&cluster, &agent, method, path, body);
        assert_eq!(code, 403, "{path}: {why}");
    }
}

fn event(node: &str, kind: &str) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"generateName": "faultline-", "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Warning",
        "reportingController": "faultline.dev/agent",
        "reportingInstance": "n1", "action": "Opened", "reason": "X",
        "regarding": {"kind": kind, "name": node, "apiVersion": "v1"},
    })
}

#[test]
fn an_agent_writes_events_of_its_own_node_and_no_other() {
    let Some((cluster, _)) = applied("the policy on Events", &["base"]) else {
        return;
    };
    create_nodes(&cluster);
    let agent = pod_token(&cluster, "n1");
    let post = |path: &str, event: &Value| {
        ask(&cluster, &agent, Method::POST, path, (JSON, Some(event)))
    };
    let dry = format!("{EVENTS}?dryRun=All");
    cluster.until("the policy is in force", |_| {
        post(&dry, &event("n2", "Node")).0 == 422
    });
    let (code, answer) = post(EVENTS, &event("n1", "Node"));
    assert_eq!(code, 201, "{answer}");
    for (what, wrong) in [
        ("another Node", event("n2", "Node")),
        ("a pod of that name", event("n1", "Pod")),
    ] {
        let (code, why) = post(EVENTS, &wrong);
        assert_eq!(code, 422, "{what}: {why}");
        assert!(why.contains("an agent"), "{what}: {why}");
    }
    // A series is counted up by a patch: of its own, not of another's.
    let series = json!({"series": {"count": 2,
        "lastObservedTime": "2026-01-01T00:00:01.000000Z"}});
    let mine = cluster.events("n1").remove(0);
    let theirs = cluster.create(EVENTS, &event("n2", "Node"));
    for (event, allowed) in [(mine, true), (theirs, false)] {
        let name = event["metadata"]["name"].as_str().unwrap();
        let path = format!("{EVENTS}/{name}");
        let body = (MERGE, Some(&series));
        let (code, why) = ask(&cluster, &agent, Method::PATCH, &path, body);
        assert_eq!(code, if allowed { 200 } else { 422 }, "{why}");
        let (code, why) =
            ask(&cluster, &agent, Method::DELETE, &path, (JSON, None));
        assert_eq!(code, 403, "{why}");
    }
    // Elsewhere, and what else a cluster holds.
    let elsewhere = "/apis/events.k8s.io/v1/namespaces/kube-system/events";
    assert_eq!(post(elsewhere, &event("n1", "Node")).0, 403);
    for path in [
        "/api/v1/pods",
        "/api/v1/secrets",
        "/api/v1/namespaces/faultline/configmaps",
        "/apis/apps/v1/daemonsets",
        "/api/v1/nodes/n1/proxy/pods",
    ] {
        let (code, why) =
            ask(&cluster, &agent, Method::GET, path, (JSON, None));
        assert_eq!(code, 403, "{path}: {why}");
    }
}
