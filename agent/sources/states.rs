//! What the state sources have in common: they look at everything there is,
//! and tell the ledger what of it has changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::observation::Observation;
use crate::parts::ids::PartId;
use crate::patterns::matcher::Matcher;
use crate::signal::{Event, Signal, Truth};

/// Of each pattern and part, whether it holds.
type States = BTreeMap<(Arc<str>, PartId), (Signal, Truth)>;

/// How the patterns find everything there is, at one moment.
#[derive(Debug, Default)]
pub struct Found {
    states: States,
    /// Observations made.
    pub observations: u64,
}

impl Found {
    /// Holds one observation against the patterns. Several may be about one
    /// part (a filesystem mounted in many places): what holds in one of them
    /// holds of the part, and what is unknown in one is not false.
    pub fn look(&mut self, matcher: &Matcher, observation: &Observation<'_>) {
        self.observations += 1;
        let mut events = Vec::new();
        matcher.observe_state(observation, &mut events);
        for event in events {
            let Event::State(signal, truth) = event else { continue };
            let key = (Arc::clone(&signal.pattern), signal.part.clone());
            let before = self.states.get(&key).map(|(_, truth)| rank(*truth));
            if before < Some(rank(truth)) {
                self.states.insert(key, (signal, truth));
            }
        }
    }
}

fn rank(truth: Truth) -> u8 {
    match truth {
        Truth::False => 0,
        Truth::Unknown => 1,
        Truth::True => 2,
    }
}

/// What still holds is told again when what people read of it changed (one
/// more member lost, another name), but not with every tenth of a degree: in
/// a cluster each time may be a write to the Node.
const AGAIN: Duration = Duration::from_secs(300);

/// What was told.
#[derive(Debug, Default)]
pub struct Told(States);

impl Told {
    /// What is new or other than was told, or, where another pattern set is
    /// in force, all of it `anew`. What is there no more (or named by no
    /// pattern any more) is unknown, not well: taking a thing away is no
    /// repair.
    pub fn changes(&mut self, found: Found, anew: bool) -> Vec<Event> {
        let mut found = found.states;
        let mut events = Vec::new();
        for (key, (signal, _)) in &self.0 {
            if !found.contains_key(key) {
                events.push(Event::State(signal.clone(), Truth::Unknown));
            }
        }
        for (key, (signal, truth)) in &mut found {
            let before = self.0.remove(key);
            match before {
                Some((told, of)) if of == *truth && !anew => {
                    if !reads_otherwise(&told, signal) {
                        *signal = told;
                        continue;
                    }
                    if *truth == Truth::True {
                        events.push(Event::State(signal.clone(), *truth));
                    }
                }
                _ => events.push(Event::State(signal.clone(), *truth)),
            }
            if *truth != Truth::True {
                // Nearly all are well and stay so; what they read was told.
                signal.captures = BTreeMap::new();
                signal.text = String::new();
            }
        }
        self.0 = found;
        events
    }
}

/// Whether what holds now is to be told in other words than last.
fn reads_otherwise(told: &Signal, now: &Signal) -> bool {
    told.captures != now.captures && now.time.since(told.time) >= AGAIN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn reading(part: &str, truth: Truth) -> Found {
        let signal = Signal::opening("fs-readonly", part, Timestamp(0));
        let key = (Arc::clone(&signal.pattern), signal.part.clone());
        let states = States::from([(key, (signal, truth))]);
        Found { states, observations: 1 }
    }

    fn truths(events: &[Event]) -> Vec<Truth> {
        let truth = |event: &Event| match event {
            Event::State(_, truth) => *truth,
            other => panic!("{other:?}"),
        };
        events.iter().map(truth).collect()
    }

    #[test]
    fn only_what_has_changed_is_told_and_what_is_gone_is_unknown() {
        let mut told = Told::default();
        let healthy = || reading("fs/sda1", Truth::False);
        let first = told.changes(healthy(), false);
        assert_eq!(truths(&first), [Truth::False]);
        assert!(told.changes(healthy(), false).is_empty());
        let ill = reading("fs/sda1", Truth::True);
        let failed = told.changes(ill, false);
        assert_eq!(truths(&failed), [Truth::True]);
        let gone = told.changes(Found::default(), false);
        assert_eq!(truths(&gone), [Truth::Unknown]);
        assert!(told.changes(Found::default(), false).is_empty());
        let back = told.changes(healthy(), false);
        assert_eq!(truths(&back), [Truth::False]);
    }

    #[test]
    fn what_holds_is_told_again_in_other_words_but_not_all_the_time() {
        let now = |missing: &str, s: i64| {
            let mut found = reading("raid/md6", Truth::True);
            for (signal, _) in found.states.values_mut() {
                signal.time = Timestamp(s * 1_000_000);
                let missing = ("missing".to_owned(), missing.to_owned());
                signal.captures = BTreeMap::from([missing]);
            }
            found
        };
        let mut told = Told::default();
        assert_eq!(told.changes(now("1", 0), false).len(), 1);
        assert!(told.changes(now("1", 600), false).is_empty());
        let changed = told.changes(now("2", 900), false);
        assert_eq!(truths(&changed), [Truth::True]);
        assert!(told.changes(now("1", 1000), false).is_empty());
        assert!(told.changes(now("2", 1100), false).is_empty());
        assert_eq!(told.changes(now("3", 1200), false).len(), 1);
    }

    #[test]
    fn another_pattern_set_is_told_everything_and_what_it_no_longer_names() {
        let mut told = Told::default();
        let old = || reading("fs/sda1", Truth::True);
        told.changes(old(), false);
        assert_eq!(truths(&told.changes(old(), true)), [Truth::True]);
        let renamed = reading("disk/sda1", Truth::True);
        let events = told.changes(renamed, true);
        assert_eq!(truths(&events), [Truth::Unknown, Truth::True]);
    }
}
