//! Tolerance, lasting, history, evidence, suppressed callbacks, bounds.

use crate::ledger::fault::Phase;
use crate::ledger::testing::*;
use crate::ledger::{ChangeKind, FAULTS_MAX};
use crate::patterns::set::{Pattern, Proof, Severity, SubKey, Tolerance};
use crate::patterns::template::Template;
use crate::signal::{Effect, Event, Truth};

fn tolerant(count: u64, window: &str) -> Pattern {
    Pattern { tolerate: tolerate(count, window), ..pattern("ce") }
}

fn state(lasting: &str) -> Pattern {
    Pattern {
        source: crate::observation::Source::Mount,
        lasting: time(lasting),
        clear: vec![Proof::Normal(time("2m"))],
        ..pattern("ro")
    }
}

#[test]
fn without_tolerance_the_first_observation_opens() {
    let mut w = World::new(vec![pattern("bad")]);
    w.see("bad", "disk/sda");
    assert_eq!(w.told(), ["opened bad disk/sda"]);
    assert_eq!(w.fault("bad", "disk/sda").count, 1);
    assert_eq!(w.fault("bad", "disk/sda").summary, "1 errors");
}

#[test]
fn n_are_tolerated_and_one_more_opens_with_all_of_them_counted() {
    let mut w = World::new(vec![tolerant(3, "24h")]);
    for _ in 0..3 {
        w.see("ce", "disk/sda");
        w.pass("1h");
    }
    assert_eq!(w.phase("ce", "disk/sda"), Some(Phase::Tolerated));
    assert!(w.told().is_empty());
    w.see("ce", "disk/sda");
    assert_eq!(w.told(), ["opened ce disk/sda"]);
    assert_eq!(w.fault("ce", "disk/sda").count, 4);
}

#[test]
fn an_observation_exactly_one_window_old_is_outside() {
    let mut w = World::new(vec![tolerant(2, "1h")]);
    for (part, last) in [("disk/sda", "29m"), ("disk/sdb", "30m")] {
        w.see("ce", part);
        w.pass("30m");
        w.see("ce", part);
        w.pass(last);
        w.see("ce", part);
        w.told();
        let phase = w.phase("ce", part);
        let is_open = phase == Some(Phase::Active);
        assert_eq!(is_open, part == "disk/sda", "{part}: {phase:?}");
    }
}

#[test]
fn an_observation_of_count_c_counts_c() {
    let mut w = World::new(vec![tolerant(24, "24h")]);
    w.see_with("ce", "disk/sda", |s| s.count = 24);
    assert_eq!(w.phase("ce", "disk/sda"), Some(Phase::Tolerated));
    w.see("ce", "disk/sda");
    assert_eq!(w.fault("ce", "disk/sda").count, 25);
    assert_eq!(w.phase("ce", "disk/sda"), Some(Phase::Active));
}

#[test]
fn a_tolerated_fault_is_forgotten_when_its_window_has_passed() {
    let mut w = World::new(vec![tolerant(3, "1h")]);
    w.see("ce", "disk/sda");
    w.pass("59m");
    assert_eq!(w.phase("ce", "disk/sda"), Some(Phase::Tolerated));
    w.ledger.take_dirty(w.now);
    w.pass("2m");
    assert_eq!(w.phase("ce", "disk/sda"), None);
    let dirty = w.ledger.take_dirty(w.now);
    assert_eq!(dirty, [(key("ce", "disk/sda"), None)]);
    assert!(w.told().is_empty());
}

#[test]
fn a_restart_does_not_keep_a_tolerated_fault_for_longer() {
    let mut w = World::new(vec![tolerant(3, "1h")]);
    w.see("ce", "disk/sda");
    w.pass("59m50s");
    w.restart();
    assert_eq!(w.phase("ce", "disk/sda"), Some(Phase::Tolerated));
    w.pass("10s");
    assert_eq!(w.phase("ce", "disk/sda"), None);
}

#[test]
fn a_back_log_read_across_a_restart_keeps_its_counts() {
    let mut w = World::new(vec![tolerant(3, "1h")]);
    let old = w.now.wall.minus(time("2d"));
    for minutes in 0..4 {
        let at = old.plus(time("1m") * minutes);
        w.see_with("ce", "disk/sda", |s| s.time = at);
        w.restart();
    }
    assert_eq!(w.told(), ["opened ce disk/sda"]);
}

