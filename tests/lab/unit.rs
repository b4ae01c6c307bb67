//! A host that runs systemd, with the agent installed as `docs/install.md`
//! says: the unit starts, watches, is watched, and is started again.

use crate::guest::Guest;

/// A line that a pattern takes, written by a program: the configuration of
/// this host says that these are believed.
const LINE: &str = "EDAC MC0: 1 UE memory read error on CPU_SrcID#0_MC#0_Chan#1_DIMM#0 (channel:1 slot:0 page:0x1f8f8 offset:0x40 grain:32)";
/// Its part.
const DIMM: &str = "dimm/CPU_SrcID#0_MC#0_Chan#1_DIMM#0";

#[test]
fn the_unit_runs_is_watched_and_survives_kill_hang_stop_and_reboot() {
    let Some(mut guest) = Guest::boot_host("unit") else { return };
    install(&mut guest);
    guest.run("systemctl enable --now faultline");
    it_is_ready_and_sandboxed(&mut guest);
    it_reads_what_it_must(&mut guest);
    killed_it_starts_again_and_counts_nothing_twice(&mut guest);
    stopped_it_ends_well(&mut guest);
    standing_still_it_is_started_again(&mut guest);

    // Once this command has been answered: the answer's line goes down too.
    guest.run("(sleep 2; systemctl reboot) >/dev/null 2>&1 &");
    guest.await_boot();
    await_running(&mut guest);
    let fault = guest.fault("memory-uncorrected", DIMM).unwrap();
    assert_eq!(
        (&fault["state"], &fault["count"]),
        (&"active".into(), &1.into())
    );
}

/// Line for line what the page shows, with the files where this host has
/// them.
fn install(guest: &mut Guest) {
    let page = include_str!("../../docs/install.md");
    let (_, from) = page.split_once("## 2. Put the files in place").unwrap();
    let block = from.split("```").nth(1).unwrap();
    let binary = "target/x86_64-unknown-linux-gnu/release/faultline";
    let commands: Vec<&str> = block.lines().skip(1).collect();
    assert_eq!(commands.len(), 4, "{block}");
    for command in commands {
        let command = command.replace(binary, "/dist/faultline");
        guest.run(&command.replace(" systemd/", " /dist/"));
    }
    guest.run("printf 'sources:\\n  kmsg: { accept_userspace: true }\\n  disk: { every: 2s }\\n' >>/etc/faultline/config.yaml");
    guest.run("systemctl daemon-reload");
}

/// `enable --now` came back, so the agent has said that it is ready.
fn it_is_ready_and_sandboxed(guest: &mut Guest) {
    assert_eq!(shown(guest, "ActiveState"), "active");
    assert_eq!(shown(guest, "SubState"), "running");
    assert_eq!(shown(guest, "Type"), "notify");
    guest.await_true("it tells systemd what it does", |guest| {
        shown(guest, "StatusText").starts_with("watching ")
    });
    let modes = guest.run(
        "stat -c '%a %U' /var/lib/faultline /run/faultline /etc/faultline /run/faultline/faultline.sock",
    );
    let modes: Vec<&str> = modes.lines().collect();
    assert_eq!(modes, ["750 root", "755 root", "755 root", "660 root"]);
    let pid = shown(guest, "MainPID");
    let held = guest.run(&format!("cat /proc/{pid}/status"));
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(held.contains(line), "{line}: {held}");
    }
    // Its own view of the disk: only its state can be written.
    let mounts = guest.run(&format!("cat /proc/{pid}/mountinfo"));
    let options = |place: &str| {
        let mut fields = mounts.lines().map(|l| l.split(' '));
        let found = fields.find(|f| f.clone().nth(4) == Some(place));
        found.and_then(|mut f| f.nth(5)).unwrap_or_default().to_owned()
    };
    assert!(options("/").starts_with("ro,"), "{mounts}");
    assert!(options("/var/lib/faultline").starts_with("rw,"), "{mounts}");
}

