//! The store's own thread. The ledger hands over what changed and goes on;
//! an fsync that hangs for ever costs durability, never detection.
//!
//! There is one pending set, in which the latest wins; what could not be
//! written goes back into it below what came since. The thread opens the
//! database too: on a dying system disk that hangs as well.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::database::Database;
use super::{Committed, Error, FILE, HISTORY_RECENT, Loaded, Pending, read_on};
use crate::clock;
use crate::ledger::fault::Fault;
use crate::machine::Machine;
use crate::time::Uptime;

/// Changes wait this long for company: a burst is one transaction, and the
/// loss of this much to a kill only means that it is read again. What a person
/// orders can't be read again; whoever answers them flushes first.
const GATHER: Duration = Duration::from_millis(50);

/// Positions alone wait longer; an ordinary kernel line must not cost a
/// transaction.
const GATHER_POSITIONS: Duration = Duration::from_secs(2);

/// The first pause after a failure; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(1);

/// The longest pause between two tries.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// A write that takes this long counts as hanging: the state is not durable
/// while it lasts.
const HUNG: Duration = Duration::from_secs(10);

/// Without work the thread looks this often whether its file is still there:
/// one that was removed takes writes as before, and loses all at the end.
const LOOK: Duration = Duration::from_secs(5);

/// Tells the ledger's thread that [`Store::late`] has something for it.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// What the metrics and the log tell of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether what the ledger holds reaches the disk.
    pub durable: bool,
    /// Why it does not.
    pub reason: Option<String>,
    /// Transactions written.
    pub writes: u64,
    /// Openings and writes that failed.
    pub errors: u64,
    /// History entries that were dropped because nothing could be written.
    pub dropped: u64,
}

/// The handle of the writer thread.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    directory: PathBuf,
    machine: Machine,
    state: Mutex<State>,
    /// There is something to do for the thread.
    work: Condvar,
    /// Something was done by the thread.
    done: Condvar,
    committed: Arc<Committed>,
    wake: Wake,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({})", self.directory.display())
    }
}

/// Whether the file began anew while the ledger may hold what it lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Resync {
    #[default]
    No,
    /// The ledger's thread has not been told yet.
    Wanted,
    /// It is handing over everything.
    Taken,
}

#[derive(Debug, Default)]
struct State {
    pending: Pending,
    status: Status,
    /// What an opening found and nobody has taken yet.
    loaded: Option<Loaded>,
    /// Whether an opening failed and the next one need not come out better.
    failed: bool,
    /// Until it is done, nothing is durable.
    resync: Resync,
    /// Whether the file was gone when it was last looked at.
    vanished: bool,
    /// Since when the thread is busy with the disk.
    busy: Option<Uptime>,
    /// Someone waits: write at once.
    hurry: bool,
    /// How often something was put, how many of them the thread has taken,
    /// and how many have reached the disk.
    puts: u64,
    taken: u64,
    written: u64,
    /// The agent ends.
    closing: bool,
}

impl Shared {
    /// The state; a panic elsewhere must not take the store along, and every
    /// change of the state is complete in itself.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Starts the thread, which opens the store in `directory`.
    pub fn start(directory: PathBuf, machine: Machine) -> Store {
        Store::waking(directory, machine, Box::new(|| ()))
    }

    /// The same, for a ledger that sleeps.
    pub fn waking(directory: PathBuf, machine: Machine, wake: Wake) -> Store {
        let mut state = State::default();
        state.status.reason = Some("not opened yet".into());
        let shared = Arc::new(Shared {
            directory,
            machine,
            state: Mutex::new(state),
            work: Condvar::new(),
            done: Condvar::new(),
            committed: Arc::default(),
            wake,
        });
        let theirs = Arc::clone(&shared);
        let spawned = std::thread::Builder::new()
            .name("store".into())
            .stack_size(512 * 1024)
            .spawn(move || run(&theirs));
        let thread = match spawned {
            Ok(thread) => Some(thread),
            Err(error) => {
                let mut state = shared.lock();
                state.status.reason = Some(format!("no thread: {error}"));
                drop(state);
                None
            }
        };
        Store { shared, thread: Mutex::new(thread) }
    }

