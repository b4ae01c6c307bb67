//! The ledger's owner: takes what comes over the queue, steps the ledger, and
//! hands what changed to the store and the sinks.
//!
//! Invariant: a batch's position leaves here in the same parcel as the rows
//! that the batch changed, never earlier and never later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::patterns::Rejections;
use crate::clock;
use crate::config::Mode;
use crate::ledger::fault::{Fault, Phase};
use crate::ledger::{Change, Command, Input, Ledger};
use crate::memory::{self, Tidying};
use crate::patterns::set::PatternSet;
use crate::queue::Message;
use crate::signal::{Batch, Event, Health, Position, SourceId, Truth};
use crate::sinks::board::Board;
use crate::sinks::http::Ready;
use crate::sinks::log;
use crate::sinks::metrics::Metrics;
use crate::sinks::record::Record;
use crate::sources::inventory::{Desk, stored};
use crate::sources::{PatternsCell, Stats, Unexplained};
use crate::store::{HistoryEntry, Loaded, Pending, Recent, Store};
use crate::time::{BootId, Now, Timestamp, Uptime};

/// Messages stepped before what changed is handed over: enough to share a
/// transaction in a burst, few enough that a gauge follows at once.
const TURN_MAX: usize = 32;

/// The longest sleep: the watchdog's ping, rows of running stopwatches and a
/// store that was opened late want a look now and then.
const NAP: Duration = Duration::from_secs(10);

/// How long what was stored is waited for before the node's state is told
/// without it. Until then nothing is taken back.
const RESTORE_PATIENCE: Duration = Duration::from_secs(60);

/// How long the line that says what runs waits for sources that were tried
/// and have not told how they are.
const HEALTH_PATIENCE: Duration = Duration::from_secs(5);

/// Who this agent is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The node's name.
    pub node: String,
    /// How far it may go.
    pub mode: Mode,
    /// This boot of the machine.
    pub boot: BootId,
    /// When it started.
    pub started: Timestamp,
}

/// Everything that the ledger's thread works with.
#[derive(Debug)]
pub struct Keeper {
    /// The ledger.
    pub ledger: Ledger,
    /// Who this is.
    pub identity: Identity,
    /// The patterns as the sources see them.
    pub cell: Arc<PatternsCell>,
    /// The sources' counters.
    pub stats: Arc<Stats>,
    /// What no pattern takes.
    pub unexplained: Arc<Unexplained>,
    /// The pattern files that are not in force as they stand.
    pub rejections: Rejections,
    /// The store.
    pub store: Arc<Store>,
    /// The latest changes.
    pub recent: Arc<Recent>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// What readiness waits for.
    pub ready: Ready,
    /// Each source's health; `None` until it has told.
    pub health: BTreeMap<SourceId, Option<Health>>,
    /// Each source's position, for a store that begins anew.
    pub positions: BTreeMap<SourceId, Position>,
    /// What waits to be handed over.
    pub pending: Pending,
    /// Whether the store has been read.
    pub restored: bool,
    /// When it began to work.
    pub began: Option<Uptime>,
    /// How often the service manager wants a sign of life.
    pub watchdog: Option<Duration>,
    /// When it last got one.
    pub pinged: Uptime,
    /// When unused code is let go of; not before the line that says what
    /// runs has been written.
    pub tidying: Tidying,
    /// Where whoever takes the census is asked to forget a part.
    pub desk: Option<Desk>,
    /// Where sinks that follow the node's state see it.
    pub board: Option<Board>,
    /// Keeps what those have written, for a store that begins anew.
    pub record: Record,
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Told,
    /// The time that it was given is over.
    InTime,
}

