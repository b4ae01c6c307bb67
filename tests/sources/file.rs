//! The file source as a whole: files that come, go and rotate under it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use faultline::signal::Health;
use faultline::sources::Setup;
use faultline::sources::file::{Follow, Options, Trust};

use crate::bench::{Bench, append};

fn following(root: &Path, glob: &str, kernel: bool) -> Setup {
    let trust = Trust { kernel, ..Trust::default() };
    let follow = vec![Follow { glob: glob.into(), trust }];
    Setup::File(Options { follow, root: root.to_owned() })
}

fn id(root: &Path, name: &str) -> String {
    format!("file:{}", root.join(name).display())
}

#[test]
fn a_file_that_appears_later_is_read_from_its_first_line() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let bench = Bench::new(following(root, "/log/*.log", false));
    let why = "/log/*.log";
    bench.until_health(
        "file",
        |health| matches!(health, Health::Absent(text) if text.ends_with(why)),
    );
    fs::create_dir(root.join("log")).unwrap();
    append(&root.join("log/a.log"), "one\ntwo\n");
    let id = id(root, "log/a.log");
    bench.until_health("file", |health| *health == Health::Up);
    bench.until_observed(&id, 2);
    append(&root.join("log/a.log"), "three\n");
    bench.until_observed(&id, 3);
    fs::rename(root.join("log"), root.join("away")).unwrap();
    bench.until_health("file", |health| matches!(health, Health::Down(_)));
}

#[test]
fn a_rotation_loses_and_repeats_nothing_though_the_glob_has_both_names() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    append(&root.join("messages"), "before\n");
    let bench = Bench::new(following(root, "/messages*", false));
    let old = id(root, "messages");
    bench.until_position(&old);
    append(&root.join("messages"), "one\nha");
    bench.until_observed(&old, 1);
    fs::rename(root.join("messages"), root.join("messages.1")).unwrap();
    append(&root.join("messages.1"), "lf\n");
    append(&root.join("messages"), "three\n");
    bench.until_observed(&old, 3);
    append(&root.join("messages"), "four\n");
    bench.until_observed(&old, 4);
    assert_eq!(bench.observed(&id(root, "messages.1")), 0);
}

/// What logrotate does: each file gets the next number.
fn rotate(root: &Path) {
    let name = |n: usize| match n {
        0 => root.join("messages"),
        n => root.join(format!("messages.{n}")),
    };
    for n in (0..4).rev() {
        if name(n).exists() {
            fs::rename(name(n), name(n + 1)).unwrap();
        }
    }
    append(&name(0), "");
}

/// How many lines were taken from the log under all its names.
fn of_all_names(bench: &Bench, root: &Path) -> u64 {
    let names = ["", ".1", ".2", ".3", ".4"];
    let ids = names.map(|end| id(root, &format!("messages{end}")));
    ids.iter().map(|id| bench.observed(id)).sum()
}

#[test]
fn numbers_that_move_on_at_each_rotation_repeat_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    append(&root.join("messages"), "before\n");
    let setup = following(root, "/messages*", false);
    let bench = Bench::new(setup.clone());
    bench.until_position(&id(root, "messages"));
    for round in 1..=4 {
        append(&root.join("messages"), &format!("line of round {round}\n"));
        bench.until(|| of_all_names(&bench, root) >= round);
        rotate(root);
        // Long enough for every file to be looked at under its new name.
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(of_all_names(&bench, root), round, "round {round}");
    }
    // The same while nobody reads.
    let positions = bench.stop();
    append(&root.join("messages"), "line of round 5\n");
    rotate(root);
    append(&root.join("messages"), "line of round 6\n");
    let bench = Bench::with(setup, positions, false);
    bench.until(|| of_all_names(&bench, root) >= 2);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(of_all_names(&bench, root), 2);
    assert_eq!(bench.lost(&id(root, "messages")), 0);
}

