//! What is tolerated: windows of observation time.
//!
//! `N in T` tolerates N; what makes N+1 within (t−T, t] spends it, and an
//! observation of count c counts c. Spending empties the window. Times come
//! in monotone for each source; a fault that several sources feed is made
//! monotone here.

use std::collections::VecDeque;
use std::time::Duration;

use super::fault::Window;
use crate::patterns::set::{Pattern, SubKey, Tolerance};
use crate::time::Timestamp;

/// The most entries of one window. N entries suffice for a tolerance of N;
/// only larger ones are kept in slots of 1/256 of the window, each under the
/// time of its first observation, so that nothing opens too early.
const SLOTS_MAX: usize = 256;

/// The most entries of all windows of `same` together.
const SAME_SLOTS_MAX: usize = 1024;

/// The most values of `same` or `distinct` kept for a part. A tolerance of
/// more different values than this could never be spent, so it is capped.
const VALUES_MAX: usize = 256;

/// The longest value kept; two values that agree so far count as one.
const VALUE_BYTES_MAX: usize = 128;

/// An observation to be counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Occasion<'a> {
    /// When, monotone for its source.
    pub at: Timestamp,
    /// The wall clock now: entries later than both come from before it
    /// stepped back.
    pub wall: Timestamp,
    /// How many errors.
    pub count: u64,
    /// The value of `same` or `distinct`; absent when there is none, as for
    /// lines that the kernel left out.
    pub value: Option<&'a str>,
    /// Whether it is real, not a drill's.
    pub real: bool,
}

/// What counting made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    /// Whether the tolerance is spent; the window is empty then.
    pub spent: bool,
    /// The errors in the window, with these.
    pub errors: u64,
    /// Whether any of them is real.
    pub real: bool,
    /// Values that had to go.
    pub dropped: u64,
}

/// Counts an occasion. `halved`: the fault is on probation.
pub(super) fn admit(
    window: &mut Window,
    pattern: &Pattern,
    halved: bool,
    occasion: Occasion<'_>,
) -> Admitted {
    let Some(tolerance) = pattern.tolerate else {
        let Occasion { at, count, real, .. } = occasion;
        empty(window, Some(at));
        return Admitted { spent: true, errors: count, real, dropped: 0 };
    };
    let at = settle_time(window, occasion);
    prune(window, tolerance.window, at);
    let occasion = Occasion { at, ..occasion };
    let limit = if halved { tolerance.count / 2 } else { tolerance.count };
    window.errors = window.errors.saturating_add(occasion.count);
    window.real |= occasion.real;
    let dropped = window.dropped;
    let spent = match &pattern.sub_key {
        SubKey::None => plain(window, tolerance, limit, occasion),
        SubKey::Same(_) => same(window, tolerance, limit, occasion),
        SubKey::Distinct(_) => distinct(window, tolerance, limit, occasion),
    };
    let (errors, real) = (errors(window, pattern), window.real);
    let dropped = window.dropped - dropped;
    if spent {
        let last = window.last_occasion;
        empty(window, last);
    }
    Admitted { spent, errors, real, dropped }
}

/// Empties the window after a proof or when it was spent. After spending,
/// the retries that follow still belong to the `last` occasion.
pub(super) fn empty(window: &mut Window, last: Option<Timestamp>) {
    let dropped = window.dropped;
    *window = Window { dropped, last_occasion: last, ..Window::default() };
}

/// Makes the window fit into so many bytes: slots are joined, so that it is
/// spent later but never too early; the oldest values go, and are counted.
pub(super) fn fit(window: &mut Window, room: usize) -> u64 {
    const SLOT: usize = size_of::<(Timestamp, u64)>();
    // A node of the map, shared by a few, and the text.
    let value = |text: &String| 64 + text.len();
    while window.counted.len() > 1 && window.counted.len() * SLOT > room {
        join_closest(&mut window.counted);
        window.counted.shrink_to(window.counted.len());
    }
    let dropped = window.dropped;
    let takes = |w: &Window| w.values.keys().map(value).sum::<usize>();
    while window.values.len() > 1 && takes(window) > room {
        drop_oldest(window);
    }
    let takes = |(text, slots): (&String, &VecDeque<_>)| {
        value(text) + slots.len() * SLOT
    };
    let all = |w: &Window| w.same.iter().map(takes).sum::<usize>();
    while window.same.len() > 1 && all(window) > room {
        drop_oldest_of_same(window, None);
    }
    while all(window) > room
        && let Some(slots) = window.same.values_mut().find(|s| s.len() > 1)
    {
        join_closest(slots);
    }
    window.dropped - dropped
}

