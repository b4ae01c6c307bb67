//! Proofs, probation, relapses.

use crate::ledger::fault::{Ended, Phase};
use crate::ledger::testing::*;
use crate::ledger::{ChangeKind, Input, Ledger};
use crate::patterns::set::{Pattern, Proof};
use crate::signal::{Effect, Event, Truth};

fn with(clear: Vec<Proof>) -> Pattern {
    Pattern { clear, ..pattern("bad") }
}

#[test]
fn quiet_clears_and_puts_on_probation() {
    let mut w = World::new(vec![pattern("bad")]);
    w.see("bad", "disk/sda");
    w.pass("59m");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Active));
    w.pass("1m");
    let fault = w.fault("bad", "disk/sda");
    assert_eq!(fault.phase, Phase::Cleared);
    assert_eq!(fault.proof, Some(Ended::Quiet));
    assert!(fault.on_probation());
    assert_eq!(w.told(), ["opened bad disk/sda", "cleared bad disk/sda"]);
    w.pass("7d");
    assert!(!w.fault("bad", "disk/sda").on_probation());
    assert_eq!(w.told(), ["off-probation bad disk/sda"]);
}

#[test]
fn what_a_removed_file_told_is_proven_by_the_other_files() {
    let mut w = World::new(vec![pattern("bad")]);
    for file in ["file", "file:/a", "file:/b"] {
        w.health(file, true);
    }
    let signal = w.signal("bad", "disk/sda");
    w.events_of("file:/a", vec![Event::Match(signal)]);
    w.health("file:/a", false);
    w.pass("2h");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Active));
    w.input(Input::Gone("file:/a".into()));
    assert_eq!(w.fault("bad", "disk/sda").sources, ["file".into()]);
    w.health("file", false);
    w.pass("2h");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Active));
    w.health("file", true);
    w.pass("1h");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Cleared));
}

#[test]
fn a_match_begins_the_quiet_time_anew() {
    let mut w = World::new(vec![pattern("bad")]);
    w.see("bad", "disk/sda");
    w.pass("59m");
    w.see("bad", "disk/sda");
    w.pass("59m");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Active));
    assert_eq!(w.fault("bad", "disk/sda").count, 2);
}

#[test]
fn a_tolerated_match_does_not_interrupt_a_proof() {
    let tolerate = tolerate(1, "10m");
    let mut w = World::new(vec![Pattern { tolerate, ..pattern("bad") }]);
    w.see("bad", "disk/sda");
    w.see("bad", "disk/sda");
    w.pass("30m");
    w.see("bad", "disk/sda");
    w.pass("30m");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Cleared));
    assert_eq!(w.fault("bad", "disk/sda").count, 3);
}

#[test]
fn a_spent_tolerance_interrupts_a_recovery() {
    let tolerate = tolerate(1, "10m");
    let clear = vec![recovered("1h")];
    let mut w = World::new(vec![Pattern { tolerate, clear, ..pattern("bad") }]);
    w.see("bad", "disk/sda");
    w.see("bad", "disk/sda");
    w.prove("bad", "disk/sda", 0);
    w.pass("59m");
    w.see("bad", "disk/sda");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Recovering));
    w.see("bad", "disk/sda");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Active));
    w.pass("2h");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Active));
    let told = ["opened", "recovering", "interrupted"];
    assert_eq!(w.told(), told.map(|word| format!("{word} bad disk/sda")));
}

#[test]
fn a_recovery_without_hold_clears_at_once_and_without_probation() {
    let mut w = World::new(vec![with(vec![recovered("0s")])]);
    w.see("bad", "disk/sda1");
    w.see("bad", "disk/sdb");
    // About the whole disk, so about its partition too.
    w.prove("bad", "disk/sda", 0);
    let fault = w.fault("bad", "disk/sda1");
    assert_eq!(fault.proof, Some(Ended::Recovered));
    assert!(!fault.on_probation());
    assert_eq!(w.phase("bad", "disk/sdb"), Some(Phase::Active));
}

#[test]
fn a_recovery_with_hold_must_hold() {
    let mut w = World::new(vec![with(vec![recovered("10m")])]);
    w.see("bad", "disk/sda");
    w.prove("bad", "disk/sda", 0);
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Recovering));
    w.pass("5m");
    // Said again, it does not begin anew.
    w.prove("bad", "disk/sda", 0);
    w.pass("5m");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Cleared));
}

#[test]
fn a_proof_empties_the_window_of_a_tolerated_fault() {
    let mut w = World::new(vec![Pattern {
        tolerate: tolerate(2, "1h"),
        clear: vec![recovered("0s")],
        ..pattern("bad")
    }]);
    w.see("bad", "disk/sda");
    w.see("bad", "disk/sda");
    w.prove("bad", "disk/sda", 0);
    w.see("bad", "disk/sda");
    w.see("bad", "disk/sda");
    assert!(w.told().is_empty());
    w.see("bad", "disk/sda");
    assert_eq!(w.told(), ["opened bad disk/sda"]);
}

