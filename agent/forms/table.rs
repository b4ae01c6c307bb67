//! The table of forms: a literal that every record of the form has, and what
//! else must hold.
//!
//! Written from the format strings of Linux 4.18 to 6.18; each comment names
//! where the kernel prints it.

/// One way to recognise a form.
pub(super) struct Rule {
    pub(super) literal: &'static str,
    pub(super) form: &'static str,
    when: When,
}

/// What else must hold besides the literal.
enum When {
    /// The record begins with the literal.
    Start,
    /// The record begins with the literal and has this further on.
    StartWith(&'static [&'static str]),
    /// Nothing.
    Anywhere,
    /// The record begins with one of these.
    After(&'static [&'static str]),
    /// One of these follows somewhere.
    Before(&'static [&'static str]),
    /// A check of its own, given the record and where the literal begins.
    Check(fn(&[u8], usize) -> bool),
    /// The same, for a literal that holds only behind the number of a
    /// process: too short to be looked for alone.
    Numbered(fn(&[u8], usize) -> bool),
}

use When::{After, Anywhere, Before, Check, Numbered, Start, StartWith};

impl Rule {
    /// Whether the record `raw`, which has the literal at `at`, has the form.
    pub(super) fn holds(&self, raw: &[u8], at: usize) -> bool {
        let rest = || &raw[at + self.literal.len()..];
        let any = |text: &[u8], words: &[&str]| {
            words.iter().any(|word| has(text, word.as_bytes()))
        };
        match self.when {
            Start => at == 0,
            StartWith(words) => at == 0 && any(rest(), words),
            Anywhere => true,
            After(words) => {
                words.iter().any(|word| raw.starts_with(word.as_bytes()))
            }
            Before(words) => any(rest(), words),
            Check(check) | Numbered(check) => check(raw, at),
        }
    }

    /// The texts to look for, each with how far into it the literal begins.
    pub(super) fn texts(&self) -> Vec<(Vec<u8>, usize)> {
        let with = |before: String| {
            (format!("{before}{}", self.literal).into_bytes(), before.len())
        };
        match self.when {
            // The prefilter looks for no less than four bytes in one pass.
            Numbered(_) if self.literal.len() < 3 => {
                let two = (0..100).map(|n| with(format!("{n:02}")));
                two.chain((0..10).map(|n| with(format!("[{n}")))).collect()
            }
            Numbered(_) => (0..10).map(|n| with(n.to_string())).collect(),
            _ => vec![with(String::new())],
        }
    }
}

const fn rule(literal: &'static str, form: &'static str, when: When) -> Rule {
    Rule { literal, form, when }
}

