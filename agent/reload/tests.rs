//! What is in force when files change, clash, break and go.

use super::*;

const GOOD: &str = "version: 1\ncomponent: disk\npatterns:\n  - name: mine\n    \
        summary: s\n    severity: warning\n    source: kmsg\n    where: { message: \
        '^my driver: (?<dev>\\w{1,16}) failed' }\n    part: 'disk/{dev}'\n    clear: [{ \
        quiet: 1h }]\n    advice: a\n";

fn load(files: &mut PatternFiles) -> Loaded {
    files.load().expect("the built-in packs compile")
}

#[test]
fn a_broken_file_keeps_its_last_good_version_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.yaml");
    fs::write(&path, GOOD).unwrap();
    let mut files = PatternFiles::new(vec![dir.path().into()]);
    let first = load(&mut files);
    assert!(first.set.get("mine").is_some());
    assert_eq!(first.files[0].errors, []);

    fs::write(&path, GOOD.replace("severity", "serverity")).unwrap();
    let second = load(&mut files);
    assert!(second.set.get("mine").is_some());
    assert_eq!(second.set.hash, first.set.hash);
    let told = second.files[0].errors[0].to_string();
    assert!(told.contains("did you mean `severity`"), "{told}");

    fs::remove_file(&path).unwrap();
    assert!(load(&mut files).set.get("mine").is_none());
}

#[test]
fn a_file_that_is_bad_at_a_restart_says_what_it_last_said() {
    let dir = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.yaml");
    let disables = "  - { name: kernel-oom, disabled: true }\n";
    fs::write(&path, format!("{GOOD}{disables}")).unwrap();
    let start = || {
        let files = PatternFiles::new(vec![dir.path().into()]);
        files.remembered_by(Kept::new(state.path()))
    };
    let mut files = start();
    let first = load(&mut files);
    assert!(first.set.get("kernel-oom").is_none());
    assert!(!files.is_kept());
    assert_eq!(files.keep().unwrap(), [""; 0].map(PathBuf::from));
    assert!(files.is_kept());
    // One mistake of the text alone, and one that only shows among
    // all patterns.
    let unknown = GOOD.replace("severity", "serverity");
    let circular = GOOD.replace("    part", "    suppresses: [x]\n    part");
    for bad in [unknown, circular] {
        fs::write(&path, bad).unwrap();
        let mut files = start();
        let again = load(&mut files);
        assert_eq!(again.set.hash, first.set.hash);
        assert!(!again.set.incomplete);
        assert!(again.files[0].stands_in);
        assert!(!again.files[0].errors.is_empty());
        files.keep().unwrap();
    }
    // Taken away on purpose, it says nothing any more.
    fs::remove_file(&path).unwrap();
    fs::write(dir.path().join("other.yaml"), "no\n").unwrap();
    let mut files = start();
    let gone = load(&mut files);
    assert!(gone.set.get("kernel-oom").is_some());
    files.keep().unwrap();
    assert_eq!(fs::read_dir(state.path().join("patterns")).unwrap().count(), 0);
}

#[test]
fn a_directory_that_cannot_be_listed_keeps_its_files_in_force() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mine.yaml"), GOOD).unwrap();
    let mut files = PatternFiles::new(vec![dir.path().into()]);
    let first = load(&mut files);
    for n in 0..FILES_MAX {
        fs::write(dir.path().join(format!("{n}.yaml")), "").unwrap();
    }
    let second = load(&mut files);
    assert_eq!(second.set.hash, first.set.hash);
    assert!(second.files.iter().any(|f| !f.errors.is_empty()));
}

#[test]
fn a_directory_that_is_gone_keeps_its_files_in_force() {
    let (base, state) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (here, away) = (base.path().join("here"), base.path().join("away"));
    let start = || {
        let files = PatternFiles::new(vec![here.clone()]);
        files.remembered_by(Kept::new(state.path()))
    };
    // One that never was is nothing to speak of.
    assert!(load(&mut start()).files.is_empty());
    fs::create_dir(&here).unwrap();
    fs::write(here.join("mine.yaml"), GOOD).unwrap();
    let mut files = start();
    let first = load(&mut files);
    files.keep().unwrap();
    fs::rename(&here, &away).unwrap();
    for files in [&mut files, &mut start()] {
        let gone = load(files);
        assert_eq!(gone.set.hash, first.set.hash);
        let told = gone.files[0].errors[0].to_string();
        assert!(told.contains("the directory is gone"), "{told}");
        files.keep().unwrap();
    }
    fs::create_dir(&here).unwrap();
    assert!(load(&mut files).set.get("mine").is_none());
    fs::remove_dir(&here).unwrap();
    fs::rename(&away, &here).unwrap();
    assert!(load(&mut files).set.get("mine").is_some());
}

