//! stub
use super::{Context, End, Failure};
use std::path::PathBuf;

/// Which files are followed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What to follow, in order; a file that several match belongs to the
    /// first.
    pub follow: Vec<Follow>,
    /// Put before each path, `/host` in a container.
    pub root: PathBuf,
}

/// One entry of the files to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    /// A path whose last component, and others, may have `*` and `?`.
    pub glob: String,
    /// Whether its lines are the kernel's, with a syslog header.
    pub kernel: bool,
}

/// Follows the files until told to stop.
///
/// # Errors
/// When no file can be watched at all.
pub fn run(_options: &Options, _context: &mut Context) -> Result<End, Failure> {
    Err(Failure("not built yet".into()))
}
