//! Sinks: what the world is told. Nothing here changes a fault.

pub mod apart;
pub mod board;
pub mod counts;
pub mod http;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod log;
pub mod metrics;
pub mod record;
