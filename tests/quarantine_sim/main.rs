//! Races of many agents for one budget, by simulation: the real quarantine
//! code of every agent, one linearizable API server in memory that checks
//! after each change that nothing is out that may not be, virtual time, and
//! everything that can go wrong between an agent and the server.
//!
//! `cargo test --test quarantine_sim` runs 1,000 agents; ten thousand take
//! minutes: `cargo test --profile fast --test quarantine_sim -- --ignored
//! --nocapture`.
#![cfg(feature = "kubernetes")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agents;
mod disk;
mod virtual_time;
mod wire;
mod world;

use std::time::Duration;

use agents::{Play, Story};
use wire::{Broken, Chaos};

/// Everything at once, often: about one request in 25 meets something.
const ROUGH: Chaos = Chaos {
    refused: 15_000,
    lost_answer: 8_000,
    late: 8_000,
    stall: 3_000,
    crash: 3_000,
};

const LIMITS: &str = "
cluster: { nodes: 60, share: 5 %, new: 20 in 10m, fatal: 20 % }
poolLabel: example.com/pool
pools: { '*': { share: 10 % } }
correlation: { off: true }
";

fn story(nodes: usize) -> Story {
    Story { nodes, limits: LIMITS, chaos: ROUGH, ..Story::default() }
}

#[test]
fn a_thousand_agents_never_take_out_more_than_the_budget() {
    let play = Play::act(story(1000));
    play.print("1,000 agents, rough");
    play.assert_safe();
    play.assert_returned();
    play.assert_told();
    // Not vacuous: the budget was used to its end.
    assert_eq!(play.most_out(), 50);
}

#[test]
fn each_mark_and_each_return_is_told_by_agents_that_die_all_the_time() {
    let chaos = Chaos { crash: 100_000, lost_answer: 50_000, ..ROUGH };
    for seed in 1..4 {
        let play = Play::act(Story { chaos, seed, ..story(200) });
        play.print("200 agents, dying");
        play.assert_safe();
        play.assert_left_nothing();
        play.assert_told();
    }
}

#[test]
fn without_trouble_the_budget_is_filled_and_everything_returns() {
    let play = Play::act(Story { chaos: Chaos::default(), ..story(300) });
    play.print("300 agents, smooth");
    play.assert_safe();
    play.assert_returned();
    assert_eq!(play.most_out(), 15);
}

#[test]
fn what_others_took_out_is_counted() {
    let play = Play::act(Story { others_out: 10, ..story(400) });
    play.print("400 agents, 10 nodes out already");
    play.assert_safe();
    play.assert_returned();
    assert_eq!(play.most_out(), 20);
}

#[test]
fn nodes_that_come_and_go_and_people_who_cordon_make_no_room() {
    let play = Play::act(Story { churn: true, ..story(300) });
    play.print("300 agents, nodes come and go");
    play.assert_safe();
    play.assert_returned();
    // Not vacuous: the agents took nodes out all the same.
    assert!(play.most_ours() > 2, "{}", play.most_ours());
}

/// Nodes that people cordon and uncordon, so that marks which took no room
/// have to go, and agents that die often.
fn given_up() -> Story {
    let limits = "cluster: { nodes: 4 }\ncorrelation: { off: true }";
    let chaos = Chaos { crash: 60_000, ..ROUGH };
    let touched = Duration::from_secs(60);
    Story { limits, chaos, touched, churn: true, failing: 60, ..story(120) }
}

#[test]
fn an_agent_that_dies_after_its_own_release_knows_it_for_its_own() {
    let play = Play::act(given_up());
    play.print("120 agents, marks given up");
    play.assert_safe();
    play.assert_left_nothing();
}

#[test]
fn a_release_that_the_store_does_not_hold_is_taken_for_anothers() {
    let broken = Story { broken: Broken::Unsettled, ..given_up() };
    let violations = Play::act(broken).violations();
    let own = violations.iter().filter(|v| v.contains("took itself"));
    let own = own.count();
    println!("{own} releases taken for another's");
    assert!(own > 0, "{violations:?}");
}

#[test]
fn the_last_node_of_a_pool_that_takes_work_stays() {
    let limits = "
cluster: { nodes: 100 }
poolLabel: example.com/pool
correlation: { off: true }
";
    let all = Story { nodes: 40, pools: 8, failing: 100, limits, ..story(40) };
    let play = Play::act(all);
    play.assert_safe();
    play.assert_returned();
    assert_eq!(play.most_out(), 32);
}

/// Half of all requests arrive late or never, all nodes fail at once, and
/// nothing but the number limits them.
fn storm() -> Story {
    let limits = "cluster: { nodes: 15 }\ncorrelation: { off: true }";
    let chaos = Chaos { late: 300_000, stall: 50_000, ..ROUGH };
    let within = Duration::from_millis(500);
    Story { limits, chaos, within, failing: 60, ..story(200) }
}

#[test]
fn in_a_storm_of_late_requests_the_budget_holds() {
    let seldom = Duration::from_secs(7200);
    for (seed, touched) in [(1, storm().touched), (2, seldom), (3, seldom)] {
        let play = Play::act(Story { seed, touched, ..storm() });
        play.print("200 agents, storm");
        play.assert_safe();
        play.assert_left_nothing();
        assert_eq!(play.most_out(), 15);
    }
}

#[test]
fn a_patch_without_its_version_breaks_the_budget_and_is_noticed() {
    let broken = Story { broken: Broken::NoFence, ..storm() };
    assert!(!Play::act(broken).violations().is_empty());
}

#[test]
fn a_grant_that_ends_by_the_clock_breaks_the_budget_and_is_noticed() {
    // Nodes that nobody touches: else their versions move on in time.
    let touched = Duration::from_secs(7200);
    let broken = Broken::GrantsExpire;
    let broken = Story { broken, touched, ..storm() };
    assert!(!Play::act(broken).violations().is_empty());
}

#[test]
fn a_lease_without_versions_breaks_the_budget_and_is_noticed() {
    // A lost entry does harm only if its patch is late as well.
    let broken = |seed| {
        let broken = Story { seed, compares: false, ..storm() };
        !Play::act(broken).violations().is_empty()
    };
    assert!((1..10).any(broken));
}

#[test]
#[ignore = "takes minutes; see the top of this file"]
fn ten_thousand_agents_never_take_out_more_than_the_budget() {
    let play = Play::act(story(10_000));
    play.print("10,000 agents, rough");
    play.assert_safe();
    play.assert_returned();
    assert_eq!(play.most_out(), 60);
}
