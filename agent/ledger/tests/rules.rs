//! Escalation, hot reload, stages and rollout, drills, what the node should
//! look like.

use crate::ledger::ChangeKind;
use crate::ledger::desired::{MESSAGE_MAX, Status, desired};
use crate::ledger::fault::Phase;
use crate::ledger::testing::*;
use crate::ledger::{Ledger, Options};
use crate::parts::ids::PartId;
use crate::patterns::set::{
    Escalation, Pattern, Proof, Quarantine, Severity, Stage,
};
use crate::patterns::template::Template;
use crate::signal::{Effect, Truth};

fn escalating(escalate: Vec<Escalation>) -> Pattern {
    let clear = vec![recovered("0s")];
    Pattern { severity: Severity::Warning, escalate, clear, ..pattern("psu") }
}

#[test]
fn a_second_part_escalates_both_until_one_is_well() {
    let mut second = escalation(Severity::Fatal);
    second.when.parts = Some(2);
    second.quarantine = Some(Quarantine::Taint);
    let mut w = World::new(vec![escalating(vec![second])]);
    w.see("psu", "psu/1");
    assert_eq!(w.fault("psu", "psu/1").severity, Severity::Warning);
    w.see("psu", "psu/2");
    assert_eq!(w.fault("psu", "psu/1").severity, Severity::Fatal);
    let opened = w.changes[1].fault.clone();
    assert_eq!(opened.severity, Severity::Fatal, "told with its opening");
    assert_eq!(
        w.told(),
        ["opened psu psu/1", "opened psu psu/2", "escalated psu psu/1"]
    );
    w.prove("psu", "psu/2", 0);
    let fault = w.fault("psu", "psu/1");
    assert_eq!(fault.severity, Severity::Warning);
    assert_eq!(fault.quarantine, Quarantine::None);
    assert_eq!(w.told(), ["cleared psu psu/2", "eased psu psu/1"]);
}

#[test]
fn parts_under_a_parent_count_only_its_own() {
    let mut two = escalation(Severity::Fatal);
    two.when.parts = Some(2);
    two.when.under = Some(Template::parse("psu/bay{bay}").unwrap());
    let mut w = World::new(vec![escalating(vec![two])]);
    for (part, bay) in [("psu/1", "x"), ("psu/2", "y"), ("psu/3", "y")] {
        let parent = PartId::new(&format!("psu/bay{bay}"));
        w.see_with("psu", part, |s| s.parents = vec![Some(parent)]);
    }
    let severity = |part| w.fault("psu", part).severity;
    assert_eq!(severity("psu/1"), Severity::Warning);
    assert_eq!(severity("psu/2"), Severity::Fatal);
    assert_eq!(severity("psu/3"), Severity::Fatal);
}

#[test]
fn lasting_and_count_escalate_and_all_conditions_must_hold() {
    let mut long = escalation(Severity::Error);
    long.when.lasting = Some(time("1h"));
    let mut many = escalation(Severity::Fatal);
    many.when.lasting = Some(time("1h"));
    many.when.count = Some(3);
    let mut w = World::new(vec![escalating(vec![long, many])]);
    w.see("psu", "psu/1");
    w.pass("59m");
    assert_eq!(w.fault("psu", "psu/1").severity, Severity::Warning);
    w.pass("1m");
    assert_eq!(w.fault("psu", "psu/1").severity, Severity::Error);
    w.see("psu", "psu/1");
    w.see("psu", "psu/1");
    assert_eq!(w.fault("psu", "psu/1").severity, Severity::Fatal);
    let told = ["opened", "escalated", "escalated"];
    assert_eq!(w.told(), told.map(|word| format!("{word} psu psu/1")));
}

