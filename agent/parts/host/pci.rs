//! PCI functions: slots, interfaces, adapters, accelerators. A function is
//! the part; what its driver calls it are names of it.

use std::collections::BTreeMap;

use super::{BOARD, Look};
use crate::parts::census::Reading;
use crate::parts::ids::{PartId, is_pci_address};
use crate::parts::part::{Attachment, Part, Realm};
use crate::parts::serials;
use crate::parts::smbios::Tables;
use crate::tree::Tree;

const DIR: &str = "sys/bus/pci/devices";

/// Drivers that lend a function to a guest or to a program
/// (drivers/vfio/pci, drivers/xen/xen-pciback, DPDK's).
const LENDERS: &[&str] =
    &["vfio-pci", "pci-stub", "pciback", "uio_pci_generic", "igb_uio"];

/// Vendors of devices that only hypervisors make: virtio, VMware, Xen,
/// Amazon's ENA, Google's gVNIC, Microsoft's MANA.
const HYPERVISORS: &[&str] = &["1af4", "15ad", "5853", "1d0f", "1ae0", "1414"];

/// Graphics of management controllers (ASPEED, Matrox, Hisilicon): not what
/// anybody calls a GPU.
const CONSOLES: &[&str] = &["1a03", "102b", "19e5"];

/// Vendors by name, where the address alone would tell a person nothing.
const VENDORS: &[(&str, &str)] = &[
    ("1000", "Broadcom/LSI"),
    ("1002", "AMD"),
    ("1022", "AMD"),
    ("1077", "QLogic"),
    ("10de", "NVIDIA"),
    ("10df", "Emulex"),
    ("1344", "Micron"),
    ("144d", "Samsung"),
    ("14e4", "Broadcom"),
    ("15b3", "Mellanox"),
    ("1924", "Solarflare"),
    ("19a2", "Emulex"),
    ("1af4", "virtio"),
    ("1e0f", "Kioxia"),
    ("8086", "Intel"),
    ("9005", "Adaptec"),
];

/// The names of places on the bus.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// By device: `0000:3b:00`.
    slots: BTreeMap<String, String>,
    /// By function: what the firmware calls it.
    designations: BTreeMap<String, String>,
}

impl Slots {
    pub fn read(tree: &Tree, tables: &Tables) -> Slots {
        let mut slots = Slots::default();
        for name in tree.names_or_none("sys/bus/pci/slots") {
            let address = format!("sys/bus/pci/slots/{name}/address");
            if let (Some(address), Some(name)) =
                (tree.tidied(&address), serials::tidy(&name))
            {
                slots.slots.insert(address, format!("slot {name}"));
            }
        }
        for (name, address) in tables.slots.iter().chain(&tables.onboard) {
            let entry = slots.designations.entry(address.clone());
            entry.or_insert_with(|| name.clone());
        }
        slots
    }

    /// Where a function sits, from the functions on the way to it, the
    /// nearest first. The address belongs to it: a card has several
    /// functions, and each is a part.
    pub fn place(&self, path: &[&str]) -> Option<String> {
        let address = path.first()?;
        let named = path.iter().find_map(|bdf| {
            let device = bdf.split('.').next().unwrap_or_default();
            self.slots.get(device).or_else(|| self.designations.get(*bdf))
        });
        Some(match named {
            Some(name) => format!("{name}, {address}"),
            None => format!("PCI {address}"),
        })
    }
}

/// The functions on the way to a device, nearest first.
pub(super) fn functions(path: &str) -> Vec<&str> {
    path.split('/').filter(|word| is_pci_address(word)).rev().collect()
}

/// Every function, by its address.
pub(super) type Functions = BTreeMap<String, Part>;

pub(super) fn read(look: &Look<'_>, reading: &mut Reading) -> Functions {
    let mut all = Functions::new();
    let names = match look.tree.names_if_any(DIR) {
        Ok(names) => names,
        Err(error) => {
            reading.unread.insert(Realm::Pci, format!("/{DIR}: {error}"));
            return all;
        }
    };
    for bdf in names.iter().filter(|name| is_pci_address(name)) {
        if let Some(part) = function(look, bdf) {
            all.insert(bdf.clone(), part);
        }
    }
    if let Err(error) = interfaces(look, &mut all) {
        // Without them a network function looks like one that was lent.
        let why = format!("/sys/class/net: {error}");
        reading.unread.insert(Realm::Pci, why);
    }
    adapters(look, &mut all);
    accelerators(look, &mut all);
    all
}

