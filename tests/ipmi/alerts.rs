//! The agent in the place of `ipmi_exporter`: alert rules on the names,
//! labels and numbers that its documentation has, held by `promtool` against
//! the page that the agent serves of a machine with faults.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::agent::Agent;
use crate::bmc::{Bmc, have};
use crate::not_run::not_run;

/// Rules as people write them for the exporter.
const RULES: &str = r#"groups:
  - name: ipmi
    rules:
      - alert: Down
        expr: ipmi_up == 0
      - alert: Temperature
        expr: ipmi_temperature_state == 2
      - alert: TooHot
        expr: ipmi_temperature_celsius{name="Temp"} > 90
      - alert: Fan
        expr: ipmi_fan_speed_state == 2 and ipmi_fan_speed_rpm < 500
      - alert: Voltage
        expr: ipmi_voltage_state == 2 and ipmi_voltage_volts < 11
      - alert: Supply
        expr: ipmi_sensor_state{type="Power Supply",name=~"PSU.*"} == 2
      - alert: Drive
        expr: ipmi_sensor_state{type="Drive Slot"} == 2
      - alert: Power
        expr: ipmi_power_watts{name="PSU1 Input"} > 300
      - alert: Log
        expr: ipmi_sel_logs_count > 0 and ipmi_sel_free_space_bytes < 1e6
      - alert: Off
        expr: ipmi_chassis_power_state == 0
      - alert: Identity
        expr: ipmi_bmc_info{firmware_revision!="",manufacturer_id!=""} == 1
      - alert: Full
        expr: ipmi_sel_free_space_bytes < 512
      - alert: Warning
        expr: ipmi_current_state == 1 or ipmi_power_state == 1
      - alert: Slow
        expr: ipmi_scrape_duration_seconds > 30
"#;

/// What has to fire, each with the name of its sensor; nothing else may.
const FIRE: [(&str, &str); 10] = [
    ("Temperature", "Temp"),
    ("TooHot", "Temp"),
    ("Fan", "FAN3"),
    ("Voltage", "P12V"),
    ("Supply", "PSU2 Status"),
    ("Drive", "Drive 2"),
    ("Power", "PSU1 Input"),
    ("Log", ""),
    ("Identity", ""),
    // The simulated machine was never switched on.
    ("Off", ""),
];
const SILENT: [&str; 4] = ["Down", "Full", "Slow", "Warning"];

/// Name and labels of a series as `promtool` takes them, and its value.
fn series(page: &str) -> Vec<(String, String)> {
    let lines = page.lines().filter(|line| line.starts_with("ipmi_"));
    let split = lines.filter_map(|line| line.rsplit_once(' '));
    split.map(|(s, v)| (s.to_owned(), v.to_owned())).collect()
}

/// The tests of the rules, made of the page: whether each alert fires.
fn unit_tests(page: &str) -> String {
    let mut text = "rule_files: [rules.yml]\ntests:\n  - interval: 1m\n    \
                    input_series:\n"
        .to_owned();
    for (series, value) in series(page) {
        let value = value.replace("NaN", "stale");
        writeln!(text, "      - series: '{series}'").unwrap();
        writeln!(text, "        values: '{value} {value}'").unwrap();
    }
    text.push_str("    promql_expr_test:\n");
    let mut expect = |alert: &str, name: &str, count: usize| {
        let label = match name {
            "" => String::new(),
            name => format!(",name=\"{name}\""),
        };
        let alerts = format!(
            "ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"{label}}}"
        );
        let expr = format!("count({alerts}) or vector(0)");
        writeln!(text, "      - expr: '{expr}'").unwrap();
        writeln!(text, "        eval_time: 1m").unwrap();
        writeln!(text, "        exp_samples:").unwrap();
        writeln!(text, "          - labels: '{{}}'").unwrap();
        writeln!(text, "            value: {count}").unwrap();
    };
    for (alert, name) in FIRE {
        expect(alert, name, 1);
        // And for nothing else.
        expect(alert, "", 1);
    }
    for alert in SILENT {
        expect(alert, "", 0);
    }
    text
}

fn promtool(dir: &Path, arguments: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let text = said(&output.stdout) + &said(&output.stderr);
    (output.status.success(), text)
}

#[test]
fn alerts_on_the_exporters_names_fire_for_what_is_broken_and_for_no_more() {
    if !have("promtool") {
        return not_run("ipmi: alerts", "no promtool: install prometheus");
    }
    let Some(bmc) = Bmc::start("ipmi: alerts", 0) else { return };
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(dir.path(), bmc.port, "");
    bmc.value(0x12, 0);
    bmc.value(0x20, 178);
    bmc.value(0x03, 95);
    bmc.states(0x32, &[(3, true)]);
    bmc.states(0x52, &[(1, true)]);
    agent.until("all of it is on the page", |agent| {
        let metric = |begin: &str, name: &str| {
            agent.metric(begin, &[&format!("name=\"{name}\"")])
        };
        metric("ipmi_fan_speed_state{", "FAN3") == Some(2.0)
            && metric("ipmi_voltage_state{", "P12V") == Some(2.0)
            && metric("ipmi_temperature_state{", "Temp") == Some(2.0)
            && metric("ipmi_sensor_state{", "PSU2 Status") == Some(2.0)
            && metric("ipmi_sensor_state{", "Drive 2") == Some(2.0)
            && agent.metric("ipmi_sel_logs_count{", &[]).is_some()
            && agent.metric("ipmi_bmc_info{", &[]).is_some()
            && agent.metric("ipmi_chassis_power_state{", &[]).is_some()
    });
    let page = agent.get("/metrics").unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
    };
    write("rules.yml", RULES);
    write("tests.yml", &unit_tests(&page));
    let (passed, said) =
        promtool(dir.path(), &["test", "rules", "tests.yml"], "");
    assert!(passed, "{said}");

    // The page has every series of a BMC here, and is well formed; the one
    // name that promtool does not like is the exporter's.
    let (_, said) = promtool(dir.path(), &["check", "metrics"], &page);
    let complaints = said.lines().filter(|l| l.contains("ipmi_"));
    let ours: Vec<&str> =
        complaints.filter(|l| !l.starts_with("ipmi_sel_logs_count")).collect();
    assert!(ours.is_empty(), "{said}");
}