#[test]
fn copies_with_numbers_that_move_on_repeat_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let log = root.join("messages");
    append(&log, "before\n");
    let bench = Bench::new(following(root, "/messages*", false));
    bench.until_position(&id(root, "messages"));
    for round in 1..=6 {
        append(&log, &format!("line of round {round}\n"));
        bench.until(|| of_all_names(&bench, root) >= round);
        // At last one copy alone, over the one before.
        for n in (1..4).rev().filter(|_| round <= 4) {
            let name = |n: usize| root.join(format!("messages.{n}"));
            if name(n).exists() {
                fs::rename(name(n), name(n + 1)).unwrap();
            }
        }
        fs::copy(&log, root.join("messages.1")).unwrap();
        let file = fs::File::options().write(true).open(&log).unwrap();
        file.set_len(0).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(of_all_names(&bench, root), round, "round {round}");
    }
}

#[test]
fn a_restart_goes_on_behind_the_committed_position() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    append(&root.join("messages"), "");
    let id = id(root, "messages");
    let setup = following(root, "/messages", false);
    let bench = Bench::new(setup.clone());
    bench.until_position(&id);
    append(&root.join("messages"), "one\ntwo\n");
    bench.until_observed(&id, 2);
    let positions = bench.stop();
    append(&root.join("messages"), "three\n");
    let bench = Bench::with(setup, positions, false);
    bench.until_observed(&id, 1);
    append(&root.join("messages"), "four\n");
    bench.until_observed(&id, 2);
}

#[test]
fn a_file_made_after_a_first_start_that_found_none_is_all_news() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let setup = following(root, "/log/*.log", false);
    let bench = Bench::new(setup.clone());
    bench.until_position("file");
    let positions = bench.stop();
    fs::create_dir(root.join("log")).unwrap();
    append(&root.join("log/a.log"), "one\ntwo\n");
    let bench = Bench::with(setup, positions, false);
    bench.until_observed(&id(root, "log/a.log"), 2);
}

#[test]
fn a_missing_file_is_down_and_comes_up_when_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let bench = Bench::new(following(root, "/a/b/messages", false));
    let id = id(root, "a/b/messages");
    bench.until_health(&id, |health| matches!(health, Health::Down(_)));
    fs::create_dir_all(root.join("a/b")).unwrap();
    append(&root.join("a/b/messages"), "one\n");
    bench.until_health(&id, |health| *health == Health::Up);
    bench.until_observed(&id, 1);
    fs::remove_dir_all(root.join("a")).unwrap();
    bench.until_health(&id, |health| matches!(health, Health::Down(_)));
}

#[test]
fn only_what_is_tagged_kernel_is_the_kernels() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let path = root.join("messages");
    let mut file = fs::File::create(&path).unwrap();
    for tag in ["kernel:", "logger[1]:", "kernel[1]:"] {
        let line = format!("<3>Jan  2 15:04:05 h {tag} frobnicator failed\n");
        file.write_all(line.as_bytes()).unwrap();
    }
    file.write_all(b"<3>frobnicator failed\n").unwrap();
    let bench = Bench::with(
        following(root, "/messages", true),
        Default::default(),
        true,
    );
    let id = id(root, "messages");
    bench.until_observed(&id, 4);
    // Level err, and nothing takes it: the kernel's one line is unexplained.
    assert_eq!(bench.shared.unexplained.total(), 1);
    bench.stop();
}

#[test]
fn lines_match_the_patterns_of_files_or_of_the_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    append(&root.join("a.log"), "");
    let bench = Bench::new(following(root, "/a.log", false));
    bench.until_position(&id(root, "a.log"));
    append(&root.join("a.log"), "disk sda: broken\n");
    let signal = bench.until_match();
    assert_eq!(&*signal.pattern, "disk-broken-file");
    assert!(!signal.approximate);
    bench.stop();

    append(&root.join("messages"), "Jan  2 15:04:05 h kernel: disk sda: ok\n");
    let bench = Bench::new(following(root, "/messages", true));
    bench.until_position(&id(root, "messages"));
    let line = "Jan  2 15:04:05 h kernel: [   12.3] disk sdb: broken\n";
    append(&root.join("messages"), line);
    let signal = bench.until_match();
    assert_eq!(&*signal.pattern, "disk-broken");
    assert_eq!(signal.part.as_str(), "disk/sdb");
    assert!(signal.time.to_string().contains("-01-0"), "{}", signal.time);
}

