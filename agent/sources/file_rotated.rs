//! What rotation made of a log file while nobody read it: the marked file
//! under another name, and those that came after it, in their order.
//!
//! Names say little (`messages.1`, `messages-20260102`), so the order is that
//! of the last write: nobody writes a file that has been rotated. Compressing
//! keeps that time, so that what can't be read any more is at least counted.

use std::collections::VecDeque;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::file_mark::{Mark, Open, written};

/// How many of the files beside the path are looked at, the newest; logrotate
/// keeps a handful, or a year of days where only the last weeks are plain.
const SIBLINGS_MAX: usize = 64;

/// How many entries of a directory are listed at most.
const ENTRIES_MAX: usize = 16 * 1024;

/// The endings of logs that were compressed.
const COMPRESSED: [&str; 5] = ["gz", "xz", "bz2", "zst", "lz4"];

/// What there is to be read before the path itself.
#[derive(Debug, Default)]
pub(super) struct Rotated {
    /// The files, the oldest first; the marked one stands at its mark.
    pub files: VecDeque<Open>,
    /// How many were there to be read and can't be any more.
    pub missed: u64,
    /// Whether the marked file itself has another name now.
    pub is_renamed: bool,
}

/// Finds the marked file beside `path`, and what was written after it; what
/// has a tail of its own (`ours`) is read by that.
pub(super) fn rotated(
    path: &Path,
    mark: &Mark,
    ours: &dyn Fn(&Path) -> bool,
) -> Rotated {
    let mut found = Rotated::default();
    let mut since = mark.written;
    let siblings = siblings(path);
    let find = |is: &dyn Fn(i64, &Open) -> bool| {
        siblings.iter().find_map(|(time, path)| {
            let mut open = Open::new(path, 0).ok()?;
            (is(*time, &open) && open.is_marked(mark)).then(|| {
                open.read = mark.offset;
                (*time, path, open)
            })
        })
    };
    // A copy is as old as what was copied, or younger.
    let renamed = find(&|_, open| open.ino == mark.ino);
    found.is_renamed = renamed.is_some();
    let copied = || find(&|time, _| time >= mark.written);
    let marked = renamed.or_else(copied);
    let is_there = marked.is_some();
    if let Some((time, path, open)) = marked {
        since = time;
        if !ours(path) {
            found.files.push_back(open);
        }
    }
    // An older release's mark does not tell what came after it.
    let newer = |time: i64| since > 0 && time > since;
    let rest =
        siblings.iter().filter(|(time, path)| newer(*time) && !ours(path));
    for (_, path) in rest {
        match Open::new(path, 0) {
            Ok(open) if !is_compressed(path) => found.files.push_back(open),
            _ => found.missed += 1,
        }
    }
    if !is_there {
        // It may be one of the compressed ones.
        found.missed = found.missed.max(1);
    }
    found
}

/// Whether the name says that it was compressed.
pub(super) fn is_compressed(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| COMPRESSED.contains(&ending))
}

/// The other files of the directory whose names begin alike, each with when
/// it was last written, the oldest first.
fn siblings(path: &Path) -> Vec<(i64, PathBuf)> {
    let name = path.file_name().unwrap_or_default();
    let entries = path.parent().and_then(|dir| dir.read_dir().ok());
    let entries = entries.into_iter().flatten().flatten().take(ENTRIES_MAX);
    let mut all: Vec<(i64, PathBuf)> = entries
        .filter(|entry| {
            let other = entry.file_name();
            other != name && other.as_bytes().starts_with(name.as_bytes())
        })
        .map(|entry| entry.path())
        .filter_map(|path| {
            let meta = path.metadata().ok().filter(|meta| meta.is_file())?;
            Some((written(&meta), path))
        })
        .collect();
    all.sort();
    all.split_off(all.len().saturating_sub(SIBLINGS_MAX))
}