#[test]
fn a_back_log_is_counted_in_its_own_time() {
    let mut w = World::new(vec![tolerant(3, "1h")]);
    let old = w.now.wall.minus(time("2d"));
    for minutes in 0..4 {
        let at = old.plus(time("1m") * minutes);
        w.see_with("ce", "disk/sda", |s| s.time = at);
    }
    assert_eq!(w.told(), ["opened ce disk/sda"]);
    let opened = old.plus(time("3m"));
    assert_eq!(w.fault("ce", "disk/sda").opened, Some(opened));
    assert!(w.ledger.faults().all(|f| f.opened == Some(opened)));
}

#[test]
fn times_are_monotone_for_each_source() {
    let mut w = World::new(vec![tolerant(1, "1h")]);
    w.see("ce", "disk/sda");
    // Stamped two hours back, it still follows the first.
    let early = w.now.wall.minus(time("2h"));
    w.see_with("ce", "disk/sda", |s| s.time = early);
    assert_eq!(w.told(), ["opened ce disk/sda"]);
}

#[test]
fn a_wall_clock_that_steps_back_does_not_freeze_the_windows() {
    let mut w = World::new(vec![tolerant(1, "1h")]);
    let future = w.now.wall.plus(time("3650d"));
    w.see_with("ce", "disk/sda", |s| s.time = future);
    w.see("ce", "disk/sdb");
    w.pass("2h");
    // Were sdb still clamped to the future, this would open it.
    w.see("ce", "disk/sdb");
    assert_eq!(w.phase("ce", "disk/sdb"), Some(Phase::Tolerated));
}

#[test]
fn retries_within_once_per_are_one_occasion_and_all_counted_for_people() {
    let once_per = Some(time("1m"));
    let tolerance = Tolerance { count: 2, window: time("1d"), once_per };
    let mut w = World::new(vec![Pattern {
        tolerate: Some(tolerance),
        ..pattern("ce")
    }]);
    for _ in 0..2 {
        for _ in 0..10 {
            w.see("ce", "disk/sda");
        }
        w.pass("1m");
    }
    assert_eq!(w.phase("ce", "disk/sda"), Some(Phase::Tolerated));
    w.see("ce", "disk/sda");
    assert_eq!(w.phase("ce", "disk/sda"), Some(Phase::Active));
    assert_eq!(w.fault("ce", "disk/sda").count, 21);
}

#[test]
fn same_counts_each_value_apart() {
    let mut w = World::new(vec![Pattern {
        sub_key: SubKey::Same(Template::default()),
        ..tolerant(1, "1d")
    }]);
    for lba in ["1", "2", "3", "4"] {
        w.see_with("ce", "disk/sda", |s| s.value = Some(lba.into()));
    }
    assert!(w.told().is_empty());
    w.see_with("ce", "disk/sda", |s| s.value = Some("3".into()));
    assert_eq!(w.told(), ["opened ce disk/sda"]);
    assert_eq!(w.fault("ce", "disk/sda").count, 5);
}

#[test]
fn distinct_counts_different_values_only() {
    let mut w = World::new(vec![Pattern {
        sub_key: SubKey::Distinct(Template::default()),
        ..tolerant(2, "1d")
    }]);
    for page in ["1", "1", "1", "2", "2"] {
        w.see_with("ce", "disk/sda", |s| s.value = Some(page.into()));
    }
    assert!(w.told().is_empty());
    w.see_with("ce", "disk/sda", |s| s.value = Some("3".into()));
    assert_eq!(w.told(), ["opened ce disk/sda"]);
    assert_eq!(w.fault("ce", "disk/sda").count, 6);
}

