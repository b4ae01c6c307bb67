//! The sources as the supervisor runs them: on the machine's own log where
//! the test may, on files, FIFOs and scripts of the test's else.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod bench;
mod edac;
mod file;
mod host;
mod host_dir;
mod journal;
mod kmsg;
mod mce_text;
mod mount;
#[path = "../not_run/mod.rs"]
mod not_run;
mod pci;
