//! `faultline run`: the shell around the ledger. Starts the threads, owns the
//! ledger on this one, and ends it all in order.
//!
//! What can hang (a disk, a reader of the log, an HTTP client) has a thread
//! of its own; this thread waits for the queue alone. A panic here ends the
//! process on purpose: it starts again from the stored state.

mod answers;
mod bmcs;
#[cfg_attr(not(feature = "kubernetes"), path = "run/no_cluster.rs")]
pub mod cluster;
pub mod keeper;
mod patterns;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use sd_notify::NotifyState;

use crate::clock;
use crate::config::Config;
use crate::ledger::{Ledger, Options};
use crate::machine::Machine;
use crate::queue::{Message, queue};
use crate::signal::SourceId;
use crate::sinks::http::{self, Agent, Listeners, Ready, socket};
use crate::sinks::log::Log;
use crate::sinks::metrics::Metrics;
use crate::sinks::record::Record;
use crate::sources::{
    self, PatternsCell, Running, Setup, Shared, Stats, Stop, Unexplained,
    kmsg_privilege,
};
use crate::store::{Recent, Store};
use crate::time::BootId;
use keeper::{Ended, Identity, Keeper};
use patterns::Patterns;

/// How long the start waits for the stored state. A disk that takes longer
/// is sick; detection begins without it, and the state is taken up late.
const STORE_PATIENCE: Duration = Duration::from_secs(3);

/// How long sources have to end.
const SOURCES_PATIENCE: Duration = Duration::from_secs(2);

/// How long the store has to write what is left.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

/// How long the log has to be written at the end.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A permission is missing: what, and how to get it.
    #[error("{0}")]
    Denied(String),
    /// Something else keeps it from starting.
    #[error("{0}")]
    Start(String),
    /// The ledger's thread panicked, which is a bug.
    #[error("the ledger failed; the agent ends to start from its state")]
    Panicked,
}

/// Runs the agent until it is told to stop.
///
/// # Errors
/// It can't start, or its ledger failed.
pub fn run(config: &Config) -> Result<(), Error> {
    check_privileges(config)?;
    // Before the first thread, so that every one inherits the mask and only
    // the one that waits for signals gets them.
    let signals = block_signals().map_err(start_error)?;
    let log = Log::start(config.log).map_err(Error::Start)?;
    log_panics();
    let result = run_logged(config, &log, signals);
    if let Err(error) = &result {
        tracing::error!(%error, "faultline ends");
    }
    log.flush(LOG_PATIENCE);
    result
}

fn run_logged(
    config: &Config,
    log: &Log,
    signals: SigSet,
) -> Result<(), Error> {
    let (sender, queue) = queue();
    let (mut keeper, shared, patterns) = assemble(config, &sender)?;
    let cluster = cluster::join(config, &mut keeper, &sender)?;
    let socket = serve(config, &keeper, &shared, log, cluster)?;
    let hash = keeper.ledger.patterns().hash;
    let look = patterns.watch(hash, sender.clone()).map_err(start_error)?;
    wait_for_signals(signals, sender.clone(), look).map_err(start_error)?;
    let positions = keeper.positions.clone();
    let setups = setups(config);
    keeper.desk = setups.iter().find_map(Setup::desk);
    let board = setups.iter().find_map(Setup::board);
    if let Some(board) = &board {
        keeper.metrics.bmcs(board.clone());
    }
    let names = bmcs::names(&setups);
    let running =
        sources::start(setups, &shared, &positions).map_err(start_error)?;
    bmcs::look_for_more(config, board, names, &shared, &positions)
        .map_err(start_error)?;
    tell_manager(&[NotifyState::Ready]);
    // What a panic leaves behind is never looked at again.
    let worked = catch_unwind(AssertUnwindSafe(|| {
        keeper.run(&queue, None);
        end(&mut keeper, &queue, &sender, running);
    }));
    if let Some(socket) = socket {
        socket.remove();
    }
    worked.map_err(|_| Error::Panicked)
}