#[test]
fn bytes_that_are_no_text_and_endless_lines_are_survived() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut bytes = vec![b'x'; 3_000_000];
    bytes.extend_from_slice(b"\n\0\0\xff\xfe\n\x1b[2J\nlast without newline");
    fs::write(&path, bytes).unwrap();
    let bench = Bench::with(
        following(dir.path(), "/log", false),
        Default::default(),
        true,
    );
    let id = id(dir.path(), "log");
    bench.until_observed(&id, 4);
    assert_eq!(bench.invalid(&id), 1);
}

#[test]
fn more_files_than_are_followed_are_said() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..300 {
        fs::write(dir.path().join(format!("{n}.log")), "old\n").unwrap();
    }
    let bench = Bench::new(following(dir.path(), "/*.log", false));
    bench.until_health("file:left-out", |health| match health {
        Health::Down(why) => why.starts_with("44 more files"),
        _ => false,
    });
    for n in 200..300 {
        fs::remove_file(dir.path().join(format!("{n}.log"))).unwrap();
    }
    bench.until_health("file:left-out", |health| *health == Health::Up);
    // 99.log, the last by name, was left out: what it held is no news.
    let last = id(dir.path(), "99.log");
    append(&dir.path().join("99.log"), "new\n");
    bench.until_observed(&last, 1);
}

#[test]
fn a_file_made_while_nobody_read_is_read_from_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    append(&root.join("old.log"), "before\n");
    append(&root.join("a.log"), "");
    let a = id(root, "a.log");
    let setup = following(root, "/a*.log", false);
    let bench = Bench::new(setup);
    bench.until_position(&a);
    append(&root.join("a.log"), "one\n");
    bench.until_observed(&a, 1);
    let positions = bench.stop();
    std::thread::sleep(std::time::Duration::from_millis(20));
    append(&root.join("b.log"), "news\n");
    let setup = following(root, "/*.log", false);
    let bench = Bench::with(setup, positions, false);
    bench.until_observed(&id(root, "b.log"), 1);
    assert_eq!(bench.observed(&id(root, "old.log")), 0);
}

#[test]
fn a_removed_file_of_a_glob_is_gone_and_goes_on_where_it_was_left() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    append(&root.join("a.log"), "before\n");
    append(&root.join("b.log"), "");
    let bench = Bench::new(following(root, "/*.log", false));
    let id = id(root, "a.log");
    bench.until_position(&id);
    append(&root.join("a.log"), "one\n");
    bench.until_observed(&id, 1);
    fs::copy(root.join("a.log"), root.join("away")).unwrap();
    fs::remove_file(root.join("a.log")).unwrap();
    bench.until_gone(&id);
    append(&root.join("away"), "two\n");
    fs::rename(root.join("away"), root.join("a.log")).unwrap();
    bench.until_observed(&id, 1);
    let positions = bench.stop();
    fs::remove_file(root.join("a.log")).unwrap();
    let setup = following(root, "/*.log", false);
    let bench = Bench::with(setup, positions, false);
    bench.until_gone(&id);
}

#[test]
fn a_copy_that_the_glob_has_too_is_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let log = root.join("messages");
    append(&log, "before\n");
    let bench = Bench::new(following(root, "/messages*", false));
    let of_log = id(root, "messages");
    bench.until_position(&of_log);
    append(&log, "one\ntwo\n");
    bench.until_observed(&of_log, 2);
    let copy = root.join("messages.1");
    fs::copy(&log, &copy).unwrap();
    fs::File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
    append(&log, "three\n");
    bench.until_observed(&of_log, 3);
    let of_copy = id(root, "messages.1");
    append(&copy, "late\n");
    bench.until_observed(&of_copy, 1);
}

#[test]
fn another_file_with_the_number_of_a_removed_one_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    append(&root.join("a.log"), "");
    let setup = following(root, "/*.log", false);
    let bench = Bench::new(setup.clone());
    let a = id(root, "a.log");
    bench.until_position(&a);
    append(&root.join("a.log"), "of a\n");
    bench.until_observed(&a, 1);
    let positions = bench.stop();
    // The same inode, other text, as the filesystem gives it to a new file.
    fs::write(root.join("a.log"), "of b, which is longer\n").unwrap();
    fs::rename(root.join("a.log"), root.join("b.log")).unwrap();
    let bench = Bench::with(setup, positions, false);
    let b = id(root, "b.log");
    bench.until_gone(&a);
    append(&root.join("b.log"), "more\n");
    bench.until_health(&b, |health| *health == Health::Up);
    assert_eq!(bench.lost(&b), 0);
}

