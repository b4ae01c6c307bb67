//! The HTTP server: metrics, health and the JSON API on TCP, read-only; the
//! same and `clear` on the unix socket.
//!
//! One thread with a runtime of its own. It owns no state: what only the
//! ledger knows it asks over the queue, with a limit on the wait, so that a
//! ledger that stands still shows as an error and not as silence.
//!
//! Invariant: nothing that arrives over TCP changes anything.

mod answer;
pub mod socket;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

use super::log::Log;
use super::metrics::{Metrics, Scrape, SourceCounts};
use crate::queue::Message;
use crate::sources::{Stats, Unexplained};
use crate::store::{Recent, Store};
use socket::{Access, Gate};

/// Connections at once on each listener: a scraper or two, a probe, a person;
/// more wait in the kernel's backlog.
const CONNECTIONS: usize = 64;

/// A client has so long to send a request's head, also on a connection that
/// it keeps open.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// A request is answered, and its body read, within this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection is closed after this and a request's time, whatever it does.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);

/// The largest request head.
const HEAD_MAX: usize = 16 * 1024;

/// Header fields at most.
const HEADERS_MAX: usize = 64;

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
        self.metrics.page(&Scrape {
            sources: sources.collect(),
            unexplained: self.unexplained.total(),
            store: self.store.status(),
            log_dropped: self.log.dropped(),
        })
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

/// Starts the server's thread; it runs until the process ends.
///
/// # Errors
/// The thread or its runtime can't be made.
pub fn start(listeners: Listeners, agent: Arc<Agent>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(1)
        .build()?;
    std::thread::Builder::new()
        .name("http".into())
        .stack_size(512 * 1024)
        .spawn(move || {
            runtime.block_on(async move {
                let tcp = listeners.tcp.map(|l| serve_tcp(l, agent.clone()));
                let unix = listeners
                    .unix
                    .map(|(l, g)| serve_unix(l, Arc::new(g), agent.clone()));
                tokio::join!(run(tcp), run(unix));
            });
        })?;
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
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                // An answer is written in pieces: without this, the second
                // waits for the first one's delayed acknowledgement, 40 ms.
                // A socket that refuses it is served all the same.
                let _ = stream.set_nodelay(true);
                let agent = agent.clone();
                tokio::spawn(async move {
                    serve(stream, Access::ReadOnly, agent).await;
                    drop(place);
                });
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
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let access = gate.admit(&stream);
                let agent = agent.clone();
                tokio::spawn(async move {
                    serve(stream, access, agent).await;
                    drop(place);
                });
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

/// Serves one connection to its end.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    access: Access,
    agent: Arc<Agent>,
) {
    let access = Arc::new(access);
    let service = service_fn(move |request| {
        let (access, agent) = (Arc::clone(&access), Arc::clone(&agent));
        async move {
            let answer = answer::answer(request, &access, &agent);
            let answer = tokio::time::timeout(REQUEST_TIMEOUT, answer).await;
            let late = |_| answer::error(408, "the request took too long");
            Ok::<_, Infallible>(answer.unwrap_or_else(late))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // How a client ended its connection is its own business, hence `_`.
    let ended = tokio::time::timeout(CONNECTION_LIFE, connection.as_mut());
    if ended.await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(REQUEST_TIMEOUT, connection).await;
    }
}
