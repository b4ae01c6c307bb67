//! Symptoms and causes.

use crate::ledger::desired::desired;
use crate::ledger::fault::{Ended, Phase};
use crate::ledger::testing::*;
use crate::patterns::set::{Pattern, Proof, Quarantine, Severity, Stage};
use crate::signal::Truth;

/// `cause` explains `symptom`, which waits 5 s.
fn pair() -> Vec<Pattern> {
    let suppresses = vec!["symptom".into()];
    let clear = vec![recovered("0s"), Proof::Replaced];
    vec![
        Pattern { suppresses, clear, ..pattern("cause") },
        Pattern { clear: vec![Proof::Replaced], ..pattern("symptom") },
    ]
}

#[test]
fn a_symptom_without_a_cause_is_raised_after_settle() {
    let mut w = World::new(pair());
    w.see("symptom", "disk/sda1");
    let seen = w.now.wall;
    assert_eq!(w.phase("symptom", "disk/sda1"), Some(Phase::Settling));
    w.pass("4s");
    w.see("symptom", "disk/sda1");
    assert!(w.told().is_empty());
    w.pass("1s");
    let opened = w.changes[0].clone();
    assert_eq!(opened.time, seen, "the time of the observation");
    assert_eq!(w.told(), ["opened symptom disk/sda1"]);
    assert_eq!(w.fault("symptom", "disk/sda1").count, 2);
}

#[test]
fn a_symptom_is_not_raised_while_its_cause_still_settles() {
    let mut patterns = pair();
    patterns
        .push(Pattern { suppresses: vec!["cause".into()], ..pattern("root") });
    let mut w = World::new(patterns);
    w.see("symptom", "disk/sda");
    w.pass("3s");
    w.see("cause", "disk/sda");
    w.see("cause", "disk/sdb");
    w.pass("4s");
    assert!(w.told().is_empty(), "{:?}", w.told());
    w.pass("1s");
    assert_eq!(w.phase("symptom", "disk/sda"), Some(Phase::Explained));
    assert_eq!(
        w.told(),
        [
            "opened cause disk/sda",
            "opened cause disk/sdb",
            "explained symptom disk/sda"
        ]
    );
}

#[test]
fn a_symptom_waits_for_a_cause_that_its_silent_source_keeps_from_opening() {
    let mut patterns = pair();
    patterns[0].source = crate::observation::Source::IpmiSensor;
    patterns[0].lasting = time("30s");
    let mut w = World::new(patterns);
    w.see("symptom", "fan/3");
    w.pass("2s");
    w.state("cause", "fan/3", Truth::True);
    w.pass("20s");
    w.state("cause", "fan/3", Truth::Unknown);
    w.pass("5m");
    assert!(w.told().is_empty(), "{:?}", w.told());
    w.state("cause", "fan/3", Truth::True);
    w.pass("10s");
    assert_eq!(w.phase("cause", "fan/3"), Some(Phase::Active));
    assert_eq!(w.phase("symptom", "fan/3"), Some(Phase::Explained));
}

#[test]
fn a_symptom_does_not_wait_for_ever_nor_for_what_does_not_hold() {
    for (truth, wait) in [(Truth::Unknown, "10m"), (Truth::False, "1s")] {
        let mut patterns = pair();
        patterns[0].source = crate::observation::Source::IpmiSensor;
        patterns[0].lasting = time("30s");
        let mut w = World::new(patterns);
        w.see("symptom", "fan/3");
        w.state("cause", "fan/3", Truth::True);
        w.pass("20s");
        assert_eq!(w.phase("symptom", "fan/3"), Some(Phase::Settling));
        w.state("cause", "fan/3", truth);
        w.pass(wait);
        assert_eq!(w.phase("symptom", "fan/3"), Some(Phase::Active));
    }
}

#[test]
fn a_symptom_with_no_settle_is_raised_at_once() {
    let mut patterns = pair();
    patterns[1].settle = time("0s");
    let mut w = World::new(patterns);
    w.see("symptom", "disk/sda");
    assert_eq!(w.phase("symptom", "disk/sda"), Some(Phase::Active));
}

