//! Whether the BMC can be asked, and what is wrong where it can't: no BMC, no
//! driver, no permission, no password, no answer.

use std::path::Path;
use std::time::Duration;

use super::super::Global;
use super::Check;
use crate::config::Config;
use crate::ipmi::{Address, Link, TransportError, access, repository, vitals};
use crate::sources::Stop;

/// A person waits; the agent itself waits for longer.
const DEADLINE: Duration = Duration::from_secs(3);

/// The check of the sources `ipmi-sensor` and `ipmi-sel`.
pub fn check(global: &Global, root: &Path) -> Check {
    let name = "ipmi";
    // A configuration that makes no sense is told of elsewhere.
    let mut config = global.settings().unwrap_or_default();
    config.root = root.to_owned();
    let ipmi = &config.sources.ipmi;
    if !ipmi.enabled {
        return Check::ok(name, "switched off in the configuration");
    }
    if ipmi.bmcs.is_empty() && access::devices(root).is_empty() {
        return match access::missing(root) {
            access::Missing::Bmc(why) => {
                Check::ok(name, format!("absent: {why}"))
            }
            access::Missing::Driver { why, next } => {
                Check::warn(name, why, next)
            }
        };
    }
    let addresses = match ipmi.bmcs.is_empty() {
        true => access::local(root),
        false => ipmi.bmcs.clone(),
    };
    let mut found = Vec::new();
    for address in addresses {
        match ask(&address, &config) {
            Ok(said) => found.push(said),
            Err((why, next)) => {
                return Check::warn(name, format!("{address}: {why}"), next);
            }
        }
    }
    Check::ok(name, found.join("; "))
}

/// What a BMC says of itself, or why it says nothing and what to do.
fn ask(
    address: &Address,
    config: &Config,
) -> Result<String, (String, &'static str)> {
    let stop = Stop::new().map_err(|e| (e.to_string(), "try again"))?;
    let credentials = config.sources.ipmi.credentials();
    let mut link =
        Link::new(address.clone(), credentials, &stop).with_deadline(DEADLINE);
    let told = vitals::read(&mut link)
        .map_err(|error| (error.to_string(), advice(&error)))?;
    let firmware = told.firmware.unwrap_or_else(|| "unknown".into());
    let records = repository::stamp(&mut link)
        .map_err(|error| (error.to_string(), advice(&error)))?;
    let records = match records {
        Some(stamp) => format!("{} sensor data records", stamp.records()),
        None => "no repository of sensor data records".to_owned(),
    };
    Ok(format!("{}: firmware {firmware}, {records}", address.name()))
}

fn advice(error: &TransportError) -> &'static str {
    match error {
        TransportError::Denied(_) => {
            "run as root; in a container, mount the host's /dev and allow the \
             device"
        }
        TransportError::Refused(_) => {
            "put user: and password: of the BMC into the file that \
             sources: ipmi: credentials names, chmod 600"
        }
        TransportError::Absent(_) => {
            "the driver has gone: look for ipmi_si in the kernel's log"
        }
        TransportError::Timeout(_) | TransportError::Io(_) => {
            "the BMC does not answer: reset it (ipmitool mc reset cold), or \
             look at the way to it"
        }
        _ => "look at the BMC's own log; a firmware update may help",
    }
}
