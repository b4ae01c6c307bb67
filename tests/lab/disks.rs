//! Disks, arrays, filesystems and links: what fails, and what comes back.

use std::time::{Duration, Instant};

use crate::guest::{Guest, INTEL};

/// Occasions of a tolerance of `once per 1m` have to lie this far apart, as
/// `prepare` shortens it.
const NEXT_OCCASION: Duration = Duration::from_secs(6);

#[test]
fn what_disks_arrays_and_links_suffer_is_seen_and_its_end_too() {
    let Some(mut guest) = Guest::boot("disks", INTEL, &[]) else {
        return;
    };
    guest.run("modprobe raid1"); // what is absent is asked for again later
    guest.start_agent();
    guest.run("modprobe brd rd_nr=4 rd_size=20480");
    guest.run("modprobe scsi_debug dev_size_mb=16 opts=2 medium_error_start=2048 medium_error_count=8");
    guest.run("modprobe sd_mod; while [ ! -b /dev/sda ]; do sleep 0.1; done");
    link_goes_down(&mut guest);
    nvme_times_out(&mut guest);
    read_bad_sectors(&mut guest);
    let began = Instant::now();
    mirror_loses_and_regains_a_member(&mut guest);
    drive_warns_of_itself(&mut guest);
    mapped_device_fails_under_a_filesystem(&mut guest);
    mapped_device_is_only_errors(&mut guest);
    state_has_no_room(&mut guest);
    link_comes_back(&mut guest);
    bond_loses_and_regains_a_member(&mut guest);

    let wait = NEXT_OCCASION.saturating_sub(began.elapsed());
    guest.run(&format!("sleep {}", wait.as_secs()));
    // Unless filling the state's disk was the second occasion: a third,
    // after its silence, would leave it to a person.
    let medium = guest.fault("disk-medium-error", "disk/sda");
    if medium.is_none_or(|fault| fault["state"] == "tolerated") {
        read_bad_sectors(&mut guest);
    }
    nvme_times_out(&mut guest);
    guest.await_opened("disk-medium-error", "disk/sda");
    guest.await_opened("nvme-timeout", "disk/nvme0");
    for dev in ["dm-0", "dm-1"] {
        let part = format!("disk/{dev}");
        guest.await_cleared("disk-buffer-error", &part, "quiet");
    }
    for (pattern, ..) in WARNINGS {
        guest.await_cleared(pattern, "disk/nvme1", "recovered");
    }
    guest.await_cleared("network-bond-member-down", "nic/eth1", "recovered");
    guest.await_cleared("disk-medium-error", "disk/sda", "quiet");
    guest.await_cleared("filesystem-ext4-readonly", "fs/dm-0", "recovered");
    guest.await_cleared("nvme-timeout", "disk/nvme0", "recovered");
    let open = guest.open_faults();
    assert_eq!(open, [""; 0]);
}

/// The drive stands still for longer than the driver waits, twice over: it
/// aborts, then resets the controller. Much less than this rate makes QEMU
/// itself hang.
fn nvme_times_out(guest: &mut Guest) {
    let taken = "faultline_matches_total{pattern=\"nvme-timeout\"}";
    let before = guest.metric(taken);
    guest.monitor("block_set_io_throttle flash0 8192 0 0 0 0 0");
    // The first passes, the second waits for its turn.
    guest.run("dd if=/dev/nvme0n1 of=/dev/null bs=128k count=2 iflag=direct");
    guest.monitor("block_set_io_throttle flash0 0 0 0 0 0 0");
    guest.await_true("nvme-timeout takes the kernel's text", |guest| {
        guest.metric(taken) > before
    });
}

fn read_bad_sectors(guest: &mut Guest) {
    let taken = "faultline_matches_total{pattern=\"disk-buffer-read-error\"}";
    let before = guest.metric(taken);
    let read = "dd if=/dev/sda of=/dev/null bs=4k skip=250 count=20";
    assert_eq!(guest.try_run(read).0, 1, "the sectors can't be read");
    guest.await_true("the buffer cache's text is taken", |guest| {
        guest.metric(taken) > before
    });
}

fn mirror_loses_and_regains_a_member(guest: &mut Guest) {
    guest.run("mdadm --create /dev/md0 --run --metadata=1.2 --level=1 --raid-devices=2 /dev/ram0 /dev/ram1");
    // Fails where there is nothing to wait for.
    guest.try_run("mdadm --wait /dev/md0");
    guest.run("mdadm /dev/md0 --fail /dev/ram1");
    guest.await_opened("raid-array-degraded", "raid/md0");
    guest.await_opened("raid-member-faulty", "disk/ram1");
    guest.await_explained("raid-degraded", "raid/md0");
    guest.await_explained("raid-member-failed", "disk/ram1");

    guest.run("mdadm /dev/md0 --remove /dev/ram1");
    guest.run("mdadm /dev/md0 --add /dev/ram1");
    guest.await_cleared("raid-array-degraded", "raid/md0", "recovered");
    guest.await_cleared("raid-member-faulty", "disk/ram1", "recovered");
}

