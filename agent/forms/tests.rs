//! What has which form.

use super::*;

/// A line of each way to print user text, and its form.
const CARRIERS: &[(&str, &str)] = &[
    (
        "a.out[22806]: segfault at 8 ip 0000 sp 0000 error 4 in a.out[4+1]",
        "segfault",
    ),
    ("EDAC MC0: 1 UE [7]: segfault at 8 ip 1 sp 2 error 4", "segfault"),
    ("x[12]: unhandled exception: DABT (lower EL), ESR 0x92", "segfault"),
    ("x[12]: unhandled signal 11 code 0x1 at 0x0 in x[1000+1000]", "segfault"),
    ("x[1]: segfault (11) at 0 nip 1 lr 2 code 1 in x[1+1]", "segfault"),
    ("traps: x[12] general protection fault ip:1 sp:2 error:0 in x", "trap"),
    ("x[12] general protection ip:1 sp:2 error:0 in libc.so[1+1]", "trap"),
    ("traps: x[12] trap divide error ip:1 sp:2 error:0 in x[1+1]", "trap"),
    ("x[12] trap invalid opcode ip:1 sp:2 error:0 in x[1+1]", "trap"),
    ("x[1] vsyscall attempted with vsyscall=none ip:1 cs:33 sp:2", "trap"),
    ("signal: x[1] overflowed sigaltstack", "trap"),
    ("signal: \\x0aSERR: [1] overflowed sigaltstack", "trap"),
    ("traps: \\x0aSERR: [1] attempts to use CLI/STI, pretending", "trap"),
    ("raw_sendmsg: x forgot to set AF_INET. Fix it!", "comm"),
    ("usb 1-1: usbfs: process 1 (x) did not claim interface 0", "comm"),
    ("Memory failure: 0x1: x:12 not killed", "sigbus"),
    ("x(12): READ block 8 on sda1 (8 sectors)", "comm-paren"),
    ("EXT4-fs (sdb1): last mounted on /x", "path"),
    ("umip: x[1] ip:1 sp:2: SGDT instruction cannot be used", "trap"),
    (
        "x86/split lock detection: #AC: x/12 took a split_lock trap at address: 0x1",
        "trap",
    ),
    ("x[12] bad frame in rt_sigreturn frame:1 ip:2 sp:3 orax:4", "trap"),
    (
        "process '/tmp/EDAC MC0' started with executable stack",
        "process-started",
    ),
    ("process '/a/very/long/path/that/is/cut", "process-started"),
    ("audit: type=1400 audit(1.2:3): apparmor=\"DENIED\" comm=\"x\"", "audit"),
    ("x invoked oom-killer: gfp_mask=0x1, order=0", "oom"),
    ("oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=x", "oom"),
    ("Out of memory: Killed process 12 (x) total-vm:1kB", "oom"),
    ("Memory cgroup out of memory: Killed process 12 (x)", "oom"),
    ("Task in /a killed as a result of limit of /a", "oom"),
    ("Tasks in /a are going to be killed due to memory.oom.group set", "oom"),
    ("oom_reaper: reaped process 12 (x), now anon-rss:0kB", "oom"),
    (
        "[   1234]  1000  1234    56789      123    45056        0             0 x",
        "oom",
    ),
    (
        "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
        "oom",
    ),
    ("Memory cgroup stats for /kubepods/x:", "cgroup"),
    ("INFO: task x:12 blocked for more than 122 seconds.", "hung-task"),
    (
        "watchdog: BUG: soft lockup - CPU#7 stuck for 22s! [x:107]",
        "soft-lockup",
    ),
    ("BUG: Bad page state in process x  pfn:15dd75", "bad-page"),
    ("BUG: Bad page map in process x  pte:1 pmd:2", "bad-page"),
    ("BUG: Bad rss-counter state mm:1 type:MM_FILEPAGES val:1", "bad-page"),
    (
        "Memory failure: 0x1: Sending SIGBUS to x:12 due to hardware memory corruption",
        "sigbus",
    ),
    (
        "MCE: Killing x:12 due to hardware memory corruption fault at 1",
        "sigbus",
    ),
    (
        "Memory failure: 0x1: forcibly killing x:12 because of failure to unmap corrupted page",
        "sigbus",
    ),
    (
        "EXT4-fs error (device dm-2): ext4_get_branch:171: inode #8: block 2: comm cp: invalid block",
        "ext4-comm",
    ),
    ("EXT4-fs warning (device sda1): ext4_x:12: comm x: bad", "ext4-comm"),
    (
        "BTRFS warning (device sdc1): checksum error at logical 1, length 4096, links 1 (path: a b)",
        "btrfs-path",
    ),
    ("BTRFS: device label x devid 1 transid 5 /dev/sda", "volume-name"),
    (
        "BTRFS: device fsid 1 devid 1 transid 5 /dev/sda scanned by x (12)",
        "volume-name",
    ),
    ("UDF-fs: INFO Mounting volume 'x', timestamp 2020", "volume-name"),
    ("usb 1-5: Product: x", "device-name"),
    ("usb 1-5: Manufacturer: x", "device-name"),
    ("usb 1-5: SerialNumber: x", "device-name"),
    ("input: x as /devices/virtual/input/input7", "device-name"),
    (
        "hid-generic 0003:046D:C52B.0001: input,hidraw0: USB HID v1.11 Mouse [x] on usb-1/input0",
        "device-name",
    ),
    ("x: IN=eth0 OUT= MAC=1 SRC=1.2.3.4 DST=1.2.3.4", "netfilter"),
    (
        "x: page allocation failure: order:4, mode:0x1, nodemask=(null),cpuset=/,mems_allowed=0",
        "alloc-failure",
    ),
    ("BUG: scheduling while atomic: x/12/0x00000002", "sched"),
    ("task:x               state:D stack:    0 pid:   12", "sched"),
    ("note: x[12] exited with preempt_count 1", "sched"),
    (
        "in_atomic(): 1, irqs_disabled(): 0, non_block: 0, pid: 1, name: x",
        "sched",
    ),
    (
        "BUG: using smp_processor_id() in preemptible [00000000] code: x/12",
        "sched",
    ),
    ("1 lock held by x/12:", "sched"),
    ("x               D    0  1234      2 0x80004000", "sched"),
    (
        "x               R  running task        0  1234      2 0x80004000",
        "sched",
    ),
    ("x (123): drop_caches: 3", "comm-paren"),
    ("mmap: x (12) uses deprecated remap_file_pages() syscall.", "comm-paren"),
    (
        "XFS: x(12) possible memory allocation deadlock size 4 in f (mode:0x1)",
        "comm-paren",
    ),
    ("cgroup: fork rejected by pids controller in /a", "cgroup"),
    ("cgroup: Unknown subsys name 'x'", "cgroup"),
    ("x cpuset=/ mems_allowed=0", "cgroup"),
    ("CPU: 3 PID: 12 Comm: x Tainted: G", "comm"),
    ("CPU: 3 UID: 0 PID: 12 Comm: x Not tainted 6.12.0", "comm"),
    ("WARNING: kernel/a.c:12 at f+0x1/0x2, CPU#3: x/12", "comm"),
    ("warning: `x' uses wireless extensions", "comm"),
    ("capability: warning: `x' uses 32-bit capabilities", "comm"),
    (
        "netlink: 4 bytes leftover after parsing attributes in process `x'.",
        "comm",
    ),
    ("netlink: 'x': attribute type 1 has an invalid length.", "comm"),
    ("random: x: uninitialized urandom read (6 bytes read)", "comm"),
    (
        "x[12]: memfd_create() called without MFD_EXEC or MFD_NOEXEC_SEAL set",
        "comm",
    ),
    ("Pid 12(x) over core_pipe_limit", "comm"),
    ("NVRM: Xid (PCI:0000:3b:00): 31, pid=12, name=x, Ch 00000010", "comm"),
    ("NVRM: API mismatch: the client 'x' (pid 12)\\x0aNVRM: has", "comm"),
    (
        "i915 0000:00:02.0: [drm] GPU HANG: ecode 12:1:85dffffb, in x [12]",
        "comm",
    ),
    (
        "xe 0000:00:02.0: [drm] GT0: Timedout job: seqno=1, guc_id=2, flags=0x0 in x [12]",
        "comm",
    ),
    (
        "amdgpu 0000:0c:00.0: amdgpu: Process information: process x pid 12 thread x:cs0 pid 13",
        "comm",
    ),
    (
        "nouveau 0000:01:00.0: fifo: read fault on channel 5 [00ff8e3000 x[12]]",
        "comm",
    ),
    ("x: attempt to access beyond end of device\\x0asda: rw=0", "comm"),
    ("process 12 (x) no longer affine to cpu3", "comm"),
    ("msr: Write to unrecognized MSR 0x1 by x (pid: 12).", "comm"),
    ("x86/PAT: x:12 map pfn expected mapping type write-back", "comm"),
    ("File: /x PID: 12 Comm: x", "path"),
    ("overlayfs: failed to resolve 'x': -2", "path"),
    ("overlay: Unknown parameter 'x'", "path"),
    (
        "xfs filesystem being mounted at /x supports timestamps until 2038",
        "path",
    ),
    ("NFS: directory a/b contains a readdir loop.", "path"),
    ("aops:f ino:12 dentry name:\"x\"", "path"),
    ("BUG: Dentry 1{i=1,n=x} still in use (1) [unmount of tmpfs]", "path"),
    ("udf: bad mount option \"x\" or missing value", "path"),
    ("encrypted_key: keyword 'x' not recognized", "other"),
    ("[U] x", "other"),
];

