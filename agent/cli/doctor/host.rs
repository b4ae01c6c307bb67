//! What the host is like, all of it read below a root directory.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc;

use super::Check;
use crate::config::EXPECTED;
use crate::parts::census::Census;
use crate::parts::host::Labels;
use crate::parts::ids::PartId;
use crate::parts::looker::{Looker, PATIENCE};
use crate::parts::part::{Part, Realm};
use crate::sources::journal_child::may_hold_journals;
use crate::sources::kmsg_privilege as privilege;

/// The checks of the host, kernel log first.
pub fn checks(root: &Path, labels: &Labels) -> Vec<Check> {
    let mut checks = vec![
        kmsg(root),
        dmesg_restrict(root),
        printk_devkmsg(root),
        ring_size(root),
    ];
    checks.push(collector(root));
    checks.push(daemons(root));
    checks.push(journal(root));
    checks.push(log_files(root));
    checks.push(parts(root, labels));
    checks
}

/// What can be told of the parts, and what their names can't be held
/// against.
fn parts(root: &Path, labels: &Labels) -> Check {
    let name = "parts";
    let mut looker = Looker::new(root, labels.clone());
    let reading = match looker.look(PATIENCE) {
        Ok(reading) => reading,
        Err(why) => {
            let next = "look for processes in state D (ps -eo stat,comm) and \
                        at the kernel log; faults keep their kernel names";
            return Check::bad(name, why, next);
        }
    };
    if let Some(why) = reading.unread.values().next() {
        let next = "run as root: without the firmware's tables memory \
                    modules and slots have no names";
        return Check::warn(name, why.clone(), next);
    }
    let named = |slot: &str| {
        let id = PartId::new(&format!("dimm/{slot}"));
        let mut parts = reading.parts.iter();
        parts.any(|part| part.name == id || part.aliases.contains(&id))
    };
    if let Some((label, slot)) = labels.iter().find(|(_, s)| !named(s)) {
        let found = format!("the board has no memory slot {slot:?}");
        let next = format!(
            "put right where {label:?} points to in the configuration \
             (sources: inventory: labels); `faultline parts` shows the slots"
        );
        return Check::warn(name, found, &next);
    }
    let is_strange = |p: &&Part| p.realm == Realm::Edac && !p.watched;
    if let Some(module) = reading.parts.iter().find(is_strange) {
        let found = format!(
            "the memory controller's label {:?} is none of the board's",
            module.name.name()
        );
        let next = "name the slot of each label in the configuration \
                    (sources: inventory: labels)";
        return Check::warn(name, found, next);
    }
    let census = Census::default().after(&Default::default(), reading);
    let counts: Vec<String> = EXPECTED
        .iter()
        .map(|what| (what, census.count(what)))
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    match counts.is_empty() {
        true => Check::ok(name, "none of this machine's own"),
        false => Check::ok(name, counts.join(", ")),
    }
}

fn at(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// The first line of a small file.
fn line(root: &Path, path: &str) -> Option<String> {
    let text = fs::read_to_string(at(root, path)).ok()?;
    Some(text.lines().next().unwrap_or_default().trim().to_owned())
}

fn kmsg(root: &Path) -> Check {
    let name = "kernel log";
    let path = at(root, "/dev/kmsg");
    let shown = path.display();
    match privilege::check(&path, root) {
        privilege::Verdict::Readable => {}
        privilege::Verdict::Absent => {
            return Check::bad(
                name,
                format!("{shown} does not exist"),
                "in a container, mount the host's /dev/kmsg and allow the \
                 device; where that can't be, use the source `journal` or \
                 `file`",
            );
        }
        privilege::Verdict::Denied(why) => {
            let next = "grant what is missing, or use the source `journal` or \
                        `file`";
            return Check::bad(name, why, next);
        }
    }
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&path);
    // Larger than any record, which a short read would refuse (EINVAL).
    let mut buffer = [0; 16 * 1024];
    match opened.and_then(|mut file| file.read(&mut buffer)) {
        Ok(_) => Check::ok(name, format!("{shown} can be read")),
        // Records were overwritten before the first read: it is readable.
        Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {
            Check::ok(name, format!("{shown} can be read"))
        }
        Err(e) if e.kind() == ErrorKind::WouldBlock => Check::warn(
            name,
            format!("{shown} can be read and holds no record"),
            "nothing, if the ring was just cleared; else this container's \
             kernel log is cut off: mount the host's /dev/kmsg",
        ),
        Err(e) => Check::bad(
            name,
            format!("{shown}: {e}"),
            "look at the device: `ls -l` should show a character device 1, 11",
        ),
    }
}

