//! One disk, as sysfs and its own health log show it.

use std::collections::BTreeSet;

use super::super::nvme_log::{self, Health};
use crate::devices;
use crate::parts::serials;
use crate::tree::Tree;

/// More disks than any machine has.
const DISKS_MAX: usize = 1024;

/// How a disk is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bus {
    /// An NVMe controller.
    Nvme,
    /// A SCSI, SAS or SATA disk.
    Scsi,
}

impl Bus {
    pub(super) fn word(self) -> &'static str {
        match self {
            Bus::Nvme => "nvme",
            Bus::Scsi => "scsi",
        }
    }
}

/// A disk's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Disk {
    /// How it is attached.
    pub bus: Bus,
    /// `nvme0`, `sda`.
    pub name: String,
}

/// How a disk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Its serial number, or its name if it has none.
    pub identity: String,
    /// Its model.
    pub model: Option<String>,
    /// The kernel's state of it; `None` if it could not be read, or is a
    /// word that nobody knows.
    pub state: Option<&'static str>,
    /// Whether it is a part of this node.
    pub attachment: &'static str,
    /// Bytes.
    pub capacity: Option<u64>,
    /// Commands that failed.
    pub io_errors: Option<u64>,
    /// Its own health log.
    pub health: Option<Health>,
    /// What the census knows it by, after the kind.
    pub known_by: Option<String>,
    /// What of it is there and could not be read, and why.
    pub refused: Option<String>,
}

/// All disks.
///
/// # Errors
/// Why there are none here.
pub fn disks(tree: &Tree) -> Result<BTreeSet<Disk>, String> {
    let mut all = BTreeSet::new();
    let digits =
        |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    for name in tree.names("sys/class/nvme").unwrap_or_default() {
        if name.strip_prefix("nvme").is_some_and(digits) {
            all.insert(Disk { bus: Bus::Nvme, name });
        }
    }
    for name in tree.names("sys/block").unwrap_or_default() {
        let letters = |s: &str| s.bytes().all(|b| b.is_ascii_lowercase());
        if name.strip_prefix("sd").is_some_and(letters) {
            all.insert(Disk { bus: Bus::Scsi, name });
        }
    }
    while all.len() > DISKS_MAX {
        all.pop_last();
    }
    match all.is_empty() {
        true => Err("this machine has no NVMe, SATA or SAS disk".to_owned()),
        false => Ok(all),
    }
}

/// Reads a disk; may hang as long as the disk does.
pub fn read(tree: &Tree, disk: &Disk) -> Reading {
    let reading = match disk.bus {
        Bus::Nvme => nvme(tree, &disk.name),
        Bus::Scsi => scsi(tree, &disk.name),
    };
    Reading { refused: tree.progress().refused(), ..reading }
}

fn text(tree: &Tree, path: &str) -> Option<String> {
    tree.text(path).ok().filter(|text| !text.is_empty())
}

/// The word of the table of fields for the state that a file holds.
pub(super) fn state(tree: &Tree, path: &str) -> Option<&'static str> {
    let text = tree.text(path).ok()?;
    let spec = crate::observation::Source::Disk.field("state")?;
    let crate::observation::FieldKind::Word(words) = spec.kind else {
        return None;
    };
    // What NVMe adds says that nothing is sent any more (nvme_sysfs_show_state,
    // drivers/nvme/host/sysfs.c).
    let word = text.strip_suffix(" (no IO)").unwrap_or(&text);
    let known = words.iter().find(|known| **known == word).copied();
    if known.is_none() {
        tree.garbled(path, &text);
    }
    known
}

fn nvme(tree: &Tree, name: &str) -> Reading {
    let at = |file: &str| format!("sys/class/nvme/{name}/{file}");
    let state = state(tree, &at("state"));
    let transport = text(tree, &at("transport"));
    let local = transport.as_deref().is_none_or(|t| t == "pcie");
    let model = text(tree, &at("model"));
    let emulated = model.as_ref().is_some_and(|m| m.starts_with("QEMU"));
    let identity = text(tree, &at("serial"));
    let capacity = namespaces(tree, name);
    // A controller that the kernel recovers must not be asked anything.
    let health = (state == Some("live")).then(|| health(tree, name)).flatten();
    Reading {
        known_by: identity
            .as_deref()
            .and_then(serials::serial)
            .map(|number| format!("sn:{number}")),
        identity: identity.unwrap_or_else(|| name.to_owned()),
        model,
        state,
        attachment: match (local, emulated) {
            (false, _) => "remote",
            (true, true) => "virtual",
            (true, false) => "local",
        },
        capacity,
        io_errors: None,
        health,
        refused: None,
    }
}

/// What its namespaces hold together, bytes.
fn namespaces(tree: &Tree, name: &str) -> Option<u64> {
    let dir = format!("sys/class/nvme/{name}");
    let names = tree.names(&dir).ok()?;
    let is_one = |n: &&String| {
        n.strip_prefix(name).is_some_and(|rest| rest.starts_with(['n', 'c']))
    };
    let size = |n: &String| tree.number(&format!("{dir}/{n}/size")).ok();
    let mut sizes = names.iter().filter(is_one).filter_map(size).peekable();
    sizes.peek()?;
    Some(sizes.fold(0, |sum: u64, n| sum.saturating_add(n)).saturating_mul(512))
}

fn health(tree: &Tree, name: &str) -> Option<Health> {
    let path = tree.at(&format!("dev/{name}"));
    let file = devices::open(&path, false).ok()?;
    nvme_log::read(&file).ok()
}

fn scsi(tree: &Tree, name: &str) -> Reading {
    let at = |file: &str| format!("sys/block/{name}/{file}");
    let errors = text(tree, &at("device/ioerr_cnt"));
    let errors = errors.and_then(|text| {
        let digits = text.strip_prefix("0x").unwrap_or(&text);
        let number = u64::from_str_radix(digits, 16).ok();
        if number.is_none() {
            tree.garbled(&at("device/ioerr_cnt"), &text);
        }
        number
    });
    let path = tree.real(&at("device")).unwrap_or_default();
    let vendor = text(tree, &at("device/vendor")).unwrap_or_default();
    let identity = text(tree, &at("device/wwid"));
    Reading {
        known_by: crate::parts::host::known_by(tree, name),
        identity: identity.unwrap_or_else(|| name.to_owned()),
        model: text(tree, &at("device/model")),
        state: state(tree, &at("device/state")),
        attachment: attachment(&path, &vendor),
        capacity: tree.number(&at("size")).ok().map(|n| n.saturating_mul(512)),
        io_errors: errors,
        health: None,
        refused: None,
    }
}

/// iSCSI sessions and Fibre Channel ports stand in the device's path; what a
/// hypervisor makes says so in its vendor.
fn attachment(path: &str, vendor: &str) -> &'static str {
    let on = |word: &str| path.split('/').any(|dir| dir.starts_with(word));
    let makers = ["QEMU", "VMware", "Msft", "VBOX", "Google", "LIO-ORG"];
    if on("session") || on("rport-") || vendor == "IET" {
        "remote"
    } else if makers.contains(&vendor) || on("pseudo_") || on("virtio") {
        "virtual"
    } else {
        "local"
    }
}
