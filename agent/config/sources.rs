//! What is read: a part for each source. Those that look at intervals are in
//! `poll`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Aer, Disk, Edac, Every, Host, Hwmon, Ipmi, Pcie, Raid};

/// What is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Sources {
    /// The kernel's log.
    pub kmsg: Kmsg,
    /// The systemd journal.
    pub journal: Journal,
    /// Log files.
    pub file: Files,
    /// Mounted filesystems.
    pub mount: Mount,
    /// The counters of memory errors that the kernel's EDAC drivers keep.
    pub edac: Edac,
    /// The counters of PCIe errors that the kernel keeps for each device.
    pub aer: Aer,
    /// Disks: their state, and the health logs of NVMe drives.
    pub disk: Disk,
    /// Software RAID: arrays and their members.
    pub raid: Raid,
    /// The width and speed of PCIe links.
    pub pcie: Pcie,
    /// The node as a whole: memory taken out of use, CPUs, throttling.
    pub host: Host,
    /// BMCs: their sensors, their event logs, their inventories.
    pub ipmi: Ipmi,
    /// Sensors that the kernel has drivers for; while no BMC answers.
    pub hwmon: Hwmon,
    /// The census of parts.
    pub inventory: Inventory,
    /// Machine checks and RAS events, from the kernel's tracepoints.
    pub mce: Mce,
}

/// The kernel's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Kmsg {
    /// Whether it is read.
    pub enabled: bool,
    /// The device.
    pub path: PathBuf,
    /// Whether to believe records that user programs wrote to the device.
    /// For tests only: with it, any process that may write there can open
    /// any fault; a metric announces it.
    pub accept_userspace: bool,
}

impl Default for Kmsg {
    fn default() -> Kmsg {
        Kmsg {
            enabled: true,
            path: "/dev/kmsg".into(),
            accept_userspace: false,
        }
    }
}

/// The systemd journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Journal {
    /// Whether it is followed (with journalctl).
    pub enabled: bool,
    /// Whether the kernel's text is taken from it too: for hosts where
    /// /dev/kmsg can't be read. Not together with kmsg.
    pub kernel: bool,
}

impl Default for Journal {
    fn default() -> Journal {
        Journal { enabled: true, kernel: false }
    }
}

/// Log files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Files {
    /// What is followed, through rotation: a list of
    /// { glob: /var/log/messages, kernel: true }, where `kernel` says that
    /// the lines are the kernel's text behind a syslog header; for the log of
    /// mcelog or rasdaemon, `machine_checks: true` instead.
    pub paths: Vec<FilePath>,
}

/// One file, or several, to follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FilePath {
    /// A path, with `*` and `?` in any of its names.
    pub glob: String,
    /// Whether its lines are kernel text behind a syslog header.
    #[serde(default)]
    pub kernel: bool,
    /// Whether it is the log of mcelog or rasdaemon, in which nobody else
    /// can write: machine checks in it are believed.
    #[serde(default)]
    pub machine_checks: bool,
}

/// Mounted filesystems.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Mount {
    /// Whether the mount table is watched.
    pub enabled: bool,
}

impl Default for Mount {
    fn default() -> Mount {
        Mount { enabled: true }
    }
}

/// The census of parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Inventory {
    /// Whether the census is taken: without it faults are filed under the
    /// names that the kernel prints, and no part can be missing.
    pub enabled: bool,
    /// How often, besides whenever the kernel tells of a device.
    pub every: Every,
    /// How many parts there should be: { dimm: 16, nvme: 8 }. Of dimm, cpu,
    /// disk (nvme included), nvme, nic, gpu, hba, psu; only this machine's
    /// own hardware is counted.
    pub expect: BTreeMap<String, u32>,
    /// The board's labels for what memory controllers print, where the
    /// firmware does not tell: { "CPU_SrcID#1_MC#0_Chan#2_DIMM#0": P2-DIMMC1 }.
    pub labels: BTreeMap<String, String>,
}

impl Default for Inventory {
    fn default() -> Inventory {
        Inventory {
            enabled: true,
            every: Every(Duration::from_secs(300)),
            expect: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }
}

/// What `expect` can count.
pub const EXPECTED: [&str; 8] =
    ["cpu", "dimm", "disk", "gpu", "hba", "nic", "nvme", "psu"];

/// Machine checks and RAS events, from the kernel's tracepoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Mce {
    /// Whether a trace instance of our own is read. Without it machine
    /// checks are known from the kernel's text alone.
    pub enabled: bool,
}

impl Default for Mce {
    fn default() -> Mce {
        Mce { enabled: true }
    }
}