#[test]
fn a_symptom_of_a_raised_cause_on_the_part_above_is_explained() {
    let mut w = World::new(pair());
    w.see("cause", "disk/sda");
    w.pass("10d");
    w.see("symptom", "disk/sda1");
    w.see("symptom", "disk/sdb");
    w.pass("10s");
    let fault = w.fault("symptom", "disk/sda1");
    assert_eq!(fault.phase, Phase::Explained);
    assert_eq!(fault.explained_by, Some(key("cause", "disk/sda")));
    assert_eq!(w.phase("symptom", "disk/sdb"), Some(Phase::Active));
}

#[test]
fn a_cause_on_the_part_below_explains_nothing() {
    let mut w = World::new(pair());
    w.see("cause", "disk/sda1");
    w.see("symptom", "disk/sda");
    w.pass("10s");
    assert_eq!(w.phase("symptom", "disk/sda"), Some(Phase::Active));
}

#[test]
fn a_symptom_waits_and_is_explained_by_the_cause_that_opens_meanwhile() {
    let mut w = World::new(pair());
    w.see("symptom", "disk/sda");
    w.pass("3s");
    w.see("cause", "disk/sda");
    assert_eq!(
        w.told(),
        ["opened cause disk/sda", "explained symptom disk/sda"]
    );
}

#[test]
fn a_raised_symptom_folds_into_a_cause_within_a_minute_but_not_later() {
    for (wait, phase) in [("59s", Phase::Explained), ("61s", Phase::Active)] {
        let mut w = World::new(pair());
        w.see("symptom", "disk/sda");
        w.pass(wait);
        w.see("cause", "disk/sda");
        assert_eq!(w.phase("symptom", "disk/sda"), Some(phase), "{wait}");
    }
}

#[test]
fn an_explained_fault_ends_quietly_with_its_cause() {
    let mut w = World::new(pair());
    w.see("symptom", "disk/sda");
    w.pass("3s");
    w.see("cause", "disk/sda");
    w.prove("cause", "disk/sda", 0);
    assert_eq!(w.phase("symptom", "disk/sda"), None);
    assert_eq!(w.told().last().unwrap(), "cleared cause disk/sda");
    // It was never proven by itself: seen again, it is no relapse.
    w.see("symptom", "disk/sda");
    w.pass("5s");
    assert!(w.fault("symptom", "disk/sda").relapses.is_empty());
}

#[test]
fn an_explained_fault_with_a_past_keeps_it() {
    let mut w = World::new(pair());
    w.see("symptom", "disk/sda");
    w.pass("1h");
    w.clear("disk/sda", false);
    w.see("cause", "disk/sda");
    w.see("symptom", "disk/sda");
    assert_eq!(w.phase("symptom", "disk/sda"), Some(Phase::Explained));
    w.prove("cause", "disk/sda", 0);
    let fault = w.fault("symptom", "disk/sda");
    assert_eq!(fault.phase, Phase::Cleared);
    assert_eq!(fault.proof, Some(Ended::Recovered));
    w.see("symptom", "disk/sda");
    w.pass("5s");
    assert_eq!(w.fault("symptom", "disk/sda").relapses.len(), 1);
}

#[test]
fn a_recovery_that_begins_while_it_settles_goes_on_when_it_is_raised() {
    let mut patterns = pair();
    patterns[1].clear = vec![recovered("10m"), Proof::Quiet(time("1h"))];
    let mut w = World::new(patterns);
    w.see("symptom", "disk/sda");
    w.pass("1s");
    w.prove("symptom", "disk/sda", 0);
    w.pass("10m");
    assert_eq!(w.phase("symptom", "disk/sda"), Some(Phase::Recovering));
    w.pass("10s");
    assert_eq!(w.phase("symptom", "disk/sda"), Some(Phase::Cleared));
}

#[test]
fn what_came_back_on_probation_does_not_recover_even_if_it_began_to() {
    let mut patterns = pair();
    patterns[1].clear = vec![recovered("10m"), Proof::Quiet(time("1h"))];
    let mut w = World::new(patterns);
    w.see("symptom", "disk/sda");
    w.pass("2h");
    assert!(w.fault("symptom", "disk/sda").on_probation());
    w.see("symptom", "disk/sda");
    w.prove("symptom", "disk/sda", 0);
    w.pass("1d");
    let fault = w.fault("symptom", "disk/sda");
    assert!(fault.locked);
    assert_eq!(fault.phase, Phase::Active);
}

