//! The agent and its commands against a simulated BMC, over RMCP+ on the
//! loopback; what it reads is held against what `ipmitool` and FreeIPMI read
//! of the same BMC in the same run.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agent;
mod alerts;
mod beside;
mod bmc;
mod chaos;
mod conformance;
mod cost;
mod faults;
mod hwmon;
mod machine;
#[path = "../not_run/mod.rs"]
mod not_run;
mod proxy;
mod pulled;
mod reading;
mod referees;
mod silence;
