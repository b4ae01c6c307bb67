//! One error that several sources tell: each pair both ways, and with one of
//! them dying midway.

use std::time::Duration;

use crate::ledger::fault::Phase;
use crate::ledger::testing::*;
use crate::observation::Source;
use crate::patterns::set::Pattern;
use crate::signal::{Event, Twin};

const POLL: Duration = Duration::from_secs(10);

fn pattern_of(source: Source) -> Pattern {
    Pattern { source, tolerate: tolerate(24, "24h"), ..pattern("ce") }
}

fn counted(w: &World, part: &str) -> u64 {
    w.ledger.get(&key("ce", part)).map_or(0, |fault| fault.total)
}

/// `count` errors that `source` tells, which happened within `span`.
fn tell(w: &mut World, source: &str, part: &str, span: Duration, count: u64) {
    let mut signal = w.signal("ce", part);
    signal.twin = Some(Twin { key: 7, span });
    signal.count = count;
    w.events_of(source, vec![Event::Match(signal)]);
}

fn at_once(w: &mut World, source: &str, count: u64) {
    tell(w, source, "dimm/A1", Duration::ZERO, count);
}

#[test]
fn what_a_second_source_tells_too_counts_once_whichever_was_first() {
    for (first, second) in [("mce", "kmsg"), ("kmsg", "mce")] {
        let mut w = World::new(vec![pattern_of(Source::Mce)]);
        at_once(&mut w, first, 1);
        w.pass("1s");
        at_once(&mut w, second, 1);
        assert_eq!(counted(&w, "dimm/A1"), 1, "{first} then {second}");
    }
}

#[test]
fn three_sources_are_one_event_too() {
    let mut w = World::new(vec![pattern_of(Source::Mce)]);
    for source in ["mce", "kmsg", "file:/var/log/mcelog"] {
        at_once(&mut w, source, 3);
    }
    assert_eq!(counted(&w, "dimm/A1"), 3);
}

#[test]
fn equal_errors_of_one_source_are_as_many_as_it_told() {
    let mut w = World::new(vec![pattern_of(Source::Mce)]);
    for _ in 0..5 {
        at_once(&mut w, "mce", 1);
    }
    for _ in 0..4 {
        at_once(&mut w, "kmsg", 1);
    }
    assert_eq!(counted(&w, "dimm/A1"), 5, "the most that one source saw");
    at_once(&mut w, "kmsg", 3);
    assert_eq!(counted(&w, "dimm/A1"), 7);
}

#[test]
fn a_source_that_dies_leaves_no_hole_and_its_return_no_bump() {
    let mut w = World::new(vec![pattern_of(Source::Mce)]);
    at_once(&mut w, "mce", 1);
    at_once(&mut w, "kmsg", 1);
    w.pass("1m");
    // The tracepoint's reader is gone; the text goes on.
    at_once(&mut w, "kmsg", 1);
    w.pass("1s");
    at_once(&mut w, "kmsg", 1);
    assert_eq!(counted(&w, "dimm/A1"), 3);
    // It comes back and reads what its ring kept, with the times of then.
    for _ in 0..2 {
        at_once(&mut w, "mce", 1);
    }
    assert_eq!(counted(&w, "dimm/A1"), 3);
    w.pass("1m");
    at_once(&mut w, "mce", 1);
    assert_eq!(counted(&w, "dimm/A1"), 4);
}

#[test]
fn the_same_error_a_minute_later_is_another() {
    let mut w = World::new(vec![pattern_of(Source::Mce)]);
    at_once(&mut w, "mce", 1);
    w.pass("1m");
    at_once(&mut w, "kmsg", 1);
    assert_eq!(counted(&w, "dimm/A1"), 2);
}

#[test]
fn one_error_is_known_again_on_a_part_that_text_knows_less_well() {
    let mut w = World::new(vec![pattern_of(Source::Mce)]);
    at_once(&mut w, "mce", 1);
    tell(&mut w, "kmsg", "channel/cpu0-umc0", Duration::ZERO, 1);
    assert_eq!(w.phase("ce", "channel/cpu0-umc0"), None);
    assert_eq!(counted(&w, "dimm/A1"), 1);
}

#[test]
fn a_counter_counts_only_what_the_tracepoint_has_not_told() {
    let mut w = World::new(vec![pattern_of(Source::Edac)]);
    for _ in 0..3 {
        w.pass("3s");
        at_once(&mut w, "edac:trace", 1);
    }
    tell(&mut w, "edac", "dimm/A1", POLL, 5);
    assert_eq!(counted(&w, "dimm/A1"), 5, "two were lost by the ring");
    w.pass("10s");
    tell(&mut w, "edac", "dimm/A1", POLL, 2);
    assert_eq!(counted(&w, "dimm/A1"), 7, "the tracepoint is dead");
}

#[test]
fn a_tracepoint_that_is_late_does_not_count_what_the_counter_has() {
    let mut w = World::new(vec![pattern_of(Source::Edac)]);
    w.pass("10s");
    tell(&mut w, "edac", "dimm/A1", POLL, 2);
    let mut late = w.signal("ce", "dimm/A1");
    late.time = late.time.minus(Duration::from_secs(4));
    late.twin = Some(Twin { key: 7, span: Duration::ZERO });
    for _ in 0..3 {
        w.events_of("edac:trace", vec![Event::Match(late.clone())]);
    }
    assert_eq!(counted(&w, "dimm/A1"), 3);
}

#[test]
fn a_counter_that_was_away_counts_what_nobody_told() {
    let mut w = World::new(vec![pattern_of(Source::Edac)]);
    for _ in 0..20 {
        w.pass("30s");
        at_once(&mut w, "edac:trace", 1);
    }
    tell(&mut w, "edac", "dimm/A1", time("10m"), 23);
    assert_eq!(counted(&w, "dimm/A1"), 23);
}

