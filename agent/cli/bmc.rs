//! Which BMCs a command asks, and how it opens them.

use std::path::PathBuf;

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
    /// The process has no descriptors left.
    pub fn links(&self, config: &Config) -> anyhow::Result<Vec<Link>> {
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
        let stop = Stop::new()?;
        let link = |address| Link::new(address, credentials.clone(), &stop);
        Ok(addresses.into_iter().map(link).collect())
    }
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
        _ => format!("{address}: {why}"),
    }
}
