//! Why `/dev/kmsg` could not be opened, in words that say what to do.

use std::fs::read_to_string;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use super::Failure;
use super::kmsg_privilege::refusal;

/// Why the log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is not allowed.
    #[error("{missing}")]
    Permission {
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
                let missing = refusal(&path, &error);
                OpenError::Permission { missing }
            }
            _ => OpenError::Other { path, error },
        }
    }
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
