//! What every source that looks at intervals is told: where, and how often.

use std::path::PathBuf;
use std::time::Duration;

use super::Failure;
use super::kmsg_open::boot_id;

/// Where to look, and how often.
#[derive(Clone, Debug)]
pub struct Poll {
    /// The directory that holds the host's /proc, /sys and /dev.
    pub root: PathBuf,
    /// How often.
    pub every: Duration,
}

impl Poll {
    /// This boot's id.
    ///
    /// # Errors
    /// There is none to be read.
    pub fn boot_id(&self) -> Result<String, Failure> {
        boot_id(&self.root.join("proc/sys/kernel/random/boot_id"))
    }
}
