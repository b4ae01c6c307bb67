//! Why `/dev/kmsg` could not be opened, in words that say what to do.

use std::fs::read_to_string;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use super::Failure;

/// CAP_SYSLOG (include/uapi/linux/capability.h).
const CAP_SYSLOG: u32 = 34;

/// Why the log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is not allowed.
    #[error("may not read {}: {missing}", path.display())]
    Permission {
        /// The device.
        path: PathBuf,
        /// What is missing and how to get it.
        missing: String,
    },
    /// There is no such file.
    #[error(
        "there is no {}; in a container, mount the host's /dev/kmsg",
        path.display()
    )]
    Missing {
        /// The device.
        path: PathBuf,
    },
    /// Anything else.
    #[error("failed to open {}: {error}", path.display())]
    Other {
        /// The device.
        path: PathBuf,
        /// What open(2) said.
        error: Error,
    },
}

impl OpenError {
    /// What open(2)'s error means here.
    pub fn of(path: &Path, error: Error) -> OpenError {
        let path = path.to_owned();
        match error.kind() {
            ErrorKind::NotFound => OpenError::Missing { path },
            ErrorKind::PermissionDenied => {
                let missing = missing(error.raw_os_error());
                OpenError::Permission { path, missing }
            }
            _ => OpenError::Other { path, error },
        }
    }
}

/// What is missing. EACCES comes from the file's mode; EPERM from
/// kernel.dmesg_restrict, printk.devkmsg=off or the device cgroup.
fn missing(errno: Option<i32>) -> String {
    if errno == Some(nix::libc::EACCES) {
        return "its mode does not allow it; run as root".into();
    }
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    let restrict = read_to_string("/proc/sys/kernel/dmesg_restrict");
    let restricted = restrict.is_ok_and(|text| text.trim() == "1");
    if restricted && !has_capability(&status, CAP_SYSLOG) {
        return "CAP_SYSLOG is missing and kernel.dmesg_restrict is 1; run \
                as root, or give the capability (systemd: \
                AmbientCapabilities=CAP_SYSLOG; Kubernetes: \
                securityContext.capabilities.add: [SYSLOG])"
            .into();
    }
    "the kernel refuses although CAP_SYSLOG is not what is missing; in a \
     container, allow the device (Kubernetes: privileged: true), and on the \
     host, boot without printk.devkmsg=off"
        .into()
}

fn has_capability(status: &str, capability: u32) -> bool {
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    let effective = line.and_then(|l| u64::from_str_radix(l.trim(), 16).ok());
    effective.is_some_and(|set| set >> capability & 1 == 1)
}

/// This boot's id. A root without it (a container's /host without /proc) has
/// the same kernel as we.
///
/// # Errors
/// There is none to be read.
pub fn boot_id(path: &Path) -> Result<String, Failure> {
    let own = Path::new("/proc/sys/kernel/random/boot_id");
    let text = read_to_string(path).or_else(|_| read_to_string(own));
    match text {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => Err(Failure::of("failed to read the boot id", &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_is_missing_and_how_to_get_it() {
        let error = Error::from_raw_os_error(nix::libc::EACCES);
        let text = OpenError::of(Path::new("/dev/kmsg"), error).to_string();
        assert_eq!(
            text,
            "may not read /dev/kmsg: its mode does not allow it; run as root"
        );
    }

    #[test]
    fn the_effective_set_tells_a_capability() {
        let status = "Name:\tx\nCapEff:\t0000000400000000\n";
        assert!(has_capability(status, CAP_SYSLOG));
        assert!(!has_capability("CapEff:\t0000000000000000\n", CAP_SYSLOG));
        assert!(!has_capability("", CAP_SYSLOG));
    }
}
