//! The queue: who waits, who is before whom, and what a node enters on the
//! Lease while it waits.

use std::collections::BTreeMap;
use std::time::Duration;

use super::consider::{Case, Denial, Verdict, places};
use super::reason::{Place, Reason};
use super::register::{
    self, CROWDED_BYTES, EARLIER_MAX, Entry, FAULTS_MAX, Instant, Record, State,
};
use crate::time::Timestamp;

/// How long a count by another agent is believed where it found no room. It
/// only ever denies, so being late with the news is all it can do.
const COUNT_FRESH: Duration = Duration::from_secs(60);

/// How long a node that waits is believed to wait: three times as long as it
/// takes to say so again, so one that died holds nobody up for long.
const WAITING_FRESH: Duration = Duration::from_secs(360);

/// How often an entry that waits is written again: the few that are entered
/// ask every minute, and write every other time.
const WAITING_AGAIN: Duration = Duration::from_secs(120);

/// How many nodes are entered as waiting. The worst are what a person wants
/// to see, and all that order needs.
const WAITING_MAX: usize = 32;

impl Case<'_> {
    /// Since when this node asks: as its entry says, if that is about the
    /// same.
    pub(super) fn since(&self) -> Timestamp {
        let same = |own: &&Entry| {
            own.uid == self.ask.uid
                && own.pattern == self.ask.pattern
                && own.state != State::Released
        };
        self.own.filter(same).map_or(self.now, |own| own.since.0)
    }

    /// What another agent counted lately, if it leaves no room for this one.
    /// Room for faults that are worse is at least as large.
    pub(super) fn counted_lately(&self) -> Option<Reason> {
        let pool = self.own.and_then(|own| own.pool.as_deref());
        let from = self.now.minus(COUNT_FRESH);
        let lately = |other: &&Entry| {
            other.counted.is_some_and(|at| at.0 >= from)
                && other.severity >= self.ask.severity
        };
        for other in self.others_waiting().filter(lately) {
            let at = other.counted?.0;
            for place in places(pool) {
                let Some(room) = other.room.get(&place.tag()) else { continue };
                if self.ahead(&place, pool) >= *room {
                    let room = *room;
                    return Some(Reason::CountedLately { place, room, at });
                }
            }
        }
        None
    }

    /// The others that wait and have said so lately.
    pub(super) fn others_waiting(&self) -> impl Iterator<Item = &Entry> {
        let from = self.now.minus(WAITING_FRESH);
        self.records.iter().filter_map(Record::entry).filter(move |e| {
            e.state == State::Waiting
                && e.node != self.ask.node
                && e.at.0 > from
        })
    }

    /// How many wait before this node for room in a place. One that waits
    /// for something else too would not take the room, so it holds nobody up.
    pub(super) fn ahead(&self, place: &Place, pool: Option<&str>) -> usize {
        let mine = self.entry(State::Waiting, pool);
        let waits = |other: &&Entry| {
            let inside = match place {
                Place::Cluster => true,
                Place::Pool(name) => other.pool.as_ref() == Some(name),
            };
            let only = other.on.iter().all(|tag| {
                let queued = tag.strip_prefix("queue:");
                let tag = queued.or(tag.strip_prefix("rate:")).unwrap_or(tag);
                tag == "cluster"
                    || tag.strip_prefix("pool:") == pool && pool.is_some()
            });
            inside && only && other.rank() < mine.rank()
        };
        self.others_waiting().filter(waits).count()
    }

    /// The no, with what should stand on the Lease. `counted` is the own pool
    /// and the room found, if the nodes were counted.
    pub(super) fn deny(
        &self,
        reasons: Vec<Reason>,
        counted: Option<(Option<&str>, BTreeMap<String, usize>)>,
    ) -> Verdict {
        let known = self.own.and_then(|own| own.pool.as_deref());
        let fresh = counted.is_some();
        let (pool, at, room) = match (counted, self.own) {
            (Some((pool, room)), _) => (pool, Some(Instant(self.now)), room),
            (None, Some(own)) => (known, own.counted, own.room.clone()),
            (None, None) => (known, None, BTreeMap::new()),
        };
        let mut entry = self.entry(State::Waiting, pool);
        (entry.counted, entry.room) = (at, room);
        entry.on = reasons.iter().map(Reason::tag).collect();
        entry.on.sort_unstable();
        entry.on.dedup();
        let own = self.own.filter(|own| own.state == State::Waiting);
        let ahead = self.others_waiting().filter(|e| e.rank() < entry.rank());
        let room = ahead.count() < WAITING_MAX
            && (own.is_some()
                || self.others_waiting().count() < 2 * WAITING_MAX)
            && register::size(self.lease) < CROWDED_BYTES;
        let news = own.is_none_or(|own| {
            own.on != entry.on
                || (&own.uid, &own.pattern, own.severity, own.how)
                    != (&entry.uid, &entry.pattern, entry.severity, entry.how)
                || own.at.0 <= self.now.minus(WAITING_AGAIN)
                || (fresh
                    && own.counted.is_none_or(|at| {
                        at.0 <= self.now.minus(COUNT_FRESH / 2)
                    }))
        });
        let entered = room || own.is_some();
        let enter = (room && news).then(|| Box::new(entry));
        Verdict::Deny(Denial { reasons, enter, entered })
    }

    /// Earlier grants of this node that the rate still counts.
    pub(super) fn earlier(&self) -> impl Iterator<Item = Instant> {
        let from = self.now.minus(self.limits.longest_window());
        let own = self.own;
        let last = own.filter(|own| match own.state {
            State::Released => true,
            // Whether it came to something is unknown after a crash: count.
            State::Granted => !self.ask.unused,
            State::Waiting => false,
        });
        let before = own.into_iter().flat_map(|own| own.earlier.clone());
        before
            .chain(last.map(|own| own.at))
            .filter(move |instant| instant.0 > from)
    }

    pub(super) fn entry(&self, state: State, pool: Option<&str>) -> Entry {
        let ask = self.ask;
        let mut earlier: Vec<Instant> = self.earlier().collect();
        let surplus = earlier.len().saturating_sub(EARLIER_MAX);
        earlier.drain(..surplus);
        let version = match state {
            State::Granted => ask.resource_version.to_owned(),
            _ => String::new(),
        };
        Entry {
            node: ask.node.to_owned(),
            uid: ask.uid.to_owned(),
            state,
            resource_version: version,
            how: ask.how,
            severity: ask.severity,
            pattern: ask.pattern.to_owned(),
            faults: ask.faults.iter().take(FAULTS_MAX).cloned().collect(),
            pool: pool.map(str::to_owned),
            since: Instant(self.since()),
            at: Instant(self.now),
            counted: None,
            room: BTreeMap::new(),
            on: Vec::new(),
            earlier,
        }
    }
}
