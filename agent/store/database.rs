//! The open database: its schema, what is done with one that is damaged, too
//! new or another machine's, and the one transaction that writes.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use super::aside::{hidden_damage, keep_damaged_log, set_aside, suffixed};
use super::{
    Error, FILE, HISTORY_RECENT, HISTORY_ROWS, HistoryEntry, Loaded, Pending,
};
use crate::ledger::fault::Fault;
use crate::machine::Machine;
use crate::signal::Position;
use crate::time::Timestamp;

/// The schema this release writes. Additions of tables, columns with defaults
/// and JSON fields leave `OLDEST_READER` alone; only what an older release
/// would misread raises it.
pub const SCHEMA: i64 = 1;

/// What this release understands: a store whose `oldest_reader` is at most
/// this can be opened by it.
pub const OURS: i64 = SCHEMA;

/// The oldest release's schema number that can read what this one writes.
const OLDEST_READER: i64 = 1;

/// How long SQLite waits for a lock that a reading command holds.
const BUSY: Duration = Duration::from_secs(2);

/// The file whose lock says that an agent writes here.
const LOCK: &str = "lock";

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS meta
        (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS faults
        (id TEXT PRIMARY KEY, json TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS positions
        (source TEXT PRIMARY KEY, position TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS history
        (seq INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL,
         json TEXT NOT NULL);";

/// The database, open for writing.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    path: PathBuf,
    /// The files as they were left.
    files: Files,
    /// Whether the log holds what people were told of.
    is_behind: bool,
    /// Held as long as the database is open: two agents would undo each
    /// other's rows.
    _lock: fs::File,
}

impl Database {
    /// Opens the store in `directory`, making it if there is none. One that
    /// is damaged or too new is renamed, never deleted, and a new one begun.
    pub(super) fn open(
        directory: &Path,
        machine: &Machine,
        now: Timestamp,
    ) -> Result<(Database, Loaded), Error> {
        make_directory(directory)?;
        let path = directory.join(FILE);
        let lock = lock(directory)?;
        let again = lock.try_clone();
        let damaged_log = keep_damaged_log(&path, now)?;
        let with_note = |(database, mut loaded): (Database, Loaded)| {
            loaded.notes.extend(damaged_log.clone());
            (database, loaded)
        };
        let (what, reason) = match Database::try_open(&path, machine, lock) {
            Err(Error::Sqlite { source, .. }) if is_damage(&source) => {
                ("corrupt", source.to_string())
            }
            Err(Error::TooNew { schema, .. }) => {
                let reason = format!(
                    "a newer release wrote it (schema {schema}, this one \
                     reads {OURS})"
                );
                ("newer", reason)
            }
            other => return other.map(with_note),
        };
        let aside = set_aside(&path, what, &reason, now)?;
        let lock = again.map_err(|source| Error::Directory {
            path: path.clone(),
            source,
        })?;
        let (database, mut loaded) = Database::try_open(&path, machine, lock)?;
        loaded.notes.push(format!(
            "{} can't be used ({reason}); it was set aside as {} and an \
             empty one begun",
            path.display(),
            aside.display(),
        ));
        Ok((database, loaded))
    }

    fn try_open(
        path: &Path,
        machine: &Machine,
        lock: fs::File,
    ) -> Result<(Database, Loaded), Error> {
        let sql = |source| Error::Sqlite { path: path.to_owned(), source };
        if let Some(what) = hidden_damage(path) {
            return Err(sql(corrupt(what.to_owned())));
        }
        let mut connection = open_alone(path).map_err(sql)?;
        prepare(&connection).map_err(sql)?;
        check(&connection).map_err(sql)?;
        if let Some(schema) = too_new(&connection).map_err(sql)? {
            return Err(Error::TooNew { path: path.to_owned(), schema });
        }
        let loaded = bind(&mut connection, machine).map_err(sql)?;
        let path = path.to_owned();
        let files = Files::at(&path);
        let is_behind = true;
        let database =
            Database { connection, path, files, is_behind, _lock: lock };
        Ok((database, loaded))
    }

    /// Whether the files are still those under their names, and as long as
    /// they were left: one that was removed takes writes as before, and
    /// nobody would ever read them.
    pub(super) fn look(&self) -> Result<(), Error> {
        match self.files.are_in(&Files::at(&self.path)) {
            true => Ok(()),
            false => Err(Error::Vanished { path: self.path.clone() }),
        }
    }

    /// Moves what people were told of from the log into the database itself:
    /// the log can be lost more easily. To be called when there is time.
    pub(super) fn rest(&mut self) {
        if std::mem::take(&mut self.is_behind) {
            // What can't be moved stands in the log.
            let _ = self.connection.query_row(
                "PRAGMA wal_checkpoint(PASSIVE)",
                [],
                |_| Ok(()),
            );
            self.files = Files::at(&self.path);
        }
    }

    /// Writes all of `pending` in one transaction.
    pub(super) fn write(&mut self, pending: &Pending) -> Result<(), Error> {
        self.look()?;
        write(&mut self.connection, pending).map_err(|source| {
            Error::Sqlite { path: self.path.clone(), source }
        })?;
        self.is_behind |= !pending.history.is_empty();
        self.files = Files::at(&self.path);
        Ok(())
    }
}

/// Whether the file itself is bad, so that trying again can't help. `Unknown`
/// is SQLITE_ERROR: our tables have another shape there.
fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::Unknown
        )
    )
}

