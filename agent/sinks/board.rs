//! What the ledger's owner shows to sinks that follow the state of the node
//! and not each step: the latest notice wins, and what is to be told of a
//! change is kept in the store until it was. Neither ever makes the ledger's
//! thread wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::ledger::desired::Desired;
use crate::ledger::fault::Fault;
use crate::ledger::{Change, Ledger};
use crate::observation::Source;
use crate::patterns::set::{PatternSet, Quarantine, Severity, Stage};
use crate::signal::{Health, SourceId};
use crate::sinks::counts::Counts;
#[cfg(feature = "kubernetes")]
use crate::sinks::kubernetes::events::Tale;
#[cfg(feature = "kubernetes")]
use crate::sinks::kubernetes::quarantine::Want;
use crate::sinks::record::Record;
use crate::store::Pending;
use crate::time::Timestamp;

/// How often new evidence of a fatal fault is shown: somebody who took the
/// quarantine off learns within this time that the fault goes on.
const EVIDENCE: Duration = Duration::from_secs(10);

/// The condition types there can be here, each with the sources that its
/// patterns take.
pub type Groups = BTreeMap<Arc<str>, BTreeSet<Source>>;

/// The state of the node at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notice {
    /// What the faults make of the node.
    pub desired: Desired,
    /// The faults that hold.
    pub faults: Vec<Named>,
    /// The quarantine that they ask for.
    #[cfg(feature = "kubernetes")]
    pub want: Option<Want>,
    /// The condition types.
    pub groups: Arc<Groups>,
    /// Each source's health; `None` until it has told.
    pub health: BTreeMap<SourceId, Option<Health>>,
    /// Whether the stored faults are known and every source has been tried:
    /// before that, what is not there is no news.
    pub complete: bool,
    /// The hash of the pattern set in force.
    pub patterns: u64,
}

/// By what people name a fault, and how bad it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its id.
    pub id: String,
    /// Its pattern.
    pub pattern: Arc<str>,
    /// What people call its part.
    pub part: String,
    /// Its component group.
    pub component: Arc<str>,
    /// Its condition type.
    pub condition: Arc<str>,
    /// How bad it is.
    pub severity: Severity,
    /// Since when it holds.
    pub opened: Option<Timestamp>,
    /// Whether the API server may be told of it.
    pub told: bool,
}

/// The condition types of a pattern set in an agent of this mode.
pub fn groups(set: &PatternSet, mode: Stage) -> Groups {
    let mut groups = Groups::new();
    for pattern in set.patterns.values() {
        let told = pattern.stage.min(mode) >= Stage::Report;
        if told && !pattern.benign && pattern.severity > Severity::Info {
            let sources = groups.entry(pattern.condition.clone()).or_default();
            sources.insert(pattern.source);
        }
    }
    groups
}

/// The ledger owner's side.
#[derive(Debug)]
pub struct Board {
    notice: watch::Sender<Arc<Notice>>,
    groups: Arc<Groups>,
    mode: Stage,
    /// Whether something changed since the last notice.
    stale: bool,
    /// Whether all that was to be waited for is there.
    complete: bool,
    /// When a fatal fault was last seen, as it was shown.
    fatal_seen: Timestamp,
    #[cfg_attr(
        not(feature = "kubernetes"),
        expect(dead_code, reason = "there is nobody to tell")
    )]
    counts: Arc<Counts>,
}

/// A sink's side.
#[derive(Debug)]
pub struct Reader {
    /// The latest notice.
    pub notice: watch::Receiver<Arc<Notice>>,
}

impl Board {
    /// A board and its reader.
    pub fn new(mode: Stage, counts: Arc<Counts>) -> (Board, Reader) {
        let (notice, notices) = watch::channel(Arc::default());
        let board = Board {
            notice,
            groups: Arc::default(),
            mode,
            stale: true,
            complete: false,
            fatal_seen: Timestamp::default(),
            counts,
        };
        (board, Reader { notice: notices })
    }

    /// Takes a change; what is to be told of it goes into `record`, and with
    /// the change to the disk.
    #[cfg_attr(
        not(feature = "kubernetes"),
        expect(unused_variables, reason = "there is nobody to tell")
    )]
    pub fn change(
        &mut self,
        change: &Change,
        record: &Record,
        pending: &mut Pending,
    ) {
        self.stale = true;
        #[cfg(feature = "kubernetes")]
        if change.fault.stage >= Stage::Report
            && let Some(tale) = Tale::of(change)
            && record.add(&tale, pending)
        {
            self.counts.events_dropped(1);
        }
    }

    /// A row of the ledger changed: new evidence of a fatal fault is news,
    /// though nothing else about it is.
    pub fn evidence(&mut self, fault: &Fault) {
        let late = self.fatal_seen.plus(EVIDENCE);
        self.stale |= fault.severity == Severity::Fatal
            && fault.quarantine > Quarantine::None
            && fault.last_seen >= late;
    }

    /// The next notice may differ from the last.
    pub fn stale(&mut self) {
        self.stale = true;
    }

    /// Whether the stored faults are known and every source was tried.
    pub fn complete(&mut self, complete: bool) {
        self.stale |= complete != self.complete;
        self.complete = complete;
    }

    /// Takes another pattern set.
    pub fn patterns(&mut self, set: &PatternSet) {
        self.groups = Arc::new(groups(set, self.mode));
        self.stale = true;
    }

    /// Shows how things are, if that may have changed.
    pub fn show(
        &mut self,
        ledger: &Ledger,
        health: &BTreeMap<SourceId, Option<Health>>,
    ) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let desired = crate::ledger::desired::desired(ledger.faults());
        #[cfg(feature = "kubernetes")]
        let want = Want::of(&desired, ledger.faults());
        #[cfg(feature = "kubernetes")]
        {
            let seen = want.as_ref().and_then(|want| want.fatal_seen);
            self.fatal_seen = seen.unwrap_or_default();
        }
        let named = |fault: &Fault| Named {
            id: fault.id(),
            pattern: Arc::clone(&fault.key.pattern),
            part: fault.name().to_string(),
            component: Arc::clone(&fault.component),
            condition: Arc::clone(&fault.condition),
            severity: fault.severity,
            opened: fault.opened,
            told: fault.stage >= Stage::Report,
        };
        let holding = ledger.faults().filter(|f| f.phase.is_raised());
        let notice = Notice {
            desired,
            faults: holding.map(named).collect(),
            #[cfg(feature = "kubernetes")]
            want,
            groups: Arc::clone(&self.groups),
            health: health.clone(),
            complete: self.complete,
            patterns: ledger.patterns().hash,
        };
        self.notice.send_if_modified(|shown| {
            let differs = **shown != notice;
            if differs {
                *shown = Arc::new(notice);
            }
            differs
        });
    }
}
