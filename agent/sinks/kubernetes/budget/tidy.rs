//! What becomes of a node's own entry once nothing is asked any more.

use std::time::Duration;

use super::super::cluster::{Dated, Lease, Row};
use super::count::is_pending;
use super::limits::{LIMITS, Limits};
use super::register::{self, Entry, Record, State};
use crate::patterns::set::Quarantine;
use crate::time::Timestamp;

/// What becomes of a node's own entry when nothing is asked any more: the
/// text to write, `None` to take it away; or no change at all.
#[derive(Clone, Debug, PartialEq)]
pub enum Tidy {
    /// It is as it should be, until then.
    Keep(Option<Timestamp>),
    /// Take it away.
    Remove,
    /// Write this.
    Write(Box<Entry>),
}

/// How often a patch that may be on its way is looked for.
const PENDING_AGAIN: Duration = Duration::from_secs(300);

/// What the own entry should become, the node read after the Lease as `row`.
pub fn tidy(lease: &Dated<Lease>, row: &Row) -> Tidy {
    let records = register::records(&lease.value);
    let own = records.iter().filter_map(Record::entry);
    let Some(own) = own.into_iter().find(|e| *e.node == *row.name) else {
        return Tidy::Keep(None);
    };
    let limits = lease.value.annotation(LIMITS).map(Limits::parse);
    let window = match limits {
        Some(Ok(limits)) => limits.longest_window(),
        _ => Duration::ZERO,
    };
    let kept_until = own.granted_at().next().map(|at| at.plus(window));
    let over = kept_until.is_none_or(|until| until <= lease.date);
    match own.state {
        State::Granted if row.marked != Quarantine::None => Tidy::Keep(None),
        // The patch may be on its way still.
        State::Granted if is_pending(own, row) => {
            Tidy::Keep(Some(lease.date.plus(PENDING_AGAIN)))
        }
        _ if over => Tidy::Remove,
        State::Released => Tidy::Keep(kept_until),
        State::Granted | State::Waiting => {
            let mut entry = own.clone();
            if own.state == State::Waiting {
                let Some(last) = entry.earlier.pop() else {
                    return Tidy::Remove;
                };
                entry.at = last;
            }
            entry.state = State::Released;
            entry.resource_version.clear();
            (entry.on, entry.counted) = (Vec::new(), None);
            entry.room.clear();
            Tidy::Write(Box::new(entry))
        }
    }
}
