//! What the sources have sent, bounded: a flood of one pattern takes no room
//! from what others have to say. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

use super::pass::Found;
use crate::observation::Source;
use crate::parts::census::Census;
use crate::parts::ids::PartId;
use crate::signal::{Effect, Event, Health, SourceId};
use crate::time::Timestamp;

/// Matches of one pattern on one part that are kept: so many of the first,
/// and as many of the last. Ten times what the largest shipped tolerance
/// counts; that some are left out is told.
const OF_ONE_MAX: usize = 5_000;

/// Matches kept of all patterns; a node with so many sorts of trouble is
/// beyond counting, and they must not fill the memory.
const EVENTS_MAX: usize = 100_000;

/// Events of which a flood may come: pattern, part, `same` or `distinct`,
/// effect.
type Sort = (Arc<str>, PartId, Option<String>, Discriminant<Effect>);

/// What came over the queue.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// What happened, in the order in which it was sent, or nearly.
    pub(super) events: Vec<Found>,
    /// How each source fares.
    pub(super) health: BTreeMap<SourceId, Health>,
    /// The last census.
    pub(super) census: Option<Arc<Census>>,
    /// Matches of a flood that are not among the events, by source.
    pub(super) left_out: BTreeMap<SourceId, u64>,
    /// The sources of which something had no room.
    pub(super) cut: BTreeSet<SourceId>,
    kept: HashMap<Sort, Kept>,
}

/// Where the events of one sort stand.
#[derive(Debug, Default)]
struct Kept {
    first: usize,
    last: VecDeque<usize>,
}

impl Gathered {
    /// Takes one event of a source.
    pub(super) fn take(&mut self, id: &SourceId, source: Source, event: Event) {
        if let Event::Census(census) = event {
            self.census = Some(census);
            return;
        }
        let Some(time) = time_of(&event) else { return };
        let found = Found { time, source, event };
        let next = self.events.len();
        let is_full = next >= EVENTS_MAX;
        if let Event::Match(signal) = &found.event {
            let sort = (
                Arc::clone(&signal.pattern),
                signal.part.clone(),
                signal.value.clone(),
                discriminant(&signal.effect),
            );
            // Nothing is remembered of a sort that has no room.
            let kept = match is_full {
                false => Some(self.kept.entry(sort).or_default()),
                true => self.kept.get_mut(&sort),
            };
            if let Some(kept) = kept {
                if kept.last.len() >= OF_ONE_MAX
                    && let Some(at) = kept.last.pop_front()
                {
                    kept.last.push_back(at);
                    self.events[at] = found;
                    *self.left_out.entry(Arc::clone(id)).or_default() += 1;
                    return;
                }
                match kept.first < OF_ONE_MAX {
                    _ if is_full => {}
                    true => kept.first += 1,
                    false => kept.last.push_back(next),
                }
            }
        }
        match is_full {
            false => self.events.push(found),
            true => _ = self.cut.insert(Arc::clone(id)),
        }
    }

    /// What keeps this source from having been read to its end.
    pub(super) fn shortfall(&self, id: &SourceId) -> Option<String> {
        self.cut.contains(id).then(|| {
            format!("of more than {EVENTS_MAX} matches the later are left out")
        })
    }
}

fn time_of(event: &Event) -> Option<Timestamp> {
    match event {
        Event::Match(signal) | Event::State(signal, _) => Some(signal.time),
        Event::Suppressed { time, .. } => Some(*time),
        // Counted by the source; kept apart.
        Event::Notes { .. } | Event::Gap { .. } | Event::Census(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::Signal;

    fn a_match(part: &str, at: i64) -> Event {
        Event::Match(Signal::opening("bad", part, Timestamp(at)))
    }

    fn times(gathered: &Gathered, part: &str) -> Vec<i64> {
        let of_part = |found: &Found| match &found.event {
            Event::Match(s) if s.part == PartId::new(part) => {
                Some(found.time.0)
            }
            _ => None,
        };
        let mut all: Vec<i64> =
            gathered.events.iter().filter_map(of_part).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn of_a_flood_the_first_and_the_last_are_kept_and_all_of_the_rest() {
        let mut gathered = Gathered::default();
        let id = SourceId::from("kmsg");
        let many = 3 * EVENTS_MAX as i64;
        for at in 0..many {
            let event = a_match("disk/sda", at);
            gathered.take(&id, Source::Kmsg, event);
        }
        gathered.take(&id, Source::Kmsg, a_match("disk/sdb", many));
        let half = OF_ONE_MAX as i64;
        let kept: Vec<i64> = (0..half).chain(many - half..many).collect();
        assert_eq!(times(&gathered, "disk/sda"), kept);
        assert_eq!(times(&gathered, "disk/sdb"), [many]);
        assert_eq!(gathered.left_out[&id], many as u64 - 2 * half as u64);
        assert_eq!(gathered.shortfall(&id), None);
    }

    #[test]
    fn what_has_no_room_is_told_of() {
        let mut gathered = Gathered::default();
        let id = SourceId::from("kmsg");
        for n in 0..2 * EVENTS_MAX {
            let event = a_match(&format!("disk/d{n}"), n as i64);
            gathered.take(&id, Source::Kmsg, event);
        }
        assert_eq!(gathered.events.len(), EVENTS_MAX);
        assert_eq!(gathered.kept.len(), EVENTS_MAX);
        assert!(gathered.shortfall(&id).is_some());
        assert_eq!(gathered.shortfall(&SourceId::from("disk")), None);
    }
}