fn function(look: &Look<'_>, bdf: &str) -> Option<Part> {
    let (tree, dir) = (look.tree, format!("{DIR}/{bdf}"));
    let number = |name: &str| {
        let text = tree.tidied(&format!("{dir}/{name}"))?;
        Some(text.strip_prefix("0x").unwrap_or(&text).to_owned())
    };
    let class = number("class")?;
    let vendor = number("vendor").unwrap_or_default();
    let device = number("device").unwrap_or_default();
    let driver = tree.link(&format!("{dir}/driver"));
    let (kind, watched) = kind(&class, &vendor)?;
    let path = tree.real(&dir).unwrap_or_default();
    let way = functions(&path);
    let way = if way.is_empty() { vec![bdf] } else { way };
    let ports = way.iter().skip(1);
    let mut within: Vec<PartId> =
        ports.map(|port| PartId::new(&format!("pci/{port}"))).collect();
    within.push(PartId::new(BOARD));
    let lent = driver.as_deref().is_some_and(|d| LENDERS.contains(&d));
    let address = PartId::new(&format!("pci/{bdf}"));
    let made_up = HYPERVISORS.contains(&vendor.as_str())
        || tree.has(&format!("{dir}/physfn"));
    let attachment = if made_up {
        Attachment::Virtual
    } else if lent {
        Attachment::Borrowed
    } else {
        Attachment::Local
    };
    let label = tree.tidied(&format!("{dir}/label"));
    let place = look.slots.place(&way).map(|place| match label {
        Some(label) if place.starts_with("PCI ") => {
            format!("{label}, {bdf}")
        }
        _ => place,
    });
    let mut part = Part {
        model: model(&vendor, &device),
        hardware: Some(format!("{vendor}:{device}")),
        place,
        port: Some(format!("PCI {bdf}")),
        address: Some(address.clone()),
        within,
        attachment,
        watched,
        ..Part::named(PartId::new(&format!("{kind}/{bdf}")), Realm::Pci)
    };
    // Some drivers print the address without the function.
    if let (Some(device), "gpu") = (bdf.strip_suffix(".0"), kind) {
        part.alias(PartId::new(&format!("gpu/{device}")));
    }
    Some(part)
}

/// What sort of part a class is (PCI Code and ID Assignment 1.16), and
/// whether its absence is worth telling. Functions of the chipset that no
/// one can pull and that no error names are left out.
fn kind(class: &str, vendor: &str) -> Option<(&'static str, bool)> {
    let (base, sub) = (class.get(..2)?, class.get(2..4)?);
    Some(match (base, sub) {
        ("01", "08") => ("pci", true),
        ("01", _) => ("hba", true),
        ("02", _) => ("nic", true),
        ("03", _) if CONSOLES.contains(&vendor) => ("pci", false),
        ("03", _) | ("12", _) | ("0b", "40") => ("gpu", true),
        ("06", "04") | ("05", _) | ("0c", _) => ("pci", false),
        ("06" | "08" | "11" | "13", _) => return None,
        _ => ("pci", false),
    })
}

/// None where the function's files tell neither.
fn model(vendor: &str, device: &str) -> Option<String> {
    if vendor.is_empty() && device.is_empty() {
        return None;
    }
    let name = VENDORS.iter().find(|(id, _)| *id == vendor);
    Some(match name {
        Some((_, name)) => format!("{name} {vendor}:{device}"),
        None => format!("{vendor}:{device}"),
    })
}

/// Gives network functions their interfaces' names and addresses.
fn interfaces(look: &Look<'_>, all: &mut Functions) -> std::io::Result<()> {
    let tree = look.tree;
    for class in ["net", "infiniband"] {
        for name in tree.names_if_any(&format!("sys/class/{class}"))? {
            let dir = format!("sys/class/{class}/{name}");
            let Some(path) = tree.real(&dir) else { continue };
            // Behind a USB port it is not the function's own.
            if path.contains("/usb") {
                continue;
            }
            let bdf = functions(&path).first().map(|bdf| (*bdf).to_owned());
            let Some(part) = bdf.and_then(|bdf| all.get_mut(&bdf)) else {
                continue;
            };
            let id = PartId::new(&format!("nic/{name}"));
            let is_first = part
                .address
                .as_ref()
                .is_some_and(|address| address.name() == part.name.name());
            if class == "net" && is_first && part.name.kind() == "nic" {
                part.name = id;
            } else {
                part.alias(id);
            }
            if class == "net" && part.wwn.is_none() {
                part.wwn = permanent_address(tree, &dir);
            }
        }
    }
    for (bdf, part) in all.iter_mut() {
        lend_interfaces(tree, bdf, part);
    }
    Ok(())
}

/// The address that is burnt in: a bond gives its members another, and
/// keeps theirs (drivers/net/bonding/bond_sysfs_slave.c).
fn permanent_address(tree: &Tree, dir: &str) -> Option<String> {
    let kept = tree.tidied(&format!("{dir}/bonding_slave/perm_hwaddr"));
    let own = || {
        // NET_ADDR_PERM (include/uapi/linux/netdevice.h).
        let kind = tree.tidied(&format!("{dir}/addr_assign_type"))?;
        (kind == "0").then(|| tree.tidied(&format!("{dir}/address")))?
    };
    kept.or_else(own).and_then(|text| serials::serial(&text))
}

