//! One error that two sources tell is counted once.
//!
//! What was counted is remembered with its fault: which source told it, when
//! and how many. Whatever another source tells of the same pattern and the
//! same error at that time is taken out of that account first; only the rest
//! counts. So the sum is the most that any one source saw, whichever came
//! first, and a source that dies midway leaves no hole. A source never
//! answers for itself: two equal errors it told are two errors. Pure; it is
//! stored with the fault, so a restart counts nothing twice either.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Ledger;
use super::fault::{Fault, FaultKey};
use crate::patterns::set::Pattern;
use crate::signal::{SourceId, Twin};
use crate::time::Timestamp;

/// How far apart two sources' times of one error may lie: kernel text gets
/// its time when it is read, which may be two seconds late, and a machine
/// check's own has whole seconds.
const SLACK: Duration = Duration::from_secs(4);

/// What one source told within so long is one entry.
const ENTRY: Duration = Duration::from_secs(1);

/// How many entries a fault keeps: a minute of errors without a pause, six
/// times what lies between two readings of a counter.
const ENTRIES_MAX: usize = 64;

/// Entries so far apart stay two when room is made: what lies between them
/// would be taken for told.
const MERGED_WITHIN: Duration = Duration::from_secs(60);

/// How many other sources are remembered to have told an entry too.
const TELLERS_MAX: usize = 8;

/// Errors that one source told and that were counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    source: SourceId,
    key: u64,
    from: Timestamp,
    to: Timestamp,
    count: u64,
    /// How many of them other sources have told since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    told: Vec<(SourceId, u64)>,
}

/// Something told by a source, to be held against what was told before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling<'a> {
    pub source: &'a SourceId,
    pub twin: Twin,
    pub at: Timestamp,
}

impl Telling<'_> {
    fn from(&self) -> Timestamp {
        self.at.minus(self.twin.span)
    }
}

impl Ledger {
    /// How many of these errors other sources have told, and were counted.
    pub(super) fn told(
        &mut self,
        pattern: &Pattern,
        telling: Telling<'_>,
        count: u64,
    ) -> u64 {
        let faults = self.table.of(&pattern.name).map(|row| &row.fault);
        // A fault that is changed is written anew.
        let near = |sight: &Sight| is_told(sight, telling);
        let seen = faults.filter(|fault| fault.sights.iter().any(near));
        let keys: Vec<FaultKey> = seen.map(|f| f.key.clone()).collect();
        let mut told = 0;
        for key in keys {
            if let Some(row) = self.table.get_mut(&key) {
                told += take(&mut row.fault, telling, count - told);
            }
        }
        told
    }

    /// Whether a source reads now that tells better what this pattern takes
    /// from text.
    pub(super) fn yields(&self, pattern: &Pattern) -> bool {
        pattern.yields.iter().any(|source| {
            let name = source.name();
            self.up.iter().any(|id| {
                let rest = id.strip_prefix(name);
                rest.is_some_and(|r| r.is_empty() || r.starts_with(':'))
            })
        })
    }
}

/// Whether another source has seen what may be the same errors.
fn is_told(sight: &Sight, telling: Telling<'_>) -> bool {
    let near = sight.from.minus(SLACK) <= telling.at
        && telling.from() <= sight.to.plus(SLACK);
    let same = sight.key == telling.twin.key;
    near && same && sight.source != *telling.source
}

/// Takes up to `count` errors out of the account of other sources; says how
/// many were there.
fn take(fault: &mut Fault, telling: Telling<'_>, count: u64) -> u64 {
    let mut taken = 0;
    for sight in &mut fault.sights {
        if !is_told(sight, telling) {
            continue;
        }
        let mut tellers = sight.told.iter();
        let teller = tellers.position(|(s, _)| s == telling.source);
        let before = teller.map_or(0, |i| sight.told[i].1);
        let now = sight.count.saturating_sub(before).min(count - taken);
        if now == 0 {
            continue;
        }
        taken += now;
        match teller {
            Some(i) => sight.told[i].1 += now,
            None if sight.told.len() < TELLERS_MAX => {
                sight.told.push((telling.source.clone(), now));
            }
            None => {}
        }
    }
    taken
}

/// Makes one entry fewer: two of one source and error that lie close become
/// one that is less exact in time; where there are none, the oldest goes.
fn make_room(sights: &mut Vec<Sight>) {
    let gap = |i: usize| {
        let one = &sights[i];
        let next = sights[i + 1..].iter().position(|sight| {
            sight.source == one.source && sight.key == one.key
        })?;
        let next = i + 1 + next;
        Some((sights[next].from.since(one.to), i, next))
    };
    let closest = (0..sights.len()).filter_map(gap).min();
    let Some((_, one, next)) =
        closest.filter(|(gap, ..)| *gap <= MERGED_WITHIN)
    else {
        sights.remove(0);
        return;
    };
    let merged = sights.remove(next);
    let one = &mut sights[one];
    one.from = one.from.min(merged.from);
    one.to = one.to.max(merged.to);
    one.count = one.count.saturating_add(merged.count);
    for (source, count) in merged.told {
        let teller = one.told.iter().position(|(s, _)| *s == source);
        match teller {
            Some(i) => one.told[i].1 = one.told[i].1.saturating_add(count),
            None if one.told.len() < TELLERS_MAX => {
                one.told.push((source, count));
            }
            None => {}
        }
    }
}

/// Remembers errors that were counted.
///
/// `room` is what the fault's window may take: the more faults there are,
/// the fewer entries each keeps.
pub(super) fn remember(
    fault: &mut Fault,
    telling: Telling<'_>,
    count: u64,
    room: usize,
) {
    let from = telling.from();
    // Two sources that take turns are two entries a second all the same.
    let mut newest = fault.sights.iter_mut().rev();
    let own = newest.find(|sight| {
        sight.source == *telling.source && sight.key == telling.twin.key
    });
    if let Some(last) = own.filter(|own| telling.at.since(own.from) < ENTRY) {
        last.count = last.count.saturating_add(count);
        last.from = last.from.min(from);
        last.to = last.to.max(telling.at);
        return;
    }
    // An eighth of the window's room, at some 128 bytes an entry.
    let most = (room / 1024).clamp(4, ENTRIES_MAX);
    while fault.sights.len() >= most {
        make_room(&mut fault.sights);
    }
    fault.sights.push(Sight {
        source: telling.source.clone(),
        key: telling.twin.key,
        from,
        to: telling.at,
        count,
        told: Vec::new(),
    });
}
