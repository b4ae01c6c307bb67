//! Reading the store without an agent: what `status` and `history` do when
//! none runs. Never writes, also not where it could.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use rusqlite::Connection;

use super::aside::{read_whole, suffixed};
use super::database::{has_table, load_history, load_on, too_new};
use super::wal::{self, HEADER as LOG_HEADER};
use super::{Error, FILE, HISTORY_RECENT, HistoryEntry, Loaded};
use crate::machine::Machine;

/// How often files that change under their reader are read.
const TRIES: usize = 10;

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
    let image = image(&path)?;
    let length = image.len();
    let opened = (|| {
        let mut connection = Connection::open_in_memory()?;
        let image = &image[..];
        connection.deserialize_read_exact("main", image, length, true)?;
        Ok(connection)
    })();
    answer(&opened.map_err(failed)?)
}

/// The database as it lies on the disk, with what its log says. The agent
/// that writes it shares it with nobody; and shared memory can't be had on a
/// disk that is full or read-only.
fn image(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Directory { path: path.to_owned(), source };
    let log_path = suffixed(path, "-wal");
    let log = || match read_whole(&log_path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(failed),
    };
    let mut before = log()?;
    for _ in 0..TRIES {
        let database = read_whole(path).map_err(failed)?;
        let after = log()?;
        // What was moved out of the log meanwhile may be missing in what was
        // read before; but only a log begun anew no longer holds it.
        let begun = |log: &[u8]| log.get(..LOG_HEADER).map(<[u8]>::to_vec);
        if begun(&before) == begun(&after) {
            return Ok(wal::image(database, &after));
        }
        before = after;
    }
    Err(failed(io::ErrorKind::ResourceBusy.into()))
}
