//! Which BMCs this machine has, and what is wrong where it has none: no BMC,
//! no driver, no device file.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::Address;

/// Where device files of BMCs stand (drivers/char/ipmi/ipmi_devintf.c makes
/// the first, older systems the others).
const PLACES: [(&str, &str); 3] =
    [("dev", "ipmi"), ("dev/ipmi", ""), ("dev/ipmidev", "")];

/// More BMCs than a machine has.
const BMCS_MAX: usize = 16;

/// The first one, where none is there yet.
pub const FIRST: &str = "/dev/ipmi0";

/// The kernel's devices, in their order, as absolute paths below `root`; of a
/// BMC that has several, the first.
pub fn devices(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (dir, prefix) in PLACES {
        let Ok(entries) = fs::read_dir(root.join(dir)) else { continue };
        let number = |name: &str| name.strip_prefix(prefix)?.parse::<u8>().ok();
        let mut here: Vec<(u8, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name();
                Some((number(name.to_str()?)?, entry.path()))
            })
            .collect();
        here.sort();
        found.extend(here.into_iter().map(|(_, path)| path));
        if !found.is_empty() {
            break;
        }
    }
    let mut seen = BTreeSet::new();
    found.retain(|path| identity(root, path).is_none_or(|id| seen.insert(id)));
    found.truncate(BMCS_MAX);
    found
}

/// Which BMC is behind a device: the kernel knows it again by its GUID, and
/// has one directory for all of its interfaces
/// (drivers/char/ipmi/ipmi_msghandler.c). `None` where nobody can tell.
fn identity(root: &Path, path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let number = name.strip_prefix("ipmi").unwrap_or(name);
    let sys = root.join("sys/class/ipmi").join(format!("ipmi{number}"));
    let bmc = fs::canonicalize(sys.join("device/bmc")).ok()?;
    let guid = fs::read_to_string(bmc.join("guid")).ok()?;
    // Some BMCs have nothing but noughts, which is nobody's.
    let is_one = guid.chars().any(|c| c.is_ascii_hexdigit() && c != '0');
    is_one.then_some(bmc)
}

/// Where the device that is to stand at `path` really does: older systems
/// have the same number elsewhere.
pub fn place_of(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(|name| name.to_str());
    let number = name.and_then(|name| name.strip_prefix("ipmi"));
    let (Some(number), Some(dev)) = (number, path.parent()) else {
        return path.to_owned();
    };
    let others = ["ipmi", "ipmidev"].map(|dir| dev.join(dir).join(number));
    let found = others.into_iter().find(|other| other.exists());
    found.filter(|_| !path.exists()).unwrap_or_else(|| path.to_owned())
}

/// The BMCs that are meant where the configuration names none.
pub fn local(root: &Path) -> Vec<Address> {
    let mut found = devices(root);
    if found.is_empty() {
        found.push(root.join(FIRST.trim_start_matches('/')));
    }
    found.into_iter().map(Address::Device).collect()
}

/// Why there is no device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// There is no BMC: nothing is wrong.
    Bmc(String),
    /// There is one, and the kernel has no driver for it, or no device.
    Driver {
        /// What is so.
        why: String,
        /// What to do.
        next: &'static str,
    },
}

impl Missing {
    /// In one sentence.
    pub fn why(&self) -> &str {
        match self {
            Missing::Bmc(why) | Missing::Driver { why, .. } => why,
        }
    }
}