/// In the order of precedence: first the forms that begin with the user's own
/// text, which could be made to look like the beginning of any other; then
/// what the record begins with.
pub(super) const RULES: &[Rule] = &[
    // `name[123]: segfault at …`, `name[123] trap …`: whatever the name says.
    // A program that is named to look like one of these can only hide what
    // the kernel prints of that program itself.
    rule("]: segfault at ", "segfault", Check(name_and_pid_first)),
    rule("]: unhandled ", "segfault", Check(name_and_pid_first)),
    rule("] trap ", "trap", Check(name_and_pid_first)),
    rule("] general protection", "trap", Check(name_and_pid_first)),
    rule(" invoked oom-killer: ", "oom", Check(name_first)),
    rule(": page allocation failure: ", "alloc-failure", Check(name_first)),
    rule("): drop_caches: ", "comm-paren", Check(name_first)),
    // kernel/audit.c, when no auditd listens; SELinux, AppArmor, seccomp.
    rule("audit: ", "audit", Start),
    rule("type=", "audit", StartWith(&["audit("])),
    // fs/exec.c; the path can be 4 KiB, so `started` may be cut off.
    rule("process '", "process-started", Start),
    // mm/oom_kill.c, mm/memcontrol.c
    rule("oom-kill:", "oom", Start),
    rule("Out of memory: Kill", "oom", Start),
    rule("Out of memory: OOM victim", "oom", Start),
    rule("Memory cgroup out of memory: ", "oom", Start),
    rule("oom_reaper: ", "oom", Start),
    rule("Killed process ", "oom", Start),
    rule("Kill process ", "oom", Start),
    rule("Task in ", "oom", Start),
    rule("Tasks in /", "oom", Start),
    rule("  pid  ]   uid  tgid", "oom", After(&["["])),
    rule(" pid ]   uid  tgid", "oom", After(&["["])),
    rule("Memory cgroup stats for ", "cgroup", Start),
    // kernel/hung_task.c, sched/core.c, kernel/exit.c
    rule("INFO: task ", "hung-task", Start),
    rule("task:", "sched", Start),
    rule("note: ", "sched", StartWith(&["] exited with"])),
    // mm/page_alloc.c, mm/memory.c, kernel/fork.c
    rule("BUG: Bad page ", "bad-page", Start),
    rule("BUG: Bad rss-counter", "bad-page", Start),
    // mm/memory-failure.c, arch/x86/mm/fault.c
    rule("Sending SIGBUS to ", "sigbus", Anywhere),
    rule("forcibly killing ", "sigbus", Anywhere),
    rule("Error sending signal to ", "sigbus", Anywhere),
    rule(": Killing ", "sigbus", After(&["MCE", "Memory failure"])),
    rule(" not killed", "sigbus", After(&["MCE", "Memory failure"])),
    // fs/ext4/super.c; also ext2 and ext3 by the ext4 driver
    rule(" comm ", "ext4-comm", After(&["EXT", "LDISKFS"])),
    rule("last mounted on ", "path", Anywhere),
    rule("(path: ", "btrfs-path", After(&["BTRFS"])),
    // fs/btrfs/volumes.c: the label, and since 5.6 the program that scanned
    rule("BTRFS: device label ", "volume-name", Start),
    rule("scanned by ", "volume-name", After(&["BTRFS"])),
    rule("UDF-fs: ", "volume-name", StartWith(&["olume '"])),
    // drivers/usb/core/hub.c, drivers/input/input.c, drivers/hid/hid-core.c
    rule(": Product: ", "device-name", After(&["usb "])),
    rule(": Manufacturer: ", "device-name", After(&["usb "])),
    rule(": SerialNumber: ", "device-name", After(&["usb "])),
    rule("input: ", "device-name", Start),
    rule(" HID v", "device-name", Before(&["["])),
    // kernel/cgroup/*.c
    rule("cgroup: ", "cgroup", StartWith(&["'", "\"", "/", "("])),
    rule("fork rejected by pids controller", "cgroup", Anywhere),
    rule("created nested cgroup for", "cgroup", Anywhere),
    // net/netfilter/nf_log_syslog.c: the prefix is the administrator's
    rule("OUT=", "netfilter", Check(after_in)),
    rule(" ARP ", "netfilter", Check(after_in)),
    // fs/overlayfs, fs/fs_context.c, fs/namespace.c: mounts that user
    // namespaces allow
    rule("overlayfs: ", "path", StartWith(&["'", "\"", "("])),
    rule("Unknown parameter '", "path", Anywhere),
    rule("Bad value for '", "path", Anywhere),
    rule("Bad value '", "path", Anywhere),
    rule("bad mount option \"", "path", Anywhere),
    rule("Deprecated parameter '", "path", Anywhere),
    rule("nrecognized mount option \"", "path", Anywhere),
    rule("filesystem being mounted at ", "path", Anywhere),
    rule("filesystem being remounted at ", "path", Anywhere),
    rule("supports timestamps until", "path", Anywhere),
    rule("File: ", "path", Start),
    rule("NFS: directory ", "path", Start),
    rule("CIFS: Attempting to mount ", "path", Start),
    rule("no channels available for device ", "path", Anywhere),
    rule("dentry name:", "path", Anywhere),
    rule("BUG: Dentry ", "path", Start),
    rule(" vm_flags:", "path", Before(&["file:"])),
    rule("ntfs3", "path", StartWith(&["ino="])),
    rule("SELinux: ", "path", StartWith(&["ontext"])),
    // security/: paths and command lines
    rule("ptrace ", "comm", Start),
    rule("was attempted by \"", "comm", Anywhere),
    rule("LoadPin: ", "comm", Start),
    rule("Lockdown: ", "comm", Start),
    // security/keys, crypto/, drivers/char/ttyprintk.c
    rule("encrypted_key: ", "other", Start),
    rule("trusted_key: ", "other", Start),
    rule("request_module: ", "other", Start),
    rule("alg: No test for ", "other", Start),
    rule("AppArmor: ", "other", StartWith(&["'"])),
    rule("[U] ", "other", Start),
    // arch/*/mm/fault.c, arch/x86/kernel/traps.c and their like
    rule("]: segfault", "segfault", Anywhere),
    rule("]: unhandled ", "segfault", Anywhere),
    rule("User process fault:", "segfault", Anywhere),
    rule("sending SIG", "segfault", Anywhere),
    rule("unhandled page fault", "segfault", Anywhere),
    rule("traps: ", "trap", Check(has_pid)),
    rule(" ip:", "trap", Before(&[" sp:"])),
    rule("] trap ", "trap", Anywhere),
    rule("] general protection", "trap", Anywhere),
    rule("attempts to use CLI/STI", "trap", Anywhere),
    rule("overflowed sigaltstack", "trap", Anywhere),
    rule("took a split_lock trap", "trap", Anywhere),
    rule("took a bus_lock trap", "trap", Anywhere),
    rule("Alignment trap: ", "trap", Anywhere),
    rule(": unaligned access to", "trap", Anywhere),
    rule(" invoked oom-killer", "oom", Anywhere),
    rule("memory.oom.group set", "oom", Anywhere),
    // kernel/watchdog.c
    rule(" stuck for ", "soft-lockup", Before(&["! ["])),
    // mm/page_alloc.c, mm/slub.c: memcg caches have the cgroup's name
    rule("page allocation failure", "alloc-failure", Anywhere),
    rule("page allocation stalls", "alloc-failure", Anywhere),
    rule("SLUB: Unable to allocate", "alloc-failure", Anywhere),
    rule("  cache: ", "alloc-failure", Start),
    // kernel/sched/core.c, kernel/workqueue.c, lib/smp_processor_id.c
    rule("scheduling while atomic: ", "sched", Anywhere),
    rule("in_atomic(): ", "sched", Before(&["name: "])),
    rule("workqueue leaked ", "sched", Anywhere),
    rule("in preemptible [", "sched", Anywhere),
    rule("psi: inconsistent task state", "sched", Anywhere),
    rule("PF_MEMALLOC task ", "sched", Anywhere),
    // kernel/locking/lockdep.c
    rule("locks held by ", "sched", Anywhere),
    rule("lock held by ", "sched", Anywhere),
    rule("still has locks held", "sched", Anywhere),
    rule("locks still held!", "sched", Anywhere),
    rule("is trying to acquire lock", "sched", Anywhere),
    // mm/mmap.c, fs/proc/base.c, fs/drop_caches.c, fs/xfs/kmem.c:
    // `name (123): …`
    rule("): ", "comm-paren", Numbered(after_pid_in_parens)),
    rule("): READ block ", "comm-paren", Anywhere),
    rule("): WRITE block ", "comm-paren", Anywhere),
    rule("): dirtied inode ", "comm-paren", Anywhere),
    rule("exceed data ulimit", "comm-paren", Anywhere),
    rule("remap_file_pages()", "comm-paren", Anywhere),
    rule("used greatest stack depth", "comm-paren", Anywhere),
    rule("oom_adj is deprecated", "comm-paren", Anywhere),
    rule("possible memory allocation deadlock", "comm-paren", Anywhere),
    // cpuset_print_current_mems_allowed, kernel/cgroup/cpuset.c
    rule("cpuset=", "cgroup", Anywhere),
    // Programs named by drivers of GPUs
    rule("NVRM: Xid ", "comm", Check(xid_names_a_program)),
    rule("the client '", "comm", After(&["NVRM"])),
    rule(" thread ", "comm", Check(between_processes)),
    rule(" in ", "comm", Check(before_pid_in_brackets)),
    rule("]]", "comm", Numbered(after_pid_in_brackets)),
    rule("Fence expiration time out", "comm", Anywhere),
    rule("offending task:", "comm", Anywhere),
    // `name[123]: …`, whoever prints it
    rule("]: ", "comm", Numbered(after_pid_in_brackets)),
    // lib/dump_stack.c, kernel/panic.c, arch/*/kernel/process.c
    rule("Comm: ", "comm", Anywhere),
    rule("comm=", "comm", Anywhere),
    rule("cmdline=", "comm", Check(quoted_after)),
    rule("(pid: ", "comm", Anywhere),
    rule(", CPU#", "comm", Check(program_after_cpu)),
    rule(": comm ", "comm", Anywhere),
    rule(" by task ", "comm", Before(&["/"])),
    // kernel/capability.c, net/wireless, net/core/sock.c, lib/nlattr.c
    rule("warning: `", "comm", Anywhere),
    rule("process `", "comm", Anywhere),
    rule("netlink: '", "comm", Anywhere),
    rule("uses obsolete ", "comm", Anywhere),
    rule("uses deprecated ", "comm", Anywhere),
    rule("Use of int in ", "comm", Anywhere),
    rule("Use of struct ", "comm", Anywhere),
    // drivers/char/random.c, kernel/futex, mm/memfd.c, kernel/trace
    rule("uninitialized urandom read", "comm", Anywhere),
    rule("fix this program", "comm", Anywhere),
    rule("memfd_create() ", "comm", Anywhere),
    rule("] is installing a program", "comm", Anywhere),
    rule("potentially unexpected fatal signal", "comm", Anywhere),
    rule("Watchdog Timeout (", "comm", Anywhere),
    rule("no longer affine to cpu", "comm", After(&["process "])),
    // fs/coredump.c, fs/binfmt_elf.c
    rule("dumped core", "comm", Anywhere),
    rule("over core_pipe_limit", "comm", Anywhere),
    rule("has RLIMIT_CORE", "comm", Anywhere),
    rule("Core dump to ", "comm", Anywhere),
    rule("coredump: ", "comm", StartWith(&["("])),
    rule("elf segment at", "comm", Anywhere),
    // net/ipv4/raw.c, drivers/usb/core/devio.c
    rule("forgot to set AF_INET", "comm", Anywhere),
    rule("usbfs: process ", "comm", Anywhere),
    // block/, drivers/scsi/sg.c, drivers/tty, drivers/infiniband
    rule(": attempt to access beyond end of device", "comm", Anywhere),
    rule("guessing data in;", "comm", Anywhere),
    rule("not setting count and/or", "comm", Anywhere),
    rule("is using a deprecated", "comm", Anywhere),
    rule("is using deprecated", "comm", Anywhere),
    rule("changed security contexts", "comm", Anywhere),
    rule(": sending ioctl ", "comm", Anywhere),
    // arch/x86/mm/pat, drivers/char/mem.c, arch/x86/kernel/msr.c
    rule("x86/PAT: ", "comm", Check(colon_pid_after)),
    rule("tried to access /dev/mem", "comm", Anywhere),
    rule("Write to unrecognized MSR", "comm", Anywhere),
];

