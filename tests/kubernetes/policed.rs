//! The agent with a token of its own node and no other right, under the
//! policies of the manifests, and what kubectl shows of its work. The
//! stand-in knows neither, so this is for a real API server.

use std::path::{Path, PathBuf};

use hyper::Method;
use serde_json::{Value, json};

use super::kube::manifests::{self, node_token, pod_token};
use super::kube::{Cluster, JSON, MERGE};
use super::said;
use super::world::{NODE, World};

const PATH: &str = "/api/v1/nodes/testnode";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/faultline/leases/\
                     faultline-budget";
const KEY: &str = "faultline.dev/quarantine";

/// The manifests applied, the Node and some others, the policy in force.
fn policed(test: &str) -> Option<(Cluster, PathBuf)> {
    let applied = manifests::applied(&["enforce"]);
    let (cluster, kubectl) =
        applied.map_err(|why| said::not_run(test, why)).ok()?;
    cluster.create_node(NODE, json!({"team": "a"}));
    // Something of others, which stays.
    let theirs = json!({
        "metadata": {"annotations": {"note": "theirs"}},
        "spec": {"taints": [{"key": "one", "effect": "PreferNoSchedule"}]},
    });
    cluster.patch(PATH, MERGE, &theirs);
    for i in 0..3 {
        cluster.create_node(&format!("other-{i}"), json!({}));
    }
    let probe = manifests::token(&cluster, "probe", None);
    let body = json!({"metadata": {"annotations": {"faultline.dev/a": "1"}}});
    cluster.until("the policy is in force", |cluster| {
        let path = format!("{PATH}?dryRun=All");
        let kind = (MERGE, JSON);
        let ask =
            cluster.ask_as(&probe, Method::PATCH, &path, kind, Some(&body));
        ask.0 == 422
    });
    Some((cluster, kubectl))
}

fn is_tainted(c: &Cluster) -> bool {
    let node = c.get(PATH);
    let taints = node["spec"]["taints"].as_array().cloned();
    taints.unwrap_or_default().iter().any(|taint| taint["key"] == KEY)
}

/// What the Node is apart from versions and who wrote it, the conditions
/// and annotations of the agent left out.
fn rest(c: &Cluster) -> Value {
    let mut node = c.get(PATH);
    for field in ["resourceVersion", "managedFields"] {
        node["metadata"].as_object_mut().unwrap().remove(field);
    }
    if let Some(notes) = node["metadata"]["annotations"].as_object_mut() {
        notes.retain(|key, _| !key.starts_with("faultline.dev/"));
    }
    let conditions = node["status"]["conditions"].as_array_mut().unwrap();
    conditions.retain(|c| !c["type"].as_str().unwrap().ends_with("Fault"));
    node
}

/// How many requests were refused: those that only try, and all others. A
/// conflict is no refusal.
fn refusals(world: &World) -> (f64, f64) {
    let (_, page) = world.agent.get("/metrics");
    let refused = |line: &&str| {
        let codes = ["400", "401", "403", "413", "422"];
        line.starts_with("faultline_api_requests_total{")
            && codes.iter().any(|c| line.contains(&format!("\"{c}\"")))
    };
    let (mut tried, mut other) = (0.0, 0.0);
    for line in page.lines().filter(refused) {
        let count: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        match line.contains("dry-run") {
            true => tried += count,
            false => other += count,
        }
    }
    (tried, other)
}

/// An agent as this user, up to its Node quarantined.
fn a_fault(c: &Cluster, kubeconfig: &Path, dimm: usize) -> World {
    let world = World::policed(kubeconfig);
    world.dimm_fails(dimm);
    c.until("the taint", is_tainted);
    c.until("the condition", |c| {
        c.condition(NODE, "MemoryFault")["status"] == "True"
    });
    // The hourly try, on both endpoints; nothing else was refused.
    assert_eq!(refusals(&world), (2.0, 0.0));
    assert_eq!(world.agent.metric("faultline_api_guarded"), Some(1.0));
    let entry = &c.get(LEASE)["metadata"]["annotations"]["testnode/faultline"];
    assert!(entry.as_str().unwrap().contains("granted"), "{entry}");
    world
}

