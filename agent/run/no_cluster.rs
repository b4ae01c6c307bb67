//! The agent without the feature `kubernetes`: there is never a cluster.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::Error;
use super::keeper::Keeper;
use crate::config::{Config, Use};
use crate::queue::Message;
use crate::sinks::counts::Counts;
use crate::sinks::http::Beside;

/// What would run beside the HTTP server.
pub(super) struct Joined {
    /// What is counted.
    pub(super) counts: Arc<Counts>,
    /// The task.
    pub(super) task: Beside,
}

/// Nothing to join.
///
/// # Errors
/// The configuration wants a cluster.
pub(super) fn join(
    config: &Config,
    _: &mut Keeper,
    _: &SyncSender<Message>,
) -> Result<Option<Joined>, Error> {
    let wanted = &config.kubernetes;
    let asked = !wanted.kubeconfig.as_os_str().is_empty();
    if wanted.when == Use::Always || (asked && wanted.when == Use::Auto) {
        return Err(Error::Start(
            "this binary was built without the feature kubernetes".into(),
        ));
    }
    Ok(None)
}

/// What `doctor` says of the API server.
pub enum Probe {
    /// There is none for this node; why.
    Unused(String),
    /// The Node was read; how.
    Reached(String),
    /// It should be reached and isn't; why.
    Failed(String),
}

/// There is nothing to reach.
pub fn probe(_: &Config) -> Probe {
    Probe::Unused("this binary was built without Kubernetes".into())
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

/// There are none.
pub fn daemonsets(_: &Config) -> Sets {
    Sets::Unused("this binary was built without Kubernetes".into())
}
