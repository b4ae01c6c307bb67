//! Sensors that the kernel has drivers for, from /sys/class/hwmon: what a
//! machine without a BMC has (Documentation/hwmon/sysfs-interface.rst).
//!
//! Values are held against the chip's thresholds where those mean something.
//! The chip's own alarm bits are not read: they latch, and chips on boards
//! that nobody configured have them set for ever.

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

/// More inputs of one kind than any chip has.
const INPUTS_MAX: u32 = 64;

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

/// Looks until told to stop. While a BMC answers it tells nothing: that one
/// sees more, and the same sensors.
///
/// # Errors
/// When the ledger is gone.
pub fn run(options: &Options, context: &mut Context) -> Result<End, Failure> {
    let poll = &options.poll;
    look_at(Source::Hwmon, poll, None, context, look, |seen, _| {
        if options.board.as_ref().is_some_and(Board::any_answers) {
            seen.clear();
        }
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
            for number in 0..INPUTS_MAX {
                seen.extend(chip.input(kind, number));
            }
        }
    }
    match seen.is_empty() {
        true => Err(format!("no sensors in /{DIR}")),
        false => Ok(seen),
    }
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

    /// One input, if the chip has it.
    fn input(&self, kind: &Kind, number: u32) -> Option<Fields> {
        let input = format!("{}{number}", kind.prefix);
        let file = format!("{input}_input");
        if !self.files.contains(&file) {
            return None;
        }
        let scaled = |what: &str| {
            let number = self.number(&format!("{input}_{what}"))?;
            Some(number / kind.scale)
        };
        // The chip says that its sensor is broken or not connected.
        let is_broken = self.number(&format!("{input}_fault")) == Some(1.0);
        let is_fan = kind.prefix == "fan";
        let value = scaled("input").filter(|_| is_fan || !is_broken);
        let limits = self.limits(kind, scaled);
        let label = format!("{}/{input}_label", self.path);
        let label = self.tree.tidied(&label);
        let name = label.unwrap_or_else(|| format!("{} {input}", self.name));
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
        let stands = value == 0.0 && !limits.is_empty();
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
        // These watch voltages behind dividers that only the board's maker
        // knows; nobody sets their limits.
        let is_super_io = ["nct", "it8", "f71", "w83", "sch5", "dme1737"]
            .iter()
            .any(|family| self.name.starts_with(family));
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
            // A limit of zero is one that was never set.
            let at = scaled(file).filter(|at| *at != 0.0);
            if let Some(at) = at
                && !(file == "max" && is_cpu)
            {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A machine with these files in its chips' directories.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(DIR).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if path.ends_with("device") {
                std::os::unix::fs::symlink(text, path).unwrap();
            } else {
                fs::write(path, format!("{text}\n")).unwrap();
            }
        }
        dir
    }

    fn seen(files: &[(&str, &str)]) -> Vec<Fields> {
        let dir = machine(files);
        look(&Tree::new(dir.path(), Default::default())).unwrap()
    }

    fn get<'a>(fields: &'a Fields, name: &str) -> Vec<&'a Owned> {
        let named = fields.iter().filter(|(n, _)| *n == name);
        named.map(|(_, value)| value).collect()
    }

    fn states(fields: &Fields) -> Vec<&'static str> {
        let word = |value: &&Owned| match value {
            Owned::Word(word) => *word,
            other => panic!("{other:?}"),
        };
        get(fields, "state").iter().map(word).collect()
    }

    #[test]
    fn a_package_is_held_against_its_critical_temperature_alone() {
        let at = |value: &str| {
            let all = seen(&[
                ("hwmon2/name", "coretemp"),
                ("hwmon2/device", "../../../coretemp.1"),
                ("hwmon2/temp1_input", value),
                ("hwmon2/temp1_label", "Package id 1"),
                ("hwmon2/temp1_max", "84000"),
                ("hwmon2/temp1_crit", "100000"),
            ]);
            assert_eq!(all.len(), 1);
            let part = Owned::Text("cpu/socket1".into());
            assert_eq!(get(&all[0], "part"), [&part]);
            states(&all[0])
        };
        assert_eq!(at("45000"), ["ok"]);
        assert_eq!(at("90000"), ["ok"], "that is where fans turn faster");
        assert_eq!(at("100000"), ["upper-critical"]);
    }

    #[test]
    fn a_fan_that_stands_is_below_critical_if_it_should_turn() {
        let at = |value: &str, min: &str| {
            states(
                &seen(&[
                    ("hwmon0/name", "nct6775"),
                    ("hwmon0/fan2_input", value),
                    ("hwmon0/fan2_min", min),
                ])[0],
            )
        };
        assert_eq!(at("1500", "500"), ["ok"]);
        assert_eq!(at("400", "500"), ["lower-non-critical"]);
        assert_eq!(at("0", "500"), ["lower-non-critical", "lower-critical"]);
        assert_eq!(at("0", "0"), ["ok"], "an empty header");
    }

    #[test]
    fn limits_that_nobody_set_are_none() {
        let all = seen(&[
            ("hwmon0/name", "nct6775"),
            ("hwmon0/in1_input", "1800"),
            ("hwmon0/in1_min", "0"),
            ("hwmon0/in1_max", "1744"),
            ("hwmon1/name", "pmbus"),
            ("hwmon1/in1_input", "10502"),
            ("hwmon1/in1_lcrit", "10679"),
            ("hwmon1/in1_crit", "13275"),
            ("hwmon1/in2_input", "10502"),
            ("hwmon1/in2_lcrit", "13275"),
            ("hwmon1/in2_crit", "10679"),
        ]);
        let states: Vec<_> = all.iter().map(states).collect();
        let expected = [vec!["ok"], vec!["lower-critical"], vec!["ok"]];
        assert_eq!(states, expected);
    }

    #[test]
    fn a_sensor_that_is_broken_is_unknown_and_so_is_one_that_cannot_be_read() {
        let all = seen(&[
            ("hwmon0/name", "lm90"),
            ("hwmon0/temp1_input", "127000"),
            ("hwmon0/temp1_fault", "1"),
            ("hwmon0/temp1_crit", "85000"),
            ("hwmon0/temp2_input", "no number"),
            ("hwmon0/temp2_crit", "85000"),
        ]);
        assert_eq!(all.len(), 2);
        for fields in &all {
            assert!(get(fields, "state").is_empty());
            assert!(get(fields, "value").is_empty());
            let why = Owned::Word("reading-unavailable");
            assert_eq!(get(fields, "unknown"), [&why]);
        }
    }

    #[test]
    fn a_drive_is_left_to_its_own_source_and_no_chip_is_absent() {
        let dir = machine(&[
            ("hwmon0/name", "nvme"),
            ("hwmon0/temp1_input", "40000"),
        ]);
        let tree = Tree::new(dir.path(), Default::default());
        assert!(look(&tree).is_err());
        let none = tempfile::tempdir().unwrap();
        assert!(look(&Tree::new(none.path(), Default::default())).is_err());
    }

    #[test]
    fn what_is_seen_fits_the_fields_of_the_source() {
        let all = seen(&[
            ("hwmon0/name", "mlx5"),
            ("hwmon0/device", "../../../0000:3b:00.0"),
            ("hwmon0/temp1_input", "110000"),
            ("hwmon0/temp1_min", "-40000"),
            ("hwmon0/temp1_lcrit", "-50000"),
            ("hwmon0/temp1_max", "100000"),
            ("hwmon0/temp1_crit", "105000"),
            ("hwmon0/temp1_emergency", "120000"),
            ("hwmon0/power1_input", "12500000"),
            ("hwmon0/curr1_input", "1500"),
        ]);
        assert_eq!(all.len(), 3);
        let part = Owned::Text("pci/0000:3b:00.0".into());
        assert_eq!(get(&all[0], "part"), [&part]);
        assert_eq!(get(&all[2], "value"), [&Owned::Number(12.5)]);
        for (name, _) in all.iter().flatten() {
            assert!(Source::Hwmon.field(name).is_some(), "{name}");
        }
    }
}