fn start_error(error: impl std::fmt::Display) -> Error {
    Error::Start(error.to_string())
}

/// Refuses to run where the kernel's log is there and may not be read.
fn check_privileges(config: &Config) -> Result<(), Error> {
    if !config.sources.kmsg.enabled {
        return Ok(());
    }
    let device = kmsg_path(config);
    match kmsg_privilege::check(&device, &config.root) {
        kmsg_privilege::Verdict::Denied(why) => Err(Error::Denied(why)),
        kmsg_privilege::Verdict::Readable | kmsg_privilege::Verdict::Absent => {
            Ok(())
        }
    }
}

fn kmsg_path(config: &Config) -> std::path::PathBuf {
    under(&config.root, &config.sources.kmsg.path)
}

/// An absolute path of the host, below `root`.
fn under(root: &Path, path: &Path) -> std::path::PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Makes everything that the ledger's thread works with, and puts the stored
/// state back.
fn assemble(
    config: &Config,
    sender: &SyncSender<Message>,
) -> Result<(Keeper, Shared, Patterns), Error> {
    let now = clock::now();
    let machine = Machine::read(&config.root);
    // The disk works while the patterns compile.
    let waker = sender.clone();
    let wake = move || {
        // A full queue is one that is being worked at.
        let _ = waker.try_send(Message::Store);
    };
    let directory = config.state_dir.clone();
    let store = Arc::new(Store::waking(directory, machine, Box::new(wake)));
    let metrics = Arc::new(Metrics::new());
    let mut patterns = Patterns::new(
        config.patterns.clone(),
        &config.state_dir,
        Arc::clone(&metrics),
    );
    let set = patterns.load().map_err(Error::Start)?;
    let identity = Identity {
        node: config.node_name(std::env::var("NODE_NAME").ok()),
        mode: config.mode,
        boot: boot_id(&config.root),
        started: now.wall,
    };
    let options = Options {
        node: identity.node.clone(),
        boot: identity.boot.clone(),
        mode: config.mode.stage(),
    };
    let setups = setups(config);
    let names = setups.iter().map(|s| s.source().name().to_owned());
    let health = setups.iter().map(|s| (s.id(), None)).collect();
    metrics.pattern_set(set.patterns.len(), set.hash);
    metrics.accept_userspace(config.sources.kmsg.accept_userspace);
    if config.sources.kmsg.accept_userspace {
        tracing::warn!(
            "accept_userspace is set: any process that may write to the \
             kernel log can open any fault"
        );
    }
    let shared = Shared {
        queue: sender.clone(),
        patterns: Arc::new(PatternsCell::new(Arc::clone(&set))),
        stats: Arc::new(Stats::default()),
        unexplained: Arc::new(Unexplained::default()),
        stop: Stop::new().map_err(start_error)?,
        committed: Some(store.committed()),
        once: false,
    };
    let loaded = store.first(STORE_PATIENCE);
    let record = Record::new(Arc::clone(&store));
    let mut keeper = Keeper {
        ledger: Ledger::new(set, options),
        identity,
        cell: Arc::clone(&shared.patterns),
        stats: Arc::clone(&shared.stats),
        unexplained: Arc::clone(&shared.unexplained),
        rejections: patterns.rejections(),
        store,
        recent: Arc::new(Recent::default()),
        metrics,
        ready: Ready::waiting_for(names.collect()),
        health,
        positions: BTreeMap::new(),
        pending: Default::default(),
        restored: false,
        began: None,
        watchdog: sd_notify::watchdog_enabled(),
        pinged: Default::default(),
        tidying: Default::default(),
        desk: None,
        board: None,
        record,
    };
    match loaded {
        Some(loaded) => keeper.restore(now, loaded),
        None => {
            keeper.ledger.await_store();
            keeper.ledger.patterns().expect_all();
        }
    }
    Ok((keeper, shared, patterns))
}