#[test]
fn what_recovers_after_each_failure_still_uses_its_tolerance_up() {
    let mut w = World::new(vec![Pattern {
        tolerate: tolerate(1, "1d"),
        clear: vec![recovered("6h")],
        ..pattern("bad")
    }]);
    for _ in 0..2 {
        w.see("bad", "disk/sda");
        w.prove("bad", "disk/sda", 0);
        w.pass("1h");
    }
    assert_eq!(w.told(), ["opened bad disk/sda", "recovering bad disk/sda"]);
    w.pass("6h");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Cleared));
    // The same again, after it was over once.
    for _ in 0..2 {
        w.see("bad", "disk/sda");
        w.prove("bad", "disk/sda", 0);
        w.pass("1h");
    }
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Recovering));
}

#[test]
fn silence_counts_only_while_every_source_is_up() {
    let mut w = World::new(vec![pattern("bad")]);
    w.health("journal", true);
    w.see("bad", "disk/sda");
    let also = crate::signal::Event::Match(w.signal("bad", "disk/sda"));
    w.events_of("journal", vec![also]);
    w.pass("30m");
    w.health("journal", false);
    w.pass("10h");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Active));
    w.health("journal", true);
    w.pass("29m");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Active));
    w.pass("1m");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Cleared));
}

#[test]
fn a_reboot_alone_proves_nothing() {
    let mut w = World::new(vec![with(vec![Proof::Reboot(time("1d"))])]);
    w.see("bad", "disk/sda");
    w.pass("10d");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Active));
    w.reboot();
    w.pass("23h");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Active));
    w.pass("1h");
    let fault = w.fault("bad", "disk/sda");
    assert_eq!(fault.proof, Some(Ended::Rebooted));
    assert!(fault.on_probation());
}

#[test]
fn seen_after_the_reboot_it_needs_another_one() {
    let mut w = World::new(vec![with(vec![Proof::Reboot(time("1d"))])]);
    w.see("bad", "disk/sda");
    w.reboot();
    w.pass("1h");
    w.see("bad", "disk/sda");
    w.pass("10d");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Active));
}

#[test]
fn what_is_tolerated_after_the_reboot_does_not_stop_its_proof() {
    let mut w = World::new(vec![Pattern {
        tolerate: tolerate(5, "1h"),
        ..with(vec![Proof::Reboot(time("1d"))])
    }]);
    w.see_with("bad", "disk/sda", |s| s.count = 6);
    w.reboot();
    w.pass("1h");
    w.see("bad", "disk/sda");
    w.pass("23h");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Cleared));
}

#[test]
fn normal_must_hold_unbroken_and_unknown_pauses_it() {
    let mut w = World::new(vec![Pattern {
        source: crate::observation::Source::Mount,
        clear: vec![Proof::Normal(time("2m"))],
        ..pattern("ro")
    }]);
    w.state("ro", "fs/sda", Truth::True);
    w.state("ro", "fs/sda", Truth::False);
    assert_eq!(w.phase("ro", "fs/sda"), Some(Phase::Recovering));
    w.pass("1m");
    w.state("ro", "fs/sda", Truth::True);
    w.state("ro", "fs/sda", Truth::False);
    w.pass("1m");
    w.state("ro", "fs/sda", Truth::Unknown);
    w.pass("1h");
    assert_eq!(w.phase("ro", "fs/sda"), Some(Phase::Recovering));
    w.state("ro", "fs/sda", Truth::False);
    w.pass("1m");
    let fault = w.fault("ro", "fs/sda");
    assert_eq!(fault.proof, Some(Ended::Recovered));
    assert_eq!(fault.count, 2);
    let told = ["opened", "recovering", "interrupted", "recovering", "cleared"];
    assert_eq!(w.told(), told.map(|word| format!("{word} ro fs/sda")));
}

#[test]
fn a_state_that_is_back_after_unknown_interrupts_its_recovery() {
    let mut w = World::new(vec![Pattern {
        source: crate::observation::Source::Mount,
        clear: vec![Proof::Normal(time("2m"))],
        ..pattern("ro")
    }]);
    for truth in [Truth::True, Truth::False, Truth::Unknown, Truth::True] {
        w.state("ro", "fs/sda", truth);
        w.pass("90s");
    }
    let fault = w.fault("ro", "fs/sda");
    assert_eq!((fault.phase, fault.count), (Phase::Active, 2));
    w.state("ro", "fs/sda", Truth::False);
    w.pass("90s");
    assert_eq!(w.phase("ro", "fs/sda"), Some(Phase::Recovering));
}

