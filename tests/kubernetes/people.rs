//! What people do from outside: `nodes`, `clear --node`, `uninstall`, with
//! their own credentials.

use std::process::Command;

use serde_json::{Value, json};

use super::kube::{Cluster, MERGE, STRATEGIC, on_each_server};
use super::quarantine::budget;
use super::support::PROGRAM;
use super::world::{NODE, World};

const PATH: &str = "/api/v1/nodes/testnode";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// Runs a command as a person would: exit status, output, errors.
fn faultline(c: &Cluster, args: &[&str]) -> (i32, String, String) {
    run(Command::new(PROGRAM), c, args)
}

fn run(
    mut command: Command,
    c: &Cluster,
    args: &[&str],
) -> (i32, String, String) {
    let config = c.kubeconfig().with_file_name("none.yaml");
    std::fs::write(&config, "").unwrap();
    let output = command
        .args(args)
        .args(["--namespace", "default", "--config"])
        .arg(config)
        .env_remove("HOME")
        .env_remove("COLUMNS")
        .env("KUBECONFIG", format!("/nonexistent:{}", c.kubeconfig().display()))
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let status = output.status.code().unwrap();
    (status, text(output.stdout), text(output.stderr))
}

fn nodes(c: &Cluster, args: &[&str]) -> (i32, Vec<Value>) {
    let args = [&["nodes", "--json"], args].concat();
    let (status, out, errors) = faultline(c, &args);
    assert_eq!(errors, "");
    (status, serde_json::from_str(&out).unwrap())
}

fn ago(minutes: i64) -> String {
    let now = faultline::clock::now().wall.0 / 1_000_000 - minutes * 60;
    jiff::Timestamp::from_second(now).unwrap().to_string()
}

/// An agent's pod on a node, Ready or not since some minutes ago.
fn agent_pod(c: &Cluster, node: &str, ready: &str, minutes: i64) {
    let name = format!("faultline-{node}");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "default",
            "labels": { "app.kubernetes.io/name": "faultline" } },
        "spec": { "nodeName": node,
            "containers": [{ "name": "agent", "image": "faultline" }] },
    });
    c.create(PODS, &pod);
    let status = json!({ "status": { "phase": "Running", "conditions": [
        { "type": "Ready", "status": ready,
          "lastTransitionTime": ago(minutes) }] } });
    c.patch(&format!("{PODS}/{name}/status"), STRATEGIC, &status);
}

/// What a healthy agent wrote an hour ago.
fn well(c: &Cluster, node: &str) {
    let body = json!({
        "metadata": { "annotations": {
            "faultline.dev/conditions": "DiskFault" } },
        "status": { "conditions": [{ "type": "DiskFault", "status": "False",
            "reason": "NoFault", "message": "no fault",
            "lastHeartbeatTime": ago(60), "lastTransitionTime": ago(60) }] },
    });
    c.patch(&format!("/api/v1/nodes/{node}/status"), STRATEGIC, &body);
}

fn names(nodes: &[Value]) -> Vec<&str> {
    nodes.iter().map(|node| node["node"].as_str().unwrap()).collect()
}

#[test]
fn every_node_is_shown_and_none_without_a_live_agent_is_ok() {
    on_each_server(|c| {
        for node in ["live", "late", "dead", "nobody", "silent"] {
            c.create_node(node, json!({ "rack": node }));
            if node != "nobody" {
                well(c, node);
            }
        }
        agent_pod(c, "live", "True", 600);
        agent_pod(c, "late", "False", 4);
        agent_pod(c, "dead", "False", 11);
        c.create_node(NODE, json!({}));
        let world = World::start(c);
        world.dimm_fails(0);
        c.until("the fault is told", |c| {
            c.condition(NODE, "MemoryFault")["status"] == "True"
        });

        let (status, all) = nodes(c, &[]);
        assert_eq!(status, 2);
        let state = |name: &str| {
            let node = all.iter().find(|node| node["node"] == *name);
            node.unwrap()["state"].as_str().unwrap().to_owned()
        };
        assert_eq!(all[0]["node"], NODE, "the worst stands first");
        assert_eq!(state(NODE), "failing");
        assert_eq!([state("live"), state("late")], ["ok", "ok"]);
        for name in ["dead", "nobody", "silent"] {
            assert_eq!(state(name), "unknown", "{name}");
        }
        let fault = &all[0]["faults"][0];
        assert_eq!(fault["pattern"], "memory-uncorrected");
        assert_eq!(fault["part"], "dimm/CPU_SrcID#0_MC#0_Chan#1_DIMM#0");
        assert_eq!(fault["severity"], "fatal");

        let (status, some) = nodes(c, &["--state", "ok", "--sort", "name"]);
        assert_eq!((status, names(&some)), (0, vec!["late", "live"]));
        let (status, some) = nodes(c, &["-l", "rack in (dead, live)"]);
        if c.controls().is_none() {
            assert_eq!((status, names(&some)), (3, vec!["dead", "live"]));
        }
        let (status, some) = nodes(c, &["-l", "rack=dead"]);
        assert_eq!((status, names(&some)), (3, vec!["dead"]));
        let (_, some) = nodes(c, &["--fault", "DIMM#0"]);
        assert_eq!(names(&some), [NODE]);
        let (_, some) = nodes(c, &["--quarantined"]);
        assert_eq!(names(&some), [""; 0]);
        let (status, _, errors) = faultline(c, &["nodes", "no-such"]);
        assert_eq!(status, 3);
        assert!(errors.contains("there is no node no-such"), "{errors}");
        world.stop();
    });
}

