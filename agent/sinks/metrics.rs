//! The metrics, and all use of the `prometheus` crate.
//!
//! What the ledger's thread knows is set as it happens; what sources and the
//! store count for themselves is read when the page is asked for. No label
//! can grow without bound: past a limit, series go into one whose label says
//! `overflow`.
//!
//! `faultline_fault_active` has a series for each fault that was raised and
//! is still remembered: 1 while it is active or recovering, 0 once it is
//! explained, cleared (also on probation) or withdrawn. A fault that never
//! spent its tolerance has none, and a forgotten one loses it.

mod cluster;
mod ipmi;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use super::counts::Shown as ClusterCounts;
use crate::ledger::Change;
use crate::ledger::fault::{Fault, FaultKey};
use crate::store;
use crate::time::Timestamp;

/// Fault series at most; a node with more is broken as a whole, and the count
/// of the rest is in the overflow series.
pub const FAULTS_MAX: usize = 512;

/// Patterns that have series of their own: some hundred are shipped.
const PATTERNS_MAX: usize = 1024;

/// Sources, with each followed file, that have series of their own.
const SOURCES_MAX: usize = 128;

/// Pattern files that have series of their own.
const FILES_MAX: usize = 256;

/// The label of what has no series of its own.
const OVERFLOW: &str = "overflow";

/// From a fast kmsg reader to a file that is looked at once a minute.
const DELAYS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 60.0,
];

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

/// What is read when the page is asked for.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    /// The sources.
    pub sources: Vec<SourceCounts>,
    /// Kernel lines that no pattern takes.
    pub unexplained: u64,
    /// The store.
    pub store: store::Status,
    /// Log lines dropped.
    pub log_dropped: u64,
    /// What is counted of the cluster; none outside of one.
    pub cluster: Option<ClusterCounts>,
}

/// Every metric of the agent.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    fault_active: IntGaugeVec,
    part_info: IntGaugeVec,
    changes: Bounded,
    matches: Bounded,
    delay: Histogram,
    sources: SourceMetrics,
    patterns: PatternMetrics,
    own: OwnMetrics,
    cluster: OnceLock<cluster::ClusterMetrics>,
    bmcs: OnceLock<ipmi::BmcMetrics>,
    faults: Mutex<Faults>,
    /// Sources that can't exist here: no series, no alarm.
    absent: Mutex<BTreeSet<String>>,
    /// One page at a time: what owners have counted is added as a
    /// difference.
    scraping: Mutex<()>,
}

#[derive(Debug)]
struct SourceMetrics {
    up: IntGaugeVec,
    observations: IntCounterVec,
    lost: IntCounterVec,
    invalid: IntCounterVec,
    restarts: IntCounterVec,
    last_success: IntGaugeVec,
    accept_userspace: IntGauge,
    unexplained: IntCounter,
}

#[derive(Debug)]
struct PatternMetrics {
    file_valid: IntGaugeVec,
    loaded: IntGauge,
    set_info: IntGaugeVec,
}

#[derive(Debug)]
struct OwnMetrics {
    durable: IntGauge,
    store_writes: IntCounter,
    store_errors: IntCounter,
    history_dropped: IntCounter,
    log_dropped: IntCounter,
    queue_depth: IntGauge,
    ledger: IntCounterVec,
}

/// Makes metrics and registers them; names and labels are constants of this
/// file, so registering can't fail.
struct Maker(Registry);

const CONSTANT: &str = "metric names in this file are valid and differ";

impl Maker {
    fn register(&self, metric: impl prometheus::core::Collector + 'static) {
        self.0.register(Box::new(metric)).expect(CONSTANT);
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        let metric = IntCounter::new(name, help).expect(CONSTANT);
        self.register(metric.clone());
        metric
    }

    fn counters(
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

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        let metric = IntGauge::new(name, help).expect(CONSTANT);
        self.register(metric.clone());
        metric
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let metric =
            IntGaugeVec::new(Opts::new(name, help), labels).expect(CONSTANT);
        self.register(metric.clone());
        metric
    }

