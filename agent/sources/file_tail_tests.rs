//! Rotation in all its ways.

use std::fs;
use std::io::Write;

use super::*;

struct Log {
    dir: tempfile::TempDir,
    path: PathBuf,
    tail: Tail,
}

impl Log {
    fn new() -> Log {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("messages");
        let tail = Tail::new(path.clone());
        Log { dir, path, tail }
    }

    fn append(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        let file = File::options().create(true).append(true).open(path);
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, to: &str) {
        fs::rename(&self.path, self.dir.path().join(to)).unwrap();
    }

    /// Steps until there is nothing more; gives the lines.
    fn read(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut take = |line: &[u8]| {
            lines.push(String::from_utf8_lossy(line).into_owned());
            true
        };
        while self.tail.step(&mut take).unwrap().more {}
        lines
    }

    /// Another tail of the same path that goes on where this one stood.
    fn restart(&mut self) {
        let mark = self.tail.mark();
        self.tail = Tail::new(self.path.clone());
        self.tail.begin(mark, Start::End, &|_| false).unwrap();
    }
}

#[test]
fn a_line_cut_by_a_rename_is_completed_in_the_old_file() {
    let mut log = Log::new();
    log.append("messages", "one\ntw");
    assert_eq!(log.read(), ["one"]);
    log.rename("messages.1");
    log.append("messages", "");
    assert_eq!(log.read(), [""; 0]);
    // The writer still has the old one open.
    log.append("messages.1", "o\nthree\n");
    assert_eq!(log.read(), ["two", "three"]);
    log.append("messages.1", "four\n");
    log.append("messages", "five\n");
    assert_eq!(log.read(), ["four", "five"]);
}

#[test]
fn a_line_cut_by_a_rename_is_joined_with_its_rest_in_the_new_file() {
    let mut log = Log::new();
    log.append("messages", "one\ntw");
    log.read();
    log.rename("messages.1");
    log.append("messages", "o\nthree\n");
    assert_eq!(log.read(), ["two", "three"]);
}

#[test]
fn half_a_line_that_was_given_up_does_not_swallow_the_next_one() {
    let mut log = Log::new();
    log.append("messages", "app: p1 ba");
    log.read();
    File::options().write(true).open(&log.path).unwrap().set_len(0).unwrap();
    log.append("messages", "app: p2 bad\n");
    let mut known = Vec::new();
    // A pattern that is anchored knows no line with another before it.
    let mut take = |line: &[u8]| {
        let knows = line == b"app: p1 bad" || line == b"app: p2 bad";
        known.extend(knows.then(|| line.to_vec()));
        knows
    };
    while log.tail.step(&mut take).unwrap().more {}
    assert_eq!(known, [b"app: p2 bad"]);
}

#[test]
fn half_a_line_is_not_joined_with_a_line_that_has_a_header() {
    let mut log = Log::new();
    log.append("messages", "Jan  2 15:04:05 h kernel: half");
    log.read();
    log.rename("messages.1");
    log.append("messages", "Jan  2 15:04:06 h kernel: whole\n");
    assert_eq!(
        log.read(),
        ["Jan  2 15:04:05 h kernel: half", "Jan  2 15:04:06 h kernel: whole"],
    );
}

#[test]
fn half_a_line_whose_rest_never_comes_is_taken_as_it_is() {
    let mut log = Log::new();
    log.append("messages", "half");
    log.read();
    let held = log.tail.mark().unwrap();
    fs::remove_file(&log.path).unwrap();
    assert_eq!(log.read(), [""; 0]);
    assert_eq!(log.tail.mark().unwrap(), held);
    assert_eq!(held.offset, 0);
    let mut lines = Vec::new();
    log.tail.give_up_waiting(&mut |line| {
        lines.push(line.to_vec());
        true
    });
    assert_eq!(lines, [b"half"]);
    assert_eq!(log.tail.mark().unwrap().offset, 4);
}

