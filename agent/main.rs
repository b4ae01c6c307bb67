//! The `faultline` binary: turns a result into an exit status.

fn main() {}
