//! The budget in words: what may be out, who is, since when and why, and who
//! waits for what. For people and for JSON; nothing decides by it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::super::cluster::{Dated, Lease, Row};
use super::super::quarantine::mark::Mark;
use super::count::{Count, recent};
use super::limits::{LIMITS, Limits, Scope};
use super::reason::Place;
use super::register::{self, Entry, Record, State};
use crate::patterns::set::Quarantine;

/// The budget at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explain {
    /// When, by the server's clock.
    pub at: String,
    /// What keeps everything from being quarantined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// The cluster, then its pools by name.
    pub places: Vec<PlaceView>,
    /// The nodes that are out, by name.
    pub out: Vec<OutView>,
    /// The nodes that wait, the worst first.
    pub waiting: Vec<WaitView>,
    /// Nodes that are gone and left their entry.
    pub gone: Vec<String>,
    /// How full the register is, in percent.
    pub register_percent: usize,
    /// The largest entries, at most three.
    pub register_largest: Vec<LargeView>,
}

/// An entry by its size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LargeView {
    /// The annotation's name: `NODE/faultline`.
    pub entry: String,
    /// The length of its text.
    pub bytes: usize,
}

/// One place and its limits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlaceView {
    /// `the cluster` or `pool NAME`.
    pub place: String,
    /// Its nodes, without retired ones.
    pub nodes: usize,
    /// Those that are out or granted.
    pub out: usize,
    /// How many may be.
    pub limit: usize,
    /// Of these, kept for fatal faults.
    pub kept: usize,
    /// New ones in the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<usize>,
    /// The limit of new ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
}

/// One node that is out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutView {
    /// The node.
    pub node: String,
    /// Its pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Why it counts.
    pub why: Vec<String>,
    /// When it was granted or marked; what others did has no time in the
    /// list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The fault that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// One node that waits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WaitView {
    /// The node.
    pub node: String,
    /// Its pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The fault that asks.
    pub fault: String,
    /// Since when.
    pub since: String,
    /// When it last asked.
    pub asked: String,
    /// What for.
    pub on: Vec<String>,
}

/// Explains. `rows` must have been listed after the Lease was read.
pub fn explain(lease: &Dated<Lease>, rows: &[Arc<Row>]) -> Explain {
    let text = lease.value.annotation(LIMITS);
    let limits = text
        .ok_or_else(|| format!("there is no annotation {LIMITS}"))
        .and_then(Limits::parse);
    let records = register::records(&lease.value);
    let count = Count::new(rows, &records);
    let known: BTreeSet<&str> = rows.iter().map(|r| &*r.name).collect();
    let gone = records.iter().map(Record::node);
    let gone = gone.filter(|node| !known.contains(node)).map(str::to_owned);
    let mut waiting: Vec<&Entry> = records
        .iter()
        .filter_map(Record::entry)
        .filter(|e| e.state == State::Waiting && known.contains(&*e.node))
        .collect();
    waiting.sort_by(|a, b| a.rank().cmp(&b.rank()));
    Explain {
        at: lease.date.to_string(),
        stopped: stopped(lease, &limits),
        places: match &limits {
            Ok(limits) => places(lease, limits, &records, &count, rows),
            Err(_) => Vec::new(),
        },
        out: rows
            .iter()
            .filter(|row| !row.retired && count.is_out(row))
            .map(|row| out(row, &count, &records))
            .collect(),
        waiting: waiting.into_iter().map(wait).collect(),
        gone: gone.collect(),
        register_percent: register::size(&lease.value) * 100
            / register::FULL_BYTES,
        register_largest: largest(&lease.value),
    }
}

/// Who fills the register: nobody may, and if somebody does, this is who.
fn largest(lease: &Lease) -> Vec<LargeView> {
    let all = lease.annotations().filter(|(key, _)| *key != LIMITS);
    let mut all: Vec<LargeView> = all
        .map(|(key, text)| LargeView {
            entry: key.to_owned(),
            bytes: text.len(),
        })
        .collect();
    all.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.entry.cmp(&b.entry)));
    all.truncate(3);
    all
}

fn stopped(
    lease: &Dated<Lease>,
    limits: &Result<Limits, String>,
) -> Option<String> {
    let limits = match limits {
        Ok(limits) => limits,
        Err(why) => return Some(format!("the limits can't be used: {why}")),
    };
    if let Some(why) = &limits.pause {
        return Some(format!("paused: {why}"));
    }
    let windows = &limits.windows;
    let closed =
        !windows.is_empty() && !windows.iter().any(|w| w.is_open(lease.date));
    closed.then(|| {
        let opens = windows.iter().filter_map(|w| w.opens(lease.date)).min();
        let opens = opens.map_or("never".to_owned(), |t| t.to_string());
        format!("no change window is open; the next opens {opens}")
    })
}

fn places(
    lease: &Dated<Lease>,
    limits: &Limits,
    records: &[Record],
    count: &Count<'_>,
    rows: &[Arc<Row>],
) -> Vec<PlaceView> {
    let pools: BTreeSet<&str> =
        rows.iter().filter_map(|row| row.pool.as_deref()).collect();
    let pools = pools.into_iter().filter_map(|name| {
        Some((Place::Pool(name.to_owned()), limits.pool(name)?))
    });
    let cluster = (Place::Cluster, &limits.cluster);
    let view = |(place, scope): (Place, &Scope)| {
        let standing = count.standing(&place, None, limits.control_plane);
        let limit = scope.limit(standing.total);
        let new = scope.new.map(|rate| {
            let pending = |node: &str| count.is_pending(node);
            let (times, stalled) =
                recent(records, &place, rate.within, lease.date, "", pending);
            times.len() + stalled
        });
        PlaceView {
            place: place.to_string(),
            nodes: standing.total,
            out: standing.out,
            limit,
            kept: scope.kept(limit),
            new,
            rate: scope.new.map(|rate| rate.to_string()),
        }
    };
    std::iter::once(cluster).chain(pools).map(view).collect()
}

fn out(row: &Row, count: &Count<'_>, records: &[Record]) -> OutView {
    let entry = records.iter().find(|r| r.node() == &*row.name);
    let entry = entry.and_then(Record::entry);
    let entry = entry.filter(|e| e.state == State::Granted);
    let mut why = Vec::new();
    if row.marked != Quarantine::None {
        why.push(format!("quarantined ({})", row.marked.word()));
    } else if count.is_pending(&row.name) {
        why.push("granted".to_owned());
    }
    if row.cordoned {
        why.push("cordoned".to_owned());
    }
    if !row.ready {
        why.push("not ready".to_owned());
    }
    // A mark that needed no grant tells of itself on its Node alone.
    let mark = row.note.as_deref();
    let mark = mark.and_then(|text| serde_json::from_str::<Mark>(text).ok());
    let (since, fault) = match (entry, mark) {
        (Some(e), _) => (Some(e.at.0.to_string()), Some(e.words())),
        (None, Some(mark)) => (Some(mark.since), Some(mark.faults.join(", "))),
        (None, None) => (None, None),
    };
    let pool = row.pool.as_deref().map(str::to_owned);
    OutView { node: row.name.to_string(), pool, why, since, fault }
}

fn wait(entry: &Entry) -> WaitView {
    WaitView {
        node: entry.node.clone(),
        pool: entry.pool.clone(),
        fault: entry.words(),
        since: entry.since.0.to_string(),
        asked: entry.at.0.to_string(),
        on: entry.on.clone(),
    }
}
