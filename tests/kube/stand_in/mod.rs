//! A stand-in for the API server: Nodes, Events, Leases and whatever else is
//! put there, in memory, over real HTTP.
//!
//! `objects` holds and changes them as the real one does, `patch` merges,
//! `serve` speaks HTTP and watches, `table` prints Nodes. What the real one
//! does not do on demand can be asked for here: throttle, fail, be slow,
//! forget old versions, refuse a token.

pub mod objects;
mod patch;
mod serve;
mod table;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use objects::Objects;

/// One request that came, as it was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: String,
    pub status: u16,
}

impl Seen {
    /// Whether it was meant to change something.
    pub fn is_write(&self) -> bool {
        self.method != "GET" && !self.query.contains("dryRun=All")
    }
}

/// What is done to requests.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// The method; empty: any.
    pub method: &'static str,
    /// What the path with its query contains.
    pub path: &'static str,
    /// The answer's status.
    pub status: u16,
    /// `Retry-After`.
    pub retry_after: Option<u64>,
    /// How many requests; each takes one off.
    pub times: usize,
}

/// All that the server's threads share.
pub struct Shared {
    pub objects: Objects,
    pub seen: Vec<Seen>,
    pub troubles: Vec<Trouble>,
    /// Each answer waits so long.
    pub latency: Duration,
    /// Who may come in.
    pub tokens: Vec<String>,
    /// How far the date in answers is from ours.
    pub clock_offset: i64,
}

type State = Arc<(Mutex<Shared>, tokio::sync::Notify)>;

fn lock(state: &State) -> MutexGuard<'_, Shared> {
    state.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The server.
pub struct StandIn {
    state: State,
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl StandIn {
    pub fn start() -> StandIn {
        let shared = Shared {
            objects: Objects::default(),
            seen: Vec::new(),
            troubles: Vec::new(),
            latency: Duration::ZERO,
            tokens: vec![super::ADMIN.into()],
            clock_offset: 0,
        };
        let state: State =
            Arc::new((Mutex::new(shared), tokio::sync::Notify::new()));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = StandIn { state, address, stop: None, thread: None };
        server.start_again();
        server
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends every connection and listens no more.
    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    pub fn start_again(&mut self) {
        // Connections of before linger in TIME_WAIT; std sets SO_REUSEADDR.
        let listener = std::net::TcpListener::bind(self.address).unwrap();
        listener.set_nonblocking(true).unwrap();
        self.address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        self.stop = Some(stop);
        let state = Arc::clone(&self.state);
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = serve::accept(listener, state) => {}
                    _ = stopped => {}
                }
            });
        };
        self.thread = Some(std::thread::spawn(run));
    }

    /// Changes or reads what the server's threads share.
    pub fn with<T>(&self, change: impl FnOnce(&mut Shared) -> T) -> T {
        change(&mut lock(&self.state))
    }

    /// Makes requests fail.
    pub fn trouble(&self, trouble: Trouble) {
        self.with(|shared| shared.troubles.push(trouble));
    }

    /// The requests so far that were meant to change something.
    pub fn writes(&self) -> Vec<Seen> {
        self.with(|s| s.seen.iter().filter(|s| s.is_write()).cloned().collect())
    }

    /// Forgets all versions so far: watches from there are 410.
    pub fn forget(&self) {
        self.with(|shared| shared.objects.compact());
        self.state.1.notify_waiters();
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop();
    }
}
