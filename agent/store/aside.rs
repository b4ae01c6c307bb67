//! Setting a database aside: renamed with its companions, never deleted.

use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use crate::time::Timestamp;

/// How many damaged files are kept before no more are set aside: a disk that
/// damages every new file must not be filled with them.
const SET_ASIDE_MAX: usize = 16;

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
    fs::rename(path, &aside).map_err(|e| failed(e.to_string()))?;
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
