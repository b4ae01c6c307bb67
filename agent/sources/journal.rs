//! stub
use super::{Context, End, Failure};
use std::path::PathBuf;

/// How the journal is read.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program, found in PATH unless it has a slash.
    pub journalctl: PathBuf,
    /// A directory of journal files instead of the system's (`-D`), as
    /// `--root /host` needs it.
    pub directory: Option<PathBuf>,
    /// Whether kernel entries are presented as kernel text; set where
    /// /dev/kmsg can't be read. Otherwise they are left out.
    pub kernel: bool,
}

impl Default for Options {
    fn default() -> Options {
        let journalctl = PathBuf::from("journalctl");
        Options { journalctl, directory: None, kernel: false }
    }
}

/// Follows the journal until told to stop.
///
/// # Errors
/// When journalctl fails.
pub fn run(_options: &Options, _context: &mut Context) -> Result<End, Failure> {
    Err(Failure("not built yet".into()))
}
