//! Which bad states of which sensors stand, as the event log tells it: that
//! one of them ended does not say that the part is well while another holds.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::grade::{self, Grade};
use crate::decode::ipmi::sel::Event;
use crate::decode::ipmi::sensor::{SPECIFIC, THRESHOLD};
use crate::decode::ipmi::thresholds;

/// More sensors with a bad state at once than any machine has; others are
/// not remembered.
const SENSORS_MAX: usize = 256;

/// More states than a sensor has.
const STATES_MAX: usize = 15;

/// What stands, by the sensor's key as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Standing(BTreeMap<String, BTreeSet<String>>);

impl Standing {
    /// Takes an event; whether no bad state of its sensor stands after it.
    pub fn take(&mut self, event: &Event) -> bool {
        let (key, state) = (event.key.to_string(), event.state());
        let is_bad = thresholds::WORDS.contains(&state)
            || grade::of_state(event.kind, state) != Grade::Nominal;
        if event.holds() && is_exclusive(event.reading_type) {
            // It is in one state at a time, and now in this one.
            self.0.remove(&key);
        }
        if event.holds() && is_bad {
            if self.0.len() < SENSORS_MAX || self.0.contains_key(&key) {
                let states = self.0.entry(key).or_default();
                if states.len() < STATES_MAX {
                    states.insert(state.to_owned());
                }
            }
            return false;
        }
        let Some(states) = self.0.get_mut(&key) else { return true };
        states.remove(state);
        let none = states.is_empty();
        if none {
            self.0.remove(&key);
        }
        none
    }

    /// Whether nothing is known to stand.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Generic states are one of a row (IPMI 2.0 table 42-2); thresholds and the
/// states of a sensor's own type may hold together.
fn is_exclusive(reading_type: u8) -> bool {
    reading_type != THRESHOLD && reading_type < SPECIFIC
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::ipmi::kinds;
    use crate::decode::ipmi::sensor::Key;

    fn event(kind: u8, reading_type: u8, state: u8, asserted: bool) -> Event {
        Event {
            key: Key { owner: 0x20, number: 7, ..Key::default() },
            kind,
            reading_type,
            asserted,
            data: [state, 0xFF, 0xFF],
        }
    }

    #[test]
    fn one_state_that_ended_is_not_the_end_while_another_stands() {
        let cpu = |s, on| event(kinds::PROCESSOR, 0x6F, s, on);
        let mut standing = Standing::default();
        assert!(!standing.take(&cpu(0, true)));
        assert!(!standing.take(&cpu(1, true)));
        let text = serde_json::to_string(&standing).unwrap();
        let mut standing: Standing = serde_json::from_str(&text).unwrap();
        assert!(!standing.take(&cpu(1, false)), "IERR still holds");
        assert!(standing.take(&cpu(0, false)));
        assert!(standing.is_empty());
        // That it is there is no bad state.
        assert!(standing.take(&cpu(7, true)));
    }

    #[test]
    fn a_fan_that_crawls_has_not_recovered_from_standing_still() {
        let fan = |offset, on| event(kinds::FAN, THRESHOLD, offset, on);
        let mut standing = Standing::default();
        // Lower critical, lower non-recoverable, both going low.
        assert!(!standing.take(&fan(2, true)));
        assert!(!standing.take(&fan(4, true)));
        assert!(!standing.take(&fan(4, false)));
        assert!(standing.take(&fan(2, false)));
    }

    #[test]
    fn a_state_of_a_row_ends_the_one_before_it() {
        let row = |s, on| event(kinds::POWER_SUPPLY, 0x0B, s, on);
        let mut standing = Standing::default();
        assert!(!standing.take(&row(1, true)));
        assert!(standing.take(&row(0, true)), "fully redundant again");
    }
}
