//! The token of an agent on the host: it renews its own, and gets no other.
//! The stand-in knows neither tokens nor policies.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use faultline::clock;
use faultline::sinks::counts::Counts;
use faultline::sinks::kubernetes::client::{Access, Client, Names};
use faultline::sinks::kubernetes::renew::{Turn, turn};
use faultline::time::Timestamp;
use hyper::Method;
use serde_json::{Value, json};

use super::kube::manifests::{applied, node_token, pod_token};
use super::kube::{Cluster, JSON};
use super::said::not_run;
use super::world::NODE;

const TOKENS: &str =
    "/api/v1/namespaces/faultline/serviceaccounts/faultline/token";

fn now() -> Timestamp {
    clock::now().wall
}

fn at(seconds: u64) -> Timestamp {
    Timestamp(now().0 + Duration::from_secs(seconds).as_micros() as i64)
}

fn client(kubeconfig: &Path) -> Client {
    let names = Names {
        node: NODE.into(),
        namespace: "faultline".into(),
        lease: "faultline-budget".into(),
    };
    let access = Access::Kubeconfig(kubeconfig.to_owned());
    Client::new(access, names, Arc::new(Counts::default())).unwrap()
}

fn look(kubeconfig: &Path, now: Timestamp) -> Turn {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(turn(&client(kubeconfig), now))
}

fn cluster(test: &str, overlays: &[&str]) -> Option<Cluster> {
    let applied = applied(overlays).map_err(|why| not_run(test, why)).ok();
    let (cluster, _) = applied?;
    for node in [NODE, "other"] {
        cluster.create_node(node, json!({}));
    }
    Some(cluster)
}

/// What the API server says to whoever asks for such a token.
fn ask(c: &Cluster, who: &Path, spec: &Value) -> (u16, Value) {
    let request = json!({"apiVersion": "authentication.k8s.io/v1",
                         "kind": "TokenRequest", "spec": spec});
    c.ask_as(who, Method::POST, TOKENS, (JSON, JSON), Some(&request))
}

fn bound(c: &Cluster, node: &str) -> Value {
    let uid = &c.get(&format!("/api/v1/nodes/{node}"))["metadata"]["uid"];
    json!({"kind": "Node", "apiVersion": "v1", "name": node, "uid": uid})
}

#[test]
fn a_unit_renews_its_token_at_half_of_its_time_and_gets_no_other() {
    let overlays = ["base", "unit"];
    let Some(c) = cluster("renewal of a token", &overlays) else { return };
    let c = &c;
    let unit = node_token(c, NODE);
    let file = c.path(&format!("unit-{NODE}.token"));
    let read = || std::fs::read_to_string(&file).unwrap();
    let first = read();
    assert!(matches!(look(&unit, at(60)), Turn::Early(_)));
    assert_eq!(read(), first);
    let mut other = bound(c, "other");
    c.until("the policy is in force", |c| {
        ask(c, &unit, &json!({"boundObjectRef": other})).0 == 422
    });
    // Half an hour of an hour, and a little.
    let turn = look(&unit, at(1_801));
    assert!(
        matches!(turn, Turn::Renewed(ends) if ends > at(3_000)),
        "{turn:?}"
    );
    let second = read();
    assert_ne!(second, first);
    assert!(!file.with_file_name("unit-testnode.token.new").exists());
    // It is as good as the first: the node's, and renewed in its turn.
    let own = bound(c, NODE);
    assert_eq!(ask(c, &unit, &json!({"boundObjectRef": own})).0, 201);
    assert!(matches!(look(&unit, at(1_801)), Turn::Renewed(_)));

    other["uid"] = own["uid"].clone();
    let mut stale = own.clone();
    stale["uid"] = json!("0ddba11");
    for denied in [
        json!({}),
        json!({"boundObjectRef": other}),
        json!({"boundObjectRef": stale}),
        json!({"boundObjectRef": own, "expirationSeconds": 2_592_001}),
    ] {
        let (code, said) = ask(c, &unit, &denied);
        assert!([409, 422].contains(&code), "{denied}: {code} {said}");
    }
    // A pod's token is its kubelet's to renew.
    assert_eq!(look(&pod_token(c, NODE), at(3_599)), Turn::None);
}

#[test]
fn without_the_overlay_no_token_is_renewed_and_the_reason_is_told() {
    let Some(c) = cluster("refusal of a token", &["base"]) else { return };
    let c = &c;
    let unit = node_token(c, NODE);
    let file = c.path(&format!("unit-{NODE}.token"));
    let before = std::fs::read_to_string(&file).unwrap();
    let Turn::Failed(_, why) = look(&unit, at(1_801)) else {
        panic!("it was renewed")
    };
    assert!(why.contains("serviceaccounts"), "{why}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    assert_eq!(ask(c, &unit, &json!({})).0, 403);
}
