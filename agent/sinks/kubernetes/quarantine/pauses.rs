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

/// How soon a node asks again that found no Lease or no limits on it;
/// doubled each time. Whoever makes the Lease anew is not kept waiting.
const ASK_NO_LIMITS: Duration = Duration::from_secs(2);

/// The longest such pause, before it is spread: a node that asks costs one
/// small GET.
const ASK_NO_LIMITS_MAX: Duration = Duration::from_secs(40);

/// The first pause after a write that lost a race for the Lease; doubled
/// each time.
const RACE_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause after lost races.
const RACE_PAUSE_MAX: Duration = Duration::from_secs(30);

/// The first pause after no answer; doubled each time.
const FAIL_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause after no answer, before it is spread: a server that
/// only writes failed on (etcd without its quorum) is found again within a
/// minute, as one that was away altogether.
const FAIL_PAUSE_MAX: Duration = Duration::from_secs(24);

/// The same after an answer that forbids.
const REFUSED_PAUSE: Duration = Duration::from_secs(120);

/// The longest wait that a server's `Retry-After` can ask for.
const ASKED_MAX: Duration = Duration::from_secs(300);

/// What went wrong lately, and some chance.
#[derive(Debug)]
pub(super) struct Pauses {
    chance: Chance,
    /// Lost races in a row.
    races: u32,
    /// Failures in a row.
    failures: u32,
    /// Looks in a row that found no limits.
    no_limits: u32,
}

impl Pauses {
    pub(super) fn new(seed: u64) -> Pauses {
        Pauses { chance: Chance(seed | 1), races: 0, failures: 0, no_limits: 0 }
    }

    /// A request was answered.
    pub(super) fn reset(&mut self) {
        self.races = 0;
        self.failures = 0;
        self.no_limits = 0;
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
        (self.races, self.failures) = (0, 0);
        let no_limits =
            |r: &Reason| matches!(r, Reason::NoLease | Reason::NoLimits(_));
        if denial.reasons.iter().any(no_limits) {
            let pause = doubled(ASK_NO_LIMITS, self.no_limits);
            self.no_limits += 1;
            return self.spread(pause.min(ASK_NO_LIMITS_MAX));
        }
        self.no_limits = 0;
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
        let pause = doubled(RACE_PAUSE, self.races);
        self.races += 1;
        self.spread(pause.min(RACE_PAUSE_MAX))
    }

    /// After no answer, or one that forbids.
    pub(super) fn failed(&mut self, error: &ApiError) -> Duration {
        let pause = doubled(FAIL_PAUSE, self.failures).min(FAIL_PAUSE_MAX);
        self.failures += 1;
        let (asked, pause) = match error {
            ApiError::Throttled { retry_after: Some(after) } => {
                ((*after).min(ASKED_MAX), pause)
            }
            error if error.is_refusal() => (Duration::ZERO, REFUSED_PAUSE),
            _ => (Duration::ZERO, pause),
        };
        asked + pause + self.spread(pause)
    }
}

/// A pause after so many before it.
fn doubled(pause: Duration, times: u32) -> Duration {
    pause * 2u32.saturating_pow(times.min(16))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(reasons: Vec<Reason>) -> Denial {
        Denial { reasons, enter: None, entered: false }
    }

    #[test]
    fn a_lease_that_is_made_anew_is_not_waited_for_beyond_a_minute() {
        let mut pauses = Pauses::new(7);
        let no_lease = denied(vec![Reason::NoLease]);
        let first = pauses.denied(&no_lease, None);
        assert!(first <= ASK_NO_LIMITS * 2, "{first:?}");
        let later: Vec<Duration> =
            (0..20).map(|_| pauses.denied(&no_lease, None)).collect();
        assert!(later.iter().all(|p| *p <= Duration::from_secs(60)));
        assert!(later[10..].iter().all(|p| *p >= ASK_NO_LIMITS_MAX / 2));
        // A denial that a Lease gives is asked about as slowly as ever.
        let paused = denied(vec![Reason::Paused("drill".into())]);
        assert!(pauses.denied(&paused, None) >= ASK_OTHERS / 2);
    }

    #[test]
    fn a_server_that_fails_for_hours_is_tried_every_minute() {
        let mut pauses = Pauses::new(7);
        let away = ApiError::Unreachable(String::new());
        let all: Vec<Duration> =
            (0..30).map(|_| pauses.failed(&away)).collect();
        assert!(all[0] <= FAIL_PAUSE * 3);
        assert!(all.iter().all(|p| *p <= Duration::from_secs(60)), "{all:?}");
        assert!(all[10..].iter().all(|p| *p >= FAIL_PAUSE_MAX));
        let retry_after = Some(Duration::from_secs(90));
        let busy = ApiError::Throttled { retry_after };
        assert!(pauses.failed(&busy) >= Duration::from_secs(90));
    }
}