impl Keeper {
    /// Puts back what the store held.
    pub fn restore(&mut self, now: Now, mut loaded: Loaded) {
        for note in std::mem::take(&mut loaded.notes) {
            tracing::warn!("{note}");
        }
        // Restoring forgets which rows are dirty.
        self.collect(now);
        let first = !std::mem::replace(&mut self.restored, true);
        loaded.faults.retain(|stored| self.misses(stored, first));
        let keys: Vec<_> =
            loaded.faults.iter().map(|f| f.key.clone()).collect();
        self.restore_census(now, &loaded.positions);
        for fault in &mut loaded.faults {
            if let Some(known) = self.ledger.get(&fault.key) {
                fault.catch_up(known);
            }
        }
        self.ledger.restore(now, loaded.faults);
        let shown = keys.iter().map(|key| (key, self.ledger.get(key)));
        self.metrics.faults(shown);
        for key in keys {
            if let Some(pattern) = self.ledger.patterns().get(&key.pattern) {
                pattern.expect();
            }
            let fault = self.ledger.get(&key);
            // What was seen before the store came may stand there instead.
            self.pending.faults.insert(key, fault.map(|f| f.at(now.boot)));
        }
        self.record.restore(&loaded.positions);
        self.show_stale();
        for (source, position) in loaded.positions {
            self.positions.entry(source).or_insert(position);
        }
        if self.recent.last(1).is_empty() {
            self.recent.add(loaded.history);
        }
    }

    /// What parts are called must be known before the first observation,
    /// and looking for them takes a moment.
    fn restore_census(
        &mut self,
        now: Now,
        positions: &BTreeMap<SourceId, Position>,
    ) {
        let is_taken = self.health.contains_key("inventory");
        let is_known = self.ledger.census().parts().next().is_some();
        let position = positions.get("inventory");
        let census = position.and_then(|p| stored(p, &self.identity.boot));
        if let Some(census) = census.filter(|_| is_taken && !is_known) {
            let input = Input::Census(Arc::new(census));
            let changes = self.ledger.step(now, input);
            self.tell(changes);
        }
    }

    /// Whether the ledger lacks what was stored. A store that could only be
    /// read late must not undo what has been seen since; but a fault that was
    /// raised there is not undone by less. One that is opened again holds
    /// only what this agent wrote, and forgot since, if it did.
    fn misses(&self, stored: &Fault, first: bool) -> bool {
        let held = stored.phase.is_raised() || stored.phase == Phase::Explained;
        let is_less = |f: &Fault| {
            let unraised =
                matches!(f.phase, Phase::Tolerated | Phase::Settling);
            // Raised there and here it is the same fault, with its past.
            unraised || (f.phase.is_raised() && stored.phase.is_raised())
        };
        match self.ledger.get(&stored.key) {
            Some(known) => first && held && is_less(known),
            None => first || !self.pending.faults.contains_key(&stored.key),
        }
    }

    /// Takes up a store that was opened late. State sources have told how
    /// things are to a ledger that did not know these faults, and tell it
    /// again when they see another pattern set.
    fn restore_late(&mut self, now: Now, loaded: Loaded) {
        self.restore(now, loaded);
        self.cell.replace(Arc::clone(self.ledger.patterns()));
    }

