//! What people ask, and what the store is given.

use std::time::Duration;

use crate::ledger::TIMED_ROWS_EVERY;
use crate::ledger::fault::{Ended, Phase};
use crate::ledger::testing::*;
use crate::patterns::set::{Pattern, Proof};
use crate::signal::Truth;

fn world() -> World {
    let clear = vec![Proof::Replaced];
    World::new(vec![
        Pattern { clear: clear.clone(), ..pattern("bad") },
        Pattern { clear, ..pattern("slow") },
        Pattern { tolerate: tolerate(2, "1d"), ..pattern("ce") },
    ])
}

#[test]
fn a_fault_is_found_by_id_by_pattern_and_part_or_by_what_is_unambiguous() {
    let mut w = world();
    w.see("bad", "disk/sda");
    w.see("slow", "disk/sdb");
    w.see("ce", "disk/sda");
    let wanted = key("bad", "disk/sda");
    let found = |what: &str| w.ledger.find(what).map(|f| f.key.clone());
    assert_eq!(found(&wanted.id()), Ok(wanted.clone()));
    assert_eq!(found("bad disk/sda"), Ok(wanted.clone()));
    assert_eq!(found("disk/sda"), Ok(wanted.clone()));
    assert_eq!(found(" bad "), Ok(wanted));
    assert_eq!(found("ce disk/sda"), Ok(key("ce", "disk/sda")));
}

#[test]
fn what_is_ambiguous_or_unknown_names_the_candidates() {
    let mut w = world();
    let error = w.ledger.find("disk/sda").unwrap_err();
    assert!(error.contains("none is raised"), "{error}");
    w.see("bad", "disk/sda");
    w.see("slow", "disk/sda");
    let error = w.ledger.find("disk/sda").unwrap_err();
    assert!(error.contains("2 raised faults"), "{error}");
    assert!(error.contains(&key("slow", "disk/sda").id()), "{error}");
    let error = w.ledger.find("disk/sdz").unwrap_err();
    assert!(error.contains("bad disk/sda"), "{error}");
}

#[test]
fn a_person_clears_with_name_and_reason_and_empties_the_window() {
    let mut w = world();
    for _ in 0..3 {
        w.see("ce", "disk/sda");
    }
    w.see("ce", "disk/sda");
    w.see("ce", "disk/sda");
    let answer = w.clear("disk/sda", false);
    assert!(answer.starts_with("cleared ce disk/sda"), "{answer}");
    let fault = w.fault("ce", "disk/sda");
    let (by, why) = ("alice".into(), "checked".into());
    assert_eq!(fault.proof, Some(Ended::Cleared { by, why }));
    w.see("ce", "disk/sda");
    w.see("ce", "disk/sda");
    assert_eq!(w.phase("ce", "disk/sda"), Some(Phase::Cleared));
    w.see("ce", "disk/sda");
    assert_eq!(w.fault("ce", "disk/sda").relapses.len(), 1);
}

#[test]
fn replaced_is_recorded_as_such() {
    let mut w = world();
    w.see("bad", "disk/sda");
    w.clear("bad", true);
    let proof = w.fault("bad", "disk/sda").proof.clone().unwrap();
    assert_eq!(proof.to_string(), "replaced");
    assert_eq!(proof.why().unwrap(), "checked (said by alice)");
}

#[test]
fn what_is_cleared_already_is_refused_unless_probation_can_be_ended() {
    let mut w = World::new(vec![pattern("bad")]);
    w.see("bad", "disk/sda");
    w.pass("1h");
    let answer = w.clear("bad disk/sda", false);
    assert!(answer.contains("probation is over"), "{answer}");
    assert!(!w.fault("bad", "disk/sda").on_probation());
    let answer = w.clear("bad disk/sda", false);
    assert!(answer.starts_with("error: "), "{answer}");
    assert!(answer.contains("already"), "{answer}");
}

#[test]
fn ending_a_probation_empties_the_window_too() {
    let tolerate = tolerate(4, "1h");
    let mut w = World::new(vec![Pattern { tolerate, ..pattern("ce") }]);
    w.see_with("ce", "disk/sda", |s| s.count = 5);
    w.pass("1h");
    w.see_with("ce", "disk/sda", |s| s.count = 2);
    w.clear("ce disk/sda", false);
    // 2 and 4 would be more than 4.
    w.see_with("ce", "disk/sda", |s| s.count = 4);
    assert_eq!(w.phase("ce", "disk/sda"), Some(Phase::Cleared));
}

#[test]
fn clearing_a_tolerated_fault_forgets_its_count() {
    let mut w = world();
    w.see("ce", "disk/sda");
    w.clear("ce disk/sda", false);
    assert_eq!(w.phase("ce", "disk/sda"), None);
}