/// Whether `text` has `word`.
fn has(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// How many decimal digits `text` ends with.
fn digits_at_end(text: &[u8]) -> usize {
    text.iter().rev().take_while(|b| b.is_ascii_digit()).count()
}

/// How many decimal digits `text` begins with.
fn digits_at_start(text: &[u8]) -> usize {
    text.iter().take_while(|b| b.is_ascii_digit()).count()
}

/// `name[123` ends at `at`. A blank before the bracket is another thing:
/// `kvm [123]: `, ` [12] Timeout`; but not where a line break, which the
/// kernel does not print so, shows that a user chose what is there.
fn after_pid_in_brackets(raw: &[u8], at: usize) -> bool {
    let before = &raw[..at];
    let digits = digits_at_end(before);
    let [.., last, b'['] = &before[..before.len() - digits] else {
        return false;
    };
    digits > 0 && (*last != b' ' || has(before, b"\\x0a"))
}

/// The longest name of a program, as `/dev/kmsg` escapes it: TASK_COMM_LEN is
/// 16 with its end, and each byte may take four; then `[` and a pid.
const NAME_AND_PID_MAX: usize = 15 * 4 + 12;

/// Nothing but the name of a program can stand before `at`.
fn name_first(_raw: &[u8], at: usize) -> bool {
    at <= NAME_AND_PID_MAX
}

/// Nothing but `name[123` can stand before `at`; the name may end in a blank.
fn name_and_pid_first(raw: &[u8], at: usize) -> bool {
    let digits = digits_at_end(&raw[..at]);
    at <= NAME_AND_PID_MAX && digits > 0 && raw[..at - digits].ends_with(b"[")
}

/// `IN=`, the interface that a packet came by, stands before.
fn after_in(raw: &[u8], at: usize) -> bool {
    has(&raw[..at], b"IN=")
}

/// `name (123` ends at `at`.
fn after_pid_in_parens(raw: &[u8], at: usize) -> bool {
    let before = &raw[..at];
    let digits = digits_at_end(before);
    digits > 0 && before[..before.len() - digits].ends_with(b" (")
}

/// ` in name [123]`: i915's and xe's GPU hangs.
fn before_pid_in_brackets(raw: &[u8], at: usize) -> bool {
    let rest = &raw[at..];
    let Some(open) = rest.windows(2).position(|w| w == b" [") else {
        return false;
    };
    let number = &rest[open + 2..];
    let digits = digits_at_start(number);
    digits > 0 && number.get(digits) == Some(&b']')
}

/// `[123]` stands somewhere: `traps: name[123] general protection`, but not
/// `traps: PANIC: double fault`.
fn has_pid(raw: &[u8], _at: usize) -> bool {
    let ends = raw.iter().enumerate().filter(|(_, b)| **b == b']');
    ends.into_iter().any(|(at, _)| after_pid_in_brackets(raw, at))
}

/// `Process name pid 1 thread name pid 1`, as amdgpu prints it.
fn between_processes(raw: &[u8], at: usize) -> bool {
    has(&raw[..at], b"rocess ")
}

/// An Xid names a program unless it says `name=<unknown>`; drivers before
/// 5xx print only `pid=`.
fn xid_names_a_program(raw: &[u8], _at: usize) -> bool {
    let name = b" name=";
    let at = raw.windows(name.len()).position(|w| w == name);
    at.is_some_and(|at| !raw[at + name.len()..].starts_with(b"<unknown>"))
}

/// `cmdline="…"`.
fn quoted_after(raw: &[u8], at: usize) -> bool {
    raw[at + b"cmdline=".len()..].first() == Some(&b'"')
}

/// `WARNING: file:1 at fn, CPU#2: name/3` (6.18, kernel/panic.c).
fn program_after_cpu(raw: &[u8], at: usize) -> bool {
    let rest = &raw[at + b", CPU#".len()..];
    let rest = &rest[digits_at_start(rest)..];
    rest.starts_with(b": ") && has(rest, b"/")
}

/// `x86/PAT: name:123 map pfn …`.
fn colon_pid_after(raw: &[u8], at: usize) -> bool {
    let rest = &raw[at + b"x86/PAT: ".len()..];
    let mut colons = rest.iter().enumerate().filter(|(_, b)| **b == b':');
    colons.any(|(at, _)| {
        let digits = digits_at_start(&rest[at + 1..]);
        digits > 0 && rest.get(at + 1 + digits) == Some(&b' ')
    })
}

/// A row of the OOM killer's table of tasks: `[  123]  1000  123  4567 … name`
/// (mm/oom_kill.c, dump_task).
pub(super) fn is_task_row(raw: &[u8]) -> bool {
    let Some(rest) = raw.strip_prefix(b"[") else { return false };
    let rest = rest.trim_ascii_start();
    let digits = digits_at_start(rest);
    let Some(rest) = rest[digits..].strip_prefix(b"]") else { return false };
    let mut columns =
        rest.split(|b| *b == b' ').filter(|c| !c.is_empty()).take(4);
    let all_digits = |c: &[u8]| digits_at_start(c) == c.len();
    digits > 0 && columns.clone().count() == 4 && columns.all(all_digits)
}

/// The line of sched_show_task before 5.10, which no word of the kernel's
/// marks: `name            D    0  1234      2 0x80004000`.
pub(super) fn is_old_task_state(raw: &[u8]) -> bool {
    // Nearly every record ends here: the flags are its last ten bytes.
    let Some((rest, flags)) = raw.split_last_chunk::<10>() else {
        return false;
    };
    let [b'0', b'x', digits @ ..] = flags else { return false };
    if !digits.iter().all(u8::is_ascii_hexdigit) || !rest.ends_with(b" ") {
        return false;
    }
    let columns = rest.split(|b| *b == b' ').filter(|c| !c.is_empty());
    let mut columns = columns.rev();
    let mut number = || {
        let column = columns.next().unwrap_or_default();
        !column.is_empty() && digits_at_start(column) == column.len()
    };
    if !number() || !number() {
        return false;
    }
    // The free stack, or `running task`; then the state, one letter.
    let is_state = |c: &[u8]| c.len() == 1 && b"RSDTtXZPIKWNx?".contains(&c[0]);
    columns.take(4).any(is_state)
}
