//! Exit statuses, colours and closed pipes of the built binary.

#![expect(clippy::unwrap_used, reason = "a helper of tests may panic")]

mod cli_support;
mod not_run;

use std::io::Read;
use std::process::Stdio;

use cli_support::{faultline, run, run_with};

fn place() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn wrong_usage_is_64_and_help_is_good() {
    let dir = place();
    for args in
        [&["frobnicate"][..], &["replay", "--nope"], &["clear"], &["check"]]
    {
        let ran = run(dir.path(), args);
        assert_eq!(ran.status, 64, "{args:?}: {ran:?}");
        assert!(!ran.err.is_empty() && ran.out.is_empty());
    }
    for args in [&["--help"][..], &["replay", "--help"], &["--version"]] {
        assert_eq!(run(dir.path(), args).status, 0, "{args:?}");
    }
}

#[test]
fn what_cannot_be_read_is_3_and_never_nothing_found() {
    let dir = place();
    let ran = run(dir.path(), &["status"]);
    assert_eq!(ran.status, 3, "{ran:?}");
    assert!(ran.err.contains("no agent is running"), "{ran:?}");
    let ran = run(dir.path(), &["history"]);
    assert_eq!(ran.status, 3, "{ran:?}");
    let ran = run(dir.path(), &["replay", "/nonexistent/log"]);
    assert_eq!(ran.status, 3, "{ran:?}");
    assert!(ran.err.contains("/nonexistent/log"), "{ran:?}");
    let ran = run(dir.path(), &["replay", "/"]);
    assert_eq!(ran.status, 3, "{ran:?}");
    let ran = run(dir.path(), &["--patterns", "/nonexistent", "scan"]);
    assert_eq!(ran.status, 3, "{ran:?}");
}

#[test]
fn a_name_that_is_nothing_is_answered_with_what_was_perhaps_meant() {
    let dir = place();
    let ran = run(dir.path(), &["explain", "memory-uncorected"]);
    assert_eq!(ran.status, 3);
    assert!(ran.err.contains("the pattern memory-uncorrected?"), "{ran:?}");
    let ran = run(dir.path(), &["explain", "memory-uncorrected"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.out.contains("tolerance"), "{ran:?}");
}

#[test]
fn check_and_test_find_nothing_wrong_with_the_shipped_files() {
    let dir = place();
    let ran = run(dir.path(), &["schema"]);
    assert_eq!(ran.status, 0);
    let schema: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert!(schema.is_object());
    let bad = dir.path().join("bad.yaml");
    std::fs::write(&bad, "version: 1\npattens: []\n").unwrap();
    let bad = bad.to_str().unwrap();
    for command in ["check", "test"] {
        let ran = run(dir.path(), &[command, bad]);
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(ran.out.contains("patterns"), "{ran:?}");
    }
}

#[test]
fn a_configuration_with_a_mistake_is_shown_with_its_place() {
    let dir = place();
    let path = dir.path().join("c.yaml");
    std::fs::write(&path, "mode: report\nstate_dri: /x\n").unwrap();
    let path = path.to_str().unwrap();
    let mut command =
        std::process::Command::new(env!("CARGO_BIN_EXE_faultline"));
    let output = command.args(["status", "--config", path]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(":2:") && text.contains("state_dir"), "{text}");
}

#[test]
fn colour_comes_only_when_it_is_asked_for_or_seen() {
    let dir = place();
    let esc = "\u{1b}[";
    let plain = run(dir.path(), &["explain", "memory-uncorrected"]);
    assert!(!plain.out.contains(esc));
    let color =
        run(dir.path(), &["--color=always", "explain", "memory-uncorrected"]);
    assert!(color.out.contains(esc));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let dir = place();
    // Far more output than a pipe holds.
    let log = "I/O error, dev sda, sector 1 op 0x0:(READ)\n".repeat(20_000);
    let path = dir.path().join("log");
    std::fs::write(&path, log).unwrap();
    let mut child = faultline(dir.path())
        .args(["replay", "--matches", "--json"])
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 16];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn an_empty_log_is_told_as_such() {
    let dir = place();
    let ran = run_with(dir.path(), &["replay", "-"], b"");
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.out.contains("0 line(s)"), "{ran:?}");
    assert!(ran.out.contains("No fault stands at the end."), "{ran:?}");
    let ran = run_with(dir.path(), &["replay", "--json"], b"");
    let replay: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(replay["changes"], serde_json::json!([]));
    assert_eq!(replay["input"]["lines"], 0);
}

#[test]
fn the_agent_without_permission_ends_with_3_and_says_what_is_missing() {
    // Only root can become somebody who may not read the kernel's log.
    if !nix::unistd::geteuid().is_root() {
        not_run::not_run("exit status 3", "cannot become nobody; needs root");
        return;
    }
    use std::os::unix::process::CommandExt;
    let dir = place();
    let readable = std::fs::Permissions::from_mode(0o755);
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir.path(), readable).unwrap();
    // Where anybody may look at it.
    let binary = dir.path().join("faultline");
    std::fs::copy(env!("CARGO_BIN_EXE_faultline"), &binary).unwrap();
    let restricted = std::fs::read("/proc/sys/kernel/dmesg_restrict");
    if restricted.unwrap_or_default().first() != Some(&b'1') {
        not_run::not_run("exit status 3", "kernel.dmesg_restrict is 0");
        return;
    }
    for (command, words) in [("run", "CAP_SYSLOG"), ("scan", "kmsg: unknown")] {
        let output = std::process::Command::new(&binary)
            .args([command, "--state-dir", "/nonexistent"])
            .uid(65534)
            .gid(65534)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(output.status.code(), Some(3), "{text}");
        assert!(text.contains(words), "{text}");
    }
}
