//! Stores of other releases and of other machines, with faults that live.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fault_sample;

use std::path::Path;
use std::time::Duration;

use fault_sample::stored;
use faultline::machine::Machine;
use faultline::signal::Position;
use faultline::store::{self, Loaded, Pending, Store};
use rusqlite::Connection;

const PATIENCE: Duration = Duration::from_secs(20);

/// A store that another release left: its tables, and one live fault.
fn foreign(directory: &Path, tables: &str, fault: &serde_json::Value) {
    let path = directory.join(store::FILE);
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(tables).unwrap();
    let json = fault.to_string();
    let sql = "INSERT INTO faults(id, json) VALUES('disk-failed disk/sda', ?1)";
    connection.execute(sql, [json]).unwrap();
    let sql = "INSERT INTO positions(source, position) VALUES('kmsg', '41')";
    connection.execute(sql, []).unwrap();
}

fn open(directory: &Path) -> (Store, Loaded) {
    let store = Store::start(directory.to_owned(), Machine::default());
    let loaded = store.first(PATIENCE).unwrap();
    (store, loaded)
}

fn meta(directory: &Path, key: &str) -> String {
    let connection = Connection::open(directory.join(store::FILE)).unwrap();
    let sql = "SELECT value FROM meta WHERE key = ?1";
    connection.query_row(sql, [key], |row| row.get(0)).unwrap()
}

/// Writes a new count for the fault that was loaded, and reads it back.
fn goes_on(directory: &Path, store: &Store, loaded: &Loaded) {
    let mut fault = loaded.faults[0].clone();
    fault.count += 1;
    let count = fault.count;
    let mut pending = Pending::default();
    pending.faults.insert(fault.key.clone(), Some(fault));
    pending.positions.insert("kmsg".into(), Position("42".into()));
    store.put(pending);
    assert!(store.flush(PATIENCE), "{:?}", store.status());
    let read = store::read(directory).unwrap();
    assert_eq!(read.faults.len(), 1);
    assert_eq!(read.faults[0].count, count);
    assert_eq!(read.positions["kmsg"].0, "42");
    let mut pending = Pending::default();
    pending.positions.insert("kmsg".into(), Position(String::new()));
    store.put(pending);
    assert!(store.flush(PATIENCE), "{:?}", store.status());
    let read = store::read(directory).unwrap();
    assert!(read.positions.is_empty(), "an empty one is forgotten");
}

const OLDER: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE faults (id TEXT PRIMARY KEY, json TEXT NOT NULL);
    CREATE TABLE positions (source TEXT PRIMARY KEY, position TEXT NOT NULL);
    INSERT INTO meta VALUES('schema', '0'), ('oldest_reader', '0');";

#[test]
fn an_older_releases_store_is_taken_over_with_its_faults() {
    let directory = tempfile::tempdir().unwrap();
    let fault = stored("disk-failed", "disk/sda", 5);
    foreign(directory.path(), OLDER, &fault);
    let (store, loaded) = open(directory.path());
    assert_eq!(loaded.notes, [""; 0]);
    assert_eq!(loaded.faults[0].count, 5);
    assert_eq!(loaded.positions["kmsg"].0, "41");
    goes_on(directory.path(), &store, &loaded);
    let schema = meta(directory.path(), "schema");
    assert_eq!(schema, store::SCHEMA.to_string());
}

/// What a newer release may add without shutting older ones out: a table, a
/// column with a default, fields in JSON.
fn newer(oldest_reader: i64) -> String {
    format!(
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL,
            note TEXT DEFAULT '');
         CREATE TABLE faults (id TEXT PRIMARY KEY, json TEXT NOT NULL,
            written INTEGER NOT NULL DEFAULT 0);
         CREATE TABLE positions
            (source TEXT PRIMARY KEY, position TEXT NOT NULL,
             boot TEXT DEFAULT '');
         CREATE TABLE history (seq INTEGER PRIMARY KEY AUTOINCREMENT,
            time TEXT NOT NULL, json TEXT NOT NULL);
         CREATE TABLE census (part TEXT PRIMARY KEY, serial TEXT);
         INSERT INTO census VALUES('disk/sda', 'S1');
         INSERT INTO meta(key, value) VALUES('schema', '99'),
            ('oldest_reader', '{oldest_reader}');"
    )
}

