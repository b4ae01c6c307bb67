//! Disks that are no NVMe drives: SCSI, SATA, SAS, virtio, and what is made
//! of them (device-mapper over one disk is that disk).

use std::collections::{BTreeMap, BTreeSet};

use super::pci::{Functions, functions};
use super::{BOARD, Look, join};
use crate::parts::census::Reading;
use crate::parts::ids::PartId;
use crate::parts::part::{Attachment, Part, Realm};
use crate::parts::serials;
use crate::tree::Tree;

const DIR: &str = "sys/class/block";

/// SCSI models that only hypervisors and clouds have.
const VIRTUAL: &[&str] = &[
    "QEMU",
    "VBOX HARDDISK",
    "VMware Virtual",
    "Virtual Disk",
    "Virtual disk",
    "Google PersistentDisk",
    "Amazon Elastic",
    "scsi_debug",
];

/// How deep maps are followed: LVM on crypt on multipath on disks is four.
const MAPS_MAX: usize = 8;

pub(super) fn read(
    look: &Look<'_>,
    all: &mut Functions,
    reading: &mut Reading,
) {
    let names = match look.tree.names_if_any(DIR) {
        Ok(names) => names,
        Err(error) => {
            reading.unread.insert(Realm::Block, format!("/{DIR}: {error}"));
            return;
        }
    };
    let bays = bays(look.tree);
    let mut maps = Vec::new();
    let mut disks = Vec::new();
    for name in &names {
        let dir = format!("{DIR}/{name}");
        let path = look.tree.real(&dir).unwrap_or_default();
        let is_mapped = name.starts_with("dm-");
        if look.tree.has(&format!("{dir}/partition")) {
            continue;
        }
        if is_mapped {
            maps.push(name);
        } else if !path.contains("/virtual/") && !name.starts_with("nvme") {
            disks.push(disk(look, name, &path, all, &bays));
        }
    }
    ports(&mut disks);
    reading.parts.extend(disks);
    map(look.tree, &maps, &mut reading.parts);
}

fn disk(
    look: &Look<'_>,
    name: &str,
    path: &str,
    all: &Functions,
    bays: &BTreeMap<String, String>,
) -> Part {
    let (tree, dir) = (look.tree, format!("{DIR}/{name}/device"));
    let text = |name: &str| tree.tidied(&format!("{dir}/{name}"));
    let hctl = path.split('/').rev().find(|word| is_hctl(word));
    let vendor = text("vendor").filter(|v| hctl.is_some() && v != "ATA");
    let model = text("model").or_else(|| text("name"));
    let model = model.and_then(|text| serials::model(&text));
    let vendor = vendor.and_then(|text| serials::model(&text));
    let model = join(vendor, model);
    let way = functions(path);
    let function = way.first().and_then(|bdf| all.get(*bdf));
    let attachment = attachment(path, name, model.as_deref(), function);
    let mut within: Vec<PartId> =
        way.iter().map(|bdf| PartId::new(&format!("pci/{bdf}"))).collect();
    if attachment.is_hardware() {
        within.push(PartId::new(BOARD));
    }
    let port = port(tree, path, hctl);
    let bay = hctl.and_then(|hctl| bays.get(hctl)).cloned();
    let bay = bay.or_else(|| told_bay(tree, path));
    let (wwn, serial) = numbers(tree, name, &dir);
    let removable = tree.tidied(&format!("{DIR}/{name}/removable"));
    let mut part = Part {
        wwn,
        serial,
        model,
        firmware: text("rev").or_else(|| text("firmware_rev")),
        place: bay.or_else(|| port.clone()),
        port,
        within,
        attachment,
        // Sticks, and the media that management controllers present.
        watched: removable.as_deref() != Some("1") && !path.contains("/usb"),
        ..Part::named(PartId::new(&format!("disk/{name}")), Realm::Block)
    };
    if let Some(hctl) = hctl {
        part.alias(PartId::new(&format!("disk/{hctl}")));
        part.alias_ata(path, hctl);
    }
    part
}

impl Part {
    /// `ata4.00`, as libata calls the device that SCSI calls 3:0:0:0: the
    /// port's number, and behind a multiplier the channel
    /// (drivers/ata/libata-scsi.c, ata_scsi_scan_host).
    fn alias_ata(&mut self, path: &str, hctl: &str) {
        let Some(port) = path.split('/').find(|word| {
            word.strip_prefix("ata").is_some_and(|n| n.parse::<u32>().is_ok())
        }) else {
            return;
        };
        let mut numbers = hctl.split(':').skip(1);
        let mut next = || numbers.next()?.parse::<u32>().ok();
        if let (Some(channel), Some(id)) = (next(), next()) {
            let device = channel + id;
            self.alias(PartId::new(&format!("disk/{port}.{device:02}")));
            self.alias(PartId::new(&format!("disk/{port}")));
        }
    }
}

