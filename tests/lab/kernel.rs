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
        // One is tolerated, and occasions lie ten seconds apart.
        guest.try_run("modprobe harm what=lockup");
        guest.run("sleep 7");
        guest.try_run("modprobe harm what=lockup");
        guest.await_opened("kernel-soft-lockup", "cpu/cpu0");
        guest.try_run("modprobe harm what=oops");
        guest.await_opened("kernel-oops", "node/kernel");
        guest.await_cleared("kernel-soft-lockup", "cpu/cpu0", "quiet");
    } else {
        not_run("lab: lockup and oops", "the kernel's headers or gcc lack");
    }
    assert!(!guest.open_faults().is_empty(), "a boot has to end them");

    guest.reboot();
    guest.start_agent();
    guest.await_cleared("kernel-hung-task", &task, "rebooted");
    if harm {
        guest.await_cleared("kernel-oops", "node/kernel", "rebooted");
    }
    assert_eq!(guest.open_faults(), [""; 0]);
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
