//! Bytes to facts: what raw hardware records mean.
//!
//! Everything here is pure: no clock, no file, no network. Bytes and register
//! values come from outside and may be anything; nothing panics on them, and
//! every text that is made of them is bounded.

pub mod block;
pub mod cper;
pub mod ipmi;
pub mod mce;
pub mod mce_log;
pub mod trace;
