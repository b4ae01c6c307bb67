//! A copy of a host of `fixtures/hosts`, to be changed as hardware would.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use faultline::sources::Poll;

pub struct HostDir(tempfile::TempDir);

impl HostDir {
    pub fn copy(name: &str) -> HostDir {
        let dir = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        copy(&root.join("fixtures/hosts").join(name), dir.path());
        HostDir(dir)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// Writes a file whole, so that nobody reads half of it.
    pub fn write(&self, path: &str, text: &str) {
        let (path, new) = (self.at(path), self.at("new"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&new, format!("{text}\n")).unwrap();
        fs::rename(new, path).unwrap();
    }

    pub fn remove(&self, path: &str) {
        let path = self.at(path);
        match fs::symlink_metadata(&path).unwrap().is_dir() {
            true => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
    }

    /// Looks often: the tests wait for what is seen.
    pub fn poll(&self) -> Poll {
        let every = Duration::from_millis(10);
        Poll { root: self.path().to_owned(), every }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            let target = fs::read_link(from).unwrap();
            std::os::unix::fs::symlink(target, to).unwrap();
        } else if kind.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}
