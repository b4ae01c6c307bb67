//! Sinks: what the world is told. Nothing here changes a fault.

pub mod http;
pub mod log;
pub mod metrics;