    /// Works until told to shut down, or until `until`.
    pub fn run(
        &mut self,
        queue: &Receiver<Message>,
        until: Option<Uptime>,
    ) -> Ended {
        loop {
            self.hand_over();
            self.keep_alive();
            let boot = clock::boot();
            if until.is_some_and(|until| boot >= until) {
                return Ended::InTime;
            }
            let due = [self.ledger.next_deadline(), until];
            let due = due.into_iter().flatten().min();
            let nap = due.map_or(NAP, |due| due.since(boot).min(NAP));
            let nap = self.watchdog.map_or(nap, |w| nap.min(w / 4));
            match queue.recv_timeout(nap) {
                Ok(message) => {
                    if self.turn(message, queue) == Some(Ended::Told) {
                        return Ended::Told;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.tick(),
                Err(RecvTimeoutError::Disconnected) => return Ended::Told,
            }
        }
    }

    /// Steps a message and what else waits already.
    fn turn(
        &mut self,
        first: Message,
        queue: &Receiver<Message>,
    ) -> Option<Ended> {
        let mut taken = 0;
        let mut next = Some(first);
        while let Some(message) = next.take() {
            if matches!(message, Message::Shutdown) {
                return Some(Ended::Told);
            }
            self.take(message);
            taken += 1;
            if taken < TURN_MAX {
                next = queue.try_recv().ok();
            }
        }
        self.metrics.queue_depth(taken - 1);
        None
    }

    fn take(&mut self, message: Message) {
        let now = clock::now();
        match message {
            Message::Batch(batch) => self.take_batch(now, batch),
            Message::Health(id, health) => self.take_health(now, id, health),
            Message::Gone(id) => self.take_gone(now, id),
            Message::Patterns(set) => self.take_patterns(now, set),
            // Who asked was told that nobody answers, and may ask again.
            Message::Command(_, reply) if reply.is_closed() => {}
            Message::Command(command, reply) => {
                let answer = self.obey(now, command);
                // First, so that the store never holds that an order was
                // carried out without what it did.
                self.hand_over();
                // Who asked may have gone meanwhile; it is done.
                let _ = reply.send(answer);
            }
            Message::Query(query, reply) => {
                let _ = reply.send(self.answer(&query, now));
            }
            // Handing over, which follows, takes it up.
            Message::Store | Message::Shutdown => {}
        }
    }

    fn take_batch(&mut self, now: Now, batch: Batch) {
        for event in &batch.events {
            match event {
                Event::Match(signal) => {
                    self.metrics.matched(&signal.pattern, 1);
                    if !signal.approximate && !signal.injected {
                        self.metrics.delay(now.wall.since(signal.time));
                    }
                }
                Event::State(signal, Truth::True) => {
                    self.metrics.matched(&signal.pattern, 1);
                }
                Event::Notes { pattern, count } => {
                    self.metrics.matched(pattern, *count);
                }
                _ => {}
            }
        }
        self.ready.tried(batch.source.name());
        if let Some(position) = &batch.position {
            let id = Arc::clone(&batch.id);
            let before =
                self.positions.insert(Arc::clone(&id), position.clone());
            // Killed before its first is written, a source would begin at
            // another place.
            self.pending.prompt |= before.is_none();
            if position.0.is_empty() {
                self.positions.remove(&id);
            }
            self.pending.positions.insert(id, position.clone());
        }
        let changes = self.ledger.step(now, Input::Batch(batch));
        self.tell(changes);
    }

    fn take_health(&mut self, now: Now, id: SourceId, health: Health) {
        let up = match &health {
            Health::Up => Some(true),
            Health::Down(_) => Some(false),
            Health::Absent(_) => None,
        };
        self.metrics.source_up(&id, up);
        self.ready.tried(id.split(':').next().unwrap_or(&id));
        let health_before =
            self.health.insert(Arc::clone(&id), Some(health.clone()));
        if health_before.as_ref().is_none_or(|h| *h != Some(health.clone())) {
            self.show_stale();
        }
        let changes = self.ledger.step(now, Input::Health(id, health));
        self.tell(changes);
    }

    fn take_gone(&mut self, now: Now, id: SourceId) {
        self.metrics.source_gone(&id);
        self.health.remove(&id);
        self.show_stale();
        let changes = self.ledger.step(now, Input::Gone(id));
        self.tell(changes);
    }

    fn take_patterns(&mut self, now: Now, set: Arc<PatternSet>) {
        self.metrics.pattern_set(set.patterns.len(), set.hash);
        // The ledger first: it must know a pattern before a source sends
        // what it took.
        let input = Input::Patterns(Arc::clone(&set));
        let changes = self.ledger.step(now, input);
        set.expect_all();
        if let Some(board) = &mut self.board {
            board.patterns(&set);
        }
        self.cell.replace(set);
        self.tell(changes);
    }

    fn obey(&mut self, now: Now, command: Command) -> Result<String, String> {
        let Command::Clear { fault, replaced, .. } = &command;
        let found = self.ledger.find(fault).ok().map(|f| f.key.clone());
        let gone = found.and_then(|key| self.ledger.taken_out(&key, *replaced));
        let (changes, answer) = self.ledger.clear(now, command)?;
        self.tell(changes);
        if let (Some(part), Some(desk)) = (gone, &self.desk) {
            desk.forget(part);
        }
        Ok(answer)
    }

    fn tick(&mut self) {
        let changes = self.ledger.step(clock::now(), Input::Tick);
        self.tell(changes);
    }

    /// Tells the sinks and the history.
    fn tell(&mut self, changes: Vec<Change>) {
        for change in changes {
            log::change(&change);
            self.metrics.change(&change);
            if let Some(board) = &mut self.board {
                board.change(&change, &self.record, &mut self.pending);
            }
            let entry = HistoryEntry::of(&change);
            self.recent.add([entry.clone()]);
            self.pending.history.push_back(entry);
        }
    }

    /// Takes the changed rows out of the ledger, shows them, and keeps them
    /// for the store.
    fn collect(&mut self, now: Now) {
        let changed = self.ledger.take_dirty(now);
        self.metrics.faults(changed.iter().map(|(k, f)| (k, f.as_ref())));
        for (key, fault) in changed {
            if let (Some(board), Some(fault)) = (&mut self.board, &fault) {
                board.evidence(fault);
            }
            self.pending.faults.insert(key, fault);
        }
    }

    /// Hands rows, positions and history to the store in one parcel.
    fn hand_over(&mut self) {
        let now = clock::now();
        self.collect(now);
        let (late, resync) = self.store.late();
        if let Some(loaded) = late {
            self.restore_late(now, loaded);
        }
        self.pending.whole = resync;
        if resync {
            let all = self
                .ledger
                .faults()
                .map(|f: &Fault| (f.key.clone(), Some(f.at(now.boot))));
            self.pending.faults.extend(all);
            self.pending.positions.extend(self.positions.clone());
            self.pending.positions.extend(self.record.all());
        }
        self.store.put(std::mem::take(&mut self.pending));
        self.show(now);
        let stats = self.ledger.stats();
        self.metrics.ledger(&[
            ("dropped-values", stats.dropped_values),
            ("evicted", stats.evicted),
            ("notes", stats.notes),
            ("refused", stats.refused),
            ("unknown", stats.unknown),
            ("unplaced", stats.unplaced),
        ]);
    }

    /// Hands over the last that there is, and what stopwatches have counted.
    pub fn end(&mut self) {
        self.ledger.rest();
        self.hand_over();
    }

    /// Shows the node's state to the sinks that follow it.
    fn show(&mut self, now: Now) {
        let Some(board) = &mut self.board else { return };
        let began = *self.began.get_or_insert(now.boot);
        let waited = now.boot.since(began) >= RESTORE_PATIENCE;
        let complete =
            self.ready.waiting().is_empty() && (self.restored || waited);
        board.complete(complete);
        board.show(&self.ledger, &self.health);
    }

    /// What the board shows may not be so any more.
    fn show_stale(&mut self) {
        if let Some(board) = &mut self.board {
            board.stale();
        }
    }

    /// Tells the service manager that the ledger moves; from here, so that
    /// a ledger that stands still is started again.
    fn keep_alive(&mut self) {
        let boot = clock::boot();
        if let Some(limit) = self.watchdog
            && boot.since(self.pinged) >= limit / 4
        {
            self.pinged = boot;
            super::tell_manager(&[sd_notify::NotifyState::Watchdog]);
        }
        if self.tidying.is_new() {
            let began = *self.began.get_or_insert(boot);
            let waits = boot.since(began) < HEALTH_PATIENCE
                && self.health.values().any(Option::is_none);
            if waits || !self.ready.waiting().is_empty() {
                return;
            }
            self.sum_up();
        }
        if self.tidying.is_due(boot) {
            self.ledger.patterns().matcher.forget_unused();
            memory::give_back();
            memory::let_go_of_program();
        }
    }

    /// One line that says what runs, and what does not and why.
    fn sum_up(&self) {
        let mut up = Vec::new();
        let (mut down, mut absent) = (Vec::new(), Vec::new());
        for (id, health) in &self.health {
            match health {
                Some(Health::Up) => up.push(id.to_string()),
                Some(Health::Down(why)) => down.push(format!("{id}: {why}")),
                Some(Health::Absent(why)) => {
                    absent.push(format!("{id}: {why}"));
                }
                None => {}
            }
        }
        let store = self.store.status();
        let faults = self.ledger.faults().filter(|f| f.phase.is_raised());
        let some =
            |list: Vec<String>| (!list.is_empty()).then(|| list.join("; "));
        let status = format!("watching {}", up.join(", "));
        tracing::info!(
            node = self.identity.node,
            mode = self.identity.mode.word(),
            version = env!("CARGO_PKG_VERSION"),
            patterns = self.ledger.patterns().patterns.len(),
            up = some(up),
            down = some(down),
            absent = some(absent),
            faults = faults.count(),
            durable = store.durable,
            not_durable_because = store.reason,
            "faultline runs"
        );
        super::tell_manager(&[sd_notify::NotifyState::Status(&status)]);
    }
}
