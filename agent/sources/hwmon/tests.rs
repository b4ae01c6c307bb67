//! Chips as they are found in the field, with limits that nobody set.

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
fn a_fan_that_may_stand_has_not_failed() {
    let gpu = seen(&[
        ("hwmon0/name", "amdgpu"),
        ("hwmon0/fan1_input", "0"),
        ("hwmon0/fan1_min", "0"),
        ("hwmon0/fan1_max", "3300"),
    ]);
    assert_eq!(states(&gpu[0]), ["ok"]);
    for min in ["10", "-1"] {
        let empty = seen(&[
            ("hwmon0/name", "it8613"),
            ("hwmon0/fan2_input", "0"),
            ("hwmon0/fan2_min", min),
        ]);
        assert_eq!(states(&empty[0]), ["ok"], "{min}");
    }
    // A limit, and a fan that never turned; then one that did.
    let at = |speed| {
        seen(&[
            ("hwmon0/name", "w83627ehf"),
            ("hwmon0/fan2_input", speed),
            ("hwmon0/fan2_min", "664"),
        ])
    };
    let mut turned = BTreeSet::new();
    let mut look = |speed| {
        let mut seen = at(speed);
        doubt(&mut seen, &mut turned);
        states(&seen[0])
    };
    assert!(look("0").is_empty());
    assert_eq!(look("1500"), ["ok"]);
    assert_eq!(look("0"), ["lower-non-critical", "lower-critical"]);
}

#[test]
fn two_supplies_on_a_bus_are_two_parts() {
    let all = seen(&[
        ("hwmon0/name", "pmbus"),
        ("hwmon0/device", "../../7-0054"),
        ("hwmon0/in1_input", "12000"),
        ("hwmon0/in1_label", "vout1"),
        ("hwmon1/name", "pmbus"),
        ("hwmon1/device", "../../7-0055"),
        ("hwmon1/in1_input", "12000"),
        ("hwmon1/in1_label", "vout1"),
        ("hwmon1/fan1_input", "9000"),
    ]);
    let part = |at: usize| match get(&all[at], "part")[0] {
        Owned::Text(part) => part.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(part(0), "board/pmbus 7-0054 vout1");
    assert_eq!(part(1), "fan/pmbus 7-0055 fan1");
    assert_eq!(part(2), "board/pmbus 7-0055 vout1");
}

#[test]
fn inputs_are_numbered_with_gaps_and_power_may_be_an_average() {
    let all = seen(&[
        ("hwmon0/name", "coretemp"),
        ("hwmon0/device", "../../../coretemp.0"),
        ("hwmon0/temp70_input", "101000"),
        ("hwmon0/temp70_crit", "100000"),
        ("hwmon1/name", "power_meter"),
        ("hwmon1/power1_average", "212000000"),
    ]);
    assert_eq!(states(&all[0]), ["upper-critical"]);
    assert_eq!(get(&all[1], "value"), [&Owned::Number(212.0)]);
}

#[test]
fn only_what_is_well_is_told_beside_a_bmc() {
    let at = |value| {
        let all = seen(&[
            ("hwmon0/name", "lm75"),
            ("hwmon0/temp1_input", value),
            ("hwmon0/temp1_max", "80000"),
        ]);
        is_well(&all[0])
    };
    assert!(at("45000"));
    assert!(!at("97000"));
    assert!(!at("no number"), "unknown is not well");
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
    let dir =
        machine(&[("hwmon0/name", "nvme"), ("hwmon0/temp1_input", "40000")]);
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
