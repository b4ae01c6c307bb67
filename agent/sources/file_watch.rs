//! Learning of changes to files: directories are watched, not files, so that
//! rotation and files that appear later are seen.

use std::collections::BTreeMap;
use std::io::{PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::file_glob::Glob;
use super::file_mark::identity;

/// The watched directories and a descriptor that becomes readable when
/// something happens in them that a glob might care for.
pub struct Watch {
    /// `None` where the system has no watches left: polling remains.
    watcher: Option<RecommendedWatcher>,
    directories: BTreeMap<PathBuf, (u64, u64)>,
    pending: Arc<AtomicBool>,
    reader: PipeReader,
}

impl Watch {
    /// A watch for what touches `globs`.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn new(globs: Vec<Glob>) -> std::io::Result<Watch> {
        let (reader, writer) = std::io::pipe()?;
        let pending = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&pending);
        let handler = move |event: notify::Result<notify::Event>| {
            let matters = match event {
                // Opening and reading, also ours, changes nothing.
                Ok(event) if matches!(event.kind, EventKind::Access(_)) => {
                    false
                }
                Ok(event) => {
                    let touches =
                        |p: &PathBuf| globs.iter().any(|g| g.touches(p));
                    event.need_rescan() || event.paths.iter().any(touches)
                }
                Err(_) => true,
            };
            // One byte at a time is in the pipe, so it is never full. The
            // reader is gone only when the source has ended.
            if matters && !told.swap(true, Ordering::AcqRel) {
                let _ = (&writer).write_all(b"x");
            }
        };
        let watcher = notify::recommended_watcher(handler);
        if let Err(error) = &watcher {
            tracing::warn!(%error, "files are polled: no watch to be had");
        }
        let watcher = watcher.ok();
        let directories = BTreeMap::new();
        Ok(Watch { watcher, directories, pending, reader })
    }

    /// Watches exactly these directories; says if one is new, and so may
    /// have changed before it was watched.
    pub fn directories(&mut self, wanted: &[&Path]) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        let now: BTreeMap<PathBuf, (u64, u64)> = wanted
            .iter()
            .filter_map(|path| {
                let meta = std::fs::metadata(path).ok()?;
                Some((path.to_path_buf(), identity(&meta)))
            })
            .collect();
        let mut new = false;
        let known = std::mem::take(&mut self.directories);
        for (path, id) in &known {
            if now.get(path) != Some(id) {
                // It fails when the directory is gone, and its watch with it.
                let _ = watcher.unwatch(path);
            }
        }
        for (path, id) in now {
            if known.get(&path) == Some(&id) {
                self.directories.insert(path, id);
                continue;
            }
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.directories.insert(path, id);
                    new = true;
                }
                // Tried again at the next look; polling covers it till then.
                Err(error) => tracing::debug!(
                    path = %path.display(), %error, "directory is only polled"
                ),
            }
        }
        new
    }

    /// What becomes readable.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Takes what made it readable; what happens from now on does so again.
    pub fn taken(&mut self) {
        if self.pending.load(Ordering::Acquire) {
            // The byte follows the flag, at once; this waits for it.
            let _ = self.reader.read(&mut [0; 8]);
            self.pending.store(false, Ordering::Release);
        }
    }
}
