//! `faultline run`: the agent itself; see `agent/run.rs`.

use crate::config::{Listen, Mode};
use crate::run::{self, Error};

use super::{Exit, Global, escape};

/// Options of `run`; each wins over the configuration.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Where metrics and the JSON API are served: ADDRESS:PORT, or none
    /// [default: 127.0.0.1:9101]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<Listen>,
    /// How far the agent may go: observe, report or enforce
    #[arg(long, value_name = "MODE", value_parser = mode)]
    pub mode: Option<Mode>,
    /// The name of this node in messages and in Kubernetes
    /// [default: $NODE_NAME, else the host's name]
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// How the API server is reached [default: the pod's service account]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<std::path::PathBuf>,
    /// Believe records that user programs wrote to /dev/kmsg; for drills only
    #[arg(long)]
    pub accept_userspace: bool,
}

/// Runs the agent until it is told to stop.
///
/// # Errors
/// The configuration makes no sense.
pub fn run(global: &Global, args: &RunArgs) -> anyhow::Result<Exit> {
    let mut config = global.settings()?;
    if let Some(listen) = args.listen {
        config.listen = listen;
    }
    if let Some(mode) = args.mode {
        config.mode = mode;
    }
    if let Some(node) = &args.node {
        config.node.clone_from(node);
    }
    if let Some(kubeconfig) = &args.kubeconfig {
        config.kubernetes.kubeconfig.clone_from(kubeconfig);
    }
    config.sources.kmsg.accept_userspace |= args.accept_userspace;
    crate::memory::share_one_heap();
    let Err(error) = run::run(&config) else { return Ok(Exit::Good) };
    eprintln!("faultline: {}", escape::escape(&error.to_string()));
    Ok(match error {
        Error::Denied(_) => Exit::CannotCheck,
        Error::Start(_) => Exit::Findings,
        Error::Panicked => Exit::Panicked,
    })
}

fn mode(text: &str) -> Result<Mode, String> {
    let all = [Mode::Observe, Mode::Report, Mode::Enforce];
    let found = all.into_iter().find(|mode| mode.word() == text);
    found.ok_or_else(|| "write observe, report or enforce".to_owned())
}