fn make_directory(directory: &Path) -> Result<(), Error> {
    // Evidence is kernel text, which not every user may read.
    fs::DirBuilder::new().recursive(true).mode(0o750).create(directory).map_err(
        |source| Error::Directory { path: directory.to_owned(), source },
    )
}

/// Takes the state directory for this process; the kernel gives it back when
/// the process dies, however it dies.
fn lock(directory: &Path) -> Result<fs::File, Error> {
    let path = directory.join(LOCK);
    let failed = |source| Error::Directory { path: path.clone(), source };
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Error::Locked { path }),
        Err(fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Opens it for this process alone (os_unix.c: `unix-excl`). What others
/// could share would be memory that is a file: on a disk that is full, or in
/// a file that somebody cut, touching it kills the process.
fn open_alone(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags_and_vfs(path, OpenFlags::default(), "unix-excl")
}

/// The database and its log: device, inode and length, where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Files([Option<(u64, u64, u64)>; 2]);

impl Files {
    fn at(path: &Path) -> Files {
        let one = |path: &Path| {
            let meta = fs::metadata(path).ok()?;
            Some((meta.dev(), meta.ino(), meta.len()))
        };
        Files([one(path), one(&suffixed(path, "-wal"))])
    }

    /// Whether these are there still, and no shorter.
    fn are_in(&self, now: &Files) -> bool {
        let is_in = |(old, new): (&Option<_>, &Option<_>)| match (old, new) {
            (None, _) => true,
            (Some((d, i, len)), Some((dev, ino, now))) => {
                (d, i) == (dev, ino) && len <= now
            }
            (Some::<(u64, u64, u64)>(_), None::<(u64, u64, u64)>) => false,
        };
        self.0[0].is_some() && self.0.iter().zip(&now.0).all(is_in)
    }
}

/// Small caches, no memory map: resident memory is part of the contract.
/// synchronous=NORMAL in WAL mode survives any death of the process; a power
/// loss takes back the last transactions, whole. `write` asks for more where
/// that is not enough.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(8);
    connection.execute_batch(
        "PRAGMA cache_size = -128;
         PRAGMA mmap_size = 0;
         PRAGMA temp_store = MEMORY;
         PRAGMA synchronous = NORMAL;
         PRAGMA wal_autocheckpoint = 128;
         PRAGMA journal_size_limit = 1048576;",
    )?;
    check_ours(connection)?;
    // Where there can be no log SQLite stays with its rollback journal:
    // slower, and as safe.
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
}

fn check(connection: &Connection) -> rusqlite::Result<()> {
    let verdict: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(corrupt(verdict));
    }
    Ok(())
}

/// Refuses a database of somebody else; before anything is changed in it.
fn check_ours(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "SELECT count(*) FROM sqlite_master WHERE type = 'table'";
    let tables: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    if tables > 0 && !has_table(connection, "meta")? {
        return Err(corrupt("it is another program's database".to_owned()));
    }
    Ok(())
}

fn corrupt(why: String) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(code, Some(why))
}

