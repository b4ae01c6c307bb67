//! What the store survives: any death of the process, and every kind of disk
//! that does not do as it should.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fault_sample;
mod not_run;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use faultline::ledger::fault::Fault;
use faultline::machine::Machine;
use faultline::signal::Position;
use faultline::store::{self, HistoryEntry, Pending, Store};

const PATIENCE: Duration = Duration::from_secs(20);
const DIRECTORY: &str = "FAULTLINE_TEST_STORE";

/// Three faults and a position that all carry the same number.
fn numbered(number: u64) -> Pending {
    let mut pending = Pending::default();
    for part in ["disk/sda", "disk/sdb", "disk/sdc"] {
        let json = fault_sample::stored("disk-failed", part, number);
        let fault: Fault = serde_json::from_value(json).unwrap();
        pending.faults.insert(fault.key.clone(), Some(fault));
    }
    let position = Position(number.to_string());
    pending.positions.insert("kmsg".into(), position);
    let count = number;
    let entry = HistoryEntry { count, ..HistoryEntry::default() };
    pending.history.push_back(entry);
    pending
}

/// The number that everything in the store carries; `None` if it is empty.
fn number_of(loaded: &store::Loaded) -> Option<u64> {
    let counts: Vec<u64> = loaded.faults.iter().map(|f| f.count).collect();
    let position = loaded.positions.get("kmsg");
    let position = position.map(|p| p.0.parse::<u64>().unwrap());
    let Some(number) = position else {
        assert!(counts.is_empty(), "counts without a position");
        return None;
    };
    assert_eq!(counts, [number; 3], "counts and position of two moments");
    assert_eq!(loaded.history.back().unwrap().count, number);
    Some(number)
}

fn start(directory: &Path) -> Store {
    Store::start(directory.to_owned(), Machine::default())
}

/// Waits until what is pending has been written, and hands over what a file
/// that began anew may lack, as the agent does: nothing more. What such a
/// file held, if there was one.
fn written(store: &Store) -> Option<store::Loaded> {
    #[expect(clippy::disallowed_methods, reason = "a test's own limit")]
    let begin = Instant::now();
    let mut anew = None;
    while !(store.flush(PATIENCE) && store.status().durable) {
        assert!(begin.elapsed() < PATIENCE, "{:?}", store.status());
        if let (loaded, true) = store.late() {
            assert!(!store.status().durable, "before all was handed over");
            anew = loaded;
            store.put(Pending { whole: true, ..Pending::default() });
        }
    }
    anew
}

#[test]
#[ignore = "the process that dies, started by another test"]
fn writing_process() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let store = start(Path::new(&directory));
    let loaded = store.first(PATIENCE).unwrap();
    let mut number = number_of(&loaded).unwrap_or(0);
    loop {
        number += 1;
        store.put(numbered(number));
        if number.is_multiple_of(50) {
            // Now and then faster than the writer gathers.
            store.flush(PATIENCE);
        }
        std::thread::sleep(Duration::from_micros(300));
    }
}

#[test]
fn a_process_killed_at_any_instant_leaves_one_moment_behind() {
    let directory = tempfile::tempdir().unwrap();
    let (mut last, mut moved) = (0, 0);
    let mut random: u64 = 88_172_645_463_325_252;
    for round in 0..40 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writing_process", "--ignored"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // xorshift: spread over opening, gathering, writing, checkpointing.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_millis(20 + random % 180));
        child.kill().unwrap();
        child.wait().unwrap();
        let number = match store::read(directory.path()) {
            Ok(loaded) => number_of(&loaded).unwrap_or(0),
            // Killed before the first tables were there.
            Err(store::Error::Missing { .. }) if last == 0 => 0,
            Err(error) => panic!("round {round}: {error}"),
        };
        assert!(number >= last, "round {round}: {number} after {last}");
        moved += u64::from(number > last);
        last = number;
    }
    assert!(moved >= 10, "the child hardly ever wrote: {moved} of 40");
    // Nothing was set aside: no death damages the file.
    for entry in fs::read_dir(directory.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.contains("corrupt"), "{name}");
    }
}

