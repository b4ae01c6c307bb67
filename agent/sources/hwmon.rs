//! Sensors that the kernel has drivers for, from /sys/class/hwmon: what a
//! machine without a BMC has (Documentation/hwmon/sysfs-interface.rst).
//!
//! Values are held against the chip's thresholds where those mean something.
//! The chip's own alarm bits are not read: they latch, and chips on boards
//! that nobody configured have them set for ever.

use std::collections::BTreeSet;

use super::looking::{Look, run as look_at};
use super::owned::{Fields, Owned};
use super::{Context, End, Failure, Poll};
use crate::decode::ipmi::thresholds::{Threshold, Thresholds, words};
use crate::ipmi::Board;
use crate::observation::Source;
use crate::tree::Tree;

const DIR: &str = "sys/class/hwmon";

/// More chips than a server has drives and ports with a sensor.
const CHIPS_MAX: usize = 256;

/// More inputs of one kind than any chip has. Processors number theirs by
/// core, with gaps.
const INPUTS_MAX: usize = 512;

/// Below this no fan is told to turn: Super-I/O chips have such limits when
/// nobody has set any.
const FAN_MIN_RPM: f64 = 100.0;

/// What is looked at, and whether a BMC tells it better.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where, and how often.
    pub poll: Poll,
    /// What is known of the BMCs, if any is asked.
    pub board: Option<Board>,
}

/// One kind of input.
struct Kind {
    /// How its files begin.
    prefix: &'static str,
    /// The sensor's type, in the words of patterns.
    word: &'static str,
    unit: &'static str,
    /// What the file's number is divided by.
    scale: f64,
}

impl Kind {
    /// The files that have the value: an average where the chip has no
    /// other (ACPI's power meter, GPUs).
    fn files(&self) -> &'static [&'static str] {
        match self.prefix {
            "power" => &["input", "average"],
            _ => &["input"],
        }
    }
}

const KINDS: [Kind; 5] = [
    Kind {
        prefix: "temp",
        word: "temperature",
        unit: "degrees C",
        scale: 1000.0,
    },
    Kind { prefix: "fan", word: "fan", unit: "RPM", scale: 1.0 },
    Kind { prefix: "in", word: "voltage", unit: "Volts", scale: 1000.0 },
    Kind { prefix: "curr", word: "current", unit: "Amps", scale: 1000.0 },
    Kind { prefix: "power", word: "other-units", unit: "Watts", scale: 1e6 },
];

/// Looks until told to stop. While a BMC answers it tells of nothing that is
/// wrong: that one sees more, and the same sensors. What is well it tells,
/// so that what was opened while the BMC was silent can end.
///
/// # Errors
/// When the ledger is gone.
pub fn run(options: &Options, context: &mut Context) -> Result<End, Failure> {
    let poll = &options.poll;
    let mut turned = BTreeSet::new();
    look_at(Source::Hwmon, poll, None, context, look, |seen, _| {
        if options.board.as_ref().is_some_and(Board::any_answers) {
            seen.retain(is_well);
        }
        doubt(seen, &mut turned);
        None
    })
}

/// Every input of every chip.
///
/// # Errors
/// There are none here.
pub fn look(tree: &Tree) -> Look {
    let chips = tree.numbered(DIR, "hwmon");
    let chips = chips.map_err(|e| format!("/{DIR}: {e}"))?;
    let mut seen = Vec::new();
    for (_, dir) in chips.into_iter().take(CHIPS_MAX) {
        let Some(chip) = Chip::of(tree, &dir) else { continue };
        for kind in &KINDS {
            for number in chip.numbers(kind) {
                seen.extend(chip.input(kind, number));
            }
        }
    }
    match seen.is_empty() {
        true => Err(format!("no sensors in /{DIR}")),
        false => Ok(seen),
    }
}

