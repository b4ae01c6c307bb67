//! BMCs that hang, answer late, twice or not at all: what is known of the
//! machine is neither lost nor invented, and is right again at once.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::agent::Agent;
use crate::bmc::Bmc;
use crate::proxy;

/// Patterns with times that a test can wait for.
const PATTERNS: &str = r#"version: 1
component: power
patterns:
  - name: test-supply
    summary: "power supply without input"
    severity: warning
    source: ipmi-sensor
    where: { type: power-supply, state: input-lost }
    part: "{part}"
    clear: [{ normal: 1s }]
    advice: "Look at the cord."
    examples:
      - observation: { type: power-supply, state: [presence-detected, input-lost], part: psu/1 }
        gives: { part: psu/1 }
  - name: test-fan
    summary: "fan slow"
    severity: warning
    source: ipmi-sensor
    where: { type: fan, state: lower-critical }
    part: "{part}"
    clear: [{ normal: 1s }]
    advice: "Replace the fan."
    examples:
      - observation: { type: fan, state: [lower-non-critical, lower-critical], part: fan/1 }
        gives: { part: fan/1 }
  - name: test-bmc
    summary: "the BMC does not answer"
    severity: warning
    source: ipmi-sensor
    where: { type: management-health, state: controller-unavailable }
    part: "{part}"
    lasting: 1s
    clear: [{ normal: 1s }]
    advice: "Reset the BMC."
    examples:
      - observation: { type: management-health, state: controller-unavailable, part: bmc/ipmi0 }
        gives: { part: bmc/ipmi0 }
  - name: test-logged
    summary: "memory error logged"
    severity: error
    source: ipmi-sel
    where: { type: memory, state: uncorrectable-ecc, asserted: true }
    part: "{part}"
    clear: [{ quiet: 30d }]
    advice: "Replace it."
    examples:
      - observation: { type: memory, state: uncorrectable-ecc, asserted: true, part: dimm/A1 }
        gives: { part: dimm/A1 }
"#;

/// FAN3 and the second supply, as the machine has them.
const FAN3: u8 = 0x12;
const PSU2: u8 = 0x32;
const MEMORY: u8 = 0x48;

/// What was told of the patterns above, but of the BMC itself.
fn told(agent: &Agent) -> Vec<String> {
    let history = agent.history().into_iter();
    history
        .filter(|e| {
            e["pattern"].as_str().is_some_and(|p| p.starts_with("test-"))
        })
        .filter(|e| e["pattern"] != "test-bmc")
        .map(|e| format!("{} {} {}", e["change"], e["pattern"], e["part"]))
        .collect()
}

