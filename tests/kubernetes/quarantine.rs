//! The agent takes its own node out of service and puts it back.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::kube::{Cluster, MERGE, on_each_server};
use super::world::{NODE, World};

const PATH: &str = "/api/v1/nodes/testnode";
const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/default/leases/faultline-budget";
const KEY: &str = "faultline.dev/quarantine";

/// The Lease with its limits, and some more nodes.
pub fn budget(c: &Cluster, limits: &str, others: usize) {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "faultline-budget",
                      "annotations": { "faultline.dev/limits": limits } },
    });
    let (path, _) = LEASE.rsplit_once('/').unwrap();
    c.create(path, &lease);
    for i in 0..others {
        c.create_node(&format!("other-{i}"), json!({}));
    }
}

fn taints(c: &Cluster) -> Vec<Value> {
    let node = c.get(PATH);
    node["spec"]["taints"].as_array().cloned().unwrap_or_default()
}

pub fn is_tainted(c: &Cluster) -> bool {
    taints(c).iter().any(|taint| taint["key"] == KEY)
}

pub fn entry(c: &Cluster) -> Value {
    let lease = c.get(LEASE);
    let text = &lease["metadata"]["annotations"]["testnode/faultline"];
    serde_json::from_str(text.as_str().unwrap_or("null")).unwrap()
}

/// Whether an Event tells this, alone or among several.
fn told(c: &Cluster, what: &str) -> bool {
    c.events(NODE).iter().any(|event| {
        let note = event["note"].as_str().unwrap_or_default();
        event["action"] == *what || note.contains(what)
    })
}

#[test]
fn a_fatal_fault_taints_the_node_and_its_proof_takes_the_taint_off() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        let other = json!([{ "key": "example.com/x", "value": "1",
                             "effect": "NoSchedule" }]);
        c.patch(PATH, MERGE, &json!({ "spec": { "taints": other } }));
        budget(c, "cluster: { nodes: 1 }", 3);
        let world = World::enforce(c);
        world.dimm_fails(0);
        c.until("the taint", is_tainted);
        let node = c.get(PATH);
        assert_eq!(taints(c)[0], other[0]);
        assert_eq!(taints(c)[1]["value"], "memory");
        assert_eq!(taints(c)[1]["effect"], "NoSchedule");
        assert_eq!(node["metadata"]["labels"][KEY], "taint");
        assert_eq!(node["spec"]["unschedulable"], Value::Null);
        let note = node["metadata"]["annotations"][KEY].as_str().unwrap();
        assert!(note.contains("DIMM#0"), "{note}");
        assert_eq!(entry(c)["state"], "granted");
        assert_eq!(entry(c)["severity"], "fatal");
        c.until("it is told", |c| told(c, "Quarantined"));
        // A restart changes nothing at all.
        let before = c.get(PATH)["metadata"]["resourceVersion"].clone();
        let world = world.crash(&c.kubeconfig());
        std::thread::sleep(Duration::from_secs(4));
        assert_eq!(c.get(PATH)["metadata"]["resourceVersion"], before);
        world.dimm_is_replaced(0);
        c.until("the taint is gone", |c| !is_tainted(c));
        let node = c.get(PATH);
        assert_eq!(node["spec"]["taints"], other);
        assert_eq!(node["metadata"]["labels"].get(KEY), None);
        assert_eq!(node["metadata"]["annotations"].get(KEY), None);
        c.until("nothing is left on the Lease", |c| entry(c).is_null());
        world.stop();
    });
}

#[test]
fn without_limits_nothing_is_quarantined_and_the_reason_is_told() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        let world = World::enforce(c);
        world.dimm_fails(0);
        c.until("the denial is told", |c| told(c, "QuarantineDenied"));
        c.until("the condition is there all the same", |c| {
            c.condition(NODE, "MemoryFault")["status"] == "True"
        });
        assert!(!is_tainted(c));
        let metric = "faultline_quarantine_since_timestamp_seconds\
            {severity=\"fatal\",standing=\"waiting\"}";
        assert!(world.agent.metric(metric).is_some());
        world.stop();
    });
}

