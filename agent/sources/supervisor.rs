//! The supervisor: a thread for each source, restarted when it fails.
//!
//! A source that fails or panics is reported down with the reason, logged
//! once for each reason, and started again after a pause that doubles up to a
//! limit. It never delays another source.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Unexplained;
use super::{Counters, End, Failure, Local, PatternsCell, Setup, Stats, Stop};
use crate::clock;
use crate::observation::Source;
use crate::queue::Message;
use crate::signal::{Batch, Event, Health, Position, SourceId};
use crate::store::Committed;

/// The pause before the first restart; it doubles with each failure.
const BACKOFF_MIN: Duration = Duration::from_secs(1);

/// The longest pause: what is missing may appear (a module is loaded, a
/// package installed), and nobody should have to restart the agent for it.
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// How often it is looked whether what can't exist here does by now: drivers
/// are loaded, and loaded anew. A look costs some microseconds.
const ABSENT: Duration = Duration::from_secs(30);

/// A source that ran for so long before it failed starts anew with the
/// shortest pause.
const SETTLED: Duration = Duration::from_secs(600);

/// How long a source waits for its first position to be written. A disk that
/// takes longer is sick, and what it says of itself must be read.
const COMMIT_PATIENCE: Duration = Duration::from_secs(2);

/// How many different reasons of one source are remembered as logged; past
/// that, new ones are only in the health.
const REASONS_MAX: usize = 32;

/// What every source's thread is given.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Where batches and health go.
    pub queue: SyncSender<Message>,
    /// The patterns in force.
    pub patterns: Arc<PatternsCell>,
    /// Everyone's counters.
    pub stats: Arc<Stats>,
    /// What no pattern takes.
    pub unexplained: Arc<Unexplained>,
    /// Told once, all sources end.
    pub stop: Stop,
    /// Whose position is on the disk; none where nothing is kept.
    pub committed: Option<Arc<Committed>>,
    /// Whether to read what there is and end, as `scan` does.
    pub once: bool,
}

/// A source's own view of the world: its patterns, positions and counters,
/// and the ways out.
#[derive(Debug)]
pub struct Context {
    /// Which source.
    pub source: Source,
    /// The patterns, as of the last refresh.
    pub patterns: Local,
    /// What no pattern takes.
    pub unexplained: Arc<Unexplained>,
    /// Told when to end.
    pub stop: Stop,
    /// Whether to read what there is and end.
    pub once: bool,
    /// Where to go on, for each instance of the source; kept up to date with
    /// what was sent, so that a restart of the thread repeats nothing.
    pub positions: BTreeMap<SourceId, Position>,
    queue: SyncSender<Message>,
    stats: Arc<Stats>,
    committed: Option<Arc<Committed>>,
    health: BTreeMap<SourceId, Health>,
}

/// The ledger is gone: there is nobody to read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger has ended")]
pub struct Closed;

impl Context {
    /// A context for one source; tests make their own.
    pub fn new(
        source: Source,
        shared: &Shared,
        positions: BTreeMap<SourceId, Position>,
    ) -> Context {
        Context {
            source,
            patterns: Local::new(&shared.patterns),
            unexplained: Arc::clone(&shared.unexplained),
            stop: shared.stop.clone(),
            once: shared.once,
            positions,
            queue: shared.queue.clone(),
            stats: Arc::clone(&shared.stats),
            committed: shared.committed.clone(),
            health: BTreeMap::new(),
        }
    }

    /// The counters of one instance.
    pub fn counters(&self, id: &SourceId) -> Arc<Counters> {
        self.stats.of(id)
    }

    /// Sends what happened and where the source stands after it; waits while
    /// the queue is full.
    ///
    /// # Errors
    /// When the ledger has ended.
    pub fn send(
        &mut self,
        id: &SourceId,
        events: Vec<Event>,
        position: Option<Position>,
    ) -> Result<(), Closed> {
        if let Some(position) = &position {
            self.positions.insert(Arc::clone(id), position.clone());
        }
        let (source, id) = (self.source, Arc::clone(id));
        let batch = Batch { source, id, events, position };
        self.queue.send(Message::Batch(batch)).map_err(|_| Closed)
    }

    /// Waits until the positions that these instances have sent are on the
    /// disk, if that can be soon.
    pub fn until_committed(&self, ids: &[SourceId]) {
        let Some(committed) = &self.committed else { return };
        let until = clock::boot().plus(COMMIT_PATIENCE);
        for id in ids {
            committed.wait(id, until.since(clock::boot()));
        }
    }