#[test]
fn a_truncated_file_is_read_from_its_beginning() {
    let mut log = Log::new();
    log.append("messages", "one\ntwo\nhalf");
    assert_eq!(log.read(), ["one", "two"]);
    File::options().write(true).open(&log.path).unwrap().set_len(0).unwrap();
    log.append("messages", " a line\nx\n");
    assert_eq!(log.read(), ["half a line", "x"]);
}

#[test]
fn a_file_truncated_and_grown_beyond_what_was_read_is_seen() {
    let mut log = Log::new();
    log.append("messages", "one\n");
    assert_eq!(log.read(), ["one"]);
    File::options().write(true).open(&log.path).unwrap().set_len(0).unwrap();
    log.append("messages", "another line\nand more\n");
    assert_eq!(log.read(), ["another line", "and more"]);
}

#[test]
fn a_directory_may_vanish_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let sub = dir.path().join("log");
    let path = sub.join("messages");
    fs::create_dir(&sub).unwrap();
    fs::write(&path, "one\n").unwrap();
    let mut log = Log { dir, tail: Tail::new(path.clone()), path };
    assert_eq!(log.read(), ["one"]);
    fs::remove_dir_all(&sub).unwrap();
    assert_eq!(log.read(), [""; 0]);
    assert!(log.tail.step(&mut |_| true).unwrap().missing);
    fs::create_dir(&sub).unwrap();
    fs::write(&log.path, "two\n").unwrap();
    assert_eq!(log.read(), ["two"]);
}

#[test]
fn a_restart_repeats_nothing_and_skips_nothing() {
    let mut log = Log::new();
    log.append("messages", "one\nhal");
    assert_eq!(log.read(), ["one"]);
    log.restart();
    log.append("messages", "f\nthree\n");
    assert_eq!(log.read(), ["half", "three"]);
}

#[test]
fn what_was_renamed_during_a_restart_is_read_to_its_end() {
    let mut log = Log::new();
    log.append("messages", "one\n");
    assert_eq!(log.read(), ["one"]);
    let mark = log.tail.mark();
    log.append("messages", "two\n");
    log.rename("messages.1");
    log.append("messages", "three\n");
    log.tail = Tail::new(log.path.clone());
    log.tail.begin(mark, Start::End, &|_| false).unwrap();
    assert_eq!(log.read(), ["two", "three"]);
}

#[test]
fn a_file_that_was_never_read_begins_with_its_next_line() {
    let mut log = Log::new();
    log.append("messages", "old\nhal");
    log.tail.begin(None, Start::End, &|_| false).unwrap();
    log.append("messages", "f\nnew\n");
    assert_eq!(log.read(), ["half", "new"]);
}

#[test]
fn a_kill_while_half_a_line_is_held_repeats_nothing() {
    let mut log = Log::new();
    log.append("messages", "one\n");
    assert_eq!(log.read(), ["one"]);
    log.append("messages", "two\nha");
    log.rename("messages.1");
    log.append("messages", "");
    assert_eq!(log.read(), ["two"]);
    log.restart();
    assert_eq!(log.read(), [""; 0]);
    log.append("messages", "lf\nthree\n");
    assert_eq!(log.read(), ["half", "three"]);
    log.restart();
    assert_eq!(log.read(), [""; 0]);
}

#[test]
fn a_kill_between_two_files_repeats_nothing() {
    let mut log = Log::new();
    log.append("messages", "one\n");
    assert_eq!(log.read(), ["one"]);
    log.append("messages", "two\n");
    log.rename("messages.1");
    log.append("messages", "three\n");
    let mut lines = Vec::new();
    // The old one is read to its end, the new one not yet open.
    let step = log.tail.step(&mut |line| {
        lines.push(line.to_vec());
        true
    });
    assert!(step.unwrap().more && log.tail.reads().is_none());
    assert_eq!(lines, [b"two"]);
    log.restart();
    assert_eq!(log.read(), ["three"]);
}

