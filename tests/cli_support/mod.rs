//! Runs the built binary.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a run of the binary came to.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub out: String,
    pub err: String,
}

/// The binary, away from this machine's configuration, state and agent.
pub fn faultline(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faultline"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("TZ", "UTC")
        .env("NODE_NAME", "node17")
        .env_remove("COLUMNS")
        .env_remove("SUDO_USER")
        .arg("--state-dir")
        .arg(dir.join("state"))
        .arg("--socket")
        .arg(dir.join("socket"))
        .arg("--config")
        .arg(config(dir));
    command
}

/// A configuration that keeps this machine's own files out of it.
fn config(dir: &Path) -> PathBuf {
    let path = dir.join("config.yaml");
    if !path.exists() {
        let none = dir.join("none");
        let none = none.display();
        let text = format!("patterns: [{none}]\nroot: {none}\n");
        std::fs::write(&path, text).unwrap();
    }
    path
}

/// Runs it with these arguments.
pub fn run(dir: &Path, args: &[&str]) -> Ran {
    run_with(dir, args, b"")
}

/// Runs it with these arguments and this input.
pub fn run_with(dir: &Path, args: &[&str], input: &[u8]) -> Ran {
    let mut child = faultline(dir)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    // A command that reads no input may end before it is written.
    let _ = writer.join().unwrap();
    Ran {
        status: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