/// A small file system of its own; `None`, said loudly, where that can't be.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Option<Disk> {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk(directory);
        if disk.mount(&["-t", "tmpfs", "-o", "size=512k", "none"]) {
            return Some(disk);
        }
        not_run::not_run("full disk", "cannot mount a tmpfs; needs root");
        None
    }

    fn mount(&self, arguments: &[&str]) -> bool {
        let mut command = Command::new("mount");
        command.args(arguments).arg(self.0.path());
        command.status().is_ok_and(|s| s.success())
    }

    fn remount(&self, how: &str) {
        assert!(self.mount(&["-o", &format!("remount,{how}")]));
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a store thread may still have files open there.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_costs_durability_until_there_is_room() {
    let Some(disk) = Disk::new() else { return };
    let store = start(disk.path());
    store.first(PATIENCE).unwrap();
    store.put(numbered(1));
    written(&store);
    let filler = disk.path().join("filler");
    // Until write(2) says that it is full.
    let _ = fs::write(&filler, vec![0; 1 << 20]);
    for number in 2..200 {
        store.put(numbered(number));
        if !store.flush(PATIENCE) {
            break;
        }
    }
    let status = store.status();
    assert!(!status.durable, "{status:?}");
    assert!(status.errors > 0 && status.reason.is_some(), "{status:?}");
    // A full disk lets the store be opened again; that alone proves nothing.
    for _ in 0..30 {
        std::thread::sleep(Duration::from_millis(100));
        assert!(!store.status().durable, "{:?}", store.status());
    }
    store.put(numbered(1000));
    fs::remove_file(&filler).unwrap();
    written(&store);
    let loaded = store::read(disk.path()).unwrap();
    assert_eq!(number_of(&loaded), Some(1000));
    assert!(store.close(PATIENCE));
}

#[test]
fn a_read_only_disk_is_read_and_written_when_it_can_be_again() {
    let Some(disk) = Disk::new() else { return };
    let store = start(disk.path());
    store.first(PATIENCE).unwrap();
    store.put(numbered(5));
    assert!(store.close(PATIENCE));
    disk.remount("ro");
    assert_eq!(number_of(&store::read(disk.path()).unwrap()), Some(5));
    let store = start(disk.path());
    let loaded = store.first(PATIENCE).expect("faults of a read-only disk");
    assert_eq!(number_of(&loaded), Some(5));
    assert!(!store.status().durable);
    store.put(numbered(6));
    assert!(!store.flush(PATIENCE));
    disk.remount("rw");
    let anew = written(&store);
    assert_eq!(number_of(&store::read(disk.path()).unwrap()), Some(6));
    assert!(anew.is_some(), "a store opened late wants every row");
}

#[test]
fn a_missing_directory_is_made_and_one_taken_away_is_made_again() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a/b");
    let store = start(&directory);
    store.first(PATIENCE).unwrap();
    store.put(numbered(1));
    written(&store);
    fs::remove_dir_all(&directory).unwrap();
    store.put(numbered(2));
    let anew = written(&store).expect("everything is wanted");
    assert!(anew.faults.is_empty());
    assert!(anew.notes[0].contains("begun anew"), "{:?}", anew.notes);
    assert_eq!(number_of(&store::read(&directory).unwrap()), Some(2));
}

