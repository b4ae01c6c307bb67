//! When to try again: pauses that grow, each drawn at random, so that ten
//! thousand agents that lost the same API server don't return together.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use super::cluster::ApiError;

/// The bound of the first pause.
const FIRST: Duration = Duration::from_secs(1);

/// The bound of all later ones: ten thousand agents then come back over a
/// minute, some 170 a second, and no one waits longer.
pub const LONGEST: Duration = Duration::from_secs(60);

/// The longest wait that a server's `Retry-After` can ask for.
const ASKED_MAX: Duration = Duration::from_secs(300);

/// A length of time between two, drawn at random. The standard library's
/// hash keys are random enough to spread a crowd.
pub fn between(low: Duration, high: Duration) -> Duration {
    let drawn = RandomState::new().build_hasher().finish() >> 11;
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit an f64")]
    let share = drawn as f64 / (1u64 << 53) as f64;
    low + high.saturating_sub(low).mul_f64(share)
}

/// The pauses after failures in a row.
#[derive(Debug)]
pub struct Backoff {
    bound: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { bound: FIRST }
    }
}

impl Backoff {
    /// All is well again.
    pub fn reset(&mut self) {
        self.bound = FIRST;
    }

    /// How long to wait after this failure.
    pub fn pause(&mut self, error: &ApiError) -> Duration {
        let bound = self.bound;
        self.bound = (bound * 2).min(LONGEST);
        // Never at once: a server that fails fast must not be hammered.
        let own = between(bound / 10, bound);
        match error {
            ApiError::Throttled { retry_after: Some(asked) } => {
                (*asked).min(ASKED_MAX) + own
            }
            _ => own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_differ() {
        let error = ApiError::Unreachable(String::new());
        let pauses = |_| {
            let mut backoff = Backoff::default();
            let all: Vec<Duration> =
                (0..12).map(|_| backoff.pause(&error)).collect();
            all
        };
        let all: Vec<Vec<Duration>> = (0..50).map(pauses).collect();
        for pauses in &all {
            assert!(pauses[0] <= FIRST && pauses[0] >= FIRST / 10);
            assert!(pauses.iter().all(|p| *p <= LONGEST));
        }
        let mut last: Vec<_> = all.iter().map(|p| p[11]).collect();
        last.sort();
        assert!(last[0] < LONGEST / 3 && last[49] > LONGEST * 2 / 3);
    }

    #[test]
    fn a_server_that_names_a_time_is_left_alone_for_it() {
        let asked = Some(Duration::from_secs(20));
        let error = ApiError::Throttled { retry_after: asked };
        assert!(Backoff::default().pause(&error) >= Duration::from_secs(20));
    }
}
