//! Kernel text beside a BMC that hangs: it is matched as quickly as ever.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::agent::Agent;
use crate::bmc::Bmc;

const PATTERN: &str = "version: 1
component: test
patterns:
  - name: test-line
    summary: '{unit} is lost'
    severity: warning
    source: kmsg
    where: { message: '^faultline-test: unit (?<unit>u\\d{1,9}) is lost' }
    part: 'test/{unit}'
    clear: [{ quiet: 30d }]
    advice: 'Nothing: a test runs.'
    examples:
      - line: 'faultline-test: unit u1 is lost'
        gives: { part: test/u1 }
      - line: 'faultline-test: unit u1 is well'
        gives: nothing
";

/// Lines in each round, and between two of them.
const LINES: usize = 60;
const EVERY: Duration = Duration::from_millis(50);

/// How long each line took until its fault was on the page; the last of a
/// hundred is left out.
#[expect(clippy::disallowed_methods, reason = "how long it takes is tested")]
fn slowest(agent: &Agent, round: usize) -> Duration {
    let log = agent.dir().join("messages");
    let mut log = OpenOptions::new().append(true).open(log).unwrap();
    let mut took = Vec::new();
    for line in 0..LINES {
        let unit = format!("u{}", round * LINES + line);
        let text = format!("kernel: faultline-test: unit {unit} is lost");
        let began = Instant::now();
        writeln!(log, "Nov 22 14:00:00 node {text}").unwrap();
        let part = format!("\"test/{unit}\"");
        agent.until(&format!("{unit} is told"), |agent| {
            agent.metric("faultline_fault_active{", &[&part]).is_some()
        });
        took.push(began.elapsed());
        std::thread::sleep(EVERY);
    }
    took.sort();
    took[LINES - 1 - LINES / 50]
}

#[test]
fn kernel_text_is_matched_as_quickly_while_the_bmc_hangs() {
    let Some(bmc) = Bmc::start("ipmi: beside a hanging BMC", 0) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("messages"), "").unwrap();
    let file = format!(
        "  file: {{ paths: [{{ glob: {}/messages, kernel: true }}] }}\n",
        dir.path().display()
    );
    let agent = Agent::start_beside(dir.path(), bmc.port, &file, PATTERN);
    agent.until("the sensors are read", |agent| {
        agent.metric("ipmi_fan_speed_rpm{", &["FAN1"]).is_some()
    });
    let up = slowest(&agent, 0);
    bmc.hang();
    agent.until("the BMC is known to be silent", |agent| {
        agent.metric("ipmi_up{", &["\"bmc\""]) == Some(0.0)
    });
    let hangs = slowest(&agent, 1);
    bmc.go_on();
    // A command waits for six seconds, so a reader that waited with it would
    // be slower by far; the rest is what a busy machine makes of it.
    let limit = up * 3 + Duration::from_millis(500);
    assert!(hangs <= limit, "{hangs:?}, with the BMC up {up:?}");
    eprintln!("slowest line: BMC up {up:?}, BMC hangs {hangs:?}");
}