#[test]
fn relapses_escalate_for_as_long_as_the_fault_is_raised() {
    let mut relapsing = escalation(Severity::Error);
    relapsing.when.relapses = Some(1);
    let mut w = World::new(vec![escalating(vec![relapsing])]);
    w.see("psu", "psu/1");
    w.prove("psu", "psu/1", 0);
    w.pass("1d");
    w.see("psu", "psu/1");
    assert_eq!(w.fault("psu", "psu/1").severity, Severity::Error);
    w.pass("90d");
    assert_eq!(w.fault("psu", "psu/1").severity, Severity::Error);
}

#[test]
fn a_changed_pattern_is_judged_anew_at_once() {
    let mut w = World::new(vec![pattern("bad")]);
    w.see("bad", "disk/sda");
    w.pass("30m");
    w.told();
    let quarantine = Quarantine::Taint;
    let severity = Severity::Fatal;
    w.reload(vec![Pattern { severity, quarantine, ..pattern("bad") }]);
    assert_eq!(w.told(), ["escalated bad disk/sda"]);
    let fault = w.fault("bad", "disk/sda");
    assert_eq!(fault.severity, Severity::Fatal);
    assert_eq!(fault.quarantine, Quarantine::Taint);
    // The proof that did not change goes on.
    w.pass("30m");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Cleared));
}

#[test]
fn changed_clearing_rules_replace_the_stored_ones() {
    let mut w = World::new(vec![pattern("bad")]);
    w.see("bad", "disk/sda");
    let clear = vec![Proof::Quiet(time("2h"))];
    w.reload(vec![Pattern { clear: clear.clone(), ..pattern("bad") }]);
    assert_eq!(w.fault("bad", "disk/sda").clear, clear);
    w.pass("90m");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Active));
    w.pass("30m");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Cleared));
}

#[test]
fn a_recovery_whose_rule_is_gone_is_interrupted() {
    let clear = vec![recovered("1h")];
    let mut w = World::new(vec![Pattern { clear, ..pattern("bad") }]);
    w.see("bad", "disk/sda");
    w.prove("bad", "disk/sda", 0);
    w.told();
    w.reload(vec![pattern("bad")]);
    assert_eq!(w.told(), ["interrupted bad disk/sda"]);
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Active));
}

#[test]
fn a_removed_pattern_withdraws_what_was_told_and_forgets_the_rest() {
    let mut w = World::new(vec![
        pattern("bad"),
        Pattern { tolerate: tolerate(1, "1d"), ..pattern("ce") },
    ]);
    w.see("bad", "disk/sda");
    w.see("ce", "disk/sda");
    w.told();
    w.reload(vec![]);
    assert_eq!(w.told(), ["withdrawn bad disk/sda"]);
    assert_eq!(w.ledger.faults().count(), 0);
    w.see("bad", "disk/sda");
    assert_eq!(w.ledger.stats().unknown, 1);
}

#[test]
fn a_reload_that_changes_nothing_changes_nothing() {
    let mut w = World::new(vec![pattern("bad")]);
    w.see("bad", "disk/sda");
    w.told();
    let before = w.fault("bad", "disk/sda").clone();
    w.reload(vec![pattern("bad")]);
    assert!(w.told().is_empty());
    assert_eq!(*w.fault("bad", "disk/sda"), before);
}

#[test]
fn patterns_that_changed_while_the_agent_was_down_are_judged_at_start() {
    let mut w = World::new(vec![pattern("bad"), pattern("gone")]);
    w.see("bad", "disk/sda");
    w.see("gone", "disk/sda");
    let stored: Vec<_> = w.ledger.faults().map(|f| f.at(w.now.boot)).collect();
    let severity = Severity::Fatal;
    let changed = Pattern { severity, ..pattern("bad") };
    w.ledger = Ledger::new(set(vec![changed]), options(1));
    w.ledger.restore(w.now, stored);
    assert_eq!(w.ledger.next_deadline(), Some(w.now.boot));
    w.told();
    w.input(crate::ledger::Input::Tick);
    assert_eq!(w.told(), ["withdrawn gone disk/sda", "escalated bad disk/sda"]);
}