#[test]
fn a_state_that_holds_is_not_quiet() {
    let mut w = World::new(vec![Pattern {
        source: crate::observation::Source::Mount,
        clear: vec![Proof::Quiet(time("1h")), recovered("0s")],
        ..pattern("ro")
    }]);
    w.state("ro", "fs/sda", Truth::True);
    w.pass("10h");
    w.prove("ro", "fs/sda", 1);
    assert_eq!(w.phase("ro", "fs/sda"), Some(Phase::Active));
    w.state("ro", "fs/sda", Truth::False);
    w.pass("1h");
    assert_eq!(w.fault("ro", "fs/sda").proof, Some(Ended::Quiet));
}

#[test]
fn the_first_proof_to_complete_is_the_proof() {
    let clear =
        vec![Proof::Replaced, Proof::Quiet(time("2h")), recovered("1h")];
    let mut w = World::new(vec![with(clear)]);
    w.see("bad", "disk/sda");
    w.see("bad", "disk/sdb");
    w.prove("bad", "disk/sda", 2);
    w.pass("3h");
    let proof = |part| w.fault("bad", part).proof.clone();
    assert_eq!(proof("disk/sda"), Some(Ended::Recovered));
    assert_eq!(proof("disk/sdb"), Some(Ended::Quiet));
}

#[test]
fn probation_halves_the_tolerance_and_one_recurrence_locks() {
    let tolerate = tolerate(3, "1h");
    let mut w = World::new(vec![Pattern { tolerate, ..pattern("bad") }]);
    for _ in 0..4 {
        w.see("bad", "disk/sda");
    }
    w.pass("2h");
    assert!(w.fault("bad", "disk/sda").on_probation());
    w.see("bad", "disk/sda");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Cleared));
    assert_eq!(w.fault("bad", "disk/sda").count, 4, "the last life's");
    w.see("bad", "disk/sda");
    let fault = w.fault("bad", "disk/sda");
    assert_eq!(fault.phase, Phase::Active);
    assert_eq!(fault.count, 2);
    assert!(fault.locked);
    let opened = w.changes.last().map(|c| c.kind.clone());
    assert_eq!(opened, Some(ChangeKind::Opened { relapse: true }));
    w.pass("30d");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Active));
    w.clear("disk/sda", true);
    let fault = w.fault("bad", "disk/sda");
    assert!(fault.proof.as_ref().is_some_and(Ended::is_replaced));
    assert!(!fault.locked);
    assert!(fault.relapses.is_empty());
}

#[test]
fn three_relapses_in_thirty_days_leave_it_to_a_person() {
    let mut w = World::new(vec![with(vec![recovered("0s")])]);
    w.see("bad", "disk/sda");
    for relapse in 1..=3 {
        w.prove("bad", "disk/sda", 0);
        assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Cleared));
        w.pass("1d");
        w.see("bad", "disk/sda");
        assert_eq!(w.fault("bad", "disk/sda").relapses.len(), relapse);
    }
    assert!(w.fault("bad", "disk/sda").recurring());
    w.prove("bad", "disk/sda", 0);
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Active));
    w.clear("disk/sda", false);
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Cleared));
}

#[test]
fn relapses_older_than_thirty_days_do_not_count() {
    let mut w = World::new(vec![with(vec![recovered("0s")])]);
    w.see("bad", "disk/sda");
    for _ in 0..5 {
        w.prove("bad", "disk/sda", 0);
        w.pass("20d");
        w.see("bad", "disk/sda");
    }
    assert_eq!(w.fault("bad", "disk/sda").relapses.len(), 2);
    assert!(!w.fault("bad", "disk/sda").locked);
}

#[test]
fn a_relapse_keeps_the_id_and_the_first_evidence() {
    let mut w = World::new(vec![with(vec![recovered("0s")])]);
    w.see_with("bad", "disk/sda", |s| s.text = "the first".into());
    let id = w.fault("bad", "disk/sda").key.id();
    w.prove("bad", "disk/sda", 0);
    w.pass("1d");
    w.see("bad", "disk/sda");
    let fault = w.fault("bad", "disk/sda");
    assert_eq!(fault.key.id(), id);
    assert_eq!(fault.first.text, "the first");
    assert_eq!((fault.count, fault.total), (1, 2));
}

#[test]
fn a_cleared_fault_is_forgotten_after_thirty_days() {
    let mut w = World::new(vec![with(vec![recovered("0s")])]);
    w.see("bad", "disk/sda");
    w.prove("bad", "disk/sda", 0);
    w.pass("29d");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Cleared));
    w.pass("1d");
    assert_eq!(w.phase("bad", "disk/sda"), None);
    assert_eq!(w.ledger.next_deadline(), None);
}

