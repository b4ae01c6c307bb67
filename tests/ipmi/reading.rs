//! The commands, asked of a test's BMC.

use std::process::Command;

use serde_json::Value;

use crate::bmc::Bmc;

/// Runs a command against the BMC; its status, and all that it printed.
pub fn ask(bmc: &Bmc, user: (&str, &str), what: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_faultline"))
        .args(what)
        .args(["--bmc", &bmc.address()])
        .env("FAULTLINE_IPMI_USER", user.0)
        .env("FAULTLINE_IPMI_PASSWORD", user.1)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), format!("{text}{errors}"))
}

/// Every sensor, as `sensors --json` tells them.
pub fn sensors(bmc: &Bmc, user: (&str, &str)) -> Vec<Value> {
    let (_, text) = ask(bmc, user, &["sensors", "--json"]);
    let told: Value = serde_json::from_str(&text).unwrap();
    assert!(told["bmcs"][0]["error"].is_null(), "{text}");
    told["bmcs"][0]["sensors"].as_array().unwrap().clone()
}