#[test]
fn as_a_plugin_of_kubectl_it_is_the_same_program() {
    let c = Cluster::stand_in();
    c.create_node("n1", json!({}));
    let dir = tempfile::tempdir().unwrap();
    let plugin = dir.path().join("kubectl-faultline");
    std::os::unix::fs::symlink(PROGRAM, &plugin).unwrap();
    let (status, out, _) = run(Command::new(&plugin), &c, &["nodes"]);
    assert_eq!(status, 3);
    assert!(out.contains("n1") && out.contains("no agent"), "{out}");
    let output = Command::new(&plugin).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("Usage: kubectl faultline"), "{help}");
}

#[test]
fn a_server_that_is_away_is_no_empty_cluster() {
    let mut c = Cluster::stand_in();
    c.stop();
    for command in ["nodes", "uninstall", "budget"] {
        let (status, out, errors) = faultline(&c, &[command]);
        assert_eq!((status, out.as_str()), (3, ""), "{command}");
        assert!(errors.contains("no answer"), "{errors}");
    }
}

#[test]
fn a_person_clears_a_fault_of_any_node_and_is_told_what_came_of_it() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        let clear = |fault: &str, more: &[&str]| {
            let why = ["--why", "reseated"];
            let args = ["clear", "--node", NODE, fault];
            faultline(c, &[&args[..], &why, more].concat())
        };
        // Nobody is there to take it.
        let (status, _, errors) = clear("dimm/x", &["--wait", "1"]);
        assert_eq!(status, 3);
        assert!(errors.contains("has not taken the order"), "{errors}");
        let (status, _, errors) = clear("dimm/y", &["--wait", "1"]);
        assert_eq!(status, 3);
        assert!(errors.contains("an order still waits"), "{errors}");
        let none = json!({ "metadata": { "annotations": {
            "faultline.dev/clear": null } } });
        c.patch(PATH, MERGE, &none);

        let world = World::start(c);
        world.dimm_fails(0);
        let is = |status: &'static str| {
            move |c: &Cluster| {
                c.condition(NODE, "MemoryFault")["status"] == status
            }
        };
        c.until("the condition is True", is("True"));
        let (status, out, errors) = clear("dimm/typo", &[]);
        assert_eq!(status, 1, "{errors}");
        assert!(out.contains("no fault \"dimm/typo\""), "{out}");
        let part = "dimm/CPU_SrcID#0_MC#0_Chan#1_DIMM#0";
        let (status, out, errors) = clear(part, &[]);
        assert_eq!(status, 0, "{errors}");
        assert!(out.contains("cleared memory-uncorrected"), "{out}");
        c.until("the condition is False", is("False"));
        let (status, ..) = clear(part, &["--replaced"]);
        assert_eq!(status, 64);
        world.stop();
    });
}

/// What there is to compare of a Node.
fn essence(c: &Cluster) -> Value {
    let mut node = c.get(PATH);
    let metadata = node["metadata"].as_object_mut().unwrap();
    metadata.remove("managedFields");
    metadata.remove("resourceVersion");
    node
}

#[test]
fn uninstall_leaves_the_node_as_it_was_before() {
    on_each_server(|c| {
        c.create_node(NODE, json!({ "a": "b" }));
        let others = json!({
            "metadata": { "annotations": { "example.com/x": "y",
                                           "faultline.dev/hold": "vendor" } },
            "spec": { "taints": [{ "key": "example.com/x", "value": "1",
                                   "effect": "NoSchedule" }] },
        });
        c.patch(PATH, MERGE, &others);
        let foreign = json!({ "status": { "conditions": [
            { "type": "KernelDeadlock", "status": "False" },
            { "type": "RackFault", "status": "True" }] } });
        c.patch(&format!("{PATH}/status"), STRATEGIC, &foreign);
        budget(c, "cluster: { nodes: 1 }", 2);
        let before = essence(c);
        let world = World::enforce(c);
        world.dimm_fails(0);
        c.until("tainted and told", |c| {
            let node = c.get(PATH);
            let taints = node["spec"]["taints"].as_array().map(Vec::len);
            taints == Some(2)
                && c.condition(NODE, "MemoryFault")["status"] == "True"
        });
        let (_, quarantined) = nodes(c, &["--quarantined"]);
        assert_eq!(names(&quarantined), [NODE]);
        assert_eq!(quarantined[0]["quarantine"]["how"], "taint");
        world.stop();

        let at = c.get(PATH)["metadata"]["resourceVersion"].clone();
        let (status, out, errors) = faultline(c, &["uninstall", "--dry-run"]);
        assert_eq!(status, 0, "{errors}");
        assert!(out.contains("MemoryFault") && out.contains("taint"), "{out}");
        assert!(out.contains("1 node(s) would be cleaned, 1 entries"), "{out}");
        assert_eq!(c.get(PATH)["metadata"]["resourceVersion"], at);

        agent_pod(c, "other-0", "True", 1);
        let (status, _, errors) = faultline(c, &["uninstall"]);
        assert_eq!(status, 1);
        assert!(errors.contains("1 agent(s) run"), "{errors}");
        assert_eq!(c.get(PATH)["metadata"]["resourceVersion"], at);

        let (status, _, errors) = faultline(c, &["uninstall", "--force"]);
        assert_eq!(status, 0, "{errors}");
        assert_eq!(essence(c), before);
        let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
        let lease = c.get(&format!("{leases}/faultline-budget"));
        let notes = lease["metadata"]["annotations"].as_object().unwrap();
        let keys: Vec<&String> = notes.keys().collect();
        assert_eq!(keys, ["faultline.dev/limits"]);
        let (_, out, _) = faultline(c, &["uninstall", "--force"]);
        assert!(out.contains("0 node(s) cleaned, 0 entries"), "{out}");
    });
}
