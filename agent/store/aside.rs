//! Setting a database aside: renamed with its companions, never deleted.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{Error, wal};
use crate::time::Timestamp;

/// How many damaged files are kept before no more are set aside: a disk that
/// damages every new file must not be filled with them.
const SET_ASIDE_MAX: usize = 16;

/// Damage that SQLite passes over: beside an empty database it deletes the
/// write-ahead log.
pub(super) fn hidden_damage(path: &Path) -> Option<&'static str> {
    let length = |path: &Path| fs::metadata(path).map_or(0, |m| m.len());
    let is_alone = length(path) == 0 && length(&suffixed(path, "-wal")) > 0;
    is_alone.then_some("it is empty, and its write-ahead log is not")
}

/// No file of ours is this large: 10,000 changes and a full table of faults
/// are some twenty megabytes. What is must not fill the memory.
const READ_MAX: u64 = 256 << 20;

/// Reads a file of the store whole.
pub(super) fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > READ_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    fs::read(path)
}

/// Keeps a copy of a write-ahead log that is damaged, which SQLite passes
/// over and writes over; where, and how much of it is lost.
pub(super) fn keep_damaged_log(
    path: &Path,
    now: Timestamp,
) -> Result<Option<String>, Error> {
    let log = suffixed(path, "-wal");
    let Ok(bytes) = read_whole(&log) else { return Ok(None) };
    let lost = match wal::read(&bytes) {
        Ok(log) if !log.is_damaged => return Ok(None),
        Ok(_) => "what was written last is lost",
        Err(_) => "what was written since the last checkpoint is lost",
    };
    let reason = "its write-ahead log is damaged";
    let name = free_name(path, "corrupt", reason, now)?;
    let copy = suffixed(&name, "-wal");
    fs::copy(&log, &copy).map_err(|e| Error::SetAside {
        path: log.clone(),
        reason: "its frames are damaged".into(),
        why: e.to_string(),
    })?;
    Ok(Some(format!(
        "{} is damaged: {lost}; a copy is kept as {}",
        log.display(),
        copy.display(),
    )))
}

/// Renames the database and its companions; returns the new name.
pub(super) fn set_aside(
    path: &Path,
    what: &str,
    reason: &str,
    now: Timestamp,
) -> Result<PathBuf, Error> {
    let aside = free_name(path, what, reason, now)?;
    let failed = |why: String| Error::SetAside {
        path: path.to_owned(),
        reason: reason.to_owned(),
        why,
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

/// A name that nothing has yet, for what is damaged.
fn free_name(
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
    let is_free =
        |name: &PathBuf| !name.exists() && !suffixed(name, "-wal").exists();
    let free = names.into_iter().find(is_free);
    free.ok_or_else(|| failed("every name is taken".into()))
}

pub(super) fn suffixed(path: &Path, suffix: &str) -> PathBuf {
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
            && !name.ends_with("-shm")
    };
    entries
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_aside))
        .count()
}
