//! The virtual clock of a replay, driven by the times of the lines.

use std::time::Duration;

use crate::sources::text::Time;
use crate::time::Timestamp;

/// A longer pause between two lines is a clock that was set (a machine whose
/// battery is empty boots in 1970), not a time that passed.
const STEP_FORWARD: Duration = Duration::from_secs(366 * 86_400);

/// Lines of several programs are a little out of order; when one is further
/// back than this, the clock was set back.
const STEP_BACK: Duration = Duration::from_secs(3600);

/// How the times of the lines are understood.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// What the wall clock read at this boot's start, as far as lines that
    /// count from it are concerned.
    base: Option<Timestamp>,
    /// Whether a line had a time.
    began: bool,
    /// Whether a line had the time of a wall clock.
    wall: bool,
}

/// What becomes of virtual time at a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It stays: the line has no time, or is a little late.
    Stay,
    /// It passes until the line's time.
    Pass,
    /// It jumps to the line's time and no timer runs: the log begins, the
    /// clock was set, the machine was off.
    Jump,
}

/// What a line's time means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When the line was written.
    pub time: Timestamp,
    /// What becomes of virtual time.
    pub then: Then,
}

impl Clock {
    /// Whether times count from the first boot, for want of better.
    pub fn is_relative(&self) -> bool {
        !self.wall
    }

    /// What the next line's time means when it is `now`.
    pub fn read(
        &mut self,
        time: Time,
        new_boot: bool,
        now: Timestamp,
    ) -> Moment {
        if new_boot {
            self.base = None;
        }
        let time = match time {
            Time::None => return Moment { time: now, then: Then::Stay },
            Time::Wall(wall) => {
                self.wall = true;
                wall
            }
            Time::Monotonic(us) => {
                let since = Duration::from_micros(us);
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
        let first = !self.began;
        self.began = true;
        let (ahead, back) = (time.since(now), now.since(time));
        let step = back > STEP_BACK || ahead > STEP_FORWARD;
        let then = if first || new_boot || step {
            Then::Jump
        } else if ahead.is_zero() {
            Then::Stay
        } else {
            Then::Pass
        };
        Moment { time, then }
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

    /// Reads lines one after the other; gives where virtual time stands, and
    /// what became of it at the last.
    fn after(lines: &[(Time, bool)]) -> (Timestamp, Then, bool) {
        let mut clock = Clock::default();
        let mut now = Timestamp(0);
        let mut then = Then::Stay;
        for (time, new_boot) in lines {
            let moment = clock.read(*time, *new_boot, now);
            then = moment.then;
            if then != Then::Stay {
                now = moment.time;
            }
        }
        (now, then, clock.is_relative())
    }

    #[test]
    fn time_passes_between_lines_and_not_before_the_first() {
        let (now, then, relative) = after(&[(wall(0), false)]);
        assert_eq!((now, then), (Timestamp(START), Then::Jump));
        assert!(!relative);
        let (now, then, _) = after(&[(wall(0), false), (wall(60), false)]);
        assert_eq!((now, then), (Timestamp(START + 60 * S), Then::Pass));
    }

    #[test]
    fn a_line_without_a_time_is_written_now() {
        let lines = [(wall(0), false), (Time::None, false)];
        assert_eq!(after(&lines), (Timestamp(START), Then::Stay, false));
    }

    #[test]
    fn lines_slightly_out_of_order_turn_nothing_back() {
        let lines = [(wall(0), false), (wall(10), false), (wall(9), false)];
        let (now, then, _) = after(&lines);
        assert_eq!((now, then), (Timestamp(START + 10 * S), Then::Stay));
    }

    #[test]
    fn a_clock_that_was_set_lets_no_timer_run() {
        let epoch = Time::Wall(Timestamp(1));
        let (now, then, _) = after(&[(epoch, false), (wall(0), false)]);
        assert_eq!((now, then), (Timestamp(START), Then::Jump));
        let lines = [(wall(0), false), (wall(-86_400), false)];
        let (now, then, _) = after(&lines);
        assert_eq!((now, then), (Timestamp(START - 86_400 * S), Then::Jump));
    }

    #[test]
    fn a_machine_that_was_off_lets_no_timer_run() {
        let (now, then, _) = after(&[(wall(0), false), (wall(86_400), true)]);
        assert_eq!((now, then), (Timestamp(START + 86_400 * S), Then::Jump));
    }

    #[test]
    fn seconds_since_boot_go_on_from_boot_to_boot() {
        let at = |s: u64| Time::Monotonic(s * 1_000_000);
        let lines =
            [(at(5), false), (at(100), false), (at(1), true), (at(30), false)];
        let (now, then, relative) = after(&lines);
        assert_eq!((now, then), (Timestamp(130 * S), Then::Pass));
        assert!(relative);
    }
}
