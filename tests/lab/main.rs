//! The lab: guests under QEMU with Debian's kernel and the static agent in
//! them; real faults are made from outside or by the kernel's own means, and
//! the agent's own outputs have to tell of each, and of its end.
//!
//! `./test lab` runs it; `cargo test` leaves it out (`test = false`), because
//! it wants packages and minutes. How to extend it: `docs/lab.md`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "waiting has a limit")]

#[path = "../not_run/mod.rs"]
mod not_run;

mod agent;
mod beside;
#[path = "../ipmi/bmc.rs"]
mod bmc;
mod census;
mod disks;
mod guest;
mod kernel;
#[path = "../ipmi/machine.rs"]
mod machine;
mod machine_checks;
mod management;
mod pcie;
mod unit;
