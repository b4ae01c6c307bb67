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

impl SourceCounts {
    fn all(&self) -> [u64; 4] {
        [self.observations, self.lost, self.invalid, self.restarts]
    }
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
    /// Those that have series of their own, first come.
    own: Mutex<BTreeSet<String>>,
    /// What was shown of each: its observations, losses, invalid records and
    /// restarts.
    shown: Mutex<BTreeMap<String, [u64; 4]>>,
    /// Those that went while a page may have been made: what that has
    /// collected of them is not shown any more.
    left: Mutex<BTreeSet<String>>,
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
            own: Mutex::default(),
            shown: Mutex::default(),
            left: Mutex::default(),
            crowd: Mutex::default(),
        }
    }

    /// Notes a source's health; `None`: it can't exist here.
    pub(super) fn source_up(&self, source: &str, up: Option<bool>) {
        match up {
            Some(up) => {
                locked(&self.absent).remove(source);
                locked(&self.left).remove(source);
                let label = self.bounded_source(source);
                if label == OVERFLOW {
                    locked(&self.crowd).insert(source.to_owned(), up);
                    self.show_crowd();
                } else {
                    self.leave_crowd(source);
                    let gauge = self.up.with_label_values(&[label]);
                    gauge.set(i64::from(up));
                }
            }
            // Absent from the first, it never had a series.
            None => {
                locked(&self.absent).insert(source.to_owned());
                locked(&self.own).remove(source);
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
        let mut left = locked(&self.left);
        if left.len() < SOURCES_MAX {
            left.insert(source.to_owned());
        }
        drop(left);
        // One that comes back counts from nothing.
        locked(&self.shown).remove(source);
        locked(&self.own).remove(source);
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
        let mut own = locked(&self.own);
        if own.contains(source) {
            return source;
        }
        if own.len() >= SOURCES_MAX {
            return OVERFLOW;
        }
        own.insert(source.to_owned());
        source
    }

    /// Announces whether user programs' records are believed.
    pub(super) fn accept_userspace(&self, accepted: bool) {
        self.accept_userspace.set(i64::from(accepted));
    }

    /// Shows what sources have counted, and what kernel lines nothing takes.
    /// What they have counted must not be older than the last call.
    pub(super) fn show(&self, sources: &[SourceCounts], unexplained: u64) {
        let mut shown = locked(&self.shown);
        let (absent, mut left) = (locked(&self.absent), locked(&self.left));
        let mut before = std::mem::take(&mut *shown);
        let mut latest: BTreeMap<&str, Timestamp> = BTreeMap::new();
        for counts in sources {
            let is_absent =
                counts.observations == 0 && absent.contains(&counts.id);
            if is_absent || left.contains(&counts.id) {
                continue;
            }
            let label = self.bounded_source(&counts.id);
            let now = counts.all();
            let before = before.remove(&counts.id).unwrap_or_default();
            let counters =
                [&self.observations, &self.lost, &self.invalid, &self.restarts];
            for ((counters, now), before) in
                counters.iter().zip(now).zip(before)
            {
                // A source that came back counts from nothing.
                let more = now.checked_sub(before).unwrap_or(now);
                counters.with_label_values(&[label]).inc_by(more);
            }
            shown.insert(counts.id.clone(), now);
            let last = latest.entry(label).or_default();
            *last = (*last).max(counts.last_success);
        }
        left.clear();
        for (label, last) in latest {
            if last.0 > 0 {
                let gauge = self.last_success.with_label_values(&[label]);
                gauge.set(last.0 / 1_000_000);
            }
        }
        raise(&self.unexplained, unexplained);
    }
}
