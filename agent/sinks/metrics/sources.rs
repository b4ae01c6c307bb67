//! What is shown of sources: whether they read, and what they have counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::maker::{Maker, OVERFLOW, locked, raise};
use crate::time::Timestamp;

/// Sources, with each followed file, that have series of their own.
const SOURCES_MAX: usize = 128;

/// What a source counts for itself.
#[derive(Clone, Debug, Default)]
pub struct SourceCounts {
    /// Its name.
    pub id: String,
    /// Observations made.
    pub observations: u64,
    /// Records lost before they could be read.
    pub lost: u64,
    /// Records that could not be understood.
    pub invalid: u64,
    /// How often it was started again.
    pub restarts: u64,
    /// When it last read to the end of what there was.
    pub last_success: Timestamp,
}

/// The series of sources.
#[derive(Debug)]
pub(super) struct SourceMetrics {
    up: IntGaugeVec,
    observations: IntCounterVec,
    lost: IntCounterVec,
    invalid: IntCounterVec,
    restarts: IntCounterVec,
    last_success: IntGaugeVec,
    accept_userspace: IntGauge,
    unexplained: IntCounter,
    /// Sources that can't exist here: no series, no alarm.
    absent: Mutex<BTreeSet<String>>,
    /// Those of no series of their own, and whether they read: together they
    /// do if all of them do.
    crowd: Mutex<BTreeMap<String, bool>>,
}

impl SourceMetrics {
    pub(super) fn new(maker: &Maker) -> SourceMetrics {
        let source = &["source"];
        SourceMetrics {
            up: maker.gauges(
                "faultline_source_up",
                "Whether the source reads (1) or can't although it should \
                 (0); a source that can't exist here has no series.",
                source,
            ),
            observations: maker.counters(
                "faultline_observations_total",
                "Observations made: records, lines, entries, readings.",
                source,
            ),
            lost: maker.counters(
                "faultline_records_lost_total",
                "Records lost before they could be read, exactly; of a log file, \
                 each rotation that nobody could read any more.",
                source,
            ),
            invalid: maker.counters(
                "faultline_source_invalid_total",
                "Records that could not be understood, and were skipped.",
                source,
            ),
            restarts: maker.counters(
                "faultline_source_restarts_total",
                "How often the source failed and was started again.",
                source,
            ),
            last_success: maker.gauges(
                "faultline_source_last_success_timestamp_seconds",
                "When the source last read to the end of what there was.",
                source,
            ),
            accept_userspace: maker.gauge(
                "faultline_accept_userspace",
                "Whether records that user programs wrote to the kernel log \
                 are believed (1): for tests only.",
            ),
            unexplained: maker.counter(
                "faultline_unexplained_total",
                "Kernel lines that look like trouble and that no pattern \
                 takes.",
            ),
            absent: Mutex::default(),
            crowd: Mutex::default(),
        }
    }

    /// Notes a source's health; `None`: it can't exist here.
    pub(super) fn source_up(&self, source: &str, up: Option<bool>) {
        match up {
            Some(up) => {
                locked(&self.absent).remove(source);
                let label = self.bounded_source(source);
                if label == OVERFLOW {
                    locked(&self.crowd).insert(source.to_owned(), up);
                    self.show_crowd();
                } else {
                    let gauge = self.up.with_label_values(&[label]);
                    gauge.set(i64::from(up));
                }
            }
            // Absent from the first, it never had a series.
            None => {
                locked(&self.absent).insert(source.to_owned());
                let _ = self.up.remove_label_values(&[source]);
                self.leave_crowd(source);
            }
        }
    }

    fn show_crowd(&self) {
        let crowd = locked(&self.crowd);
        if crowd.is_empty() {
            let _ = self.up.remove_label_values(&[OVERFLOW]);
            return;
        }
        let all = crowd.values().all(|up| *up);
        self.up.with_label_values(&[OVERFLOW]).set(i64::from(all));
    }

    fn leave_crowd(&self, source: &str) {
        let was_in = locked(&self.crowd).remove(source).is_some();
        if was_in {
            self.show_crowd();
        }
    }

    /// Forgets a source that will not be heard of again: its series would
    /// alarm, and grow without end where files have dates in their names.
    pub(super) fn gone(&self, source: &str) {
        locked(&self.absent).remove(source);
        let label = &[source];
        // What has no series has none to lose.
        let _ = self.up.remove_label_values(label);
        self.leave_crowd(source);
        let _ = self.last_success.remove_label_values(label);
        for counters in
            [&self.observations, &self.lost, &self.invalid, &self.restarts]
        {
            let _ = counters.remove_label_values(label);
        }
    }

    /// The source's name, or the overflow's when it is one too many.
    fn bounded_source<'a>(&self, source: &'a str) -> &'a str {
        use prometheus::core::Collector;
        let families = self.up.collect();
        let metrics = families.first().map(|f| f.get_metric());
        let metrics = metrics.unwrap_or_default();
        let known = metrics
            .iter()
            .any(|m| m.get_label().iter().any(|l| l.value() == source));
        let room = known || metrics.len() < SOURCES_MAX;
        if room { source } else { OVERFLOW }
    }

    /// Announces whether user programs' records are believed.
    pub(super) fn accept_userspace(&self, accepted: bool) {
        self.accept_userspace.set(i64::from(accepted));
    }

    /// Shows what sources have counted, and what kernel lines nothing takes.
    pub(super) fn show(&self, sources: &[SourceCounts], unexplained: u64) {
        let mut merged: BTreeMap<&str, SourceCounts> = BTreeMap::new();
        let absent = locked(&self.absent);
        for counts in sources {
            if counts.observations == 0 && absent.contains(&counts.id) {
                continue;
            }
            let room = merged.len() < SOURCES_MAX;
            let label = if room { counts.id.as_str() } else { OVERFLOW };
            let sum = merged.entry(label).or_default();
            sum.observations += counts.observations;
            sum.lost += counts.lost;
            sum.invalid += counts.invalid;
            sum.restarts += counts.restarts;
            sum.last_success = sum.last_success.max(counts.last_success);
        }
        for (label, sum) in merged {
            self.show_source(label, &sum);
        }
        raise(&self.unexplained, unexplained);
    }

    fn show_source(&self, label: &str, counts: &SourceCounts) {
        let label = &[label];
        raise(&self.observations.with_label_values(label), counts.observations);
        raise(&self.lost.with_label_values(label), counts.lost);
        raise(&self.invalid.with_label_values(label), counts.invalid);
        raise(&self.restarts.with_label_values(label), counts.restarts);
        if counts.last_success.0 > 0 {
            let seconds = counts.last_success.0 / 1_000_000;
            self.last_success.with_label_values(label).set(seconds);
        }
    }
}
