//! What is shown of the agent itself: its patterns, its store, its log, its
//! ledger.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::maker::{Maker, OVERFLOW, raise};
use crate::store;

/// Pattern files that have series of their own.
const FILES_MAX: usize = 256;

/// The series of pattern files and of the set in force.
#[derive(Debug)]
pub(super) struct PatternMetrics {
    file_valid: IntGaugeVec,
    loaded: IntGauge,
    set_info: IntGaugeVec,
}

impl PatternMetrics {
    pub(super) fn new(maker: &Maker) -> PatternMetrics {
        PatternMetrics {
            file_valid: maker.gauges(
                "faultline_pattern_file_valid",
                "Whether the pattern file is in force as it is now (1), or \
                 was rejected and its last good version is (0).",
                &["file"],
            ),
            loaded: maker
                .gauge("faultline_patterns_loaded", "Patterns in force."),
            set_info: maker.gauges(
                "faultline_pattern_set_info",
                "The pattern set in force, as a hash over all of it.",
                &["hash"],
            ),
        }
    }

    /// Notes the pattern set in force.
    pub(super) fn set(&self, loaded: usize, hash: u64) {
        let loaded = i64::try_from(loaded).unwrap_or(i64::MAX);
        self.loaded.set(loaded);
        self.set_info.reset();
        let hash = format!("{hash:016x}");
        self.set_info.with_label_values(&[hash.as_str()]).set(1);
    }

    /// Notes which pattern files are in force as they are.
    pub(super) fn files<'a>(
        &self,
        files: impl IntoIterator<Item = (&'a str, bool)>,
    ) {
        self.file_valid.reset();
        for (number, (file, valid)) in files.into_iter().enumerate() {
            let label = if number < FILES_MAX { file } else { OVERFLOW };
            let gauge = self.file_valid.with_label_values(&[label]);
            // One bad file among those without a series shows.
            let bad_before = number > FILES_MAX && gauge.get() == 0;
            gauge.set(i64::from(valid && !bad_before));
        }
    }
}

/// The series of store, log, queue and ledger.
#[derive(Debug)]
pub(super) struct OwnMetrics {
    durable: IntGauge,
    store_writes: IntCounter,
    store_errors: IntCounter,
    history_dropped: IntCounter,
    log_dropped: IntCounter,
    queue_depth: IntGauge,
    ledger: IntCounterVec,
}

impl OwnMetrics {
    pub(super) fn new(maker: &Maker) -> OwnMetrics {
        OwnMetrics {
            durable: maker.gauge(
                "faultline_state_durable",
                "Whether what the agent knows reaches the disk.",
            ),
            store_writes: maker.counter(
                "faultline_store_writes_total",
                "Transactions written to the store.",
            ),
            store_errors: maker.counter(
                "faultline_store_errors_total",
                "Openings and writes of the store that failed.",
            ),
            history_dropped: maker.counter(
                "faultline_history_dropped_total",
                "History entries dropped because the store couldn't be \
                 written.",
            ),
            log_dropped: maker.counter(
                "faultline_log_dropped_total",
                "Lines of the agent's own log dropped because nobody read \
                 them.",
            ),
            queue_depth: maker.gauge(
                "faultline_queue_depth",
                "Messages that waited behind the one that woke the ledger \
                 last; it looks at 32 at a time, and 64 have room.",
            ),
            ledger: maker.counters(
                "faultline_ledger_events_total",
                "What the ledger met: evicted (faults forgotten to make \
                 room), dropped-values (of same and distinct), refused (table \
                 full of raised faults), unplaced (suppressed lines of no \
                 part), unknown (signals of patterns not in force), notes \
                 (severity info).",
                &["event"],
            ),
        }
    }

    pub(super) fn queue_depth(&self, depth: usize) {
        self.queue_depth.set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    pub(super) fn ledger(&self, counts: &[(&'static str, u64)]) {
        for (event, count) in counts {
            raise(&self.ledger.with_label_values(&[*event]), *count);
        }
    }

    pub(super) fn show(&self, store: &store::Status, log_dropped: u64) {
        self.durable.set(i64::from(store.durable));
        raise(&self.store_writes, store.writes);
        raise(&self.store_errors, store.errors);
        raise(&self.history_dropped, store.dropped);
        raise(&self.log_dropped, log_dropped);
    }
}
