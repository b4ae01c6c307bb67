//! The manifests of `daemonset/`: what they ask for, that a real API server
//! takes them, and that its policies let an agent change what is its own on
//! its own Node and nothing else.
#![cfg(feature = "kubernetes")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod budget;
#[path = "../kube/mod.rs"]
mod kube;
mod nodes;
#[path = "../not_run/mod.rs"]
mod said;

use std::path::{Path, PathBuf};

use hyper::Method;
use kube::manifests::{OVERLAYS, apply, build, overlay};
use kube::{Cluster, JSON, MERGE};
use serde_json::{Value, json};

/// The real API server with the base in force, if it can be had, and the
/// Nodes `n1` and `n2`.
fn applied(test: &str, overlays: &[&str]) -> Option<(Cluster, PathBuf)> {
    let applied = kube::manifests::applied(overlays);
    applied.map_err(|why| said::not_run(test, why)).ok()
}

/// Asks as an agent: the status, and what the server says of it.
fn ask(
    cluster: &Cluster,
    agent: &Path,
    method: Method,
    path: &str,
    (kind, body): (&str, Option<&Value>),
) -> (u16, String) {
    let kind = (kind, JSON);
    let (code, answer) = cluster.ask_as(agent, method, path, kind, body);
    (code, answer["message"].as_str().unwrap_or_default().to_owned())
}

/// Nodes with taints, notes and owners of others, and with orders by people.
fn create_nodes(cluster: &Cluster) {
    for name in ["n1", "n2"] {
        cluster.create_node(name, json!({"team": "a"}));
        let path = format!("/api/v1/nodes/{name}");
        let more = json!({
            "metadata": {
                "annotations": {
                    "note": "theirs", "faultline.dev/hold": "vendor",
                    "faultline.dev/clear": "all; by a person",
                },
                "finalizers": ["example.com/f"],
                "ownerReferences": [{"apiVersion": "example.com/v1",
                    "kind": "Machine", "name": "m", "uid": "u"}],
            },
            "spec": {"taints": [
                {"key": "one", "value": "1", "effect": "NoSchedule"},
                {"key": "two", "effect": "NoExecute"},
            ]},
        });
        cluster.patch(&path, MERGE, &more);
        let status = json!({"status": {
            "capacity": {"cpu": "8"}, "allocatable": {"cpu": "7"}}});
        cluster.patch(&format!("{path}/status"), MERGE, &status);
    }
}

fn daemonset() -> Value {
    let path = overlay("base/daemonset.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

fn mounts(container: &Value) -> Vec<&str> {
    let all = container["volumeMounts"].as_array().unwrap();
    all.iter().map(|mount| mount["name"].as_str().unwrap()).collect()
}

#[test]
fn the_agent_has_a_token_and_no_privilege_and_the_lender_the_contrary() {
    let daemonset = daemonset();
    let pod = &daemonset["spec"]["template"]["spec"];
    for space in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod[space].is_null(), "{space}");
    }
    assert_eq!(pod["automountServiceAccountToken"], false);
    let [agent, lender] = &pod["containers"].as_array().unwrap()[..] else {
        panic!("two containers");
    };
    let own = &agent["securityContext"];
    assert_eq!(own["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(own["privileged"], false);
    assert_eq!(own["allowPrivilegeEscalation"], false);
    assert_eq!(own["readOnlyRootFilesystem"], true);
    assert_eq!(own["seccompProfile"]["type"], "RuntimeDefault");
    assert!(mounts(agent).contains(&"token"));
    assert_eq!(lender["securityContext"]["privileged"], true);
    // Of the host it sees the devices, so that one that appears is lent too.
    assert_eq!(mounts(lender), ["devices", "dev"]);
    assert_eq!(lender["volumeMounts"][1]["readOnly"], true);
    assert_eq!(lender["args"][0], "lend");
    // What the node is tainted with must not drive it away.
    assert_eq!(pod["tolerations"], json!([{"operator": "Exists"}]));
}

#[test]
fn the_configurations_of_the_manifests_are_taken() {
    for name in ["base", "privileged"] {
        let path = overlay(name).join("config.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let config = faultline::config::Config::parse(&text, name);
        let config = config.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(config.root, Path::new("/host"));
        let lent = !config.devices.as_os_str().is_empty();
        assert_eq!(lent, name == "base");
    }
}

/// Without the kind of prometheus-operator, which is no API server's own.
fn without_monitor(text: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(text).unwrap();
    let all: Vec<&str> = text.split("\n---\n").collect();
    let own = all.iter().filter(|one| !one.contains("\nkind: PodMonitor"));
    let own: Vec<&str> = own.copied().collect();
    own.join("\n---\n").into_bytes()
}

#[test]
fn a_real_api_server_takes_every_overlay() {
    let test = "manifests on an API server";
    let Some((cluster, kubectl)) = applied(test, &["base"]) else { return };
    for name in OVERLAYS {
        let built = build(&kubectl, name);
        let own = without_monitor(&built);
        assert_eq!(own != built, name == "prometheus-operator");
        for more in [&["--dry-run=server", "--validate=strict"][..], &[]] {
            let output = apply(&kubectl, &cluster, &own, more);
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name} {more:?}: {error}");
            assert!(!error.contains("Warning"), "{name} {more:?}: {error}");
        }
    }
    // A field that there is not is refused, so the above can fail.
    let wrong = String::from_utf8(build(&kubectl, "base")).unwrap();
    let wrong = wrong.replace("priorityClassName:", "priorityClass:");
    let more = ["--dry-run=server"];
    let output = apply(&kubectl, &cluster, wrong.as_bytes(), &more);
    assert!(!output.status.success());

    let path = "/apis/apps/v1/namespaces/faultline/daemonsets/faultline";
    let pod = &cluster.get(path)["spec"]["template"]["spec"];
    assert!(!pod["containers"].as_array().unwrap().is_empty());
}
