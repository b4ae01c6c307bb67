//! How long it takes from a line to a Node that is marked. It says nothing on
//! a machine that has other work, so it is run by hand:
//!
//! ```sh
//! cargo test --release --test kubernetes -- --ignored --nocapture delay
//! ```

use std::time::Duration;

use faultline::clock;
use faultline::time::Uptime;
use serde_json::json;

use super::kube::Cluster;
use super::quarantine::{budget, entry, is_tainted};
use super::said::not_run;
use super::world::{NODE, World};

/// So many lines; of a hundred, the last but one is the 99th percentile.
const LINES: usize = 100;

/// Condition and taint together, at the most.
const LIMIT: Duration = Duration::from_millis(100);

#[test]
#[ignore = "a measurement: alone, on a machine without other work"]
fn delay_from_a_line_to_a_marked_node_is_100_ms_at_most() {
    let Some(c) = Cluster::real() else {
        return not_run("delay", "no API server: set KUBEBUILDER_ASSETS");
    };
    c.create_node(NODE, json!({}));
    budget(&c, "cluster: { nodes: 1 }", 3);
    let world = World::enforce(&c);
    let mut delays: Vec<[Duration; 2]> = Vec::new();
    for dimm in 0..LINES {
        let began = clock::boot();
        world.dimm_fails(dimm);
        delays.push(marked(&c, began));
        world.dimm_is_replaced(dimm);
        c.until("the taint is gone", |c| !is_tainted(c) && entry(c).is_null());
    }
    world.stop();
    let mut slow = false;
    for (what, nth) in [("the condition", 0), ("condition and taint", 1)] {
        let mut of: Vec<Duration> = delays.iter().map(|d| d[nth]).collect();
        of.sort();
        let at = |part: usize| of[(LINES * part).div_ceil(100) - 1];
        let (p50, p90, p99) = (at(50), at(90), at(99));
        println!("{what}: p50 {p50:.1?}, p90 {p90:.1?}, p99 {p99:.1?}");
        slow |= p99 > LIMIT;
    }
    assert!(!slow, "more than {LIMIT:?}");
}

/// When the condition, and when condition and taint, are there for whoever
/// asks; asking takes a millisecond or two of it.
fn marked(c: &Cluster, began: Uptime) -> [Duration; 2] {
    let mut condition = None;
    loop {
        let is_there = c.condition(NODE, "MemoryFault")["status"] == "True";
        let now = clock::boot().since(began);
        assert!(now < Duration::from_secs(30), "nothing after {now:?}");
        if is_there && condition.is_none() {
            condition = Some(now);
        }
        if let (Some(condition), true) = (condition, is_tainted(c)) {
            return [condition, clock::boot().since(began)];
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
