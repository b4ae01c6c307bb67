//! Each change of a fault is told once, whenever the agent ends.

use std::time::Duration;

use serde_json::{Value, json};

use super::kube::{Cluster, PATIENCE, on_each_server};
use super::quarantine::{budget, is_tainted};
use super::world::{NODE, World};

/// How long after the start all that there was to tell is told: longer than
/// a change waits for company.
const ALL_TOLD: Duration = Duration::from_secs(5);

fn ready(c: &Cluster) -> World {
    c.create_node(NODE, json!({}));
    let world = World::start(c);
    c.until("the first conditions", |c| {
        c.condition(NODE, "MemoryFault")["status"] == "False"
    });
    world
}

fn fails(world: &World, dimm: usize) {
    world.dimm_fails(dimm);
    world.agent.until(|a| {
        let (_, faults) = a.get("/api/v1/faults");
        faults.contains(&format!("DIMM#{dimm}\""))
    });
}

/// The Events that tell of this DIMM's opening.
fn openings(c: &Cluster, dimm: usize) -> Vec<Value> {
    let name = format!("DIMM#{dimm}]");
    let mut events = c.events(NODE);
    events.retain(|e| e["note"].as_str().is_some_and(|n| n.contains(&name)));
    events
}

#[test]
fn what_an_agent_saw_just_before_it_ended_is_told_once_by_the_next() {
    on_each_server(|c| {
        let mut world = ready(c);
        fails(&world, 0);
        world = world.crash(&c.kubeconfig());
        fails(&world, 1);
        world = world.restart(&c.kubeconfig());
        for dimm in 0..2 {
            c.until("its opening is told", |c| !openings(c, dimm).is_empty());
        }
        // What was told is not told again.
        world = world.crash(&c.kubeconfig());
        std::thread::sleep(ALL_TOLD);
        world.stop();
        for dimm in 0..2 {
            let told = openings(c, dimm);
            assert_eq!(told.len(), 1, "{told:?}");
            assert_eq!(told[0]["action"], "Opened");
            assert_eq!(told[0]["series"], Value::Null);
        }
    });
}

#[test]
fn an_outage_that_the_agent_does_not_outlive_is_told_after_it() {
    on_each_server(|c| {
        let mut world = ready(c);
        c.stop();
        for dimm in 0..6 {
            fails(&world, dimm);
        }
        // A parcel for the store waits this long for company, at most.
        std::thread::sleep(Duration::from_millis(500));
        world.agent.child.kill().unwrap();
        c.start_again();
        world = world.crash(&c.kubeconfig());
        c.until("it is told", |c| !c.events(NODE).is_empty());
        world = world.crash(&c.kubeconfig());
        std::thread::sleep(ALL_TOLD);
        world.stop();
        let told = c.events(NODE);
        assert_eq!(told.len(), 1, "{told:?}");
        let note = told[0]["note"].as_str().unwrap();
        assert!(note.starts_with("6 opened: "), "{note}");
    });
}

/// How often Events say that this was done with the quarantine, alone or
/// among several changes.
fn done(c: &Cluster, action: &str) -> u64 {
    let word = action.to_ascii_lowercase();
    let of = |event: &Value| {
        if event["action"] == *action {
            return event["series"]["count"].as_u64().unwrap_or(1);
        }
        let note = event["note"].as_str().unwrap_or_default();
        let (head, _) = note.split_once(": ").unwrap_or_default();
        let counts = head.split(", ").filter_map(|n| n.split_once(' '));
        let counts = counts.filter(|(_, what)| what.replace(' ', "") == word);
        counts.filter_map(|(n, _)| n.parse::<u64>().ok()).sum()
    };
    c.events(NODE).iter().map(of).sum()
}

/// Waits for it, and looks so often that little else can have happened.
fn at_once(c: &Cluster, so: impl Fn(&Cluster) -> bool) {
    let look = Duration::from_millis(2);
    for _ in 0..PATIENCE.as_millis() / look.as_millis() {
        if so(c) {
            return;
        }
        std::thread::sleep(look);
    }
    panic!("never");
}

#[test]
fn a_mark_and_its_release_are_told_by_agents_killed_right_after_them() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        budget(c, "cluster: { nodes: 1 }", 3);
        let mut world = World::enforce(c);
        for round in 1..=3 {
            fails(&world, 0);
            at_once(c, is_tainted);
            world = world.crash(&c.kubeconfig());
            c.until("the mark is told", |c| done(c, "Quarantined") >= round);
            world.dimm_is_replaced(0);
            at_once(c, |c| !is_tainted(c));
            world = world.crash(&c.kubeconfig());
            c.until("the release is told", |c| done(c, "Released") >= round);
        }
        assert_eq!((done(c, "Quarantined"), done(c, "Released")), (3, 3));
        assert_eq!(done(c, "QuarantineOverridden"), 0);
        world.stop();
    });
}