fn dmesg_restrict(root: &Path) -> Check {
    let name = "dmesg_restrict";
    match line(root, "/proc/sys/kernel/dmesg_restrict").as_deref() {
        Some("0") => Check::ok(name, "0: every user may read the kernel log"),
        Some("1") => {
            Check::ok(name, "1: reading the kernel log takes CAP_SYSLOG")
        }
        Some(other) => Check::ok(name, format!("{other:?}")),
        None => Check::ok(name, "not known: /proc/sys can't be read"),
    }
}

fn printk_devkmsg(root: &Path) -> Check {
    let name = "printk_devkmsg";
    let found = match line(root, "/proc/sys/kernel/printk_devkmsg").as_deref() {
        Some("on") => {
            return Check::warn(
                name,
                "on: programs may write to the kernel log without limit, and \
                 push the kernel's own records out of the ring",
                "sysctl kernel.printk_devkmsg=ratelimit, unless a drill or a \
                 measurement needs it",
            );
        }
        Some("ratelimit") => "ratelimit: programs may write a little",
        Some("off") => "off: programs can't write to the kernel log",
        _ => "not known",
    };
    Check::ok(name, found)
}

/// Below this a burst of ordinary size pushes records out before anyone has
/// read them; it is the default of a small machine.
const SMALL_RING: u64 = 256 * 1024;

fn ring_size(root: &Path) -> Check {
    let name = "ring size";
    let Some((bytes, from)) = ring_bytes(root) else {
        return Check::ok(
            name,
            "not known: no log_buf_len= and no readable kernel configuration",
        );
    };
    let found = format!("at least {} KiB ({from})", bytes / 1024);
    if bytes >= SMALL_RING {
        return Check::ok(name, found);
    }
    Check::warn(
        name,
        found,
        "boot with log_buf_len=4M, so that a burst is still there to be read",
    )
}

/// From the command line, else from the configuration. The kernel may have
/// made it larger for many CPUs (log_buf_add_cpu), never smaller.
fn ring_bytes(root: &Path) -> Option<(u64, &'static str)> {
    let cmdline = line(root, "/proc/cmdline").unwrap_or_default();
    let given = cmdline
        .split(' ')
        .filter_map(|word| word.strip_prefix("log_buf_len="))
        .filter_map(kernel_size)
        .next_back();
    let built = || {
        let release = line(root, "/proc/sys/kernel/osrelease")?;
        let path = at(root, "/boot").join(format!("config-{release}"));
        let config = fs::read_to_string(path).ok()?;
        let shift: u32 = config
            .lines()
            .find_map(|l| l.strip_prefix("CONFIG_LOG_BUF_SHIFT="))?
            .parse()
            .ok()?;
        1u64.checked_shl(shift)
    };
    match (given, built()) {
        (Some(given), built) if built.is_none_or(|b| given > b) => {
            Some((given, "log_buf_len"))
        }
        (_, built) => built.map(|b| (b, "CONFIG_LOG_BUF_SHIFT")),
    }
}

/// `4M`, as memparse (lib/cmdline.c) takes it.
fn kernel_size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// The kernel's Correctable Errors Collector (drivers/ras/cec.c) takes
/// corrected memory errors away from the log until a page has had 1023.
fn collector(root: &Path) -> Check {
    let name = "RAS collector";
    let cmdline = line(root, "/proc/cmdline").unwrap_or_default();
    if cmdline.split(' ').any(|w| w == "ras=cec_disable") {
        return Check::ok(name, "off (ras=cec_disable)");
    }
    match fs::metadata(at(root, "/sys/kernel/debug/ras/cec")) {
        Ok(_) => Check::warn(
            name,
            "on: corrected memory errors stay out of the kernel log until a \
             page has had about a thousand",
            "boot with ras=cec_disable to see single corrected errors",
        ),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            Check::ok(name, "not known: debugfs can't be read without root")
        }
        Err(_) => Check::ok(name, "absent: corrected errors reach the log"),
    }
}

/// Programs that read the same errors; they do no harm, and their logs can
/// be read too.
fn daemons(root: &Path) -> Check {
    let name = "other readers";
    let known = ["rasdaemon", "mcelog", "node-problem-det"];
    let mut found: Vec<String> = Vec::new();
    for entry in fs::read_dir(at(root, "/proc")).into_iter().flatten() {
        let Ok(entry) = entry else { continue };
        let comm = fs::read_to_string(entry.path().join("comm"));
        let comm = comm.unwrap_or_default();
        if known.contains(&comm.trim()) {
            found.push(comm.trim().to_owned());
        }
    }
    found.sort();
    found.dedup();
    if found.is_empty() {
        return Check::ok(name, "none (rasdaemon, mcelog)");
    }
    let list = found.join(", ");
    Check::ok(name, format!("{list}: running beside us does no harm"))
}

