//! The pattern files while the agent runs: loaded at start, watched, and put
//! in force when they change. What is wrong with a file is said once.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use sd_notify::NotifyState;

use super::tell_manager;
use crate::patterns::set::PatternSet;
use crate::queue::Message;
use crate::reload::{FileState, Kept, PatternFiles, Watch, list};
use crate::sinks::metrics::Metrics;

/// How many bytes of a file's mistakes the API shows; the log has them all.
const REASON_MAX: usize = 2048;

/// A file that is not in force as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The file.
    pub file: String,
    /// Its mistakes.
    pub reason: String,
    /// Whether its last good version is in force instead.
    pub stands_in: bool,
}

/// The rejected files as the API shows them.
#[derive(Clone, Debug, Default)]
pub struct Rejections(Arc<Mutex<Vec<Rejected>>>);

impl Rejections {
    /// The files rejected at the last load.
    pub fn all(&self) -> Vec<Rejected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, all: Vec<Rejected>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }
}

/// The files, and what has been said of them.
#[derive(Debug)]
pub struct Patterns {
    directories: Vec<PathBuf>,
    files: PatternFiles,
    metrics: Arc<Metrics>,
    /// The rejected files, each with the errors that were logged.
    told: BTreeMap<String, String>,
    rejections: Rejections,
    /// Why the good versions were not kept, as logged.
    not_kept: Option<String>,
    /// What the directories looked like before the last load.
    seen: Vec<Look>,
}

/// A file as the directory shows it: any write or swap changes this.
type Look = (PathBuf, Option<(u64, u64, u64, i64, i64)>);

impl Patterns {
    /// The files of these directories, whose last good versions are kept in
    /// `state_dir`; nothing is read yet.
    pub fn new(
        directories: Vec<PathBuf>,
        state_dir: &Path,
        metrics: Arc<Metrics>,
    ) -> Patterns {
        let files = PatternFiles::new(directories.clone());
        Patterns {
            directories,
            files: files.remembered_by(Kept::new(state_dir)),
            metrics,
            told: BTreeMap::new(),
            rejections: Rejections::default(),
            not_kept: None,
            seen: Vec::new(),
        }
    }

    /// Where the rejected files can be read.
    pub fn rejections(&self) -> Rejections {
        self.rejections.clone()
    }

    /// Loads everything and says which files are not in force as they stand.
    ///
    /// # Errors
    /// The built-in patterns don't compile, which is a fault of this build.
    pub fn load(&mut self) -> Result<Arc<PatternSet>, String> {
        self.seen = self.look();
        let loaded = self.files.load().map_err(|found| {
            let found: Vec<_> = found.iter().map(|d| d.to_string()).collect();
            format!("the built-in patterns: {}", found.join("; "))
        })?;
        self.tell(&loaded.files);
        let states = loaded.files.iter();
        let states = states.map(|f| (f.name.as_str(), f.errors.is_empty()));
        self.metrics.pattern_files(states);
        crate::memory::give_back();
        Ok(loaded.set)
    }

    fn tell(&mut self, files: &[FileState]) {
        let mut told = BTreeMap::new();
        let mut rejections = Vec::new();
        for file in files.iter().filter(|f| !f.errors.is_empty()) {
            let errors: Vec<_> =
                file.errors.iter().map(|e| e.to_string()).collect();
            let errors = errors.join("\n");
            if self.told.get(&file.name) != Some(&errors) {
                tracing::error!(
                    file = file.name,
                    reason = errors,
                    "a pattern file is rejected; {}",
                    instead(file.stands_in)
                );
            }
            let end = errors.floor_char_boundary(REASON_MAX);
            rejections.push(Rejected {
                file: file.name.clone(),
                reason: errors[..end].to_owned(),
                stands_in: file.stands_in,
            });
            told.insert(file.name.clone(), errors);
        }
        self.rejections.replace(rejections);
        for file in self.told.keys().filter(|f| !told.contains_key(*f)) {
            tracing::info!(file, "a pattern file is good again, or gone");
        }
        self.told = told;
    }

    /// Keeps the good versions for a start that finds bad ones.
    fn keep(&mut self) {
        let not_kept = match self.files.keep() {
            Ok(left_out) if left_out.is_empty() => None,
            Ok(left_out) => Some(format!(
                "there is no room for {} of them, the first is {}",
                left_out.len(),
                left_out[0].display()
            )),
            Err(error) => Some(error.to_string()),
        };
        if let Some(reason) = &not_kept
            && self.not_kept.as_ref() != Some(reason)
        {
            tracing::warn!(
                reason,
                "the good pattern files can't be kept for a restart"
            );
        }
        self.not_kept = not_kept;
    }

    /// What the directories look like, without reading any file.
    fn look(&self) -> Vec<Look> {
        let paths = self.directories.iter().flat_map(|dir| match list(dir) {
            Ok(paths) => paths,
            // Its state is that it can't be listed; `load` says why.
            Err(_) => vec![dir.clone()],
        });
        paths
            .map(|path| {
                let meta = std::fs::metadata(&path).ok();
                let look = meta.map(|m| {
                    (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec())
                });
                (path, look)
            })
            .collect()
    }

    /// Starts the thread that puts changed files in force; `hash` is that of
    /// the set in force. What it returns makes it look at once.
    ///
    /// # Errors
    /// The thread can't be made.
    pub fn watch(
        mut self,
        hash: u64,
        queue: SyncSender<Message>,
    ) -> std::io::Result<SyncSender<()>> {
        let builder = std::thread::Builder::new().name("patterns".into());
        let mut watch = Watch::new(self.directories.clone());
        let waker = watch.waker();
        let mut hash = hash;
        builder.spawn(move || {
            // Not before: a disk that hangs must not delay the start.
            self.keep();
            loop {
                // Loading costs as much as all the rest of an idle minute.
                if self.look() != self.seen {
                    if let Some(set) = self.reload(&mut hash)
                        && put_in_force(set, &queue).is_none()
                    {
                        return;
                    }
                    self.keep();
                }
                watch.wait();
                if !self.files.is_kept() {
                    self.keep();
                }
            }
        })?;
        Ok(waker)
    }

    /// Loads again; the set, if it is another.
    fn reload(&mut self, hash: &mut u64) -> Option<Arc<PatternSet>> {
        let set = match self.load() {
            Ok(set) => set,
            Err(error) => {
                tracing::error!(error, "the patterns can't be loaded again");
                return None;
            }
        };
        (std::mem::replace(hash, set.hash) != set.hash).then_some(set)
    }
}

/// What is in force in place of a rejected file.
fn instead(stands_in: bool) -> &'static str {
    match stands_in {
        true => "its last good version stays in force",
        false => "nothing of it is in force: no good version is known",
    }
}

/// Sends the set to the ledger; `None` when the ledger has ended.
fn put_in_force(
    set: Arc<PatternSet>,
    queue: &SyncSender<Message>,
) -> Option<()> {
    let count = set.patterns.len();
    let hash = format!("{:016x}", set.hash);
    // systemd 253 and later want to know since when.
    match NotifyState::monotonic_usec_now() {
        Ok(since) => tell_manager(&[NotifyState::Reloading, since]),
        Err(_) => tell_manager(&[NotifyState::Reloading]),
    }
    queue.send(Message::Patterns(set)).ok()?;
    tracing::info!(patterns = count, hash, "the pattern set has changed");
    tell_manager(&[NotifyState::Ready]);
    Some(())
}