/// An Ethernet function with a driver and without an interface has it in
/// another network namespace, which sysfs does not show here.
fn lend_interfaces(tree: &Tree, bdf: &str, part: &mut Part) {
    let bare = part.name.kind() == "nic"
        && part.name.name() == bdf
        && part.aliases.is_empty();
    if !bare || part.attachment != Attachment::Local {
        return;
    }
    let dir = format!("{DIR}/{bdf}");
    let ethernet = tree.tidied(&format!("{dir}/class"));
    if ethernet.is_some_and(|class| class.starts_with("0x0200"))
        && tree.has(&format!("{dir}/driver"))
    {
        part.attachment = Attachment::Borrowed;
    }
}

/// Gives storage adapters the names of their hosts, and the numbers that
/// their drivers tell.
fn adapters(look: &Look<'_>, all: &mut Functions) {
    let tree = look.tree;
    for host in tree.names_or_none("sys/class/scsi_host") {
        let dir = format!("sys/class/scsi_host/{host}");
        let Some(path) = tree.real(&dir) else { continue };
        let bdf = functions(&path).first().map(|bdf| (*bdf).to_owned());
        let Some(part) = bdf.and_then(|bdf| all.get_mut(&bdf)) else {
            continue;
        };
        part.alias(PartId::new(&format!("hba/{host}")));
        let driver = tree.tidied(&format!("{dir}/proc_name"));
        let number = tree.tidied(&format!("{dir}/unique_id"));
        // mpt3sas calls itself so in every line (mpt3sas_base.c).
        if let (Some("mpt3sas" | "mpt2sas"), Some(number)) =
            (driver.as_deref(), number)
        {
            let driver = driver.as_deref().unwrap_or_default();
            part.alias(PartId::new(&format!("hba/{driver}_cm{number}")));
        }
        let first = |names: &[&str]| {
            names.iter().find_map(|name| tree.tidied(&format!("{dir}/{name}")))
        };
        if part.serial.is_none() {
            let text = first(&["board_tracer", "serial_num", "serialnum"]);
            part.serial = text.and_then(|text| serials::serial(&text));
        }
        if let Some(model) = first(&["board_name", "model_name", "modelname"]) {
            part.model = serials::model(&model).or(part.model.take());
        }
    }
}

/// Gives accelerators what their drivers tell.
fn accelerators(look: &Look<'_>, all: &mut Functions) {
    let tree = look.tree;
    for (bdf, part) in all.iter_mut().filter(|(_, p)| p.name.kind() == "gpu") {
        let file = format!("proc/driver/nvidia/gpus/{bdf}/information");
        for line in tree.lines(&file, 4096) {
            let Some((key, value)) = line.split_once(':') else { continue };
            match key.trim() {
                "Model" => part.model = serials::model(value),
                "GPU UUID" => part.wwn = serials::serial(value),
                _ => {}
            }
        }
        let dir = format!("{DIR}/{bdf}");
        // amdgpu (drivers/gpu/drm/amd/amdgpu/amdgpu_fru_eeprom.c).
        if let Some(id) = tree.tidied(&format!("{dir}/unique_id")) {
            part.wwn = serials::serial(&id);
        }
        if let Some(number) = tree.tidied(&format!("{dir}/serial_number")) {
            part.serial = serials::serial(&number);
        }
        if let Some(name) = tree.tidied(&format!("{dir}/product_name")) {
            part.model = serials::model(&name).or(part.model.take());
        }
        for card in tree.names_or_none(&format!("{dir}/drm")) {
            if card.starts_with("card") {
                part.alias(PartId::new(&format!("gpu/{card}")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_on_the_way_are_told_from_other_words() {
        let path = "sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/ata4/\
                    host3/target3:0:0/3:0:0:0/block/sda";
        assert_eq!(functions(path), ["0000:3b:00.0", "0000:3a:00.0"]);
        assert!(is_pci_address("10000:01:00.0"));
        assert!(!is_pci_address("3:0:0:0"));
        assert!(!is_pci_address("0000:3b:00"));
    }

    #[test]
    fn a_place_names_the_slot_that_is_nearest_and_the_address() {
        let slots = Slots {
            slots: [("0000:3b:00".into(), "slot 3".into())].into(),
            designations: [("0000:3a:00.0".into(), "PCIe 7".into())].into(),
        };
        let place = |way: &[&str]| slots.place(way).unwrap();
        let way = ["0000:3b:00.1", "0000:3a:00.0"];
        assert_eq!(place(&way), "slot 3, 0000:3b:00.1");
        let way = ["0000:3c:00.0", "0000:3a:00.0"];
        assert_eq!(place(&way), "PCIe 7, 0000:3c:00.0");
        assert_eq!(place(&["0000:01:00.0"]), "PCI 0000:01:00.0");
    }
}
