//! PCI functions as sysfs shows them (Documentation/ABI/testing/sysfs-bus-pci).

use std::io::{self, ErrorKind};

use crate::parts::ids::is_pci_address;
use crate::tree::Tree;

/// Where all functions are linked.
pub const DEVICES: &str = "sys/bus/pci/devices";

/// All functions' addresses.
///
/// # Errors
/// Why there are none here, or why they can't be listed.
pub fn functions(tree: &Tree) -> Result<Vec<String>, String> {
    match tree.names(DEVICES) {
        Ok(names) => {
            let names = names.into_iter().filter(|n| is_pci_address(n));
            let names: Vec<String> = names.collect();
            match names.is_empty() {
                true => Err("this machine has no PCI bus".to_owned()),
                false => Ok(names),
            }
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {
            Err("this machine has no PCI bus".to_owned())
        }
        Err(e) => Err(format!("failed to list {DEVICES}: {e}")),
    }
}

/// What a function does, from its class code (PCI Code and ID Assignment
/// Specification, 1.): base class, subclass, interface.
pub fn class(tree: &Tree, function: &str) -> io::Result<&'static str> {
    let code = tree.text(&format!("{DEVICES}/{function}/class"))?;
    let code = code.trim_start_matches("0x");
    let code = u32::from_str_radix(code, 16).map_err(io::Error::other)?;
    Ok(match (code >> 16, code >> 8) {
        (0x03 | 0x12, _) => "gpu",
        (0x02, _) => "nic",
        (_, 0x0108) => "nvme",
        (0x01, _) => "storage",
        (0x06, _) => "bridge",
        _ => "other",
    })
}

/// Where a function hangs in the tree, and the port above it.
pub fn place(tree: &Tree, function: &str) -> (String, Option<String>) {
    let path = format!("{DEVICES}/{function}");
    let path = tree.real(&path).unwrap_or(path);
    let above = path.rsplit('/').nth(1).filter(|name| is_pci_address(name));
    let above = above.map(str::to_owned);
    (path, above)
}

/// The driver's name.
pub fn driver(tree: &Tree, function: &str) -> Option<String> {
    tree.link(&format!("{DEVICES}/{function}/driver"))
}