#[test]
fn a_new_file_never_puts_a_good_one_out_of_force() {
    let (dir, state) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let start = || {
        let files = PatternFiles::new(vec![dir.path().into()]);
        files.remembered_by(Kept::new(state.path()))
    };
    let write = |name: &str, text: &str| {
        fs::write(dir.path().join(name), text).unwrap();
    };
    let told = |loaded: &Loaded| -> Vec<(bool, String)> {
        let bad = loaded.files.iter().filter(|f| !f.errors.is_empty());
        bad.map(|f| (f.stands_in, f.errors[0].to_string())).collect()
    };
    let other = GOOD.split_once("patterns:\n").unwrap().1;
    let other = other.replace("mine", "other");
    let both = format!("{GOOD}{other}");
    write("mine.yaml", &both);
    let mut files = start();
    let first = load(&mut files);
    assert_eq!(told(&first), []);
    files.keep().unwrap();
    // A copy of one of its names comes first in the order of names.
    write("a.yaml", GOOD);
    for files in [&mut files, &mut start()] {
        let second = load(files);
        assert_eq!(second.set.hash, first.set.hash);
        let [(false, message)] = &told(&second)[..] else { panic!() };
        assert!(message.contains("the name `mine` is taken"), "{message}");
        assert!(message.contains("a.yaml:4"), "{message}");
        files.keep().unwrap();
    }
    // Nor does a copy of the whole file.
    write("a.yaml", &both);
    let copy = load(&mut files);
    let [(false, message)] = &told(&copy)[..] else { panic!() };
    assert!(message.contains("a.yaml:4"), "{message}");
    write("a.yaml", GOOD);
    load(&mut files);
    // The name has moved there, and where it was there is a mistake.
    write("mine.yaml", &both.replace("severity", "severty"));
    for files in [&mut files, &mut start()] {
        let third = load(files);
        assert_eq!(third.set.hash, first.set.hash);
        let [(false, copy), (true, mistake)] = &told(&third)[..] else {
            panic!()
        };
        assert!(copy.contains("is taken"), "{copy}");
        assert!(mistake.contains("severty"), "{mistake}");
        files.keep().unwrap();
    }
    let rest = format!("{}{other}", GOOD.split_once("  - ").unwrap().0);
    write("mine.yaml", &rest);
    let moved = load(&mut files);
    assert_eq!(told(&moved), []);
    assert!(moved.set.get("mine").is_some());
}

#[test]
fn what_another_file_needs_stays_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let mine = GOOD.replace("    part", "    suppresses: [other]\n    part");
    let other = GOOD.replace("mine", "other");
    let path = dir.path().join("other.yaml");
    fs::write(dir.path().join("mine.yaml"), mine).unwrap();
    fs::write(&path, &other).unwrap();
    let mut files = PatternFiles::new(vec![dir.path().into()]);
    let first = load(&mut files);
    assert_eq!(first.set.patterns.len(), load(&mut files).set.patterns.len());
    let renamed = other.replace("other", "another");
    for change in [Some(renamed), None] {
        match change {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let again = load(&mut files);
        assert_eq!(again.set.hash, first.set.hash);
        let bad: Vec<&FileState> =
            again.files.iter().filter(|f| !f.errors.is_empty()).collect();
        let [bad] = bad[..] else { panic!("{bad:?}") };
        assert!(bad.stands_in && bad.name.ends_with("other.yaml"));
        let told = bad.errors[0].to_string();
        assert!(told.contains("no pattern is named `other`"), "{told}");
    }
    fs::write(&path, other).unwrap();
    assert!(load(&mut files).files.iter().all(|f| f.errors.is_empty()));
}

#[test]
fn a_file_that_got_a_new_name_and_a_mistake_stays_in_force() {
    let (dir, state) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let start = || {
        let files = PatternFiles::new(vec![dir.path().into()]);
        files.remembered_by(Kept::new(state.path()))
    };
    let (old, new) = (dir.path().join("old.yaml"), dir.path().join("new.yaml"));
    fs::write(&old, GOOD).unwrap();
    let mut files = start();
    let first = load(&mut files);
    files.keep().unwrap();
    fs::remove_file(&old).unwrap();
    fs::write(&new, GOOD.replace("severity", "severty")).unwrap();
    for files in [&mut files, &mut start()] {
        for _ in 0..2 {
            let renamed = load(files);
            assert_eq!(renamed.set.hash, first.set.hash);
            let told: Vec<bool> =
                renamed.files.iter().map(|f| f.stands_in).collect();
            assert_eq!(told, [false, true]);
            files.keep().unwrap();
        }
    }
    fs::write(&new, GOOD).unwrap();
    let mended = load(&mut files);
    assert_eq!(mended.set.hash, first.set.hash);
    assert_eq!(mended.files.len(), 1);
    assert_eq!(mended.files[0].errors, []);
}

#[test]
fn what_is_no_file_is_refused_without_blocking() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("dir.yaml")).unwrap();
    nix::unistd::mkfifo(
        &dir.path().join("fifo.yaml"),
        nix::sys::stat::Mode::S_IRWXU,
    )
    .unwrap();
    let big = fs::File::create(dir.path().join("big.yaml")).unwrap();
    big.set_len(100 << 20).unwrap();
    std::os::unix::fs::symlink("/nowhere", dir.path().join("gone.yaml"))
        .unwrap();
    let mut files = PatternFiles::new(vec![dir.path().into()]);
    let loaded = load(&mut files);
    assert_eq!(loaded.files.len(), 4);
    assert!(loaded.files.iter().all(|f| f.errors.len() == 1));
}

#[test]
fn a_swapped_config_map_volume_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let version = |n: &str, text: &str| {
        fs::create_dir(root.join(n)).unwrap();
        fs::write(root.join(n).join("mine.yaml"), text).unwrap();
        std::os::unix::fs::symlink(n, root.join("..tmp")).unwrap();
        fs::rename(root.join("..tmp"), root.join("..data")).unwrap();
    };
    version("..1", "version: 1\n");
    std::os::unix::fs::symlink("..data/mine.yaml", root.join("mine.yaml"))
        .unwrap();
    let mut files = PatternFiles::new(vec![root.into()]);
    assert!(load(&mut files).set.get("mine").is_none());
    let mut watch = Watch::new(vec![root.into()]);
    version("..2", GOOD);
    watch.wait();
    assert!(load(&mut files).set.get("mine").is_some());
}
