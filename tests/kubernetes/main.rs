//! The agent in a cluster: conditions and Events, on the stand-in and, where
//! there is one, on a real API server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conditions;
mod delay;
mod doctor;
mod editors;
mod edits;
mod guard;
#[path = "../kube/mod.rs"]
mod kube;
mod limits;
mod outage;
mod people;
mod policed;
mod quarantine;
mod race;
mod renewal;
mod rotation;
#[path = "../not_run/mod.rs"]
mod said;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../run_agent/support.rs"]
mod support;
mod told;
mod world;
