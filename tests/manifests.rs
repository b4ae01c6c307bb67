//! The manifests of `daemonset/`: what they ask for, that a real API server
//! takes them, and that its policy lets an agent change what is its own on
//! its own Node and nothing else.
#![cfg(feature = "kubernetes")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kube;
#[path = "not_run/mod.rs"]
mod said;

use std::path::{Path, PathBuf};
use std::process::Command;

use hyper::Method;
use kube::{Cluster, JSON, MERGE, STRATEGIC};
use serde_json::{Value, json};

const OVERLAYS: [&str; 6] =
    ["base", "observe", "enforce", "gpu", "privileged", "prometheus-operator"];

fn manifests(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("daemonset").join(name)
}

fn daemonset() -> Value {
    let path = manifests("base/daemonset.yaml");
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
    assert_eq!(mounts(lender), ["devices"], "and nothing of the host");
    assert_eq!(lender["args"][0], "lend");
    // What the node is tainted with must not drive it away.
    assert_eq!(pod["tolerations"], json!([{"operator": "Exists"}]));
}

#[test]
fn the_configurations_of_the_manifests_are_taken() {
    for overlay in ["base", "privileged"] {
        let path = manifests(overlay).join("config.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let config = faultline::config::Config::parse(&text, overlay);
        let config = config.unwrap_or_else(|e| panic!("{overlay}: {e}"));
        assert_eq!(config.root, Path::new("/host"));
        let lent = !config.devices.as_os_str().is_empty();
        assert_eq!(lent, overlay == "base");
    }
}

/// A kubectl that builds kustomizations of today.
fn kubectl() -> Option<PathBuf> {
    let own = kube::assets().map(|dir| dir.join("kubectl"));
    let all = own.into_iter().chain([PathBuf::from("kubectl")]);
    all.into_iter().find(|kubectl| {
        let built = Command::new(kubectl)
            .arg("kustomize")
            .arg(manifests("gpu"))
            .output();
        built.is_ok_and(|output| output.status.success())
    })
}

fn built(kubectl: &Path, overlay: &str) -> Vec<u8> {
    let output = Command::new(kubectl)
        .arg("kustomize")
        .arg(manifests(overlay))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{overlay}: {error}");
    assert!(!error.to_lowercase().contains("deprecated"), "{error}");
    output.stdout
}

/// The real API server with an overlay in force, if both can be had.
fn applied(test: &str, overlays: &[&str]) -> Option<Cluster> {
    let Some(kubectl) = kubectl() else {
        said::not_run(test, "no kubectl that knows kustomizations of today");
        return None;
    };
    for overlay in OVERLAYS {
        built(&kubectl, overlay);
    }
    let Some(cluster) = Cluster::real() else {
        said::not_run(test, "KUBEBUILDER_ASSETS names no real API server");
        return None;
    };
    for overlay in overlays {
        let mut apply = Command::new(&kubectl)
            .arg("--kubeconfig")
            .arg(cluster.kubeconfig())
            .args(["apply", "--server-side", "--force-conflicts", "-f", "-"])
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let text = built(&kubectl, overlay);
        std::io::Write::write_all(apply.stdin.as_mut().unwrap(), &text)
            .unwrap();
        let output = apply.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{overlay}: {error}");
    }
    Some(cluster)
}

#[test]
fn a_real_api_server_takes_every_overlay() {
    // The kind of prometheus-operator is not the API server's own.
    let own = OVERLAYS.split_last().unwrap().1;
    let Some(cluster) = applied("manifests on an API server", own) else {
        return;
    };
    let path = "/apis/apps/v1/namespaces/faultline/daemonsets/faultline";
    let containers = &cluster.get(path)["spec"]["template"]["spec"];
    // The last that was applied has one container, which may do anything.
    assert_eq!(containers["containers"].as_array().unwrap().len(), 1);
}

/// The agent of node `n1`: its kubeconfig has a token that is bound to a pod
/// there, as its kubelet would ask for it.
fn agent(cluster: &Cluster) -> PathBuf {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "agent", "namespace": "faultline"},
        "spec": {
            "nodeName": "n1", "serviceAccountName": "faultline",
            "containers": [{"name": "agent", "image": "faultline"}],
        },
    });
    cluster.create("/api/v1/namespaces/faultline/pods", &pod);
    let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": "agent"});
    token(cluster, "agent", &bound)
}

fn token(cluster: &Cluster, name: &str, bound: &Value) -> PathBuf {
    let path = "/api/v1/namespaces/faultline/serviceaccounts/faultline/token";
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"boundObjectRef": bound},
    });
    let token = cluster.create(path, &request);
    cluster.write_kubeconfig(name, token["status"]["token"].as_str().unwrap())
}

const OWN: &str = "/api/v1/nodes/n1";
const OTHER: &str = "/api/v1/nodes/n2";

