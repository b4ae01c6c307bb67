//! How the agent comes to know its cluster: whether there is one, under which
//! name this node is in it, and the task that talks to it.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::Error;
use super::keeper::Keeper;
use crate::config::{Config, Mode, Use};
use crate::queue::Message;
use crate::sinks::board::Board;
use crate::sinks::counts::Counts;
use crate::sinks::http::Beside;
use crate::sinks::kubernetes::Sink;
use crate::sinks::kubernetes::client::{Access, Client, Names, is_name};
use crate::sinks::kubernetes::cluster::ApiError;
use crate::sinks::kubernetes::daemonsets::DaemonSet;
use crate::sinks::kubernetes::quarantine::Rules;

/// Where a pod finds its service account's token.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// What runs beside the HTTP server, and what it counts.
pub(super) struct Joined {
    /// What is counted.
    pub(super) counts: Arc<Counts>,
    /// The task.
    pub(super) task: Beside,
}

/// How the API server is reached; the error is why it isn't.
///
/// # Errors
/// There is no access, or it is not wanted; the text says which.
pub fn access(config: &Config) -> Result<Access, String> {
    let wanted = &config.kubernetes;
    if wanted.when == Use::Never {
        return Err("not used (kubernetes: { use: never })".into());
    }
    if !wanted.kubeconfig.as_os_str().is_empty() {
        return Ok(Access::Kubeconfig(wanted.kubeconfig.clone()));
    }
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        return Err("not in a pod, and no kubeconfig is configured".into());
    }
    if !Path::new(TOKEN).exists() {
        return Err(format!("in a pod without a service account ({TOKEN})"));
    }
    Ok(Access::InCluster)
}

/// Makes the task, and the board that it reads, if there is a cluster.
///
/// # Errors
/// There should be one and can't be.
pub(super) fn join(
    config: &Config,
    keeper: &mut Keeper,
    ledger: &SyncSender<Message>,
) -> Result<Option<Joined>, Error> {
    let access = match access(config) {
        Ok(access) => access,
        Err(why) if config.kubernetes.when == Use::Always => {
            return Err(Error::Start(format!("kubernetes: {why}")));
        }
        Err(why) => {
            tracing::info!(why, "the API server is not told of this node");
            return Ok(None);
        }
    };
    // Host names may be written with capitals; Nodes never are.
    let node = keeper.identity.node.to_ascii_lowercase();
    if !is_name(&node) {
        return Err(Error::Start(format!(
            "{node:?} is no name of a Node; set NODE_NAME from the downward \
             API, or --node"
        )));
    }
    let counts = Arc::new(Counts::default());
    let stage = config.mode.stage();
    let (mut board, reader) = Board::new(stage, Arc::clone(&counts));
    board.patterns(keeper.ledger.patterns());
    keeper.board = Some(board);
    tracing::info!(node, access = %access, "the API server is told");
    let names = Names {
        node,
        namespace: config.kubernetes.namespace.clone(),
        lease: config.kubernetes.lease.clone(),
    };
    let client = Client::new(access, names, Arc::clone(&counts));
    let sink = Sink {
        client: client.map_err(Error::Start)?,
        reader,
        record: keeper.record.clone(),
        counts: Arc::clone(&counts),
        grace: config.kubernetes.unknown_after.0,
        rules: Rules {
            enforce: config.mode == Mode::Enforce,
            release_after: config.kubernetes.release_after.0,
            evict: config.kubernetes.evict,
            guarded: true,
        },
        unguarded: config.kubernetes.unguarded,
        ledger: ledger.clone(),
    };
    let task: Beside = Box::new(move || Box::pin(sink.run()));
    Ok(Some(Joined { counts, task }))
}

/// How long `doctor` waits for the API server.
const PROBE: std::time::Duration = std::time::Duration::from_secs(5);

/// What `doctor` says of the API server.
pub enum Probe {
    /// There is none for this node; why.
    Unused(String),
    /// The Node was read; how.
    Reached(String),
    /// It should be reached and isn't; why.
    Failed(String),
}

/// What `doctor` says of the DaemonSets.
pub enum Sets {
    /// There is no cluster to ask; why.
    Unused(String),
    /// So many there are, and these do not start on a quarantined node.
    Found(usize, Vec<String>),
    /// Whoever asks may not know.
    Denied,
    /// They can't be read; why.
    Failed(String),
}

/// Looks which DaemonSets lack the toleration for our taint, with the access
/// that the configuration names. The agents' own may not list them.
pub fn daemonsets(config: &Config) -> Sets {
    let access = match access(config) {
        Ok(access) => access,
        Err(why) => return Sets::Unused(why),
    };
    let kubernetes = &config.kubernetes;
    let names = Names {
        // No request is about a node.
        node: "none".into(),
        namespace: kubernetes.namespace.clone(),
        lease: kubernetes.lease.clone(),
    };
    let client = match Client::new(access, names, Arc::default()) {
        Ok(client) => client,
        Err(why) => return Sets::Failed(why),
    };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Sets::Failed(error.to_string()),
    };
    let (mut all, mut without, mut token) = (0, Vec::new(), None);
    loop {
        let page = client.daemonsets(token.as_deref());
        match runtime.block_on(page) {
            Ok((sets, more)) => {
                all += sets.len();
                let wrong = sets.iter().filter(|s| !s.tolerates_quarantine());
                without.extend(wrong.map(DaemonSet::name));
                token = more;
            }
            Err(ApiError::Denied(_)) => return Sets::Denied,
            Err(error) => return Sets::Failed(error.to_string()),
        }
        if token.is_none() {
            return Sets::Found(all, without);
        }
    }
}

/// Looks whether the API server can be reached and knows this node.
pub fn probe(config: &Config) -> Probe {
    let access = match access(config) {
        Ok(access) => access,
        Err(why) if config.kubernetes.when == Use::Always => {
            return Probe::Failed(why);
        }
        Err(why) => return Probe::Unused(why),
    };
    let node = config.node_name(std::env::var("NODE_NAME").ok());
    let node = node.to_ascii_lowercase();
    let by = access.to_string();
    let names = Names {
        node: node.clone(),
        namespace: config.kubernetes.namespace.clone(),
        lease: config.kubernetes.lease.clone(),
    };
    let client = match Client::new(access, names, Arc::default()) {
        Ok(client) => client,
        Err(why) => return Probe::Failed(why),
    };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Probe::Failed(error.to_string()),
    };
    let found = runtime.block_on(async {
        tokio::time::timeout(PROBE, client.find_node()).await
    });
    match found {
        Err(_) => Probe::Failed(format!("{by}: no answer within 5 s")),
        Ok(Err(error)) => Probe::Failed(format!("{by}: {error}")),
        Ok(Ok((None, _))) => {
            Probe::Failed(format!("{by}: there is no Node {node}"))
        }
        Ok(Ok((Some(_), _))) => Probe::Reached(format!("Node {node}, by {by}")),
    }
}
