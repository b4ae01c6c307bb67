//! What all faults together may take of the memory.

use super::super::fault::{Evidence, Fault};
use super::super::testing::{World, pattern, time, tolerate};
use crate::ledger::FAULTS_MAX;
use crate::patterns::set::SubKey;
use crate::patterns::template::Template;
use crate::signal::Event;

/// What a fault's evidence and window take, roughly as `room` counts it.
fn takes(fault: &Fault) -> usize {
    let evidence = fault.last.iter().chain([&fault.first]);
    let evidence = evidence.map(|e| size_of::<Evidence>() + e.text.len());
    let values = fault.window.values.keys().map(|value| 64 + value.len());
    evidence.chain(values).sum::<usize>() + fault.window.counted.len() * 16
}

fn all(world: &World) -> usize {
    world.ledger.faults().map(takes).sum()
}

#[test]
fn a_few_faults_keep_all_that_the_rules_want() {
    let mut w = World::new(vec![pattern("bad")]);
    for n in 0..20 {
        for part in ["disk/sda", "disk/sdb"] {
            w.see_with("bad", part, |s| s.text = format!("{n:01000}"));
        }
    }
    let fault = w.ledger.faults().next().unwrap();
    assert_eq!(fault.last.len(), 8);
    assert!(fault.last.iter().all(|e| e.text.len() == 1000));
}

#[test]
fn a_table_full_of_faults_takes_no_more_than_a_few_megabytes() {
    let mut values = pattern("many-places");
    values.tolerate = tolerate(255, "1d");
    values.sub_key = SubKey::Distinct(Template::parse("x").unwrap());
    let mut times = pattern("many-times");
    times.tolerate = tolerate(100_000, "1d");
    let mut w = World::new(vec![pattern("bad"), values, times]);
    for round in 0..40 {
        w.now = w.now.plus(time("1s"));
        let mut events = Vec::new();
        for n in 0..FAULTS_MAX {
            let name = ["bad", "many-places", "many-times"][n % 3];
            let mut signal = w.signal(name, &format!("disk/x{n}"));
            signal.text = format!("{round:01000}");
            signal.value = Some(format!("{round:0100}"));
            events.push(Event::Match(signal));
        }
        w.events(events);
    }
    assert_eq!(w.ledger.faults().count(), FAULTS_MAX);
    assert!(all(&w) <= 3 << 20, "{}", all(&w));
    assert!(w.ledger.stats().dropped_values > 0);
    // The latest is what is kept, and the count is exact all the same.
    let last = "0".repeat(100);
    for fault in w.ledger.faults() {
        assert!(fault.last.back().unwrap().text.starts_with(&last));
        assert_eq!(fault.count, 40, "{}", fault.key);
    }
}

#[test]
fn what_was_stored_before_the_bound_is_cut_when_it_is_put_back() {
    let mut w = World::new(vec![pattern("bad")]);
    w.see_with("bad", "disk/sda", |s| s.text = "x".repeat(1000));
    let one = w.ledger.faults().next().unwrap().clone();
    let faults = (0..FAULTS_MAX).map(|n| {
        let mut fault = one.clone();
        fault.key.part = crate::parts::ids::PartId::new(&format!("disk/y{n}"));
        fault.last = std::iter::repeat_n(one.first.clone(), 8).collect();
        fault
    });
    let now = w.now;
    w.ledger.restore(now, faults.collect());
    assert!(all(&w) <= 1 << 20, "{}", all(&w));
}
