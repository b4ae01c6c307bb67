//! How the agent's own log is written.

use serde::{Deserialize, Serialize};

/// How the log is written.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Json,
    /// One line of text.
    Text,
}

/// From which level on the log is written.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// An operator must act.
    Error,
    /// Unexpected; nothing is lost.
    Warn,
    /// What changed.
    #[default]
    Info,
    /// For whoever looks for a bug.
    Debug,
}

/// The agent's own log.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// json or text.
    pub format: Format,
    /// error, warn, info or debug.
    pub level: Level,
}
