//! The task that keeps the conditions of the own Node as the ledger wants
//! them: always the latest state, never a backlog.
//!
//! A node that turns from well to failing, or back, is told at once; what is
//! added then waits until it has been quiet for a moment, so that a burst on
//! two hundred disks is two writes.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::client::Client;
use super::cluster::{ApiError, Node};
use super::conditions::{Blind, CLEARED, Haste, Memory, Plan, plan, wanted};
use super::node::{Held, Latest};
use super::pace::{Backoff, between};
use super::quarantine::task::Settled;
use crate::sinks::counts::Counts;

use crate::clock;
use crate::sinks::board::Notice;
use crate::sinks::record::Record;
use crate::time::Uptime;

/// After a write, what only adds to it waits until nothing has changed for
/// so long …
const QUIET: Duration = Duration::from_secs(2);

/// … or since the first change for so long.
const GATHER: Duration = Duration::from_secs(30);

/// What nobody waits for goes out within this: a new agent on every node
/// at once is not a crowd of writes at once.
const LATER: Duration = Duration::from_secs(20);

/// How long a condition waits for the quarantine that goes with it: longer
/// than its requests take, shorter than anybody waits.
const QUARANTINE_FIRST: Duration = Duration::from_secs(1);

/// Where nobody finds the way to an API server that gave no answer, it is
/// tried all the same after so long: the watch may be what is not allowed.
const NO_WAY: Duration = super::pace::LONGEST.saturating_mul(2);

/// The first pause before a condition that somebody else keeps changing is
/// put right once more; it doubles up to [`REPAIR_MAX`].
const REPAIR: Duration = Duration::from_secs(5);

/// The longest such pause.
const REPAIR_MAX: Duration = Duration::from_secs(600);

/// The key under which the store keeps what was written.
const KEY: &str = "conditions";

/// The task.
#[derive(Debug)]
pub struct Reporter<'a> {
    client: &'a Client,
    held: &'a Held,
    counts: &'a Counts,
    record: &'a Record,
    settled: &'a Settled,
    grace: Duration,
    memory: Memory,
    blind: Blind,
    pace: Pace,
    backoff: Backoff,
    /// Not before this, after a failure.
    not_before: Uptime,
    /// When the last write got no answer, if it was the last one.
    cut: Option<Uptime>,
    /// When the way to the API server was last found.
    opened: Uptime,
    said: String,
}

/// When the next write may go out.
#[derive(Debug, Default)]
struct Pace {
    /// The last write.
    written: Option<Uptime>,
    /// Since when something waits, and when it last changed.
    since: Option<Uptime>,
    changed: Uptime,
    /// How long what nobody waits for waits; drawn once.
    later: Duration,
    /// The notice of the last write: another write for the same one puts
    /// right what somebody else changed.
    wrote: Option<Arc<Notice>>,
    repairs: u32,
}

impl Pace {
    /// When a plan may go out that is first or newly seen `now`.
    fn due(
        &mut self,
        haste: Haste,
        notice: &Arc<Notice>,
        news: bool,
        now: Uptime,
    ) -> Uptime {
        if self.since.is_none() {
            self.since = Some(now);
            self.changed = now;
            self.later = between(Duration::ZERO, LATER);
        } else if news {
            self.changed = now;
        }
        let since = self.since.unwrap_or(now);
        let written = self.written.unwrap_or_default();
        let again = self.wrote.as_ref().is_some_and(|w| Arc::ptr_eq(w, notice));
        if again && self.repairs > 0 {
            let pause = REPAIR * 2u32.pow(self.repairs.min(8) - 1);
            return written.plus(pause.min(REPAIR_MAX));
        }
        match haste {
            Haste::Now => now,
            Haste::Later => since.plus(self.later),
            // The first after a while goes at once.
            Haste::Soon if now.since(written) > GATHER => now,
            Haste::Soon => self.changed.plus(QUIET).min(since.plus(GATHER)),
        }
    }

    fn wrote(&mut self, notice: &Arc<Notice>, now: Uptime) {
        let again = self.wrote.as_ref().is_some_and(|w| Arc::ptr_eq(w, notice));
        self.repairs = if again { self.repairs + 1 } else { 0 };
        self.wrote = Some(Arc::clone(notice));
        self.written = Some(now);
        self.since = None;
    }
}

impl<'a> Reporter<'a> {
    /// The task; what was written before is in `record`.
    pub fn new(
        (client, held, record): (&'a Client, &'a Held, &'a Record),
        counts: &'a Counts,
        settled: &'a Settled,
        grace: Duration,
    ) -> Reporter<'a> {
        Reporter {
            client,
            held,
            counts,
            record,
            settled,
            grace,
            memory: Memory::default(),
            blind: Blind::default(),
            pace: Pace::default(),
            backoff: Backoff::default(),
            not_before: Uptime::default(),
            cut: None,
            opened: Uptime::default(),
            said: String::new(),
        }
    }