/// Puts some time between two writes, for filesystems of coarse stamps.
fn later() {
    std::thread::sleep(std::time::Duration::from_millis(20));
}

impl Log {
    /// Another tail that begins at `mark`; how many files it missed.
    fn begin(&mut self, mark: Option<Mark>) -> u64 {
        self.tail = Tail::new(self.path.clone());
        self.tail.begin(mark, Start::End, &|_| false).unwrap()
    }

    /// Reads `one`, then is rotated twice while nobody reads.
    fn rotated_twice() -> (Log, Option<Mark>) {
        let mut log = Log::new();
        log.append("messages.2", "older\n");
        later();
        log.append("messages", "one\n");
        assert_eq!(log.read(), ["one"]);
        let mark = log.tail.mark();
        later();
        log.append("messages", "two\n");
        fs::rename(
            log.dir.path().join("messages.2"),
            log.dir.path().join("messages.4"),
        )
        .unwrap();
        log.rename("messages.3");
        later();
        log.append("messages", "three\nfo");
        log.rename("messages.2");
        later();
        log.append("messages", "ur\nfive\n");
        log.rename("messages.1");
        later();
        log.append("messages", "six\n");
        (log, mark)
    }
}

#[test]
fn several_rotations_during_a_restart_are_read_in_their_order() {
    let (mut log, mark) = Log::rotated_twice();
    assert_eq!(log.begin(mark), 0);
    // Killed again in the middle of it.
    let mut lines = Vec::new();
    let mut take = |line: &[u8]| {
        lines.push(String::from_utf8_lossy(line).into_owned());
        true
    };
    log.tail.step(&mut take).unwrap();
    log.tail.step(&mut take).unwrap();
    assert_eq!(lines, ["two", "three"]);
    let mark = log.tail.mark();
    assert_eq!(log.begin(mark), 0);
    assert_eq!(log.read(), ["four", "five", "six"]);
}

#[test]
fn what_was_rotated_away_or_compressed_unread_is_counted() {
    let (mut log, mark) = Log::rotated_twice();
    let gone = log.dir.path().join("messages.3");
    fs::remove_file(&gone).unwrap();
    assert_eq!(log.begin(mark), 1);
    assert_eq!(log.read(), ["three", "four", "five", "six"]);

    let (mut log, mark) = Log::rotated_twice();
    let name = |n| log.dir.path().join(format!("messages.{n}"));
    for n in [3, 2] {
        // As gzip keeps the time of the last write.
        fs::rename(name(n), log.dir.path().join(format!("messages.{n}.gz")))
            .unwrap();
        let path = log.dir.path().join(format!("messages.{n}.gz"));
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, [0x1f, 0x8b]).unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }
    assert_eq!(log.begin(mark), 2);
    assert_eq!(log.read(), ["ur", "five", "six"]);
}

#[test]
fn a_copy_made_before_a_truncation_is_read_to_its_end() {
    let mut log = Log::new();
    let long = "x".repeat(PRINT_MAX);
    log.append("messages", &format!("{long}\none\n"));
    log.read();
    let mark = log.tail.mark();
    log.append("messages", "two\n");
    fs::copy(&log.path, log.dir.path().join("messages.1")).unwrap();
    File::options().write(true).open(&log.path).unwrap().set_len(0).unwrap();
    log.append("messages", "three\n");
    assert_eq!(log.begin(mark), 0);
    assert_eq!(log.read(), ["two", "three"]);
}

#[test]
fn a_copy_of_a_short_log_is_read_to_its_end_too() {
    let mut log = Log::new();
    log.append("messages", "zero\n");
    log.read();
    let mark = log.tail.mark();
    log.append("messages", "one\n");
    fs::copy(&log.path, log.dir.path().join("messages.1")).unwrap();
    File::options().write(true).open(&log.path).unwrap().set_len(0).unwrap();
    log.append("messages", "two\n");
    assert_eq!(log.begin(mark), 0);
    assert_eq!(log.read(), ["one", "two"]);
}
