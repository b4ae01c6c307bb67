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
    fs::remove_file(&log.path).unwrap();
    assert_eq!(log.read(), [""; 0]);
    assert_eq!(log.tail.mark(), None);
    let mut lines = Vec::new();
    log.tail.give_up_waiting(&mut |line| {
        lines.push(line.to_vec());
        true
    });
    assert_eq!(lines, [b"half"]);
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
