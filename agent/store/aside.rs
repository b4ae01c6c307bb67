//! Setting a database aside: renamed with its companions, never deleted.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Error;
use crate::time::Timestamp;

/// How many damaged files are kept before no more are set aside: a disk that
/// damages every new file must not be filled with them.
const SET_ASIDE_MAX: usize = 16;

/// What a write-ahead log begins with, whatever its byte order
/// (<https://www.sqlite.org/fileformat2.html#walformat>).
const WAL_MAGIC: [[u8; 4]; 2] = [[0x37, 0x7f, 6, 0x82], [0x37, 0x7f, 6, 0x83]];

/// Damage that SQLite passes over: beside an empty database it deletes the
/// write-ahead log, and one that is no such log it writes over.
pub(super) fn hidden_damage(path: &Path) -> Option<&'static str> {
    let log = suffixed(path, "-wal");
    let length = |path: &Path| fs::metadata(path).map_or(0, |m| m.len());
    if length(&log) == 0 {
        return None;
    }
    if length(path) == 0 {
        return Some("it is empty, and its write-ahead log is not");
    }
    let mut magic = [0; 4];
    let read = fs::File::open(&log).and_then(|mut f| f.read_exact(&mut magic));
    let is_log = read.is_err() || WAL_MAGIC.contains(&magic);
    (!is_log).then_some("its write-ahead log is none")
}

/// Renames the database and its companions; returns the new name.
pub(super) fn set_aside(
    path: &Path,
    what: &str,
    reason: &str,
    now: Timestamp,
) -> Result<PathBuf, Error> {
    let failed = |why: String| Error::SetAside {
        path: path.to_owned(),
        reason: reason.to_owned(),
        why,
    };
    let stamp = now.to_string().replace([':', '-'], "");
    let names = (0..SET_ASIDE_MAX).map(|n| {
        let number = if n == 0 { String::new() } else { format!(".{n}") };
        suffixed(path, &format!(".{what}-{stamp}{number}"))
    });
    if kept_aside(path) >= SET_ASIDE_MAX {
        return Err(failed(format!(
            "{SET_ASIDE_MAX} such files are kept already; look at the disk, \
             then remove them"
        )));
    }
    let Some(aside) = names.into_iter().find(|name| !name.exists()) else {
        return Err(failed("every name is taken".into()));
    };
    // The log first: SQLite deletes one that it finds beside no database.
    for companion in ["-wal", "-shm"] {
        let from = suffixed(path, companion);
        if from.exists() {
            fs::rename(&from, suffixed(&aside, companion))
                .map_err(|e| failed(e.to_string()))?;
        }
    }
    if path.exists() {
        fs::rename(path, &aside).map_err(|e| failed(e.to_string()))?;
    }
    Ok(aside)
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// How many databases were set aside beside `path`.
fn kept_aside(path: &Path) -> usize {
    let entries = path.parent().and_then(|dir| fs::read_dir(dir).ok());
    let is_aside = |name: &str| {
        (name.starts_with("state.db.corrupt-")
            || name.starts_with("state.db.newer-"))
            && !name.ends_with("-wal")
            && !name.ends_with("-shm")
    };
    entries
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_aside))
        .count()
}