    fn sources(&self) -> SourceMetrics {
        let source = &["source"];
        SourceMetrics {
            up: self.gauges(
                "faultline_source_up",
                "Whether the source reads (1) or can't although it should \
                 (0); a source that can't exist here has no series.",
                source,
            ),
            observations: self.counters(
                "faultline_observations_total",
                "Observations made: records, lines, entries, readings.",
                source,
            ),
            lost: self.counters(
                "faultline_records_lost_total",
                "Records lost before they could be read, exactly; of a log file, \
                 each rotation that nobody could read any more.",
                source,
            ),
            invalid: self.counters(
                "faultline_source_invalid_total",
                "Records that could not be understood, and were skipped.",
                source,
            ),
            restarts: self.counters(
                "faultline_source_restarts_total",
                "How often the source failed and was started again.",
                source,
            ),
            last_success: self.gauges(
                "faultline_source_last_success_timestamp_seconds",
                "When the source last read to the end of what there was.",
                source,
            ),
            accept_userspace: self.gauge(
                "faultline_accept_userspace",
                "Whether records that user programs wrote to the kernel log \
                 are believed (1): for tests only.",
            ),
            unexplained: self.counter(
                "faultline_unexplained_total",
                "Kernel lines that look like trouble and that no pattern \
                 takes.",
            ),
        }
    }

    fn patterns(&self) -> PatternMetrics {
        PatternMetrics {
            file_valid: self.gauges(
                "faultline_pattern_file_valid",
                "Whether the pattern file is in force as it is now (1), or \
                 was rejected and its last good version is (0).",
                &["file"],
            ),
            loaded: self
                .gauge("faultline_patterns_loaded", "Patterns in force."),
            set_info: self.gauges(
                "faultline_pattern_set_info",
                "The pattern set in force, as a hash over all of it.",
                &["hash"],
            ),
        }
    }

