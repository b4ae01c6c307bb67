//! Every kind of mistake in a pattern file gives one clear message.
//!
//! `fixtures/patterns-bad/` holds files named by the mistake in them, each
//! with the expected message beside it. What cannot be kept in a repository (a
//! directory, a FIFO, a file of 100 MB) is made here. After a wanted change of
//! wording, `FAULTLINE_BLESS=1 cargo test --test pattern_errors` writes the
//! messages anew; read the difference.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use faultline::cli::{check, test};
use faultline::reload::PatternFiles;

const BAD: &str = "fixtures/patterns-bad";

fn bad_files() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(BAD)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
        .collect();
    all.sort();
    all
}

/// What `faultline check` says, or `faultline test` where `check` has
/// nothing to say.
fn said(path: &Path) -> String {
    let paths = [path.to_owned()];
    let mut out = Vec::new();
    let mut status = check::run(&paths, false, &mut out).unwrap();
    if status == 0 {
        out.clear();
        status = test::run(&paths, false, &mut out).unwrap();
    }
    assert_eq!(status, 1, "{} has findings", path.display());
    String::from_utf8(out).unwrap()
}

#[test]
fn every_mistake_gives_the_one_message_beside_it() {
    let bless = std::env::var_os("FAULTLINE_BLESS").is_some();
    let files = bad_files();
    assert!(files.len() >= 100, "{} kinds of mistakes", files.len());
    let mut wrong = Vec::new();
    for file in &files {
        let got = said(file);
        let beside = file.with_extension("txt");
        if bless {
            fs::write(&beside, &got).unwrap();
        }
        let want = fs::read_to_string(&beside).unwrap_or_default();
        if got != want {
            wrong.push(format!("== {}\n{got}", file.display()));
        }
        told_once(file, &got);
    }
    assert!(wrong.is_empty(), "not as expected:\n{}", wrong.join("\n"));
}

/// One mistake, one message, in its place: what follows from a mistake is
/// not told too, and no pack is blamed for it.
fn told_once(file: &Path, said: &str) {
    // Both ends of a circle are told, since either may be the wrong one; and
    // what matches empty text also has no literal.
    let twice = ["suppresses-in-a-circle", "matches-empty"];
    let name = file.file_stem().unwrap().to_str().unwrap();
    let told =
        |word: &str| said.lines().filter(|l| l.starts_with(word)).count();
    let count = told("error: ") + told("warning: ");
    let want = if twice.contains(&name) { 2 } else { 1 };
    assert_eq!(count, want, "{name}:\n{said}");
    assert!(said.contains(&format!("--> {}", file.display())), "{said}");
    assert!(!said.contains("built-in "), "{name} blames a pack:\n{said}");
    let acts = |c: char| c.is_control() && c != '\n' && c != '\t';
    assert!(!said.contains(acts), "{name} reaches the terminal");
}

/// Makes what no repository can hold and returns it with what is said of it.
fn made(dir: &Path) -> Vec<(PathBuf, &'static str)> {
    let path = |name: &str| dir.join(name);
    fs::create_dir(path("directory.yaml")).unwrap();
    let sparse = fs::File::create(path("hundred-megabytes.yaml")).unwrap();
    sparse.set_len(100 << 20).unwrap();
    nix::unistd::mkfifo(&path("fifo.yaml"), nix::sys::stat::Mode::S_IRWXU)
        .unwrap();
    std::os::unix::fs::symlink("loop.yaml", path("loop.yaml")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", path("device.yaml")).unwrap();
    std::os::unix::fs::symlink("gone", path("dangling.yaml")).unwrap();
    let name = |text| (path(text), text);
    vec![
        (name("directory.yaml").0, "is a directory, not a file"),
        (name("hundred-megabytes.yaml").0, "the file has 104857600 bytes"),
        (name("fifo.yaml").0, "is not a regular file"),
        (name("loop.yaml").0, "symbolic links"),
        (name("device.yaml").0, "is not a regular file"),
        (name("dangling.yaml").0, "No such file"),
    ]
}

#[test]
fn what_is_no_ordinary_file_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let made = made(dir.path());
    // A process of its own: one that blocks must not stop the tests.
    let output = Command::new("timeout")
        .args(["10", env!("CARGO_BIN_EXE_faultline"), "check"])
        .arg(dir.path())
        .output()
        .unwrap();
    let (status, said) = harness::said(output);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains(&format!(" {} error(s)", made.len())), "{said}");
    for (path, want) in made {
        let of = format!("  --> {}", path.display());
        let at = said.lines().position(|l| l == of).expect("it is told");
        let message = said.lines().nth(at - 1).unwrap();
        assert!(message.contains(want), "{of}: {message}");
    }
}

#[test]
fn a_tolerance_in_one_text_counts_each_page_apart() {
    let (status, said) =
        harness::run(&["test", "fixtures/patterns-good/per-page.yaml"]);
    assert_eq!((status, said.as_str()), (0, "4 passed, 0 failed\n"));
}

#[test]
fn a_bad_file_leaves_the_last_good_version_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let mine = dir.path().join("mine.yaml");
    let good = fs::read_to_string("fixtures/patterns-good/mine.yaml").unwrap();
    let mut files = PatternFiles::new(vec![dir.path().into()]);
    fs::write(&mine, &good).unwrap();
    let first = files.load().unwrap();
    assert!(first.files.iter().all(|f| f.errors.is_empty()));
    assert!(first.set.get("mine-read-error").is_some());
    let names = ["unknown-field", "suppresses-in-a-circle", "nul-byte"];
    for name in names.iter().chain(&["deep-nesting", "billion-laughs"]) {
        let bad = format!("{BAD}/{name}.yaml");
        fs::write(&mine, fs::read(&bad).unwrap()).unwrap();
        let loaded = files.load().unwrap();
        assert!(!loaded.files[0].is_good(), "{name} is refused");
        assert_eq!(loaded.set.hash, first.set.hash, "{name}");
    }
    fs::write(&mine, &good).unwrap();
    for (path, _) in made(dir.path()) {
        assert!(path.symlink_metadata().is_ok());
    }
    let loaded = files.load().unwrap();
    assert_eq!(loaded.set.hash, first.set.hash);
    assert_eq!(loaded.files.iter().filter(|f| !f.is_good()).count(), 6);
}

/// Whether a file is in force as it stands.
trait Good {
    fn is_good(&self) -> bool;
}

impl Good for faultline::reload::FileState {
    fn is_good(&self) -> bool {
        self.errors.is_empty()
    }
}
