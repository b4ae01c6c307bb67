//! The configuration: `/etc/faultline/config.yaml`, every key of it optional.
//!
//! The doc comments of the fields are written for the person who edits the
//! file: `sample` makes the commented sample from them. Nothing here looks at
//! the system; `run.rs` does, with what stands here.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

mod explain;
mod ipmi;
mod kubernetes;
mod log;
mod poll;
#[cfg(test)]
mod sample;
mod sources;
#[cfg(test)]
mod tests;

use explain::{explain, find_key};
pub use ipmi::Ipmi;
pub use kubernetes::{Kubernetes, Use};
pub use log::{Format, Level, Log};
pub use poll::{Aer, Disk, Edac, Every, Host, Hwmon, Pcie, Raid};
pub use sources::{
    EXPECTED, FilePath, Files, Inventory, Journal, Kmsg, Mce, Mount, Sources,
};

/// Where it is read from unless `--config` says otherwise.
pub const PATH: &str = "/etc/faultline/config.yaml";

/// Far above any real configuration; a wrong path must not be read into
/// memory.
const SIZE_MAX: u64 = 1 << 20;

/// How far the agent may go, whatever the patterns say.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Metrics and log only.
    Observe,
    /// Also conditions, events and notifications.
    #[default]
    Report,
    /// Also quarantine.
    Enforce,
}

impl Mode {
    /// The word used everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Observe => "observe",
            Mode::Report => "report",
            Mode::Enforce => "enforce",
        }
    }

    /// The furthest stage this mode allows.
    pub fn stage(self) -> crate::patterns::set::Stage {
        use crate::patterns::set::Stage;
        match self {
            Mode::Observe => Stage::Observe,
            Mode::Report => Stage::Report,
            Mode::Enforce => Stage::Enforce,
        }
    }
}

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The node's name in messages and in the JSON API. Empty: the
    /// environment variable NODE_NAME, else the host name.
    pub node: String,
    /// How far the agent may go, whatever the patterns say: observe (metrics
    /// and log), report (also conditions, events, notifications) or enforce
    /// (also quarantine).
    pub mode: Mode,
    /// Where faults, positions and history are kept.
    pub state_dir: PathBuf,
    /// The socket that `status`, `history` and `clear` talk to.
    pub socket: PathBuf,
    /// The group that may use the socket besides root.
    pub socket_group: String,
    /// Where metrics, health and the JSON API are served, without
    /// authentication; `none` for nowhere.
    pub listen: Listen,
    /// Directories of pattern files (*.yaml) that add to, override or disable
    /// the built-in patterns.
    pub patterns: Vec<PathBuf>,
    /// What is read.
    pub sources: Sources,
    /// The cluster that the node belongs to.
    pub kubernetes: Kubernetes,
    /// The agent's own log, on standard output.
    pub log: Log,
    /// The socket of `faultline lend`, which opens device files for an agent
    /// that may not. Empty: the agent opens them itself.
    pub devices: PathBuf,
    /// The directory that holds the host's /proc, /sys, /dev and /etc: /host
    /// in a container that has the host mounted there.
    pub root: PathBuf,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            node: String::new(),
            mode: Mode::default(),
            state_dir: "/var/lib/faultline".into(),
            socket: "/run/faultline/faultline.sock".into(),
            socket_group: "root".into(),
            listen: Listen(Some(SocketAddr::from(([127, 0, 0, 1], 9101)))),
            patterns: vec!["/etc/faultline/patterns".into()],
            sources: Sources::default(),
            kubernetes: Kubernetes::default(),
            log: Log::default(),
            devices: PathBuf::new(),
            root: "/".into(),
        }
    }
}

/// An address to listen on, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(test, schemars(with = "String"))]
pub struct Listen(pub Option<SocketAddr>);

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        if text == "none" {
            return Ok(Listen(None));
        }
        let address = text.parse().ok().or_else(|| address_of_a_pod(text));
        address.map(|address| Listen(Some(address))).ok_or_else(|| {
            format!(
                "{text:?} is no address; write 127.0.0.1:9101, [::]:9101 or \
                 none"
            )
        })
    }
}

