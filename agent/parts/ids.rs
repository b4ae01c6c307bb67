//! Part ids (`disk/nvme0n1p2`, `dimm/P1-A2`) and which part lies below which.
//!
//! Only names are looked at here: a partition lies below its disk, a
//! namespace below its controller, a device below its ATA link, a filesystem
//! below the block device it is on. What only sysfs knows is not guessed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest id kept; more is cut. Kernel names are far shorter.
pub const PART_ID_MAX: usize = 128;

/// What a memory module is called by its handle in the firmware's tables
/// (SMBIOS), four hexadecimal digits, which records of firmware give. People
/// are not shown it.
pub const BY_HANDLE: &str = "smbios-0x";

/// A part's id: `kind/name`.
#[derive(
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
)]
#[serde(transparent)]
pub struct PartId(String);

impl PartId {
    /// Makes an id of text that may come from outside: control characters
    /// become `?`, a `/dev/` in front of the name goes, and the length is
    /// bounded.
    pub fn new(text: &str) -> PartId {
        let (kind, name) = text.split_once('/').unwrap_or(("node", text));
        let name = name.strip_prefix("/dev/").unwrap_or(name);
        let mut id = String::with_capacity(kind.len() + name.len() + 1);
        for c in kind.chars().chain(['/']).chain(name.trim().chars()) {
            if id.len() + c.len_utf8() > PART_ID_MAX {
                break;
            }
            id.push(if c.is_control() { '?' } else { c });
        }
        PartId(id)
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What sort of part it is: `disk`, `dimm`, `cpu`, …
    pub fn kind(&self) -> &str {
        self.0.split_once('/').map_or("node", |(kind, _)| kind)
    }

    /// The name within its kind.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(self.0.as_str(), |(_, name)| name)
    }

    /// Whether this is what an error is filed under that names no part, and
    /// `other` such a part.
    pub fn stands_for(&self, other: &PartId) -> bool {
        let kinds: &[&str] = match self.as_str() {
            "memory/system" => &["dimm", "channel", "memory"],
            "node/cpu" => &["cpu"],
            "node/pcie" => &["pci"],
            _ => &[],
        };
        kinds.contains(&other.kind())
    }

    /// Whether this is `other` or lies below it.
    pub fn is_within(&self, other: &PartId) -> bool {
        if self == other {
            return true;
        }
        let block = |kind| kind == "disk" || kind == "fs" || kind == "raid";
        match (self.kind(), other.kind()) {
            (_, "node") => true,
            ("fs", kind) if block(kind) => {
                block_is_within(self.name(), other.name())
            }
            ("disk", "disk") => block_is_within(self.name(), other.name()),
            _ => false,
        }
    }
}

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the kernel gives the name anew at each boot.
pub fn is_volatile(name: &PartId) -> bool {
    let is_identity = ["sn:", "wwn:", "at:"]
        .iter()
        .any(|prefix| name.name().starts_with(prefix));
    let kinds = ["disk", "nic", "fs", "raid", "hba", "hwmon", "usb"];
    let is_address = name.name().matches(':').count() == 2
        && name.name().contains('.')
        && name.kind() != "disk";
    !is_identity && !is_address && kinds.contains(&name.kind())
}

/// The names of the block devices that `name` may be a partition of, with
/// the partition, most likely first: `sda1` of `sda`, `nvme0n1p2` of
/// `nvme0n1`.
pub fn wholes(name: &str) -> impl Iterator<Item = (&str, &str)> {
    let base = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = &name[base.len()..];
    let is_partition = !number.is_empty() && !base.is_empty();
    let with_p = base.strip_suffix('p');
    let with_p = with_p.filter(|w| w.ends_with(|c: char| c.is_ascii_digit()));
    let plain = !base.ends_with(|c: char| c.is_ascii_digit());
    let with_p = with_p.filter(|_| is_partition).map(|whole| (whole, number));
    let plain = (is_partition && plain).then_some((base, number));
    with_p.into_iter().chain(plain)
}

