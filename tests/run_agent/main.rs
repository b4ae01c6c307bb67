//! The agent as a whole: a process of its own, watched from outside.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
mod http;
mod life;
mod support;
