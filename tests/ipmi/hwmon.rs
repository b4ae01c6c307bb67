//! A machine without a BMC: what the kernel's own sensors tell, through the
//! whole agent, with the patterns that are shipped.

use std::fs;
use std::path::Path;

use crate::agent::Agent;

/// Chips as such a machine has them: two packages, a Super-I/O chip with a
/// header that nothing is plugged into, two supplies on one bus, a GPU whose
/// fan stands while it is cool.
const FILES: &[(&str, &str)] = &[
    ("hwmon0/name", "coretemp"),
    ("hwmon0/temp1_input", "45000"),
    ("hwmon0/temp1_label", "Package id 0"),
    ("hwmon0/temp1_max", "84000"),
    ("hwmon0/temp1_crit", "100000"),
    ("hwmon1/name", "coretemp"),
    ("hwmon1/temp1_input", "47000"),
    ("hwmon1/temp1_label", "Package id 1"),
    ("hwmon1/temp1_crit", "100000"),
    ("hwmon2/name", "nct6775"),
    ("hwmon2/fan1_input", "1500"),
    ("hwmon2/fan1_min", "500"),
    ("hwmon2/fan2_input", "0"),
    ("hwmon2/fan2_min", "664"),
    ("hwmon2/in1_input", "1856"),
    ("hwmon2/in1_max", "1744"),
    ("hwmon3/name", "pmbus"),
    ("hwmon3/in2_input", "12010"),
    ("hwmon3/in2_label", "vout1"),
    ("hwmon3/in2_lcrit", "10679"),
    ("hwmon4/name", "pmbus"),
    ("hwmon4/in2_input", "12020"),
    ("hwmon4/in2_label", "vout1"),
    ("hwmon4/in2_lcrit", "10679"),
    ("hwmon5/name", "amdgpu"),
    ("hwmon5/fan1_input", "0"),
    ("hwmon5/fan1_min", "0"),
    ("hwmon5/fan1_max", "3300"),
];

const DEVICES: &[(&str, &str)] = &[
    ("hwmon0", "coretemp.0"),
    ("hwmon1", "coretemp.1"),
    ("hwmon2", "nct6775.656"),
    ("hwmon3", "7-0054"),
    ("hwmon4", "7-0055"),
    ("hwmon5", "0000:03:00.0"),
];

fn set(host: &Path, path: &str, text: &str) {
    let path = host.join("sys/class/hwmon").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("{text}\n")).unwrap();
}

fn shortened() -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("patterns");
    let text = fs::read_to_string(dir.join("hwmon.yaml")).unwrap();
    let mut text = text.split("\nscenarios:").next().unwrap().to_owned();
    for time in ["1m", "2m", "5m"] {
        text = text.replace(&format!("lasting: {time}"), "lasting: 1s");
    }
    for time in ["15m", "30m"] {
        text = text.replace(&format!("normal: {time}"), "normal: 1s");
    }
    text
}

#[test]
fn a_machine_without_a_bmc_is_watched_by_the_kernels_own_sensors() {
    let dir = tempfile::tempdir().unwrap();
    let host = dir.path().join("host");
    for (path, text) in FILES {
        set(&host, path, text);
    }
    for (chip, device) in DEVICES {
        let link = host.join("sys/class/hwmon").join(chip).join("device");
        let to = Path::new("../../../devices").join(device);
        std::os::unix::fs::symlink(to, link).unwrap();
    }
    let agent = Agent::start_on(dir.path(), &host, &shortened());
    let open = |agent: &Agent| -> Vec<String> {
        let faults = agent.faults().into_iter();
        let of_sensors = faults.filter(|f| {
            f["pattern"].as_str().is_some_and(|p| p.starts_with("hwmon-"))
                && f["state"] == "active"
        });
        let mut all: Vec<String> = of_sensors
            .map(|f| format!("{} {}", f["pattern"], f["part"]))
            .collect();
        all.sort();
        all
    };
    agent.until("it looks at them", |agent| {
        let begin = "faultline_observations_total{";
        agent.metric(begin, &["hwmon"]).is_some_and(|n| n > 14.0)
    });
    assert!(open(&agent).is_empty(), "{:?}", open(&agent));

    set(&host, "hwmon1/temp1_input", "101000");
    set(&host, "hwmon2/fan1_input", "0");
    set(&host, "hwmon4/in2_input", "10100");
    agent.await_opened("hwmon-temperature-critical", "cpu/socket1");
    agent.await_opened("hwmon-fan-failed", "fan/nct6775 fan1");
    let supply = "board/pmbus 7-0055 vout1";
    agent.await_opened("hwmon-voltage-critical", supply);
    let raised = open(&agent);
    assert!(raised.len() <= 4, "of those three parts alone: {raised:?}");

    set(&host, "hwmon1/temp1_input", "47000");
    set(&host, "hwmon2/fan1_input", "1480");
    set(&host, "hwmon4/in2_input", "12020");
    agent.await_cleared(
        "hwmon-temperature-critical",
        "cpu/socket1",
        "recovered",
    );
    agent.await_cleared("hwmon-fan-failed", "fan/nct6775 fan1", "recovered");
    agent.await_cleared("hwmon-voltage-critical", supply, "recovered");
}
