//! How a person's commands reach the API server: with the person's own
//! credentials, found as kubectl finds them.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow};

use crate::config::Config;
use crate::sinks::counts::Counts;
use crate::sinks::kubernetes::client::{Access, Client, Names};

/// Options of every command that asks the API server.
#[derive(Clone, Debug, clap::Args)]
pub struct Reach {
    /// The kubeconfig [default: that of the configuration, $KUBECONFIG,
    /// ~/.kube/config, or the pod's service account]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Where the agents and their Lease are [default: that of the
    /// configuration, faultline]
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
}

/// The way to the API server.
pub struct Reached {
    /// The client; none of its requests are about a node of its own.
    pub client: Client,
    /// The namespace of the agents.
    pub namespace: String,
    /// The name of the Lease.
    pub lease: String,
    /// Where requests run.
    pub runtime: tokio::runtime::Runtime,
}

impl Reach {
    /// Finds the way; nothing is asked yet.
    ///
    /// # Errors
    /// A name makes no sense, or there is no way.
    pub fn open(&self, config: &Config) -> anyhow::Result<Reached> {
        let kubernetes = &config.kubernetes;
        let namespace = self.namespace.clone();
        let namespace =
            namespace.unwrap_or_else(|| kubernetes.namespace.clone());
        let lease = kubernetes.lease.clone();
        let names = Names {
            node: "none".into(),
            namespace: namespace.clone(),
            lease: lease.clone(),
        };
        let access = self.access(config);
        let client = Client::new(access, names, Arc::new(Counts::default()))
            .map_err(|why| anyhow!(why))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("no network runtime")?;
        Ok(Reached { client, namespace, lease, runtime })
    }

    fn access(&self, config: &Config) -> Access {
        let configured = &config.kubernetes.kubeconfig;
        let configured = Some(configured).filter(|p| !p.as_os_str().is_empty());
        let files = match self.kubeconfig.as_ref().or(configured) {
            Some(file) => vec![file.clone()],
            None => usual_files(),
        };
        match files.is_empty() {
            true => Access::InCluster,
            false => Access::Person { files, context: self.context.clone() },
        }
    }
}

/// Where kubectl looks: the files that `$KUBECONFIG` names and that are
/// there, else the one in the home directory.
fn usual_files() -> Vec<PathBuf> {
    let variable = std::env::var_os("KUBECONFIG").filter(|v| !v.is_empty());
    let named: Vec<PathBuf> = match variable {
        Some(files) => std::env::split_paths(&files).collect(),
        None => std::env::var_os("HOME")
            .map(|home| PathBuf::from(home).join(".kube/config"))
            .into_iter()
            .collect(),
    };
    named.into_iter().filter(|path| path.exists()).collect()
}