#[test]
fn of_too_many_values_the_oldest_goes_and_is_counted() {
    let sub_keys = [
        SubKey::Same(Template::default()),
        SubKey::Distinct(Template::default()),
    ];
    for sub_key in sub_keys {
        let mut w =
            World::new(vec![Pattern { sub_key, ..tolerant(1000, "1d") }]);
        for i in 0..255 {
            let value = Some(i.to_string());
            w.see_with("ce", "disk/sda", |s| s.value = value);
            w.now = w.now.plus(time("1s"));
        }
        assert_eq!(w.ledger.stats().dropped_values, 0);
        for i in 255..300 {
            let value = Some(i.to_string());
            w.see_with("ce", "disk/sda", |s| s.value = value);
            w.now = w.now.plus(time("1s"));
        }
        let fault = w.fault("ce", "disk/sda");
        assert!(fault.window.same.len() <= 256);
        assert!(!fault.window.same.contains_key("0"));
        assert!(fault.window.values.len() <= 256);
        if fault.phase == Phase::Tolerated {
            assert_eq!(w.ledger.stats().dropped_values, 44);
        } else {
            // More different values than are kept: it must open.
            assert_eq!(fault.count, 300);
        }
    }
}

#[test]
fn a_large_tolerance_is_counted_in_bounded_memory() {
    let mut w = World::new(vec![tolerant(100_000, "1d")]);
    for _ in 0..20_000 {
        w.see_with("ce", "disk/sda", |s| s.count = 5);
        w.now = w.now.plus(time("1s"));
    }
    let fault = w.fault("ce", "disk/sda");
    assert!(fault.window.counted.len() <= 256);
    assert_eq!(fault.phase, Phase::Tolerated);
    assert_eq!(fault.count, 100_000);
    w.see("ce", "disk/sda");
    assert_eq!(w.phase("ce", "disk/sda"), Some(Phase::Active));
}

#[test]
fn callbacks_suppressed_count_for_the_part_seen_last() {
    let mut w = World::new(vec![tolerant(10, "1h")]);
    w.see("ce", "disk/sda");
    w.pass("1s");
    w.see("ce", "disk/sdb");
    w.pass("5s");
    w.suppressed("ce", 10);
    assert_eq!(w.told(), ["opened ce disk/sdb"]);
    assert_eq!(w.fault("ce", "disk/sdb").count, 11);
    assert_eq!(w.fault("ce", "disk/sda").count, 1);
}

#[test]
fn callbacks_suppressed_of_several_patterns_count_for_the_one_seen_last() {
    let mut w = World::new(vec![
        Pattern { name: "medium".into(), ..tolerant(10, "1h") },
        Pattern { name: "io".into(), ..tolerant(10, "1h") },
    ]);
    w.see("io", "disk/sda");
    w.pass("1s");
    w.see("medium", "disk/sda");
    w.suppressed_of(&["io", "medium", "unknown"], 3);
    assert_eq!(w.fault("medium", "disk/sda").count, 4);
    assert_eq!(w.fault("io", "disk/sda").count, 1);
    w.see("io", "disk/sda");
    w.suppressed_of(&["io", "medium"], 5);
    assert_eq!(w.fault("io", "disk/sda").count, 7, "the first of both");
}

#[test]
fn callbacks_suppressed_long_after_the_last_line_belong_nowhere() {
    let mut w = World::new(vec![tolerant(10, "1h")]);
    w.see("ce", "disk/sda");
    w.pass("61s");
    w.suppressed("ce", 10);
    w.suppressed("nobody-knows-it", 1);
    assert!(w.told().is_empty());
    assert_eq!(w.ledger.stats().unplaced, 10);
    assert_eq!(w.ledger.stats().unknown, 1);
}

#[test]
fn lasting_opens_after_unbroken_true_readings() {
    let mut w = World::new(vec![state("30s")]);
    w.state("ro", "fs/sda1", Truth::True);
    w.pass("29s");
    assert_eq!(w.phase("ro", "fs/sda1"), Some(Phase::Tolerated));
    w.pass("1s");
    assert_eq!(w.told(), ["opened ro fs/sda1"]);
}

