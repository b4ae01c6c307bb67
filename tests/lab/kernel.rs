//! What the kernel itself suffers: tasks that hang, processors that are
//! stuck, a crash in a task. The test module `harm.c` causes the latter two.

use crate::guest::{Guest, INTEL};
use crate::not_run::not_run;

#[test]
fn a_kernel_that_hangs_is_stuck_and_crashes_is_well_after_a_boot() {
    let Some(mut guest) = Guest::boot("kernel", INTEL, &[]) else {
        return;
    };
    guest.start_agent();
    let task = a_task_hangs(&mut guest);
    let harm = guest.try_run("modinfo harm").0 == 0;
    if harm {
        guest.run("echo 1 >/proc/sys/kernel/watchdog_thresh");
        // One is tolerated, and occasions lie five seconds apart.
        guest.try_run("modprobe harm what=lockup");
        guest.run("sleep 3");
        guest.try_run("modprobe harm what=lockup");
        guest.await_opened("kernel-soft-lockup", "cpu/cpu0");
        guest.try_run("modprobe harm what=oops");
        guest.await_opened("kernel-oops", "node/kernel");
        guest.await_cleared("kernel-soft-lockup", "cpu/cpu0", "quiet");
    } else {
        not_run("lab: lockup and oops", "the kernel's headers or gcc lack");
    }
    assert!(!guest.open_faults().is_empty(), "a boot has to end them");

    a_panic_is_history_after_the_boot(&mut guest);
    guest.await_cleared("kernel-hung-task", &task, "rebooted");
    if harm {
        guest.await_cleared("kernel-oops", "node/kernel", "rebooted");
    }
    // The boot that it caused is no proof of its end.
    let open = guest.open_faults();
    assert_eq!(open, ["kernel-panic node/kernel"]);
    guest.run("rm /sys/fs/pstore/*");
    guest.reboot();
    // Silence of a log that is not there proves nothing.
    guest.run("modprobe ramoops; mount -t pstore pstore /sys/fs/pstore");
    guest.start_agent();
    guest.await_cleared("kernel-panic", "node/kernel", "rebooted");
    assert_eq!(guest.open_faults(), [""; 0]);
}

/// Nobody reads what a panic prints, but memory keeps it over a warm boot.
fn a_panic_is_history_after_the_boot(guest: &mut Guest) {
    let pstore = "modprobe ramoops; mount -t pstore pstore /sys/fs/pstore";
    guest.run(pstore);
    guest.run("echo 1 >/proc/sys/kernel/sysrq");
    let before = guest.boot_id.clone();
    guest.leave("echo c >/proc/sysrq-trigger");
    guest.await_boot();
    assert_ne!(guest.boot_id, before);
    guest.run(pstore);
    let kept = guest.run("cat /sys/fs/pstore/*");
    assert!(kept.contains("sysrq triggered crash"), "{kept}");
    guest.start_agent();
    guest.await_opened("kernel-panic", "node/kernel");
    let fault = guest.fault("kernel-panic", "node/kernel").unwrap();
    assert_eq!(fault["since_previous_boot"], true, "{fault}");
}

/// A write to a device that is suspended waits for ever; returns the part.
fn a_task_hangs(guest: &mut Guest) -> String {
    guest.run("echo 2 >/proc/sys/kernel/hung_task_timeout_secs");
    guest.run("modprobe brd rd_nr=1 rd_size=20480; modprobe dm-mod");
    guest.run("dmsetup create still --table '0 40960 linear /dev/ram0 0'; dmsetup mknodes");
    guest.run("dmsetup suspend still");
    guest.run("dd if=/dev/zero of=/dev/mapper/still bs=4k count=1 conv=fsync >/dev/null 2>&1 & echo $! >/tmp/task");
    let task = guest.run("cat /tmp/task");
    let part = format!("task/{}", task.trim());
    guest.await_opened("kernel-hung-task", &part);
    guest.run("dmsetup resume still");
    part
}
