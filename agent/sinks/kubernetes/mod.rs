//! Kubernetes: what the API server is told about this node, and what it is
//! asked.
//!
//! `cluster` names the few requests that quarantine and budget need;
//! everything that decides is pure and stands beside it. No decision here
//! trusts a clock of this machine for what several nodes share.

pub mod cluster;

/// The domain of all that the agents write: taint, label, annotations,
/// limits.
pub const DOMAIN: &str = "faultline.dev";

pub mod client;
pub mod conditions;
pub mod counts;
pub mod pace;
pub mod stream;
