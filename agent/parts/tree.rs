//! Reading `/proc` and `/sys` below a root directory, in bounded bites.
//!
//! sysfs of a dying device may hang for minutes, so nobody calls this on a
//! thread that others wait for; what is being read can be asked meanwhile.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::serials;

/// The most of one attribute that is read; sysfs gives a page at most.
const TEXT_MAX: u64 = 4096;

/// The most entries of one directory that are looked at.
const ENTRIES_MAX: usize = 16 * 1024;

/// What is being read, for whoever waits.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<PathBuf>>);

impl Progress {
    /// The file or directory that is being read, or was last.
    pub fn path(&self) -> PathBuf {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn at(&self, path: &Path) {
        path.clone_into(
            &mut self.0.lock().unwrap_or_else(PoisonError::into_inner),
        );
    }
}

/// The host's files, below a root.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
    progress: Progress,
}

impl Tree {
    /// The tree below `root`.
    pub fn new(root: &Path, progress: Progress) -> Tree {
        // Links are resolved; what they resolve to is held against this.
        let root = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
        Tree { root, progress }
    }

    fn at(&self, path: &str) -> PathBuf {
        let path = self.root.join(path);
        self.progress.at(&path);
        path
    }

    /// An attribute, tidied; `None` if it is not there, can't be read or
    /// holds nothing.
    pub fn text(&self, path: &str) -> Option<String> {
        let bytes = self.bytes(path, TEXT_MAX).ok()?;
        serials::tidy(&String::from_utf8_lossy(&bytes))
    }

    /// A whole file of lines.
    pub fn lines(&self, path: &str, most: u64) -> Vec<String> {
        let bytes = self.bytes(path, most).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.lines().map(str::to_owned).collect()
    }

    /// The first `most` bytes of a file.
    ///
    /// # Errors
    /// It can't be read.
    pub fn bytes(&self, path: &str, most: u64) -> io::Result<Vec<u8>> {
        let path = self.at(path);
        // A copied tree may hold a pipe where an attribute was.
        if !fs::metadata(&path)?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The names in a directory, sorted; none where there is no directory.
    ///
    /// # Errors
    /// It is there and can't be read.
    pub fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.at(path)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok(Vec::new());
            }
            other => other?,
        };
        let mut names = Vec::new();
        for entry in entries.take(ENTRIES_MAX) {
            let name = entry?.file_name();
            if let Some(name) = name.to_str() {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The names in a directory, or none.
    pub fn names(&self, path: &str) -> Vec<String> {
        self.list(path).unwrap_or_default()
    }

    /// Where a path leads, relative to the root.
    pub fn real(&self, path: &str) -> Option<String> {
        let real = fs::canonicalize(self.at(path)).ok()?;
        let within = real.strip_prefix(&self.root).ok()?;
        Some(within.to_str()?.to_owned())
    }

    /// The last word of where a link leads: a driver's name.
    pub fn link(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.at(path)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// Whether there is such a file.
    pub fn has(&self, path: &str) -> bool {
        fs::symlink_metadata(self.at(path)).is_ok()
    }
}
