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
mod faults;
mod ipmi;
mod maker;
mod own;
mod sources;

use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use prometheus::{Encoder, Histogram, HistogramOpts, Registry, TextEncoder};

use super::counts::Shown as ClusterCounts;
use crate::ledger::Change;
use crate::ledger::fault::{Fault, FaultKey};
use crate::store;
pub use faults::FAULTS_MAX;
use faults::FaultMetrics;
use maker::{Bounded, CONSTANT, Maker, locked};
use own::{OwnMetrics, PatternMetrics};
pub use sources::SourceCounts;
use sources::SourceMetrics;

/// From a fast kmsg reader to a file that is looked at once a minute.
const DELAYS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 60.0,
];

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
    faults: FaultMetrics,
    changes: Bounded,
    matches: Bounded,
    delay: Histogram,
    sources: SourceMetrics,
    patterns: PatternMetrics,
    own: OwnMetrics,
    cluster: OnceLock<cluster::ClusterMetrics>,
    bmcs: OnceLock<ipmi::BmcMetrics>,
    /// One page at a time: what owners have counted is added as a
    /// difference.
    scraping: Mutex<()>,
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
            faults: FaultMetrics::new(&maker),
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
            sources: SourceMetrics::new(&maker),
            patterns: PatternMetrics::new(&maker),
            own: OwnMetrics::new(&maker),
            cluster: OnceLock::new(),
            bmcs: OnceLock::new(),
            scraping: Mutex::default(),
            registry: maker.0,
        }
    }

    /// Shows faults as they are now; `None`: one is forgotten.
    pub fn faults<'a>(
        &self,
        changed: impl IntoIterator<Item = (&'a FaultKey, Option<&'a Fault>)>,
    ) {
        self.faults.faults(changed);
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
        self.sources.source_up(source, up);
    }

    /// Forgets a source that will not be heard of again.
    pub fn source_gone(&self, source: &str) {
        self.sources.gone(source);
    }

    /// Notes the pattern set in force.
    pub fn pattern_set(&self, loaded: usize, hash: u64) {
        self.patterns.set(loaded, hash);
    }

    /// Notes which pattern files are in force as they are.
    pub fn pattern_files<'a>(
        &self,
        files: impl IntoIterator<Item = (&'a str, bool)>,
    ) {
        self.patterns.files(files);
    }

    /// Announces whether user programs' records are believed.
    pub fn accept_userspace(&self, accepted: bool) {
        self.sources.accept_userspace(accepted);
    }

    /// Shows BMCs from now on.
    pub fn bmcs(&self, board: crate::ipmi::Board) {
        let maker = Maker(self.registry.clone());
        self.bmcs.get_or_init(|| ipmi::BmcMetrics::new(&maker, board));
    }

    /// Notes how many messages waited for the ledger.
    pub fn queue_depth(&self, depth: usize) {
        self.own.queue_depth(depth);
    }

    /// Notes what the ledger counted, each by a word.
    pub fn ledger(&self, counts: &[(&'static str, u64)]) {
        self.own.ledger(counts);
    }

    /// The page, in the text format. What is shown is read one page after
    /// the other, so that none shows less than the one before.
    pub fn page(&self, read: impl FnOnce() -> Scrape) -> String {
        let _one_at_a_time = locked(&self.scraping);
        let scrape = read();
        self.sources.show(&scrape.sources, scrape.unexplained);
        self.own.show(&scrape.store, scrape.log_dropped);
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
}
