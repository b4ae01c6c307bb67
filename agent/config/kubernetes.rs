//! The cluster that the node belongs to.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Every;

/// Whether the API server is told of this node.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// In a pod with a service account, or with a kubeconfig.
    #[default]
    Auto,
    /// In any case: without access the agent does not start.
    Always,
    /// Not at all.
    Never,
}

/// The cluster that the node belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Kubernetes {
    /// Whether conditions, events and quarantine go to the API server: auto
    /// (in a pod with a service account, or with a kubeconfig), always, never.
    #[serde(rename = "use")]
    pub when: Use,
    /// The kubeconfig of the agent, for a unit on the host; empty: the
    /// service account of the pod.
    pub kubeconfig: PathBuf,
    /// The namespace of the Lease that holds the budget.
    pub namespace: String,
    /// The Lease that holds the budget.
    pub lease: String,
    /// How long a source may be unreadable before the conditions that it
    /// serves become Unknown.
    pub unknown_after: Every,
    /// How long all faults must have been over before the quarantine is taken
    /// off the node.
    pub release_after: Every,
    /// Whether a pattern may evict what runs on the node (a NoExecute taint);
    /// where it may not, `quarantine: evict` is a NoSchedule taint. The limits
    /// on the Lease must allow it too.
    pub evict: bool,
    /// Whether this agent quarantines also where the API server would let it
    /// change other nodes: for clusters before 1.30, which can't hold it to
    /// its own. A stolen token could then change any node.
    pub unguarded: bool,
}

impl Default for Kubernetes {
    fn default() -> Kubernetes {
        Kubernetes {
            when: Use::default(),
            kubeconfig: PathBuf::new(),
            namespace: "faultline".into(),
            lease: "faultline-budget".into(),
            unknown_after: Every(Duration::from_secs(60)),
            release_after: Every(Duration::from_secs(600)),
            evict: false,
            unguarded: false,
        }
    }
}
