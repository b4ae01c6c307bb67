//! The virtual clock of a replay, driven by the times of the lines.

use std::time::Duration;

use crate::sources::text::Time;
use crate::time::{Now, Timestamp};

/// A longer pause between two lines is a clock that was set (a machine whose
/// battery is empty boots in 1970), not a time that passed.
const STEP_FORWARD: Duration = Duration::from_secs(366 * 86_400);

/// Lines of several programs are a little out of order; when one is further
/// back than this, the clock was set back.
const STEP_BACK: Duration = Duration::from_secs(3600);

/// Where virtual time stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    now: Now,
    /// What the wall clock read at this boot's start, as far as lines that
    /// count from it are concerned.
    base: Option<Timestamp>,
    /// Whether a line had a time.
    began: bool,
    /// Whether a line had the time of a wall clock.
    wall: bool,
}

/// What a line's time means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When the line was written.
    pub time: Timestamp,
    /// Where virtual time goes; timers run until then.
    pub until: Now,
    /// Where it stands after that; differs from `until` by steps in which
    /// no timer runs: a clock that was set, a machine that was off.
    pub then: Now,
}

impl Clock {
    /// Where it stands.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Lets it stand elsewhere.
    pub fn set(&mut self, now: Now) {
        self.now = now;
    }

    /// Whether times count from the first boot, for want of better.
    pub fn is_relative(&self) -> bool {
        !self.wall
    }

    /// What the next line's time means.
    pub fn read(&mut self, time: Time, new_boot: bool) -> Moment {
        if new_boot {
            self.base = None;
        }
        let wall = match time {
            Time::None => self.now.wall,
            Time::Wall(wall) => {
                self.wall = true;
                wall
            }
            Time::Monotonic(us) => {
                let since = Duration::from_micros(us);
                let now = self.now.wall;
                // At the very first line virtual time begins with the boot;
                // how long a machine was off before a later boot is unknown.
                let base = match (self.began, new_boot) {
                    (false, _) => Timestamp(0),
                    (true, true) => now,
                    (true, false) => now.minus(since),
                };
                self.base.get_or_insert(base).plus(since)
            }
        };
        let first = !self.began && time != Time::None;
        self.began |= time != Time::None;
        self.moment(wall, first || new_boot)
    }

    fn moment(&self, wall: Timestamp, step: bool) -> Moment {
        let now = self.now;
        let ahead = wall.since(now.wall);
        let back = now.wall.since(wall);
        let jump = Now { wall, boot: now.boot };
        let (until, then) = if ahead.is_zero() && back <= STEP_BACK {
            (now, now)
        } else if step || !back.is_zero() || ahead > STEP_FORWARD {
            (now, jump)
        } else {
            (now.plus(ahead), now.plus(ahead))
        };
        Moment { time: wall, until, then }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;
    const START: i64 = 1_700_000_000 * S;

    fn wall(seconds: i64) -> Time {
        Time::Wall(Timestamp(START + seconds * S))
    }

    fn go(clock: &mut Clock, time: Time, new_boot: bool) -> Moment {
        let moment = clock.read(time, new_boot);
        clock.set(moment.then);
        moment
    }

    #[test]
    fn time_passes_between_lines_and_not_before_the_first() {
        let mut clock = Clock::default();
        go(&mut clock, wall(0), false);
        assert_eq!(clock.now().boot.0, 0);
        go(&mut clock, wall(60), false);
        assert_eq!(clock.now().boot.0, 60_000_000);
        assert!(!clock.is_relative());
    }

    #[test]
    fn a_line_without_a_time_is_written_now() {
        let mut clock = Clock::default();
        go(&mut clock, wall(0), false);
        let moment = go(&mut clock, Time::None, false);
        assert_eq!(moment.time, Timestamp(START));
        assert_eq!(clock.now().boot.0, 0);
    }

    #[test]
    fn lines_slightly_out_of_order_keep_their_time_and_turn_nothing_back() {
        let mut clock = Clock::default();
        go(&mut clock, wall(0), false);
        go(&mut clock, wall(10), false);
        let moment = go(&mut clock, wall(9), false);
        assert_eq!(moment.time, Timestamp(START + 9 * S));
        assert_eq!(clock.now().wall, Timestamp(START + 10 * S));
    }

    #[test]
    fn a_clock_that_was_set_lets_no_timer_run() {
        let mut clock = Clock::default();
        go(&mut clock, Time::Wall(Timestamp(0)), false);
        go(&mut clock, wall(0), false);
        assert_eq!(clock.now().boot.0, 0);
        assert_eq!(clock.now().wall, Timestamp(START));
        go(&mut clock, wall(-86_400), false);
        assert_eq!(clock.now().boot.0, 0);
        assert_eq!(clock.now().wall, Timestamp(START - 86_400 * S));
    }

    #[test]
    fn a_machine_that_was_off_lets_no_timer_run() {
        let mut clock = Clock::default();
        go(&mut clock, wall(0), false);
        let moment = go(&mut clock, wall(86_400), true);
        assert_eq!(moment.until.boot, moment.then.boot);
        assert_eq!(clock.now().wall, Timestamp(START + 86_400 * S));
    }

    #[test]
    fn seconds_since_boot_go_on_from_boot_to_boot() {
        let mut clock = Clock::default();
        let at = |s: u64| Time::Monotonic(s * 1_000_000);
        assert_eq!(go(&mut clock, at(5), false).time, Timestamp(5 * S));
        go(&mut clock, at(100), false);
        assert_eq!(clock.now().boot.0, 95_000_000);
        let moment = go(&mut clock, at(0), true);
        assert_eq!(moment.time, Timestamp(100 * S));
        go(&mut clock, at(30), false);
        assert_eq!(clock.now().wall, Timestamp(130 * S));
        assert_eq!(clock.now().boot.0, 125_000_000);
        assert!(clock.is_relative());
    }
}
