//! Each limit of the budget by itself: who goes, who waits, and for what.

use std::sync::Arc;
use std::time::Duration;

use faultline::clock;
use faultline::patterns::set::Severity;
use faultline::sinks::kubernetes::quarantine::driver::Driver;
use faultline::sinks::kubernetes::quarantine::{Memory, Rules};
use jiff::ToSpan;
use serde_json::{Value, json};

use super::kube::{Cluster, on_each_server};
use super::quarantine::budget;
use super::race::{client, want};
use super::world::Nowhere;

const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/default/leases/faultline-budget";

/// A turn to fail: which node, with which pattern, how bad, and what comes
/// of it: `out`, or what the node waits for.
type Failure = (usize, &'static str, Severity, &'static str);

const OUT: &str = "out";

fn fatal(node: usize, comes: &'static str) -> Failure {
    let patterns = ["a", "b", "c", "d", "e", "f"];
    (node, patterns[node], Severity::Fatal, comes)
}

/// Nodes with these labels, under these limits, fail one after the other.
fn each_fails(c: &Cluster, limits: &str, labels: &[Value], all: &[Failure]) {
    budget(c, limits, 0);
    for (i, labels) in labels.iter().enumerate() {
        c.create_node(&format!("n{i}"), labels.clone());
    }
    for (node, pattern, severity, comes) in all {
        let came = fails(c, *node, pattern, *severity);
        assert_eq!(came, *comes, "n{node} under\n{limits}");
    }
    for i in 0..labels.len() {
        c.delete(&format!("/api/v1/nodes/n{i}"));
    }
    c.delete(LEASE);
}

fn fails(c: &Cluster, i: usize, pattern: &str, severity: Severity) -> String {
    let mut want = want(i);
    want.pattern = pattern.into();
    want.severity = severity;
    let node = format!("n{i}");
    let client = client(c, node.clone(), &Arc::default());
    let mut driver = Driver::new(Rules::default(), Memory::default(), 7);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for _ in 0..200 {
        let again = runtime.block_on(async {
            let now = clock::now();
            driver.turn(&client, None, Some(&want), now, &Nowhere).await
        });
        let again = again.again;
        let now = c.get(&format!("/api/v1/nodes/{node}"));
        if !now["spec"]["taints"].is_null() {
            return OUT.into();
        }
        let lease = c.get(LEASE);
        let entry =
            &lease["metadata"]["annotations"][format!("{node}/faultline")];
        let entry: Value =
            serde_json::from_str(entry.as_str().unwrap_or("null")).unwrap();
        if entry["state"] == "waiting" {
            let on = entry["on"].as_array().unwrap();
            let on: Vec<&str> = on.iter().filter_map(Value::as_str).collect();
            return on.join(" ");
        }
        let pause = again.unwrap_or_default();
        std::thread::sleep(pause.min(Duration::from_millis(100)));
    }
    "nothing".into()
}

fn plain(count: usize) -> Vec<Value> {
    vec![json!({}); count]
}

#[test]
fn a_number_a_share_and_a_rate_each_hold() {
    on_each_server(|c| {
        let two = [fatal(0, OUT), fatal(1, OUT), fatal(2, "cluster")];
        each_fails(c, "cluster: { nodes: 2 }", &plain(6), &two);
        // A fifth of six, rounded down.
        let one = [fatal(3, OUT), fatal(1, "cluster")];
        each_fails(c, "cluster: { share: 20 % }", &plain(6), &one);
        // The smaller of both.
        each_fails(c, "cluster: { nodes: 4, share: 20 % }", &plain(6), &one);
        let rate = "cluster: { nodes: 5, new: 2 in 10m }";
        let fast = [fatal(0, OUT), fatal(1, OUT), fatal(2, "rate:cluster")];
        each_fails(c, rate, &plain(6), &fast);
    });
}

