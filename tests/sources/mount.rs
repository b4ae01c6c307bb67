//! The mount source.

use std::process::Command;

use faultline::signal::Health;
use faultline::sources::Setup;
use faultline::sources::mount::Options;

use crate::bench::Bench;

#[test]
fn the_mounts_of_a_fixture_are_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mountinfo");
    let text = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
                2 1 0:3 / /proc rw - proc proc rw\n\
                3 1 8:2 / /data rw - xfs /dev/sda2 ro\n";
    std::fs::write(&path, text).unwrap();
    let setup = Setup::Mount(Options { path });
    let bench = Bench::with(setup, Default::default(), true);
    bench.until_health("mount", |health| *health == Health::Up);
    let stats = bench.shared.stats.clone();
    bench.stop();
    let counters = stats.of(&"mount".into());
    let count =
        counters.observations.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(count, 2);
}

#[test]
fn a_list_that_cannot_be_read_is_down() {
    let path = "/nowhere/mountinfo".into();
    let bench = Bench::new(Setup::Mount(Options { path }));
    bench.until_health("mount", |health| {
        matches!(health, Health::Down(why) if why.contains("/nowhere"))
    });
}

#[test]
fn a_change_of_the_mounts_wakes_it() {
    let dir = tempfile::tempdir().unwrap();
    let mount = |program: &str, args: &[&str]| {
        let done = Command::new(program).args(args).arg(dir.path()).status();
        done.is_ok_and(|status| status.success())
    };
    let path = "/proc/self/mountinfo".into();
    let bench = Bench::new(Setup::Mount(Options { path }));
    bench.until_health("mount", |health| *health == Health::Up);
    let first = bench.shared.stats.of(&"mount".into()).last_success();
    if !mount("mount", &["-t", "tmpfs", "none"]) {
        crate::not_run::not_run("mounts", "may not mount; needs root");
        return;
    }
    // It reads again; there is no message, since no block device changed.
    let began = std::time::Duration::from_secs(20);
    let limit = faultline::clock::boot().plus(began);
    let counters = bench.shared.stats.of(&"mount".into());
    while counters.last_success() == first {
        assert!(faultline::clock::boot() < limit, "it never woke");
        std::thread::yield_now();
    }
    assert!(mount("umount", &[]));
}