fn nodes(cluster: &Cluster) {
    for name in ["n1", "n2"] {
        cluster.create_node(name, json!({"team": "a"}));
        let path = format!("/api/v1/nodes/{name}");
        let more = json!({
            "metadata": {"annotations": {
                "note": "theirs", "faultline.dev/clear": "all; by a person",
                "faultline.dev/hold": "vendor",
            }},
            "spec": {"taints": [
                {"key": "one", "effect": "NoSchedule"},
                {"key": "two", "effect": "NoSchedule"},
            ]},
        });
        cluster.patch(&path, MERGE, &more);
        let status = json!({"status": {"capacity": {"cpu": "8"}}});
        cluster.patch(&format!("{path}/status"), MERGE, &status);
    }
}

fn taints(keys: &[&str]) -> Value {
    let taint = |key: &&str| json!({"key": key, "effect": "NoSchedule"});
    json!({"spec": {"taints": keys.iter().map(taint).collect::<Vec<_>>()}})
}

fn notes(key: &str, value: Value) -> Value {
    json!({"metadata": {"annotations": {key: value}}})
}

fn condition(kind: &str) -> Value {
    json!({"status": {"conditions": [{
        "type": kind, "status": "True", "reason": "X", "message": "m",
        "lastHeartbeatTime": "2026-01-01T00:00:00Z",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]}})
}

#[test]
fn an_agent_changes_what_is_its_own_on_its_own_node_and_nothing_else() {
    let Some(cluster) = applied("the policy on Nodes", &["base"]) else {
        return;
    };
    nodes(&cluster);
    let agent = agent(&cluster);
    let patch = |path: &str, kind: &str, body: &Value| {
        let accept = (kind, JSON);
        cluster.ask_as(&agent, Method::PATCH, path, accept, Some(body))
    };
    // The policy is in force some seconds after it was made.
    let probe = notes("faultline.dev/probe", json!("1"));
    cluster.until("the policy is in force", |cluster| {
        let (kind, body) = ((MERGE, JSON), Some(&probe));
        let path = format!("{OTHER}?dryRun=All");
        let asked = cluster.ask_as(&agent, Method::PATCH, &path, kind, body);
        asked.0 == 422 || asked.0 == 403
    });

    let status = format!("{OWN}/status");
    let quarantine = "faultline.dev/quarantine";
    let mut marked = taints(&["one", quarantine, "two"]);
    marked["metadata"]["labels"][quarantine] = json!("taint");
    marked["metadata"]["annotations"] =
        json!({quarantine: "{}", "faultline.dev/clear": null});
    let allowed = [
        (OWN, MERGE, marked),
        (OWN, MERGE, taints(&["one", "two"])),
        (OWN, MERGE, json!({"spec": {"unschedulable": true}})),
        (OWN, MERGE, json!({"spec": {"unschedulable": null}})),
        (OWN, MERGE, notes("faultline.dev/patterns", json!("17"))),
        (OWN, MERGE, notes("faultline.dev/patterns", Value::Null)),
        (&*status, STRATEGIC, condition("MemoryFault")),
    ];
    for (path, kind, body) in &allowed {
        let (code, answer) = patch(path, kind, body);
        assert_eq!(code, 200, "{path} {body}: {answer}");
    }

    let labels =
        |value: Value| json!({"metadata": {"labels": {"team": value}}});
    let order = "faultline.dev/clear";
    let mut denied = vec![
        (MERGE, taints(&["two", "one"])),
        (MERGE, taints(&["one"])),
        (MERGE, taints(&["one", "two", "three"])),
        (MERGE, json!({"spec": {"taints": null}})),
        (
            MERGE,
            json!({"spec": {"podCIDR": "10.9.0.0/24",
                                "podCIDRs": ["10.9.0.0/24"]}}),
        ),
        (MERGE, json!({"spec": {"providerID": "a://b"}})),
    ];
    let everywhere = [
        (MERGE, labels(json!("b"))),
        (MERGE, labels(Value::Null)),
        (MERGE, json!({"metadata": {"labels": {"new": "x"}}})),
        (
            MERGE,
            json!({"metadata": {"labels": {
            "faultline.dev/retired": "true"}}}),
        ),
        (MERGE, notes("note", json!("ours"))),
        (MERGE, notes("note", Value::Null)),
        (MERGE, notes("new", json!("x"))),
        (MERGE, notes(order, json!("all"))),
        (MERGE, notes("faultline.dev/ignore", json!("always"))),
        (MERGE, notes("faultline.dev/hold", Value::Null)),
        (MERGE, json!({"metadata": {"finalizers": ["a.b/c"]}})),
        (
            MERGE,
            json!({"metadata": {"ownerReferences": [{
            "apiVersion": "v1", "kind": "Node", "name": "n2", "uid": "u"}]}}),
        ),
    ];
    denied.extend(everywhere.iter().cloned());
    let of_status = [
        (STRATEGIC, condition("Ready")),
        (STRATEGIC, condition("KernelDeadlock")),
        (
            STRATEGIC,
            json!({"status": {"conditions": [
            {"$patch": "delete", "type": "Ready"}]}}),
        ),
        (MERGE, json!({"status": {"capacity": {"cpu": "1"}}})),
        (MERGE, json!({"status": {"allocatable": {"cpu": "1"}}})),
        (
            MERGE,
            json!({"status": {"addresses": [
            {"type": "InternalIP", "address": "10.0.0.9"}]}}),
        ),
        (
            MERGE,
            json!({"status": {"daemonEndpoints": {
            "kubeletEndpoint": {"Port": 1}}}}),
        ),
        (MERGE, json!({"status": {"nodeInfo": {"kernelVersion": "x"}}})),
        (MERGE, json!({"status": {"volumesInUse": ["v"]}})),
    ];
    let refuse = |path: &str, kind: &str, body: &Value| {
        let before = cluster.get(path.trim_end_matches("/status"));
        let (code, answer) = patch(path, kind, body);
        let why = answer["message"].as_str().unwrap_or_default();
        assert!(matches!(code, 403 | 422), "{path} {body}: {code} {answer}");
        assert!(why.contains("an agent"), "{path} {body}: {why}");
        let after = cluster.get(path.trim_end_matches("/status"));
        assert_eq!(
            before["metadata"]["resourceVersion"],
            after["metadata"]["resourceVersion"]
        );
    };
    for (kind, body) in &denied {
        refuse(OWN, kind, body);
    }
    for (kind, body) in everywhere.iter().chain(&of_status) {
        refuse(&status, kind, body);
    }
    // What it may do on its own Node it may not on another.
    for (path, kind, body) in &allowed {
        refuse(&path.replace("/n1", "/n2"), kind, body);
    }
    let delete =
        cluster.ask_as(&agent, Method::DELETE, OWN, (JSON, JSON), None);
    assert_eq!(delete.0, 403, "{}", delete.1);

    // A token that is bound to the Node says the same of itself.
    let node = cluster.get(OWN);
    let bound = json!({"kind": "Node", "apiVersion": "v1", "name": "n1",
                       "uid": node["metadata"]["uid"]});
    let unit = token(&cluster, "unit", &bound);
    let body = notes("faultline.dev/patterns", json!("18"));
    let ask = |path: &str| {
        let kind = (MERGE, JSON);
        cluster.ask_as(&unit, Method::PATCH, path, kind, Some(&body)).0
    };
    assert_eq!(ask(OWN), 200);
    assert!(matches!(ask(OTHER), 403 | 422));
}

#[test]
fn an_agent_writes_its_own_entry_of_the_budget_and_events_of_its_own_node() {
    let Some(cluster) = applied("the policy on the budget", &["base"]) else {
        return;
    };
    nodes(&cluster);
    let agent = agent(&cluster);
    let lease = "/apis/coordination.k8s.io/v1/namespaces/faultline/leases/\
                 faultline-budget";
    let put_at = |path: &str, change: &dyn Fn(&mut Value)| {
        let mut body = cluster.get(lease);
        change(&mut body);
        let kind = (JSON, JSON);
        cluster.ask_as(&agent, Method::PUT, path, kind, Some(&body))
    };
    let put = |change: &dyn Fn(&mut Value)| put_at(lease, change);
    let entry = |name: &'static str| {
        move |lease: &mut Value| {
            lease["metadata"]["annotations"][name] = json!("{}");
        }
    };
    cluster.until("the policy is in force", |_| {
        let try_out = format!("{lease}?dryRun=All");
        put_at(&try_out, &entry("n2/faultline")).0 == 422
    });
    assert_eq!(put(&entry("n1/faultline")).0, 200);
    assert_eq!(put(&entry("n2/faultline")).0, 422);
    let limits: &dyn Fn(&mut Value) = &entry("faultline.dev/limits");
    let gone: &dyn Fn(&mut Value) = &|lease| {
        lease["metadata"]["annotations"] = json!({"n1/faultline": "{}"});
    };
    let holder: &dyn Fn(&mut Value) =
        &|lease| lease["spec"]["holderIdentity"] = json!("me");
    for change in [limits, gone, holder] {
        let (code, answer) = put(change);
        assert_eq!(code, 422, "{answer}");
    }
    let delete =
        cluster.ask_as(&agent, Method::DELETE, lease, (JSON, JSON), None);
    assert_eq!(delete.0, 403);

    let event = |node: &str| {
        let body = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"generateName": "faultline-", "namespace": "default"},
            "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Warning",
            "reportingController": "faultline.dev/agent",
            "reportingInstance": "n1", "action": "Opened", "reason": "X",
            "regarding": {"kind": "Node", "name": node, "apiVersion": "v1"},
        });
        let path = "/apis/events.k8s.io/v1/namespaces/default/events";
        let kind = (JSON, JSON);
        cluster.ask_as(&agent, Method::POST, path, kind, Some(&body))
    };
    let (code, answer) = event("n1");
    assert_eq!(code, 201, "{answer}");
    cluster.until("the policy is in force", |_| event("n2").0 == 422);
}
