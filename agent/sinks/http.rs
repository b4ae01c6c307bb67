//! The HTTP server: metrics, health and the JSON API on TCP, read-only; the
//! same and `clear` on the unix socket.
//!
//! One thread with a runtime of its own. It owns no state: what only the
//! ledger knows it asks over the queue, with a limit on the wait, so that a
//! ledger that stands still shows as an error and not as silence.
//!
//! Invariant: nothing that arrives over TCP changes anything, and no answer
//! reads a file on this thread.

mod answer;
mod connection;
mod places;
pub mod socket;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::apart::Apart;
use super::counts::Counts;
use super::log::Log;
use super::metrics::{Metrics, Scrape, SourceCounts};
use crate::queue::Message;
use crate::sources::{Stats, Unexplained};
use crate::store::{Recent, Store};
use connection::serve;
use places::Places;
use socket::{Access, Gate};

/// Connections at once on each listener: a scraper or two, a probe, a person;
/// past that the longest idle one gives way.
const CONNECTIONS: usize = 64;

/// Long answers (faults, much history) at once on each listener: one is some
/// megabytes, from the ledger's question to the client's last read.
const LONG_ANSWERS: usize = 1;

/// The runtime's blocking threads. Names are resolved there, and nothing else
/// is done: a resolver that hangs leaves one for the next try.
const RESOLVERS: usize = 2;

/// The stack of the network's thread: TLS and nested JSON want more than
/// HTTP alone. Only pages that were touched take memory.
const STACK: usize = 1 << 20;

/// What the server needs of the agent.
#[derive(Debug)]
pub struct Agent {
    /// The way to the ledger's thread.
    pub queue: SyncSender<Message>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The sources' counters.
    pub stats: Arc<Stats>,
    /// What no pattern takes.
    pub unexplained: Arc<Unexplained>,
    /// The store.
    pub store: Arc<Store>,
    /// The latest changes.
    pub recent: Arc<Recent>,
    /// Where the store is, for more history than is kept in memory.
    pub state_dir: PathBuf,
    /// The log.
    pub log: Log,
    /// What readiness waits for.
    pub ready: Ready,
    /// Who may make a long answer.
    pub long: Long,
    /// What is counted of the cluster; none outside of one.
    pub cluster: Option<Arc<Counts>>,
}

/// The long answers that may be made at once.
#[derive(Clone, Debug)]
pub struct Long {
    tcp: Arc<Semaphore>,
    socket: Arc<Semaphore>,
    /// Where the store is read for them.
    disk: Apart,
}

impl Default for Long {
    fn default() -> Long {
        let places = || Arc::new(Semaphore::new(LONG_ANSWERS));
        Long { tcp: places(), socket: places(), disk: Apart::default() }
    }
}

impl Long {
    /// The places of a listener: strangers on TCP don't keep operators out.
    fn of(&self, access: &Access) -> Arc<Semaphore> {
        match access {
            Access::ReadOnly => Arc::clone(&self.tcp),
            Access::Full(_) | Access::Refused(_) => Arc::clone(&self.socket),
        }
    }
}

/// What has not been tried yet; empty means ready.
#[derive(Clone, Debug, Default)]
pub struct Ready(Arc<Mutex<Vec<String>>>);

impl Ready {
    /// Waits for each of these.
    pub fn waiting_for(names: Vec<String>) -> Ready {
        Ready(Arc::new(Mutex::new(names)))
    }