#[test]
fn a_directory_taken_away_is_missed_without_anything_to_write() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("state");
    let (wake, woken) = std::sync::mpsc::channel();
    let wake = Box::new(move || wake.send(()).unwrap());
    let store = Store::waking(directory.clone(), Machine::default(), wake);
    store.first(PATIENCE).unwrap();
    woken.recv_timeout(PATIENCE).unwrap();
    store.put(numbered(1));
    written(&store);
    fs::remove_dir_all(&directory).unwrap();
    // Whoever holds the faults is woken, and until it has put them nothing
    // is durable, though the file is there again.
    woken.recv_timeout(PATIENCE).expect("it looks now and then");
    assert!(directory.join(store::FILE).exists());
    assert!(!store.status().durable);
    assert!(store.late().1);
    // Others put something too, which is not all.
    let positions = [("other".into(), Position("1".into()))].into();
    store.put(Pending { positions, prompt: true, ..Pending::default() });
    assert!(store.flush(PATIENCE));
    assert!(!store.status().durable);
    store.put(Pending { whole: true, ..numbered(1) });
    written(&store);
    assert_eq!(number_of(&store::read(&directory).unwrap()), Some(1));
}

#[test]
fn a_directory_that_cannot_be_made_leaves_the_agent_without_a_store() {
    let parent = tempfile::tempdir().unwrap();
    let blocked = parent.path().join("file");
    fs::write(&blocked, "no directory").unwrap();
    let store = start(&blocked.join("state"));
    assert!(store.first(PATIENCE).is_none());
    let status = store.status();
    assert!(!status.durable);
    let reason = status.reason.unwrap();
    assert!(reason.contains("file/state"), "{reason}");
    for number in 0..3000 {
        store.put(numbered(number));
    }
    assert!(store.status().dropped > 0, "history waits without bound");
    fs::remove_file(&blocked).unwrap();
    written(&store);
    let loaded = store::read(&blocked.join("state")).unwrap();
    assert_eq!(number_of(&loaded), Some(2999));
}

/// The one file that was set aside.
fn set_aside(directory: &Path, what: &str) -> std::path::PathBuf {
    let names = fs::read_dir(directory).unwrap().map(|e| e.unwrap().path());
    let mut names = names.filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with(&format!("state.db.{what}-"))
            && !name.ends_with("-wal")
            && !name.ends_with("-shm")
    });
    let found = names.next().expect("nothing was set aside");
    assert!(names.next().is_none());
    found
}

#[test]
fn a_corrupt_file_is_set_aside_and_never_deleted() {
    let garbage = b"this was never a database ".repeat(1000);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(store::FILE);
    fs::write(&path, &garbage).unwrap();
    let store = start(directory.path());
    let loaded = store.first(PATIENCE).unwrap();
    assert!(loaded.notes[0].contains("set aside"), "{:?}", loaded.notes);
    let aside = set_aside(directory.path(), "corrupt");
    assert_eq!(fs::read(aside).unwrap(), garbage);
    store.put(numbered(1));
    written(&store);
}

