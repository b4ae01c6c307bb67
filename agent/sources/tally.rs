//! Counters that others keep, and by how much they have grown. Pure.
//!
//! The kernel's error counters (EDAC, AER, throttling, disks) begin at zero
//! when their driver is loaded and are never asked to tell what is new. What
//! was last read is kept with the source's position, so that what a counter
//! grew by while the agent was down counts, and counts once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::signal::Position;
use crate::time::Timestamp;

/// How many counters are remembered. A server of 16 sockets has some
/// thousand; what is beyond is not counted.
pub const COUNTERS_MAX: usize = 16 * 1024;

/// How old the remembered time may grow while nothing changes: by so much the
/// span of what grew while the agent was down is known.
const FRESH: Duration = Duration::from_secs(3600);

/// What was last read of each counter, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The boot in which it was read; empty for counters that outlive one.
    boot: String,
    /// When that was.
    at: Timestamp,
    values: BTreeMap<String, u64>,
    /// When a position was last made.
    #[serde(skip)]
    kept: Timestamp,
    #[serde(skip)]
    changed: bool,
    #[serde(skip)]
    resumed: bool,
}

/// By how much a counter has grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grown {
    /// By how much.
    pub by: u64,
    /// Within how long; `None` if it was never read before in this boot: then
    /// all that is known is that it began at zero.
    pub within: Option<Duration>,
}

impl Tally {
    /// Goes on from `position`, if it is of the same boot.
    pub fn resume(position: Option<&Position>, boot: &str) -> Tally {
        let kept = position.and_then(|p| serde_json::from_str(&p.0).ok());
        let kept = kept.filter(|kept: &Tally| kept.boot == boot);
        match kept {
            Some(kept) => Tally { resumed: true, ..kept },
            None => Tally { boot: boot.to_owned(), ..Tally::default() },
        }
    }

    /// Whether it was read in that boot.
    pub fn is_of(&self, boot: &str) -> bool {
        self.boot == boot
    }

    /// One that was kept elsewhere goes on.
    pub fn resumed(self) -> Tally {
        Tally { resumed: true, ..self }
    }

    /// Takes a counter's value as read at `now`. A counter that has shrunk
    /// was begun anew, as when its driver is loaded again: what it shows has
    /// all come since. `None` if it has not grown, or is one too many.
    pub fn read(
        &mut self,
        name: &str,
        value: u64,
        now: Timestamp,
    ) -> Option<Grown> {
        let Some(last) = self.values.get_mut(name) else {
            // Nearly all counters stand at zero for ever: they are not kept.
            if value == 0 || self.values.len() >= COUNTERS_MAX {
                return None;
            }
            self.values.insert(name.to_owned(), value);
            self.changed = true;
            let within = self.resumed.then(|| now.since(self.at));
            return Some(Grown { by: value, within });
        };
        if *last == value {
            return None;
        }
        let by = if value < *last { value } else { value - *last };
        *last = value;
        self.changed = true;
        let within = Some(now.since(self.at));
        (by > 0).then_some(Grown { by, within })
    }

    /// The counters that did not stand at zero when last read.
    pub fn counting(&self) -> BTreeSet<String> {
        let counting = self.values.iter().filter(|(_, value)| **value > 0);
        counting.map(|(name, _)| name.clone()).collect()
    }

    /// All counters were read at `now`. The position to keep, if it says
    /// anything new.
    pub fn done(&mut self, now: Timestamp) -> Option<Position> {
        self.at = now;
        self.resumed = true;
        if !self.changed && now.since(self.kept) < FRESH {
            return None;
        }
        self.changed = false;
        self.kept = now;
        // Maps of text and numbers always serialize.
        serde_json::to_string(self).ok().map(Position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(1_700_000_000_000_000 + seconds * 1_000_000)
    }

    fn grown(by: u64, seconds: u64) -> Option<Grown> {
        Some(Grown { by, within: Some(Duration::from_secs(seconds)) })
    }

    #[test]
    fn what_a_counter_shows_at_first_began_at_an_unknown_time() {
        let mut tally = Tally::resume(None, "a");
        let first = Some(Grown { by: 7, within: None });
        assert_eq!(tally.read("ce", 7, at(0)), first);
        assert_eq!(tally.read("ue", 0, at(0)), None);
        assert!(tally.done(at(0)).is_some());
        assert_eq!(tally.read("ce", 7, at(60)), None);
        assert!(tally.done(at(60)).is_none());
        assert_eq!(tally.read("ce", 9, at(90)), grown(2, 30));
    }

    #[test]
    fn a_counter_that_shrinks_was_begun_anew() {
        let mut tally = Tally::resume(None, "a");
        tally.read("ce", 500, at(0));
        tally.done(at(0));
        assert_eq!(tally.read("ce", 3, at(10)), grown(3, 10));
        tally.done(at(10));
        assert_eq!(tally.read("ce", 0, at(20)), None);
        tally.done(at(20));
        assert_eq!(tally.read("ce", 1, at(30)), grown(1, 10));
    }

    #[test]
    fn a_counter_that_was_set_to_zero_counts_from_there() {
        let mut tally = Tally::resume(None, "a");
        tally.read("mc0 ce", 5, at(0));
        tally.read("mc1 ce", 5, at(0));
        tally.done(at(0));
        assert_eq!(tally.counting().len(), 2);
        assert_eq!(tally.read("mc0 ce", 0, at(5)), None);
        assert_eq!(tally.counting().len(), 1);
        assert!(tally.done(at(5)).is_some());
        assert_eq!(tally.read("mc0 ce", 6, at(10)), grown(6, 5));
        assert_eq!(tally.read("mc1 ce", 6, at(10)), grown(1, 5));
    }

    #[test]
    fn a_jump_while_the_agent_was_down_counts_once() {
        let mut tally = Tally::resume(None, "a");
        tally.read("ce", 5, at(0));
        let kept = tally.done(at(0));
        let mut tally = Tally::resume(kept.as_ref(), "a");
        assert_eq!(tally.read("ce", 25, at(600)), grown(20, 600));
        assert_eq!(tally.read("new", 2, at(600)), grown(2, 600));
        let kept = tally.done(at(600));
        let mut tally = Tally::resume(kept.as_ref(), "a");
        assert_eq!(tally.read("ce", 25, at(700)), None);
    }

    #[test]
    fn a_position_that_says_nothing_new_is_made_once_an_hour() {
        let mut tally = Tally::resume(None, "a");
        tally.read("ce", 5, at(0));
        assert!(tally.done(at(0)).is_some());
        let made = (1..=120).filter(|n| tally.done(at(n * 60)).is_some());
        assert_eq!(made.count(), 2);
    }

    #[test]
    fn another_boot_begins_at_zero() {
        let mut tally = Tally::resume(None, "a");
        tally.read("ce", 5, at(0));
        let kept = tally.done(at(0));
        let mut tally = Tally::resume(kept.as_ref(), "b");
        let first = Some(Grown { by: 6, within: None });
        assert_eq!(tally.read("ce", 6, at(600)), first);
    }

    #[test]
    fn a_damaged_position_is_none_and_counters_are_bounded() {
        let damaged = Position("{\"boot\":3".into());
        let mut tally = Tally::resume(Some(&damaged), "a");
        for n in 0..COUNTERS_MAX + 5 {
            tally.read(&n.to_string(), 1, at(0));
        }
        assert_eq!(tally.values.len(), COUNTERS_MAX);
        assert_eq!(tally.read("x", 1, at(0)), None);
    }
}