    fn own(&self) -> OwnMetrics {
        OwnMetrics {
            durable: self.gauge(
                "faultline_state_durable",
                "Whether what the agent knows reaches the disk.",
            ),
            store_writes: self.counter(
                "faultline_store_writes_total",
                "Transactions written to the store.",
            ),
            store_errors: self.counter(
                "faultline_store_errors_total",
                "Openings and writes of the store that failed.",
            ),
            history_dropped: self.counter(
                "faultline_history_dropped_total",
                "History entries dropped because the store couldn't be \
                 written.",
            ),
            log_dropped: self.counter(
                "faultline_log_dropped_total",
                "Lines of the agent's own log dropped because nobody read \
                 them.",
            ),
            queue_depth: self.gauge(
                "faultline_queue_depth",
                "Messages that waited when the ledger last looked.",
            ),
            ledger: self.counters(
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
}

/// A counter whose first label is a pattern.
#[derive(Debug)]
struct Bounded {
    counters: IntCounterVec,
    known: Mutex<BTreeSet<String>>,
}

impl Bounded {
    fn new(counters: IntCounterVec) -> Bounded {
        Bounded { counters, known: Mutex::default() }
    }

    fn add(&self, pattern: &str, more: &[&str], count: u64) {
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

/// The faults that are shown, and how.
#[derive(Debug, Default)]
struct Faults {
    shown: BTreeMap<FaultKey, Shown>,
    with_series: usize,
    /// The parts that have an info series.
    parts: BTreeSet<[String; 4]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    /// pattern, component, part, severity.
    labels: [String; 4],
    raised: bool,
    has_series: bool,
    /// part, place, model, serial; where the census knows the part.
    part: Option<[String; 4]>,
}

impl Shown {
    fn of(fault: &Fault) -> Shown {
        let labels = [
            fault.key.pattern.to_string(),
            fault.component.to_string(),
            fault.name().to_string(),
            fault.severity.word().to_owned(),
        ];
        let raised = fault.phase.is_raised();
        let part = fault.about.as_ref().map(|about| {
            let text = |t: &Option<String>| t.clone().unwrap_or_default();
            let name = fault.name().to_string();
            let (place, model) = (text(&about.place), text(&about.model));
            [name, place, model, text(&about.serial)]
        });
        Shown { labels, raised, has_series: false, part }
    }

    fn labels(&self) -> [&str; 4] {
        self.labels.each_ref().map(String::as_str)
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// All metrics, at their beginning.
    pub fn new() -> Metrics {
        let maker = Maker(Registry::new());
        let build = maker.gauges(
            "faultline_build_info",
            "The release that runs.",
            &["version"],
        );
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let delay = HistogramOpts::new(
            "faultline_detection_delay_seconds",
            "From an observation of a fault, by its own time, to the ledger; \
             without back-log.",
        );
        let delay = Histogram::with_opts(delay.buckets(DELAYS.to_vec()))
            .expect(CONSTANT);
        maker.register(delay.clone());
        Metrics {
            fault_active: maker.gauges(
                "faultline_fault_active",
                "Faults that were raised and are remembered: 1 while active \
                 or recovering, 0 when over.",
                &["pattern", "component", "part", "severity"],
            ),
            part_info: maker.gauges(
                "faultline_part_info",
                "The parts that faults are on: where they sit and what they \
                 are.",
                &["part", "place", "model", "serial"],
            ),
            changes: Bounded::new(maker.counters(
                "faultline_fault_changes_total",
                "Changes of faults, by what they became.",
                &["pattern", "to"],
            )),
            matches: Bounded::new(maker.counters(
                "faultline_matches_total",
                "Observations that the pattern took.",
                &["pattern"],
            )),
            delay,
            sources: maker.sources(),
            patterns: maker.patterns(),
            own: maker.own(),
            cluster: OnceLock::new(),
            bmcs: OnceLock::new(),
            faults: Mutex::default(),
            absent: Mutex::default(),
            scraping: Mutex::default(),
            registry: maker.0,
        }
    }

    /// Shows a fault as it is now; `None`: it is forgotten.
    pub fn fault(&self, key: &FaultKey, fault: Option<&Fault>) {
        let mut faults = locked(&self.faults);
        let fault = fault.filter(|f| f.opened.is_some());
        let new = fault.map(Shown::of);
        self.show(&mut faults, key, new);
        self.show_overflow(&mut faults);
        self.show_parts(&mut faults);
    }

    /// One series for each part that a fault with a series is on: no more
    /// than there are of those.
    fn show_parts(&self, faults: &mut Faults) {
        let with_series = faults.shown.values().filter(|s| s.has_series);
        let parts: BTreeSet<[String; 4]> =
            with_series.filter_map(|s| s.part.clone()).collect();
        for old in faults.parts.difference(&parts) {
            let labels = old.each_ref().map(String::as_str);
            // Nothing is left of it either way.
            let _ = self.part_info.remove_label_values(&labels);
        }
        for new in parts.difference(&faults.parts) {
            let labels = new.each_ref().map(String::as_str);
            self.part_info.with_label_values(&labels).set(1);
        }
        faults.parts = parts;
    }

    fn show(&self, faults: &mut Faults, key: &FaultKey, new: Option<Shown>) {
        if let Some(old) = faults.shown.remove(key)
            && old.has_series
        {
            faults.with_series -= 1;
            if new.as_ref().is_none_or(|new| new.labels != old.labels) {
                // It may be gone already when two keys were cut to the same
                // labels; either way no series is left.
                let _ = self.fault_active.remove_label_values(&old.labels());
            }
        }
        let Some(mut new) = new else { return };
        if faults.with_series >= FAULTS_MAX && new.raised {
            self.make_room(faults);
        }
        if faults.with_series < FAULTS_MAX {
            self.give_series(&mut new);
            faults.with_series += 1;
        }
        faults.shown.insert(key.clone(), new);
    }

    /// A fault that is over gives its series up to one that is raised.
    fn make_room(&self, faults: &mut Faults) {
        let over = faults.shown.values_mut();
        let mut over = over.filter(|shown| shown.has_series && !shown.raised);
        if let Some(shown) = over.next() {
            shown.has_series = false;
            let _ = self.fault_active.remove_label_values(&shown.labels());
            faults.with_series -= 1;
        }
    }

    fn give_series(&self, shown: &mut Shown) {
        shown.has_series = true;
        let series = self.fault_active.with_label_values(&shown.labels());
        series.set(i64::from(shown.raised));
    }

    /// Gives free series to raised faults without one, and shows how many
    /// are left.
    fn show_overflow(&self, faults: &mut Faults) {
        let labels = [OVERFLOW; 4];
        if faults.shown.len() <= faults.with_series {
            // There is none unless there was an overflow.
            let _ = self.fault_active.remove_label_values(&labels);
            return;
        }
        let mut rest = 0;
        for shown in faults.shown.values_mut() {
            if shown.has_series || !shown.raised {
                continue;
            }
            if faults.with_series < FAULTS_MAX {
                self.give_series(shown);
                faults.with_series += 1;
            } else {
                rest += 1;
            }
        }
        self.fault_active.with_label_values(&labels).set(rest);
    }

    /// Counts a change.
    pub fn change(&self, change: &Change) {
        self.changes.add(&change.fault.key.pattern, &[change.kind.word()], 1);
    }

    /// Counts observations that a pattern took.
    pub fn matched(&self, pattern: &str, count: u64) {
        self.matches.add(pattern, &[], count);
    }

    /// Notes how long a live observation took to the ledger.
    pub fn delay(&self, delay: Duration) {
        self.delay.observe(delay.as_secs_f64());
    }

    /// Notes a source's health; `None`: it can't exist here.
    pub fn source_up(&self, source: &str, up: Option<bool>) {
        match up {
            Some(up) => {
                locked(&self.absent).remove(source);
                let source = self.bounded_source(source);
                let gauge = self.sources.up.with_label_values(&[source]);
                gauge.set(i64::from(up));
            }
            // Absent from the first, it never had a series.
            None => {
                locked(&self.absent).insert(source.to_owned());
                let _ = self.sources.up.remove_label_values(&[source]);
            }
        }
    }

    /// The source's name, or the overflow's when it is one too many.
    fn bounded_source<'a>(&self, source: &'a str) -> &'a str {
        use prometheus::core::Collector;
        let families = self.sources.up.collect();
        let metrics = families.first().map(|f| f.get_metric());
        let metrics = metrics.unwrap_or_default();
        let known = metrics
            .iter()
            .any(|m| m.get_label().iter().any(|l| l.value() == source));
        let room = known || metrics.len() < SOURCES_MAX;
        if room { source } else { OVERFLOW }
    }

    /// Notes the pattern set in force.
    pub fn pattern_set(&self, loaded: usize, hash: u64) {
        let loaded = i64::try_from(loaded).unwrap_or(i64::MAX);
        self.patterns.loaded.set(loaded);
        self.patterns.set_info.reset();
        let hash = format!("{hash:016x}");
        self.patterns.set_info.with_label_values(&[hash.as_str()]).set(1);
    }

    /// Notes which pattern files are in force as they are.
    pub fn pattern_files<'a>(
        &self,
        files: impl IntoIterator<Item = (&'a str, bool)>,
    ) {
        self.patterns.file_valid.reset();
        for (number, (file, valid)) in files.into_iter().enumerate() {
            let label = if number < FILES_MAX { file } else { OVERFLOW };
            let gauge = self.patterns.file_valid.with_label_values(&[label]);
            // One bad file among those without a series shows.
            let bad_before = number > FILES_MAX && gauge.get() == 0;
            gauge.set(i64::from(valid && !bad_before));
        }
    }

    /// Announces whether user programs' records are believed.
    pub fn accept_userspace(&self, accepted: bool) {
        self.sources.accept_userspace.set(i64::from(accepted));
    }

    /// Shows BMCs from now on.
    pub fn bmcs(&self, board: crate::ipmi::Board) {
        let maker = Maker(self.registry.clone());
        self.bmcs.get_or_init(|| ipmi::BmcMetrics::new(&maker, board));
    }

    /// Notes how many messages waited for the ledger.
    pub fn queue_depth(&self, depth: usize) {
        self.own.queue_depth.set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    /// Notes what the ledger counted, each by a word.
    pub fn ledger(&self, counts: &[(&'static str, u64)]) {
        for (event, count) in counts {
            raise(&self.own.ledger.with_label_values(&[*event]), *count);
        }
    }

    /// The page, in the text format.
    pub fn page(&self, scrape: &Scrape) -> String {
        let _one_at_a_time = locked(&self.scraping);
        let mut merged: BTreeMap<&str, SourceCounts> = BTreeMap::new();
        let absent = locked(&self.absent);
        for counts in &scrape.sources {
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
        raise(&self.sources.unexplained, scrape.unexplained);
        self.own.durable.set(i64::from(scrape.store.durable));
        raise(&self.own.store_writes, scrape.store.writes);
        raise(&self.own.store_errors, scrape.store.errors);
        raise(&self.own.history_dropped, scrape.store.dropped);
        raise(&self.own.log_dropped, scrape.log_dropped);
        if let Some(shown) = &scrape.cluster {
            let make = || {
                let maker = Maker(self.registry.clone());
                cluster::ClusterMetrics::new(&maker)
            };
            self.cluster.get_or_init(make).show(shown);
        }
        if let Some(bmcs) = self.bmcs.get() {
            bmcs.show();
        }
        let mut page = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut page)
            .expect("writing to a Vec cannot fail");
        String::from_utf8(page).expect("the encoder writes UTF-8")
    }

    fn show_source(&self, label: &str, counts: &SourceCounts) {
        let (all, label) = (&self.sources, &[label]);
        raise(&all.observations.with_label_values(label), counts.observations);
        raise(&all.lost.with_label_values(label), counts.lost);
        raise(&all.invalid.with_label_values(label), counts.invalid);
        raise(&all.restarts.with_label_values(label), counts.restarts);
        if counts.last_success.0 > 0 {
            let seconds = counts.last_success.0 / 1_000_000;
            all.last_success.with_label_values(label).set(seconds);
        }
    }
}

/// Brings a counter up to what its owner has counted.
fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

/// A panic elsewhere doesn't make a counter wrong.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
