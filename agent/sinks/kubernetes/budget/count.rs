//! Who is out of service: the union of the nodes seen out and the nodes
//! granted, each once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::cluster::Row;
use super::reason::Place;
use super::register::{Entry, Record, State, is_before};
use crate::patterns::set::Quarantine;
use crate::time::Timestamp;

/// A list and the register, read one after the other.
#[derive(Debug)]
pub struct Count<'a> {
    rows: &'a [Arc<Row>],
    /// Grants that may still come true, by node.
    pending: BTreeMap<&'a str, Quarantine>,
}

/// How a place stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its nodes, but for retired ones.
    pub total: usize,
    /// Those out of service or granted.
    pub out: usize,
    /// Those that take work.
    pub schedulable: usize,
}

impl<'a> Count<'a> {
    /// Counts. `rows` must have been listed after `records` were read: a
    /// node is then seen at the version of its grant or at a later one.
    pub fn new(rows: &'a [Arc<Row>], records: &'a [Record]) -> Count<'a> {
        let by_name: BTreeMap<&str, &Row> =
            rows.iter().map(|row| (&*row.name, &**row)).collect();
        let pending = records.iter().filter_map(|record| {
            let row = by_name.get(record.node())?;
            let how = match record {
                Record::Entry(entry) if !is_pending(entry, row) => return None,
                Record::Entry(entry) => entry.how,
                Record::Unreadable(_) => Quarantine::Taint,
            };
            Some((record.node(), how))
        });
        Count { rows, pending: pending.collect() }
    }

    /// The row of a node.
    pub fn row(&self, name: &str) -> Option<&'a Row> {
        self.rows.iter().map(|row| &**row).find(|row| &*row.name == name)
    }

    /// Whether the node counts as out.
    pub fn is_out(&self, row: &Row) -> bool {
        row.is_out() || self.pending.contains_key(&*row.name)
    }

    /// Whether the node's grant may still come true.
    pub fn is_pending(&self, name: &str) -> bool {
        self.pending.contains_key(name)
    }

    /// The rows of a place, but for retired ones.
    pub fn members(&self, place: &Place) -> impl Iterator<Item = &'a Row> {
        let pool = match place {
            Place::Cluster => None,
            Place::Pool(name) => Some(name.clone()),
        };
        self.rows.iter().map(|row| &**row).filter(move |row| {
            let inside = match &pool {
                None => true,
                Some(name) => row.pool.as_deref() == Some(name),
            };
            inside && !row.retired
        })
    }

    /// How a place stands, the node `without` not counted as out. Nodes of
    /// the control plane take work only where `control_plane` says so.
    pub fn standing(
        &self,
        place: &Place,
        without: Option<&str>,
        control_plane: bool,
    ) -> Standing {
        let mut standing = Standing::default();
        for row in self.members(place) {
            standing.total += 1;
            let out = self.is_out(row);
            if out && Some(&*row.name) != without {
                standing.out += 1;
            }
            if !out && (control_plane || !row.control_plane) {
                standing.schedulable += 1;
            }
        }
        standing
    }

    /// How many nodes are evicted or granted to be, without one.
    pub fn evicted(&self, without: &str) -> usize {
        let evicted = |row: &&Arc<Row>| {
            row.marked == Quarantine::Evict
                || self.pending.get(&*row.name) == Some(&Quarantine::Evict)
        };
        let others = self.rows.iter().filter(|row| &*row.name != without);
        others.filter(evicted).count()
    }
}

/// Whether a grant may still come true, by a row that was listed after the
/// grant was read. This is the rule on which the budget stands.
pub fn is_pending(entry: &Entry, row: &Row) -> bool {
    if entry.state != State::Granted || *row.uid != *entry.uid {
        return false;
    }
    // Done: the row itself counts.
    if row.marked >= entry.how {
        return false;
    }
    // The patch carries this version. Once the node has moved on, the patch
    // can only be refused. A list that is older than the grant, which no
    // consistent list is, shows nothing.
    *row.resource_version == *entry.resource_version
        || is_before(&row.resource_version, &entry.resource_version)
}

/// The grants of a place that count as new: made within the window, or not
/// yet carried out however old (what a stalled agent will do is new when it
/// is done). The times of the former, oldest first, and how many the latter
/// are. The node `without` is left out.
pub fn recent(
    records: &[Record],
    place: &Place,
    within: Duration,
    now: Timestamp,
    without: &str,
    pending: impl Fn(&str) -> bool,
) -> (Vec<Timestamp>, usize) {
    let from = now.minus(within);
    let (mut times, mut stalled) = (Vec::new(), 0);
    for record in records.iter().filter(|r| r.node() != without) {
        let Some(entry) = record.entry() else {
            stalled += usize::from(pending(record.node()));
            continue;
        };
        let inside = match place {
            Place::Cluster => true,
            Place::Pool(name) => entry.pool.as_ref() == Some(name),
        };
        if !inside {
            continue;
        }
        let before = times.len();
        times.extend(entry.granted_at().filter(|t| *t > from));
        if times.len() == before && pending(&entry.node) {
            stalled += 1;
        }
    }
    times.sort_unstable();
    (times, stalled)
}