/// This boot's id, as the kernel log's source reads it; without one every
/// start looks like the same boot, which proves no reboot.
fn boot_id(root: &Path) -> BootId {
    let path = sources::kmsg::Options::under(root).boot_id;
    BootId(sources::kmsg_open::boot_id(&path).unwrap_or_default())
}

/// What the configuration says is to be read.
pub fn setups(config: &Config) -> Vec<Setup> {
    use crate::config::Every;
    use crate::sources::{
        Poll, file, hwmon, inventory, journal, kmsg, mount, trace,
    };
    let (root, wanted) = (&config.root, &config.sources);
    let mut setups = Vec::new();
    if wanted.kmsg.enabled {
        setups.push(Setup::Kmsg(kmsg::Options {
            path: kmsg_path(config),
            accept_userspace: wanted.kmsg.accept_userspace,
            ..kmsg::Options::under(root)
        }));
    }
    if wanted.journal.enabled {
        let host = root.join("var/log/journal");
        setups.push(Setup::Journal(journal::Options {
            directory: (root != Path::new("/")).then_some(host),
            kernel: wanted.journal.kernel,
            ..journal::Options::default()
        }));
    }
    if !wanted.file.paths.is_empty() {
        let follow = |path: &crate::config::FilePath| file::Follow {
            glob: path.glob.clone(),
            trust: file::Trust {
                kernel: path.kernel,
                machine_checks: path.machine_checks,
            },
        };
        setups.push(Setup::File(file::Options {
            follow: wanted.file.paths.iter().map(follow).collect(),
            root: root.clone(),
        }));
    }
    if wanted.mount.enabled {
        setups.push(Setup::Mount(mount::Options::under(root)));
    }
    let poll = |every: &Every| Poll { root: root.clone(), every: every.0 };
    if wanted.edac.enabled {
        setups.push(Setup::Edac(poll(&wanted.edac.every)));
    }
    if wanted.aer.enabled {
        setups.push(Setup::Aer(poll(&wanted.aer.every)));
    }
    if wanted.disk.enabled {
        setups.push(Setup::Disk(poll(&wanted.disk.every)));
    }
    if wanted.raid.enabled {
        setups.push(Setup::Raid(poll(&wanted.raid.every)));
    }
    if wanted.pcie.enabled {
        setups.push(Setup::Pcie(poll(&wanted.pcie.every)));
    }
    if wanted.host.enabled {
        setups.push(Setup::Host(poll(&wanted.host.every)));
    }
    let mut shelf = Default::default();
    if wanted.inventory.enabled {
        let labels = wanted.inventory.labels.clone();
        let mut options = inventory::Options::under(root, labels);
        options.every = wanted.inventory.every.0;
        options.expect.clone_from(&wanted.inventory.expect);
        shelf = options.shelf.clone();
        setups.push(Setup::Inventory(options));
    }
    setups.extend(bmcs::setups(config, shelf));
    if wanted.hwmon.enabled {
        let board = setups.iter().find_map(Setup::board);
        let poll = poll(&wanted.hwmon.every);
        setups.push(Setup::Hwmon(hwmon::Options { poll, board }));
    }
    if wanted.mce.enabled {
        setups.push(Setup::Mce(trace::Options::under(root)));
    }
    setups
}

/// Tells the service manager, if there is one. Whether it listens is not our
/// concern.
fn tell_manager(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}

