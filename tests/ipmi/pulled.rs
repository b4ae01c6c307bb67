//! Supplies and drives that are pulled, told by nothing but the state of
//! their sensors: no event is logged, and the inventory stays readable.

use std::path::Path;

use crate::agent::Agent;
use crate::bmc::Bmc;

/// The pattern of the census with a time that a test can wait for.
fn shortened() -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("patterns");
    let text = std::fs::read_to_string(dir.join("inventory.yaml")).unwrap();
    text.replace("lasting: 2m", "lasting: 1s")
        .replace("lasting: 10m", "lasting: 1s")
        .replace("normal: 2m", "normal: 1s")
        .replace("normal: 10s", "normal: 1s")
}

fn state(agent: &Agent, name: &str) -> Option<f64> {
    agent.metric("ipmi_sensor_state{", &[&format!("name=\"{name}\"")])
}

#[test]
fn what_is_pulled_without_a_word_is_missed_and_its_metric_is_not_nominal() {
    let Some(bmc) = Bmc::start("ipmi: pulled without a word", 0) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(dir.path(), bmc.port, &shortened());
    agent.until("everything is there", |agent| {
        state(agent, "PSU2 Status") == Some(0.0)
            && state(agent, "Drive 2") == Some(0.0)
    });
    // The census has to have seen them before they can be missed.
    agent.until("the census knows them", |agent| {
        let parts = agent.dir().join("state");
        let told = agent.ask(&["parts", "--json"]);
        parts.exists() && told.contains("bay/Drive 2")
    });
    let told = agent.ask(&["parts"]);
    assert!(!told.contains("MISSING"), "{told}");

    bmc.states_silently(0x32, &[(0, false)]);
    bmc.states_silently(0x52, &[(0, false)]);
    agent.await_opened("psu-missing", "psu/2");
    agent.await_opened("bay-emptied", "bay/Drive 2");
    agent.until("neither is nominal", |agent| {
        state(agent, "PSU2 Status") == Some(2.0)
            && state(agent, "Drive 2") == Some(2.0)
    });
    assert_eq!(state(&agent, "PSU1 Status"), Some(0.0));
    assert_eq!(state(&agent, "Drive 1"), Some(0.0));

    bmc.states_silently(0x32, &[(0, true)]);
    bmc.states_silently(0x52, &[(0, true)]);
    agent.await_cleared("psu-missing", "psu/2", "recovered");
    agent.await_cleared("bay-emptied", "bay/Drive 2", "recovered");
    agent.until("both are nominal", |agent| {
        state(agent, "PSU2 Status") == Some(0.0)
            && state(agent, "Drive 2") == Some(0.0)
    });
}
