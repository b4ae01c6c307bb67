//! API servers that are away, busy, forgetful or strangers: detection goes
//! on, and the latest state follows.

use std::time::Duration;

use faultline::clock;
use serde_json::json;

use super::kube::stand_in::Trouble;
use super::kube::{ADMIN, Cluster, on_each_server};
use super::quarantine::{budget, is_tainted};
use super::world::{NODE, World};

fn is(c: &Cluster, status: &str) -> bool {
    c.condition(NODE, "MemoryFault")["status"] == *status
}

#[test]
fn an_api_server_that_was_away_is_told_the_latest_state_alone() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        let world = World::start(c);
        c.until("the first conditions", |c| is(c, "False"));
        c.stop();
        for dimm in 0..20 {
            world.dimm_fails(dimm);
        }
        world.agent.until(|a| {
            let series = "faultline_fault_active{component=\"memory\"";
            a.metric(series) == Some(1.0)
        });
        for dimm in 0..19 {
            world.agent.until(|a| {
                let (_, faults) = a.get("/api/v1/faults");
                faults.contains(&format!("DIMM#{dimm}\""))
            });
            world.dimm_is_replaced(dimm);
        }
        // A server that takes long to start is tried in vain meanwhile.
        let before = world.written();
        c.start_again();
        c.until("the latest state is there", |c| {
            is(c, "True")
                && c.condition(NODE, "MemoryFault")["message"]
                    .as_str()
                    .is_some_and(|m| m.contains("DIMM#19"))
        });
        c.until("it is told", |c| !c.events(NODE).is_empty());
        std::thread::sleep(Duration::from_secs(3));
        let cost = world.written() - before;
        let (_, page) = world.agent.get("/metrics");
        let requests = page.lines().filter(|l| l.contains("api_requests"));
        let requests: Vec<&str> = requests.collect();
        assert!(cost <= 2.0, "{cost} writes: {requests:#?}");
    });
}

#[test]
fn the_condition_comes_with_the_taint_when_an_api_server_returns() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        budget(c, "cluster: { nodes: 1 }", 3);
        let world = World::enforce(c);
        c.until("the first conditions", |c| is(c, "False"));
        c.stop();
        world.dimm_fails(0);
        // So often in vain that the next try may be half a minute away.
        let vain = "faultline_api_requests_total{code=\"none\",verb=\"watch\"}";
        world.agent.until(|a| a.metric(vain) >= Some(4.0));
        c.start_again();
        // The taint is first, unless the server takes a second to allow it.
        c.until("either", |c| is_tainted(c) || is(c, "True"));
        let first = clock::boot();
        c.until("both", |c| is_tainted(c) && is(c, "True"));
        let apart = clock::boot().since(first);
        assert!(apart < Duration::from_secs(5), "{apart:?} apart");
        world.stop();
    });
}

#[test]
fn a_throttling_server_is_left_alone_and_then_told() {
    let c = Cluster::stand_in();
    c.create_node(NODE, json!({}));
    let world = World::start(&c);
    c.until("the first conditions", |c| is(c, "False"));
    let (method, path, status) = ("PATCH", "/status", 429);
    let retry_after = Some(1);
    let stand_in = c.controls().unwrap();
    stand_in.trouble(Trouble { method, path, status, retry_after, times: 3 });
    world.dimm_fails(0);
    c.until("the condition is True", |c| is(c, "True"));
    let tried = world
        .agent
        .metric("faultline_api_requests_total{code=\"429\",verb=\"patch\"}");
    assert_eq!(tried, Some(3.0));
}

#[test]
fn a_server_that_fails_now_and_then_is_told_in_the_end() {
    let c = Cluster::stand_in();
    c.create_node(NODE, json!({}));
    let stand_in = c.controls().unwrap();
    for status in [500, 503, 409] {
        let (method, path, retry_after) = ("", "/nodes", None);
        let trouble = Trouble { method, path, status, retry_after, times: 1 };
        stand_in.trouble(trouble);
    }
    stand_in.with(|s| s.latency = Duration::from_millis(200));
    // Its own requests through the client are counted off as well.
    let world = World::start(&c);
    world.dimm_fails(0);
    c.until("the condition is True", |c| is(c, "True"));
}

#[test]
fn after_a_version_that_is_too_old_the_node_is_read_once() {
    let c = Cluster::stand_in();
    c.create_node(NODE, json!({}));
    let world = World::start(&c);
    c.until("the first conditions", |c| is(c, "False"));
    let get = "faultline_api_requests_total{code=\"200\",verb=\"get\"}";
    assert_eq!(world.agent.metric(get), Some(1.0));
    c.controls().unwrap().forget();
    world.agent.until(|a| a.metric(get) == Some(2.0));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(world.agent.metric(get), Some(2.0));
    world.dimm_fails(0);
    c.until("the condition is True", |c| is(c, "True"));
}

#[test]
fn a_token_that_was_rotated_is_read_anew() {
    let c = Cluster::stand_in();
    c.create_node(NODE, json!({}));
    let stand_in = c.controls().unwrap();
    stand_in.with(|s| s.tokens = vec![ADMIN.into(), "first".into()]);
    let kubeconfig = c.write_kubeconfig("agent", "first");
    let world = World::with(&kubeconfig);
    c.until("the first conditions", |c| is(c, "False"));
    stand_in.with(|s| s.tokens = vec![ADMIN.into(), "second".into()]);
    c.write_kubeconfig("agent", "second");
    world.dimm_fails(0);
    c.until("the condition is True", |c| is(c, "True"));
}

#[test]
fn a_node_that_is_not_registered_yet_is_waited_for() {
    let c = Cluster::stand_in();
    let dir = tempfile::tempdir().unwrap();
    let more = format!(
        "kubernetes: {{ kubeconfig: {} }}\nsources: {{ kmsg: {{ enabled: \
         false }}, journal: {{ enabled: false }} }}\n",
        c.kubeconfig().display()
    );
    let agent = super::support::Agent::start(dir.path(), &more);
    agent.log_line("faultline runs");
    agent.until(|a| a.metric("faultline_api_connected") == Some(1.0));
    c.create_node(NODE, json!({}));
    c.until("the Node is told", |c| {
        c.condition(NODE, "HardwareFault")["status"] == "False"
    });
}

#[test]
fn on_a_disk_that_hangs_an_api_server_that_returns_is_told_all_the_same() {
    let mut c = Cluster::stand_in();
    c.create_node(NODE, json!({}));
    let (scheme, address) = c.url();
    let (_, port) = address.rsplit_once(':').unwrap();
    // A name has to be resolved for each connection.
    let url = format!("{scheme}://localhost:{port}");
    let world = World::with(&c.write_kubeconfig_at("named", ADMIN, &url));
    c.until("the first conditions", |c| is(c, "False"));
    let store = world.path("state/state.db");
    assert!(store.exists());
    std::fs::rename(&store, world.path("state/away")).unwrap();
    // Whoever opens it waits for ever.
    nix::unistd::mkfifo(&store, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for _ in 0..3 {
        let (status, _) = world.agent.get("/api/v1/history?limit=1000");
        assert_eq!(status, 200);
    }
    c.stop();
    world.agent.until(|a| a.metric("faultline_api_connected") == Some(0.0));
    c.start_again();
    world.dimm_fails(0);
    c.until("the condition is True", |c| is(c, "True"));
    c.until("it is told", |c| !c.events(NODE).is_empty());
}