#[test]
fn mode_and_rollout_cap_the_stage() {
    let quarantine = Quarantine::Taint;
    let fatal = Pattern { quarantine, ..pattern("bad") };
    let stage_on = |node: String, mode, rollout| {
        let patterns = vec![Pattern { rollout, ..fatal.clone() }];
        let mut w = World::new(patterns.clone());
        let options = Options { node, mode, ..options(1) };
        w.ledger = Ledger::new(set(patterns), options);
        w.see("bad", "disk/sda");
        w.fault("bad", "disk/sda").stage
    };
    let one = || "node-1".to_owned();
    assert_eq!(stage_on(one(), Stage::Enforce, 100), Stage::Enforce);
    assert_eq!(stage_on(one(), Stage::Report, 100), Stage::Report);
    assert_eq!(stage_on(one(), Stage::Enforce, 0), Stage::Observe);
    let nodes = (0..200).map(|i| format!("node-{i}"));
    let enforced = nodes
        .filter(|n| stage_on(n.clone(), Stage::Enforce, 20) == Stage::Enforce)
        .count();
    assert!((20..=60).contains(&enforced), "{enforced} of 200 at 20 %");
}

#[test]
fn a_drills_recovery_ends_a_drills_fault_and_no_real_one() {
    let clear = vec![recovered("0s")];
    let mut w = World::new(vec![Pattern { clear, ..pattern("bad") }]);
    let drill = |w: &mut World, effect| {
        w.see_with("bad", "disk/sda", |s| {
            s.effect = effect;
            s.injected = true;
        });
    };
    drill(&mut w, Effect::Open);
    drill(&mut w, Effect::Proof(0));
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Cleared));
    w.see("bad", "disk/sda");
    drill(&mut w, Effect::Proof(0));
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Active));
}

#[test]
fn what_a_drill_opens_is_marked_and_no_relapse() {
    let clear = vec![recovered("0s")];
    let mut w = World::new(vec![Pattern { clear, ..pattern("bad") }]);
    w.see("bad", "disk/sda");
    w.prove("bad", "disk/sda", 0);
    w.see_with("bad", "disk/sda", |s| s.injected = true);
    let fault = w.fault("bad", "disk/sda");
    assert!(fault.injected && fault.relapses.is_empty());
    w.prove("bad", "disk/sda", 0);
    w.see_with("bad", "disk/sdb", |s| s.injected = true);
    w.prove("bad", "disk/sdb", 0);
    w.see("bad", "disk/sdb");
    let fault = w.fault("bad", "disk/sdb");
    assert!(!fault.injected && fault.relapses.is_empty());
}

#[test]
fn real_evidence_makes_a_drills_fault_real() {
    let tolerate = tolerate(1, "1d");
    let mut w =
        World::new(vec![pattern("bad"), Pattern { tolerate, ..pattern("ce") }]);
    w.see_with("bad", "disk/sda", |s| s.injected = true);
    w.see("bad", "disk/sda");
    assert!(!w.fault("bad", "disk/sda").injected);
    w.see_with("ce", "disk/sda", |s| s.injected = true);
    assert!(w.fault("ce", "disk/sda").injected);
    w.see("ce", "disk/sda");
    assert!(!w.fault("ce", "disk/sda").injected);
}

#[test]
fn a_drills_state_is_marked_too() {
    let mut w = World::new(vec![Pattern {
        source: crate::observation::Source::Mount,
        ..pattern("ro")
    }]);
    let mut signal = w.signal("ro", "fs/sda");
    signal.injected = true;
    w.events(vec![crate::signal::Event::State(signal, Truth::True)]);
    assert!(w.fault("ro", "fs/sda").injected);
}

