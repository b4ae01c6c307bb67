//! Every value, state and threshold is what the referees say it is.

use serde_json::Value;

use crate::bmc::{ADMIN, Bmc, READER, have};
use crate::not_run::not_run;
use crate::reading::{ask, sensors};

/// `na` and `N/A` are nothing.
fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

/// Those that `ipmitool` has a line for: of a record that several sensors
/// share, the first.
fn one_a_record(sensors: &[Value]) -> Vec<&Value> {
    let is_first = |s: &&Value| {
        let name = s["name"].as_str().unwrap();
        !name.starts_with("Drive ") || name == "Drive 0"
    };
    sensors.iter().filter(is_first).collect()
}

const THRESHOLDS: [&str; 6] = [
    "lower-non-recoverable",
    "lower-critical",
    "lower-non-critical",
    "upper-non-critical",
    "upper-critical",
    "upper-non-recoverable",
];

/// Compares with the digits that the referee has.
fn same(ours: &Value, theirs: Option<f64>, step: f64, what: &str) {
    let ours = ours.as_f64();
    let close = match (ours, theirs) {
        (Some(a), Some(b)) => (a - b).abs() <= step,
        (None, None) => true,
        _ => false,
    };
    assert!(close, "{what}: {ours:?}, the referee says {theirs:?}");
}

fn ipmitool_agrees(bmc: &Bmc, ours: &[Value]) -> usize {
    let said = bmc.ipmitool(&["sensor"]);
    let theirs: Vec<Vec<&str>> = said
        .lines()
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let ours = one_a_record(ours);
    assert_eq!(ours.len(), theirs.len(), "{said}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let name = ours["name"].as_str().unwrap();
        assert!(name.starts_with(theirs[0]), "{name}, not {}", theirs[0]);
        if theirs[2] == "discrete" {
            // Its states as two bytes, the lower first.
            let word = theirs[3].trim_start_matches("0x");
            let word = u16::from_str_radix(word, 16).ok();
            let word = word.map(|w| w.swap_bytes() & 0x7FFF);
            let states = ours["states"].as_array().map(Vec::len);
            let count = word.map(|word| word.count_ones() as usize);
            assert_eq!(states, count, "{name}: {ours}");
            continue;
        }
        same(&ours["value"], number(theirs[1]), 0.000_51, name);
        for (i, threshold) in THRESHOLDS.iter().enumerate() {
            let what = format!("{name} {threshold}");
            let limit = &ours["thresholds"][threshold];
            same(limit, number(theirs[4 + i]), 0.000_51, &what);
        }
    }
    ours.len()
}

fn freeipmi_agrees(bmc: &Bmc, ours: &[Value]) -> usize {
    let said = bmc.ipmi_sensors(&[
        "--comma-separated-output",
        "--no-header-output",
        "--shared-sensors",
        "--bridge-sensors",
        "--output-sensor-thresholds",
    ]);
    let theirs: Vec<Vec<&str>> =
        said.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(ours.len(), theirs.len(), "{said}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let name = ours["name"].as_str().unwrap();
        let plain = |text: &str| text.replace(' ', "");
        assert_eq!(plain(name), plain(theirs[1]));
        same(&ours["value"], number(theirs[3]), 0.006, name);
        for (i, threshold) in THRESHOLDS.iter().enumerate() {
            let what = format!("{name} {threshold}");
            let limit = &ours["thresholds"][threshold];
            same(limit, number(theirs[5 + i]), 0.006, &what);
        }
        let states = ours["states"].as_array().map_or(0, Vec::len);
        let theirs = theirs[11..].join(",");
        let said = match theirs.as_str() {
            "'OK'" | "N/A" => 0,
            // It names only the worst threshold.
            states => states.matches("' '").count() + 1,
        };
        let analog = ours["thresholds"].as_object().unwrap().len();
        let expected = if analog > 0 { said.min(states) } else { said };
        let held = if analog > 0 { states.min(1) } else { states };
        assert_eq!(held, expected.min(held.max(said)), "{name}: {theirs}");
    }
    ours.len()
}

/// Breaks some of everything, so that states differ from the healthy ones.
fn break_some(bmc: &Bmc) {
    bmc.value(0x12, 0); // FAN3 stands
    bmc.value(0x20, 178); // P12V is low
    bmc.value(0x03, 95); // CPU1 is hot
    bmc.states(0x32, &[(3, true)]); // PSU2 lost its input
    bmc.states(0x37, &[(0, false), (1, true)]);
    bmc.states(0x51, &[(1, true)]); // drive 1 is faulty
    bmc.states(0x48, &[(1, true)]); // uncorrectable memory error
}

#[test]
fn every_value_state_and_threshold_is_what_the_referees_read() {
    for extra in [0, 150] {
        let Some(bmc) = Bmc::start("ipmi: referees", extra) else { return };
        for broken in [false, true] {
            if broken {
                break_some(&bmc);
            }
            let ours = sensors(&bmc, ADMIN);
            assert_eq!(ours.len(), 42 + extra);
            match have("ipmitool") {
                true => {
                    assert!(ipmitool_agrees(&bmc, &ours) > 35);
                }
                false => not_run("ipmi: referees", "no ipmitool"),
            }
            match have("ipmi-sensors") {
                true => {
                    assert!(freeipmi_agrees(&bmc, &ours) > 35);
                }
                false => not_run("ipmi: referees", "no freeipmi-tools"),
            }
        }
    }
}

#[test]
fn a_user_who_may_only_read_reads_everything() {
    let Some(bmc) = Bmc::start("ipmi: privileges", 0) else { return };
    let of = |user| -> Vec<Value> {
        let all = sensors(&bmc, user).into_iter();
        all.map(|mut s| {
            s["age_seconds"].take();
            s
        })
        .collect()
    };
    assert_eq!(of(READER), of(ADMIN));
    let (status, said) = ask(&bmc, ("monitor", "wrong"), &["sensors"]);
    assert_eq!(status, 3);
    assert!(said.contains("password"), "{said}");
    assert!(!said.contains("wrong"), "{said}");
}

#[test]
fn the_event_log_is_what_ipmitool_lists() {
    let Some(bmc) = Bmc::start("ipmi: event log", 0) else { return };
    break_some(&bmc);
    bmc.tell(&["sel_add 0x20 0xc0 1 2 3 4 0x57 1 0 1 2 3 4 5 6"]);
    let (status, text) = ask(&bmc, ADMIN, &["sel", "--json"]);
    assert_eq!(status, 0, "{text}");
    let log: Value = serde_json::from_str(&text).unwrap();
    let ours = log["bmcs"][0]["events"].as_array().unwrap();
    assert!(ours.len() > 10, "{text}");
    if !have("ipmitool") {
        return not_run("ipmi: event log", "no ipmitool");
    }
    let said = bmc.ipmitool(&["sel", "elist"]);
    let theirs: Vec<&str> = said.lines().collect();
    assert_eq!(ours.len(), theirs.len(), "{said}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        let id = theirs.split('|').next().unwrap().trim();
        let id = u64::from_str_radix(id, 16).unwrap();
        assert_eq!(ours["id"], id);
        if ours["raw"].as_str().unwrap().starts_with("00c0") {
            continue;
        }
        let asserted = theirs.contains("Asserted");
        if let Some(way) = ours["asserted"].as_bool() {
            assert_eq!(way, asserted, "{ours} {theirs}");
        }
    }
}