#[test]
fn damage_that_sqlite_passes_over_is_set_aside_too() {
    let prepared = || {
        let directory = tempfile::tempdir().unwrap();
        let (live, path) =
            (tempfile::tempdir().unwrap(), directory.path().join(store::FILE));
        let store = start(live.path());
        store.first(PATIENCE).unwrap();
        store.put(numbered(7));
        written(&store);
        // As a kill leaves them: all that was written is in the log.
        for name in ["state.db", "state.db-wal"] {
            fs::copy(live.path().join(name), directory.path().join(name))
                .unwrap();
        }
        let log = directory.path().join("state.db-wal");
        (directory, path, log)
    };
    let begin = |directory: &tempfile::TempDir| {
        let store = start(directory.path());
        let loaded = store.first(PATIENCE).unwrap();
        assert!(loaded.faults.is_empty());
        assert!(loaded.notes[0].contains("set aside"), "{:?}", loaded.notes);
        let aside = set_aside(directory.path(), "corrupt").into_os_string();
        (
            fs::read(&aside).unwrap(),
            fs::read({
                let mut log = aside;
                log.push("-wal");
                log
            }),
        )
    };
    let (directory, ..) = prepared();
    let loaded = start(directory.path()).first(PATIENCE).unwrap();
    assert_eq!(number_of(&loaded), Some(7), "the copy is whole");

    let (directory, path, log) = prepared();
    let kept = fs::read(&log).unwrap();
    fs::write(&path, "").unwrap();
    let (_, aside) = begin(&directory);
    assert!(aside.unwrap() == kept);

    // Of a damaged log what is whole is read, and a copy is kept.
    let harms: [fn(&mut Vec<u8>); 4] = [
        |log| log.fill(0),
        |log| log.truncate(20),
        |log| log[26] ^= 1,
        |log| log[5000] ^= 1,
    ];
    for harm in harms {
        let (directory, _, log) = prepared();
        let mut bytes = fs::read(&log).unwrap();
        harm(&mut bytes);
        fs::write(&log, &bytes).unwrap();
        let loaded = start(directory.path()).first(PATIENCE).unwrap();
        let [note] = &loaded.notes[..] else { panic!("{:?}", loaded.notes) };
        assert!(note.contains("state.db-wal is damaged"), "{note}");
        let (_, copy) = note.rsplit_once(' ').unwrap();
        assert!(fs::read(copy).unwrap() == bytes, "{note}");
    }

    let (directory, path, log) = prepared();
    fs::remove_file(&path).unwrap();
    fs::remove_file(&log).unwrap();
    let foreign = rusqlite::Connection::open(&path).unwrap();
    foreign
        .execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES(1)")
        .unwrap();
    drop(foreign);
    let kept = fs::read(&path).unwrap();
    let (aside, _) = begin(&directory);
    assert!(aside == kept);
}

#[test]
fn files_that_somebody_cuts_or_removes_are_missed_and_written_anew() {
    for (name, removed) in
        [("state.db-wal", true), ("state.db-wal", false), ("state.db", false)]
    {
        let directory = tempfile::tempdir().unwrap();
        let (wake, woken) = std::sync::mpsc::channel();
        let wake = Box::new(move || wake.send(()).unwrap());
        let path = directory.path().to_owned();
        let store = Store::waking(path, Machine::default(), wake);
        store.first(PATIENCE).unwrap();
        woken.recv_timeout(PATIENCE).unwrap();
        store.put(numbered(1));
        written(&store);
        let path = directory.path().join(name);
        match removed {
            true => fs::remove_file(&path).unwrap(),
            false => fs::write(&path, "").unwrap(),
        }
        woken.recv_timeout(PATIENCE).expect("it looks now and then");
        assert!(store.late().1, "{name}");
        store.put(Pending { whole: true, ..numbered(1) });
        written(&store);
        let loaded = store::read(directory.path()).unwrap();
        assert_eq!(number_of(&loaded), Some(1), "{name}");
    }
}

#[test]
fn orders_that_are_written_at_once_do_not_disturb_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let store = start(directory.path());
    store.first(PATIENCE).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..100 {
                    store.put(numbered(number));
                    assert!(store.flush(PATIENCE), "{:?}", store.status());
                }
            });
        }
    });
}

#[test]
fn what_people_were_told_of_does_not_stay_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let store = start(directory.path());
    store.first(PATIENCE).unwrap();
    store.put(numbered(1));
    written(&store);
    // The next position is written when there is time.
    let position = Position("1".into());
    let positions = [("kmsg".into(), position)].into();
    store.put(Pending { positions, ..Pending::default() });
    written(&store);
    let copy = tempfile::tempdir().unwrap();
    let name = |of: &tempfile::TempDir| of.path().join(store::FILE);
    fs::copy(name(&directory), name(&copy)).unwrap();
    assert_eq!(number_of(&store::read(copy.path()).unwrap()), Some(1));
}

#[test]
fn a_file_that_is_far_too_large_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(store::FILE);
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let error = store::read(directory.path()).unwrap_err().to_string();
    assert!(error.contains("too large"), "{error}");
}

