//! A BMC that stops and goes on at random for as long as a test may take.
//! `FAULTLINE_CHAOS_SECONDS` makes it longer.

use std::time::{Duration, Instant};

use crate::agent::Agent;
use crate::bmc::Bmc;

/// A generator of the test's own (xorshift): the same stops each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// Every value that a sensor of the BMC has on the page; unknown ones not.
fn values(agent: &Agent) -> Vec<(String, f64)> {
    let page = agent.get("/metrics").unwrap_or_default();
    let value = |line: &str| {
        let is_sensor = line.starts_with("ipmi_") && line.contains("id=");
        let (series, value) = line.rsplit_once(' ')?;
        let value: f64 = value.parse().ok()?;
        (is_sensor && !value.is_nan()).then(|| (series.to_owned(), value))
    };
    page.lines().filter_map(value).collect()
}

/// What was told of anything but the BMC itself.
fn told(agent: &Agent) -> Vec<String> {
    let history = agent.history().into_iter();
    history
        .filter(|e| e["part"].as_str().is_some_and(|p| !p.starts_with("bmc/")))
        .map(|e| format!("{} {} {}", e["change"], e["pattern"], e["part"]))
        .collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the simulator's time is real")]
fn stops_at_random_open_and_clear_nothing_and_values_are_right_or_unknown() {
    let Some(bmc) = Bmc::start("ipmi: stops at random", 0) else { return };
    let asked = std::env::var("FAULTLINE_CHAOS_SECONDS");
    let seconds = asked.ok().and_then(|s| s.parse().ok()).unwrap_or(20);
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(dir.path(), bmc.port, "");
    bmc.value(0x12, 0);
    agent.await_opened("fan-failed", "fan/3");
    agent.until("everything was read", |agent| values(agent).len() > 60);
    let (right, before) = (values(&agent), told(&agent));
    let descriptors = agent.descriptors();

    let (began, mut dice) = (Instant::now(), Dice(0x5EED));
    while began.elapsed() < Duration::from_secs(seconds) {
        bmc.hang();
        std::thread::sleep(Duration::from_millis(dice.below(4000)));
        bmc.go_on();
        std::thread::sleep(Duration::from_millis(dice.below(1500)));
        for value in values(&agent) {
            assert!(right.contains(&value), "{value:?}");
        }
    }
    bmc.go_on();
    agent.until("everything is read again", |agent| values(agent) == right);
    // What waited to be explained may have been meanwhile.
    let other = |line: &&String| {
        !before.contains(line) && !line.starts_with("\"explained\"")
    };
    let after = told(&agent);
    assert_eq!(after.iter().filter(other).count(), 0, "{after:#?}");
    assert!(agent.descriptors() <= descriptors + 2, "descriptors leak");
}