/// Lines that look alike and carry no text of users.
const NEAR_MISSES: &[&str] = &[
    "kvm [12633]: vcpu0 unhandled rdmsr: 0x1c9",
    "watchdog: BUG: soft lockup - CPU#18 stuck for 22s!",
    "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!",
    "traps: PANIC: double fault, error_code: 0x0",
    "general protection fault: 0000 [#1] SMP PTI",
    "general protection fault, probably for non-canonical address 0x1: 0000 [#1]",
    "pcieport 0000:00:01.1:    [12] Timeout",
    "EXT4-fs error (device sda1) in ext4_reserve_inode_write:12: Journal has aborted",
    "IRQ 45: no longer affine to CPU3",
    "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
    "NVRM: Xid (PCI:0000:3b:00): 48, pid=1234, An uncorrectable double bit error",
    "BTRFS: device fsid 1 devid 1 transid 5 /dev/sda",
    "overlayfs: upper fs does not support RENAME_WHITEOUT.",
    "mlx5_core 0000:6f:08.2: mlx5_cmd_out_err:808:(pid 650): CREATE_TIS(0x912)",
    "attempt to access beyond end of device",
    "{1}[Hardware Error]: event severity: fatal",
    "lpfc 0000:0b:00.0: 1:(0):0748 abort handler timed out",
    "AppArmor: AppArmor initialized",
    "Memory failure: 0x79d6c8: recovery action for unsplit thp: Ignored",
    "",
    "[",
    "0x00000000",
];