#[test]
fn a_lease_that_is_made_anew_is_found_while_somebody_looks() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        budget(c, "cluster: { nodes: 1 }", 3);
        let world = World::enforce(c);
        c.delete(LEASE);
        world.dimm_fails(0);
        c.until("the denial is told", |c| told(c, "QuarantineDenied"));
        assert!(!is_tainted(c));
        // Made anew with nonsense, and then as it should be.
        budget(c, "cluster: { knots: 1 }", 0);
        c.until("the mistake is told", |c| told(c, "knots"));
        let limits = json!({ "metadata": { "annotations": {
            "faultline.dev/limits": "cluster: { nodes: 1 }" } } });
        c.patch(LEASE, MERGE, &limits);
        c.until("the taint", is_tainted);
        world.stop();
    });
}

#[test]
fn a_spent_budget_denies_and_the_node_is_entered_as_waiting() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        budget(c, "cluster: { nodes: 1 }", 3);
        let cordon = json!({ "spec": { "unschedulable": true } });
        c.patch("/api/v1/nodes/other-0", MERGE, &cordon);
        let world = World::enforce(c);
        world.dimm_fails(0);
        c.until("it waits", |c| entry(c)["state"] == "waiting");
        assert_eq!(entry(c)["on"], json!(["cluster"]));
        assert!(!is_tainted(c));
        let program = || {
            let mut command = Command::new(super::support::PROGRAM);
            command.args(["budget", "--config"]);
            command.arg(world.path("config.yaml"));
            command
        };
        let ran = program().output().unwrap();
        let text = String::from_utf8(ran.stdout).unwrap();
        assert_eq!(ran.status.code(), Some(1), "{text}");
        for words in [
            "the cluster      4    1       1",
            "other-0  cordoned",
            "testnode  cluster",
            "fatal memory-uncorrected",
        ] {
            assert!(text.contains(words), "{words:?} is not in\n{text}");
        }
        let ran = program().arg("--json").output().unwrap();
        let found: Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!(found["waiting"][0]["node"], NODE);
        // What a node that is gone has left can be taken away.
        let gone = json!({ "metadata": { "annotations": {
            "gone/faultline": "{}" } } });
        c.patch(LEASE, MERGE, &gone);
        let ran = program().arg("--prune").output().unwrap();
        assert_eq!(ran.status.code(), Some(0));
        let left = c.get(LEASE)["metadata"]["annotations"].clone();
        assert_eq!(left.get("gone/faultline"), None);
        assert!(left.get("testnode/faultline").is_some());
        // Its own cordon by a person makes the mark free.
        c.patch(PATH, MERGE, &cordon);
        c.until("the taint", is_tainted);
        let node = c.get(PATH);
        assert_eq!(node["spec"]["unschedulable"], true);
        let ran = program().arg("--json").output().unwrap();
        let found: Value = serde_json::from_slice(&ran.stdout).unwrap();
        let out = found["out"].as_array().unwrap();
        let own = out.iter().find(|out| out["node"] == NODE).unwrap();
        assert!(own["since"].is_string(), "{own}");
        let fault = own["fault"].as_str().unwrap();
        assert!(fault.contains("DIMM#0"), "{own}");
        // And with the cordon the leave ends.
        let uncordon = json!({ "spec": { "unschedulable": null } });
        c.patch(PATH, MERGE, &uncordon);
        c.until("the taint is given up", |c| !is_tainted(c));
        c.until("it waits again", |c| entry(c)["state"] == "waiting");
        c.until("it is told why", |c| told(c, "no room for it now"));
        world.stop();
    });
}

#[test]
fn nodes_that_are_not_ready_for_a_moment_are_not_all_quarantined() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        budget(c, "cluster: { nodes: 1 }", 3);
        let ready = |so: &str| {
            let status = json!({ "status": { "conditions": [{
                "type": "Ready", "status": so, "reason": "X", "message": "m",
                "lastHeartbeatTime": "2026-01-01T00:00:00Z",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]}});
            for node in [NODE, "other-0", "other-1", "other-2"] {
                let path = format!("/api/v1/nodes/{node}/status");
                c.patch(&path, super::kube::STRATEGIC, &status);
            }
        };
        ready("Unknown");
        let world = World::enforce(c);
        world.dimm_fails(0);
        c.until("it waits", |c| entry(c)["state"] == "waiting");
        assert!(!is_tainted(c));
        ready("True");
        c.until("there is room again", is_tainted);
        world.stop();
    });
}