/// `IP:PORT` as a manifest makes it of `$(POD_IP):9101`: it can't know whether
/// the address is one of the sixth version, which wants brackets.
fn address_of_a_pod(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.rsplit_once(':')?;
    Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?))
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Listen, String> {
        text.parse()
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> String {
        listen.to_string()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// Why a configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be read.
    #[error("{}: the configuration cannot be read", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no configuration.
    #[error("{}: {reason}", path.display())]
    Unfit {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It says something that can't be.
    #[error("{place}: {message}")]
    Wrong {
        /// `file:line:column`.
        place: String,
        /// What, the line itself, and what was perhaps meant.
        message: String,
    },
}

impl Config {
    /// Reads `path`; without a file there, the defaults. A file that was
    /// asked for by name (`required`) must exist.
    ///
    /// # Errors
    /// It can't be read, or says something that can't be.
    pub fn read(path: &Path, required: bool) -> Result<Config, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
        let unfit = |reason: &str| Error::Unfit {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let meta = match std::fs::metadata(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !required => {
                return Ok(Config::default());
            }
            other => other.map_err(failed)?,
        };
        if !meta.is_file() {
            return Err(unfit("not a regular file"));
        }
        if meta.len() > SIZE_MAX {
            return Err(unfit("larger than 1 MiB; is it the right file?"));
        }
        let bytes = std::fs::read(path).map_err(failed)?;
        let text =
            String::from_utf8(bytes).map_err(|_| unfit("not UTF-8 text"))?;
        Config::parse(&text, &path.display().to_string())
    }

    /// Reads the text of a configuration; `file` is how errors name it.
    ///
    /// # Errors
    /// It says something that can't be.
    pub fn parse(text: &str, file: &str) -> Result<Config, Error> {
        if text.lines().all(|l| l.trim().is_empty() || l.starts_with('#')) {
            return Ok(Config::default());
        }
        let config: Config = serde_saphyr::from_str(text)
            .map_err(|e| explain(&e, text, file))?;
        config.check().map_err(|(key, message)| {
            let (line, column) = find_key(text, key);
            let place = format!("{file}:{line}:{column}");
            Error::Wrong { place, message }
        })?;
        Ok(config)
    }

    /// What the types don't say: the key that is wrong, and why.
    fn check(&self) -> Result<(), (&'static str, String)> {
        for (key, path) in [
            ("state_dir", &self.state_dir),
            ("socket", &self.socket),
            ("root", &self.root),
        ] {
            if !path.is_absolute() {
                let path = path.display();
                return Err((
                    key,
                    format!("{key}: {path} must be an absolute path"),
                ));
            }
        }
        if self.node.len() > 253 || self.node.contains(char::is_control) {
            return Err((
                "node",
                "node: a name of at most 253 printable characters".into(),
            ));
        }
        let mut globs = self.sources.file.paths.iter().map(|path| &path.glob);
        if let Some(glob) = globs.find(|glob| !glob.starts_with('/')) {
            let message = format!("glob: {glob:?} must be an absolute path");
            return Err(("glob", message));
        }
        let mut globs = self.sources.file.paths.iter().map(|path| &path.glob);
        if let Some(glob) = globs.find(|glob| glob.contains(['[', '{'])) {
            let message = format!(
                "glob: {glob:?}: only `*` and `?` are understood; write an \
                 entry for each"
            );
            return Err(("glob", message));
        }
        for (key, name) in [
            ("namespace", &self.kubernetes.namespace),
            ("lease", &self.kubernetes.lease),
        ] {
            let good = |c: char| {
                c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c)
            };
            if name.is_empty() || name.len() > 253 || !name.chars().all(good) {
                let message = format!("{key}: {name:?} is no object's name");
                return Err((key, message));
            }
        }
        let expect = &self.sources.inventory.expect;
        if let Some(what) =
            expect.keys().find(|what| !EXPECTED.contains(&what.as_str()))
        {
            let known = EXPECTED.join(", ");
            let message =
                format!("expect: {what:?} is not counted; use one of {known}");
            return Err(("expect", message));
        }
        let in_file = self.sources.file.paths.iter().any(|path| path.kernel);
        let twice = self.sources.journal.kernel || in_file;
        if self.sources.kmsg.enabled && twice {
            return Err((
                "kernel",
                "kernel: the kernel's text is read from kmsg already; every \
                 error would count twice (set kmsg: { enabled: false })"
                    .into(),
            ));
        }
        Ok(())
    }

    /// The node's name: configured, told by the environment, or the host's.
    pub fn node_name(&self, environment: Option<String>) -> String {
        let host = || {
            let path = self.root.join("proc/sys/kernel/hostname");
            let name = std::fs::read_to_string(path).unwrap_or_default();
            Some(name.trim().to_owned()).filter(|n| !n.is_empty())
        };
        Some(self.node.clone())
            .filter(|name| !name.is_empty())
            .or(environment.filter(|name| !name.is_empty()))
            .or_else(host)
            .unwrap_or_else(|| "localhost".to_owned())
    }
}
