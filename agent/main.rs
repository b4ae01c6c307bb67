//! The `faultline` binary: turns a result into an exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(faultline::cli::main() as u8)
}
