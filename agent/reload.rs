//! Pattern files on disk: reads the SRE's directories, keeps the last good
//! version of each file, and reloads when something changes.
//!
//! A file with a mistake is refused whole; what it said before stays in
//! force, over a restart too (`kept.rs`). So does what a directory said that
//! is gone: a mount that is made anew says nothing of the files in it.
//! Directories are watched, not files, so that the symlink swap of a
//! Kubernetes ConfigMap volume is seen like any other change.

mod kept;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::patterns::builtin;
use crate::patterns::compile::compile;
use crate::patterns::diagnostic::{Diagnostic, Level};
use crate::patterns::located::Place;
use crate::patterns::parse::{FILE_MAX, ParsedFile, SourceFile, parse};
use crate::patterns::set::PatternSet;
pub use kept::Kept;
pub use watch::Watch;

/// More files than this in one directory are not read.
const FILES_MAX: usize = 256;

/// One file, and whether it is in force as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileState {
    /// The file as people know it.
    pub name: String,
    /// What is wrong with it, if it is not in force as it stands.
    pub errors: Vec<Diagnostic>,
    /// Whether its last good version is in force instead.
    pub stands_in: bool,
}

/// What a load came to.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The set now in force.
    pub set: Arc<PatternSet>,
    /// Every file of the SRE's directories.
    pub files: Vec<FileState>,
}

/// The SRE's directories, and what was last good in them.
#[derive(Debug)]
pub struct PatternFiles {
    dirs: Vec<PathBuf>,
    good: BTreeMap<PathBuf, ParsedFile>,
    /// Where the good ones are kept over a restart.
    kept: Option<Kept>,
    /// Whether what was kept has been taken up, or is older than `good`.
    recalled: bool,
    /// The good ones for which there was no room when they were kept.
    left_out: BTreeSet<PathBuf>,
    /// What could not be read or is bad: files, and directories of them.
    in_doubt: BTreeSet<PathBuf>,
}

impl PatternFiles {
    /// Watches these directories; they need not exist.
    pub fn new(dirs: Vec<PathBuf>) -> PatternFiles {
        PatternFiles {
            dirs,
            good: BTreeMap::new(),
            kept: None,
            recalled: false,
            left_out: BTreeSet::new(),
            in_doubt: BTreeSet::new(),
        }
    }

    /// Takes what was last good before the agent ended from `kept`.
    #[must_use]
    pub fn remembered_by(mut self, kept: Kept) -> PatternFiles {
        self.kept = Some(kept);
        self
    }

