//! stub
use super::{Context, End, Failure};
use std::path::{Path, PathBuf};

/// Where the mounts are listed.
#[derive(Clone, Debug)]
pub struct Options {
    /// The mountinfo file.
    pub path: PathBuf,
}

impl Options {
    /// The host's mounts, below `root`: those of its first process.
    pub fn under(root: &Path) -> Options {
        Options { path: root.join("proc/1/mountinfo") }
    }
}

/// Reads the mounts at every change until told to stop.
///
/// # Errors
/// When the list cannot be read.
pub fn run(_options: &Options, _context: &mut Context) -> Result<End, Failure> {
    Err(Failure("not built yet".into()))
}
