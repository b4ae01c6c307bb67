//! The systemd unit: valid, and as closed as it claims to be.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod not_run;
use std::process::Command;

/// The unit with the built program in place of the installed one, in a
/// directory of its own; `None`, said loudly, without systemd-analyze.
fn analyze(arguments: &[&str]) -> Option<(bool, String)> {
    let root = env!("CARGO_MANIFEST_DIR");
    let unit = format!("{root}/systemd/faultline.service");
    let unit = std::fs::read_to_string(unit).unwrap();
    assert!(unit.contains("ExecStart=/usr/local/bin/faultline run"));
    let program = env!("CARGO_BIN_EXE_faultline");
    let unit = unit.replace("/usr/local/bin/faultline", program);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("faultline.service");
    std::fs::write(&path, unit).unwrap();
    let output =
        Command::new("systemd-analyze").args(arguments).arg(&path).output();
    let Ok(output) = output else {
        not_run::not_run("the unit", "no systemd-analyze here");
        return None;
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    Some((output.status.success(), text))
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let Some((good, told)) = analyze(&["verify"]) else { return };
    assert!(good, "{told}");
    assert!(!told.contains("faultline.service"), "{told}");
}

#[test]
fn the_unit_is_exposed_no_more_than_4() {
    let arguments = ["security", "--offline=true", "--threshold=40"];
    let Some((good, told)) = analyze(&arguments) else { return };
    assert!(good, "{told}");
}