#[test]
fn a_step_of_the_wall_clock_changes_no_hold() {
    let mut w = World::new(vec![pattern("bad")]);
    w.see("bad", "disk/sda");
    w.pass("30m");
    w.now.wall = w.now.wall.plus(time("30d"));
    w.pass("29m");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Active));
    w.now.wall = w.now.wall.minus(time("60d"));
    w.pass("1m");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Cleared));
}

#[test]
fn a_restart_neither_adds_to_a_proof_nor_takes_from_it() {
    let mut w = World::new(vec![with(vec![
        Proof::Quiet(time("10h")),
        recovered("1h"),
    ])]);
    w.see("bad", "disk/sda");
    w.prove("bad", "disk/sda", 1);
    w.restart();
    w.health("kmsg", true);
    w.pass("30m");
    w.restart();
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Recovering));
    w.pass("5h");
    w.health("kmsg", true);
    w.pass("29m");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Recovering));
    w.pass("1m");
    assert_eq!(w.fault("bad", "disk/sda").proof, Some(Ended::Recovered));
}

#[test]
fn a_restart_in_lasting_and_normal_counts_nothing_twice() {
    let mut w = World::new(vec![Pattern {
        source: crate::observation::Source::Mount,
        lasting: time("1m"),
        clear: vec![Proof::Normal(time("2m"))],
        ..pattern("ro")
    }]);
    w.state("ro", "fs/sda", Truth::True);
    w.pass("30s");
    w.restart();
    w.health("kmsg", true);
    w.state("ro", "fs/sda", Truth::True);
    w.pass("30s");
    w.restart();
    w.health("kmsg", true);
    w.state("ro", "fs/sda", Truth::True);
    let fault = w.fault("ro", "fs/sda");
    assert_eq!((fault.phase, fault.count), (Phase::Active, 1));
    assert_eq!(fault.total, 1);
    w.state("ro", "fs/sda", Truth::False);
    w.pass("1m");
    w.restart();
    w.health("kmsg", true);
    w.state("ro", "fs/sda", Truth::False);
    w.pass("1m");
    assert_eq!(w.phase("ro", "fs/sda"), Some(Phase::Cleared));
    assert_eq!(
        w.told(),
        ["opened ro fs/sda", "recovering ro fs/sda", "cleared ro fs/sda"]
    );
}

#[test]
fn what_concerns_no_fault_looks_after_none() {
    let link = Pattern { clear: vec![recovered("0s")], ..pattern("link") };
    let mut w = World::new(vec![link, pattern("disk")]);
    for n in 0..80 {
        w.see("disk", &format!("disk/{n}"));
    }
    let before = w.ledger.stats().upkeeps;
    // Every link that comes up would prove something.
    w.prove("link", "nic/eth0", 0);
    w.see_with("disk", "disk/7", |s| s.effect = Effect::Evidence);
    w.see_with("disk", "disk/7", |s| s.effect = Effect::Note);
    assert_eq!(w.ledger.stats().upkeeps, before);
    w.see("disk", "disk/7");
    assert_eq!(w.ledger.stats().upkeeps, before + 1);
    w.see("link", "nic/eth0");
    w.prove("link", "nic/eth0", 0);
    assert_eq!(w.ledger.stats().upkeeps, before + 3);
}

#[test]
fn a_proof_that_came_before_the_store_could_be_read_counts() {
    let recovers = with(vec![recovered("0s")]);
    let mut w = World::new(vec![recovers]);
    for disk in ["disk/sda", "disk/sdb", "disk/sdc"] {
        w.see("bad", disk);
    }
    let mut stored: Vec<_> = w.ledger.faults().cloned().collect();
    w.pass("1m");
    let set = w.ledger.patterns().clone();
    w.ledger = Ledger::new(set, options(0));
    w.ledger.await_store();
    w.prove("bad", "disk/sda", 0);
    w.prove("bad", "disk/sdb", 0);
    w.pass("1m");
    w.see("bad", "disk/sdb");
    w.told();
    for fault in &mut stored {
        if let Some(known) = w.ledger.get(&fault.key) {
            fault.catch_up(known);
        }
    }
    w.ledger.restore(w.now, stored);
    w.input(Input::Tick);
    let phase = |disk| w.phase("bad", disk);
    assert_eq!(phase("disk/sda"), Some(Phase::Cleared));
    assert_eq!(phase("disk/sdb"), Some(Phase::Active), "seen again since");
    assert_eq!(phase("disk/sdc"), Some(Phase::Active));
    // The store was read: what comes now finds what it is about.
    w.prove("bad", "disk/sdc", 0);
    assert_eq!(w.told(), ["cleared bad disk/sda", "cleared bad disk/sdc"]);
}
