//! Reading small files of `/proc` and `/sys` below a root directory.
//!
//! sysfs of a dying device may hang for minutes: what is being read can be
//! asked from elsewhere meanwhile, and [`crate::probe`] waits only so long.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::parts::serials;

/// The most of one attribute that is read: sysfs gives a page at most
/// (Documentation/filesystems/sysfs.rst).
const TEXT_MAX: usize = 4096;

/// The most entries of one directory that are looked at.
const ENTRIES_MAX: usize = 16 * 1024;

/// So many files that refuse are told apart; the first one is shown.
const REFUSED_MAX: usize = 64;

/// What is being read, for whoever waits, and what could not be.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    path: PathBuf,
    refused: Vec<(PathBuf, String)>,
}

impl Progress {
    /// The file or directory that is being read, or was last.
    pub fn path(&self) -> PathBuf {
        self.state().path.clone()
    }

    /// What is there and could not be read, for whatever reason of the
    /// device's: each path and why.
    pub fn refusals(&self) -> Vec<(PathBuf, String)> {
        self.state().refused.clone()
    }

    /// The same as a fragment; `None` if all that is there could be read.
    pub fn refused(&self) -> Option<String> {
        let state = self.state();
        let (path, why) = state.refused.first()?;
        let first = format!("failed to read {}: {why}", path.display());
        Some(match state.refused.len() - 1 {
            0 => first,
            more => format!("{first}; and {more} more"),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, path: &Path) {
        path.clone_into(&mut self.state().path);
    }

    /// Notes an error that is the device's: a driver that gets no answer
    /// (EIO, EREMOTEIO), or none in time. What is not there, not supported or
    /// not allowed tells nothing of it.
    fn note(&self, path: &str, error: &io::Error) {
        use nix::libc::{EIO, EREMOTEIO, ETIMEDOUT};
        let code = error.raw_os_error();
        if ![EIO, EREMOTEIO, ETIMEDOUT].map(Some).contains(&code) {
            return;
        }
        self.add(path, error.to_string());
    }

    fn add(&self, path: &str, why: String) {
        let mut state = self.state();
        let path = Path::new("/").join(path.trim_start_matches('/'));
        let known = state.refused.iter().any(|(other, _)| *other == path);
        if !known && state.refused.len() < REFUSED_MAX {
            state.refused.push((path, why));
        }
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
        let canonical = std::fs::canonicalize(root);
        let root = canonical.unwrap_or_else(|_| root.to_owned());
        Tree { root, progress }
    }

    /// Where `path`, as seen from the host's root, is for us.
    pub fn at(&self, path: &str) -> PathBuf {
        let path = self.root.join(path.trim_start_matches('/'));
        self.progress.at(&path);
        path
    }

    fn open(&self, path: &str) -> io::Result<File> {
        // A copied tree may hold a pipe where an attribute was: opening it
        // must not wait for a writer.
        OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(self.at(path))
    }

    /// A file's text without the blanks at its ends.
    ///
    /// # Errors
    /// It can't be read.
    pub fn text(&self, path: &str) -> io::Result<String> {
        self.noted(path, self.read_text(path))
    }

    fn noted<T>(&self, path: &str, read: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &read {
            self.progress.note(path, error);
        }
        read
    }

    /// Notes that a file holds what makes no sense: nothing is known of what
    /// it should tell.
    pub fn garbled(&self, path: &str, text: &str) {
        let shown = crate::escape::escape(text.as_bytes());
        let shown: String = shown.chars().take(32).collect();
        self.refuses(path, format!("it holds {shown:?}, which makes no sense"));
    }

    /// Notes that something is there and can't be read, whatever the error.
    pub fn refuses(&self, path: &str, why: String) {
        self.progress.add(path, why);
    }

    /// What of the tree could not be read.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    fn read_text(&self, path: &str) -> io::Result<String> {
        let mut buffer = [0; TEXT_MAX];
        let mut file = self.open(path)?;
        let mut length = 0;
        while length < buffer.len() {
            match file.read(&mut buffer[length..]) {
                Ok(0) => break,
                Ok(n) => length += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(String::from_utf8_lossy(&buffer[..length]).trim().to_owned())
    }

    /// A file's text as it may be shown; `None` if it is not there, can't be
    /// read or holds nothing.
    pub fn tidied(&self, path: &str) -> Option<String> {
        serials::tidy(&self.text(path).ok()?)
    }

    /// The first `most` bytes of a file.
    ///
    /// # Errors
    /// It can't be read.
    pub fn bytes(&self, path: &str, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self
            .open(path)
            .and_then(|file| file.take(most).read_to_end(&mut bytes));
        self.noted(path, read)?;
        Ok(bytes)
    }

    /// The lines in the first `most` bytes of a file; none if it can't be
    /// read.
    pub fn lines(&self, path: &str, most: u64) -> Vec<String> {
        let bytes = self.bytes(path, most).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        text.lines().map(str::to_owned).collect()
    }

    /// The lines that begin so, in the first `most` bytes of a file that is
    /// too long to be kept.
    pub fn lines_of(
        &self,
        path: &str,
        most: u64,
        begin: &[&str],
    ) -> Vec<String> {
        let read = self.open(path).and_then(|file| {
            let lines = BufReader::new(file.take(most)).split(b'\n');
            let texts = lines.map(|line| {
                line.map(|l| String::from_utf8_lossy(&l).into_owned())
            });
            texts
                .filter(|text| {
                    text.as_ref().map_or(true, |text| {
                        begin.iter().any(|word| text.starts_with(word))
                    })
                })
                .collect()
        });
        self.noted(path, read).unwrap_or_default()
    }

    /// A file that holds one number.
    ///
    /// # Errors
    /// It can't be read, or holds something else.
    pub fn number(&self, path: &str) -> io::Result<u64> {
        let text = self.text(path)?;
        text.parse().map_err(|_| {
            let shown = crate::escape::escape(text.as_bytes());
            let shown: String = shown.chars().take(32).collect();
            io::Error::other(format!("{path} holds {shown:?}, not a number"))
        })
    }

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// It can't be read.
    pub fn names(&self, path: &str) -> io::Result<Vec<String>> {
        self.noted(path, self.list(path))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.at(path))?.take(ENTRIES_MAX) {
            if let Some(name) = entry?.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The names in a directory, sorted; none where there is no directory.
    ///
    /// # Errors
    /// It is there and can't be read.
    pub fn names_if_any(&self, path: &str) -> io::Result<Vec<String>> {
        match self.names(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            other => other,
        }
    }

    /// The names in a directory, sorted; none if it can't be read.
    pub fn names_or_none(&self, path: &str) -> Vec<String> {
        self.names(path).unwrap_or_default()
    }

    /// Those names that are `prefix` and a number, by number.
    ///
    /// # Errors
    /// It can't be read.
    pub fn numbered(
        &self,
        path: &str,
        prefix: &str,
    ) -> io::Result<Vec<(u32, String)>> {
        let number = |name: String| {
            let digits = name.strip_prefix(prefix)?;
            let plain = digits.bytes().all(|b| b.is_ascii_digit());
            Some((digits.parse().ok().filter(|_| plain)?, name))
        };
        let names = self.names(path)?;
        let mut found: Vec<_> = names.into_iter().filter_map(number).collect();
        found.sort();
        Ok(found)
    }

    /// The last word of where a link leads: a driver's name, a bus address.
    pub fn link(&self, path: &str) -> Option<String> {
        let target = std::fs::read_link(self.at(path)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// Where a path leads, as seen from the root.
    pub fn real(&self, path: &str) -> Option<String> {
        let real = std::fs::canonicalize(self.at(path)).ok()?;
        let within = real.strip_prefix(&self.root).ok()?;
        Some(within.to_str()?.to_owned())
    }

    /// Whether there is such a file, or a link that leads nowhere.
    pub fn has(&self, path: &str) -> bool {
        std::fs::symlink_metadata(self.at(path)).is_ok()
    }

    /// How long the machine has been up, by its own words.
    pub fn uptime(&self) -> Option<Duration> {
        let text = self.text("proc/uptime").ok()?;
        let seconds = text.split([' ', '.']).next()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A tree of these files, for the tests of whatever reads one.
    pub(crate) fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Tree) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let tree = Tree::new(dir.path(), Progress::default());
        (dir, tree)
    }

    #[test]
    fn a_number_is_one_and_nothing_else_is() {
        let (_dir, tree) = tree(&[("a", "12\n"), ("b", "1x\u{1b}[2J\n")]);
        assert_eq!(tree.number("/a").unwrap(), 12);
        let error = tree.number("b").unwrap_err().to_string();
        assert!(error.contains("not a number"), "{error}");
        assert!(!error.contains('\u{1b}'));
        let gone = tree.number("c").unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn numbered_names_come_by_number_and_others_not_at_all() {
        let files = ["d/mc10", "d/mc2", "d/mc", "d/mcx", "d/mc+1", "d/power"];
        let (_dir, tree) = tree(&files.map(|path| (path, "")));
        let names = tree.numbered("d", "mc").unwrap();
        assert_eq!(names, [(2, "mc2".into()), (10, "mc10".into())]);
    }

    #[test]
    fn a_pipe_in_a_copied_tree_holds_nobody_up() {
        let (dir, tree) = tree(&[]);
        let mode = nix::sys::stat::Mode::S_IRWXU;
        nix::unistd::mkfifo(&dir.path().join("pipe"), mode).unwrap();
        assert_eq!(tree.text("pipe").unwrap(), "");
    }
}
