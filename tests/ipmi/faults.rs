//! Each fault that the simulated machine can have, with the shipped patterns
//! and nothing changed but their times: opened on the right part, and ended
//! with the right proof.

use std::path::Path;

use crate::agent::Agent;
use crate::bmc::Bmc;

/// A fault: how it is made, what is told of it, how it is undone.
struct Case {
    make: fn(&Bmc),
    pattern: &'static str,
    part: &'static str,
    undo: fn(&Bmc),
}

const fn case(
    pattern: &'static str,
    part: &'static str,
    make: fn(&Bmc),
    undo: fn(&Bmc),
) -> Case {
    Case { make, pattern, part, undo }
}

const CASES: &[Case] = &[
    case("fan-failed", "fan/3", |b| b.value(0x12, 0), |b| b.value(0x12, 84)),
    case("fan-slow", "fan/5", |b| b.value(0x14, 7), |b| b.value(0x14, 84)),
    case(
        "psu-lost",
        "psu/2",
        |b| b.states(0x32, &[(3, true)]),
        |b| b.states(0x32, &[(3, false)]),
    ),
    case(
        "power-redundancy-lost",
        "power/PS Redundancy",
        |b| b.states(0x37, &[(0, false), (1, true)]),
        |b| b.states(0x37, &[(1, false), (0, true)]),
    ),
    case(
        "psu-failing",
        "psu/1",
        |b| b.states(0x31, &[(2, true)]),
        |b| b.states(0x31, &[(2, false)]),
    ),
    case(
        "voltage-critical",
        "board/P12V",
        |b| b.value(0x20, 178),
        |b| b.value(0x20, 203),
    ),
    case(
        "sensor-temperature-critical",
        "cpu/1",
        |b| b.value(0x03, 95),
        |b| b.value(0x03, 45),
    ),
    case(
        "memory-state-uncorrected",
        "memory/Memory",
        |b| b.states(0x48, &[(1, true)]),
        |b| b.states(0x48, &[(1, false)]),
    ),
    case(
        "memory-state-limit",
        "dimm/DIMM_A1",
        |b| b.states(0x49, &[(5, true)]),
        |b| b.states(0x49, &[(5, false)]),
    ),
    case(
        "cpu-state-failed",
        "cpu/2",
        |b| b.states(0x42, &[(0, true)]),
        |b| b.states(0x42, &[(0, false)]),
    ),
    case(
        "drive-state-failed",
        "bay/Drive 2",
        |b| b.states(0x52, &[(1, true)]),
        |b| b.states(0x52, &[(1, false)]),
    ),
    case(
        "drive-state-failing",
        "bay/Drive 1",
        |b| b.states(0x51, &[(2, true)]),
        |b| b.states(0x51, &[(2, false)]),
    ),
    case(
        "pcie-state-fatal",
        "board/PCIe Errors",
        |b| b.states(0x63, &[(10, true)]),
        |b| b.states(0x63, &[(10, false)]),
    ),
    case(
        "chassis-open",
        "board/Intrusion",
        |b| b.states(0x60, &[(0, true)]),
        |b| b.states(0x60, &[(0, false)]),
    ),
    case(
        "battery-failed",
        "board/CMOS Battery",
        |b| b.states(0x62, &[(1, true)]),
        |b| b.states(0x62, &[(1, false)]),
    ),
];

/// The shipped patterns of BMCs with times of a second or two.
fn shortened(keep: &[&str]) -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("patterns");
    let files = ["sensors", "supplies", "bmc-states", "sel"];
    let short = |name: &str| {
        let file = format!("{name}.yaml");
        let text = std::fs::read_to_string(dir.join(&file)).unwrap();
        // Scenarios have times of their own.
        let text = text.split("\nscenarios:").next().unwrap().to_owned();
        let mut out = String::new();
        let mut kept = false;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("  - name: ") {
                kept = keep.contains(&name);
            }
            let key = line.trim_start();
            let timed = key.starts_with("lasting:")
                || key.starts_with("clear:")
                || key.starts_with("- recovered:");
            let line = match timed && !kept {
                true => shorten(line),
                false => line.to_owned(),
            };
            out.push_str(&line);
            out.push('\n');
        }
        (file, out)
    };
    files.into_iter().map(short).collect()
}

/// `lasting: 30s` to a second, `normal: 24h` and `hold: 2m` to two.
fn shorten(line: &str) -> String {
    let mut out = line.to_owned();
    for (key, time) in
        [("lasting: ", "1s"), ("normal: ", "2s"), ("hold: ", "2s")]
    {
        let Some(at) = out.find(key) else { continue };
        let from = at + key.len();
        let rest = &out[from..];
        let length = rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(rest.len());
        out.replace_range(from..from + length, time);
    }
    out
}

fn start(dir: &Path, bmc: &Bmc, keep: &[&str]) -> Agent {
    let own = dir.join("patterns");
    std::fs::create_dir_all(&own).unwrap();
    for (file, text) in shortened(keep) {
        std::fs::write(own.join(file), text).unwrap();
    }
    let agent = Agent::start(dir, bmc.port, "");
    agent.until("the sensors are read", |agent| {
        agent.metric("ipmi_fan_speed_rpm{", &["FAN1"]) == Some(8400.0)
    });
    agent
}

#[test]
fn each_fault_opens_on_its_part_and_ends_with_its_proof_and_so_do_all_at_once()
{
    let Some(bmc) = Bmc::start("ipmi: faults", 0) else { return };
    let dir = tempfile::tempdir().unwrap();
    let agent = start(dir.path(), &bmc, &[]);
    for case in CASES {
        (case.make)(&bmc);
    }
    for case in CASES {
        agent.await_opened(case.pattern, case.part);
    }
    for case in CASES {
        (case.undo)(&bmc);
    }
    for case in CASES {
        agent.await_cleared(case.pattern, case.part, "recovered");
    }
    let is_open = |f: &serde_json::Value| {
        f["state"] == "active" && f["component"] != "host"
    };
    agent.until("nothing of a sensor is open", |agent| {
        let mut open = agent.faults().into_iter().filter(is_open);
        // The log has no line for the end of everything.
        !open.any(|f| !f["pattern"].as_str().unwrap().starts_with("sel-"))
    });
}

#[test]
fn a_supply_that_was_swapped_is_replaced() {
    let Some(bmc) = Bmc::start("ipmi: swapped supply", 0) else { return };
    let dir = tempfile::tempdir().unwrap();
    // Its own recovery takes minutes: the other serial number is quicker.
    let agent = start(dir.path(), &bmc, &["psu-lost"]);
    bmc.states(0x32, &[(1, true)]);
    agent.await_opened("psu-lost", "psu/2");
    agent.until("it has a serial number", |agent| {
        let fault = agent.fault("psu-lost", "psu/2");
        fault.is_some_and(|f| f["serial"] == "DTXJ8231AB2")
    });
    bmc.states(0x32, &[(0, false), (1, false)]);
    bmc.swap_supply(2, "DTXJ8239XYZ");
    bmc.states(0x32, &[(0, true)]);
    agent.await_cleared("psu-lost", "psu/2", "replaced");
}
