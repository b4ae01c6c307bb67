//! BMCs: which, who we are to them, and how often they are asked.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Every;
use crate::ipmi::monitor::Pace;
use crate::ipmi::{Address, Credentials};

/// BMCs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Ipmi {
    /// Whether the sensors and the event log of BMCs are read.
    pub enabled: bool,
    /// Which: /dev/ipmi0, lan:HOST or lan:HOST:PORT. Empty: every /dev/ipmi*
    /// that is there when the agent starts.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub bmcs: Vec<Address>,
    /// The file with `user:` and `password:` of BMCs on the network; only its
    /// owner may be able to read it. Where there is none, the environment
    /// variables FAULTLINE_IPMI_USER and FAULTLINE_IPMI_PASSWORD.
    pub credentials: PathBuf,
    /// How often power supplies, fans and states of failure are read.
    pub fast: Every,
    /// How often most other sensors are read: temperatures, voltages.
    pub normal: Every,
    /// How often what changes slowly is read: the air, batteries, covers.
    pub slow: Every,
    /// How often it is looked whether the event log has grown.
    pub log: Every,
}

impl Default for Ipmi {
    fn default() -> Ipmi {
        let every = |seconds| Every(Duration::from_secs(seconds));
        Ipmi {
            enabled: true,
            bmcs: Vec::new(),
            credentials: "/etc/faultline/ipmi.yaml".into(),
            fast: every(10),
            normal: every(30),
            slow: every(300),
            log: every(10),
        }
    }
}

impl Ipmi {
    /// How often sensors are read.
    pub fn pace(&self) -> Pace {
        Pace {
            fast: self.fast.0,
            normal: self.normal.0.max(self.fast.0),
            slow: self.slow.0.max(self.fast.0),
        }
    }

    /// Who we are to a BMC on the network: the environment, else the file.
    ///
    /// # Errors
    /// Neither says.
    pub fn credentials(&self) -> Result<Credentials, String> {
        if let Some(found) = Credentials::from_environment() {
            return Ok(found);
        }
        Credentials::read(&self.credentials)
    }
}
