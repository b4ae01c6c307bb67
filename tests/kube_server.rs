//! What the API server does with what the agent sends: the stand-in and the
//! real one answer alike.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kube;
mod not_run;

use hyper::Method;
use kube::{Cluster, JSON, MERGE, STRATEGIC, on_each_server};
use serde_json::{Value, json};

const NODE: &str = "/api/v1/nodes/n1";
const STATUS: &str = "/api/v1/nodes/n1/status";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap()
}

fn patch(c: &Cluster, path: &str, kind: &str, body: Value) -> (u16, Value) {
    c.ask(Method::PATCH, path, kind, Some(&body))
}

#[test]
fn the_real_server_is_among_those_tested() {
    if kube::assets().is_none() {
        not_run::not_run(
            "the tests on a real API server",
            "KUBEBUILDER_ASSETS names no directory with kube-apiserver and \
             etcd; they ran on the stand-in alone",
        );
    }
}

#[test]
fn a_status_patch_merges_conditions_by_type_and_keeps_the_spec() {
    on_each_server(|c| {
        c.create_node("n1", json!({}));
        let before = c.get(NODE);
        let body = json!({
            "metadata": { "annotations": { "faultline.dev/x": "1" } },
            "spec": { "unschedulable": true },
            "status": { "conditions": [
                { "type": "DiskFault", "status": "True", "reason": "A" },
                { "type": "FanFault", "status": "False", "reason": "B" },
            ]},
        });
        let (status, after) = patch(c, STATUS, STRATEGIC, body);
        assert_eq!(status, 200, "{after}");
        assert_eq!(after["metadata"]["annotations"]["faultline.dev/x"], "1");
        assert_eq!(after["spec"], before["spec"]);
        assert_eq!(c.condition("n1", "Ready")["status"], "True");
        assert_eq!(c.condition("n1", "DiskFault")["reason"], "A");
        let body = json!({ "status": { "conditions": [
            { "$patch": "delete", "type": "FanFault" },
            { "$patch": "delete", "type": "NeverThere" },
            { "type": "DiskFault", "message": "m" },
        ]}});
        patch(c, STATUS, STRATEGIC, body);
        assert_eq!(c.condition("n1", "FanFault"), Value::Null);
        assert_eq!(c.condition("n1", "DiskFault")["status"], "True");
        assert_eq!(c.condition("n1", "DiskFault")["message"], "m");
    });
}

#[test]
fn a_patch_of_the_main_side_keeps_the_status() {
    on_each_server(|c| {
        c.create_node("n1", json!({}));
        let taint = json!({ "key": "a/b", "value": "c",
                            "effect": "NoSchedule" });
        let body = json!({ "spec": { "taints": [taint] },
                           "status": { "conditions": [] } });
        let (status, node) = patch(c, NODE, MERGE, body);
        assert_eq!(status, 200, "{node}");
        assert_eq!(node["spec"]["taints"], json!([taint]));
        assert_eq!(c.condition("n1", "Ready")["status"], "True");
        let twice = json!({ "spec": { "taints": [taint, taint] } });
        assert_eq!(patch(c, NODE, MERGE, twice).0, 422);
        let odd = json!({ "spec": { "taints": [{ "key": "a",
                                                 "effect": "Never" }] } });
        assert_eq!(patch(c, NODE, MERGE, odd).0, 422);
        let label = json!({ "metadata": { "labels": { "a": "b c" } } });
        assert_eq!(patch(c, NODE, MERGE, label).0, 422);
        let cordon = json!({ "spec": { "unschedulable": true } });
        let (_, node) = patch(c, NODE, MERGE, cordon);
        assert_eq!(node["spec"]["unschedulable"], true);
        let uncordon = json!({ "spec": { "unschedulable": false } });
        let (_, node) = patch(c, NODE, MERGE, uncordon);
        assert_eq!(node["spec"]["unschedulable"], Value::Null);
    });
}

#[test]
fn a_patch_with_an_old_version_or_another_uid_is_refused() {
    on_each_server(|c| {
        let node = c.create_node("n1", json!({}));
        let old = version(&node).to_owned();
        let label = |value: &str, version: &str| {
            json!({ "metadata": { "resourceVersion": version,
                                  "labels": { "a": value } } })
        };
        let (status, now) = patch(c, NODE, MERGE, label("1", &old));
        assert_eq!(status, 200);
        assert_eq!(patch(c, NODE, MERGE, label("2", &old)).0, 409);
        // What changes nothing makes no version.
        let (_, same) = patch(c, NODE, MERGE, label("1", version(&now)));
        assert_eq!(version(&same), version(&now));
        let other = json!({ "metadata": {
            "uid": "00000000-0000-4000-8000-00000000ffff" } });
        let (status, said) = patch(c, STATUS, STRATEGIC, other);
        assert_eq!(status, 422);
        let said = said["message"].as_str().unwrap();
        assert!(said.contains("field is immutable"), "{said}");
        let path = "/api/v1/nodes/absent/status";
        assert_eq!(patch(c, path, STRATEGIC, json!({})).0, 404);
    });
}

#[test]
fn a_dry_run_changes_nothing() {
    on_each_server(|c| {
        let node = c.create_node("n1", json!({}));
        let path = format!("{STATUS}?dryRun=All");
        let body = json!({ "status": { "conditions": [
            { "type": "DiskFault", "status": "True" }] } });
        assert_eq!(patch(c, &path, STRATEGIC, body).0, 200);
        assert_eq!(version(&c.get(NODE)), version(&node));
    });
}