#[test]
fn a_false_reading_resets_lasting_and_an_unknown_one_pauses_it() {
    let mut w = World::new(vec![state("30s")]);
    w.state("ro", "fs/sda1", Truth::True);
    w.pass("20s");
    w.state("ro", "fs/sda1", Truth::False);
    assert_eq!(w.phase("ro", "fs/sda1"), None);
    w.state("ro", "fs/sda1", Truth::True);
    w.pass("20s");
    w.state("ro", "fs/sda1", Truth::Unknown);
    w.pass("1h");
    assert_eq!(w.phase("ro", "fs/sda1"), Some(Phase::Tolerated));
    w.state("ro", "fs/sda1", Truth::True);
    w.pass("9s");
    assert!(w.told().is_empty());
    w.pass("1s");
    assert_eq!(w.told(), ["opened ro fs/sda1"]);
    assert_eq!(w.fault("ro", "fs/sda1").count, 1);
}

#[test]
fn history_opens_without_counting_and_once_for_each_boot_and_text() {
    let mut w = World::new(vec![Pattern {
        tolerate: tolerate(5, "1h"),
        history: true,
        clear: vec![Proof::Replaced],
        ..pattern("bert")
    }]);
    let history = |w: &mut World| {
        w.see_with("bert", "disk/sda", |s| s.effect = Effect::History);
    };
    history(&mut w);
    assert_eq!(w.told(), ["opened bert disk/sda"]);
    assert!(w.fault("bert", "disk/sda").since_previous_boot);
    history(&mut w);
    w.restart();
    w.health("kmsg", true);
    history(&mut w);
    assert_eq!(w.fault("bert", "disk/sda").count, 1);
    assert_eq!(w.fault("bert", "disk/sda").last.len(), 0);
    w.clear("bert", false);
    history(&mut w);
    assert_eq!(w.phase("bert", "disk/sda"), Some(Phase::Cleared));
    w.reboot();
    history(&mut w);
    assert_eq!(w.phase("bert", "disk/sda"), Some(Phase::Active));
}

#[test]
fn a_few_errors_from_before_the_boot_are_within_what_is_tolerated() {
    let tolerate = tolerate(24, "1d");
    let mut w = World::new(vec![Pattern { tolerate, ..pattern("ce") }]);
    let history = |w: &mut World, count: u64| {
        w.see_with("ce", "dimm/A1", |s| {
            (s.effect, s.count) = (Effect::History, count);
            s.text = format!("{count} before the boot");
        });
    };
    history(&mut w, 1);
    history(&mut w, 24);
    assert!(w.told().is_empty());
    assert_eq!(w.phase("ce", "dimm/A1"), None, "and they do not count");
    history(&mut w, 25);
    assert_eq!(w.told(), ["opened ce dimm/A1"]);
    assert!(w.fault("ce", "dimm/A1").since_previous_boot);
}

#[test]
fn history_of_an_earlier_boot_is_told_again_after_other_lines() {
    let clear = vec![Proof::Reboot(time("1d"))];
    let mut w = World::new(vec![Pattern { clear, ..pattern("bad") }]);
    let history = |w: &mut World| {
        w.see_with("bad", "disk/sda", |s| {
            s.effect = Effect::History;
            s.text = "errors since last fsck".into();
        });
    };
    history(&mut w);
    w.reboot();
    w.see("bad", "disk/sda");
    w.pass("1h");
    history(&mut w);
    assert_eq!(w.fault("bad", "disk/sda").last.len(), 2);
}

#[test]
fn evidence_is_kept_but_counts_nothing() {
    let mut w = World::new(vec![
        tolerant(1, "1d"),
        pattern("bad"),
        Pattern { component: "cpu".into(), ..pattern("hot") },
        pattern("block"),
    ]);
    w.see("ce", "disk/sda");
    w.see("bad", "disk/sda1");
    w.see("hot", "disk/sda");
    w.see("bad", "disk/sdb");
    let evidence = |s: &mut crate::signal::Signal| {
        s.effect = Effect::Evidence;
        s.text = "res 41/40".into();
    };
    w.see_with("block", "disk/sda", evidence);
    let texts = |name, part| w.fault(name, part).last.len();
    assert_eq!(texts("ce", "disk/sda"), 1);
    assert_eq!(texts("bad", "disk/sda1"), 1);
    assert_eq!(texts("hot", "disk/sda"), 0, "of another component");
    assert_eq!(texts("bad", "disk/sdb"), 0, "of another part");
    assert_eq!(w.fault("ce", "disk/sda").count, 1);
    assert_eq!(w.phase("block", "disk/sda"), None);
}

