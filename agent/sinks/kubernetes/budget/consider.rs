//! One decision: may this node be taken out now?
//!
//! The Lease is considered first. Most of what denies stands on it, so a
//! budget that is spent costs one GET; the nodes are listed only when the
//! register leaves the question open.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::cluster::{Dated, Lease, Row};
use super::count::{Count, Standing, recent};
use super::limits::{LIMITS, Limits, Rate, Scope};
use super::reason::{Place, Reason};
use super::register::{self, Entry, FULL_BYTES, Record, State, is_before};
use crate::patterns::set::{Quarantine, Severity};
use crate::time::Timestamp;

/// What an agent asks.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// The node.
    pub node: &'a str,
    /// Its uid.
    pub uid: &'a str,
    /// The version that the patch will carry.
    pub resource_version: &'a str,
    /// What for.
    pub how: Quarantine,
    /// The worst fault's severity.
    pub severity: Severity,
    /// The worst fault's pattern.
    pub pattern: &'a str,
    /// The faults' ids.
    pub faults: &'a [String],
    /// Whether the node counts as out already, at this version.
    pub free: bool,
    /// Whether it belongs to the control plane.
    pub control_plane: bool,
    /// Whether the last grant is known to have come to nothing.
    pub unused: bool,
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Patch; no grant is needed, or it stands on the Lease already.
    Go,
    /// Write this entry, then patch.
    Grant(Box<Entry>),
    /// The node was read before its own grant was: read it again.
    Stale,
    /// The register leaves it open: list the nodes and ask again.
    List,
    /// No, for these reasons.
    Deny(Denial),
}

/// A no.
#[derive(Clone, Debug, PartialEq)]
pub struct Denial {
    /// Why.
    pub reasons: Vec<Reason>,
    /// The entry that should stand on the Lease, if it should be written.
    pub enter: Option<Box<Entry>>,
    /// Whether the node is entered as waiting: it then asks more often.
    pub entered: bool,
}

/// Decides. `rows`, if they are given, were listed after the Lease was read.
pub fn consider(
    lease: &Dated<Lease>,
    rows: Option<&[Arc<Row>]>,
    ask: &Ask<'_>,
) -> Verdict {
    let limits = lease.value.annotation(LIMITS);
    let limits = limits
        .ok_or_else(|| format!("there is no annotation {LIMITS}"))
        .and_then(Limits::parse);
    let limits = match limits {
        Ok(limits) => limits,
        Err(why) => return refuse(Reason::NoLimits(why)),
    };
    let stopped = if let Some(why) = &limits.pause {
        Some(Reason::Paused(why.clone()))
    } else {
        let stopped = ask.control_plane && !limits.control_plane;
        stopped.then_some(Reason::ControlPlane)
    };
    if stopped.is_none() && ask.free && ask.how != Quarantine::Evict {
        return Verdict::Go;
    }
    let records = register::records(&lease.value);
    let own = records.iter().filter_map(Record::entry);
    let own = own.into_iter().find(|e| e.node == ask.node);
    let case = Case {
        now: lease.date,
        lease: &lease.value,
        limits,
        records: &records,
        own,
        ask,
    };
    match stopped {
        // Entered like all who wait: a person looks for it there.
        Some(reason) if case.held().is_none() => case.deny(vec![reason], None),
        Some(reason) => refuse(reason),
        None => case.decide(rows),
    }
}

fn refuse(reason: Reason) -> Verdict {
    let reasons = vec![reason];
    Verdict::Deny(Denial { reasons, enter: None, entered: false })
}

/// Everything a decision looks at.
pub(super) struct Case<'a> {
    pub(super) now: Timestamp,
    pub(super) lease: &'a Lease,
    pub(super) limits: Limits,
    pub(super) records: &'a [Record],
    pub(super) own: Option<&'a Entry>,
    pub(super) ask: &'a Ask<'a>,
}

