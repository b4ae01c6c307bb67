//! The pattern files while the agent runs: loaded at start, watched, and put
//! in force when they change. What is wrong with a file is said once.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use sd_notify::NotifyState;

use super::tell_manager;
use crate::patterns::set::PatternSet;
use crate::queue::Message;
use crate::reload::{FileState, PatternFiles, Watch, list};
use crate::sinks::metrics::Metrics;

/// The files, and what has been said of them.
#[derive(Debug)]
pub struct Patterns {
    directories: Vec<PathBuf>,
    files: PatternFiles,
    metrics: Arc<Metrics>,
    /// The rejected files, each with the errors that were logged.
    told: BTreeMap<String, String>,
    /// What the directories looked like before the last load.
    seen: Vec<Look>,
}

/// A file as the directory shows it: any write or swap changes this.
type Look = (PathBuf, Option<(u64, u64, u64, i64, i64)>);

impl Patterns {
    /// The files of these directories; nothing is read yet.
    pub fn new(directories: Vec<PathBuf>, metrics: Arc<Metrics>) -> Patterns {
        let files = PatternFiles::new(directories.clone());
        let (told, seen) = (BTreeMap::new(), Vec::new());
        Patterns { directories, files, metrics, told, seen }
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
        for file in files.iter().filter(|f| !f.errors.is_empty()) {
            let errors: Vec<_> =
                file.errors.iter().map(|e| e.to_string()).collect();
            let errors = errors.join("\n");
            if self.told.get(&file.name) != Some(&errors) {
                tracing::error!(
                    file = file.name,
                    reason = errors,
                    "a pattern file is rejected; its last good version, if \
                     there is one, stays in force"
                );
            }
            told.insert(file.name.clone(), errors);
        }
        for file in self.told.keys().filter(|f| !told.contains_key(*f)) {
            tracing::info!(file, "a pattern file is good again, or gone");
        }
        self.told = told;
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
    /// the set in force.
    ///
    /// # Errors
    /// The thread can't be made.
    pub fn watch(
        mut self,
        hash: u64,
        queue: SyncSender<Message>,
    ) -> std::io::Result<()> {
        let builder = std::thread::Builder::new().name("patterns".into());
        let mut watch = Watch::new(self.directories.clone());
        let mut hash = hash;
        builder.spawn(move || {
            loop {
                // Loading costs as much as all the rest of an idle minute.
                if self.look() != self.seen
                    && let Some(set) = self.reload(&mut hash)
                    && put_in_force(set, &queue).is_none()
                {
                    return;
                }
                watch.wait();
            }
        })?;
        Ok(())
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
