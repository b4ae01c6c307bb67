//! The last good text of each of the SRE's pattern files, kept with the
//! agent's state: a file that is bad when the agent starts must not bring
//! back what it disabled, nor end what it watched.
//!
//! One file each, named by the hash of its path; the first line, a comment,
//! says which one it is. What can't be kept costs only this.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use crate::hash::fnv1a;
use crate::patterns::parse::{FILE_MAX, ParsedFile, SourceFile, parse};

/// All kept texts together, bytes; the state directory is shared with the
/// database. An SRE's files have some kilobytes each.
const KEPT_MAX: usize = 8 << 20;

/// The directory's name in the state directory.
const DIRECTORY: &str = "patterns";

/// How long a start waits for what was kept: the disk may be the one that
/// fails.
const PATIENCE: Duration = Duration::from_secs(3);

/// How the first line begins; the path follows as a JSON string.
const HEAD: &str = "# kept by faultline, last good text of ";

/// Where the texts are kept.
#[derive(Clone, Debug)]
pub struct Kept {
    directory: PathBuf,
}

impl Kept {
    /// Texts kept in this state directory, which need not exist.
    pub fn new(state_dir: &Path) -> Kept {
        Kept { directory: state_dir.join(DIRECTORY) }
    }

    /// Everything that was kept and is still good; nothing, if the disk
    /// doesn't answer in time.
    pub fn all(&self) -> BTreeMap<PathBuf, ParsedFile> {
        let directory = self.directory.clone();
        let (sender, receiver) = sync_channel(1);
        let read = move || {
            // Whoever asked may have gone on without it.
            let _ = sender.send(read_all(&directory));
        };
        let builder = std::thread::Builder::new().name("kept".into());
        match builder.spawn(read) {
            Ok(_) => receiver.recv_timeout(PATIENCE).unwrap_or_default(),
            Err(_) => BTreeMap::new(),
        }
    }

    /// Keeps these texts, as many as there is room for, and says which had
    /// none. What was kept of other files goes, unless it is `in_doubt`: a
    /// file that is bad, or that nobody could look for (`None`: any).
    ///
    /// # Errors
    /// The disk refuses; what was kept before is still whole.
    pub fn keep(
        &self,
        good: &BTreeMap<PathBuf, ParsedFile>,
        in_doubt: Option<&BTreeSet<PathBuf>>,
    ) -> io::Result<Vec<PathBuf>> {
        let mut room = KEPT_MAX;
        let mut left_out = Vec::new();
        let mut names = BTreeSet::new();
        for (path, file) in good {
            let text = format!("{}{}", head(path), file.text);
            let name = name(path);
            match room.checked_sub(text.len()) {
                Some(rest) => room = rest,
                None => {
                    left_out.push(path.clone());
                    continue;
                }
            }
            self.write(&name, &text)?;
            names.insert(name);
        }
        if let Some(in_doubt) = in_doubt {
            names.extend(in_doubt.iter().map(|path| name(path)));
            self.remove_others(&names)?;
        }
        Ok(left_out)
    }

    /// Whether a text is kept for each of these, whatever it says.
    pub fn has<'a>(
        &self,
        mut paths: impl Iterator<Item = &'a PathBuf>,
    ) -> bool {
        paths.all(|path| self.directory.join(name(path)).exists())
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let path = self.directory.join(name);
        if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(());
        }
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o750).create(&self.directory)?;
        // Whole or not at all, whenever the agent or the machine dies.
        let fresh = self.directory.join(format!("{name}.new"));
        let mut file = fs::File::create(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(fresh, path)
    }

    fn remove_others(&self, names: &BTreeSet<String>) -> io::Result<()> {
        let entries = match fs::read_dir(&self.directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if !name.to_str().is_some_and(|name| names.contains(name)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

fn name(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    format!("{:016x}.yaml", fnv1a(bytes))
}

fn head(path: &Path) -> String {
    let shown = path.display().to_string();
    format!("{HEAD}{}\n", serde_json::Value::from(shown))
}

fn read_all(directory: &Path) -> BTreeMap<PathBuf, ParsedFile> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries.filter_map(|entry| read_one(&entry.path()));
    files.collect()
}

/// One kept text, if it is whole and this release still takes it.
fn read_one(kept: &Path) -> Option<(PathBuf, ParsedFile)> {
    let meta = fs::metadata(kept).ok()?;
    // The path of the head has a limit of its own (PATH_MAX).
    if !meta.is_file() || meta.len() > FILE_MAX as u64 + 8192 {
        return None;
    }
    let text = fs::read_to_string(kept).ok()?;
    let (head, text) = text.split_once('\n')?;
    let path: String = serde_json::from_str(head.strip_prefix(HEAD)?).ok()?;
    let path = PathBuf::from(path);
    if kept.file_name()?.to_str()? != name(&path) {
        return None;
    }
    let source = SourceFile {
        name: path.display().to_string(),
        text: text.as_bytes().to_vec(),
        builtin: false,
    };
    Some((path, parse(&source).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(names: &[&str], text: &str) -> BTreeMap<PathBuf, ParsedFile> {
        let one = |name: &&str| {
            let source = SourceFile {
                name: (*name).to_owned(),
                text: text.as_bytes().to_vec(),
                builtin: false,
            };
            (PathBuf::from(name), parse(&source).unwrap())
        };
        names.iter().map(one).collect()
    }

    #[test]
    fn exactly_what_is_good_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path());
        assert!(kept.all().is_empty());
        let text = "version: 1\ncomponent: disk\n";
        let both = good(&["/etc/a.yaml", "/etc/b\n.yaml"], text);
        let none = BTreeSet::new();
        assert!(kept.keep(&both, Some(&none)).unwrap().is_empty());
        let read = kept.all();
        assert!(read.keys().eq(both.keys()), "{:?}", read.keys());
        assert_eq!(read[Path::new("/etc/a.yaml")].text.as_ref(), text);
        let one = good(&["/etc/a.yaml"], text);
        let doubt = BTreeSet::from([PathBuf::from("/etc/b\n.yaml")]);
        kept.keep(&one, Some(&doubt)).unwrap();
        kept.keep(&BTreeMap::new(), None).unwrap();
        assert_eq!(kept.all().len(), 2);
        kept.keep(&one, Some(&none)).unwrap();
        assert_eq!(kept.all().len(), 1);
    }

    #[test]
    fn a_damaged_copy_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path());
        kept.keep(&good(&["/etc/a.yaml"], "version: 1\n"), None).unwrap();
        let path =
            dir.path().join(DIRECTORY).join(name("/etc/a.yaml".as_ref()));
        let text = fs::read_to_string(&path).unwrap();
        for bad in [&text[..20], "", &text.replace("a.yaml", "b.yaml")] {
            fs::write(&path, bad).unwrap();
            assert!(kept.all().is_empty(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_has_no_room_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path());
        let text = format!("version: 1\n#{}\n", "x".repeat(FILE_MAX - 100));
        let names: Vec<String> =
            (0..10).map(|n| format!("/{n}.yaml")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let left_out = kept.keep(&good(&names, &text), None).unwrap();
        assert_eq!(left_out.len(), 2);
        assert_eq!(kept.all().len(), 8);
    }
}
