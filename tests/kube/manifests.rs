//! The manifests of `daemonset/`, applied to a real API server, and the
//! tokens that agents get there. The stand-in knows neither RBAC nor
//! policies, so what needs them runs on the real one alone.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::Cluster;

/// All of them, the base first.
pub const OVERLAYS: [&str; 6] =
    ["base", "observe", "enforce", "gpu", "privileged", "prometheus-operator"];

/// Where an overlay is.
pub fn overlay(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("daemonset").join(name)
}

/// A kubectl that builds kustomizations of today.
pub fn kubectl() -> Option<PathBuf> {
    let own = super::assets().map(|dir| dir.join("kubectl"));
    let all = own.into_iter().chain([PathBuf::from("kubectl")]);
    all.into_iter().find(|kubectl| {
        let built =
            Command::new(kubectl).arg("kustomize").arg(overlay("gpu")).output();
        built.is_ok_and(|output| output.status.success())
    })
}

/// An overlay as it would be applied.
pub fn build(kubectl: &Path, name: &str) -> Vec<u8> {
    let mut command = Command::new(kubectl);
    let output = command.arg("kustomize").arg(overlay(name)).output();
    let output = output.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {error}");
    assert!(!error.to_lowercase().contains("deprecated"), "{error}");
    output.stdout
}

/// kubectl on a cluster, as its administrator.
pub fn on(kubectl: &Path, cluster: &Cluster, args: &[&str]) -> Command {
    let mut command = Command::new(kubectl);
    command.arg("--kubeconfig").arg(cluster.kubeconfig()).args(args);
    // Discovery is cached by the server's address; ports are used again.
    command.arg("--cache-dir").arg(cluster.path("kubectl"));
    command
}

/// What kubectl says; it must succeed.
#[track_caller]
pub fn said(kubectl: &Path, cluster: &Cluster, args: &[&str]) -> String {
    let output = on(kubectl, cluster, args).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Applies on the server's side, as `more` says.
pub fn apply(
    kubectl: &Path,
    cluster: &Cluster,
    text: &[u8],
    more: &[&str],
) -> Output {
    let args = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    let mut apply = on(kubectl, cluster, &args)
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    apply.stdin.take().unwrap().write_all(text).unwrap();
    apply.wait_with_output().unwrap()
}

/// The real API server with overlays in force, and its kubectl; the error
/// says what can't be had here.
pub fn applied(overlays: &[&str]) -> Result<(Cluster, PathBuf), &'static str> {
    let kubectl =
        kubectl().ok_or("no kubectl that knows kustomizations of today")?;
    let cluster = Cluster::real();
    let cluster = cluster.ok_or("KUBEBUILDER_ASSETS names no API server")?;
    for name in overlays {
        let output = apply(&kubectl, &cluster, &build(&kubectl, name), &[]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {error}");
    }
    Ok((cluster, kubectl))
}

/// A kubeconfig with a token of the agents' service account, bound to
/// something, or to nothing.
pub fn token(cluster: &Cluster, name: &str, bound: Option<Value>) -> PathBuf {
    let path = "/api/v1/namespaces/faultline/serviceaccounts/faultline/token";
    let mut request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {},
    });
    if let Some(bound) = bound {
        request["spec"]["boundObjectRef"] = bound;
    }
    let token = cluster.create(path, &request);
    cluster.write_kubeconfig(name, token["status"]["token"].as_str().unwrap())
}

/// The agent of a node: its token is bound to a pod there, as its kubelet
/// would ask for it.
pub fn pod_token(cluster: &Cluster, node: &str) -> PathBuf {
    let name = format!("agent-{node}");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "faultline"},
        "spec": {
            "nodeName": node, "serviceAccountName": "faultline",
            "containers": [{"name": "agent", "image": "faultline"}],
        },
    });
    cluster.create("/api/v1/namespaces/faultline/pods", &pod);
    let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": name});
    token(cluster, &name, Some(bound))
}

/// The agent of a node as a unit on the host: its token is bound to the Node.
pub fn node_token(cluster: &Cluster, node: &str) -> PathBuf {
    let object = cluster.get(&format!("/api/v1/nodes/{node}"));
    let bound = json!({"kind": "Node", "apiVersion": "v1", "name": node,
                       "uid": object["metadata"]["uid"]});
    token(cluster, &format!("unit-{node}"), Some(bound))
}
