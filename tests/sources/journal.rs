//! The journal source with a journalctl of our own: a script that notes how
//! it was called and prints what a FIFO gives it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use faultline::signal::{Health, Position, SourceId};
use faultline::sources::Setup;
use faultline::sources::journal::Options;

use crate::bench::Bench;

/// A journal whose entries the test writes.
struct Journal {
    dir: tempfile::TempDir,
}

impl Journal {
    fn new(script: &str) -> Journal {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journalctl");
        let here = dir.path().display();
        let head = format!("#!/bin/sh\necho \"$@\" >> {here}/called\n");
        fs::write(&path, head + script).unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&path, mode).unwrap();
        fs::create_dir(dir.path().join("journal")).unwrap();
        fs::write(dir.path().join("journal/system.journal"), "").unwrap();
        let mode = nix::sys::stat::Mode::S_IRWXU;
        nix::unistd::mkfifo(&dir.path().join("entries"), mode).unwrap();
        Journal { dir }
    }

    fn following() -> Journal {
        Journal::new(
            "case \"$*\" in *--follow*)
                 exec cat \"$(dirname \"$0\")/entries\";;
             esac
             case \"$*\" in *--lines=1*)
                 cat \"$(dirname \"$0\")/last\" 2>/dev/null; exit 0;;
             esac
             cat \"$(dirname \"$0\")/missed\" 2>/dev/null; exit 0\n",
        )
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn setup(&self, kernel: bool) -> Setup {
        Setup::Journal(Options {
            journalctl: self.path().join("journalctl"),
            directory: Some(self.path().join("journal")),
            kernel,
        })
    }

    /// The writing end; waits for the reader.
    fn writer(&self) -> File {
        let path = self.path().join("entries");
        File::options().write(true).open(path).unwrap()
    }

    fn called(&self) -> String {
        fs::read_to_string(self.path().join("called")).unwrap()
    }
}

fn entry(cursor: &str, transport: &str, level: u8) -> String {
    format!(
        "{{\"__CURSOR\":\"{cursor}\",\"__REALTIME_TIMESTAMP\":\"7\",\
         \"PRIORITY\":\"{level}\",\"_TRANSPORT\":\"{transport}\",\
         \"MESSAGE\":\"frobnicator failed\"}}\n"
    )
}

#[test]
fn entries_are_read_and_a_restart_goes_on_at_the_cursor() {
    let journal = Journal::following();
    let bench = Bench::new(journal.setup(false));
    let mut writer = journal.writer();
    writer.write_all(entry("s=1", "stdout", 6).as_bytes()).unwrap();
    writer.write_all(entry("s=2", "kernel", 3).as_bytes()).unwrap();
    bench.until_observed("journal", 1);
    assert!(journal.called().contains("--lines=0"));
    writer.write_all(b"no json\n").unwrap();
    writer.write_all(entry("s=3", "stdout", 6).as_bytes()).unwrap();
    bench.until_observed("journal", 2);
    assert_eq!(bench.invalid("journal"), 1);
    assert_eq!(bench.shared.unexplained.total(), 0);
    let positions = bench.stop();
    drop(writer);
    let id = SourceId::from("journal");
    assert_eq!(positions[&id], Position("{\"cursor\":\"s=3\"}".into()));

    // What was logged meanwhile, maybe in the boot before, comes first.
    let missed = entry("s=4", "stdout", 6);
    fs::write(journal.path().join("missed"), missed).unwrap();
    let bench = Bench::with(journal.setup(false), positions, false);
    bench.until_observed("journal", 1);
    drop(journal.writer());
    bench.until_health("journal", |h| matches!(h, Health::Down(_)));
    let called = journal.called();
    let calls: Vec<&str> = called.lines().skip(2).collect();
    assert!(calls[0].contains("--after-cursor=s=3"), "{called}");
    assert!(!calls[0].contains("--follow"), "{called}");
    assert!(calls[1].contains("--after-cursor=s=4"), "{called}");
    assert!(calls[1].contains("--follow"), "{called}");
}