impl Case<'_> {
    fn decide(&self, rows: Option<&[Arc<Row>]>) -> Verdict {
        if let Some(held) = self.held() {
            return self.go_on(held);
        }
        let mut reasons = self.by_the_register();
        let Some(rows) = rows else {
            return match reasons.is_empty() {
                true => Verdict::List,
                false => self.deny(reasons, None),
            };
        };
        let count = Count::new(rows, self.records);
        let own_row = count.row(self.ask.node);
        let Some(row) = own_row.filter(|row| *row.uid == *self.ask.uid) else {
            return refuse(Reason::NotListed);
        };
        let pool = row.pool.as_deref();
        let mut room = BTreeMap::new();
        reasons.extend(self.by_the_count(&count, row, &mut room));
        reasons.dedup();
        match reasons.is_empty() {
            true => Verdict::Grant(Box::new(self.entry(State::Granted, pool))),
            false => self.deny(reasons, Some((pool, room))),
        }
    }

    /// The own grant, if its patch can still succeed. It is counted by
    /// everybody, so it must be neither doubted nor overwritten: the patch
    /// may be on its way.
    fn held(&self) -> Option<&Entry> {
        let version = self.ask.resource_version;
        self.own.filter(|own| {
            own.state == State::Granted
                && own.uid == self.ask.uid
                && (own.resource_version == version
                    || is_before(version, &own.resource_version))
        })
    }

    fn go_on(&self, held: &Entry) -> Verdict {
        if let Some(closed) = self.closed() {
            return refuse(closed);
        }
        let same = held.resource_version == self.ask.resource_version;
        let enough =
            self.ask.how != Quarantine::Evict || held.how == Quarantine::Evict;
        if same && enough {
            return Verdict::Go;
        }
        Verdict::Stale
    }

    fn closed(&self) -> Option<Reason> {
        let windows = &self.limits.windows;
        if windows.is_empty() || windows.iter().any(|w| w.is_open(self.now)) {
            return None;
        }
        let opens = windows.iter().filter_map(|w| w.opens(self.now)).min();
        Some(Reason::Closed { opens })
    }

    /// What the Lease alone says.
    fn by_the_register(&self) -> Vec<Reason> {
        let mut reasons: Vec<Reason> = self.closed().into_iter().collect();
        reasons.extend(self.correlated());
        let full = register::size(self.lease) > FULL_BYTES;
        if full && self.own.is_none() {
            reasons.push(Reason::RegisterFull);
        }
        if self.ask.free {
            return reasons;
        }
        let pool = self.own.and_then(|own| own.pool.clone());
        for place in places(pool.as_deref()) {
            let Some(scope) = self.scope(&place) else { continue };
            reasons.extend(self.too_fast(&place, scope, |_| false, 0));
        }
        reasons.extend(self.counted_lately());
        reasons
    }

    fn scope(&self, place: &Place) -> Option<&Scope> {
        match place {
            Place::Cluster => Some(&self.limits.cluster),
            Place::Pool(name) => self.limits.pool(name),
        }
    }

    /// The same pattern on many nodes at about the same time.
    fn correlated(&self) -> Option<Reason> {
        let rule = self.limits.correlation.as_ref()?;
        let pattern = self.ask.pattern;
        if rule.allow.iter().any(|allowed| allowed == pattern) {
            return None;
        }
        let others = self.records.iter().filter_map(Record::entry);
        let others = others
            .filter(|e| e.node != self.ask.node && e.pattern == pattern)
            .map(|e| e.since.0);
        let mut opened: Vec<Timestamp> = others.collect();
        opened.push(self.since());
        let latest = *opened.iter().max()?;
        let from = latest.minus(rule.within);
        let nodes = opened.iter().filter(|t| **t > from).count();
        let until = latest.plus(rule.defer);
        (nodes >= rule.nodes && self.now < until).then(|| Reason::Correlated {
            pattern: pattern.to_owned(),
            nodes,
            until,
        })
    }

    /// Too many new ones, `ahead` of whom wait.
    fn too_fast(
        &self,
        place: &Place,
        scope: &Scope,
        pending: impl Fn(&str) -> bool,
        ahead: usize,
    ) -> Option<Reason> {
        let rate: Rate = scope.new?;
        let (mut times, stalled) = recent(
            self.records,
            place,
            rate.within,
            self.now,
            self.ask.node,
            pending,
        );
        let from = self.now.minus(rate.within);
        times.extend(self.earlier().map(|i| i.0).filter(|t| *t > from));
        times.sort_unstable();
        let kept = self.kept(scope, rate.count);
        let taken = times.len() + stalled;
        let place = place.clone();
        if taken + kept >= rate.count {
            let leave = taken + kept + 1 - rate.count;
            let oldest = times.get(leave - 1);
            let until = oldest.map(|t| t.plus(rate.within));
            return Some(Reason::TooFast { place, rate, until });
        }
        (taken + kept + ahead >= rate.count)
            .then_some(Reason::Queued { place, ahead })
    }

    /// What the nodes say.
    fn by_the_count(
        &self,
        count: &Count<'_>,
        row: &Row,
        room: &mut BTreeMap<String, usize>,
    ) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if self.ask.how == Quarantine::Evict {
            let (limit, out) =
                (self.limits.evict, count.evicted(self.ask.node));
            if out >= limit {
                reasons.push(Reason::EvictSpent { limit, out });
            }
        }
        if self.ask.free {
            return reasons;
        }
        let pool = row.pool.as_deref();
        for place in places(pool) {
            let usual = Scope::default();
            let scope = self.scope(&place).unwrap_or(&usual);
            let standing = count.standing(
                &place,
                Some(self.ask.node),
                self.limits.control_plane,
            );
            let ahead = self.ahead(&place, pool);
            let limit = scope.limit(standing.total);
            let taken = standing.out + self.kept(scope, limit);
            room.insert(place.tag(), limit.saturating_sub(taken));
            reasons.extend(self.spent(&place, scope, standing, ahead));
            let last = match count.is_out(row) {
                true => standing.schedulable == 0,
                false => standing.schedulable <= 1,
            };
            if last && !scope.allow_last {
                reasons.push(Reason::Last(place.clone()));
            }
            let pending = |node: &str| count.is_pending(node);
            reasons.extend(self.too_fast(&place, scope, pending, ahead));
        }
        reasons
    }

    /// How much of a limit is not for a fault such as this.
    fn kept(&self, scope: &Scope, limit: usize) -> usize {
        match self.ask.severity {
            Severity::Fatal => 0,
            _ => scope.kept(limit),
        }
    }

    fn spent(
        &self,
        place: &Place,
        scope: &Scope,
        standing: Standing,
        ahead: usize,
    ) -> Option<Reason> {
        let limit = scope.limit(standing.total);
        let kept = self.kept(scope, limit);
        let (place, out) = (place.clone(), standing.out);
        if out >= limit {
            Some(Reason::Spent { place, limit, out })
        } else if out + kept >= limit {
            Some(Reason::Kept { place, limit, out, kept })
        } else {
            (out + kept + ahead >= limit)
                .then_some(Reason::Queued { place, ahead })
        }
    }
}

/// The places whose limits a node of `pool` is under.
pub(super) fn places(pool: Option<&str>) -> impl Iterator<Item = Place> {
    let pool = pool.map(|name| Place::Pool(name.to_owned()));
    std::iter::once(Place::Cluster).chain(pool)
}
