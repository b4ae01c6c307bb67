//! Memory errors as the kernel's EDAC drivers count them, from
//! `/sys/devices/system/edac` (Documentation/driver-api/edac.rst).
//!
//! A controller `mcN` counts in all and by DIMM (`dimmN/` or `rankN/`, since
//! 4.12) or, on older kernels, by channel of a chip-select row (`csrowN/`);
//! what it can't attribute stands in `*_noinfo_count`. The finest there is
//! gets read: the others are sums of it. Other units (caches, interconnects)
//! are EDAC devices with instances and blocks. The counters begin at zero
//! when the driver is loaded; the kernel's collector of corrected errors
//! hides errors from them.

use std::io::{self, ErrorKind};
use std::time::Duration;

use super::counting::{Growth, Kind, Known, Look, Reading, run as count};
use super::owned::{Fields, Owned};
use super::{Context, End, Failure, Poll};
use crate::observation::Source;
use crate::parts::host::has_row_pairs;
use crate::tree::Tree;

const DIR: &str = "sys/devices/system/edac";

/// Directories in there that are no EDAC device (`pci` counts parity errors
/// of the bus, which AER tells better).
const NO_DEVICES: [&str; 3] = ["mc", "pci", "power"];

/// The two files of a counter, and what they count.
const KINDS: [(&str, &str); 2] = [("ce", "corrected"), ("ue", "uncorrected")];

/// Reads the counters until told to stop.
///
/// # Errors
/// When the ledger is gone, or this boot has no id.
pub fn run(options: &Poll, context: &mut Context) -> Result<End, Failure> {
    let sift = |all: &mut Vec<Growth>| all.retain(|g| !g.reading.sum);
    let kind = Kind { source: Source::Edac, look, sift };
    count(kind, options, context)
}

/// All counters.
///
/// # Errors
/// Why there are none here.
pub fn look(tree: &Tree, known: &Known) -> Result<Look, String> {
    let none = "no memory controller is known to EDAC: virtual machine, or no \
                EDAC driver for this platform is loaded";
    let mut look = Look { uptime: tree.uptime(), ..Look::default() };
    let controllers = match tree.numbered(&format!("{DIR}/mc"), "mc") {
        Ok(controllers) => controllers,
        Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(format!("failed to list {DIR}/mc: {e}")),
    };
    for (mc, name) in &controllers {
        let read = controller(tree, known, *mc, name, &mut look);
        look.note(name, read);
    }
    let mut devices = tree.names(DIR).unwrap_or_default();
    devices.retain(|name| !NO_DEVICES.contains(&name.as_str()));
    for name in &devices {
        // The rest of the directory are attributes of its own.
        if tree.at(&format!("{DIR}/{name}")).is_dir() {
            let read = device(tree, known, name, &mut look);
            look.note(name, read);
        }
    }
    match look.devices == 0 && look.failed.is_empty() {
        true => Err(none.to_owned()),
        false => Ok(look),
    }
}

/// A counter that may not exist on this kernel.
fn counter(tree: &Tree, path: &str) -> io::Result<Option<u64>> {
    match tree.number(path) {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn controller(
    tree: &Tree,
    known: &Known,
    mc: u32,
    name: &str,
    look: &mut Look,
) -> io::Result<()> {
    let dir = format!("{DIR}/mc/{name}");
    let names = tree.names(&dir)?;
    let age = tree.number(&format!("{dir}/seconds_since_reset")).ok();
    let mut all = Counted {
        tree,
        mc,
        name,
        dir: &dir,
        age: age.map(Duration::from_secs),
        known,
        look,
    };
    let mut fine = false;
    for dimm in numbered(&names, &["dimm", "rank"]) {
        fine |= all.dimm(dimm)?;
    }
    if !fine {
        for row in numbered(&names, &["csrow"]) {
            fine |= all.csrow(row)?;
        }
    }
    for (prefix, kind) in KINDS {
        let path = format!("{dir}/{prefix}_noinfo_count");
        let value = counter(tree, &path)?.filter(|_| fine);
        if let Some(value) = value {
            let name = format!("{prefix} noinfo");
            all.add(&name, kind, value, false, Vec::new);
        }
        // Also where there are finer ones: a driver that goes takes those
        // first, and the sum must not pass for new then.
        if let Some(value) = counter(tree, &format!("{dir}/{prefix}_count"))? {
            all.add(&format!("{prefix} all"), kind, value, fine, Vec::new);
        }
    }
    Ok(())
}

/// Those names that are one of these words and a number.
fn numbered<'a>(names: &'a [String], words: &[&str]) -> Vec<&'a str> {
    let is = |name: &&str| {
        words.iter().filter_map(|word| name.strip_prefix(word)).any(|rest| {
            !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())
        })
    };
    names.iter().map(String::as_str).filter(is).collect()
}

