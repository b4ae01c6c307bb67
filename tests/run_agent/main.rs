//! The agent as a whole: a process of its own, watched from outside.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
#[path = "../fault_sample/mod.rs"]
mod fault_sample;
mod garbled;
mod http;
mod life;
#[path = "../not_run/mod.rs"]
mod not_run;
mod parts;
#[path = "../server_tree/mod.rs"]
mod server_tree;
mod stored;
mod stubborn;
#[path = "../stubborn_tree/mod.rs"]
mod stubborn_tree;
mod support;