#[test]
fn conditions_show_the_worst_fault_first_and_quarantine_by_it() {
    let severity = Severity::Fatal;
    let quarantine = Quarantine::Cordon;
    let component: std::sync::Arc<str> = "raid".into();
    let mut w = World::new(vec![
        Pattern { quarantine: Quarantine::Taint, ..pattern("bad-sector") },
        Pattern { severity, quarantine, component, ..pattern("raid-lost") },
        Pattern { stage: Stage::Observe, ..pattern("seen-only") },
        Pattern {
            quarantine: Quarantine::Evict,
            stage: Stage::Report,
            ..pattern("told-only")
        },
    ]);
    w.see("bad-sector", "disk/sda");
    w.see("seen-only", "disk/sdx");
    w.see("told-only", "disk/sdc");
    w.see("raid-lost", "raid/md0");
    let node = desired(w.ledger.faults());
    assert_eq!(node.quarantine, Quarantine::Cordon);
    assert_eq!(node.taint.as_deref(), Some("raid"));
    let because = [key("raid-lost", "raid/md0"), key("bad-sector", "disk/sda")];
    assert_eq!(node.because, because);
    let condition = &node.conditions["DiskFault"];
    assert_eq!(condition.status, Status::True);
    assert_eq!(condition.reason, "RaidLost");
    assert!(condition.message.starts_with("1 errors (raid/md0); "));
    assert!(condition.message.contains("disk/sdc"));
    assert!(!condition.message.contains("sdx"));
}

#[test]
fn a_condition_message_is_bounded_and_says_how_many_more() {
    let mut w = World::new(vec![pattern("bad")]);
    for i in 0..100 {
        w.see("bad", &format!("disk/some-quite-long-name-{i}"));
    }
    let node = desired(w.ledger.faults());
    let message = &node.conditions["DiskFault"].message;
    assert!(message.len() <= MESSAGE_MAX, "{}", message.len());
    let shown = message.matches("errors").count();
    assert!(message.ends_with(&format!("and {} more", 100 - shown)));
}

#[test]
fn a_quarantine_ends_with_the_fault_and_the_condition_tells_probation() {
    let quarantine = Quarantine::Taint;
    let mut w = World::new(vec![Pattern { quarantine, ..pattern("bad") }]);
    assert!(desired(w.ledger.faults()).conditions.is_empty());
    w.see("bad", "disk/sda");
    assert_eq!(desired(w.ledger.faults()).quarantine, Quarantine::Taint);
    w.pass("1h");
    let node = desired(w.ledger.faults());
    assert_eq!(node.quarantine, Quarantine::None);
    assert_eq!((node.taint, node.because.len()), (None, 0));
    let condition = &node.conditions["DiskFault"];
    assert_eq!(condition.status, Status::False);
    assert!(condition.message.contains("quiet, on probation"));
}

#[test]
fn a_drill_is_marked_in_the_condition_and_quarantines_nothing() {
    let quarantine = Quarantine::Taint;
    let mut w = World::new(vec![Pattern { quarantine, ..pattern("bad") }]);
    w.see_with("bad", "disk/sda", |s| s.injected = true);
    let node = desired(w.ledger.faults());
    assert_eq!(node.quarantine, Quarantine::None);
    let message = &node.conditions["DiskFault"].message;
    assert!(message.starts_with("injected: "));
}

#[test]
fn changes_carry_the_fault_as_it_is_after_them() {
    let mut w = World::new(vec![pattern("bad")]);
    w.see("bad", "disk/sda");
    w.pass("1h");
    let phases: Vec<_> = w.changes.iter().map(|c| c.fault.phase).collect();
    assert_eq!(phases, [Phase::Active, Phase::Cleared]);
    let opened = ChangeKind::Opened { relapse: false };
    assert_eq!(w.changes[0].kind, opened);
}

#[test]
fn a_fault_stays_while_the_file_of_its_pattern_may_be_a_bad_one() {
    let mut w = World::new(vec![pattern("bad"), pattern("other")]);
    w.see("bad", "disk/sda");
    w.told();
    w.reload_some(vec![pattern("other")]);
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Active));
    assert!(w.told().is_empty());
    // It is proved by its own rules meanwhile.
    w.pass("2h");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Cleared));
}