#[test]
fn evidence_interrupts_no_proof() {
    let mut w = World::new(vec![pattern("bad")]);
    w.see("bad", "disk/sda");
    w.pass("59m");
    w.see_with("bad", "disk/sda", |s| s.effect = Effect::Evidence);
    w.pass("1m");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Cleared));
}

#[test]
fn the_first_and_the_last_eight_observations_are_kept() {
    let mut w = World::new(vec![pattern("bad")]);
    for i in 0..20 {
        w.see_with("bad", "disk/sda", |s| s.text = format!("line {i}"));
    }
    let fault = w.fault("bad", "disk/sda");
    assert_eq!(fault.first.text, "line 0");
    let texts: Vec<_> = fault.last.iter().map(|e| &*e.text).collect();
    let last: Vec<_> = (12..20).map(|i| format!("line {i}")).collect();
    assert_eq!(texts, last);
    assert_eq!(fault.count, 20);
}

#[test]
fn notes_and_unknown_patterns_open_nothing_and_are_counted() {
    let mut w = World::new(vec![pattern("bad")]);
    w.see_with("bad", "disk/sda", |s| s.effect = Effect::Note);
    w.see("gone", "disk/sda");
    w.events(vec![Event::Gap { lost: 7 }]);
    assert_eq!(w.ledger.faults().count(), 0);
    let stats = w.ledger.stats();
    assert_eq!((stats.notes, stats.unknown, stats.lost), (1, 1, 7));
}

#[test]
fn a_full_table_forgets_the_oldest_tolerated_and_never_a_raised_fault() {
    let mut w = World::new(vec![tolerant(1, "1d"), pattern("bad")]);
    w.see("bad", "disk/first");
    let event = |w: &World, name: &str, i: usize| {
        Event::Match(w.signal(name, &format!("disk/x{i}")))
    };
    for first in (0..FAULTS_MAX).step_by(256) {
        w.now = w.now.plus(time("1ms"));
        let events = (first..first + 256).map(|i| event(&w, "ce", i));
        let events = events.collect();
        w.events(events);
    }
    assert!(w.ledger.faults().count() <= FAULTS_MAX);
    assert!(w.ledger.stats().evicted > 0);
    assert_eq!(w.phase("ce", "disk/x0"), None);
    let newest = format!("disk/x{}", FAULTS_MAX - 1);
    assert_eq!(w.phase("ce", &newest), Some(Phase::Tolerated));
    assert_eq!(w.phase("bad", "disk/first"), Some(Phase::Active));
}

#[test]
fn a_table_full_of_raised_faults_refuses_and_says_so() {
    let mut w = World::new(vec![pattern("bad")]);
    let events = (0..FAULTS_MAX + 5)
        .map(|i| Event::Match(w.signal("bad", &format!("disk/x{i}"))))
        .collect();
    w.events(events);
    assert_eq!(w.ledger.faults().count(), FAULTS_MAX);
    assert_eq!(w.ledger.stats().refused, 5);
    let opened = |c: &&crate::ledger::Change| {
        matches!(c.kind, ChangeKind::Opened { .. })
    };
    assert_eq!(w.changes.iter().filter(opened).count(), FAULTS_MAX);
}

#[test]
fn a_table_full_of_lesser_faults_has_room_for_the_fatal_one() {
    let mut w = World::new(vec![
        pattern("bad"),
        Pattern { severity: Severity::Fatal, ..pattern("worst") },
    ]);
    let events = (0..FAULTS_MAX + 5)
        .map(|i| Event::Match(w.signal("bad", &format!("disk/x{i}"))))
        .collect();
    w.events(events);
    w.see("worst", "disk/x0");
    assert_eq!(w.phase("worst", "disk/x0"), Some(Phase::Active));
    let events = (1..FAULTS_MAX)
        .map(|i| Event::Match(w.signal("worst", &format!("disk/x{i}"))))
        .collect();
    w.events(events);
    assert_eq!(w.ledger.faults().count(), FAULTS_MAX + 64);
    w.restart();
    assert_eq!(w.ledger.faults().count(), FAULTS_MAX + 64);
    assert_eq!(w.ledger.stats().refused, 0);
}
