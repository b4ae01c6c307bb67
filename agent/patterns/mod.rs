//! Patterns: what the files say, the checked set, and the matcher. Pure.

pub mod matcher;
pub mod set;
pub mod template;