fn drop_oldest(window: &mut Window) {
    let oldest = window.values.iter().min_by_key(|(_, t)| **t);
    if let Some(oldest) = oldest.map(|(value, _)| value.clone()) {
        window.values.remove(&oldest);
        window.dropped += 1;
    }
}

/// Forgets the value of `same` that was seen least recently, but not `kept`;
/// false when there is none.
fn drop_oldest_of_same(window: &mut Window, kept: Option<&str>) -> bool {
    let age = |(_, entries): &(&String, &VecDeque<(Timestamp, u64)>)| {
        entries.back().map(|(t, _)| *t)
    };
    let others = window.same.iter().filter(|(v, _)| Some(v.as_str()) != kept);
    let Some(oldest) = others.min_by_key(age) else { return false };
    let oldest = oldest.0.clone();
    window.same.remove(&oldest);
    window.dropped += 1;
    true
}

/// Adds what was counted for another name of the same part.
pub(super) fn join(window: &mut Window, other: &Window) {
    window.counted.extend(other.counted.iter().copied());
    window.counted.make_contiguous().sort_by_key(|(time, _)| *time);
    for (value, seen) in &other.values {
        let known = window.values.entry(value.clone()).or_insert(*seen);
        *known = (*known).max(*seen);
    }
    trim(window);
    for (value, counted) in &other.same {
        if window.same.len() < VALUES_MAX || window.same.contains_key(value) {
            let known = window.same.entry(value.clone()).or_default();
            known.extend(counted.iter().copied());
            known.make_contiguous().sort_by_key(|(time, _)| *time);
        } else {
            window.dropped += 1;
        }
    }
    window.last_occasion = window.last_occasion.max(other.last_occasion);
    window.dropped += other.dropped;
    window.errors = window.errors.saturating_add(other.errors);
    window.real |= other.real;
}

/// Whether nothing is counted in it.
pub(super) fn is_empty(window: &Window) -> bool {
    window.counted.is_empty()
        && window.values.is_empty()
        && window.same.is_empty()
}

/// When the last entry leaves the window; `None` when it is empty.
pub(super) fn passes(window: &Window, length: Duration) -> Option<Timestamp> {
    newest(window).map(|t| t.plus(length))
}

fn plain(
    window: &mut Window,
    tolerance: Tolerance,
    limit: u64,
    occasion: Occasion<'_>,
) -> bool {
    let Occasion { at, count, .. } = occasion;
    let mut weight = count;
    if let Some(apart) = tolerance.once_per {
        let last = window.last_occasion;
        if last.is_some_and(|last| at.since(last) < apart) {
            return false;
        }
        weight = 1;
    }
    window.last_occasion = Some(at);
    push(&mut window.counted, tolerance.window, at, weight);
    sum(&window.counted) > limit
}

fn same(
    window: &mut Window,
    tolerance: Tolerance,
    limit: u64,
    occasion: Occasion<'_>,
) -> bool {
    let Occasion { at, count, value, .. } = occasion;
    // Lines that were left out may have been about any value.
    let Some(value) = value else { return false };
    let value = cut(value);
    let last = window.same.get(value).and_then(|entries| entries.back());
    let mut weight = count;
    if let Some(apart) = tolerance.once_per {
        if last.is_some_and(|(last, _)| at.since(*last) < apart) {
            return false;
        }
        weight = 1;
    }
    window.last_occasion = Some(at);
    let entries = window.same.entry(value.to_owned()).or_default();
    push(entries, tolerance.window, at, weight);
    let spent = sum(entries) > limit;
    while window.same.len() > VALUES_MAX
        || window.same.values().map(VecDeque::len).sum::<usize>()
            > SAME_SLOTS_MAX
    {
        if !drop_oldest_of_same(window, Some(value)) {
            break;
        }
    }
    spent
}