#[test]
fn logs_that_all_begin_alike_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let log = root.join("app.log");
    let header = "# log of the frobnicator, version 1\n";
    for glob in ["/app.log", "/app.log*"] {
        fs::write(&log, "").unwrap();
        let all = |bench: &Bench| {
            bench.observed(&id(root, "app.log"))
                + bench.observed(&id(root, "app.log.1"))
        };
        let setup = following(root, glob, false);
        let bench = Bench::new(setup.clone());
        bench.until_position(&id(root, "app.log"));
        append(&log, header);
        bench.until(|| all(&bench) == 1);
        let positions = bench.stop();
        append(&log, "a\nb\nc\n");
        fs::rename(&log, root.join("app.log.1")).unwrap();
        append(&log, &format!("{header}d\n"));
        let bench = Bench::with(setup, positions, false);
        append(&log, "e\n");
        bench.until(|| all(&bench) == 6);
        assert_eq!(bench.lost(&id(root, "app.log")), 0);
        fs::remove_file(root.join("app.log.1")).unwrap();
    }
}

#[test]
fn a_copy_made_while_nobody_read_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let log = root.join("messages");
    append(&log, "before\n");
    let setup = following(root, "/messages*", false);
    let bench = Bench::new(setup.clone());
    let (of_log, of_copy) = (id(root, "messages"), id(root, "messages.1"));
    bench.until_position(&of_log);
    append(&log, "one\ntwo\n");
    bench.until_observed(&of_log, 2);
    let positions = bench.stop();
    append(&log, "three\n");
    fs::copy(&log, root.join("messages.1")).unwrap();
    fs::File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
    append(&log, "four\n");
    let bench = Bench::with(setup, positions, false);
    append(&log, "five\n");
    bench.until_observed(&of_log, 2);
    bench.until_observed(&of_copy, 1);
    assert_eq!((bench.lost(&of_log), bench.lost(&of_copy)), (0, 0));
}

#[test]
fn a_copy_in_the_making_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let log = root.join("messages");
    append(&log, "before\n");
    let bench = Bench::new(following(root, "/messages*", false));
    let of_log = id(root, "messages");
    bench.until_position(&of_log);
    let lines: String = (0..3000).map(|n| format!("line {n}\n")).collect();
    append(&log, &lines);
    bench.until_observed(&of_log, 3000);
    let copy = root.join("messages.1");
    for piece in fs::read(&log).unwrap().chunks(4096) {
        append(&copy, std::str::from_utf8(piece).unwrap());
        std::thread::sleep(Duration::from_millis(30));
    }
    fs::File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
    append(&log, "news\n");
    bench.until_observed(&of_log, 3001);
    append(&copy, "late\n");
    bench.until_observed(&id(root, "messages.1"), 1);
}