#[test]
fn a_withdrawn_cause_raises_its_symptom_after_all() {
    let mut w = World::new(pair());
    w.see("cause", "disk/sda");
    w.see("symptom", "disk/sda");
    w.told();
    w.reload(vec![pair().remove(1)]);
    assert_eq!(
        w.told(),
        ["withdrawn cause disk/sda", "opened symptom disk/sda"]
    );
    assert_eq!(w.phase("cause", "disk/sda"), None);
}

#[test]
fn a_chain_of_causes_ends_with_its_root() {
    let mut patterns = pair();
    let suppresses = vec!["cause".into()];
    let clear = vec![recovered("0s")];
    patterns.push(Pattern { suppresses, clear, ..pattern("root") });
    let mut w = World::new(patterns);
    w.see("root", "disk/sda");
    w.see("cause", "disk/sda");
    w.see("symptom", "disk/sda");
    let by = |w: &World, name| w.fault(name, "disk/sda").explained_by.clone();
    assert_eq!(by(&w, "cause"), Some(key("root", "disk/sda")));
    assert_eq!(by(&w, "symptom"), Some(key("cause", "disk/sda")));
    w.prove("root", "disk/sda", 0);
    assert_eq!(w.phase("cause", "disk/sda"), None);
    assert_eq!(w.phase("symptom", "disk/sda"), None);
}

#[test]
fn a_chain_that_is_due_at_once_opens_from_its_root() {
    let mut patterns = pair();
    let suppresses = vec!["cause".into()];
    patterns.push(Pattern { suppresses, ..pattern("z-root") });
    let mut w = World::new(patterns);
    w.see("symptom", "disk/sda");
    w.see("cause", "disk/sda");
    assert_eq!(w.phase("cause", "disk/sda"), Some(Phase::Settling));
    w.pass("5s");
    assert_eq!(
        w.told(),
        ["opened cause disk/sda", "explained symptom disk/sda"]
    );
}

#[test]
fn patterns_that_explain_each_other_leave_one_raised() {
    let patterns = ["a", "b", "c"].map(|name| Pattern {
        suppresses: vec!["a".into(), "b".into(), "c".into()],
        clear: vec![recovered("0s")],
        ..pattern(name)
    });
    let mut w = World::new(patterns.into());
    for name in ["a", "b", "c", "a"] {
        w.see(name, "disk/sda");
    }
    w.pass("1h");
    let raised: Vec<_> =
        w.ledger.faults().filter(|f| f.phase.is_raised()).collect();
    assert_eq!(raised.len(), 1);
    let raised = raised[0].key.clone();
    let explained = |p: &Phase| *p == Phase::Explained;
    let phases = w.ledger.faults().map(|f| f.phase);
    assert_eq!(phases.filter(explained).count(), 2);
    w.prove(&raised.pattern, "disk/sda", 0);
    assert_eq!(w.ledger.faults().count(), 1, "only what was cleared");
}

#[test]
fn a_stored_circle_of_explanations_is_broken() {
    let mut w = World::new(pair());
    w.see("cause", "disk/sda");
    w.see("symptom", "disk/sda");
    let mut stored: Vec<_> = w.ledger.faults().cloned().collect();
    stored[0].phase = Phase::Explained;
    stored[0].explained_by = Some(key("symptom", "disk/sda"));
    let set = w.ledger.patterns().clone();
    w.ledger = crate::ledger::Ledger::new(set, options(1));
    w.ledger.restore(w.now, stored);
    w.input(crate::ledger::Input::Tick);
    assert_eq!(w.phase("cause", "disk/sda"), Some(Phase::Active));
}

