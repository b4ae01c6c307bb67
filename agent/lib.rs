//! Faultline finds failing hardware on a node, names the part to pull, marks
//! the node, and unmarks it when there is proof that the fault is gone.
//!
//! Data goes one way: sources make observations and match them on their own
//! threads; signals cross one bounded queue to the ledger; only changes leave
//! it, for the store and the sinks. `ARCHITECTURE.md` has the picture.

pub mod cli;
pub mod clock;
pub mod config;
pub mod decode;
pub mod devices;
pub mod drive;
pub mod escape;
pub mod forms;
pub mod hash;
pub mod ipmi;
pub mod kernel;
pub mod ledger;
pub mod machine;
pub mod memory;
pub mod observation;
pub mod parts;
pub mod patterns;
mod prefilter;
pub mod probe;
pub mod queue;
pub mod reload;
pub mod run;
pub mod scenario;
pub mod signal;
pub mod sinks;
pub mod sources;
pub mod store;
pub mod time;
pub mod tree;
pub mod view;