/// The schema number of a store that this release must not touch.
pub(super) fn too_new(
    connection: &Connection,
) -> rusqlite::Result<Option<i64>> {
    if !has_table(connection, "meta")? {
        return Ok(None);
    }
    let number = |key: &str| -> rusqlite::Result<i64> {
        let text = meta(connection, key)?;
        Ok(text.and_then(|t| t.parse().ok()).unwrap_or(0))
    };
    let oldest_reader = number("oldest_reader")?;
    Ok(if oldest_reader > OURS { Some(number("schema")?) } else { None })
}

pub(super) fn has_table(
    connection: &Connection,
    name: &str,
) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM sqlite_master WHERE type='table' AND name=?1";
    let found = connection.query_row(sql, [name], |_| Ok(())).optional()?;
    Ok(found.is_some())
}

pub(super) fn meta(
    connection: &Connection,
    key: &str,
) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT value FROM meta WHERE key = ?1";
    connection.query_row(sql, [key], |row| row.get(0)).optional()
}

/// Makes the schema ours, binds the store to this machine and reads it, in
/// one transaction; this is also the write that finds a full or read-only
/// disk at once.
fn bind(
    connection: &mut Connection,
    machine: &Machine,
) -> rusqlite::Result<Loaded> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    let put = "INSERT INTO meta(key, value) VALUES(?1, ?2)
         ON CONFLICT(key) DO UPDATE SET value = excluded.value";
    let schema = meta(&transaction, "schema")?;
    if schema.and_then(|s| s.parse::<i64>().ok()).unwrap_or(0) < SCHEMA {
        transaction.execute(put, params!["schema", SCHEMA.to_string()])?;
        let reader = OLDEST_READER.to_string();
        transaction.execute(put, params!["oldest_reader", reader])?;
    }
    let mut loaded = load(&transaction)?;
    let bound = bound_to(&transaction)?;
    let bound = if machine.is_same(&bound) == Some(false) {
        disown(&transaction, &mut loaded)?;
        Machine::default()
    } else {
        bound
    };
    let bound = machine.clone().or(bound);
    let json = serde_json::to_string(&bound)
        .expect("three optional strings always serialize");
    transaction.execute(put, params!["machine", json])?;
    transaction.commit()?;
    Ok(loaded)
}

/// Turns another machine's faults into history and forgets its positions.
fn disown(
    connection: &Connection,
    loaded: &mut Loaded,
) -> rusqlite::Result<()> {
    connection.execute_batch("DELETE FROM faults; DELETE FROM positions;")?;
    let entries = as_of_another(loaded);
    add_history(connection, &entries)?;
    loaded.add_history(entries, HISTORY_RECENT);
    Ok(())
}

/// Takes the faults and positions of a store that another machine wrote;
/// returns what is to be history of it.
fn as_of_another(loaded: &mut Loaded) -> VecDeque<HistoryEntry> {
    let faults = std::mem::take(&mut loaded.faults);
    loaded.positions.clear();
    loaded.notes.push(format!(
        "this store was written on another machine (a cloned disk): its {} \
         fault(s) are kept as history, its positions discarded",
        faults.len(),
    ));
    faults.iter().map(HistoryEntry::cloned).collect()
}

/// Reads what `machine` may call its own, with the last `history` changes;
/// writes nothing.
pub(super) fn load_on(
    connection: &Connection,
    machine: &Machine,
    history: usize,
) -> rusqlite::Result<Loaded> {
    let mut loaded = load(connection)?;
    loaded.history = load_history(connection, history)?;
    let bound = bound_to(connection)?;
    if machine.is_same(&bound) == Some(false) {
        let entries = as_of_another(&mut loaded);
        loaded.add_history(entries, history);
    }
    Ok(loaded)
}

/// The machine that wrote the store, as far as it says.
fn bound_to(connection: &Connection) -> rusqlite::Result<Machine> {
    let json = meta(connection, "machine")?;
    Ok(json
        .and_then(|json| serde_json::from_str(&json).ok())
        .unwrap_or_default())
}