    /// `name` has been tried.
    pub fn tried(&self, name: &str) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|waits| waits != name);
    }

    /// What it still waits for.
    pub fn waiting(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Agent {
    /// The metrics page, now.
    pub fn page(&self) -> String {
        self.metrics.page(|| self.scrape())
    }

    fn scrape(&self) -> Scrape {
        let sources = self.stats.all().into_iter().map(|(id, counters)| {
            use std::sync::atomic::Ordering::Relaxed;
            SourceCounts {
                id: id.to_string(),
                observations: counters.observations.load(Relaxed),
                lost: counters.lost.load(Relaxed),
                invalid: counters.invalid.load(Relaxed),
                restarts: counters.restarts.load(Relaxed),
                last_success: counters.last_success(),
            }
        });
        Scrape {
            sources: sources.collect(),
            unexplained: self.unexplained.total(),
            store: self.store.status(),
            log_dropped: self.log.dropped(),
            cluster: self.cluster.as_ref().map(|counts| counts.show()),
        }
    }
}

/// Where the server listens, already bound.
#[derive(Debug, Default)]
pub struct Listeners {
    /// The TCP listener.
    pub tcp: Option<std::net::TcpListener>,
    /// The unix socket, and who may use it.
    pub unix: Option<(std::os::unix::net::UnixListener, Gate)>,
}

/// Binds the TCP address.
///
/// # Errors
/// It is taken or not ours; the text names it.
pub fn bind(address: SocketAddr) -> Result<std::net::TcpListener, String> {
    let failed = |e| format!("can't listen on {address}: {e}");
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// What else works with the network, on the same thread.
pub type Beside = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// Starts the network's thread; it runs until the process ends.
///
/// # Errors
/// The thread or its runtime can't be made.
pub fn start(
    listeners: Listeners,
    agent: Arc<Agent>,
    beside: Option<Beside>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(RESOLVERS)
        .build()?;
    std::thread::Builder::new().name("http".into()).stack_size(STACK).spawn(
        move || {
            let local = tokio::task::LocalSet::new();
            if let Some(beside) = beside {
                // A panic there is logged by the hook; what is served here
                // goes on, and the node's own page tells the rest.
                drop(local.spawn_local(beside()));
            }
            local.block_on(&runtime, async move {
                let tcp = listeners.tcp.map(|l| serve_tcp(l, agent.clone()));
                let unix = listeners
                    .unix
                    .map(|(l, g)| serve_unix(l, Arc::new(g), agent.clone()));
                tokio::join!(run(tcp), run(unix));
                // With nothing to serve there may be work beside it.
                std::future::pending::<()>().await;
            });
        },
    )?;
    Ok(())
}

async fn run(server: Option<impl Future<Output = std::io::Result<()>>>) {
    let Some(server) = server else { return };
    if let Err(error) = server.await {
        tracing::error!(%error, "an HTTP listener can't be used");
    }
}

async fn serve_tcp(
    listener: std::net::TcpListener,
    agent: Arc<Agent>,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Places::new(CONNECTIONS);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // An answer is written in pieces: without this, the second
                // waits for the first one's delayed acknowledgement, 40 ms.
                // A socket that refuses it is served all the same.
                let _ = stream.set_nodelay(true);
                let (agent, place) = (agent.clone(), places.take().await);
                tokio::spawn(async move {
                    serve(stream, Access::ReadOnly, agent, &place).await;
                });
                // What it has sent already is read before others come: a
                // crowd of them must not push out one that asks at once.
                tokio::task::yield_now().await;
            }
            Err(error) => refused(&error).await,
        }
    }
}

async fn serve_unix(
    listener: std::os::unix::net::UnixListener,
    gate: Arc<Gate>,
    agent: Arc<Agent>,
) -> std::io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let places = Places::new(CONNECTIONS);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (agent, gate) = (agent.clone(), gate.clone());
                let place = places.take().await;
                tokio::spawn(async move {
                    let access = gate.admit(&stream).await;
                    serve(stream, access, agent, &place).await;
                });
                tokio::task::yield_now().await;
            }
            Err(error) => refused(&error).await,
        }
    }
}

/// Out of descriptors, most likely: accepting again at once would spin.
async fn refused(error: &std::io::Error) {
    tracing::warn!(%error, "can't accept a connection");
    tokio::time::sleep(Duration::from_secs(1)).await;
}