/// Binds what is to be served and starts serving; the socket's file.
fn serve(
    config: &Config,
    keeper: &Keeper,
    shared: &Shared,
    log: &Log,
    cluster: Option<cluster::Joined>,
) -> Result<Option<socket::Bound>, Error> {
    let tcp = config.listen.0.map(http::bind).transpose();
    let tcp = tcp.map_err(|e| {
        Error::Start(format!("{e}; choose another with --listen or listen:"))
    })?;
    let group = &config.socket_group;
    let unix = match socket::bind(&config.socket, group, &config.root) {
        Ok(unix) => Some(unix),
        Err(error @ socket::Error::Taken { .. }) => {
            return Err(start_error(error));
        }
        // A node must not go unwatched because its /run is full.
        Err(error) => {
            tracing::error!(%error, "no socket: status and clear won't work");
            None
        }
    };
    let bound = unix.as_ref().map(|_| socket::Bound::of(&config.socket));
    let (counts, beside) = match cluster {
        Some(joined) => (Some(joined.counts), Some(joined.task)),
        None => (None, None),
    };
    let agent = Agent {
        queue: shared.queue.clone(),
        metrics: Arc::clone(&keeper.metrics),
        stats: Arc::clone(&keeper.stats),
        unexplained: Arc::clone(&keeper.unexplained),
        store: Arc::clone(&keeper.store),
        recent: Arc::clone(&keeper.recent),
        state_dir: config.state_dir.clone(),
        log: log.clone(),
        ready: keeper.ready.clone(),
        long: Default::default(),
        cluster: counts,
    };
    http::start(Listeners { tcp, unix }, Arc::new(agent), beside)
        .map_err(start_error)?;
    Ok(bound)
}

fn block_signals() -> nix::Result<SigSet> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGHUP);
    signals.thread_block()?;
    Ok(signals)
}

/// Starts the thread that turns SIGHUP into a look at the pattern files, the
/// first other signal into an orderly end, and the second into an end.
fn wait_for_signals(
    signals: SigSet,
    sender: SyncSender<Message>,
    look: SyncSender<()>,
) -> std::io::Result<()> {
    let builder = std::thread::Builder::new().name("signals".into());
    let next = move || loop {
        let signal = signals.wait().ok()?;
        if signal != Signal::SIGHUP {
            return Some(signal);
        }
        tracing::info!("SIGHUP: looking at the pattern files");
        // The thread that looks ends only with the ledger's.
        let _ = look.try_send(());
    };
    builder.spawn(move || {
        let Some(signal) = next() else { return };
        tracing::info!(signal = signal.as_str(), "stopping");
        tell_manager(&[NotifyState::Stopping]);
        // A ledger that is gone has nothing left to end.
        let _ = sender.send(Message::Shutdown);
        if next().is_some() {
            std::process::exit(1);
        }
    })?;
    Ok(())
}

/// Ends in order: sources, what they still sent, the store.
fn end(
    keeper: &mut Keeper,
    queue: &Receiver<Message>,
    sender: &SyncSender<Message>,
    running: Running,
) {
    running.stop();
    let sender = sender.clone();
    // Somebody must take from the queue while sources end, since one may be
    // waiting to send; and only a message wakes whoever does.
    let waiter = std::thread::spawn(move || -> Vec<SourceId> {
        let left = running.join(Some(SOURCES_PATIENCE));
        let _ = sender.send(Message::Shutdown);
        left
    });
    let limit = clock::boot().plus(SOURCES_PATIENCE * 2);
    if keeper.run(queue, Some(limit)) == Ended::Told
        && let Ok(left) = waiter.join()
        && !left.is_empty()
    {
        tracing::warn!(sources = left.join(", "), "did not end in time");
    }
    keeper.end();
    if keeper.store.close(FLUSH_PATIENCE) {
        tracing::info!("stopped; everything is written");
    } else {
        let reason = keeper.store.status().reason;
        tracing::error!(reason, "stopped; not everything could be written");
    }
}

/// A panic is a bug, and its place belongs in the log. Sources catch theirs;
/// the ledger's ends the process.
fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        let place = info.location().map(|l| l.to_string());
        tracing::error!(
            thread = thread.name().unwrap_or("unnamed"),
            place,
            reason = info.payload_as_str().unwrap_or("no message"),
            "panic"
        );
    }));
}