/// A port is the disk behind it only if there is one.
fn ports(disks: &mut [Part]) {
    let mut behind: BTreeMap<PartId, usize> = BTreeMap::new();
    let is_port = |alias: &PartId| {
        alias.name().starts_with("ata") && !alias.name().contains('.')
    };
    for disk in disks.iter() {
        for port in disk.aliases.iter().filter(|a| is_port(a)) {
            *behind.entry(port.clone()).or_insert(0) += 1;
        }
    }
    for disk in disks {
        disk.aliases
            .retain(|alias| !is_port(alias) || behind.get(alias) == Some(&1));
    }
}

fn attachment(
    path: &str,
    name: &str,
    model: Option<&str>,
    function: Option<&Part>,
) -> Attachment {
    let has = |word: &str| {
        path.split('/').any(|part| {
            part.strip_prefix(word).is_some_and(|rest| {
                rest.starts_with(|c: char| c.is_ascii_digit() || c == '-')
            })
        })
    };
    // iSCSI, Fibre Channel and other fabrics; Ceph and network block devices.
    let far = has("session") || has("rport") || path.contains("/rbd/");
    let far_names = ["rbd", "nbd", "drbd"];
    if far || far_names.iter().any(|n| name.starts_with(n)) {
        return Attachment::Remote;
    }
    let model = model.unwrap_or_default();
    let made_up = VIRTUAL.iter().any(|v| model.contains(v));
    // Xen's and Hyper-V's buses, and scsi_debug's.
    let bus = has("virtio") || has("vbd") || path.contains("/VMBUS:");
    if made_up || bus || path.contains("/pseudo") || path.contains("vmbus") {
        return Attachment::Virtual;
    }
    match function {
        Some(function) => function.attachment,
        None => Attachment::Local,
    }
}

/// What the census knows a disk by, whatever the kernel calls it: the end of
/// its identity.
pub fn known_by(tree: &Tree, name: &str) -> Option<String> {
    let (wwn, serial) = numbers(tree, name, &format!("{DIR}/{name}/device"));
    let wwn = wwn.map(|wwn| format!("wwn:{wwn}"));
    wwn.or_else(|| serial.map(|serial| format!("sn:{serial}")))
}

/// The world-wide name and the serial number, as the kernel keeps them from
/// when it found the disk; no command is sent.
fn numbers(
    tree: &Tree,
    name: &str,
    dir: &str,
) -> (Option<String>, Option<String>) {
    let wwid = tree.tidied(&format!("{dir}/wwid"));
    // The other forms are made of model and serial number.
    let wwn = wwid.filter(|w| w.starts_with("naa.") || w.starts_with("eui."));
    // Vital product data, page 80h: a header of four bytes, then the number
    // (SPC-5, 7.7.22).
    let page = tree.bytes(&format!("{dir}/vpd_pg80"), 256).unwrap_or_default();
    let page = page.get(4..).map(String::from_utf8_lossy);
    let serial = page
        .map(|page| page.into_owned())
        .or_else(|| tree.tidied(&format!("{dir}/serial")))
        .or_else(|| tree.tidied(&format!("{DIR}/{name}/serial")));
    let number = |text: String| serials::serial(&text);
    (wwn.and_then(number), serial.and_then(number))
}

/// The bay that the adapter tells of, where it does.
fn told_bay(tree: &Tree, path: &str) -> Option<String> {
    let device = path.split('/').find(|w| w.starts_with("end_device-"))?;
    let dir = format!("sys/class/sas_device/{device}");
    let text = |name: &str| tree.tidied(&format!("{dir}/{name}"));
    let enclosure = text("enclosure_identifier")
        .filter(|e| e.trim_start_matches("0x").bytes().any(|b| b != b'0'))?;
    let bay = text("bay_identifier")?;
    Some(format!("enclosure {enclosure} bay {bay}"))
}