/// A header of a Super-I/O chip without a fan looks like a fan that stands,
/// with whatever limit the chip began with: one that nobody has seen turning
/// is unknown. `turned` are those that did, by id.
fn doubt(seen: &mut [Fields], turned: &mut BTreeSet<String>) {
    for fields in seen {
        let get = |name| fields.iter().find(|(n, _)| *n == name);
        let (Some((_, Owned::Text(chip))), Some((_, Owned::Text(id)))) =
            (get("chip"), get("id"))
        else {
            continue;
        };
        let (_, Owned::Number(speed)) = (match get("value") {
            Some(value) if get("type").is_some_and(is_fan) => value,
            _ => continue,
        }) else {
            continue;
        };
        if *speed > 0.0 {
            turned.insert(id.clone());
        } else if is_super_io(chip) && !turned.contains(id) {
            fields.retain(|(name, _)| !matches!(*name, "state" | "value"));
            fields.push(("unknown", Owned::Word("reading-unavailable")));
        }
    }
}

fn is_well(fields: &Fields) -> bool {
    let states = || fields.iter().filter(|(name, _)| *name == "state");
    let is_ok =
        |(_, state): &(&'static str, Owned)| matches!(state, Owned::Word("ok"));
    states().count() == 1 && states().all(is_ok)
}

fn is_fan((_, kind): &(&'static str, Owned)) -> bool {
    matches!(kind, Owned::Word("fan"))
}

/// Whether it watches the board for whoever has configured it, which nobody
/// may have.
fn is_super_io(chip: &str) -> bool {
    ["nct", "it8", "f71", "w83", "sch5", "dme1737"]
        .iter()
        .any(|family| chip.starts_with(family))
}

/// One chip.
struct Chip<'a> {
    tree: &'a Tree,
    path: String,
    name: String,
    device: String,
    files: Vec<String>,
}

impl<'a> Chip<'a> {
    fn of(tree: &'a Tree, dir: &str) -> Option<Chip<'a>> {
        let path = format!("{DIR}/{dir}");
        let name = tree.tidied(&format!("{path}/name"))?;
        // Drives tell their temperature to the source `disk`.
        if matches!(name.as_str(), "nvme" | "drivetemp") {
            return None;
        }
        let device = tree.link(&format!("{path}/device"));
        let files = tree.names_or_none(&path);
        // Without a device it is virtual, and named by its number.
        let device = device.unwrap_or_else(|| dir.to_owned());
        Some(Chip { tree, path, name, device, files })
    }

    fn number(&self, file: &str) -> Option<f64> {
        let known = self.files.iter().any(|name| name == file);
        let path = format!("{}/{file}", self.path);
        let text = known.then(|| self.tree.tidied(&path)).flatten()?;
        text.parse::<i64>().ok().map(|number| number as f64)
    }

    /// The inputs of a kind.
    fn numbers(&self, kind: &Kind) -> BTreeSet<u32> {
        let number = |name: &String| {
            let rest = name.strip_prefix(kind.prefix)?;
            let (number, what) = rest.split_once('_')?;
            let number = number.parse().ok()?;
            kind.files().contains(&what).then_some(number)
        };
        self.files.iter().filter_map(number).take(INPUTS_MAX).collect()
    }

    /// What people call an input: by its label. Chips on a bus of a board
    /// come in dozens, and all have the same labels.
    fn called(&self, input: &str) -> String {
        let label = format!("{}/{input}_label", self.path);
        let label = self.tree.tidied(&label);
        let (chip, device) = (&self.name, &self.device);
        match (is_on_bus(device), label) {
            (true, label) => {
                let label = label.unwrap_or_else(|| input.to_owned());
                format!("{chip} {device} {label}")
            }
            (false, Some(label)) => label,
            (false, None) => format!("{chip} {input}"),
        }
    }

    /// One input, if the chip has it.
    fn input(&self, kind: &Kind, number: u32) -> Option<Fields> {
        let input = format!("{}{number}", kind.prefix);
        let is_there =
            |what: &&&str| self.files.contains(&format!("{input}_{what}"));
        let told = kind.files().iter().find(is_there)?;
        let scaled = |what: &str| {
            let number = self.number(&format!("{input}_{what}"))?;
            Some(number / kind.scale)
        };
        // The chip says that its sensor is broken or not connected.
        let is_broken = self.number(&format!("{input}_fault")) == Some(1.0);
        let is_fan = kind.prefix == "fan";
        let value = scaled(told).filter(|_| is_fan || !is_broken);
        let limits = self.limits(kind, scaled);
        let name = self.called(&input);
        let id = format!("{}/{}/{input}", self.name, self.device);
        let mut fields = vec![
            ("chip", Owned::Text(self.name.clone())),
            ("device", Owned::Text(self.device.clone())),
            ("id", Owned::Text(id)),
            ("part", Owned::Text(self.part(kind, &name))),
            ("name", Owned::Text(name)),
            ("type", Owned::Word(kind.word)),
        ];
        fields.extend(limits.iter().map(|(t, at)| {
            let name = match t {
                Threshold::LowerNonCritical => "lower_non_critical",
                Threshold::LowerCritical => "lower_critical",
                Threshold::LowerNonRecoverable => "lower_non_recoverable",
                Threshold::UpperNonCritical => "upper_non_critical",
                Threshold::UpperCritical => "upper_critical",
                Threshold::UpperNonRecoverable => "upper_non_recoverable",
            };
            (name, Owned::Number(at))
        }));
        let Some(value) = value else {
            fields.push(("unknown", Owned::Word("reading-unavailable")));
            return Some(fields);
        };
        fields.push(("value", Owned::Number(value)));
        fields.push(("unit", Owned::Text(kind.unit.to_owned())));
        let mut states = words(limits.crossed(value));
        // A fan that should turn and stands, or says itself that it fails.
        let should_turn = limits.iter().any(|(t, _)| !t.is_upper());
        let stands = value == 0.0 && should_turn;
        if is_fan && (stands || is_broken) {
            states.push(Threshold::LowerCritical.word());
        }
        if states.is_empty() {
            states.push("ok");
        }
        fields.extend(states.into_iter().map(|s| ("state", Owned::Word(s))));
        Some(fields)
    }

    /// The thresholds that mean something.
    fn limits(
        &self,
        kind: &Kind,
        scaled: impl Fn(&str) -> Option<f64>,
    ) -> Thresholds<f64> {
        let mut limits = Thresholds::default();
        // What these print as their maximum is where fans should be at full
        // speed: they are there whenever they work.
        let is_cpu = matches!(
            self.name.as_str(),
            "coretemp" | "k10temp" | "zenpower" | "acpitz"
        );
        let (is_fan, is_super_io) =
            (kind.prefix == "fan", is_super_io(&self.name));
        // These watch voltages behind dividers that only the board's maker
        // knows; nobody sets their limits.
        if kind.prefix == "in" && is_super_io {
            return limits;
        }
        for (file, threshold) in [
            ("min", Threshold::LowerNonCritical),
            ("lcrit", Threshold::LowerCritical),
            ("max", Threshold::UpperNonCritical),
            ("crit", Threshold::UpperCritical),
            ("emergency", Threshold::UpperNonRecoverable),
        ] {
            let is_set = |at: &f64| match is_fan {
                true if is_super_io => *at >= FAN_MIN_RPM,
                true => *at > 0.0,
                // A limit of zero is one that was never set.
                false => *at != 0.0,
            };
            // As fast as it can is not too fast.
            if file == "max" && (is_cpu || is_fan) {
                continue;
            }
            if let Some(at) = scaled(file).filter(is_set) {
                limits.set(threshold, at);
            }
        }
        match limits.are_in_order() {
            true => limits,
            false => Thresholds::default(),
        }
    }

    /// The part that it is in.
    fn part(&self, kind: &Kind, name: &str) -> String {
        let package = self.device.strip_prefix("coretemp.");
        if let Some(package) = package {
            return format!("cpu/socket{package}");
        }
        if crate::parts::ids::is_pci_address(&self.device)
            && self.name != "k10temp"
        {
            return format!("pci/{}", self.device);
        }
        match kind.prefix {
            "fan" => format!("fan/{name}"),
            _ => format!("board/{name}"),
        }
    }
}

/// Whether a device is known by its place on an I2C bus: `7-0054`.
fn is_on_bus(device: &str) -> bool {
    device.split_once('-').is_some_and(|(bus, address)| {
        !bus.is_empty()
            && bus.bytes().all(|b| b.is_ascii_digit())
            && address.len() == 4
            && address.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests;