#[test]
fn nothing_of_the_store_is_memory_that_a_full_disk_takes_away() {
    let directory = tempfile::tempdir().unwrap();
    let store = start(directory.path());
    store.first(PATIENCE).unwrap();
    store.put(numbered(1));
    written(&store);
    assert_eq!(number_of(&store::read(directory.path()).unwrap()), Some(1));
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let directory = directory.path().to_str().unwrap();
    assert!(!maps.contains(directory), "{maps}");
}

#[test]
fn a_file_damaged_in_its_middle_is_found_and_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(store::FILE);
    let store = start(directory.path());
    store.first(PATIENCE).unwrap();
    for number in 0..500 {
        store.put(numbered(number));
    }
    assert!(store.close(PATIENCE));
    let mut bytes = fs::read(&path).unwrap();
    let page = 4096;
    assert!(bytes.len() > 4 * page);
    let middle = bytes.len() / page / 2 * page;
    for byte in &mut bytes[middle..middle + page] {
        *byte = byte.wrapping_mul(31).wrapping_add(17);
    }
    fs::write(&path, &bytes).unwrap();
    let store = start(directory.path());
    let loaded = store.first(PATIENCE).unwrap();
    assert!(loaded.notes[0].contains("set aside"), "{:?}", loaded.notes);
    let aside = set_aside(directory.path(), "corrupt");
    assert_eq!(fs::read(aside).unwrap().len(), bytes.len());
}

#[test]
fn a_disk_that_damages_every_file_is_not_filled_with_them() {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..16 {
        let name = format!("state.db.corrupt-{number}");
        fs::write(directory.path().join(name), "x").unwrap();
    }
    let path = directory.path().join(store::FILE);
    fs::write(&path, b"damaged again ".repeat(1000)).unwrap();
    let store = start(directory.path());
    assert!(store.first(PATIENCE).is_none());
    let reason = store.status().reason.unwrap();
    assert!(reason.contains("16 such files"), "{reason}");
    assert!(path.exists());
}

#[test]
fn two_agents_never_write_one_store() {
    let directory = tempfile::tempdir().unwrap();
    let first = start(directory.path());
    first.first(PATIENCE).unwrap();
    first.put(numbered(3));
    written(&first);
    let second = start(directory.path());
    // It sees what is there, and writes nothing.
    assert_eq!(number_of(&second.first(PATIENCE).unwrap()), Some(3));
    let status = second.status();
    assert!(!status.durable);
    assert!(status.reason.unwrap().contains("another"));
    assert!(first.close(PATIENCE));
    second.put(numbered(4));
    written(&second);
}

#[test]
fn the_history_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let store = start(directory.path());
    store.first(PATIENCE).unwrap();
    for _ in 0..11 {
        let entries = (0..1000).map(|_| HistoryEntry::default());
        let history = entries.collect();
        store.put(Pending { history, ..Pending::default() });
        written(&store);
    }
    assert_eq!(store.status().dropped, 0);
    let all = store::read_history(directory.path(), 20_000).unwrap();
    assert_eq!(all.len() as u64, store::HISTORY_ROWS);
}

#[test]
fn a_store_that_another_process_locks_for_a_moment_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let store = start(directory.path());
    store.first(PATIENCE).unwrap();
    store.put(numbered(3));
    assert!(store.close(PATIENCE));
    // As after a kill, while somebody else takes up what was left.
    let path = directory.path().join(store::FILE);
    let other = rusqlite::Connection::open(path).unwrap();
    other.pragma_update(None, "locking_mode", "EXCLUSIVE").unwrap();
    other.execute_batch("BEGIN EXCLUSIVE; DELETE FROM history;").unwrap();
    let store = start(directory.path());
    let release = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(4500));
        drop(other);
    });
    let loaded = store.first(PATIENCE).expect("it waits for its state");
    assert_eq!(number_of(&loaded), Some(3));
    release.join().unwrap();
    assert!(store.close(PATIENCE));
}
