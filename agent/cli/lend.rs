//! `faultline lend`: opens devices for an agent that may not; see
//! `agent/devices.rs`.

use std::path::PathBuf;

use super::{Exit, escape};
use crate::devices::{self, Lent};

/// Options of `lend`.
#[derive(Debug, clap::Args)]
pub struct LendArgs {
    /// Where the agent asks for them
    #[arg(long = "at", value_name = "PATH")]
    #[arg(default_value = "/run/faultline-devices/socket")]
    pub at: PathBuf,
    /// Devices: /dev/NAME, /dev/NAME* for any number behind it, with :rw
    /// behind it what is to be written
    #[arg(required = true, value_name = "DEVICE")]
    pub devices: Vec<Lent>,
}

/// Lends devices until it is told to stop.
///
/// # Errors
/// None; what goes wrong is told on standard error.
pub fn run(args: &LendArgs) -> anyhow::Result<Exit> {
    if let Err(error) = devices::leave_network() {
        eprintln!("faultline: still in the network: {error}");
    }
    let Err(error) = devices::lend(&args.at, &args.devices) else {
        return Ok(Exit::Good);
    };
    let text = format!("no socket at {}: {error}", args.at.display());
    eprintln!("faultline: {}", escape::escape(&text));
    Ok(Exit::CannotCheck)
}