fn distinct(
    window: &mut Window,
    tolerance: Tolerance,
    limit: u64,
    occasion: Occasion<'_>,
) -> bool {
    let Occasion { at, value, .. } = occasion;
    let Some(value) = value else { return false };
    let apart = tolerance.once_per.unwrap_or_default();
    let last = window.last_occasion;
    if last.is_some_and(|last| at.since(last) < apart) {
        return false;
    }
    window.last_occasion = Some(at);
    window.values.insert(cut(value).to_owned(), at);
    trim(window);
    let limit = limit.min(VALUES_MAX as u64 - 1);
    window.values.len() as u64 > limit
}

/// Forgets the values seen longest ago that have no room.
fn trim(window: &mut Window) {
    while window.values.len() > VALUES_MAX {
        drop_oldest(window);
    }
}

/// The errors of the window as people are told them: exact for the plain
/// window; where occasions or values are counted, all since it was last
/// empty.
fn errors(window: &Window, pattern: &Pattern) -> u64 {
    let once_per = pattern.tolerate.is_some_and(|t| t.once_per.is_some());
    match pattern.sub_key {
        SubKey::None if !once_per => sum(&window.counted),
        _ => window.errors,
    }
}

/// The time under which an occasion is counted: not before the newest entry,
/// unless the wall clock stepped back since; then that entry is moved.
fn settle_time(window: &mut Window, occasion: Occasion<'_>) -> Timestamp {
    let horizon = occasion.at.max(occasion.wall);
    let cap = |t: &mut Timestamp| *t = (*t).min(horizon);
    let counted = window.counted.iter_mut();
    counted.chain(window.same.values_mut().flatten()).for_each(|(t, _)| cap(t));
    window.values.values_mut().for_each(cap);
    window.last_occasion.iter_mut().for_each(cap);
    newest(window).map_or(occasion.at, |newest| newest.max(occasion.at))
}

fn newest(window: &Window) -> Option<Timestamp> {
    let last =
        |entries: &VecDeque<(Timestamp, u64)>| entries.back().map(|(t, _)| *t);
    let same = window.same.values().filter_map(last);
    let values = window.values.values().copied();
    last(&window.counted).into_iter().chain(same).chain(values).max()
}

/// Drops what lies outside of (t−T, t].
fn prune(window: &mut Window, length: Duration, at: Timestamp) {
    let old = |t: &Timestamp| at.since(*t) >= length;
    let drop_old = |entries: &mut VecDeque<(Timestamp, u64)>| {
        while entries.front().is_some_and(|(t, _)| old(t)) {
            entries.pop_front();
        }
    };
    drop_old(&mut window.counted);
    window.same.values_mut().for_each(drop_old);
    window.same.retain(|_, entries| !entries.is_empty());
    window.values.retain(|_, t| !old(t));
    if is_empty(window) {
        let last = window.last_occasion;
        empty(window, last);
    }
}

/// Appends to a window, into its last slot when the window is long.
fn push(
    entries: &mut VecDeque<(Timestamp, u64)>,
    length: Duration,
    at: Timestamp,
    weight: u64,
) {
    let slot = length / SLOTS_MAX as u32;
    let full = entries.len() >= SLOTS_MAX;
    if let Some((first, sum)) = entries.back_mut()
        && (*first == at || full && at.since(*first) < slot)
    {
        *sum = sum.saturating_add(weight);
        return;
    }
    if full {
        join_closest(entries);
    }
    entries.push_back((at, weight));
}

/// Joins the two neighbours that are closest to each other.
fn join_closest(entries: &mut VecDeque<(Timestamp, u64)>) {
    let gap = |i: &usize| entries[i + 1].0.since(entries[*i].0);
    let Some(i) = (0..entries.len() - 1).min_by_key(gap) else { return };
    if let Some((_, weight)) = entries.remove(i + 1) {
        entries[i].1 = entries[i].1.saturating_add(weight);
    }
}

fn sum(entries: &VecDeque<(Timestamp, u64)>) -> u64 {
    entries.iter().fold(0, |sum, (_, c)| sum.saturating_add(*c))
}

fn cut(value: &str) -> &str {
    &value[..value.floor_char_boundary(VALUE_BYTES_MAX)]
}