    /// Works for ever.
    pub async fn run(
        mut self,
        mut notices: watch::Receiver<Arc<Notice>>,
        mut nodes: watch::Receiver<Latest>,
        mut acted: watch::Receiver<Arc<Notice>>,
    ) {
        let mut news = true;
        let mut way = self.held.way();
        loop {
            let notice = notices.borrow_and_update().clone();
            let node = nodes.borrow_and_update().clone();
            let acted_on = Arc::ptr_eq(&acted.borrow_and_update(), &notice);
            // Quarantine first: others act on conditions.
            let first = !acted_on && notice.want.is_some();
            let next = self.turn(&notice, node.as_deref(), news, first).await;
            let now = clock::boot();
            let nap = next.map_or(Duration::MAX, |next| next.since(now));
            tokio::select! {
                changed = notices.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    news = true;
                }
                // Its sender lives as long as this task.
                _ = nodes.changed() => news = false,
                _ = acted.changed() => news = false,
                _ = way.changed() => {
                    if *way.borrow_and_update() {
                        self.found();
                    }
                    news = false;
                }
                () = sleep(nap) => news = false,
            }
        }
    }

    /// Does what is due; when to look again.
    async fn turn(
        &mut self,
        notice: &Arc<Notice>,
        node: Option<&Node>,
        news: bool,
        first: bool,
    ) -> Option<Uptime> {
        let now = clock::now();
        self.blind.note(&notice.health, now.boot);
        let grace_ends = self.blind.next(self.grace, now.boot);
        let node = node?;
        // Before the ledger has told anything, nothing is known.
        if **notice == Notice::default() {
            return None;
        }
        if self.memory == Memory::default() {
            // A store that is opened late holds it later.
            self.memory = self.record.read(KEY).unwrap_or_default();
        }
        self.settle(node);
        let wanted = wanted(notice, &self.blind, self.grace, now.boot);
        let plan = plan(node, &wanted, notice, &self.memory, now.wall);
        let Some(plan) = plan else {
            self.counts.written(now.wall);
            self.pace.since = None;
            return grace_ends;
        };
        let due = self.pace.due(plan.haste, notice, news, now.boot);
        let mut due = due.max(self.not_before);
        if first {
            let since = self.pace.since.unwrap_or(now.boot);
            // Nothing could be quarantined before.
            let since = since.max(self.opened);
            due = due.max(since.plus(QUARANTINE_FIRST));
        }
        if let Some(cut) = self.cut
            && !self.held.is_followed()
        {
            due = due.max(cut.plus(NO_WAY));
        }
        let next = if due > now.boot {
            Some(due)
        } else {
            self.write(notice, plan).await
        };
        next.into_iter().chain(grace_ends).min()
    }

    /// The API server answers: what waited for it alone goes.
    fn found(&mut self) {
        self.opened = clock::boot();
        if self.cut.take().is_some() {
            self.backoff.reset();
            self.not_before = Uptime::default();
        }
    }

    /// Sends the patch; when to try again.
    async fn write(
        &mut self,
        notice: &Arc<Notice>,
        plan: Plan,
    ) -> Option<Uptime> {
        let answer = self.client.patch_status(&plan.body).await;
        let now = clock::now();
        match answer {
            Ok(answer) => {
                self.memory = plan.memory;
                self.record.keep(KEY, &self.memory);
                self.pace.wrote(notice, now.boot);
                self.backoff.reset();
                self.cut = None;
                self.said.clear();
                self.counts.written(now.wall);
                self.held.offer(answer.value);
                // The Node as answered is looked at anew.
                None
            }
            Err(error) => {
                self.tell(&error);
                // An end that the server names, and what is nonsense to it,
                // are not waited for less since it is back.
                let asked = matches!(
                    error,
                    ApiError::Throttled { .. } | ApiError::Invalid(_)
                );
                self.cut = (!asked).then_some(now.boot);
                let pause = match error {
                    // Another Node, or nonsense: either way something else
                    // must change first, and time may help.
                    ApiError::Invalid(_) => super::pace::LONGEST,
                    _ => self.backoff.pause(&error),
                };
                self.not_before = now.boot.plus(pause);
                Some(self.not_before)
            }
        }
    }

    /// Takes up what a person said of conditions whose state was lost.
    fn settle(&mut self, node: &Node) {
        let settled = self.settled.lock();
        let mut settled = settled.unwrap_or_else(PoisonError::into_inner);
        for kind in std::mem::take(&mut *settled) {
            if self.memory.uid != node.metadata.uid {
                let uid = node.metadata.uid.clone();
                self.memory = Memory { uid, ..Memory::default() };
            }
            self.memory.types.insert(kind, CLEARED);
        }
    }

    fn tell(&mut self, error: &ApiError) {
        let text = error.to_string();
        if text != self.said {
            tracing::warn!(
                node = self.client.node_name(),
                error = text,
                "the conditions can't be written; the latest state follows"
            );
            self.said = text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Uptime {
        Uptime(ms * 1000)
    }

    #[test]
    fn a_burst_is_written_at_its_begin_and_at_its_end() {
        let mut pace = Pace::default();
        let notice = || Arc::new(Notice::default());
        let long_ago = at(1_000_000);
        let first = notice();
        assert_eq!(pace.due(Haste::Now, &first, true, long_ago), long_ago);
        pace.wrote(&first, long_ago);
        let mut due = long_ago;
        for ms in (10..2000).step_by(10) {
            let now = at(1_000_000 + ms);
            due = pace.due(Haste::Soon, &notice(), true, now);
            assert!(due > now);
        }
        assert_eq!(due, at(1_000_000 + 1990 + 2000));
    }

    #[test]
    fn who_fights_over_a_condition_is_answered_ever_more_slowly() {
        let mut pace = Pace::default();
        let notice = Arc::new(Notice::default());
        let mut now = at(100_000);
        let mut waits = Vec::new();
        for _ in 0..6 {
            let due = pace.due(Haste::Now, &notice, false, now);
            waits.push(due.since(now).as_secs());
            now = due;
            pace.wrote(&notice, now);
        }
        assert_eq!(waits, [0, 0, 5, 10, 20, 40]);
        // News are not delayed by that.
        let news = Arc::new(Notice::default());
        assert_eq!(pace.due(Haste::Now, &news, true, now), now);
    }
}
