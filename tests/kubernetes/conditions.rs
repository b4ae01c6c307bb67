//! What stands on the Node, and what it costs.

use std::time::Duration;

use serde_json::{Value, json};

use super::kube::{MERGE, STRATEGIC, on_each_server};
use super::world::{NODE, World};

const STATUS: &str = "/api/v1/nodes/testnode/status";

fn listed(node: &Value) -> Vec<String> {
    let list = &node["metadata"]["annotations"]["faultline.dev/conditions"];
    let list = list.as_str().unwrap_or_default();
    list.split(',').map(str::to_owned).collect()
}

#[test]
fn a_node_gets_its_conditions_once_and_at_rest_nothing_is_written() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        let world = World::start(c);
        c.until("a condition of a healthy group", |c| {
            c.condition(NODE, "MemoryFault")["status"] == "False"
        });
        assert_eq!(c.condition(NODE, "Ready")["status"], "True");
        let node = c.get("/api/v1/nodes/testnode");
        let listed = listed(&node);
        assert!(listed.contains(&"MemoryFault".to_owned()), "{listed:?}");
        assert_eq!(world.writes(), 1.0);
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(world.writes(), 1.0);
        let version = node["metadata"]["resourceVersion"].clone();
        let world = world.restart(&c.kubeconfig());
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(world.writes(), 0.0);
        // SIGTERM changes nothing either.
        world.stop();
        let node = c.get("/api/v1/nodes/testnode");
        assert_eq!(node["metadata"]["resourceVersion"], version);
    });
}

#[test]
fn a_fault_turns_its_condition_and_keeps_its_time_over_a_crash() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        let world = World::start(c);
        world.dimm_fails(0);
        let is = |status: &'static str| {
            move |c: &super::kube::Cluster| {
                c.condition(NODE, "MemoryFault")["status"] == status
            }
        };
        c.until("the condition is True", is("True"));
        let first = c.condition(NODE, "MemoryFault");
        assert_eq!(first["reason"], "MemoryUncorrected");
        let message = first["message"].as_str().unwrap();
        assert!(message.contains("DIMM#0"), "{message}");
        c.until("the opening is told", |c| !c.events(NODE).is_empty());
        let world = world.crash(&c.kubeconfig());
        world.dimm_fails(1);
        c.until("the second DIMM is told", |c| {
            let now = c.condition(NODE, "MemoryFault");
            now["message"].as_str().unwrap().contains("DIMM#1")
        });
        let second = c.condition(NODE, "MemoryFault");
        assert_eq!(second["lastTransitionTime"], first["lastTransitionTime"]);
        for dimm in [0, 1] {
            world.dimm_is_replaced(dimm);
        }
        c.until("the condition is False", is("False"));
        let third = c.condition(NODE, "MemoryFault");
        let message = third["message"].as_str().unwrap();
        assert!(message.contains("over: replaced"), "{message}");
        c.until("the end is told", |c| {
            c.events(NODE).iter().any(|e| e["action"] == "Cleared")
        });
        for event in c.events(NODE) {
            assert_eq!(event["regarding"]["name"], NODE, "{event}");
        }
    });
}

#[test]
fn two_hundred_lines_cost_three_writes_at_most() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        let world = World::start(c);
        c.until("the first conditions", |c| {
            c.condition(NODE, "MemoryFault")["status"] == "False"
        });
        let before = world.writes();
        for dimm in 0..200 {
            world.dimm_fails(dimm);
            std::thread::sleep(Duration::from_millis(5));
        }
        world
            .agent
            .until(|a| a.metric("faultline_events_told_total") >= Some(200.0));
        // What still gathers would go out by now.
        std::thread::sleep(Duration::from_secs(3));
        let cost = world.writes() - before;
        assert!(cost <= 3.0, "{cost} writes");
        assert_eq!(c.events(NODE).len(), 1);
        let message = c.condition(NODE, "MemoryFault")["message"].clone();
        let message = message.as_str().unwrap();
        assert!(message.len() <= 1024 && message.contains(" more"));
    });
}

#[test]
fn what_others_write_stays_and_what_they_undo_comes_back() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        let old = json!({
            "metadata": { "annotations": {
                "faultline.dev/conditions": "FanFault" } },
            "status": { "conditions": [
                { "type": "FanFault", "status": "False" },
                { "type": "GoneFault", "status": "False" },
                { "type": "KernelDeadlock", "status": "False" },
            ]},
        });
        c.patch(STATUS, STRATEGIC, &old);
        let world = World::start(c);
        c.until("a group that is gone has lost its condition", |c| {
            c.condition(NODE, "FanFault") == Value::Null
        });
        for kind in ["GoneFault", "KernelDeadlock"] {
            assert_eq!(c.condition(NODE, kind)["status"], "False");
        }
        let stolen = json!({ "status": { "conditions": [
            { "$patch": "delete", "type": "MemoryFault" }] } });
        c.patch(STATUS, STRATEGIC, &stolen);
        c.until("a condition that was taken away is back", |c| {
            c.condition(NODE, "MemoryFault")["status"] == "False"
        });
        let label = json!({ "metadata": { "labels": { "a": "b" } } });
        let before = world.writes();
        c.patch("/api/v1/nodes/testnode", MERGE, &label);
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(world.writes(), before);
    });
}

#[test]
fn a_node_made_anew_under_its_name_is_told_everything() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        let world = World::start(c);
        world.dimm_fails(0);
        c.until("the condition is True", |c| {
            c.condition(NODE, "MemoryFault")["status"] == "True"
        });
        let since =
            c.condition(NODE, "MemoryFault")["lastTransitionTime"].clone();
        c.delete("/api/v1/nodes/testnode");
        std::thread::sleep(Duration::from_millis(500));
        c.create_node(NODE, json!({}));
        c.until("the new Node is told", |c| {
            c.condition(NODE, "MemoryFault")["status"] == "True"
        });
        let now = c.condition(NODE, "MemoryFault");
        assert_eq!(now["lastTransitionTime"], since);
        world.stop();
    });
}

#[test]
fn a_state_that_was_lost_is_no_recovery() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        let had = json!({
            "metadata": { "annotations": {
                "faultline.dev/conditions": "MemoryFault" } },
            "status": { "conditions": [{
                "type": "MemoryFault", "status": "True",
                "reason": "MemoryUncorrected", "message": "dimm/P1 is bad",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]},
        });
        c.patch(STATUS, STRATEGIC, &had);
        let world = World::start(c);
        c.until("the condition is Unknown", |c| {
            c.condition(NODE, "MemoryFault")["status"] == "Unknown"
        });
        let held = c.condition(NODE, "MemoryFault");
        assert_eq!(held["reason"], "StateLost");
        let message = held["message"].as_str().unwrap();
        assert!(message.contains("dimm/P1 is bad"), "{message}");
        world.stop();
    });
}