/// Whether block device `name` is `whole`, a partition of it, a namespace of
/// it, or a device of that ATA link.
fn block_is_within(name: &str, whole: &str) -> bool {
    let Some(rest) = name.strip_prefix(whole) else { return false };
    if rest.is_empty() {
        return true;
    }
    let digits =
        |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if whole.starts_with("ata") {
        return rest.strip_prefix('.').is_some_and(digits);
    }
    let ends_in_digit = whole.ends_with(|c: char| c.is_ascii_digit());
    if !ends_in_digit {
        return digits(rest); // sda1 of sda
    }
    if let Some(partition) = rest.strip_prefix('p') {
        return digits(partition); // nvme0n1p2 of nvme0n1, md0p1 of md0
    }
    // nvme0n1 and nvme0n1p2 of nvme0; nvme0c0n1 is the hidden path device.
    whole.starts_with("nvme")
        && rest.strip_prefix('n').is_some_and(|rest| {
            let (namespace, partition) =
                rest.split_once('p').unwrap_or((rest, "0"));
            digits(namespace) && digits(partition)
        })
}

/// Whether it is the address of a PCI function, `0000:3b:00.0`; domains
/// above FFFFh have more digits (VMD).
pub fn is_pci_address(word: &str) -> bool {
    let mut parts = word.split([':', '.']);
    let wanted = [&[4, 5, 6, 8][..], &[2], &[2], &[1]];
    word.contains('.')
        && wanted.iter().all(|long| {
            parts.next().is_some_and(|p| {
                long.contains(&p.len())
                    && p.bytes().all(|b| b.is_ascii_hexdigit())
            })
        })
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(a: &str, b: &str) -> bool {
        PartId::new(a).is_within(&PartId::new(b))
    }

    #[test]
    fn partitions_namespaces_and_filesystems_lie_below_their_disk() {
        assert!(within("disk/sda1", "disk/sda"));
        assert!(within("disk/nvme0n1p2", "disk/nvme0n1"));
        assert!(within("disk/nvme0n1p2", "disk/nvme0"));
        assert!(within("fs/sda2", "disk/sda"));
        assert!(within("fs/md0", "raid/md0"));
        assert!(within("disk/ata4.00", "disk/ata4"));
    }

    #[test]
    fn neighbours_with_longer_names_are_not_below() {
        assert!(!within("disk/sdab", "disk/sda"));
        assert!(!within("disk/nvme10", "disk/nvme1"));
        assert!(!within("disk/nvme1n10", "disk/nvme1n1"));
        assert!(!within("disk/ata40", "disk/ata4"));
        assert!(!within("disk/sda", "disk/sda1"));
        assert!(!within("cpu/cpu1", "disk/cpu1"));
        assert!(!within("disk/dm-10", "disk/dm-1"));
    }

    #[test]
    fn a_partition_tells_its_whole() {
        let of = |name| wholes(name).collect::<Vec<_>>();
        assert_eq!(of("sda1"), [("sda", "1")]);
        assert_eq!(of("nvme0n1p2")[0], ("nvme0n1", "2"));
        assert_eq!(of("md0p1")[0], ("md0", "1"));
        assert_eq!(of("sda"), []);
        assert_eq!(of("12"), []);
    }

    #[test]
    fn hostile_names_stay_bounded_and_printable() {
        let id = PartId::new(&format!("disk/\u{1b}[2J{}", "x".repeat(500)));
        assert!(id.as_str().len() <= PART_ID_MAX);
        assert!(!id.as_str().contains('\u{1b}'));
        assert_eq!(PartId::new("disk//dev/sdb").as_str(), "disk/sdb");
    }

    #[test]
    fn pci_addresses_are_told_from_other_names() {
        assert!(is_pci_address("0000:3b:00.0"));
        assert!(is_pci_address("10000:00:1f.7"));
        for other in ["", "pci0000:00", "0000:00", "power", "0000:3b:00.0.1"] {
            assert!(!is_pci_address(other), "{other}");
        }
    }
}