fn part_of(bmc: &Bmc) -> String {
    format!("bmc/127.0.0.1:{}", bmc.port)
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long it takes is tested")]
fn a_bmc_that_hangs_is_a_fault_of_its_own_and_changes_no_other() {
    let Some(bmc) = Bmc::start("ipmi: hanging BMC", 0) else { return };
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(dir.path(), bmc.port, PATTERNS);
    bmc.value(FAN3, 0);
    agent.await_opened("test-fan", "fan/3");
    let before = told(&agent);
    let part = part_of(&bmc);

    bmc.hang();
    agent.await_opened("test-bmc", &part);
    let state = agent.metric("ipmi_fan_speed_state{", &["FAN3"]);
    assert!(state.is_some_and(f64::is_nan), "{state:?}");
    let age = "faultline_ipmi_sensor_age_seconds{";
    assert!(agent.metric(age, &["FAN3"]).is_some_and(|age| age > 1.0));
    assert_eq!(agent.metric("ipmi_up{", &["\"bmc\""]), Some(0.0));
    // A scrape waits for no BMC.
    let began = Instant::now();
    assert!(agent.get("/metrics").is_some());
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(told(&agent), before, "nothing opened, nothing cleared");

    bmc.go_on();
    agent.await_cleared("test-bmc", &part, "recovered");
    agent.until("its values are right", |agent| {
        agent.metric("ipmi_fan_speed_rpm{", &["FAN3"]) == Some(0.0)
            && agent.metric("ipmi_fan_speed_rpm{", &["FAN1"]) == Some(8400.0)
    });
    assert_eq!(told(&agent), before, "nothing opened, nothing cleared");
    bmc.value(FAN3, 84);
    agent.await_cleared("test-fan", "fan/3", "recovered");
}

#[test]
fn answers_that_are_late_lost_or_come_twice_are_never_anothers() {
    let Some(bmc) = Bmc::start("ipmi: bad network", 0) else { return };
    let proxy = proxy::start(bmc.port);
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(dir.path(), proxy.port, PATTERNS);
    let right = |agent: &Agent| {
        // NaN is unknown; anything else has to be the value.
        let checks = [
            ("ipmi_temperature_celsius{", "Inlet Temp", 24.0),
            ("ipmi_temperature_celsius{", "SAT Temp", 55.0),
            ("ipmi_temperature_celsius{", "LUN1 Temp", 77.0),
            ("ipmi_voltage_volts{", "P12V", 11.977),
            ("ipmi_fan_speed_rpm{", "FAN1", 8400.0),
            ("ipmi_power_watts{", "PSU1 Input", 350.0),
        ];
        let mut known = 0;
        for (metric, name, expected) in checks {
            let name = format!("name=\"{name}\"");
            let Some(value) = agent.metric(metric, &[&name]) else { continue };
            if !value.is_nan() {
                assert_eq!(value, expected, "{name}");
                known += 1;
            }
        }
        known == checks.len()
    };
    agent.until("everything is known", right);
    let weather = &proxy.weather;
    let passes = || agent.metric("faultline_ipmi_commands_total{", &[]);
    for (late, lost, twice) in
        [(0, 7, 0), (0, 0, 3), (1500, 0, 0), (20, 5, 2), (7000, 0, 0)]
    {
        weather.late.store(late, Ordering::SeqCst);
        weather.lost.store(lost, Ordering::SeqCst);
        weather.twice.store(twice, Ordering::SeqCst);
        let before = passes().unwrap_or_default();
        agent.until("some commands went through it", |agent| {
            right(agent);
            let now = agent.metric("faultline_ipmi_commands_total{", &[]);
            now.unwrap_or_default() > before + 3.0
        });
    }
    weather.late.store(0, Ordering::SeqCst);
    weather.lost.store(0, Ordering::SeqCst);
    weather.twice.store(0, Ordering::SeqCst);
    agent.until("everything is known again", right);
    assert_eq!(told(&agent), Vec::<String>::new());
}

#[test]
fn what_was_logged_before_the_agent_ever_ran_is_history_and_no_record_counts_twice()
 {
    let Some(bmc) = Bmc::start("ipmi: event log over restarts", 0) else {
        return;
    };
    let counts = |agent: &Agent| {
        let fault = agent.fault("test-logged", "memory/Memory");
        fault.and_then(|f| f["count"].as_u64())
    };
    // What had ended before the agent ever ran opens nothing.
    bmc.states(PSU2, &[(1, true), (1, false)]);
    bmc.states(MEMORY, &[(1, true)]);
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(dir.path(), bmc.port, PATTERNS);
    agent.await_opened("test-logged", "memory/Memory");
    bmc.states(MEMORY, &[(1, false)]);
    let over = agent.fault("sel-psu-failed", "psu/2");
    assert!(over.is_none(), "{over:?}");
    let entry = agent.fault("test-logged", "memory/Memory").unwrap();
    assert_eq!(entry["since_previous_boot"], true, "{entry}");
    let past = counts(&agent).unwrap();
    let counts = |agent: &Agent| counts(agent).map(|count| count - past);
    bmc.states(MEMORY, &[(1, true), (1, false)]);
    agent.until("it counts", |agent| counts(agent) == Some(1));
    agent.crash();

    // While nobody looks: one more, a clear, one more.
    bmc.states(MEMORY, &[(1, true), (1, false)]);
    let agent = Agent::start(dir.path(), bmc.port, PATTERNS);
    agent.until("what came meanwhile counts", |a| counts(a) == Some(2));
    bmc.ipmitool(&["sel", "clear"]);
    bmc.states(MEMORY, &[(1, true), (1, false)]);
    agent.until("so does what comes after a clear", |a| counts(a) == Some(3));
    agent.stop();
    let agent = Agent::start(dir.path(), bmc.port, PATTERNS);
    agent.until("the log is read", |agent| {
        agent.metric("ipmi_sel_logs_count{", &[]).is_some()
    });
    bmc.states(PSU2, &[(3, true)]);
    agent.await_opened("test-supply", "psu/2");
    assert_eq!(counts(&agent), Some(3), "no record counts twice");
    assert!(agent.dir().join("state").exists());
    bmc.states(PSU2, &[(3, false)]);
    agent.await_cleared("test-supply", "psu/2", "recovered");
}
