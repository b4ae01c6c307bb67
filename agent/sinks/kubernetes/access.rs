//! How the API server is reached: by a pod's service account, by a
//! kubeconfig of the agent's, or by a person's, as kubectl would.

use std::path::PathBuf;

use kube::config::{KubeConfigOptions, Kubeconfig};

use super::answer::chain;
use super::client::PATIENCE;

/// How the API server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// By the service account of the pod.
    InCluster,
    /// As this file says.
    Kubeconfig(PathBuf),
    /// As these files of a person say together (`$KUBECONFIG` may name
    /// several), in this context of theirs.
    Person {
        /// The files; the first that tells something wins.
        files: Vec<PathBuf>,
        /// The context; none: the current one.
        context: Option<String>,
    },
}

/// As `doctor` and the log say it.
impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Access::InCluster => f.write_str("the pod's service account"),
            Access::Kubeconfig(path) => write!(f, "{}", path.display()),
            Access::Person { files, .. } => {
                let files = files.iter().map(|path| path.display().to_string());
                f.write_str(&files.collect::<Vec<_>>().join(":"))
            }
        }
    }
}

impl Access {
    /// The file from which the current user of the agent's own kubeconfig
    /// takes its token, if it takes it from one.
    pub(super) fn token_file(&self) -> Option<PathBuf> {
        let Access::Kubeconfig(path) = self else { return None };
        let file = Kubeconfig::read_from(path).ok()?;
        let current = file.current_context.as_deref()?;
        let context = file.contexts.iter().find(|c| c.name == current)?;
        let user = context.context.as_ref()?.user.as_deref()?;
        let info = file.auth_infos.iter().find(|info| info.name == user)?;
        let token = info.auth_info.as_ref()?.token_file.as_ref()?;
        Some(PathBuf::from(token))
    }

    /// What the client is made of; reads every file anew.
    ///
    /// # Errors
    /// A file can't be read, or makes no sense; with its causes.
    pub(super) async fn configure(&self) -> Result<kube::Config, String> {
        let mut config = match self {
            Access::InCluster => {
                kube::Config::incluster().map_err(|e| chain(&e))?
            }
            Access::Kubeconfig(path) => {
                let files = std::slice::from_ref(path);
                from_files(files, &KubeConfigOptions::default()).await?
            }
            Access::Person { files, context } => {
                let context = context.clone();
                let options =
                    KubeConfigOptions { context, ..Default::default() };
                from_files(files, &options).await?
            }
        };
        config.default_retry = false;
        config.connect_timeout = Some(PATIENCE / 2);
        Ok(config)
    }
}

async fn from_files(
    files: &[PathBuf],
    options: &KubeConfigOptions,
) -> Result<kube::Config, String> {
    let mut all: Option<Kubeconfig> = None;
    for path in files {
        let one = Kubeconfig::read_from(path).map_err(|e| chain(&e))?;
        all = Some(match all {
            Some(before) => before.merge(one).map_err(|e| chain(&e))?,
            None => one,
        });
    }
    let all = all.ok_or("no kubeconfig is named")?;
    let config = kube::Config::from_custom_kubeconfig(all, options).await;
    config.map_err(|e| chain(&e))
}
