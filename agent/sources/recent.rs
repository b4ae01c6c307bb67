//! How much counters have grown of late: growth over a window that slides,
//! kept with the source's position, so that a restart forgets nothing. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::tally::Tally;
use crate::signal::Position;
use crate::time::Timestamp;

/// Into how many pieces a window is cut; growth is forgotten a piece at a
/// time.
const PIECES: u32 = 24;

/// Counters, and what they grew by within a window.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Recent {
    tally: Tally,
    /// By counter: when, and by how much.
    grown: BTreeMap<String, Vec<(Timestamp, u64)>>,
    #[serde(skip)]
    window: Duration,
    #[serde(skip)]
    changed: bool,
}

impl Recent {
    /// Goes on from `position`, if it is of the same boot; counters that
    /// outlive a boot have the boot "".
    pub fn resume(
        position: Option<&Position>,
        boot: &str,
        window: Duration,
    ) -> Recent {
        let kept = position.and_then(|p| serde_json::from_str(&p.0).ok());
        Recent::go_on(kept, boot, window)
    }

    /// Goes on from what was kept elsewhere.
    pub fn go_on(kept: Option<Recent>, boot: &str, window: Duration) -> Recent {
        match kept.filter(|kept| kept.tally.is_of(boot)) {
            Some(Recent { tally, grown, .. }) => {
                let tally = tally.resumed();
                Recent { tally, grown, window, changed: false }
            }
            None => Recent {
                tally: Tally::resume(None, boot),
                window,
                ..Recent::default()
            },
        }
    }

    /// Takes a counter's value as read at `now`; how much it has grown within
    /// the window. What it showed when it was first read may be of any age,
    /// and is not counted.
    pub fn read(&mut self, name: &str, value: u64, now: Timestamp) -> u64 {
        let grown = self.tally.read(name, value, now);
        let grown = grown.filter(|grown| {
            grown.within.is_some_and(|within| within <= self.window)
        });
        if let Some(grown) = grown {
            let all = self.grown.entry(name.to_owned()).or_default();
            let piece = self.window / PIECES;
            match all.last_mut().filter(|(at, _)| now.since(*at) < piece) {
                Some((_, by)) => *by = by.saturating_add(grown.by),
                None => all.push((now, grown.by)),
            }
            self.changed = true;
        }
        let Some(all) = self.grown.get_mut(name) else { return 0 };
        let before = all.len();
        all.retain(|(at, _)| now.since(*at) < self.window);
        self.changed |= all.len() != before;
        all.iter().fold(0, |sum: u64, (_, by)| sum.saturating_add(*by))
    }

    /// All counters were read at `now`; whether there is anything new to
    /// keep.
    pub fn settle(&mut self, now: Timestamp) -> bool {
        self.grown.retain(|_, all| !all.is_empty());
        let counted = self.tally.done(now).is_some();
        let changed = std::mem::take(&mut self.changed);
        counted || changed
    }

    /// All counters were read at `now`. The position to keep, if it says
    /// anything new.
    pub fn done(&mut self, now: Timestamp) -> Option<Position> {
        let new = self.settle(now).then(|| serde_json::to_string(self));
        new.and_then(Result::ok).map(Position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(seconds: i64) -> Timestamp {
        Timestamp(1_700_000_000_000_000 + seconds * 1_000_000)
    }

    #[test]
    fn growth_is_forgotten_after_the_window_and_kept_over_a_restart() {
        let mut recent = Recent::resume(None, "a", HOUR);
        assert_eq!(recent.read("cpu0", 100, at(0)), 0);
        recent.done(at(0));
        assert_eq!(recent.read("cpu0", 103, at(60)), 3);
        recent.done(at(60));
        assert_eq!(recent.read("cpu0", 104, at(1800)), 4);
        let kept = recent.done(at(1800));
        let mut recent = Recent::resume(kept.as_ref(), "a", HOUR);
        assert_eq!(recent.read("cpu0", 106, at(2400)), 6);
        recent.done(at(2400));
        assert_eq!(recent.read("cpu0", 106, at(3700)), 3);
        assert_eq!(recent.read("cpu0", 106, at(6100)), 0);
    }

    #[test]
    fn another_boot_and_a_long_absence_count_nothing() {
        let mut recent = Recent::resume(None, "a", HOUR);
        recent.read("cpu0", 100, at(0));
        let kept = recent.done(at(0));
        let mut other = Recent::resume(kept.as_ref(), "b", HOUR);
        assert_eq!(other.read("cpu0", 5, at(60)), 0);
        let mut late = Recent::resume(kept.as_ref(), "a", HOUR);
        assert_eq!(late.read("cpu0", 200, at(7200)), 0);
        late.done(at(7200));
        assert_eq!(late.read("cpu0", 201, at(7210)), 1);
    }
}
