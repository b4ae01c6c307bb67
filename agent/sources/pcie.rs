//! PCIe links of GPUs, network adapters and NVMe drives: how wide and fast
//! they are against what both ends can do, from sysfs.
//!
//! A link that was trained with fewer lanes has a bad contact or a broken
//! lane, and stays so. Its speed is another matter: GPUs lower it while they
//! idle, and what sleeps has no link at all. So a low speed is told together
//! with whether the device was busy.

use std::io::{self, ErrorKind};

use super::looking::{Look, run as look_at};
use super::owned::{Fields, Owned};
use super::pci::{self, DEVICES};
use super::{Context, End, Failure, Poll};
use crate::observation::Source;
use crate::tree::Tree;

/// The classes whose links matter.
const CLASSES: [&str; 3] = ["gpu", "nic", "nvme"];

/// The link states that save power (drivers/pci/pcie/aspm.c, group `link`).
const ASPM: [&str; 4] = ["l0s_aspm", "l1_aspm", "l1_1_aspm", "l1_2_aspm"];

/// Looks at the links until told to stop.
///
/// # Errors
/// When the ledger is gone.
pub fn run(options: &Poll, context: &mut Context) -> Result<End, Failure> {
    look_at(Source::Pcie, options, None, context, look, |_, _| None)
}

/// All links that matter.
///
/// # Errors
/// Why there are none here.
pub fn look(tree: &Tree) -> Look {
    let mut seen = Vec::new();
    for function in pci::functions(tree)? {
        match link(tree, &function) {
            Ok(Some(fields)) => seen.push(fields),
            Ok(None) => {}
            // It went away, or can't be asked: what is missing is unknown.
            Err(_) => seen.push(named(&function, None)),
        }
    }
    match seen.is_empty() {
        true => Err("no GPU, network adapter or NVMe drive with a PCIe link \
                     of its own: virtual machine?"
            .to_owned()),
        false => Ok(seen),
    }
}

fn named(function: &str, class: Option<&'static str>) -> Fields {
    let mut fields = vec![("device", Owned::Text(function.to_owned()))];
    fields.extend(class.map(|class| ("class", Owned::Word(class))));
    fields
}

/// A link; `None` if the function has none, or is of another class.
fn link(tree: &Tree, function: &str) -> io::Result<Option<Fields>> {
    let at = |file: &str| format!("{DEVICES}/{function}/{file}");
    let class = pci::class(tree, function)?;
    // A virtual function has its physical one's link.
    if !CLASSES.contains(&class) || tree.link(&at("physfn")).is_some() {
        return Ok(None);
    }
    let most = match tree.text(&at("max_link_width")) {
        Ok(most) => most,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let Some(most) = number(&most).filter(|lanes| *lanes > 0.0) else {
        return Ok(None); // built into the root complex: no link
    };
    let mut fields = named(function, Some(class));
    let driver = pci::driver(tree, function);
    fields.extend(driver.map(|driver| ("driver", Owned::Text(driver))));
    let (_, port) = pci::place(tree, function);
    if let Some(port) = &port {
        fields.push(("port", Owned::Text(port.clone())));
    }
    if asleep(tree, function) {
        return Ok(Some(fields)); // reading its registers might wake it
    }
    let read = |function: &str, file: &str| {
        let path = format!("{DEVICES}/{function}/{file}");
        let text = tree.text(&path).ok()?;
        let digits = text.starts_with(|c: char| c.is_ascii_digit());
        // So the kernel says that nobody answers (pci_speed_string).
        if !digits && !text.starts_with("Unknown") {
            tree.garbled(&path, &text);
        }
        number(&text).filter(|n| *n > 0.0)
    };
    let both = |own: Option<f64>, file: &str| {
        let above = port.as_ref().and_then(|port| read(port, file));
        Some(above.map_or(own?, |above| above.min(own.unwrap_or(above))))
    };
    let width = read(function, "current_link_width");
    let width_max = both(Some(most), "max_link_width");
    let speed = read(function, "current_link_speed");
    let speed_max = both(read(function, "max_link_speed"), "max_link_speed");
    let mut pair = |names: [&'static str; 3], now, most| {
        if let (Some(now), Some(most)) = (now, most) {
            fields.push((names[0], Owned::Number(now)));
            fields.push((names[1], Owned::Number(most)));
            fields.push((names[2], Owned::Flag(now < most)));
        }
    };
    pair(["width", "width_max", "narrow"], width, width_max);
    pair(["speed", "speed_max", "slow"], speed, speed_max);
    let busy = busy(tree, function, class);
    fields.extend(busy.map(|busy| ("busy", Owned::Flag(busy))));
    Ok(Some(fields))
}

/// `8.0 GT/s PCIe`, `16`; none for `Unknown` and the 255 lanes of a device
/// that does not answer.
fn number(text: &str) -> Option<f64> {
    let number: f64 = text.split(' ').next()?.parse().ok()?;
    (number < 255.0).then_some(number)
}

fn asleep(tree: &Tree, function: &str) -> bool {
    let text = |file: &str| {
        tree.text(&format!("{DEVICES}/{function}/{file}")).unwrap_or_default()
    };
    text("power/runtime_status").starts_with("suspend")
        || text("power_state").starts_with("D3")
}

/// Whether the device has reason to use its link at full speed; `None` where
/// that can't be told.
fn busy(tree: &Tree, function: &str, class: &str) -> Option<bool> {
    let text = |file: &str| {
        tree.text(&format!("{DEVICES}/{function}/{file}")).unwrap_or_default()
    };
    let saves = ASPM.iter().any(|s| text(&format!("link/{s}")) == "1");
    if saves || text("power/control") == "auto" {
        return Some(false);
    }
    if class != "gpu" {
        return Some(true);
    }
    // Only amdgpu says it here (gpu_busy_percent).
    let share: u8 = text("gpu_busy_percent").parse().ok()?;
    Some(share > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_and_widths_are_read_and_no_answer_is_none() {
        assert_eq!(number("8.0 GT/s PCIe"), Some(8.0));
        assert_eq!(number("16"), Some(16.0));
        assert_eq!(number("Unknown"), None);
        assert_eq!(number("255"), None);
        assert_eq!(number(""), None);
    }
}
