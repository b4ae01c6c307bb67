//! Several parts with one fault under one parent.

use crate::ledger::fault::{Ended, Phase};
use crate::ledger::testing::*;
use crate::parts::ids::PartId;
use crate::patterns::set::{Escalation, Pattern, Proof, Quarantine, Severity};
use crate::patterns::template::Template;

/// Three DIMMs under one controller are one bad controller.
fn dimm() -> Vec<Pattern> {
    let mut on_parent = escalation(Severity::Fatal);
    on_parent.on_parent = true;
    on_parent.quarantine = Some(Quarantine::Taint);
    on_parent.when.parts = Some(3);
    on_parent.when.under = Some(Template::parse("memory/mc{mc}").unwrap());
    let escalate: Vec<Escalation> = vec![on_parent];
    let clear = vec![recovered("0s"), Proof::Quiet(time("1d"))];
    vec![Pattern { escalate, clear, ..pattern("ue") }]
}

fn see_dimm(w: &mut World, part: &str) {
    w.see_with("ue", part, |s| {
        s.parents = vec![Some(PartId::new("memory/mc0"))];
    });
}

#[test]
fn siblings_within_an_hour_file_one_fault_on_their_parent() {
    let mut w = World::new(dimm());
    for part in ["dimm/a", "dimm/b", "dimm/c"] {
        see_dimm(&mut w, part);
        w.pass("10m");
    }
    assert_eq!(
        w.told(),
        [
            "opened ue dimm/a",
            "opened ue dimm/b",
            "opened ue dimm/c",
            "opened ue memory/mc0",
            "explained ue dimm/a",
            "explained ue dimm/b",
            "explained ue dimm/c",
        ]
    );
    let parent = w.fault("ue", "memory/mc0");
    assert_eq!(parent.severity, Severity::Fatal);
    assert_eq!(parent.quarantine, Quarantine::Taint);
    assert_eq!(parent.count, 3);
    assert_eq!(parent.children.len(), 3);
    assert!(parent.summary.contains("3 parts of memory/mc0"));
    see_dimm(&mut w, "dimm/d");
    see_dimm(&mut w, "dimm/a");
    assert_eq!(w.told(), ["explained ue dimm/d"]);
    assert_eq!(w.fault("ue", "memory/mc0").count, 5);
}

#[test]
fn siblings_over_more_than_an_hour_file_nothing() {
    let mut w = World::new(dimm());
    for part in ["dimm/a", "dimm/b", "dimm/c", "dimm/d"] {
        see_dimm(&mut w, part);
        w.pass("31m");
    }
    assert_eq!(w.phase("ue", "memory/mc0"), None);
    assert!(w.ledger.faults().all(|f| f.phase == Phase::Active));
}

#[test]
fn a_parent_is_over_with_the_proof_of_its_last_child() {
    let mut w = World::new(dimm());
    for part in ["dimm/a", "dimm/b", "dimm/c"] {
        see_dimm(&mut w, part);
    }
    w.prove("ue", "dimm/a", 0);
    w.restart();
    w.health("kmsg", true);
    w.prove("ue", "dimm/b", 0);
    assert_eq!(w.phase("ue", "dimm/b"), Some(Phase::Cleared));
    assert_eq!(w.phase("ue", "memory/mc0"), Some(Phase::Active));
    w.pass("23h");
    see_dimm(&mut w, "dimm/c");
    w.pass("23h");
    assert_eq!(w.phase("ue", "memory/mc0"), Some(Phase::Active));
    w.pass("1h");
    let parent = w.fault("ue", "memory/mc0");
    assert_eq!(parent.phase, Phase::Cleared);
    assert_eq!(parent.proof, Some(Ended::Quiet));
    assert_eq!(w.fault("ue", "dimm/b").proof, Some(Ended::Recovered));
}

#[test]
fn a_parent_that_a_person_clears_takes_its_children_along() {
    let mut w = World::new(dimm());
    for part in ["dimm/a", "dimm/b", "dimm/c"] {
        see_dimm(&mut w, part);
    }
    w.clear("memory/mc0", true);
    assert!(w.ledger.faults().all(|f| f.phase == Phase::Cleared));
    assert!(
        w.fault("ue", "dimm/a").proof.as_ref().is_some_and(Ended::is_replaced)
    );
}

#[test]
fn a_parent_that_is_observed_itself_needs_its_own_proof() {
    let mut w = World::new(dimm());
    for part in ["dimm/a", "dimm/b", "dimm/c"] {
        see_dimm(&mut w, part);
    }
    w.see("ue", "memory/mc0");
    for part in ["dimm/a", "dimm/b", "dimm/c"] {
        w.prove("ue", part, 0);
    }
    assert_eq!(w.phase("ue", "memory/mc0"), Some(Phase::Active));
    w.pass("1d");
    assert_eq!(w.fault("ue", "memory/mc0").proof, Some(Ended::Quiet));
}

