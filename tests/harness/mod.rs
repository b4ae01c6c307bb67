//! What the tests of the built binary share: where it is, and how a test says
//! that it cannot run here.
//!
//! A test that cannot run is not a test that passed: it says why, and
//! `./test` repeats that at its end.

#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test file uses a part of this module"
)]

use std::path::Path;
use std::process::{Command, Output};

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The built binary, as a command in the repository.
pub fn faultline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faultline"));
    command.current_dir(root());
    command
}

/// Runs it and returns its exit status and what it printed.
pub fn run(args: &[&str]) -> (i32, String) {
    said(faultline().args(args).output().expect("the binary runs"))
}

/// Exit status and standard output; standard error goes to the test's.
pub fn said(output: Output) -> (i32, String) {
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("output is UTF-8");
    (output.status.code().unwrap_or(-1), text)
}