/// What the health log's byte of warnings says (NVM Express Base
/// Specification, SMART / Health Information log): the fault and its bit.
const WARNINGS: [(&str, u8); 3] =
    [("nvme-spare-low", 0), ("nvme-unreliable", 2), ("nvme-readonly", 3)];

/// Nothing is printed: only the log, read by ioctl, shows it.
fn drive_warns_of_itself(guest: &mut Guest) {
    let set = |guest: &Guest, bits: u8| {
        let property = "/machine/peripheral/nvme1 smart_critical_warning";
        guest.monitor(&format!("qom-set {property} {bits}"));
    };
    let bits = WARNINGS.iter().map(|(_, bit)| 1 << bit).sum();
    set(guest, bits);
    for (pattern, _) in WARNINGS {
        guest.await_opened(pattern, "disk/nvme1");
    }
    set(guest, 0);
}

/// A map that fails every request, with no filesystem on it.
fn mapped_device_is_only_errors(guest: &mut Guest) {
    guest.run("dmsetup create dead --table '0 2048 error'; dmsetup mknodes");
    // One failed read is tolerated; a lost write is not.
    let write = "dd if=/dev/zero of=/dev/mapper/dead bs=4k count=4 conv=fsync";
    assert_eq!(guest.try_run(write).0, 1, "nothing can be written");
    guest.await_opened("disk-buffer-error", "disk/dm-1");
}

/// The agent's own filesystem is full: it goes on in memory, says so, and
/// writes down what it knows when it can.
fn state_has_no_room(guest: &mut Guest) {
    let await_durable = |guest: &mut Guest, is: f64, what: &str| {
        guest.await_true(what, |guest| {
            // The store writes only when there is something to be written,
            // and fails only when its log has to grow: dozens of writes. A
            // drive that counts its failed commands would be held against.
            guest.ask(
                "dd if=/dev/zero of=/dev/mapper/dead bs=4k count=1 conv=fsync",
            );
            guest.metric("faultline_state_durable") == is
        });
    };
    for (file, block) in [("a", "64k"), ("b", "1k")] {
        guest.try_run(&format!("dd if=/dev/zero of=/state/{file} bs={block}"));
    }
    await_durable(guest, 0.0, "there is no room for the state");
    assert!(!guest.faults().is_empty());
    guest.run("rm /state/a /state/b");
    await_durable(guest, 1.0, "there is room for the state again");
}

/// A device that works, then fails every request, then works again. Two
/// arms of its table: seconds up, seconds down.
const WORKS: &str = "0 40960 flakey /dev/ram2 0 100 0";
const FAILS: &str = "0 40960 flakey /dev/ram2 0 0 100";

fn mapped_device_fails_under_a_filesystem(guest: &mut Guest) {
    let turn = |guest: &mut Guest, table: &str| {
        let suspend = "dmsetup suspend --nolockfs --noflush flaky";
        let load = format!("dmsetup load flaky --table '{table}'");
        guest.run(&format!("{suspend} && {load} && dmsetup resume flaky"));
    };
    guest.run("modprobe dm-flakey");
    guest.run(&format!("dmsetup create flaky --table '{WORKS}'"));
    guest.run("dmsetup mknodes");
    // Not busybox's own mke2fs.
    guest.run(
        "/bin/mke2fs -q -F -t ext4 -E lazy_itable_init=0 /dev/mapper/flaky",
    );
    let mount = "mount -t ext4 -o errors=remount-ro /dev/mapper/flaky /mnt";
    guest.run(mount);
    turn(guest, FAILS);
    guest.try_run("echo 3 >/proc/sys/vm/drop_caches; ls /mnt/lost+found");
    guest.try_run("dd if=/dev/zero of=/mnt/file bs=4k count=64 conv=fsync");
    guest.await_opened("filesystem-ext4-readonly", "fs/dm-0");
    guest.await_opened("disk-buffer-error", "disk/dm-0");

    turn(guest, WORKS);
    guest.run("umount /mnt");
    guest.run(mount);
}

/// Down for longer than a link may be before it is told of.
fn link_goes_down(guest: &mut Guest) {
    guest.run("ip link set eth1 up");
    guest.await_true("the link is up", |guest| {
        guest.run("cat /sys/class/net/eth1/carrier") == "1\n"
    });
    guest.monitor("set_link nic1 off");
}

fn link_comes_back(guest: &mut Guest) {
    guest.await_opened("network-link-down", "nic/eth1");
    guest.monitor("set_link nic1 on");
    guest.await_cleared("network-link-down", "nic/eth1", "recovered");
}

fn bond_loses_and_regains_a_member(guest: &mut Guest) {
    guest.run("modprobe bonding max_bonds=1 miimon=100 mode=active-backup");
    guest.run("ip link set bond0 up");
    guest.run("for nic in eth0 eth1; do ip link set $nic down; echo +$nic >/sys/class/net/bond0/bonding/slaves; done");
    guest.await_true("the bond has both", |guest| {
        let text = guest.run("cat /proc/net/bonding/bond0");
        text.matches("MII Status: up").count() == 3
    });
    guest.monitor("set_link nic1 off");
    guest.await_opened("network-bond-member-down", "nic/eth1");
    guest.monitor("set_link nic1 on");
}
