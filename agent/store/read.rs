//! Reading the store without an agent: what `status` and `history` do when
//! none runs. Never writes, also not where it could.

use std::collections::VecDeque;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::database::{BUSY, has_table, load_history, load_on, too_new};
use super::{Error, FILE, HISTORY_RECENT, HistoryEntry, Loaded};
use crate::machine::Machine;

/// Faults, positions and recent history of the store in `directory`,
/// whichever machine wrote it.
///
/// # Errors
/// There is none, it is damaged, or a newer release wrote it.
pub fn read(directory: &Path) -> Result<Loaded, Error> {
    read_on(directory, &Machine::default(), HISTORY_RECENT)
}

/// The same as `machine` sees it, with the last `history` changes: faults
/// that another machine's agent left there are history.
///
/// # Errors
/// As [`read`].
pub fn read_on(
    directory: &Path,
    machine: &Machine,
    history: usize,
) -> Result<Loaded, Error> {
    with(directory, |connection| load_on(connection, machine, history))
}

/// The last `limit` changes, oldest first.
///
/// # Errors
/// As [`read`].
pub fn read_history(
    directory: &Path,
    limit: usize,
) -> Result<VecDeque<HistoryEntry>, Error> {
    with(directory, |connection| load_history(connection, limit))
}

fn with<T>(
    directory: &Path,
    ask: impl Fn(&Connection) -> rusqlite::Result<T>,
) -> Result<T, Error> {
    let path = directory.join(FILE);
    if !path.exists() {
        return Err(Error::Missing { path });
    }
    let failed = |source| Error::Sqlite { path: path.clone(), source };
    let answer = |connection: &Connection| {
        if let Some(schema) = too_new(connection).map_err(failed)? {
            return Err(Error::TooNew { path: path.clone(), schema });
        }
        if !has_table(connection, "faults").map_err(failed)? {
            return Err(Error::Missing { path: path.clone() });
        }
        ask(connection).map_err(failed)
    };
    let opened = open(&path, "mode=ro").map_err(failed)?;
    match answer(&opened) {
        // A WAL database needs its shared memory file, which can't be made
        // on a read-only disk. Nobody writes there, so the file can be read
        // as it lies.
        Err(Error::Sqlite { source, .. }) if cannot_share(&source) => {
            answer(&open(&path, "mode=ro&immutable=1").map_err(failed)?)
        }
        other => other,
    }
}

fn open(path: &Path, query: &str) -> rusqlite::Result<Connection> {
    let escaped: String = path
        .to_string_lossy()
        .chars()
        .map(|c| match c {
            '%' => "%25".to_owned(),
            '?' => "%3f".to_owned(),
            '#' => "%23".to_owned(),
            c => c.to_string(),
        })
        .collect();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let name = format!("file:{escaped}?{query}");
    let connection = Connection::open_with_flags(name, flags)?;
    // After a kill the next one to open it takes up what was left, and locks
    // everyone out for that moment.
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

fn cannot_share(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, ReadOnly, SystemIoFailure};
    matches!(
        error.sqlite_error_code(),
        Some(CannotOpen | ReadOnly | SystemIoFailure)
    )
}
