//! NVMe controllers (drivers/nvme/host/sysfs.c). The controller is the
//! drive; its namespaces, their multipath heads and its PCI function are
//! names of it.

use super::pci::{Functions, functions};
use super::{BOARD, Look, join};
use crate::parts::census::Reading;
use crate::parts::ids::PartId;
use crate::parts::part::{Attachment, Part, Realm};
use crate::parts::serials;
use crate::tree::Tree;

/// Models behind which a cloud's volume is, not a drive (Amazon EBS, Google
/// Persistent Disk and Hyperdisk, Azure remote disks).
const VOLUMES: &[&str] = &[
    "Amazon Elastic Block Store",
    "nvme_card-pd",
    "MSFT NVMe Accelerator",
    "Google PersistentDisk",
];

pub(super) fn read(
    look: &Look<'_>,
    all: &mut Functions,
    reading: &mut Reading,
) {
    let tree = look.tree;
    let names = match tree.names_if_any("sys/class/nvme") {
        Ok(names) => names,
        Err(error) => {
            let why = format!("/sys/class/nvme: {error}");
            reading.unread.insert(Realm::Nvme, why);
            return;
        }
    };
    let mut drives: Vec<Part> = Vec::new();
    for name in names.iter().filter(|n| n.starts_with("nvme")) {
        let drive = controller(look, name, all);
        // Two controllers of one drive have its serial number.
        let twin = drives.iter_mut().find(|other| {
            other.serial.is_some()
                && other.serial == drive.serial
                && other.model == drive.model
        });
        match twin {
            None => drives.push(drive),
            Some(first) => {
                first.alias(drive.name);
                for alias in drive.aliases.into_iter().chain(drive.address) {
                    first.alias(alias);
                }
            }
        }
    }
    heads(tree, &mut drives);
    reading.parts.extend(drives);
}

/// A controller, which takes over what is known of its PCI function.
fn controller(look: &Look<'_>, name: &str, all: &mut Functions) -> Part {
    let (tree, dir) = (look.tree, format!("sys/class/nvme/{name}"));
    let attribute = |name: &str| tree.tidied(&format!("{dir}/{name}"));
    let path = tree.real(&dir).unwrap_or_default();
    let transport = attribute("transport").unwrap_or_default();
    let bdf = functions(&path).first().map(|bdf| (*bdf).to_owned());
    let bdf =
        bdf.or_else(|| (transport == "pcie").then(|| attribute("address"))?);
    let function = bdf.and_then(|bdf| all.remove(&bdf));
    let model = attribute("model").and_then(|text| serials::model(&text));
    let is_volume = model
        .as_deref()
        .is_some_and(|m| VOLUMES.iter().any(|v| m.starts_with(v)));
    let is_fabric = !matches!(transport.as_str(), "pcie" | "");
    let attachment = match &function {
        _ if is_volume || is_fabric => Attachment::Remote,
        // Amazon's own vendor id stands on its local drives, too.
        Some(function) if function.attachment == Attachment::Borrowed => {
            Attachment::Borrowed
        }
        Some(_) if tree.has(&format!("{dir}/device/physfn")) => {
            Attachment::Virtual
        }
        _ => Attachment::Local,
    };
    let function = function.unwrap_or_default();
    let mut within = function.within;
    if within.is_empty() && attachment == Attachment::Local {
        within.push(PartId::new(BOARD));
    }
    let mut part = Part {
        serial: attribute("serial").and_then(|text| serials::serial(&text)),
        model: join(None, model).or(function.model),
        firmware: attribute("firmware_rev"),
        place: if is_fabric { attribute("address") } else { function.place },
        port: function.port,
        address: function.address,
        hardware: function.hardware,
        within,
        attachment,
        ..Part::named(PartId::new(&format!("disk/{name}")), Realm::Nvme)
    };
    for child in tree.names_or_none(&dir) {
        if is_namespace(&child) {
            part.alias(PartId::new(&format!("disk/{child}")));
        }
    }
    part
}

/// The block devices of multipath heads: theirs is the subsystem's number,
/// not the controller's (drivers/nvme/host/multipath.c).
fn heads(tree: &Tree, drives: &mut [Part]) {
    const DIR: &str = "sys/class/nvme-subsystem";
    for subsystem in tree.names_or_none(DIR) {
        let children = tree.names_or_none(&format!("{DIR}/{subsystem}"));
        let is_controller = |drive: &Part| {
            let has =
                |id: &PartId| children.iter().any(|child| child == id.name());
            has(&drive.name) || drive.aliases.iter().any(has)
        };
        let mut owners = drives.iter_mut().filter(|drive| is_controller(drive));
        let Some(owner) = owners.next() else { continue };
        for head in children.iter().filter(|child| is_namespace(child)) {
            owner.alias(PartId::new(&format!("disk/{head}")));
        }
    }
}

/// `nvme0n1` and the hidden `nvme0c1n1`, not `nvme0` or `ng0n1`.
fn is_namespace(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("nvme") else { return false };
    let mut words = rest.split(['c', 'n']);
    let all = words.all(|word| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit())
    });
    all && rest.contains('n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_told_from_controllers_and_attributes() {
        let names = ["nvme0n1", "nvme0c1n1", "nvme12n3"];
        assert!(names.into_iter().all(is_namespace));
        let others = ["nvme0", "ng0n1", "nvmequeue", "nvme-subsys0", "nqn"];
        assert!(!others.into_iter().any(is_namespace));
    }
}
