//! stub
use super::{Context, End, Failure};
use std::path::{Path, PathBuf};

/// Where the kernel's log is and whose records count.
#[derive(Clone, Debug)]
pub struct Options {
    /// The device.
    pub path: PathBuf,
    /// The file with this boot's id.
    pub boot_id: PathBuf,
    /// Whether records that user space wrote are taken for the kernel's, as
    /// drills need it.
    pub accept_userspace: bool,
    /// The size of the read buffer; smaller ones lose records (tests).
    pub buffer: usize,
}

impl Options {
    /// The host's log, below `root`.
    pub fn under(root: &Path) -> Options {
        Options {
            path: root.join("dev/kmsg"),
            boot_id: root.join("proc/sys/kernel/random/boot_id"),
            accept_userspace: false,
            buffer: 16 * 1024,
        }
    }
}

/// Reads records until told to stop.
///
/// # Errors
/// When the device cannot be opened or read.
pub fn run(_options: &Options, _context: &mut Context) -> Result<End, Failure> {
    Err(Failure("not built yet".into()))
}