#[test]
fn text_chosen_by_users_is_recognised_wherever_the_kernel_prints_it() {
    for (line, form) in CARRIERS {
        assert_eq!(form_of(line.as_bytes()), *form, "{line}");
        assert!(NAMES.contains(form));
    }
}

#[test]
fn lines_that_only_look_alike_have_no_form() {
    for line in NEAR_MISSES {
        assert_eq!(form_of(line.as_bytes()), "none", "{line}");
    }
}

#[test]
fn every_form_of_the_table_is_named() {
    for rule in RULES {
        assert!(NAMES.contains(&rule.form), "{}", rule.form);
        assert!(rule.literal.len() >= 2, "{}", rule.literal);
    }
}

#[test]
fn a_hostile_name_cannot_hide_the_form() {
    let hostile =
        ["EDAC MC0: 1 UE ", "a\\x0aEDAC MC0: ", "INFO: task x", "\\x5cx0a"];
    for name in hostile {
        let line =
            format!("{name}[12]: segfault at 8 ip 1 sp 2 error 4 in {name}");
        assert_ne!(form_of(line.as_bytes()), "none", "{line}");
        let line = format!("{name}: page allocation failure: order:4");
        assert_ne!(form_of(line.as_bytes()), "none", "{line}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(raw: Vec<u8>) {
        form_of(&raw);
    }

    #[test]
    fn no_bytes_around_the_literals_panic(
        before: Vec<u8>, after: Vec<u8>, rule in 0..RULES.len(),
    ) {
        let literal = RULES[rule].literal.as_bytes();
        form_of(&[&before, literal, &after].concat());
        form_of(&[literal, &after].concat());
    }
}

#[test]
fn a_name_that_begins_like_another_form_does_not_choose_the_form() {
    let forged = |comm: &str, form| {
        let line = format!(
            "{comm}[13040]: segfault at 8 ip 00000000004000b2 sp \
             00007fffbc6c61e0 error 4 in MCE: Killing java:4242 due to \
             hardware memory corruption fault at 7f12a4440440[b2,400000+1000]"
        );
        assert_eq!(form_of(line.as_bytes()), form, "{line}");
    };
    forged("MCE: Killing ja", "segfault");
    forged("INFO: task x:1 ", "segfault");
    forged("audit: type=1", "segfault");
    forged("\\x0aBUG: Bad pag", "segfault");
    let oom = "MCE: Killing ja invoked oom-killer: gfp_mask=0x100cca";
    assert_eq!(form_of(oom.as_bytes()), "oom");
}