/// The port that a disk hangs on.
fn port(tree: &Tree, path: &str, hctl: Option<&str>) -> Option<String> {
    let way = functions(path);
    let bdf = way.first().copied();
    let device = path.split('/').find(|w| w.starts_with("end_device-"));
    if let (Some(device), Some(bdf)) = (device, bdf) {
        let phy = format!("sys/class/sas_device/{device}/phy_identifier");
        if let Some(phy) = tree.tidied(&phy) {
            // Behind an expander its phys are counted anew.
            let hop = path.split('/').rfind(|w| w.starts_with("expander-"));
            let hop = hop.and_then(|w| w.rsplit(':').next());
            let hop = hop.map_or(String::new(), |n| format!(" expander {n}"));
            return Some(format!("{bdf}{hop} phy {phy}"));
        }
    }
    let port = path.split('/').find(|word| {
        word.strip_prefix("ata").is_some_and(|n| n.parse::<u32>().is_ok())
    });
    let port = port.and_then(|port| {
        // The kernel numbers all ports of the machine; the port's own number
        // is what the board prints.
        tree.tidied(&format!("sys/class/ata_port/{port}/port_no"))
    });
    let numbers = hctl.and_then(|hctl| hctl.split_once(':'));
    match (bdf, port, numbers) {
        (Some(bdf), Some(port), _) => Some(format!("{bdf} SATA port {port}")),
        (Some(bdf), None, Some((_, rest))) => {
            Some(format!("{bdf} target {rest}"))
        }
        (Some(bdf), None, None) => Some(format!("PCI {bdf}")),
        _ => None,
    }
}

/// The bays of enclosures, by the address of the disk in them
/// (drivers/misc/enclosure.c).
fn bays(tree: &Tree) -> BTreeMap<String, String> {
    const DIR: &str = "sys/class/enclosure";
    let mut bays = BTreeMap::new();
    for enclosure in tree.names_or_none(DIR) {
        let id = tree.tidied(&format!("{DIR}/{enclosure}/id"));
        let id = id.unwrap_or_else(|| enclosure.clone());
        for bay in tree.names_or_none(&format!("{DIR}/{enclosure}")) {
            let dir = format!("{DIR}/{enclosure}/{bay}");
            let Some(disk) = tree.real(&format!("{dir}/device")) else {
                continue;
            };
            let disk = disk.rsplit('/').next().unwrap_or_default();
            if !is_hctl(disk) || !tree.has(&format!("{dir}/status")) {
                continue;
            }
            let number = tree.tidied(&format!("{dir}/slot"));
            let bay = number.or_else(|| serials::tidy(&bay));
            let bay = bay.unwrap_or_default();
            bays.insert(disk.to_owned(), format!("enclosure {id} bay {bay}"));
        }
    }
    bays
}

fn is_hctl(word: &str) -> bool {
    let numbers: Vec<&str> = word.split(':').collect();
    numbers.len() == 4
        && numbers
            .iter()
            .all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Gives maps over one disk as names to that disk: multipath, crypt, a
/// volume that lies on a single one.
fn map(tree: &Tree, maps: &[&String], parts: &mut [Part]) {
    let mut owner: BTreeMap<PartId, usize> = BTreeMap::new();
    for (at, part) in parts.iter().enumerate() {
        for name in part.aliases.iter().chain([&part.name]) {
            owner.insert(name.clone(), at);
        }
    }
    for name in maps {
        let mut disks = BTreeSet::new();
        below(tree, name, 0, &mut disks);
        let known: Option<BTreeSet<usize>> = disks
            .iter()
            .map(|d| owner.get(&PartId::new(&format!("disk/{d}"))).copied())
            .collect();
        let Some(known) = known else { continue };
        // Paths to one disk have its world-wide name.
        let numbers: BTreeSet<_> =
            known.iter().map(|at| parts[*at].identity()).collect();
        let (Some(at), 1) = (known.first(), numbers.len()) else { continue };
        let part = &mut parts[*at];
        part.alias(PartId::new(&format!("disk/{name}")));
        if let Some(map) = tree.tidied(&format!("{DIR}/{name}/dm/name")) {
            part.alias(PartId::new(&format!("disk/mapper/{map}")));
        }
    }
}

/// The disks below a map.
fn below(tree: &Tree, name: &str, deep: usize, disks: &mut BTreeSet<String>) {
    for slave in tree.names_or_none(&format!("{DIR}/{name}/slaves")) {
        let is_map = tree.has(&format!("{DIR}/{slave}/slaves"))
            && (slave.starts_with("dm-") || slave.starts_with("md"));
        if is_map && deep < MAPS_MAX {
            below(tree, &slave, deep + 1, disks);
        } else if tree.has(&format!("{DIR}/{slave}/partition")) {
            let path = tree.real(&format!("{DIR}/{slave}"));
            let whole = path.as_deref().and_then(|p| p.rsplit('/').nth(1));
            disks.insert(whole.unwrap_or(&slave).to_owned());
        } else {
            disks.insert(slave);
        }
    }
}