    /// Keeps what is good now for the next start, and says which files had
    /// no room.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn keep(&mut self) -> std::io::Result<Vec<PathBuf>> {
        let Some(kept) = &self.kept else { return Ok(Vec::new()) };
        let listed = !self.dirs.iter().any(|d| self.in_doubt.contains(d));
        let left_out =
            kept.keep(&self.good, listed.then_some(&self.in_doubt))?;
        self.left_out = left_out.iter().cloned().collect();
        Ok(left_out)
    }

    /// Whether what is good now is still kept: a state directory that was
    /// taken away, or could not be written, has nothing of it.
    pub fn is_kept(&self) -> bool {
        let with_room = |path: &&PathBuf| !self.left_out.contains(*path);
        let kept = self.kept.as_ref();
        kept.is_none_or(|kept| kept.has(self.good.keys().filter(with_room)))
    }

    /// Reads everything and compiles it with the built-in packs.
    ///
    /// # Errors
    /// Only when the built-in packs themselves do not compile, which is a
    /// fault of this build.
    pub fn load(&mut self) -> Result<Loaded, Vec<Diagnostic>> {
        let mut packs = Vec::new();
        for file in builtin::files() {
            packs.push(parse(&file).map_err(|d| vec![d])?);
        }
        let mut errors: BTreeMap<PathBuf, Vec<Diagnostic>> = BTreeMap::new();
        let (mut fresh, mut refused) = (BTreeMap::new(), Vec::new());
        for path in self.list(&mut errors) {
            let source = read(&path);
            match source.as_ref().map_err(Clone::clone).and_then(parse) {
                Ok(file) => {
                    fresh.insert(path, file);
                }
                Err(d) => {
                    refused.extend(source.map(|source| source.text));
                    errors.insert(path, vec![d]);
                }
            }
        }
        if !errors.is_empty() {
            self.recall();
        }
        // A directory that can't be read tells nothing of its files.
        let untold = |path: &Path| {
            errors.contains_key(path)
                || path.parent().is_some_and(|dir| errors.contains_key(dir))
        };
        let old = self.good.iter().filter(|(path, _)| untold(path));
        fresh.extend(old.map(|(path, file)| (path.clone(), file.clone())));
        self.keep_renamed(&refused, &mut fresh, &mut errors);
        let set = loop {
            match compile(&self.in_order(&packs, &fresh)) {
                Ok((mut set, _)) => {
                    set.incomplete =
                        errors.keys().any(|path| !fresh.contains_key(path));
                    break set;
                }
                Err(found) if fresh.is_empty() => return Err(found),
                // Which file is new, only what was kept can tell.
                Err(_) if !self.recalled => self.recall(),
                Err(found) => self.step_back(&mut fresh, &mut errors, found),
            }
        };
        self.good = fresh;
        // From now on this process knows better than what was kept.
        self.recalled = true;
        self.in_doubt = errors.keys().cloned().collect();
        let names = self.good.keys().chain(errors.keys());
        let names: BTreeSet<&PathBuf> = names.collect();
        let files = names
            .into_iter()
            .map(|path| FileState {
                name: path.display().to_string(),
                errors: errors.get(path).cloned().unwrap_or_default(),
                stands_in: errors.contains_key(path)
                    && self.good.keys().any(|good| {
                        good == path || good.parent() == Some(path)
                    }),
            })
            .collect();
        Ok(Loaded { set: Arc::new(set), files })
    }

    /// Takes up what was last good before the agent ended; only a start that
    /// finds a mistake needs it.
    fn recall(&mut self) {
        if std::mem::replace(&mut self.recalled, true) {
            return;
        }
        if let Some(kept) = &self.kept {
            self.good = kept.all();
        }
    }

    /// Keeps files that are gone in force while one with their patterns is
    /// refused: it is their new name.
    fn keep_renamed(
        &self,
        refused: &[Vec<u8>],
        fresh: &mut BTreeMap<PathBuf, ParsedFile>,
        errors: &mut BTreeMap<PathBuf, Vec<Diagnostic>>,
    ) {
        for (path, file) in &self.good {
            let is_there =
                fresh.contains_key(path) || errors.contains_key(path);
            if is_there || !refused.iter().any(|text| names_of(file, text)) {
                continue;
            }
            let gone = problem(path, "the file is gone".into());
            let gone = gone.help("a file with its patterns is refused");
            errors.insert(path.clone(), vec![gone]);
            fresh.insert(path.clone(), file.clone());
        }
    }

    /// Whether the file says what it said when it was last good, perhaps
    /// under another name.
    fn is_unchanged(
        &self,
        fresh: &BTreeMap<PathBuf, ParsedFile>,
        path: &Path,
        file: &ParsedFile,
    ) -> bool {
        self.good.iter().any(|(of, good)| {
            (of == path || !fresh.contains_key(of)) && good.text == file.text
        })
    }

    /// The files as they are compiled: what has changed comes later, and what
    /// is new last, so that it is to blame for a name that another file has.
    fn in_order(
        &self,
        packs: &[ParsedFile],
        fresh: &BTreeMap<PathBuf, ParsedFile>,
    ) -> Vec<ParsedFile> {
        let age = |path: &Path, file: &ParsedFile| match self
            .is_unchanged(fresh, path, file)
        {
            true => 0,
            false if self.good.contains_key(path) => 1,
            false => 2,
        };
        let mut files: Vec<_> =
            fresh.iter().map(|(path, file)| (age(path, file), file)).collect();
        files.sort_by_key(|(age, _)| *age);
        let files = files.into_iter().map(|(_, file)| file);
        packs.iter().chain(files).cloned().collect()
    }

    /// Undoes a part of what has changed since the set was last good: takes
    /// the last good version of each changed file that is to blame, or brings
    /// back those that were removed and whose patterns are missed, or takes
    /// the last good version of all that changed. Where
    /// nothing has changed (another release, a start that remembers nothing)
    /// what is to blame is left out. Always leaves less to undo.
    fn step_back(
        &self,
        fresh: &mut BTreeMap<PathBuf, ParsedFile>,
        errors: &mut BTreeMap<PathBuf, Vec<Diagnostic>>,
        found: Vec<Diagnostic>,
    ) {
        let found: Vec<Diagnostic> =
            found.into_iter().filter(|d| d.level == Level::Error).collect();
        let is_blamed =
            |file: &ParsedFile| found.iter().any(|d| d.file == file.name);
        let paths = |which: &dyn Fn(&Path, &ParsedFile) -> bool| {
            let those = fresh.iter().filter(|(path, file)| which(path, file));
            those.map(|(path, _)| path.clone()).collect::<Vec<PathBuf>>()
        };
        let changed = |path: &Path, file: &ParsedFile| {
            !self.is_unchanged(fresh, path, file)
        };
        let is_missed = |file: &ParsedFile| {
            let mut names = file.file.patterns.iter().map(|p| {
                format!("no pattern is named `{}`", p.value.name.value)
            });
            names.any(|name| found.iter().any(|d| d.message == name))
        };
        let removed = || {
            let gone = self.good.iter().filter(|(path, file)| {
                !fresh.contains_key(*path)
                    && !errors.contains_key(*path)
                    && is_missed(file)
            });
            gone.map(|(path, _)| path.clone()).collect::<Vec<PathBuf>>()
        };
        let undone = [
            paths(&|path, file| changed(path, file) && is_blamed(file)),
            removed(),
            paths(&|path, file| changed(path, file)),
        ];
        let undone = undone.into_iter().find(|paths| !paths.is_empty());
        if let Some(paths) = undone {
            for path in paths {
                blame(errors, &path, &found);
                match self.good.get(&path) {
                    Some(good) => fresh.insert(path, good.clone()),
                    None => fresh.remove(&path),
                };
            }
            return;
        }
        let mut left_out = paths(&|_, file| is_blamed(file));
        if left_out.is_empty() {
            // Only a built-in file shows the mistake, and alone it shows
            // none: something among the SRE's files causes it.
            left_out = paths(&|_, _| true);
        }
        for path in left_out {
            blame(errors, &path, &found);
            fresh.remove(&path);
        }
    }

    /// The pattern files of all directories.
    fn list(
        &mut self,
        errors: &mut BTreeMap<PathBuf, Vec<Diagnostic>>,
    ) -> Vec<PathBuf> {
        let mut all = Vec::new();
        for dir in &self.dirs.clone() {
            match self.listed(dir) {
                Ok(paths) => all.extend(paths),
                Err(d) => {
                    errors.insert(dir.clone(), vec![d]);
                }
            }
        }
        all
    }

    /// The pattern files of one directory. One that is not there is the
    /// ordinary case, unless files of it are in force.
    fn listed(&mut self, dir: &Path) -> Result<Vec<PathBuf>, Diagnostic> {
        if !dir.exists() {
            self.recall();
            if self.good.keys().any(|path| path.parent() == Some(dir)) {
                let gone = problem(dir, "the directory is gone".into());
                return Err(gone.help(
                    "put it back, or make an empty one to put its patterns \
                     out of force",
                ));
            }
        }
        list(dir)
    }
}