#[test]
fn with_a_token_of_its_node_alone_an_agent_does_all_its_work() {
    let test = "the agent under the policy";
    let Some((c, _)) = policed(test) else { return };
    let c = &c;
    let before = rest(c);
    let tokens = [pod_token(c, NODE), node_token(c, NODE)];
    for (dimm, token) in tokens.iter().enumerate() {
        let world = a_fault(c, token, dimm);
        world.dimm_is_replaced(dimm);
        c.until("the taint is gone", |c| !is_tainted(c));
        c.until("the condition is False", |c| {
            c.condition(NODE, "MemoryFault")["status"] == "False"
        });
        c.until("the grant is given back", |c| {
            let notes = &c.get(LEASE)["metadata"]["annotations"];
            // The rate of the manifests' limits counts it for a while.
            let entry = notes["testnode/faultline"].as_str();
            entry.is_some_and(|entry| entry.contains("released"))
        });
        for action in ["Opened", "Quarantined", "Released"] {
            c.until(action, |c| {
                let has = |event: &Value| {
                    event["action"] == *action
                        || event["note"].as_str().unwrap().contains("; ")
                };
                c.events(NODE).iter().any(has)
            });
        }
        assert_eq!(rest(c), before);
        assert_eq!(refusals(&world), (2.0, 0.0));
        world.stop();
    }
}

#[test]
fn kubectl_shows_the_condition_the_taint_and_the_events() {
    let test = "kubectl reads the results";
    let Some((c, kubectl)) = policed(test) else { return };
    let c = &c;
    let world = a_fault(c, &pod_token(c, NODE), 0);
    let kubectl = |args: &[&str]| manifests::said(&kubectl, c, args);
    let path = "{.status.conditions[?(@.type=='MemoryFault')]\
                ['status','reason','message']}";
    let path = format!("-o=jsonpath={path}");
    let said = kubectl(&["get", "node", NODE, &path]);
    assert!(said.starts_with("True MemoryUncorrected "), "{said}");
    assert!(said.contains("DIMM#0"), "{said}");
    let marked = ["get", "nodes", "-l", KEY, "-o", "name"];
    assert_eq!(kubectl(&marked).trim(), "node/testnode");

    let selector = "--field-selector=involvedObject.kind=Node,\
                    involvedObject.name=testnode";
    let events = |more: &str| kubectl(&["get", "events", selector, more]);
    for reason in ["MemoryUncorrected", "Quarantine"] {
        c.until(reason, |_| events("--no-headers").contains(reason));
    }
    let only = format!("{selector},reason=MemoryUncorrected,type=Warning");
    let said = kubectl(&["get", "events", &only, "--no-headers"]);
    assert_eq!(said.lines().count(), 1, "{said}");
    let said = kubectl(&["describe", "node", NODE]);
    let said: Vec<&str> = said.split_whitespace().collect();
    let said = said.join(" ");
    for words in [
        "faultline.dev/quarantine=memory:NoSchedule",
        "MemoryFault True",
        "MemoryUncorrected",
        "quarantined (taint) for",
    ] {
        assert!(said.contains(words), "{words:?} is not in\n{said}");
    }

    // And a person gives an order with it.
    let order = "faultline.dev/clear=memory; replaced, ticket 7";
    kubectl(&["annotate", "node", NODE, order]);
    c.until("the taint is gone", |c| !is_tainted(c));
    c.until("kubectl tells of the release", |_| {
        events("--no-headers").contains("the quarantine is taken off")
    });
    assert_eq!(kubectl(&marked).trim(), "");
    let wait = "--for=condition=MemoryFault=False";
    kubectl(&["wait", wait, "node/testnode", "--timeout=60s"]);
    world.stop();
}
