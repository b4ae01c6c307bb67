//! Commands that look at the host: `doctor` and `scan`.

#![expect(clippy::unwrap_used, reason = "a helper of tests may panic")]

mod cli_support;
mod not_run;

use std::path::Path;

use cli_support::run;
use serde_json::Value;

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|c| c["name"] == name).unwrap()
}

#[test]
fn doctor_names_what_is_missing_and_what_to_do_next() {
    let dir = tempfile::tempdir().unwrap();
    let host = dir.path().join("host");
    write(&host, "proc/sys/kernel/printk_devkmsg", "on\n");
    write(&host, "proc/cmdline", "ro log_buf_len=4M\n");
    write(&host, "proc/9/comm", "rasdaemon\n");
    let root = host.to_str().unwrap();
    let ran = run(dir.path(), &["doctor", "--json", "--root", root]);
    assert_eq!(ran.status, 2, "no kernel log is bad: {ran:?}");
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["worst"], "bad");
    let log = check(&report, "kernel log");
    assert_eq!(log["verdict"], "bad");
    assert!(log["next"].as_str().unwrap().contains("mount"));
    assert_eq!(check(&report, "printk_devkmsg")["verdict"], "warn");
    assert_eq!(check(&report, "ring size")["verdict"], "ok");
    assert_eq!(check(&report, "patterns")["verdict"], "ok");
    assert_eq!(check(&report, "agent")["verdict"], "warn");
    let others = check(&report, "other readers");
    assert!(others["found"].as_str().unwrap().contains("rasdaemon"));
    assert!(!dir.path().join("state").exists(), "doctor only looks");
    let ran = run(dir.path(), &["doctor", "--root", root]);
    assert_eq!(ran.status, 2);
    assert!(ran.out.contains("bad   kernel log"), "{}", ran.out);
}

#[test]
fn doctor_finds_the_broken_pattern_file() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "own/bad.yaml", "version: 1\npattens: []\n");
    let own = dir.path().join("own");
    let own = own.to_str().unwrap();
    let ran = run(dir.path(), &["doctor", "--json", "--patterns", own]);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    let patterns = check(&report, "patterns");
    assert_eq!(patterns["verdict"], "bad");
    let next = patterns["next"].as_str().unwrap();
    assert!(next.starts_with("faultline check") && next.ends_with("bad.yaml"));
}

#[test]
fn a_scan_reads_the_kernels_ring_from_its_oldest_record() {
    // Without root this is the test of missing permissions in cli_exit.
    let readable = std::fs::File::open("/dev/kmsg").is_ok();
    // A line of the kernel's own, whatever else has filled the ring.
    let none = None::<&str>;
    let flags = nix::mount::MsFlags::empty();
    let refused = nix::mount::mount(
        none,
        "/tmp",
        Some("tmpfs"),
        flags,
        Some("no-such-option=1"),
    );
    let printed = refused == Err(nix::errno::Errno::EINVAL);
    if !printed || !readable {
        not_run::not_run("scan of the kernel's ring", "needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), &["scan", "--json", "--root", "/"]);
    assert!((0..=3).contains(&ran.status), "{ran:?}");
    let scan: Value = serde_json::from_str(&ran.out).unwrap();
    let sources = scan["sources"].as_array().unwrap();
    let kmsg = sources.iter().find(|s| s["source"] == "kmsg").unwrap();
    assert_eq!(kmsg["state"], "read", "{kmsg}");
    assert!(kmsg["records"].as_u64().unwrap() > 0);
    assert!(kmsg["since"].is_string());
    let people = run(dir.path(), &["scan", "--root", "/"]);
    assert_eq!(people.status, ran.status);
    assert!(people.out.contains("kmsg: read "), "{people:?}");
}

#[test]
fn a_host_whose_kernel_log_is_missing_is_unknown_not_healthy() {
    let dir = tempfile::tempdir().unwrap();
    let host = dir.path().join("host");
    std::fs::create_dir_all(&host).unwrap();
    let root = host.to_str().unwrap();
    let ran = run(dir.path(), &["scan", "--json", "--root", root]);
    assert_eq!(ran.status, 3, "{ran:?}");
    let scan: Value = serde_json::from_str(&ran.out).unwrap();
    let sources = scan["sources"].as_array().unwrap();
    let kmsg = sources.iter().find(|s| s["source"] == "kmsg").unwrap();
    assert_eq!(kmsg["state"], "unknown", "{kmsg}");
    assert!(kmsg["reason"].as_str().unwrap().contains("mount"), "{kmsg}");
    let people = run(dir.path(), &["scan", "--root", root]);
    assert!(people.out.contains("kmsg: unknown: "), "{people:?}");
    assert!(people.err.is_empty());
}