/// What is wrong where [`devices`] finds none.
pub fn missing(root: &Path) -> Missing {
    let sys = root.join("sys");
    let has = |path: &str| sys.join(path).exists();
    let driver = |why: &str, next| Missing::Driver { why: why.into(), next };
    let names = |path: &str, prefix: &str| {
        fs::read_dir(sys.join(path)).into_iter().flatten().flatten().any(
            |entry| entry.file_name().to_string_lossy().starts_with(prefix),
        )
    };
    if names("class/ipmi", "ipmi") {
        return driver(
            "the kernel has a BMC, and /dev has no file for it",
            "in a container, mount the host's /dev and allow the device",
        );
    }
    // SMBIOS structure type 38; the ACPI identity of an IPMI interface.
    let told = names("firmware/dmi/entries", "38-")
        || names("bus/acpi/devices", "IPI0001");
    let interface = ["ipmi_si", "ipmi_ssif", "ipmi_powernv", "ibmvmc"]
        .iter()
        .any(|m| has(&format!("module/{m}")));
    match (told, interface, has("module/ipmi_devintf")) {
        (false, false, _) => Missing::Bmc(
            "neither the firmware nor the kernel tells of a BMC".into(),
        ),
        (false, true, _) => Missing::Bmc(
            "the kernel's driver is loaded, and has found no BMC".into(),
        ),
        (true, false, _) => driver(
            "the firmware tells of a BMC, and its driver is not loaded",
            "modprobe ipmi_si ipmi_devintf (and name both in \
             /etc/modules-load.d)",
        ),
        (true, true, false) => driver(
            "the driver of the BMC is loaded, and ipmi_devintf is not",
            "modprobe ipmi_devintf (and name it in /etc/modules-load.d)",
        ),
        (true, true, true) => driver(
            "the firmware tells of a BMC, and its driver does not find it",
            "look for ipmi_si in the kernel's log; the BMC may hang",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(paths: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in paths {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        dir
    }

    #[test]
    fn two_interfaces_of_one_bmc_are_one_and_two_bmcs_are_two() {
        let root = tempfile::tempdir().unwrap();
        let dir = |path: &str| {
            fs::create_dir_all(root.path().join(path)).unwrap();
        };
        let file = |path: &str, text: &str| {
            fs::write(root.path().join(path), text).unwrap();
        };
        dir("dev");
        for bmc in ["0", "1", "2"] {
            dir(&format!("sys/devices/platform/ipmi_bmc.{bmc}"));
        }
        // The third has the GUID of nobody.
        for (bmc, guid) in [("0", "a1"), ("1", "b2"), ("2", "00-00")] {
            let path = format!("sys/devices/platform/ipmi_bmc.{bmc}/guid");
            file(&path, &format!("{guid}\n"));
        }
        let behind =
            [("0", "0"), ("1", "0"), ("2", "1"), ("3", "2"), ("4", "2")];
        for (device, bmc) in behind {
            file(&format!("dev/ipmi{device}"), "");
            let interface = format!("sys/class/ipmi/ipmi{device}/device");
            dir(&interface);
            let target = format!("sys/devices/platform/ipmi_bmc.{bmc}");
            std::os::unix::fs::symlink(
                root.path().join(target),
                root.path().join(interface).join("bmc"),
            )
            .unwrap();
        }
        // Of this one nothing is known.
        file("dev/ipmi5", "");
        let names: Vec<_> = devices(root.path())
            .iter()
            .map(|path| path.file_name().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["ipmi0", "ipmi2", "ipmi3", "ipmi4", "ipmi5"]);
    }

    #[test]
    fn devices_are_found_in_their_order_wherever_they_stand() {
        let dir = host(&["dev/ipmi10", "dev/ipmi2", "dev/ipmi", "dev/null"]);
        let found = devices(dir.path());
        let names: Vec<_> =
            found.iter().map(|p| p.file_name().unwrap()).collect();
        assert_eq!(names, ["ipmi2", "ipmi10"]);
        let old = host(&["dev/ipmidev/0"]);
        assert_eq!(devices(old.path()).len(), 1);
        let first = old.path().join("dev/ipmi0");
        assert_eq!(place_of(&first), old.path().join("dev/ipmidev/0"));
        assert_eq!(place_of(&dir.path().join("dev/ipmi2")), found[0]);
        assert_eq!(local(host(&[]).path()).len(), 1);
    }

    #[test]
    fn what_is_missing_is_told_with_what_to_do() {
        let firmware = "sys/firmware/dmi/entries/38-0/raw";
        let (si, devintf) =
            ("sys/module/ipmi_si/x", "sys/module/ipmi_devintf/x");
        for (paths, next) in [
            (vec![], None),
            (vec![si], None),
            (vec![firmware], Some("modprobe ipmi_si")),
            (vec![firmware, si], Some("modprobe ipmi_devintf")),
            (vec![firmware, si, devintf], Some("kernel's log")),
            (vec!["sys/class/ipmi/ipmi0/dev"], Some("container")),
        ] {
            let dir = host(&paths);
            match (missing(dir.path()), next) {
                (Missing::Bmc(_), None) => {}
                (Missing::Driver { next, .. }, Some(expected)) => {
                    assert!(next.contains(expected), "{next}");
                }
                (other, _) => panic!("{paths:?}: {other:?}"),
            }
        }
    }
}