fn journal(root: &Path) -> Check {
    let name = "journal";
    let dirs = ["/run/log/journal", "/var/log/journal"];
    // As the source sees it: an empty directory is left where none is kept.
    let kept = |dir: &&str| may_hold_journals(&at(root, dir));
    let there: Vec<_> = dirs.into_iter().filter(kept).collect();
    if there.is_empty() {
        return Check::ok(name, "absent: no systemd journal here");
    }
    let readable = there.iter().any(|d| fs::read_dir(at(root, d)).is_ok());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut bins = std::env::split_paths(&path);
    if !bins.any(|dir| dir.join("journalctl").is_file()) {
        return Check::warn(
            name,
            format!("in {}, and there is no journalctl", there.join(", ")),
            "install systemd's journalctl where the agent runs, or leave the \
             journal source off",
        );
    }
    if !readable {
        return Check::warn(
            name,
            format!("{} can't be read", there.join(", ")),
            "run as root or as a member of systemd-journal",
        );
    }
    Check::ok(name, format!("in {}", there.join(", ")))
}

fn log_files(root: &Path) -> Check {
    let name = "log files";
    let files = [
        "/var/log/messages",
        "/var/log/kern.log",
        "/var/log/syslog",
        "/var/log/mcelog",
    ];
    let there: Vec<_> =
        files.into_iter().filter(|f| at(root, f).is_file()).collect();
    let closed: Vec<_> = there
        .iter()
        .filter(|f| fs::File::open(at(root, f)).is_err())
        .copied()
        .collect();
    if !closed.is_empty() {
        return Check::warn(
            name,
            format!("{} can't be read", closed.join(", ")),
            "only matters if the `file` source is configured: run as root or \
             as a member of adm",
        );
    }
    match there.is_empty() {
        true => Check::ok(name, "none; the kernel log is read directly"),
        false => Check::ok(name, format!("{} exist", there.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn a_missing_kernel_log_is_bad_and_says_what_to_mount() {
        let host = host(&[]);
        let check = kmsg(host.path());
        assert_eq!(check.verdict, Verdict::Bad);
        assert!(check.next.contains("mount the host's /dev/kmsg"));
    }

    #[test]
    fn the_ring_is_as_large_as_the_larger_of_cmdline_and_build() {
        let config = ("boot/config-6.1.0", "CONFIG_LOG_BUF_SHIFT=17\n");
        let release = ("proc/sys/kernel/osrelease", "6.1.0\n");
        let built = host(&[config, release]);
        assert_eq!(
            ring_bytes(built.path()),
            Some((131_072, "CONFIG_LOG_BUF_SHIFT"))
        );
        assert_eq!(ring_size(built.path()).verdict, Verdict::Warn);
        let cmdline = ("proc/cmdline", "quiet log_buf_len=4M ro\n");
        let given = host(&[config, release, cmdline]);
        assert_eq!(ring_bytes(given.path()), Some((4 << 20, "log_buf_len")));
        assert_eq!(ring_bytes(host(&[]).path()), None);
    }

    #[test]
    fn the_collector_that_hides_corrected_errors_is_a_warning() {
        let on = host(&[("sys/kernel/debug/ras/cec/pfn", "0\n")]);
        assert_eq!(collector(on.path()).verdict, Verdict::Warn);
        let off = host(&[
            ("sys/kernel/debug/ras/cec/pfn", "0\n"),
            ("proc/cmdline", "ras=cec_disable\n"),
        ]);
        assert_eq!(collector(off.path()).verdict, Verdict::Ok);
        assert_eq!(collector(host(&[]).path()).verdict, Verdict::Ok);
    }

    #[test]
    fn a_running_rasdaemon_is_named() {
        let host = host(&[("proc/71/comm", "rasdaemon\n")]);
        assert!(daemons(host.path()).found.starts_with("rasdaemon"));
    }

    #[test]
    fn an_unlimited_devkmsg_is_a_warning() {
        let path = "proc/sys/kernel/printk_devkmsg";
        let on = host(&[(path, "on\n")]);
        assert_eq!(printk_devkmsg(on.path()).verdict, Verdict::Warn);
        let off = host(&[(path, "off\n")]);
        assert_eq!(printk_devkmsg(off.path()).verdict, Verdict::Ok);
    }

    #[test]
    fn an_empty_journal_directory_is_no_journal() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("var/log/journal");
        fs::create_dir_all(&dir).unwrap();
        let check = journal(root.path());
        assert!(check.found.starts_with("absent"), "{check:?}");
        fs::create_dir(dir.join("machine")).unwrap();
        let check = journal(root.path());
        assert!(check.found.starts_with("in /var"), "{check:?}");
    }
}