#[test]
fn where_the_journal_ends_is_sent_before_an_entry_comes() {
    let journal = Journal::following();
    let last = entry("s=7", "stdout", 6);
    fs::write(journal.path().join("last"), last).unwrap();
    let bench = Bench::new(journal.setup(false));
    let first = bench.until_position("journal");
    assert_eq!(first, Position("{\"cursor\":\"s=7\"}".into()));
    assert_eq!(bench.observed("journal"), 0);
    // What was logged since then is read before what follows.
    drop(journal.writer());
    let called = journal.called();
    let calls: Vec<&str> = called.lines().skip(1).collect();
    assert!(calls[0].contains("--after-cursor=s=7"), "{called}");
    assert!(!calls[0].contains("--follow"), "{called}");
}

#[test]
fn kernel_entries_are_kernel_text_where_kmsg_is_not_read() {
    let journal = Journal::following();
    let bench = Bench::new(journal.setup(true));
    let mut writer = journal.writer();
    writer.write_all(entry("s=1", "kernel", 3).as_bytes()).unwrap();
    // Only journald can say that it is the kernel's.
    writer.write_all(entry("s=2", "syslog", 3).as_bytes()).unwrap();
    bench.until_observed("journal", 2);
    assert_eq!(bench.shared.unexplained.total(), 1);
}

#[test]
fn entries_match_with_the_time_they_were_logged_at() {
    let journal = Journal::following();
    let bench = Bench::new(journal.setup(true));
    let mut writer = journal.writer();
    let entry = |transport| {
        entry("s=1", transport, 3)
            .replace("frobnicator failed", "disk sda: broken")
    };
    writer.write_all(entry("stdout").as_bytes()).unwrap();
    let signal = bench.until_match();
    assert_eq!(&*signal.pattern, "disk-broken-journal");
    assert_eq!((signal.time.0, signal.approximate), (7, false));
    writer.write_all(entry("kernel").as_bytes()).unwrap();
    assert_eq!(&*bench.until_match().pattern, "disk-broken");
}

#[test]
fn a_journalctl_that_dies_is_down_with_its_words_and_started_again() {
    let journal = Journal::new("echo no such journal >&2\nexit 3\n");
    let bench = Bench::new(journal.setup(false));
    bench.until_health("journal", |health| {
        let Health::Down(why) = health else { return false };
        assert!(why.contains("no such journal"), "{why}");
        true
    });
}

#[test]
fn a_journalctl_that_complains_without_end_is_still_read() {
    let journal = Journal::new(
        "head -c 300000 /dev/zero | tr '\\0' 'x' >&2 2>/dev/null
         echo '{\"__CURSOR\":\"a\",\"MESSAGE\":\"hello\"}'
         exec sleep 1000\n",
    );
    let bench = Bench::new(journal.setup(false));
    bench.until_observed("journal", 1);
}

#[test]
fn a_position_that_the_journal_has_lost_is_given_up() {
    let journal = Journal::new(
        "case \"$*\" in *after-cursor*)
             echo 'Failed to seek to cursor' >&2; exit 1;;
             *--lines=1*) exit 0;;
         esac
         exec cat \"$(dirname \"$0\")/entries\"\n",
    );
    let id = SourceId::from("journal");
    let position = Position("{\"cursor\":\"gone\"}".into());
    let positions = [(id, position)].into();
    let bench = Bench::with(journal.setup(false), positions, false);
    bench.until_health("journal", |h| matches!(h, Health::Down(_)));
    let mut writer = journal.writer();
    writer.write_all(entry("s=9", "stdout", 6).as_bytes()).unwrap();
    bench.until_observed("journal", 1);
    assert!(journal.called().contains("--lines=0"));
}

#[test]
fn no_program_or_no_journal_is_absent() {
    let journal = Journal::following();
    let missing = Options {
        journalctl: "/nowhere/journalctl".into(),
        directory: Some(journal.path().join("journal")),
        kernel: false,
    };
    let bench = Bench::new(Setup::Journal(missing));
    bench.until_health("journal", |h| matches!(h, Health::Absent(_)));
    fs::remove_file(journal.path().join("journal/system.journal")).unwrap();
    let bench = Bench::new(journal.setup(false));
    bench.until_health("journal", |h| matches!(h, Health::Absent(_)));
}

#[test]
fn stopping_ends_the_child() {
    let journal = Journal::following();
    let bench = Bench::new(journal.setup(false));
    let mut writer = journal.writer();
    writer.write_all(entry("s=1", "stdout", 6).as_bytes()).unwrap();
    bench.until_observed("journal", 1);
    bench.stop();
    let after = writer.write_all(entry("s=2", "stdout", 6).as_bytes());
    assert!(after.is_err(), "its reader is still there");
}