#[test]
fn a_parent_is_not_well_before_its_children_are() {
    let mut w = World::new(dimm());
    for part in ["dimm/a", "dimm/b", "dimm/c"] {
        see_dimm(&mut w, part);
    }
    w.see("ue", "memory/mc0");
    w.pass("23h");
    see_dimm(&mut w, "dimm/a");
    w.pass("23h");
    assert_eq!(w.phase("ue", "dimm/b"), Some(Phase::Cleared));
    assert_eq!(w.phase("ue", "memory/mc0"), Some(Phase::Active));
    w.pass("25h");
    assert_eq!(w.phase("ue", "memory/mc0"), Some(Phase::Cleared));
}

#[test]
fn a_filed_parent_that_comes_back_on_probation_waits_for_a_person() {
    let mut w = World::new(dimm());
    for _ in 0..2 {
        for part in ["dimm/a", "dimm/b", "dimm/c"] {
            see_dimm(&mut w, part);
        }
        w.pass("2d");
    }
    let parent = w.fault("ue", "memory/mc0");
    assert_eq!((parent.phase, parent.locked), (Phase::Active, true));
    w.clear("memory/mc0", true);
    assert!(w.ledger.faults().all(|f| f.phase == Phase::Cleared));
    assert!(w.ledger.faults().all(|f| !f.locked));
}

#[test]
fn a_locked_parent_is_not_cleared_by_other_children() {
    let mut w = World::new(dimm());
    for part in ["dimm/a", "dimm/b", "dimm/c"] {
        see_dimm(&mut w, part);
    }
    w.pass("2d");
    for part in ["dimm/d", "dimm/e", "dimm/f"] {
        see_dimm(&mut w, part);
    }
    assert!(w.fault("ue", "memory/mc0").locked);
    for part in ["dimm/d", "dimm/e", "dimm/f"] {
        w.prove("ue", part, 0);
    }
    assert_eq!(w.phase("ue", "dimm/f"), Some(Phase::Cleared));
    assert_eq!(w.phase("ue", "memory/mc0"), Some(Phase::Active));
}

#[test]
fn children_go_on_counting_as_parts_and_their_parent_does_not() {
    let mut pattern = dimm().remove(0);
    for (parts, quarantine) in [(3, Quarantine::Cordon), (4, Quarantine::Evict)]
    {
        let mut several = escalation(Severity::Fatal);
        several.when.parts = Some(parts);
        several.quarantine = Some(quarantine);
        pattern.escalate.push(several);
    }
    let mut w = World::new(vec![pattern]);
    for part in ["dimm/a", "dimm/b", "dimm/c"] {
        see_dimm(&mut w, part);
    }
    w.pass("1m");
    let parent = w.fault("ue", "memory/mc0");
    assert_eq!(parent.quarantine, Quarantine::Cordon);
}

#[test]
fn of_two_parents_the_one_named_first_is_filed() {
    let mut pattern = dimm().remove(0);
    let mut wider = pattern.escalate[0].clone();
    wider.severity = Some(Severity::Error);
    pattern.escalate.push(wider);
    let mut w = World::new(vec![pattern]);
    for part in ["dimm/a", "dimm/b", "dimm/c"] {
        w.see_with("ue", part, |s| {
            let parents = ["channel/0", "memory/mc0"];
            s.parents = parents.map(|p| Some(PartId::new(p))).into();
        });
    }
    assert_eq!(w.phase("ue", "channel/0"), Some(Phase::Active));
    assert_eq!(w.phase("ue", "memory/mc0"), None);
    assert!(!w.told().iter().any(|told| told.contains("withdrawn")));
}

/// Two DIMMs of a channel, three of a controller.
fn channels() -> Vec<Pattern> {
    let mut pattern = dimm().remove(0);
    let mut channel = pattern.escalate[0].clone();
    channel.when.parts = Some(2);
    pattern.escalate.insert(0, channel);
    vec![pattern]
}

fn see_on(w: &mut World, part: &str, channel: &str) {
    w.see_with("ue", part, |s| {
        let parents = [channel, "memory/mc0"];
        s.parents = parents.map(|p| Some(PartId::new(p))).into();
    });
}

#[test]
fn a_channel_stands_for_its_modules_where_the_controller_is_blamed() {
    let mut w = World::new(channels());
    see_on(&mut w, "dimm/a1", "channel/0");
    see_on(&mut w, "dimm/a2", "channel/0");
    assert_eq!(w.phase("ue", "channel/0"), Some(Phase::Active));
    assert_eq!(w.phase("ue", "memory/mc0"), None);
    see_on(&mut w, "dimm/b1", "channel/1");
    assert_eq!(w.phase("ue", "memory/mc0"), Some(Phase::Active));
    assert_eq!(w.phase("ue", "channel/0"), Some(Phase::Explained));
    let parent = w.fault("ue", "memory/mc0");
    assert!(parent.summary.contains("3 parts of memory/mc0"));
    assert_eq!(parent.count, 3);
    for part in ["dimm/a1", "dimm/a2", "dimm/b1"] {
        w.prove("ue", part, 0);
    }
    w.pass("1m");
    assert_eq!(w.phase("ue", "channel/0"), Some(Phase::Cleared));
    assert_eq!(w.phase("ue", "memory/mc0"), Some(Phase::Cleared));
}