#[test]
fn a_share_is_kept_for_fatal_faults() {
    on_each_server(|c| {
        let limits = "cluster: { nodes: 4, fatal: 50 % }";
        let error =
            |node, pattern, comes| (node, pattern, Severity::Error, comes);
        let all = [
            error(0, "a", OUT),
            error(1, "b", OUT),
            error(2, "c", "cluster"),
            fatal(3, OUT),
            fatal(4, OUT),
            fatal(5, "cluster"),
        ];
        each_fails(c, limits, &plain(8), &all);
    });
}

#[test]
fn pools_have_limits_of_their_own_and_keep_their_last_node() {
    on_each_server(|c| {
        let pools: Vec<Value> =
            ["a", "a", "b", "b"].map(|pool| json!({ "pool": pool })).into();
        let limits = |pools: &str| {
            format!("cluster: {{ nodes: 4 }}\npoolLabel: pool\npools: {pools}")
        };
        let last = [fatal(0, OUT), fatal(1, "last:pool:a"), fatal(2, OUT)];
        each_fails(c, &limits("{ '*': { nodes: 2 } }"), &pools, &last);
        let allowed = [fatal(0, OUT), fatal(1, OUT), fatal(2, OUT)];
        let all = limits("{ '*': { nodes: 2, allowLast: true } }");
        each_fails(c, &all, &pools, &allowed);
        let mut three = pools.clone();
        three.push(json!({ "pool": "a" }));
        let one = [fatal(0, OUT), fatal(4, "pool:a"), fatal(2, OUT)];
        let named = limits("{ a: { nodes: 1 }, b: { nodes: 1 } }");
        each_fails(c, &named, &three, &one);
    });
}

#[test]
fn nodes_are_taken_out_within_a_window_of_its_zone_alone() {
    on_each_server(|c| {
        // Fourteen hours ahead of UTC.
        let there = jiff::tz::TimeZone::get("Pacific/Kiritimati").unwrap();
        let now = clock::now().wall.0;
        let now = jiff::Timestamp::from_microsecond(now).unwrap();
        let now = now.to_zoned(there);
        let hour = |time: jiff::Zoned| time.strftime("%H:%M").to_string();
        let from = hour(&now - 1.hours());
        let to = hour(&now + 1.hours());
        let limits = |zone: &str| {
            format!(
                "cluster: {{ nodes: 2 }}\n\
                 windows: [\"{from}-{to} {zone}\"]"
            )
        };
        let open = [fatal(0, OUT)];
        each_fails(c, &limits("Pacific/Kiritimati"), &plain(4), &open);
        let closed = [fatal(0, "window")];
        each_fails(c, &limits("UTC"), &plain(4), &closed);
    });
}

#[test]
fn the_control_plane_stays_and_a_pause_holds_everything() {
    on_each_server(|c| {
        let role = "node-role.kubernetes.io/control-plane";
        let mut nodes = plain(4);
        nodes[1] = json!({ role: "" });
        let stays = [fatal(1, "control-plane"), fatal(0, OUT)];
        each_fails(c, "cluster: { nodes: 2 }", &nodes, &stays);
        let goes = [fatal(1, OUT)];
        let allowed = "cluster: { nodes: 2 }\ncontrolPlane: true";
        each_fails(c, allowed, &nodes, &goes);
        let paused = "cluster: { nodes: 2 }\npause: new firmware";
        each_fails(c, paused, &plain(4), &[fatal(0, "pause")]);
    });
}

#[test]
fn the_same_pattern_on_many_nodes_is_deferred_and_others_go_on() {
    on_each_server(|c| {
        let limits = "cluster: { nodes: 6 }\n\
            correlation: { nodes: 3, within: 10m, defer: 1h }";
        let same = |node, comes| (node, "same", Severity::Fatal, comes);
        let all =
            [same(0, OUT), same(1, OUT), same(2, "correlated"), fatal(3, OUT)];
        each_fails(c, limits, &plain(9), &all);
    });
}
