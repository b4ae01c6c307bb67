//! What is looked at at intervals: whether, and how often.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::parse_duration;

/// Looking more often than this costs more than it tells.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// The configuration of a source that looks at intervals; each has an
/// interval of its own as its default.
macro_rules! poll {
    ($(#[$doc:meta])* $name:ident, $seconds:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            /// Whether it is looked at.
            pub enabled: bool,
            /// How often, such as 30s.
            pub every: Every,
        }

        impl Default for $name {
            fn default() -> $name {
                let every = Every(Duration::from_secs($seconds));
                $name { enabled: true, every }
            }
        }
    };
}

poll!(
    /// The counters of memory errors.
    Edac,
    10
);

poll!(
    /// The counters of PCIe errors.
    Aer,
    30
);

poll!(
    /// Disks.
    Disk,
    60
);

poll!(
    /// Software RAID: besides, the kernel tells when an array changes.
    Raid,
    60
);

poll!(
    /// PCIe links.
    Pcie,
    60
);

poll!(
    /// The node as a whole.
    Host,
    60
);

poll!(
    /// Sensors of the kernel's own drivers.
    Hwmon,
    30
);

/// A length of time such as 30s or 5m.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(test, schemars(with = "String"))]
pub struct Every(pub Duration);

impl TryFrom<String> for Every {
    type Error = String;

    fn try_from(text: String) -> Result<Every, String> {
        let time = parse_duration(&text)?;
        match time < EVERY_MIN {
            true => Err(format!("{text:?} is too often; 1s is the shortest")),
            false => Ok(Every(time)),
        }
    }
}

impl From<Every> for String {
    fn from(Every(time): Every) -> String {
        let seconds = time.as_secs();
        match seconds % 60 {
            0 if seconds > 0 => format!("{}m", seconds / 60),
            _ => format!("{seconds}s"),
        }
    }
}
