//! One file that is followed: what is made of its lines, and what was told
//! of it. Which files those are is `file.rs`'s business.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::file_mark::Mark;
use super::file_match::{Matching, Trust};
use super::file_tail::{Tail, Take};
use super::{Closed, Context, Counters};
use crate::clock;
use crate::signal::{Health, Position, SourceId};
use crate::time::Uptime;

/// How often a position without events is sent.
pub(super) const MARK_EVERY: Duration = Duration::from_secs(1);

/// Where a file was left.
pub(super) fn stored(context: &Context, id: &SourceId) -> Option<Mark> {
    context.positions.get(id).and_then(parse)
}

/// A position, if it is one of a file.
pub(super) fn parse(position: &Position) -> Option<Mark> {
    serde_json::from_str(&position.0).ok()
}

/// A file's position.
pub(super) fn position(mark: &Mark) -> Position {
    let text = serde_json::to_string(mark);
    Position(text.expect("numbers are valid JSON"))
}

/// One file, what is made of its lines, and what was told of it.
pub(super) struct Followed {
    pub(super) id: SourceId,
    pub(super) tail: Tail,
    /// Whether what it held was not ours to see, and nobody knows yet where
    /// that ends.
    pub(super) begins_within: bool,
    pub(super) matching: Matching,
    counters: Arc<Counters>,
    pub(super) marked: Option<Mark>,
    marked_at: Uptime,
    /// Since when half a line of it waits for the other half.
    waits_since: Option<Uptime>,
}

impl Followed {
    pub(super) fn new(
        path: &Path,
        trust: Trust,
        zone: TimeZone,
        context: &Context,
    ) -> Followed {
        let id = SourceId::from(format!("file:{}", path.display()));
        let now = clock::now();
        let matching = Matching::new(path, trust, zone, now);
        Followed {
            counters: context.counters(&id),
            tail: Tail::new(path.to_owned()),
            begins_within: false,
            marked: stored(context, &id),
            marked_at: Uptime::default(),
            waits_since: None,
            id,
            matching,
        }
    }

    /// Tells of files that were rotated and can't be read any more.
    pub(super) fn miss(&self, missed: u64) {
        if missed > 0 {
            tracing::warn!(
                source = %self.id,
                files = missed,
                "rotated or truncated while nobody read, and gone or \
                 compressed since: what they held after the last position is \
                 lost"
            );
            Counters::add(&self.counters.lost, missed);
        }
    }

    /// Reads on; says whether the file is gone.
    pub(super) fn step(
        &mut self,
        context: &mut Context,
        more: &mut bool,
    ) -> Result<bool, Closed> {
        self.matching.now = clock::now();
        let step = self.with_lines(context, |tail, take| tail.step(take));
        match step {
            Ok(step) => {
                *more |= step.more;
                Counters::add(&self.counters.invalid, step.cut);
                self.matching.caught_up |= !step.more;
                self.flush(context, false)?;
                if step.missing {
                    let why = "there is no such file".to_owned();
                    context.tell(&self.id, Health::Down(why))?;
                } else {
                    context.up(&self.id)?;
                    self.counters.succeeded(self.matching.now.wall);
                }
                Ok(step.missing)
            }
            Err(error) => {
                let why = format!("failed to read: {error}");
                context.tell(&self.id, Health::Down(why))?;
                Ok(false)
            }
        }
    }

    /// Takes half a line as it is when the other half has not come within
    /// `patience`.
    pub(super) fn give_up_waiting(
        &mut self,
        context: &mut Context,
        patience: Duration,
    ) -> Result<(), Closed> {
        if !self.tail.is_waiting() {
            self.waits_since = None;
            return Ok(());
        }
        let now = clock::boot();
        let since = *self.waits_since.get_or_insert(now);
        if now.since(since) < patience {
            return Ok(());
        }
        self.with_lines(context, |tail, take| tail.give_up_waiting(take));
        self.flush(context, false)
    }

    /// Lets `read` read, and matches the lines that it takes.
    pub(super) fn with_lines<T>(
        &mut self,
        context: &Context,
        read: impl FnOnce(&mut Tail, &mut Take<'_>) -> T,
    ) -> T {
        let Followed { tail, matching, .. } = self;
        let result = read(tail, &mut |line| matching.line(line, context));
        // A raw kmsg record may wait for its dictionary; at the end of what
        // there is, it is complete.
        matching.end(context);
        result
    }

    pub(super) fn flush(
        &mut self,
        context: &mut Context,
        must: bool,
    ) -> Result<(), Closed> {
        let matching = &mut self.matching;
        if matching.holds(context, must) {
            return Ok(());
        }
        let counters = &self.counters;
        let observations = std::mem::take(&mut matching.observations);
        Counters::add(&counters.observations, observations);
        let matches = std::mem::take(&mut matching.matches);
        Counters::add(&counters.matches, matches);
        let invalid = std::mem::take(&mut matching.invalid);
        Counters::add(&counters.invalid, invalid);
        let mut events = std::mem::take(&mut matching.events);
        let mark = self.tail.mark();
        let now = matching.now.boot;
        let due = mark.is_some()
            && mark != self.marked
            && (must || now.since(self.marked_at) >= MARK_EVERY);
        if events.is_empty() && !due {
            return Ok(());
        }
        matching.scratch.take_notes(&mut events);
        if mark.is_some() {
            self.marked = mark;
        }
        self.marked_at = now;
        let position = mark.as_ref().map(position);
        context.send(&self.id, events, position)
    }
}