/// Where the counters of one controller go.
struct Counted<'a> {
    tree: &'a Tree,
    mc: u32,
    name: &'a str,
    dir: &'a str,
    age: Option<Duration>,
    known: &'a Known,
    look: &'a mut Look,
}

impl Counted<'_> {
    fn add(
        &mut self,
        counter: &str,
        kind: &'static str,
        value: u64,
        sum: bool,
        place: impl FnOnce() -> Fields,
    ) {
        let mc = Owned::Number(f64::from(self.mc));
        let reading = Reading {
            device: self.name.to_owned(),
            counter: counter.to_owned(),
            value,
            age: self.age,
            sum,
            ..Reading::default()
        };
        self.look.add(self.known, reading, || {
            let unit = Owned::Word("memory");
            let mut fields = vec![("unit", unit), ("mc", mc)];
            fields.push(("firmware", Owned::Flag(false)));
            fields.push(("kind", Owned::Word(kind)));
            fields.extend(place());
            fields
        });
    }

    /// Adds a DIMM's counters; says whether it has any.
    fn dimm(&mut self, dimm: &str) -> io::Result<bool> {
        let (tree, dir) = (self.tree, format!("{}/{dimm}", self.dir));
        let mut any = false;
        for (prefix, kind) in KINDS {
            let path = format!("{dir}/dimm_{prefix}_count");
            let Some(value) = counter(tree, &path)? else { continue };
            any = true;
            let mc = self.mc;
            self.add(&format!("{prefix} {dimm}"), kind, value, false, || {
                let location = tree.text(&format!("{dir}/dimm_location"));
                let label = tree.text(&format!("{dir}/dimm_label"));
                let name = tree.text(&format!("{dir}/../mc_name"));
                let in_pairs = name.is_ok_and(|name| has_row_pairs(&name));
                let location = location.unwrap_or_default();
                let mut fields = place(mc, &location, in_pairs);
                fields.push(("dimm", Owned::Text(dimm.to_owned())));
                fields.extend(named(&label.unwrap_or_default()));
                fields
            });
        }
        Ok(any)
    }

    /// Adds the counters of a chip-select row's channels; says whether it has
    /// any.
    fn csrow(&mut self, row: &str) -> io::Result<bool> {
        let (tree, dir) = (self.tree, format!("{}/{row}", self.dir));
        let number: f64 = row["csrow".len()..].parse().unwrap_or_default();
        let mut any = false;
        for name in tree.names(&dir)? {
            let Some((channel, prefix)) = channel_counter(&name) else {
                continue;
            };
            let Some((_, kind)) = KINDS.iter().find(|(p, _)| *p == prefix)
            else {
                continue;
            };
            let path = format!("{dir}/{name}");
            let Some(value) = counter(tree, &path)? else { continue };
            any = true;
            let dimm = format!("{row}-ch{channel}");
            self.add(&format!("{prefix} {dimm}"), kind, value, false, || {
                let label = format!("{dir}/ch{channel}_dimm_label");
                let label = tree.text(&label).unwrap_or_default();
                let mut fields = vec![
                    ("csrow", Owned::Number(number)),
                    ("channel", Owned::Number(f64::from(channel))),
                    ("dimm", Owned::Text(dimm.clone())),
                ];
                fields.extend(named(&label));
                fields
            });
        }
        // Uncorrected errors are counted by row alone.
        if any && let Some(value) = counter(tree, &format!("{dir}/ue_count"))? {
            self.add(&format!("ue {row}"), "uncorrected", value, false, || {
                vec![
                    ("csrow", Owned::Number(number)),
                    ("dimm", Owned::Text(row.to_owned())),
                ]
            });
        }
        Ok(any)
    }
}

