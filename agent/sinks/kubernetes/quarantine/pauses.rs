//! How long to wait before asking again, so that ten thousand agents neither
//! ask in step nor for ever at full speed.

use std::time::Duration;

use super::super::budget::consider::Denial;
use super::super::budget::reason::Reason;
use super::super::cluster::ApiError;
use crate::time::Timestamp;

/// How soon a node asks again that is entered as waiting.
const ASK_ENTERED: Duration = Duration::from_secs(60);

/// How soon any other asks again: ten thousand of them make 33 GETs a
/// second.
const ASK_OTHERS: Duration = Duration::from_secs(300);

/// Waiting for a change window is no reason to sleep through a change of
/// the windows.
const ASK_MAX: Duration = Duration::from_secs(3600);

/// The first pause after a write that lost a race for the Lease; doubled
/// each time.
const RACE_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause after lost races.
const RACE_PAUSE_MAX: Duration = Duration::from_secs(30);

/// The first pause after no answer; doubled each time.
const FAIL_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause after no answer: the server is found again within five
/// minutes.
const FAIL_PAUSE_MAX: Duration = Duration::from_secs(300);

/// What went wrong lately, and some chance.
#[derive(Debug)]
pub(super) struct Pauses {
    chance: Chance,
    /// Lost races in a row.
    races: u32,
    /// Failures in a row.
    failures: u32,
}

impl Pauses {
    pub(super) fn new(seed: u64) -> Pauses {
        Pauses { chance: Chance(seed | 1), races: 0, failures: 0 }
    }

    /// A request was answered.
    pub(super) fn reset(&mut self) {
        self.races = 0;
        self.failures = 0;
    }

    /// Between half of `pause` and one and a half.
    pub(super) fn spread(&mut self, pause: Duration) -> Duration {
        self.chance.spread(pause)
    }

    /// After a denial that was given at `date`.
    pub(super) fn denied(
        &mut self,
        denial: &Denial,
        date: Option<Timestamp>,
    ) -> Duration {
        let usual = match denial.entered {
            true => ASK_ENTERED,
            false => ASK_OTHERS,
        };
        let until = denial.reasons.iter().filter_map(Reason::until).max();
        let known = until.zip(date).map(|(until, date)| until.since(date));
        let pause = known.unwrap_or_default().min(ASK_MAX);
        pause + self.spread(usual)
    }

    /// After a write that lost a race.
    pub(super) fn race(&mut self) -> Duration {
        let pause = RACE_PAUSE * 2u32.saturating_pow(self.races.min(16));
        self.races += 1;
        self.spread(pause.min(RACE_PAUSE_MAX))
    }

    /// After no answer, or one that forbids.
    pub(super) fn failed(&mut self, error: &ApiError) -> Duration {
        let pause = FAIL_PAUSE * 2u32.saturating_pow(self.failures.min(16));
        self.failures += 1;
        let pause = match error {
            ApiError::Throttled { retry_after: Some(after) } => {
                pause.max(*after)
            }
            error if error.is_refusal() => FAIL_PAUSE_MAX,
            _ => pause,
        };
        let pause = pause.min(FAIL_PAUSE_MAX);
        pause + self.spread(pause)
    }
}

/// Chance enough to keep ten thousand agents from asking in step
/// (xorshift64, Marsaglia 2003); nothing depends on its quality.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Between half of `pause` and one and a half.
    fn spread(&mut self, pause: Duration) -> Duration {
        let part = f64::from((self.next() >> 32) as u32) / f64::from(u32::MAX);
        pause.mul_f64(0.5 + part)
    }
}
