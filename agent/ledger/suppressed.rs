//! Lines that the kernel left out for their number ("N callbacks
//! suppressed").

use std::sync::Arc;
use std::time::Duration;

use super::Ledger;
use super::fault::{Evidence, Fault};
use super::step::keep;
use super::tolerance::Occasion;
use crate::signal::SourceId;
use crate::time::Timestamp;

/// "N callbacks suppressed" belongs to a part seen at most so long ago: the
/// kernel's rate limits work in intervals of 5 s, and say so when the next
/// line comes (lib/ratelimit.c).
const SUPPRESSED_WITHIN: Duration = Duration::from_secs(60);

impl Ledger {
    /// Lines that the kernel left out: they count for the part of that
    /// pattern that was seen last.
    pub(super) fn take_suppressed(
        &mut self,
        id: &SourceId,
        names: &[Arc<str>],
        count: u64,
        at: Timestamp,
        text: String,
    ) {
        let known = names.iter().filter_map(|name| self.set.get(name));
        let mut patterns: Vec<_> = known.cloned().collect();
        if patterns.is_empty() {
            self.stats.unknown += 1;
            return;
        }
        patterns.retain(|pattern| !self.yields(pattern));
        if patterns.is_empty() {
            return;
        }
        let near = |fault: &&Fault| {
            let ago = at.since(fault.last_seen);
            let ahead = fault.last_seen.since(at);
            ago.max(ahead) <= SUPPRESSED_WITHIN && fault.sources.contains(id)
        };
        // Of those seen at once the first pattern's is it.
        let rows = patterns.iter().rev().flat_map(|p| self.table.of(&p.name));
        let faults = rows.map(|row| &row.fault);
        let last = faults.filter(near).max_by_key(|f| f.last_seen);
        let Some(key) = last.map(|fault| fault.key.clone()) else {
            self.stats.unplaced = self.stats.unplaced.saturating_add(count);
            return;
        };
        let pattern = patterns.into_iter().find(|p| p.name == key.pattern);
        let (now, room) = (self.now, self.table.room());
        let (Some(pattern), Some(row)) = (pattern, self.table.get_mut(&key))
        else {
            return;
        };
        row.touched = now.boot;
        let fault = &mut row.fault;
        fault.last_seen = fault.last_seen.max(at);
        keep(fault, Evidence { time: at, approximate: false, text }, room);
        // They are as real as the line they follow.
        let real = !fault.injected;
        let wall = now.wall;
        let occasion = Occasion { at, wall, count, value: None, real };
        if count > 0 {
            self.count(&key, &pattern, occasion);
        }
    }
}