#[test]
fn a_server_that_is_killed_in_between_gets_the_mark_and_the_release_later() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        budget(c, "cluster: { nodes: 1 }", 3);
        let world = World::enforce(c);
        let standing = |world: &World, word: &str| {
            let series = "faultline_quarantine_since_timestamp_seconds";
            world.agent.until(|agent| {
                let (_, page) = agent.get("/metrics");
                let so = format!("standing=\"{word}\"");
                page.lines().any(|l| l.starts_with(series) && l.contains(&so))
            });
        };
        world.dimm_fails(0);
        c.stop();
        world.dimm_fails(1);
        // Not `free`: nobody knows.
        standing(&world, "unknown");
        c.start_again();
        c.until("the taint", is_tainted);
        standing(&world, "quarantined");
        let granted = entry(c)["state"].clone();
        assert_eq!(granted, "granted");
        world.dimm_is_replaced(0);
        c.stop();
        world.dimm_is_replaced(1);
        std::thread::sleep(Duration::from_secs(2));
        c.start_again();
        c.until("the taint is gone", |c| !is_tainted(c));
        c.until("nothing is left on the Lease", |c| entry(c).is_null());
        world.stop();
    });
}

#[test]
fn a_lost_state_is_not_settled_by_an_order_about_something_else() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        budget(c, "cluster: { nodes: 1 }", 3);
        let world = World::enforce(c);
        world.dimm_fails(0);
        c.until("the taint", is_tainted);
        let world = world.forget(&c.kubeconfig());
        let order = |text: &str| {
            let body = json!({ "metadata": { "annotations": {
                "faultline.dev/clear": text } } });
            c.patch(PATH, MERGE, &body);
            c.until("the order is answered", |c| {
                let notes = &c.get(PATH)["metadata"]["annotations"];
                notes.get("faultline.dev/clear").is_none()
            });
        };
        order("dimm/typo; oops");
        std::thread::sleep(Duration::from_secs(4));
        assert!(is_tainted(c));
        // The part that the mark names.
        order("dimm/CPU_SrcID#0_MC#0_Chan#1_DIMM#0; reseated");
        c.until("the taint is gone", |c| !is_tainted(c));
        c.until("it is told", |c| told(c, "a lost state left"));
        world.stop();
    });
}

#[test]
fn what_people_do_to_the_node_is_noticed_and_respected() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        budget(c, "cluster: { nodes: 2 }", 3);
        let world = World::enforce(c);
        world.dimm_fails(0);
        c.until("the taint", is_tainted);
        c.patch(PATH, MERGE, &json!({ "spec": { "taints": null } }));
        let note = |c: &Cluster, key: &str| {
            c.get(PATH)["metadata"]["annotations"].get(key).cloned()
        };
        c.until("the override is noted", |c| {
            note(c, "faultline.dev/overridden").is_some()
        });
        let world = world.crash(&c.kubeconfig());
        // What was not told before is told now, apart from what follows.
        c.until("the override is told", |c| told(c, "somebody took"));
        std::thread::sleep(Duration::from_secs(3));
        assert!(!is_tainted(c));
        // New evidence of a fatal fault ends the respect.
        world.dimm_fails_now(0);
        c.until("the taint is back", is_tainted);
        assert_eq!(note(c, "faultline.dev/overridden"), None);
        let annotate = |key: &str, value: Value| {
            let body = json!({ "metadata": { "annotations": { key: value } } });
            c.patch(PATH, MERGE, &body);
        };
        annotate("faultline.dev/ignore", json!("burn-in"));
        c.until("ignored", |c| !is_tainted(c));
        annotate("faultline.dev/ignore", Value::Null);
        c.until("not ignored any more", is_tainted);
        annotate(
            "faultline.dev/clear",
            json!("dimm/CPU_SrcID#0_MC#0_Chan#1_DIMM#0; reseated"),
        );
        c.until("cleared and released", |c| !is_tainted(c));
        c.until("the order is gone", |c| {
            note(c, "faultline.dev/clear").is_none()
        });
        c.until("the answer is told", |c| told(c, "clear \"dimm"));
        world.stop();
    });
}