#[test]
fn a_newer_releases_store_is_used_where_it_allows_that() {
    let directory = tempfile::tempdir().unwrap();
    let mut fault = stored("disk-failed", "disk/sda", 5);
    fault["invented_later"] = serde_json::json!({ "deep": [1, 2, 3] });
    fault["first"]["also_later"] = serde_json::json!("x");
    foreign(directory.path(), &newer(store::OURS), &fault);
    let (store, loaded) = open(directory.path());
    assert_eq!(loaded.notes, [""; 0]);
    assert_eq!(loaded.faults[0].count, 5);
    goes_on(directory.path(), &store, &loaded);
    // The newer release finds its own things again.
    assert_eq!(meta(directory.path(), "schema"), "99");
    let connection =
        Connection::open(directory.path().join(store::FILE)).unwrap();
    let serial: String = connection
        .query_row("SELECT serial FROM census", [], |row| row.get(0))
        .unwrap();
    assert_eq!(serial, "S1");
}

#[test]
fn a_newer_releases_store_that_we_would_misread_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let fault = stored("disk-failed", "disk/sda", 5);
    foreign(directory.path(), &newer(store::OURS + 1), &fault);
    let (_store, loaded) = open(directory.path());
    assert!(loaded.faults.is_empty());
    let note = &loaded.notes[0];
    assert!(note.contains("schema 99") && note.contains("newer"), "{note}");
    let kept = std::fs::read_dir(directory.path()).unwrap().any(|entry| {
        let name = entry.unwrap().file_name();
        name.to_string_lossy().starts_with("state.db.newer-")
    });
    assert!(kept, "the newer store is gone");
}

#[test]
fn a_fault_that_cannot_be_read_stays_in_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let mut fault = stored("disk-failed", "disk/sda", 5);
    fault["phase"] = "a phase invented later".into();
    foreign(directory.path(), OLDER, &fault);
    let (store, loaded) = open(directory.path());
    assert!(loaded.faults.is_empty());
    assert!(loaded.notes[0].contains("1 fault(s)"), "{:?}", loaded.notes);
    assert!(store.close(PATIENCE));
    let connection =
        Connection::open(directory.path().join(store::FILE)).unwrap();
    let rows: i64 = connection
        .query_row("SELECT count(*) FROM faults", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 1);
}

fn machine(uuid: &str) -> Machine {
    Machine { system_uuid: Some(uuid.into()), ..Machine::default() }
}

#[test]
fn a_cloned_disks_faults_become_history_and_its_positions_go() {
    let directory = tempfile::tempdir().unwrap();
    let fault = stored("disk-failed", "disk/sda", 5);
    foreign(directory.path(), OLDER, &fault);
    let start = |uuid| {
        let store = Store::start(directory.path().into(), machine(uuid));
        let loaded = store.first(PATIENCE).unwrap();
        assert!(store.close(PATIENCE));
        loaded
    };
    assert_eq!(start("first").faults.len(), 1, "an unbound store is bound");
    assert_eq!(start("FIRST").faults.len(), 1, "the same machine again");
    let clone = start("second");
    assert!(clone.faults.is_empty() && clone.positions.is_empty());
    assert!(clone.notes[0].contains("cloned disk"), "{:?}", clone.notes);
    let entry = clone.history.back().unwrap();
    assert_eq!(entry.change, "cloned disk");
    assert_eq!((&*entry.part, entry.count), ("disk/sda", 5));
    // It is this machine's store from now on.
    let again = start("second");
    assert!(again.faults.is_empty() && again.notes.is_empty());
    assert_eq!(again.history.len(), 1);
}
