//! What tells one log file from another: its inode and, since inodes are used
//! again and copies have others, how it begins and how what was taken ends.

use std::cell::Cell;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::hash::fnv1a;

/// How much of a file's beginning, and of what was taken last, tells it from
/// another: a syslog line with its date and more.
pub(super) const PRINT_MAX: usize = 256;

/// A piece of a file: how much of it, and its hash.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
pub struct Print {
    pub(super) len: usize,
    hash: u64,
}

/// Where a tail stands.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
pub struct Mark {
    /// The file's device and inode.
    pub dev: u64,
    /// See `dev`.
    pub ino: u64,
    /// Everything before this has been taken, whole lines.
    pub offset: u64,
    /// How the file begins.
    pub fingerprint: Print,
    /// How what has been taken ends: logs of a program may all begin alike.
    /// Empty in a store of an older release.
    #[serde(default)]
    pub end: Print,
    /// When it had last been written, in nanoseconds since 1970: what was
    /// rotated after it is newer. Zero in a store of an older release.
    #[serde(default)]
    pub written: i64,
}

/// An open file.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) file: File,
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) read: u64,
    pub(super) print: Print,
    /// How what is before an offset ends, as it was when it was taken.
    pub(super) end: Cell<(u64, Print)>,
}

impl Mark {
    /// Whether it tells how what has been taken ends.
    pub(super) fn has_end(&self) -> bool {
        self.end.len > 0
    }

    /// How what has been taken ends is not known any more.
    pub(super) fn forget_end(&mut self) {
        self.end = Print::default();
    }

    /// Whether the file at `path` is the one that was marked.
    pub(super) fn is_of(&self, path: &Path) -> bool {
        Open::new(path, 0).is_ok_and(|open| open.is_marked(self))
    }
}

impl Print {
    /// The first of a file.
    pub(super) fn of(file: &File, len: usize) -> io::Result<Print> {
        Print::at(file, 0, len)
    }

    /// What stands there, as far as the file goes.
    pub(super) fn at(file: &File, from: u64, len: usize) -> io::Result<Print> {
        let mut buffer = [0; PRINT_MAX];
        let mut len = len.min(PRINT_MAX);
        let mut got = 0;
        while got < len {
            let at = from.saturating_add(got as u64);
            match file.read_at(&mut buffer[got..len], at)? {
                0 => len = got,
                n => got += n,
            }
        }
        Ok(Print { len, hash: fnv1a(&buffer[..len]) })
    }

    pub(super) fn fits(self, file: &File) -> bool {
        self.fits_before(file, self.len as u64)
    }

    /// Whether what stands before `end` is this.
    fn fits_before(self, file: &File, end: u64) -> bool {
        let from = end.checked_sub(self.len as u64);
        let there = from.map(|from| Print::at(file, from, self.len));
        matches!(there, Some(Ok(there)) if there == self || self.len == 0)
    }

    /// Whether it tells a file from all others without its inode.
    fn is_whole(self) -> bool {
        self.len == PRINT_MAX
    }
}

impl Open {
    pub(super) fn new(path: &Path, read: u64) -> io::Result<Open> {
        let file = File::open(path)?;
        let (dev, ino) = identity(&file.metadata()?);
        let print = Print::of(&file, PRINT_MAX)?;
        Ok(Open { file, dev, ino, read, print, end: Cell::default() })
    }

    /// Whether it begins as the marked file did and says the same up to the
    /// mark.
    pub(super) fn continues(&self, mark: &Mark) -> bool {
        mark.fingerprint.fits(&self.file)
            && self.file.metadata().is_ok_and(|m| m.len() >= mark.offset)
            && mark.end.fits_before(&self.file, mark.offset)
    }

    /// Whether what was read of it stands there still: else it was truncated,
    /// and perhaps has grown since.
    pub(super) fn is_intact(&self, length: u64) -> bool {
        let (offset, end) = self.end.get();
        length >= self.read
            && self.print.fits(&self.file)
            && end.fits_before(&self.file, offset)
    }

    /// How what is before `offset` ends; nothing, if that is gone.
    pub(super) fn end(&self, offset: u64) -> Print {
        let (known, end) = self.end.get();
        if known == offset {
            return end;
        }
        let len = offset.min(PRINT_MAX as u64);
        let end = Print::at(&self.file, offset - len, len as usize);
        match end {
            Ok(end) if end.len as u64 == len => {
                self.end.set((offset, end));
                end
            }
            _ => Print::default(),
        }
    }

    /// Whether it is the marked file: renamed, or copied before the original
    /// was truncated.
    pub(super) fn is_marked(&self, mark: &Mark) -> bool {
        // Where all that was taken is in the print, it is the same text.
        let taken = 1..=mark.fingerprint.len as u64;
        let is_same = mark.fingerprint.is_whole()
            || taken.contains(&mark.offset)
            || self.ino == mark.ino;
        is_same && self.continues(mark)
    }
}

/// When a file was last written, in nanoseconds since 1970.
pub(super) fn written(meta: &Metadata) -> i64 {
    meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec())
}

/// A file's device and inode.
pub fn identity(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}
