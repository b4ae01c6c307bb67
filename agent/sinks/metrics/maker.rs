//! Makes and registers metrics, and what all of them have in common: bounded
//! labels, and counters that follow what somebody else counts.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::{
    IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// Patterns that have series of their own: some hundred are shipped.
const PATTERNS_MAX: usize = 1024;

/// The label of what has no series of its own.
pub(super) const OVERFLOW: &str = "overflow";

/// Makes metrics and registers them; names and labels are constants of this
/// module, so registering can't fail.
pub(super) struct Maker(pub(super) Registry);

pub(super) const CONSTANT: &str =
    "metric names in this module are valid and differ";

impl Maker {
    pub(super) fn register(
        &self,
        metric: impl prometheus::core::Collector + 'static,
    ) {
        self.0.register(Box::new(metric)).expect(CONSTANT);
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        let metric = IntCounter::new(name, help).expect(CONSTANT);
        self.register(metric.clone());
        metric
    }

    pub(super) fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> IntCounterVec {
        let metric =
            IntCounterVec::new(Opts::new(name, help), labels).expect(CONSTANT);
        self.register(metric.clone());
        metric
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        let metric = IntGauge::new(name, help).expect(CONSTANT);
        self.register(metric.clone());
        metric
    }

    pub(super) fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> IntGaugeVec {
        let metric =
            IntGaugeVec::new(Opts::new(name, help), labels).expect(CONSTANT);
        self.register(metric.clone());
        metric
    }
}

/// A counter whose first label is a pattern.
#[derive(Debug)]
pub(super) struct Bounded {
    counters: IntCounterVec,
    known: Mutex<BTreeSet<String>>,
}

impl Bounded {
    pub(super) fn new(counters: IntCounterVec) -> Bounded {
        Bounded { counters, known: Mutex::default() }
    }

    pub(super) fn add(&self, pattern: &str, more: &[&str], count: u64) {
        let mut known = locked(&self.known);
        let pattern = if known.contains(pattern) {
            pattern
        } else if known.len() < PATTERNS_MAX {
            known.insert(pattern.to_owned());
            pattern
        } else {
            OVERFLOW
        };
        let labels: Vec<&str> =
            std::iter::once(pattern).chain(more.iter().copied()).collect();
        self.counters.with_label_values(&labels).inc_by(count);
    }
}

/// Brings a counter up to what its owner has counted.
pub(super) fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

/// A panic elsewhere doesn't make a counter wrong.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