#[test]
fn an_agent_killed_again_and_again_ends_with_one_mark_within_the_budget() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        budget(c, "cluster: { nodes: 1 }", 3);
        let mut world = World::enforce(c);
        // Slow enough to be killed between any two requests.
        if let Some(stand_in) = c.controls() {
            stand_in.with(|s| s.latency = Duration::from_millis(150));
        }
        world.dimm_fails(0);
        // A file that was never read to a stored position is begun at its
        // end: this is about the requests, not about that.
        let state = world.path("state");
        world.agent.until(|_| {
            let stored = faultline::store::read(&state);
            stored.is_ok_and(|stored| !stored.faults.is_empty())
        });
        for pause in [0, 100, 250, 400, 550, 700] {
            std::thread::sleep(Duration::from_millis(pause));
            world = world.crash(&c.kubeconfig());
        }
        c.until("the taint", is_tainted);
        assert_eq!(taints(c).iter().filter(|t| t["key"] == KEY).count(), 1);
        world.dimm_is_replaced(0);
        c.until("the taint is gone", |c| !is_tainted(c));
        world.stop();
    });
}

#[test]
fn a_person_clears_a_whole_component_with_an_annotation() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        let world = World::start(c);
        for dimm in [0, 1] {
            world.dimm_fails(dimm);
        }
        c.until("the condition tells of both", |c| {
            let condition = c.condition(NODE, "MemoryFault");
            let message = condition["message"].as_str().unwrap_or_default();
            message.contains("DIMM#0") && message.contains("DIMM#1")
        });
        let order = json!({ "metadata": { "annotations": {
            "faultline.dev/clear": "memory; reseated the DIMMs" } } });
        c.patch(PATH, MERGE, &order);
        c.until("the condition is False", |c| {
            c.condition(NODE, "MemoryFault")["status"] == "False"
        });
        c.until("the answer is told", |c| told(c, "clear \"memory\""));
        let message = c.condition(NODE, "MemoryFault")["message"].clone();
        let message = message.as_str().unwrap();
        assert!(message.contains("cleared by the Node's"), "{message}");
        world.stop();
    });
}

#[test]
fn a_person_settles_what_a_lost_state_left() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        let had = json!({
            "metadata": { "annotations": {
                "faultline.dev/conditions": "MemoryFault" } },
            "status": { "conditions": [{
                "type": "MemoryFault", "status": "True", "reason": "A",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
                "message": "m", }]},
        });
        let status = format!("{PATH}/status");
        c.patch(&status, super::kube::STRATEGIC, &had);
        let world = World::start(c);
        c.until("the condition is Unknown", |c| {
            c.condition(NODE, "MemoryFault")["reason"] == "StateLost"
        });
        let order = json!({ "metadata": { "annotations": {
            "faultline.dev/clear": "MemoryFault; replaced last week" } } });
        c.patch(PATH, MERGE, &order);
        c.until("the condition is False", |c| {
            c.condition(NODE, "MemoryFault")["status"] == "False"
        });
        let world = world.restart(&c.kubeconfig());
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(c.condition(NODE, "MemoryFault")["status"], "False");
        world.stop();
    });
}

#[test]
fn where_the_server_would_let_it_change_others_it_quarantines_nothing() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        budget(c, "cluster: { nodes: 5, allowLast: true }", 0);
        // Alone in the cluster there is nobody to guard.
        let alone = World::guarded(c);
        alone.dimm_fails(0);
        c.until("the node is tainted", is_tainted);
        alone.stop();
        c.patch(
            PATH,
            MERGE,
            &json!({ "spec": { "taints": null },
            "metadata": { "annotations": { KEY: null },
                          "labels": { KEY: null } } }),
        );

        c.create_node("other", json!({}));
        let world = World::guarded(c);
        world.dimm_fails(1);
        c.until("it is told", |c| told(c, "Unguarded"));
        c.until("the condition stands", |c| {
            c.condition(NODE, "MemoryFault")["status"] == "True"
        });
        assert!(!is_tainted(c));
        world.stop();
    });
}