/// `ch1_ce_count` is of channel 1 and of corrected errors.
fn channel_counter(name: &str) -> Option<(u16, &str)> {
    let (channel, rest) = name.strip_prefix("ch")?.split_once('_')?;
    Some((channel.parse().ok()?, rest.strip_suffix("_count")?))
}

/// A label that says which DIMM it is. Until somebody gives it a label, EDAC
/// makes one of the place; with firmware-first errors there may be none.
fn named(label: &str) -> Option<(&'static str, Owned)> {
    let none = ["", "any memory", "unknown memory", "unknown label"];
    let known = !none.contains(&label.to_ascii_lowercase().as_str());
    known.then(|| ("label", Owned::Text(label.to_owned())))
}

/// `channel 1 slot 0` (drivers/edac/edac_mc.c, edac_layer_name). `in_pairs`:
/// two rows are a module.
fn place(mc: u32, location: &str, in_pairs: bool) -> Fields {
    let mut fields = Vec::new();
    let words: Vec<&str> = location.split_whitespace().collect();
    let mut channel = None;
    for pair in words.chunks(2) {
        let [layer, number] = *pair else { continue };
        let Ok(number) = number.parse::<u16>() else { continue };
        let field = match layer {
            "channel" => {
                channel = Some(number);
                "channel"
            }
            "slot" => "slot",
            "csrow" => "csrow",
            _ => continue,
        };
        fields.push((field, Owned::Number(f64::from(number))));
    }
    let slots = fields.iter().any(|(field, _)| *field == "slot");
    if let Some(channel) = channel.filter(|_| slots || in_pairs) {
        // Other rows can't be told apart into DIMMs, slots can.
        let shared = format!("mc{mc}-channel{channel}");
        fields.push(("shared", Owned::Text(shared)));
    }
    if !location.is_empty() {
        fields.push(("location", Owned::Text(location.to_owned())));
    }
    fields
}

/// Adds the counters of an EDAC device: those of its blocks, or of instances
/// without any.
fn device(
    tree: &Tree,
    known: &Known,
    name: &str,
    look: &mut Look,
) -> io::Result<()> {
    let dir = format!("{DIR}/{name}");
    for instance in tree.names(&dir)? {
        let Ok(blocks) = tree.names(&format!("{dir}/{instance}")) else {
            continue; // an attribute
        };
        let mut fine = false;
        for block in blocks {
            let block = format!("{instance}/{block}");
            for reading in unit(tree, name, &block)? {
                fine = true;
                add_unit(known, reading, &block, look);
            }
        }
        for mut reading in unit(tree, name, &instance)? {
            reading.sum = fine;
            add_unit(known, reading, &instance, look);
        }
    }
    Ok(())
}

fn add_unit(known: &Known, reading: Reading, block: &str, look: &mut Look) {
    let device = Owned::Text(reading.device.clone());
    let kind = KINDS.iter().find(|(p, _)| reading.counter.starts_with(p));
    look.add(known, reading, || {
        let mut fields = vec![
            ("unit", Owned::Word("device")),
            ("firmware", Owned::Flag(false)),
            ("device", device),
            ("block", Owned::Text(block.to_owned())),
        ];
        fields.extend(kind.map(|(_, kind)| ("kind", Owned::Word(kind))));
        fields
    });
}

/// The counters of one unit; none if it is something else.
fn unit(tree: &Tree, device: &str, block: &str) -> io::Result<Vec<Reading>> {
    let mut readings = Vec::new();
    for (prefix, _) in KINDS {
        let path = format!("{DIR}/{device}/{block}/{prefix}_count");
        let value = match counter(tree, &path) {
            // An attribute, not a directory.
            Err(e) if e.kind() == ErrorKind::NotADirectory => None,
            other => other?,
        };
        readings.extend(value.map(|value| Reading {
            device: device.to_owned(),
            counter: format!("{prefix} {block}"),
            value,
            ..Reading::default()
        }));
    }
    Ok(readings)
}
