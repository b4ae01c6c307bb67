//! Whether this process may read the kernel's log, and if not, exactly what
//! it lacks and how to get it.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;

/// CAP_SYSLOG, bit 34 (include/uapi/linux/capability.h).
const CAP_SYSLOG: u64 = 1 << 34;

/// What the check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It can be read.
    Readable,
    /// There is no such device here.
    Absent,
    /// It is there and may not be read: what is missing, how to get it.
    Denied(String),
}

/// What decides over a refusal, gathered from the system.
#[derive(Clone, Debug, Default)]
struct Facts {
    path: String,
    euid: u32,
    owner: u32,
    mode: u32,
    has_syslog: bool,
    dmesg_restrict: bool,
    printk_devkmsg: String,
}

/// Tries to open `device`; `root` is where the host's `/proc` is.
pub fn check(device: &Path, root: &Path) -> Verdict {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
        .open(device);
    let Err(error) = opened else { return Verdict::Readable };
    if error.kind() == ErrorKind::NotFound {
        return Verdict::Absent;
    }
    let errno = error.raw_os_error().map(Errno::from_raw);
    match errno {
        Some(errno @ (Errno::EACCES | Errno::EPERM)) => {
            Verdict::Denied(explain(errno, &facts(device, root)))
        }
        // A failure that is no refusal is the source's to report and retry.
        _ => Verdict::Readable,
    }
}

/// Why the kernel refused to open `device`, and what to do: what the source
/// says where the start did not find out.
pub(super) fn refusal(device: &Path, error: &std::io::Error) -> String {
    let errno = error.raw_os_error().map_or(Errno::EPERM, Errno::from_raw);
    explain(errno, &facts(device, Path::new("/")))
}

fn facts(device: &Path, root: &Path) -> Facts {
    let read = |path: &str| {
        let text = fs::read_to_string(root.join(path)).unwrap_or_default();
        text.trim().to_owned()
    };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    let effective =
        effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    let meta = fs::metadata(device).ok();
    Facts {
        path: device.display().to_string(),
        euid: nix::unistd::geteuid().as_raw(),
        owner: meta.as_ref().map_or(0, |m| m.uid()),
        mode: meta.map_or(0, |m| m.permissions().mode() & 0o777),
        has_syslog: effective.unwrap_or(0) & CAP_SYSLOG != 0,
        dmesg_restrict: read("proc/sys/kernel/dmesg_restrict") == "1",
        printk_devkmsg: read("proc/sys/kernel/printk_devkmsg"),
    }
}

/// The reasons for which the kernel refuses, in the order in which it asks
/// (devkmsg_open and check_syslog_permissions, kernel/printk/printk.c).
fn explain(errno: Errno, facts: &Facts) -> String {
    let path = &facts.path;
    if errno == Errno::EACCES {
        let what = format!(
            "{path} may not be opened by uid {} (its mode is {:04o}, its \
             owner uid {})",
            facts.euid, facts.mode, facts.owner,
        );
        return if facts.mode & 0o004 != 0 {
            format!(
                "{what}: it is on a file system mounted nodev, or a security \
                 module refuses it. In a container, run privileged or pass \
                 the host's /dev/kmsg"
            )
        } else {
            format!("{what}. Run as root, or give this user read permission")
        };
    }
    if facts.printk_devkmsg == "off" {
        return format!(
            "{path} is switched off for everyone: boot with \
             printk.devkmsg=ratelimit (now \"off\" in \
             /proc/sys/kernel/printk_devkmsg, which holds until a reboot)"
        );
    }
    if facts.dmesg_restrict && !facts.has_syslog {
        return format!(
            "the capability CAP_SYSLOG is missing, which {path} needs \
             because kernel.dmesg_restrict is 1. Run as root, or with \
             AmbientCapabilities=CAP_SYSLOG in the unit, or with \
             capabilities: {{ add: [SYSLOG] }} in the pod's securityContext; \
             or set kernel.dmesg_restrict=0"
        );
    }
    format!(
        "{path} is refused although {}: the container's device cgroup does \
         not allow it (character device 1:11). Run privileged, or allow the \
         device (docker run --device /dev/kmsg; DeviceAllow=/dev/kmsg r in \
         the unit)",
        if facts.has_syslog {
            "CAP_SYSLOG is there"
        } else {
            "kernel.dmesg_restrict is 0"
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            path: "/dev/kmsg".into(),
            euid: 1000,
            mode: 0o644,
            printk_devkmsg: "on".into(),
            ..Facts::default()
        }
    }

    #[test]
    fn each_refusal_names_what_is_missing() {
        let restricted = Facts { dmesg_restrict: true, ..facts() };
        let text = explain(Errno::EPERM, &restricted);
        assert!(text.contains("CAP_SYSLOG is missing"), "{text}");
        let off = Facts { printk_devkmsg: "off".into(), ..restricted.clone() };
        let text = explain(Errno::EPERM, &off);
        assert!(text.contains("printk.devkmsg=ratelimit"), "{text}");
        let capable = Facts { has_syslog: true, ..restricted };
        let text = explain(Errno::EPERM, &capable);
        assert!(text.contains("device cgroup"), "{text}");
        let closed = Facts { mode: 0o600, ..facts() };
        let text = explain(Errno::EACCES, &closed);
        assert!(text.contains("its mode is 0600"), "{text}");
        let text = explain(Errno::EACCES, &facts());
        assert!(text.contains("nodev"), "{text}");
    }

    #[test]
    fn a_device_that_is_not_there_is_absent() {
        let verdict = check(Path::new("/nonexistent/kmsg"), Path::new("/"));
        assert_eq!(verdict, Verdict::Absent);
    }
}
