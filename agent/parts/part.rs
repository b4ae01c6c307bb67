//! One part of the machine: what a technician needs to find it, and what
//! tells it from every other.

use serde::{Deserialize, Serialize};

use super::ids::PartId;

/// How many names a part may go by besides its own: an NVMe drive has some
/// namespaces, a network function some dozen interfaces.
pub const ALIASES_MAX: usize = 32;

/// How a part belongs to this machine.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Attachment {
    /// In this machine, and used by its own kernel.
    #[default]
    Local,
    /// Reached over a network: iSCSI, NVMe-oF, rbd, cloud volumes, NFS.
    Remote,
    /// Made by a hypervisor or a driver: virtio, virtual functions.
    Virtual,
    /// In this machine, but lent: bound to vfio, or an interface that was
    /// moved into another network namespace.
    Borrowed,
}

impl Attachment {
    /// Every word, as the `inventory` source has them.
    pub const WORDS: [&'static str; 4] =
        ["local", "remote", "virtual", "borrowed"];

    /// The word used everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Attachment::Local => "local",
            Attachment::Remote => "remote",
            Attachment::Virtual => "virtual",
            Attachment::Borrowed => "borrowed",
        }
    }

    /// Whether it is the machine's own hardware, whoever uses it.
    pub fn is_hardware(self) -> bool {
        matches!(self, Attachment::Local | Attachment::Borrowed)
    }
}

/// Whether the last census found it.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// It is there.
    #[default]
    Present,
    /// It was there and is not.
    Gone,
    /// What would tell could not be read.
    Unknown,
}

impl Presence {
    /// The word used everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Presence::Present => "present",
            Presence::Gone => "missing",
            Presence::Unknown => "unknown",
        }
    }
}

/// Where the knowledge of a part comes from: what could not be read makes
/// the presence of its parts unknown.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Realm {
    /// The firmware's tables.
    #[default]
    Smbios,
    /// PCI functions.
    Pci,
    /// NVMe controllers.
    Nvme,
    /// Block devices.
    Block,
    /// CPUs.
    Cpu,
    /// Memory controllers.
    Edac,
    /// The inventories that a BMC keeps.
    Bmc,
}

/// One part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Part {
    /// What people call it: `disk/nvme1`, `dimm/P1-DIMMA2`.
    pub name: PartId,
    /// What else it is called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<PartId>,
    /// A number that is unique in the world: WWN, EUI, MAC, UUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wwn: Option<String>,
    /// The serial number on its label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Vendor and model, or the part number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The release of its firmware.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// Where it sits, in words that stay the same over boots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The port or address that it hangs on, from which its place follows
    /// where nothing names that better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Its bus address, if it has one: `pci/0000:3b:00.0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<PartId>,
    /// Vendor and device id of the bus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware: Option<String>,
    /// What it sits in, nearest first, by address or name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<PartId>,
    /// How it belongs to this machine.
    pub attachment: Attachment,
    /// Whether its absence is worth telling: not that of a USB stick.
    pub watched: bool,
    /// Whether the last census found it.
    pub presence: Presence,
    /// Whether its name is one of an earlier boot, which may be another
    /// part's now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unbound: bool,
    /// Where it is known from.
    pub realm: Realm,
}

impl Part {
    /// A part with nothing but a name.
    pub fn named(name: PartId, realm: Realm) -> Part {
        Part { name, realm, watched: true, ..Part::default() }
    }

    /// The number that tells it from every other, if it has one.
    pub fn number(&self) -> Option<&str> {
        self.wwn.as_deref().or(self.serial.as_deref())
    }

    /// What faults on it are filed under: WWN or serial number, else the
    /// address or place, else the name.
    pub fn identity(&self) -> PartId {
        let kind = self.name.kind();
        if let Some(wwn) = &self.wwn {
            return PartId::new(&format!("{kind}/wwn:{wwn}"));
        }
        if let Some(serial) = &self.serial {
            return PartId::new(&format!("{kind}/sn:{serial}"));
        }
        if let Some(address) = &self.address {
            return address.clone();
        }
        match &self.place {
            // Names that the firmware gave are places themselves.
            Some(place) if kind == "disk" => {
                PartId::new(&format!("{kind}/at:{place}"))
            }
            _ => self.name.clone(),
        }
    }

    /// Whether it belongs to the census proper: hardware of this machine
    /// whose absence is worth telling.
    pub fn is_counted(&self) -> bool {
        self.watched && self.attachment.is_hardware()
    }

    /// Whether it is one of the `expect`ed parts called `what`: its kind, or
    /// `nvme`.
    pub fn counts_as(&self, what: &str) -> bool {
        self.name.kind() == what
            || (what == "nvme" && self.realm == Realm::Nvme)
    }

    /// Takes away the names that the kernel gave it in an earlier boot.
    pub fn unbind(&mut self) {
        self.unbound = super::ids::is_volatile(&self.name);
        self.aliases.retain(|alias| !super::ids::is_volatile(alias));
    }

    /// Adds a name it goes by, while there is room.
    pub fn alias(&mut self, name: PartId) {
        let known = self.name == name || self.aliases.contains(&name);
        if !known && self.aliases.len() < ALIASES_MAX {
            self.aliases.push(name);
        }
    }
}

/// What is known of the part that a fault is on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// The name that people see; kernel names are bound anew at each boot.
    pub name: PartId,
    /// The part of the census it is, or is on: its identity.
    pub owner: PartId,
    /// Where it sits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Vendor and model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// How it belongs to this machine.
    pub attachment: Attachment,
    /// What it sits in, by identity, nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<PartId>,
    /// What else it is called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<PartId>,
    /// Whether the owner is counted: its absence holds the proofs.
    pub counted: bool,
    /// Whether the last census found the owner.
    pub presence: Presence,
    /// The number of the owner, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// The numbers of what carries a part that has none itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub carriers: Vec<(PartId, String)>,
}