    /// What the first opening found, waiting for it at most `patience`.
    /// `None`: nothing could be read so far; it may come by [`Store::late`].
    pub fn first(&self, patience: Duration) -> Option<Loaded> {
        let state = self.shared.lock();
        let (mut state, _) = self
            .shared
            .done
            .wait_timeout_while(state, patience, |state| {
                state.loaded.is_none() && !state.failed
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.loaded.take()
    }

    /// What a later opening found, and whether everything must be put anew,
    /// at once, because the file may lack it.
    pub fn late(&self) -> (Option<Loaded>, bool) {
        let mut state = self.shared.lock();
        let all = state.resync == Resync::Wanted;
        if all {
            state.resync = Resync::Taken;
        }
        (state.loaded.take(), all)
    }

    /// Whose position has reached the disk.
    pub fn committed(&self) -> Arc<Committed> {
        Arc::clone(&self.shared.committed)
    }

    /// Hands over what changed. Never waits for the disk.
    pub fn put(&self, newer: Pending) {
        if newer.is_empty() {
            return;
        }
        let mut state = self.shared.lock();
        let idle = state.pending.is_empty();
        let lazy = state.pending.only_positions();
        state.status.dropped += state.pending.merge(newer);
        state.puts += 1;
        // Otherwise the thread is gathering already, and fast enough.
        let wake = idle || (lazy && !state.pending.only_positions());
        drop(state);
        if wake {
            self.shared.work.notify_one();
        }
    }

    /// How the store does.
    pub fn status(&self) -> Status {
        let state = self.shared.lock();
        let mut status = state.status.clone();
        let hung = state
            .busy
            .map(|since| clock::boot().since(since))
            .filter(|busy| *busy >= HUNG);
        if let Some(busy) = hung {
            status.durable = false;
            let busy = crate::time::show_duration(busy);
            status.reason =
                Some(format!("the disk has not answered for {busy}"));
        }
        status
    }

    /// Writes what has been put, waiting at most `patience`; whether all of
    /// it was written. One that fails is not waited for again.
    pub fn flush(&self, patience: Duration) -> bool {
        let mut state = self.shared.lock();
        state.hurry = true;
        self.shared.work.notify_one();
        let (goal, errors) = (state.puts, state.status.errors);
        let (mut state, _) = self
            .shared
            .done
            .wait_timeout_while(state, patience, |state| {
                state.written < goal && state.status.errors == errors
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.hurry &= state.written < state.puts;
        state.written >= goal
    }

    /// Writes what is pending and ends the thread, waiting at most
    /// `patience` for both; whether everything was written.
    pub fn close(&self, patience: Duration) -> bool {
        let written = self.flush(patience);
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
        // A thread that hangs in the disk is left behind; the process ends.
        let thread = self.thread.lock();
        let thread = thread.unwrap_or_else(PoisonError::into_inner).take();
        match thread {
            Some(thread) if written => thread.join().is_ok(),
            _ => written,
        }
    }
}

/// The thread.
fn run(shared: &Shared) {
    let mut database = None;
    let mut pause = RETRY_MIN;
    // Whether this process opened the store before.
    let mut opened = false;
    loop {
        if database.is_none() {
            database = open(shared, &mut opened);
        }
        let written = match database.as_mut() {
            Some(open) => write_next(shared, open),
            None => Some(false),
        };
        match written {
            None => return,
            Some(true) => pause = RETRY_MIN,
            Some(false) => {
                // Opening again is the way back from a file that was
                // removed, replaced, damaged or remounted.
                database = None;
                if !wait_to_retry(shared, pause) {
                    return;
                }
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }
}

/// Opens the store, or at least reads it; tells the ledger what is in it.
fn open(shared: &Shared, opened: &mut bool) -> Option<Database> {
    shared.lock().busy = Some(clock::boot());
    let now = clock::now().wall;
    let result = Database::open(&shared.directory, &shared.machine, now);
    // What can't be written may still be read: no fault is forgotten over
    // a disk that went read-only.
    let (database, loaded, error) = match result {
        Ok((database, loaded)) => (Some(database), Some(loaded), None),
        Err(error) if *opened => (None, None, Some(error)),
        Err(error) => {
            let (directory, machine) = (&shared.directory, &shared.machine);
            let loaded = read_on(directory, machine, HISTORY_RECENT);
            (None, loaded.ok(), Some(error))
        }
    };
    let mut state = shared.lock();
    state.busy = None;
    if let Some(mut loaded) = loaded {
        shared.committed.add(&loaded.positions);
        // What is pending is newer than what was found, where this process
        // wrote it; before the first opening it did not know what it holds.
        let is_newer = |f: &Fault| state.pending.faults.contains_key(&f.key);
        loaded.faults.retain(|f| !(*opened && is_newer(f)));
        let moved = &state.pending.positions;
        loaded.positions.retain(|id, _| !(*opened && moved.contains_key(id)));
        if std::mem::replace(opened, true) {
            state.resync = Resync::Wanted;
            let untold = loaded.history.is_empty() && loaded.notes.is_empty();
            if std::mem::take(&mut state.vanished) && untold {
                loaded.notes.push(format!(
                    "{} was begun anew; the history before is gone with the \
                     file that was there",
                    shared.directory.join(FILE).display(),
                ));
            }
        }
        state.loaded = Some(loaded);
    }
    state.failed |= error.as_ref().is_some_and(|e| !e.is_contention());
    if error.is_some() {
        shared.committed.fail();
    }
    // One try is all that a flush gets from a store that can't be opened.
    state.hurry &= error.is_none();
    // A full disk lets itself be opened: what waits to be written tells
    // whether that helps.
    let unproven = state.status.errors > 0 && !state.pending.is_empty();
    if error.is_some() || !unproven {
        settle(&mut state, error.as_ref());
    }
    let news = state.loaded.is_some();
    drop(state);
    shared.done.notify_all();
    if news {
        (shared.wake)();
    }
    database
}

/// Waits for work and writes it; `None` ends the thread.
fn write_next(shared: &Shared, database: &mut Database) -> Option<bool> {
    let Some(pending) = gather(shared)? else {
        let looked = database.look();
        if looked.is_ok() {
            database.rest();
        }
        let mut state = shared.lock();
        state.busy = None;
        shared.done.notify_all();
        let good = looked.is_ok();
        if let Err(error) = looked {
            settle(&mut state, Some(&error));
        }
        return Some(good);
    };
    let has_time = pending.only_positions();
    let result = database.write(&pending);
    if has_time && result.is_ok() {
        database.rest();
    }
    let mut state = shared.lock();
    state.busy = None;
    let good = result.is_ok();
    if good {
        if pending.whole && state.resync == Resync::Taken {
            state.resync = Resync::No;
        }
        state.written = state.taken;
        state.status.writes += 1;
        shared.committed.add(&pending.positions);
    } else {
        shared.committed.fail();
        let newer = std::mem::replace(&mut state.pending, pending);
        let dropped = state.pending.merge(newer);
        state.status.dropped += dropped;
        state.hurry = false;
    }
    settle(&mut state, result.as_ref().err());
    shared.done.notify_all();
    Some(good)
}

/// Takes the pending set when it is time to write it; `Some(None)`: there has
/// been none for a while. `None`: the agent ends.
fn gather(shared: &Shared) -> Option<Option<Pending>> {
    let mut state = shared.lock();
    let mut waited = Duration::ZERO;
    loop {
        let empty = state.pending.is_empty();
        if state.closing && empty {
            return None;
        }
        let urgent = state.hurry || state.closing;
        let limit = match (empty, state.pending.only_positions()) {
            (true, _) => LOOK,
            (_, true) => GATHER_POSITIONS,
            _ => GATHER,
        };
        if waited >= limit || (urgent && !empty) {
            break;
        }
        let begin = clock::boot();
        let woken = shared.work.wait_timeout(state, limit - waited);
        state = woken.unwrap_or_else(PoisonError::into_inner).0;
        // Without work, what comes now begins to wait now.
        waited = match empty && !state.pending.is_empty() {
            true => Duration::ZERO,
            false => waited + clock::boot().since(begin),
        };
    }
    // Looking at the file may hang as writing may.
    state.busy = Some(clock::boot());
    if state.pending.is_empty() {
        return Some(None);
    }
    state.taken = state.puts;
    Some(Some(std::mem::take(&mut state.pending)))
}

/// Pauses after a failure; whether to go on.
fn wait_to_retry(shared: &Shared, pause: Duration) -> bool {
    let state = shared.lock();
    let (state, _) = shared
        .work
        .wait_timeout_while(state, pause, |s| !s.closing && !s.hurry)
        .unwrap_or_else(PoisonError::into_inner);
    !state.closing
}

/// Notes success or failure, and logs once for each new reason.
fn settle(state: &mut State, error: Option<&Error>) {
    if error.is_none() && state.resync != Resync::No {
        return;
    }
    let status = &mut state.status;
    let Some(error) = error else {
        if !status.durable && status.errors > 0 {
            tracing::info!("the state is durable again");
        }
        status.durable = true;
        status.reason = None;
        return;
    };
    state.vanished |= matches!(error, Error::Vanished { .. });
    status.errors += 1;
    status.durable = false;
    let reason = error.to_string();
    if status.reason.as_ref() != Some(&reason) {
        tracing::error!(
            reason,
            "the state is not durable; detection goes on, and it is written \
             when that is possible again"
        );
    }
    status.reason = Some(reason);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_hangs_is_told_while_it_hangs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let store = Store::start(path, Machine::default());
        store.first(Duration::from_secs(20)).unwrap();
        assert!(store.status().durable);
        // As if it had begun when the machine did.
        store.shared.lock().busy = Some(Uptime(0));
        let status = store.status();
        assert!(!status.durable);
        let reason = status.reason.unwrap();
        assert!(reason.contains("has not answered for"), "{reason}");
        store.shared.lock().busy = None;
        assert!(store.status().durable);
    }

    #[test]
    fn what_could_not_be_written_yields_to_what_came_since() {
        let position = |text: &str| {
            let positions =
                [("kmsg".into(), crate::signal::Position(text.into()))];
            Pending { positions: positions.into(), ..Pending::default() }
        };
        let mut pending = position("1");
        assert!(pending.only_positions() && !pending.is_empty());
        assert_eq!(pending.merge(position("2")), 0);
        assert_eq!(pending.positions["kmsg"].0, "2");
    }
}