/// The `*.yaml` and `*.yml` entries of a directory, in order of name; none
/// if it does not exist, which is the ordinary case.
///
/// # Errors
/// When it cannot be read or has too many.
pub fn list(dir: &Path) -> Result<Vec<PathBuf>, Diagnostic> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        Err(e) => {
            let what = format!("cannot read the directory: {e}");
            return Err(problem(dir, what));
        }
    };
    let mut paths = Vec::new();
    for entry in entries {
        // A listing that breaks off must not pass for files removed.
        let path = entry
            .map_err(|e| problem(dir, format!("cannot list it: {e}")))?
            .path();
        if is_pattern_file(&path) {
            paths.push(path);
        }
    }
    if paths.len() > FILES_MAX {
        return Err(problem(
            dir,
            format!(
                "there are {} pattern files; at most {FILES_MAX} are read",
                paths.len()
            ),
        ));
    }
    paths.sort();
    Ok(paths)
}

/// Whether its name says that it holds patterns; what begins with a dot is
/// an editor's or the ConfigMap volume's own.
fn is_pattern_file(path: &Path) -> bool {
    // Also one that is no UTF-8: to pass over it would be silence.
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    !name.starts_with(b".")
        && (name.ends_with(b".yaml") || name.ends_with(b".yml"))
}

/// Tells what is wrong with a file: its own mistakes, or those that it causes
/// in others. A mistake in what it says now stands before what its last good
/// version does.
fn blame(
    errors: &mut BTreeMap<PathBuf, Vec<Diagnostic>>,
    path: &Path,
    found: &[Diagnostic],
) {
    let name = path.display().to_string();
    let own = found.iter().filter(|d| d.file == name);
    let mut told: Vec<Diagnostic> = own.cloned().collect();
    if told.is_empty() {
        told = found.to_vec();
    }
    errors.entry(path.to_owned()).or_insert(told);
}

/// Whether a text that can't be read as patterns names one of the file's.
fn names_of(file: &ParsedFile, text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let mut words = text.lines().filter_map(|line| {
        let (_, name) = line.split_once("name:")?;
        Some(name.trim().trim_matches(['"', '\'']))
    });
    let names = || file.file.patterns.iter().map(|p| &p.value.name.value);
    words.any(|word| names().any(|name| name == word))
}

fn problem(path: &Path, message: String) -> Diagnostic {
    let name = path.display().to_string();
    Diagnostic::new(Level::Error, &name, "", Place::default(), message)
}

/// Reads one file whole, if it is one and not too large.
///
/// # Errors
/// What keeps it from being read, as a finding.
pub fn read(path: &Path) -> Result<SourceFile, Diagnostic> {
    let fail = |what: String| problem(path, what);
    // Looked at before it is opened: opening a FIFO would block.
    let meta = fs::metadata(path).map_err(|e| fail(e.to_string()))?;
    if meta.is_dir() {
        return Err(fail("is a directory, not a file".into()));
    }
    if !meta.is_file() {
        return Err(fail("is not a regular file".into()));
    }
    let limit = FILE_MAX as u64;
    if meta.len() > limit {
        return Err(fail(format!(
            "the file has {} bytes; at most {limit} are taken",
            meta.len()
        ))
        .help("split it; one file a component"));
    }
    let mut text = Vec::new();
    fs::File::open(path)
        .and_then(|f| f.take(limit + 1).read_to_end(&mut text))
        .map_err(|e| fail(format!("cannot read the file: {e}")))?;
    Ok(SourceFile { name: path.display().to_string(), text, builtin: false })
}

#[cfg(test)]
mod tests;