#[test]
fn half_a_line_of_a_removed_file_is_given_up_on_a_busy_host() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let (gone, busy) = (root.join("a.log"), root.join("b.log"));
    append(&gone, "");
    append(&busy, "");
    let bench = Bench::new(following(root, "/*.log", false));
    let a = id(root, "a.log");
    bench.until_position(&a);
    append(&gone, "whole\nhalf");
    bench.until_observed(&a, 1);
    let stop = std::sync::Arc::new(());
    let stopped = std::sync::Arc::downgrade(&stop);
    let writer = std::thread::spawn(move || {
        while stopped.upgrade().is_some() {
            append(&busy, "x\n");
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    fs::remove_file(&gone).unwrap();
    // Not before it was taken.
    bench.until_gone(&a);
    drop(stop);
    writer.join().unwrap();
}

#[test]
fn a_directory_of_logs_that_is_gone_is_told_though_others_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir(root.join("mnt")).unwrap();
    append(&root.join("mnt/a.log"), "");
    append(&root.join("b.log"), "");
    let trust = Trust::default();
    let follow = ["/mnt/*.log", "/*.log", "/never/*.log"];
    let follow = follow.map(|glob| Follow { glob: glob.into(), trust });
    let options = Options { follow: follow.into(), root: root.to_owned() };
    let bench = Bench::new(Setup::File(options));
    bench.until_health("file", |health| *health == Health::Up);
    fs::rename(root.join("mnt"), root.join("away")).unwrap();
    fs::create_dir(root.join("mnt")).unwrap();
    bench.until_health("file", |health| {
        matches!(health, Health::Down(why) if why.contains("mnt/*.log"))
    });
    fs::rename(root.join("away/a.log"), root.join("mnt/a.log")).unwrap();
    bench.until_health("file", |health| *health == Health::Up);
}

#[test]
fn the_same_log_in_another_file_is_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let (log, other) = (root.join("messages"), root.join("other"));
    for glob in ["/messages", "/messages*"] {
        fs::write(&log, "before\n").unwrap();
        let bench = Bench::new(following(root, glob, false));
        let of_log = id(root, "messages");
        bench.until_position(&of_log);
        append(&log, "one\ntwo\n");
        bench.until_observed(&of_log, 2);
        // As `sed -i` does it.
        fs::copy(&log, &other).unwrap();
        fs::rename(&other, &log).unwrap();
        append(&log, "three\n");
        bench.until_observed(&of_log, 3);
        // A restore: for a moment there is none.
        fs::copy(&log, &other).unwrap();
        fs::remove_file(&log).unwrap();
        // What a glob found is let go of, with its counters.
        let before = match glob.ends_with('*') {
            true => {
                bench.until_gone(&of_log);
                0
            }
            false => {
                bench.until_health(&of_log, |h| *h != Health::Up);
                3
            }
        };
        fs::rename(&other, &log).unwrap();
        append(&log, "four\n");
        bench.until_observed(&of_log, before + 1);
        append(&log, "five\n");
        bench.until_observed(&of_log, before + 2);
        assert_eq!(bench.lost(&of_log), 0);
    }
}

#[test]
fn a_log_written_anew_in_its_place_is_read_though_it_begins_alike() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let log = root.join("app.log");
    let header = format!("# {}\n", "x".repeat(300));
    append(&log, "");
    let bench = Bench::new(following(root, "/app.log", false));
    let of_log = id(root, "app.log");
    bench.until_position(&of_log);
    append(&log, &format!("{header}a\nb\n"));
    bench.until_observed(&of_log, 3);
    for (round, lines) in [(1, "c\nd\ne\n"), (2, "f\ng\nh\n")] {
        // Truncated and written in one go, as long as before or longer.
        fs::write(&log, format!("{header}{lines}")).unwrap();
        bench.until_observed(&of_log, 3 + 4 * round);
    }
}

#[test]
fn a_log_that_was_read_removed_and_made_anew_lost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let (log, other) = (root.join("a.log"), root.join("b.log"));
    append(&log, "");
    append(&other, "");
    let bench = Bench::new(following(root, "/*.log", false));
    let of_log = id(root, "a.log");
    bench.until_position(&of_log);
    append(&log, "one\n");
    bench.until_observed(&of_log, 1);
    fs::remove_file(&log).unwrap();
    bench.until_gone(&of_log);
    append(&log, "another one\n");
    bench.until_observed(&of_log, 1);
    assert_eq!(bench.lost(&of_log), 0);
}

#[test]
fn copies_of_logs_that_begin_alike_are_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let log = root.join("messages");
    let header = "# log of the frobnicator, version 1\n";
    append(&log, header);
    let bench = Bench::new(following(root, "/messages*", false));
    bench.until_position(&id(root, "messages"));
    let mut taken = 0;
    for round in 0..4 {
        append(&log, &format!("line of round {round}\nanother\n"));
        taken += 2;
        bench.until(|| of_all_names(&bench, root) >= taken);
        let (one, two) = (root.join("messages.1"), root.join("messages.2"));
        if one.exists() {
            fs::rename(&one, two).unwrap();
        }
        let text = fs::read(&log).unwrap();
        // The header stands there before the copy is seen.
        fs::write(root.join("other"), text).unwrap();
        fs::write(&log, header).unwrap();
        taken += 1;
        bench.until(|| of_all_names(&bench, root) >= taken);
        fs::rename(root.join("other"), &one).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(of_all_names(&bench, root), taken, "round {round}");
    }
}