#[test]
fn a_counter_over_a_backlog_of_minutes_counts_nothing_that_was_told() {
    for every in ["1s", "5s", "20s"] {
        let mut w = World::new(vec![pattern_of(Source::Edac)]);
        let began = w.now.wall;
        for _ in 0..600 {
            w.pass(every);
            at_once(&mut w, "edac:trace", 1);
        }
        let span = w.now.wall.since(began);
        tell(&mut w, "edac", "dimm/A1", span, 603);
        assert_eq!(counted(&w, "dimm/A1"), 603, "every {every}");
        assert!(w.fault("ce", "dimm/A1").sights.len() <= 64);
        // Nobody answers for itself, however old.
        at_once(&mut w, "edac:trace", 1);
        assert_eq!(counted(&w, "dimm/A1"), 603);
        at_once(&mut w, "edac:trace", 3);
        assert_eq!(counted(&w, "dimm/A1"), 604);
    }
}

#[test]
fn text_that_is_seconds_late_is_counted_once_in_a_flood() {
    let mut w = World::new(vec![pattern_of(Source::Mce)]);
    for second in 0..200 {
        for _ in 0..3 {
            at_once(&mut w, "mce", 1);
        }
        if second >= 3 {
            for _ in 0..3 {
                at_once(&mut w, "kmsg", 1);
            }
            at_once(&mut w, "journal", 3);
        }
        w.pass("1s");
    }
    assert_eq!(counted(&w, "dimm/A1"), 600);
}

#[test]
fn other_patterns_and_other_errors_are_no_twins() {
    let other = Pattern { tolerate: tolerate(24, "24h"), ..pattern("ue") };
    let mut w = World::new(vec![pattern_of(Source::Mce), other]);
    at_once(&mut w, "mce", 1);
    let mut signal = w.signal("ue", "dimm/A1");
    signal.twin = Some(Twin { key: 7, span: Duration::ZERO });
    w.events_of("kmsg", vec![Event::Match(signal.clone())]);
    assert_eq!(w.fault("ue", "dimm/A1").total, 1);
    signal.pattern = "ce".into();
    signal.twin = Some(Twin { key: 8, span: Duration::ZERO });
    w.events_of("kmsg", vec![Event::Match(signal)]);
    assert_eq!(counted(&w, "dimm/A1"), 2);
}

#[test]
fn a_restart_counts_no_twin_twice() {
    let mut w = World::new(vec![pattern_of(Source::Edac)]);
    at_once(&mut w, "edac:trace", 4);
    w.pass("2s");
    w.restart();
    tell(&mut w, "edac", "dimm/A1", POLL, 4);
    assert_eq!(counted(&w, "dimm/A1"), 4);
}

#[test]
fn a_storm_of_twins_is_counted_once_in_bounded_memory() {
    let mut w = World::new(vec![pattern_of(Source::Edac)]);
    for second in 0..300u64 {
        for _ in 0..50 {
            at_once(&mut w, "edac:trace", 1);
        }
        w.pass("1s");
        if second % 10 == 9 {
            tell(&mut w, "edac", "dimm/A1", POLL, 500);
        }
    }
    assert_eq!(counted(&w, "dimm/A1"), 15_000);
    assert!(w.fault("ce", "dimm/A1").sights.len() <= 64);
}

#[test]
fn a_storm_of_two_errors_by_turns_is_counted_once() {
    let mut w = World::new(vec![pattern_of(Source::Mce)]);
    let one = |w: &mut World, source: &str, key| {
        let mut signal = w.signal("ce", "dimm/A1");
        signal.twin = Some(Twin { key, span: Duration::ZERO });
        w.events_of(source, vec![Event::Match(signal)]);
    };
    for (first, second) in [("mce", "kmsg"), ("kmsg", "mce")] {
        for _ in 0..100 {
            one(&mut w, first, 7);
            one(&mut w, second, 8);
        }
    }
    assert_eq!(counted(&w, "dimm/A1"), 200);
}

fn text(yields: Source) -> Pattern {
    Pattern { yields: vec![yields], ..pattern_of(Source::Kmsg) }
}

#[test]
fn text_yields_while_a_better_source_reads_and_counts_when_it_dies() {
    for id in ["edac", "edac:trace"] {
        let mut w = World::new(vec![text(Source::Edac)]);
        w.health(id, true);
        w.see("ce", "dimm/A1");
        assert_eq!(counted(&w, "dimm/A1"), 0);
        w.health(id, false);
        w.see("ce", "dimm/A1");
        assert_eq!(counted(&w, "dimm/A1"), 1);
        w.health(id, true);
        w.see("ce", "dimm/A1");
        assert_eq!(counted(&w, "dimm/A1"), 1);
    }
}

#[test]
fn text_yields_to_no_source_of_another_name() {
    let mut w = World::new(vec![text(Source::Edac)]);
    w.health("mce", true);
    w.health("edacs", true);
    w.see("ce", "dimm/A1");
    assert_eq!(counted(&w, "dimm/A1"), 1);
    assert_eq!(w.phase("ce", "dimm/A1"), Some(Phase::Tolerated));
}

#[test]
fn lines_that_the_kernel_left_out_yield_as_those_it_printed() {
    let mut w = World::new(vec![text(Source::Edac)]);
    w.see("ce", "dimm/A1");
    w.health("edac", true);
    w.suppressed("ce", 40);
    assert_eq!(counted(&w, "dimm/A1"), 1);
}