/// Reads everything that a restart needs.
fn load(connection: &Connection) -> rusqlite::Result<Loaded> {
    let mut loaded = Loaded::default();
    let mut unreadable = Vec::new();
    let mut statement =
        connection.prepare("SELECT id, json FROM faults ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let json = row.get_ref(1)?.as_bytes().unwrap_or_default();
        match serde_json::from_slice::<Fault>(json) {
            Ok(fault) => loaded.faults.push(fault),
            // The row stays: the release that wrote it can read it.
            Err(error) => unreadable.push(error.to_string()),
        }
    }
    if let Some(first) = unreadable.first() {
        loaded.notes.push(format!(
            "{} fault(s) in the store can't be read by this release and stay \
             there untouched; the first is {first}",
            unreadable.len(),
        ));
    }
    let mut statement =
        connection.prepare("SELECT source, position FROM positions")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        // Text that is no text is the work of a bad disk; without its
        // position a source begins anew, which is safe.
        let texts = (row.get_ref(0)?.as_str(), row.get_ref(1)?.as_str());
        if let (Ok(source), Ok(position)) = texts {
            let position = Position(position.to_owned());
            loaded.positions.insert(source.into(), position);
        }
    }
    loaded.history = load_history(connection, HISTORY_RECENT)?;
    Ok(loaded)
}

/// The last `limit` changes, oldest first.
pub(super) fn load_history(
    connection: &Connection,
    limit: usize,
) -> rusqlite::Result<VecDeque<HistoryEntry>> {
    let mut entries = VecDeque::new();
    let mut statement = connection
        .prepare("SELECT json FROM history ORDER BY seq DESC LIMIT ?1")?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query([limit])?;
    while let Some(row) = rows.next()? {
        // Every field of an entry has a default, so that only text that is
        // no object at all fails, and such a row tells nothing.
        let json = row.get_ref(0)?.as_bytes().unwrap_or_default();
        if let Ok(entry) = serde_json::from_slice(json) {
            entries.push_front(entry);
        }
    }
    Ok(entries)
}

fn write(
    connection: &mut Connection,
    pending: &Pending,
) -> rusqlite::Result<()> {
    // A fault that opens seconds before a panic is the one that matters, and
    // the kernel's ring will not be there to be read again: what people are
    // told of reaches the disk with the commit. Counts and positions may
    // wait for the next checkpoint, and cost no fsync each.
    let synchronous =
        if pending.history.is_empty() { "NORMAL" } else { "FULL" };
    connection.pragma_update(None, "synchronous", synchronous)?;
    let transaction = connection.transaction()?;
    write_faults(&transaction, pending)?;
    write_positions(&transaction, pending)?;
    add_history(&transaction, &pending.history)?;
    transaction.commit()
}

fn write_faults(
    connection: &Connection,
    pending: &Pending,
) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(
        "INSERT INTO faults(id, json) VALUES(?1, ?2)
         ON CONFLICT(id) DO UPDATE SET json = excluded.json",
    )?;
    let mut forget =
        connection.prepare_cached("DELETE FROM faults WHERE id = ?1")?;
    for (key, fault) in &pending.faults {
        let id = key.to_string();
        match fault {
            None => forget.execute([id])?,
            Some(fault) => {
                let json = serde_json::to_string(fault)
                    .expect("a fault has only text keys and finite numbers");
                put.execute([id, json])?
            }
        };
    }
    Ok(())
}

fn write_positions(
    connection: &Connection,
    pending: &Pending,
) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(
        "INSERT INTO positions(source, position) VALUES(?1, ?2)
         ON CONFLICT(source) DO UPDATE SET position = excluded.position",
    )?;
    let mut forget =
        connection.prepare_cached("DELETE FROM positions WHERE source = ?1")?;
    for (source, position) in &pending.positions {
        match position.0.is_empty() {
            true => forget.execute([source.as_ref()])?,
            false => put.execute([source.as_ref(), &position.0])?,
        };
    }
    Ok(())
}

fn add_history(
    connection: &Connection,
    entries: &VecDeque<HistoryEntry>,
) -> rusqlite::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut put = connection
        .prepare_cached("INSERT INTO history(time, json) VALUES(?1, ?2)")?;
    for entry in entries {
        let json = serde_json::to_string(entry)
            .expect("strings, numbers and flags always serialize");
        put.execute([&entry.time, &json])?;
    }
    connection.execute(
        "DELETE FROM history
         WHERE seq <= (SELECT max(seq) FROM history) - ?1",
        [i64::try_from(HISTORY_ROWS).unwrap_or(i64::MAX)],
    )?;
    Ok(())
}