#[test]
fn an_explained_state_that_outlives_its_cause_is_raised() {
    let mut patterns = pair();
    patterns[1].source = crate::observation::Source::Mount;
    let mut w = World::new(patterns);
    w.see("cause", "disk/sda");
    w.state("symptom", "fs/sda", Truth::True);
    assert_eq!(w.phase("symptom", "fs/sda"), Some(Phase::Explained));
    w.prove("cause", "disk/sda", 0);
    w.pass("5s");
    assert_eq!(w.phase("symptom", "fs/sda"), Some(Phase::Active));
}

#[test]
fn settling_and_explained_faults_survive_a_restart() {
    let mut w = World::new(pair());
    w.see("symptom", "disk/sdb");
    w.see("cause", "disk/sda");
    w.see("symptom", "disk/sda");
    w.pass("2s");
    w.restart();
    assert_eq!(w.phase("symptom", "disk/sdb"), Some(Phase::Settling));
    assert_eq!(w.phase("symptom", "disk/sda"), Some(Phase::Explained));
    w.pass("3s");
    assert_eq!(w.phase("symptom", "disk/sdb"), Some(Phase::Active));
}

/// A fatal symptom that taints, and a cause that does not.
fn weaker_cause() -> Vec<Pattern> {
    let [mut cause, mut symptom] = <[Pattern; 2]>::try_from(pair()).unwrap();
    cause.severity = Severity::Warning;
    symptom.severity = Severity::Fatal;
    symptom.settle = time("0s");
    symptom.quarantine = Quarantine::Taint;
    vec![cause, symptom]
}

#[test]
fn to_know_the_cause_takes_no_quarantine_off() {
    for cause_first in [false, true] {
        let mut w = World::new(weaker_cause());
        let names = ["symptom", "cause"];
        let order = if cause_first { [1, 0] } else { [0, 1] };
        for i in order {
            w.see(names[i], "disk/sda");
            w.pass("10s");
        }
        assert_eq!(w.phase("symptom", "disk/sda"), Some(Phase::Explained));
        let node = desired(w.ledger.faults());
        assert_eq!(node.quarantine, Quarantine::Taint, "{cause_first}");
        assert_eq!(node.because, [key("symptom", "disk/sda")]);
        // It ends with its cause.
        w.prove("cause", "disk/sda", 0);
        w.pass("1s");
        let node = desired(w.ledger.faults());
        assert_eq!(node.quarantine, Quarantine::None, "{cause_first}");
    }
}

#[test]
fn a_stronger_cause_asks_alone() {
    let mut patterns = weaker_cause();
    patterns[0].quarantine = Quarantine::Taint;
    let mut w = World::new(patterns);
    w.see("symptom", "disk/sda");
    w.see("cause", "disk/sda");
    w.pass("10s");
    let node = desired(w.ledger.faults());
    assert_eq!(node.because, [key("cause", "disk/sda")]);
}

#[test]
fn what_nobody_sees_explains_nothing_that_people_see() {
    let mut patterns = pair();
    patterns[0].stage = Stage::Observe;
    let mut w = World::new(patterns.clone());
    w.see("cause", "disk/sda");
    w.see("symptom", "disk/sda");
    w.pass("10s");
    assert_eq!(w.phase("symptom", "disk/sda"), Some(Phase::Active));
    // Once it is in force, it does, and no longer when it is taken back.
    patterns[0].stage = Stage::Report;
    w.reload(patterns.clone());
    w.see("cause", "disk/sdb");
    w.see("symptom", "disk/sdb");
    w.pass("10s");
    assert_eq!(w.phase("symptom", "disk/sdb"), Some(Phase::Explained));
    patterns[0].stage = Stage::Observe;
    w.reload(patterns);
    w.pass("10s");
    assert_eq!(w.phase("symptom", "disk/sdb"), Some(Phase::Active));
}

#[test]
fn a_drill_explains_no_fault_that_is_real() {
    let mut w = World::new(pair());
    w.see_with("cause", "disk/sda", |s| s.injected = true);
    w.see("symptom", "disk/sda");
    w.see_with("symptom", "disk/sda1", |s| s.injected = true);
    w.pass("10s");
    assert_eq!(w.phase("symptom", "disk/sda"), Some(Phase::Active));
    assert_eq!(w.phase("symptom", "disk/sda1"), Some(Phase::Explained));
}