fn it_reads_what_it_must(guest: &mut Guest) {
    guest.run(&format!("echo '<3>{LINE}' >/dev/kmsg"));
    guest.await_opened("memory-uncorrected", DIMM);
    // A command to the controller, for which the kernel wants a capability.
    let warns = "qom-set /machine/peripheral/nvme0 smart_critical_warning";
    guest.monitor(&format!("{warns} 4"));
    guest.await_opened("nvme-unreliable", "disk/nvme0");
    guest.monitor(&format!("{warns} 0"));
    for source in ["kmsg", "journal", "mount", "disk", "mce", "inventory"] {
        let up = format!("faultline_source_up{{source=\"{source}\"}} 1");
        guest.await_true(&up, |guest| guest.metric(&up[..up.len() - 2]) > 0.5);
    }
    // Bad files are told of at once; the last good set stays in force.
    let file = "/etc/faultline/patterns/own.yaml";
    guest.run(&format!("echo 'version: 2' >{file}"));
    guest.run("systemctl reload faultline");
    let bad = format!("faultline_pattern_file_valid{{file=\"{file}\"}} 0");
    guest.await_true("the bad file is seen", |guest| {
        guest.page("/metrics").contains(&bad)
    });
    guest.run(&format!("rm {file}; systemctl reload faultline"));
}

fn killed_it_starts_again_and_counts_nothing_twice(guest: &mut Guest) {
    let before = shown(guest, "MainPID");
    guest.run(&format!("kill -9 {before}"));
    guest.await_true("systemd starts it again", |guest| {
        shown(guest, "NRestarts") == "1"
    });
    await_running(guest);
    assert_ne!(shown(guest, "MainPID"), before);
    // The ring still holds the record.
    let fault = guest.fault("memory-uncorrected", DIMM).unwrap();
    assert_eq!(fault["count"], 1, "{fault}");
}

fn stopped_it_ends_well(guest: &mut Guest) {
    guest.run("systemctl stop faultline");
    assert_eq!(shown(guest, "ActiveState"), "inactive");
    assert_eq!(shown(guest, "Result"), "success");
    assert_eq!(shown(guest, "ExecMainStatus"), "0");
    // 1 is CLD_EXITED: by itself, not by a signal.
    assert_eq!(shown(guest, "ExecMainCode"), "1");
    assert_ne!(guest.try_run("test -e /run/faultline").0, 0);
    guest.run("test -s /var/lib/faultline/state.db");
}

/// With a shorter patience than the unit's minute.
fn standing_still_it_is_started_again(guest: &mut Guest) {
    guest.run("mkdir -p /run/systemd/system/faultline.service.d; printf '[Service]\\nWatchdogSec=10\\n' >/run/systemd/system/faultline.service.d/lab.conf; systemctl daemon-reload; systemctl start faultline");
    let first = shown(guest, "WatchdogTimestampMonotonic");
    guest.await_true("it gives a sign of life", |guest| {
        shown(guest, "WatchdogTimestampMonotonic") != first
    });
    let (pid, before) = (shown(guest, "MainPID"), shown(guest, "NRestarts"));
    guest.run(&format!("kill -STOP {pid}"));
    guest.await_true("systemd starts it again", |guest| {
        shown(guest, "NRestarts") != before
    });
    // A busy host must not miss the next one.
    guest.run("rm -r /run/systemd/system/faultline.service.d; systemctl daemon-reload");
    await_running(guest);
    let log = guest.run("journalctl -u faultline -o cat --no-pager");
    let killed =
        format!("Killing process {pid} (faultline) with signal SIGABRT");
    assert!(log.contains("Watchdog timeout"), "{log}");
    assert!(log.contains(&killed), "{log}");
}

fn await_running(guest: &mut Guest) {
    guest.await_true("the agent is ready", |guest| {
        shown(guest, "ActiveState") == "active"
            && guest.ask("wget -qO- http://127.0.0.1:9101/readyz").0 == 0
    });
}

/// A property of the unit.
fn shown(guest: &mut Guest, property: &str) -> String {
    let ask = format!("systemctl show faultline -p {property} --value");
    guest.ask(&ask).1.trim().to_owned()
}