    /// Tells the health of one instance, if it is another than last told.
    ///
    /// # Errors
    /// When the ledger has ended.
    pub fn tell(
        &mut self,
        id: &SourceId,
        health: Health,
    ) -> Result<(), Closed> {
        if self.health.get(id) == Some(&health) {
            return Ok(());
        }
        self.health.insert(Arc::clone(id), health.clone());
        let message = Message::Health(Arc::clone(id), health);
        self.queue.send(message).map_err(|_| Closed)
    }

    /// Tells that an instance is gone; where it stood is kept.
    ///
    /// # Errors
    /// When the ledger has ended.
    pub fn gone(&mut self, id: &SourceId) -> Result<(), Closed> {
        self.health.remove(id);
        self.stats.forget(id);
        let message = Message::Gone(Arc::clone(id));
        self.queue.send(message).map_err(|_| Closed)
    }

    /// Tells that the source as a whole does not read, and so none of its
    /// instances: what they saw last must not pass for silence.
    ///
    /// # Errors
    /// When the ledger has ended.
    fn tell_all(
        &mut self,
        id: &SourceId,
        health: &Health,
    ) -> Result<(), Closed> {
        let up = self.health.iter().filter(|(_, h)| **h == Health::Up);
        let up: Vec<SourceId> = up.map(|(id, _)| Arc::clone(id)).collect();
        for instance in up.iter().chain([id]) {
            self.tell(instance, health.clone())?;
        }
        Ok(())
    }

    /// Tells that one instance reads.
    ///
    /// # Errors
    /// When the ledger has ended.
    pub fn up(&mut self, id: &SourceId) -> Result<(), Closed> {
        self.tell(id, Health::Up)
    }
}

/// The ledger's end is a reason to end, never to restart.
impl From<Closed> for Failure {
    fn from(closed: Closed) -> Failure {
        Failure(closed.to_string())
    }
}

/// The running threads.
#[derive(Debug)]
pub struct Running {
    stop: Stop,
    threads: BTreeMap<SourceId, JoinHandle<()>>,
    ended: Receiver<SourceId>,
}

/// Starts a thread for each source. `positions` are the committed ones.
///
/// # Errors
/// When a thread cannot be made.
pub fn start(
    setups: Vec<Setup>,
    shared: &Shared,
    positions: &BTreeMap<SourceId, Position>,
) -> std::io::Result<Running> {
    let (sender, ended) = channel();
    let mut threads = BTreeMap::new();
    for setup in setups {
        let (id, sender) = (setup.id(), sender.clone());
        let context = Context::new(setup.source(), shared, positions.clone());
        let ran = Arc::clone(&id);
        let thread = std::thread::Builder::new()
            .name(format!("source-{id}"))
            .spawn(move || {
            supervise(&setup, context);
            // The receiver is gone only when nobody waits for the end.
            let _ = sender.send(ran);
        })?;
        threads.insert(id, thread);
    }
    Ok(Running { stop: shared.stop.clone(), threads, ended })
}

impl Running {
    /// Tells every source to end.
    pub fn stop(&self) {
        self.stop.tell();
    }

    /// Those that have not ended by themselves.
    pub fn unfinished(&self) -> Vec<SourceId> {
        let running = self.threads.iter().filter(|(_, t)| !t.is_finished());
        running.map(|(id, _)| Arc::clone(id)).collect()
    }

    /// Waits up to `time` for each to end; says which did not. Whoever holds
    /// the queue's receiver must take from it meanwhile, or drop it: a source
    /// may be waiting to send.
    pub fn join(mut self, time: Option<Duration>) -> Vec<SourceId> {
        while !self.threads.is_empty() {
            let ended = match time {
                Some(time) => self.ended.recv_timeout(time),
                None => self
                    .ended
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
            };
            let Ok(id) = ended else { break };
            if let Some(thread) = self.threads.remove(&id) {
                // Panics are caught inside; there is no other error.
                let _ = thread.join();
            }
        }
        self.threads.into_keys().collect()
    }
}

/// Runs one source until it is told to stop.
fn supervise(setup: &Setup, mut context: Context) {
    let id = setup.id();
    let counters = context.counters(&id);
    let mut logged = BTreeSet::new();
    let mut again = Again(BACKOFF_MIN);
    loop {
        let began = clock::boot();
        let result = caught(|| setup.run(&mut context));
        if context.stop.is_told() {
            return;
        }
        let health = match result {
            Ok(End::Stopped) => return,
            Ok(End::Absent(why)) => Health::Absent(why),
            Err(Failure(why)) => Health::Down(why),
        };
        log_once(&id, &health, &mut logged);
        if context.tell_all(&id, &health).is_err() || context.once {
            return;
        }
        let (pause, failed) = again.after(&health, clock::boot().since(began));
        if context.stop.sleep(pause) {
            return;
        }
        Counters::add(&counters.restarts, u64::from(failed));
    }
}