#[test]
fn a_state_that_still_holds_is_raised_again_and_the_person_is_told_so() {
    let mut w = World::new(vec![Pattern {
        source: crate::observation::Source::Mount,
        lasting: time("1m"),
        ..pattern("ro")
    }]);
    w.state("ro", "fs/sda", Truth::True);
    w.pass("1m");
    let answer = w.clear("ro", false);
    assert!(answer.contains("raised again in 1m"), "{answer}");
    w.pass("30s");
    w.restart();
    w.health("kmsg", true);
    w.state("ro", "fs/sda", Truth::True);
    w.pass("29s");
    assert_eq!(w.phase("ro", "fs/sda"), Some(Phase::Cleared));
    w.pass("1s");
    assert_eq!(w.phase("ro", "fs/sda"), Some(Phase::Active));
}

#[test]
fn only_what_changed_is_written_and_running_stopwatches_now_and_then() {
    let mut w = World::new(vec![pattern("bad")]);
    w.see("bad", "disk/sda");
    let keys = |w: &mut World| -> Vec<_> {
        let rows = w.ledger.take_dirty(w.now);
        rows.into_iter().map(|(key, _)| key.part.to_string()).collect()
    };
    assert_eq!(keys(&mut w), ["disk/sda"]);
    w.see("bad", "disk/sdb");
    assert_eq!(keys(&mut w), ["disk/sdb"]);
    w.input(crate::ledger::Input::Tick);
    assert_eq!(keys(&mut w), [""; 0]);
    w.pass_for(TIMED_ROWS_EVERY);
    let rows = w.ledger.take_dirty(w.now);
    assert_eq!(rows.len(), 2);
    let fault = rows[0].1.as_ref().unwrap();
    assert_eq!(fault.proofs[0].elapsed, TIMED_ROWS_EVERY);
    assert_eq!(fault.proofs[0].since, None);
}

#[test]
fn what_a_stopwatch_has_counted_outlives_an_orderly_end() {
    let mut w = World::new(vec![pattern("bad")]);
    w.see("bad", "disk/sda");
    w.ledger.take_dirty(w.now);
    w.pass("40s");
    assert_eq!(w.ledger.take_dirty(w.now), []);
    w.ledger.rest();
    let rows = w.ledger.take_dirty(w.now);
    let fault = rows[0].1.as_ref().unwrap();
    assert_eq!(fault.proofs[0].elapsed, Duration::from_secs(40));
    assert_eq!(w.ledger.take_dirty(w.now), [], "once");
}

#[test]
fn nothing_is_due_in_an_empty_ledger() {
    let w = world();
    assert_eq!(w.ledger.next_deadline(), None);
}

#[test]
fn a_ledger_that_knows_nothing_ignores_health_and_ticks() {
    let mut w = world();
    w.health("journal", false);
    w.pass("30d");
    assert!(w.told().is_empty());
    assert!(w.ledger.take_dirty(w.now).is_empty());
}

#[test]
fn a_fault_that_waits_for_its_cause_is_cleared_without_a_word() {
    let mut w = World::new(vec![
        pattern("bad"),
        Pattern { suppresses: vec!["bad".into()], ..pattern("cause") },
    ]);
    w.see("bad", "disk/sda");
    assert_eq!(w.phase("bad", "disk/sda"), Some(Phase::Settling));
    let answer = w.clear("bad disk/sda", false);
    assert!(answer.contains("was waiting for its cause"), "{answer}");
    assert_eq!(w.phase("bad", "disk/sda"), None);
    assert_eq!(w.told(), [""; 0]);
}

#[test]
fn what_still_holds_is_shown_in_its_latest_words() {
    use crate::patterns::template::Template;
    use crate::signal::{Event, Truth};
    let summary = Template::parse("runs without {missing}").unwrap();
    let mut w = World::new(vec![crate::patterns::set::Pattern {
        summary,
        ..pattern("bad")
    }]);
    let tell = |w: &mut World, missing: &str| {
        let mut signal = w.signal("bad", "raid/md6");
        signal.captures = [("missing".into(), missing.into())].into();
        signal.text = format!("missing={missing}");
        w.events(vec![Event::State(signal, Truth::True)]);
    };
    tell(&mut w, "1");
    w.told();
    tell(&mut w, "2");
    let fault = w.fault("bad", "raid/md6");
    assert_eq!(fault.summary, "runs without 2");
    assert_eq!(fault.count, 1, "it is the same failure");
    assert_eq!(fault.last.back().unwrap().text, "missing=2");
    // Told again as it was, it leaves no more evidence.
    let kept = fault.last.len();
    tell(&mut w, "2");
    assert_eq!(w.fault("bad", "raid/md6").last.len(), kept);
}