fn event(name: &str, uid: &Value) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "default" },
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "faultline.dev/agent",
        "reportingInstance": "n1", "action": "Opened", "reason": "DiskA",
        "regarding": { "kind": "Node", "name": "n1", "uid": uid },
        "note": "n", "type": "Warning",
    })
}

#[test]
fn events_have_series_and_are_otherwise_fixed() {
    on_each_server(|c| {
        let uid = c.create_node("n1", json!({}))["metadata"]["uid"].clone();
        c.create(EVENTS, &event("n1.a", &uid));
        let again =
            c.ask(Method::POST, EVENTS, JSON, Some(&event("n1.a", &uid)));
        assert_eq!(again.0, 409);
        assert_eq!(again.1["reason"], "AlreadyExists");
        let series = |count: u64| {
            let time = "2026-01-01T00:01:00.000000Z";
            json!({ "series": { "count": count, "lastObservedTime": time } })
        };
        let path = format!("{EVENTS}/n1.a");
        assert_eq!(patch(c, &path, MERGE, series(1)).0, 422);
        assert_eq!(patch(c, &path, MERGE, series(2)).0, 200);
        assert_eq!(c.get(&path)["series"]["count"], 2);
        let note = json!({ "note": "other" });
        assert_eq!(patch(c, &path, MERGE, note).0, 422);
        let gone = format!("{EVENTS}/n1.gone");
        assert_eq!(patch(c, &gone, MERGE, series(2)).0, 404);
        let mut long = event("n1.b", &uid);
        long["note"] = json!("x".repeat(1025));
        assert_eq!(c.ask(Method::POST, EVENTS, JSON, Some(&long)).0, 422);
        let mut bare = event("n1.c", &uid);
        bare["action"] = json!("");
        assert_eq!(c.ask(Method::POST, EVENTS, JSON, Some(&bare)).0, 422);
    });
}

#[test]
fn a_lease_is_replaced_only_at_its_version() {
    on_each_server(|c| {
        let all = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
        let lease = json!({ "metadata": { "name": "budget",
            "annotations": { "a": "1" } } });
        let made = c.create(all, &lease);
        let path = format!("{all}/budget");
        let put = |body: &Value| c.ask(Method::PUT, &path, JSON, Some(body));
        let mut next = made.clone();
        next["metadata"]["annotations"]["b"] = json!("2");
        assert_eq!(put(&next).0, 200);
        assert_eq!(put(&next).0, 409);
        next["metadata"]["resourceVersion"] = json!("");
        assert_eq!(put(&next).0, 422);
        let now = c.get(&path);
        assert_eq!(now["metadata"]["annotations"]["b"], "2");
    });
}

#[test]
fn lists_are_selected_and_come_in_pages() {
    on_each_server(|c| {
        for n in 0..5 {
            let pool = if n < 2 { "a" } else { "b" };
            c.create_node(&format!("n{n}"), json!({ "pool": pool }));
        }
        let names = |body: &Value| -> Vec<String> {
            let items = body["items"].as_array().unwrap();
            let name =
                |o: &Value| o["metadata"]["name"].as_str().map(Into::into);
            items.iter().filter_map(name).collect()
        };
        let of = |query: &str| c.get(&format!("/api/v1/nodes?{query}"));
        assert_eq!(names(&of("labelSelector=pool%3Da")), ["n0", "n1"]);
        assert_eq!(names(&of("labelSelector=pool!%3Da")), ["n2", "n3", "n4"]);
        assert_eq!(names(&of("labelSelector=!pool")), [""; 0]);
        let first = of("limit=2");
        assert_eq!(names(&first), ["n0", "n1"]);
        assert_eq!(first["metadata"]["remainingItemCount"], 3);
        let token = first["metadata"]["continue"].as_str().unwrap();
        let token = token.replace('/', "%2F").replace('=', "%3D");
        let second = of(&format!("limit=2&continue={token}"));
        assert_eq!(names(&second), ["n2", "n3"]);
        let selected = of("limit=2&labelSelector=pool%3Db");
        assert_eq!(selected["metadata"]["remainingItemCount"], Value::Null);
        assert_eq!(names(&of("limit=2&resourceVersion=0")).len(), 5);
    });
}

#[test]
fn a_table_tells_who_is_out_with_labels_and_annotations() {
    on_each_server(|c| {
        c.create_node("n1", json!({ "pool": "a" }));
        c.create_node("n2", json!({}));
        let cordon = json!({ "spec": { "unschedulable": true } });
        c.patch(NODE, MERGE, &cordon);
        let path = "/api/v1/nodes?limit=500&includeObject=Metadata";
        let (status, table) = c.ask_for(Method::GET, path, (JSON, TABLE), None);
        assert_eq!((status, &table["kind"]), (200, &json!("Table")));
        let columns = table["columnDefinitions"].as_array().unwrap();
        let at = columns.iter().position(|c| c["name"] == "Status").unwrap();
        assert_eq!(table["rows"][0]["cells"][at], "Ready,SchedulingDisabled");
        assert_eq!(table["rows"][1]["cells"][at], "Ready");
        let object = &table["rows"][0]["object"];
        assert_eq!(object["metadata"]["labels"]["pool"], "a");
        assert_eq!(object["spec"], Value::Null);
    });
}