/// How long a source that failed waits next.
struct Again(Duration);

impl Again {
    /// How long it waits now that it ended after `lived`, and whether it
    /// failed: what isn't there has not.
    fn after(&mut self, health: &Health, lived: Duration) -> (Duration, bool) {
        if matches!(health, Health::Absent(_)) {
            return (ABSENT, false);
        }
        if lived >= SETTLED {
            self.0 = BACKOFF_MIN;
        }
        let pause = self.0;
        self.0 = (pause * 2).min(BACKOFF_MAX);
        (pause, true)
    }
}

/// Runs `source`; a panic is a failure with its message.
fn caught(
    source: impl FnOnce() -> Result<End, Failure>,
) -> Result<End, Failure> {
    // What a panic leaves half done is the source's own, made anew at the
    // restart; the context's maps are only ever replaced as a whole.
    match catch_unwind(AssertUnwindSafe(source)) {
        Ok(result) => result,
        Err(payload) => {
            let text = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied());
            let text = text.unwrap_or("no message");
            Err(Failure(format!("it panicked, which is a bug: {text}")))
        }
    }
}

fn log_once(id: &SourceId, health: &Health, logged: &mut BTreeSet<String>) {
    let (word, why) = match health {
        Health::Up => return,
        Health::Down(why) => ("down", why),
        Health::Absent(why) => ("absent", why),
    };
    if logged.len() < REASONS_MAX && logged.insert(why.clone()) {
        if word == "down" {
            tracing::warn!(source = %id, reason = %why, "source is down");
        } else {
            tracing::info!(source = %id, reason = %why, "source is absent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failure_with_its_message() {
        let number = 7;
        let Err(Failure(why)) = caught(|| panic!("bad number {number}")) else {
            panic!("it did not fail");
        };
        assert_eq!(why, "it panicked, which is a bug: bad number 7");
        let stopped = caught(|| Ok(End::Stopped));
        assert_eq!(stopped, Ok(End::Stopped));
    }

    #[test]
    fn what_is_absent_has_not_failed_and_what_fails_waits_ever_longer() {
        let mut again = Again(BACKOFF_MIN);
        let (absent, down) =
            (Health::Absent("no BMC".into()), Health::Down("EIO".into()));
        let at_once = Duration::ZERO;
        for _ in 0..9 {
            assert_eq!(again.after(&absent, at_once), (ABSENT, false));
        }
        assert_eq!(again.after(&down, at_once), (BACKOFF_MIN, true));
        assert_eq!(again.after(&down, at_once), (BACKOFF_MIN * 2, true));
        for _ in 0..20 {
            again.after(&down, at_once);
        }
        assert_eq!(again.after(&down, at_once), (BACKOFF_MAX, true));
        assert_eq!(again.after(&down, SETTLED), (BACKOFF_MIN, true));
    }

    #[test]
    fn a_source_that_fails_takes_its_instances_down() {
        let (mut context, receiver) =
            super::super::guard::tests::context(Source::File);
        let (file, one) = (SourceId::from("file"), SourceId::from("file:/a"));
        context.up(&file).unwrap();
        context.up(&one).unwrap();
        let down = Health::Down("it panicked".into());
        context.tell_all(&file, &down).unwrap();
        context.up(&one).unwrap();
        let told: Vec<_> = receiver
            .try_iter()
            .map(|message| match message {
                Message::Health(id, health) => (id, health),
                other => panic!("{other:?}"),
            })
            .collect();
        let up = Health::Up;
        assert_eq!(
            told[2..],
            [(file, down.clone()), (one.clone(), down), (one, up),]
        );
    }

    #[test]
    fn a_reason_is_logged_once_and_reasons_are_bounded() {
        let id = SourceId::from("kmsg");
        let mut logged = BTreeSet::new();
        for n in 0..REASONS_MAX * 2 {
            let health = Health::Down(format!("reason {n}"));
            log_once(&id, &health, &mut logged);
            log_once(&id, &health, &mut logged);
        }
        assert_eq!(logged.len(), REASONS_MAX);
    }
}
