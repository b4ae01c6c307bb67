//! Which BMCs a command asks, and how it opens them.

use std::path::PathBuf;

use nix::sys::signal::{SigSet, Signal};

use crate::config::Config;
use crate::ipmi::{Address, Credentials, Link, access};
use crate::sources::Stop;

/// Options of commands that ask a BMC.
#[derive(Clone, Debug, clap::Args)]
pub struct BmcArgs {
    /// The BMC: /dev/ipmi0, lan:HOST or lan:HOST:PORT [default: those of the
    /// configuration, else every /dev/ipmi*]
    #[arg(long, value_name = "BMC")]
    pub bmc: Option<Address>,
    /// The file with `user:` and `password:` of a BMC on the network
    /// [default: that of the configuration; the environment's
    /// FAULTLINE_IPMI_USER and FAULTLINE_IPMI_PASSWORD win]
    #[arg(long, value_name = "FILE")]
    pub credentials: Option<PathBuf>,
}

impl BmcArgs {
    /// The ways to the BMCs that are meant, none of them open yet.
    ///
    /// # Errors
    /// None yet; what is wrong with one is found when it is asked.
    pub fn links(
        &self,
        config: &Config,
        stop: &Stop,
    ) -> anyhow::Result<Vec<Link>> {
        let ipmi = &config.sources.ipmi;
        let addresses = match &self.bmc {
            Some(one) => vec![one.clone()],
            None if ipmi.bmcs.is_empty() => access::local(&config.root),
            None => ipmi.bmcs.clone(),
        };
        let credentials = match &self.credentials {
            Some(path) => Credentials::from_environment()
                .map_or_else(|| Credentials::read(path), Ok),
            None => ipmi.credentials(),
        };
        let link = |address| Link::new(address, credentials.clone(), stop);
        Ok(addresses.into_iter().map(link).collect())
    }
}

/// What is told by Ctrl-C and SIGTERM, so that sessions are closed: a BMC has
/// few, and keeps one that is left open for a minute. A second one ends the
/// process at once.
///
/// # Errors
/// The process has no descriptors left, or no thread.
pub fn until_interrupted() -> anyhow::Result<Stop> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block()?;
    let stop = Stop::new()?;
    let told = stop.clone();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if signals.wait().is_ok() {
            told.tell();
        }
        // What follows has its usual effect, on this thread. If that cannot
        // be had there is SIGKILL.
        let _ = signals.thread_unblock();
        std::thread::sleep(std::time::Duration::MAX);
    })?;
    Ok(stop)
}

/// What is wrong with a BMC that does not answer, with what to do about it.
pub fn explain(address: &Address, why: &str, config: &Config) -> String {
    match address {
        Address::Device(path) if !path.exists() => {
            let missing = access::missing(&config.root);
            match &missing {
                access::Missing::Bmc(why) => {
                    format!("there is no {address}: {why}")
                }
                access::Missing::Driver { why, next } => {
                    format!("there is no {address}: {why}; {next}")
                }
            }
        }
        // Some errors name the device themselves.
        _ if why.contains(&address.to_string()) => why.to_owned(),
        _ => format!("{address}: {why}"),
    }
}
