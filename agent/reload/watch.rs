//! Watching the directories of pattern files.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use notify::{EventKind, RecursiveMode, Watcher};

use crate::clock;

/// An editor writes a file in several steps, and a ConfigMap swap is several
/// events; the reload waits until it has been quiet for this long.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Where it is never quiet (a backup, a log beside the patterns), it waits no
/// longer than this.
const NOT_LONGER: Duration = Duration::from_secs(2);

/// Network filesystems tell nothing, and a directory may be created later:
/// without an event the directories are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The number of a directory, and when it was made, where that is known.
type Inode = (u64, Option<SystemTime>);

/// Tells when something in the directories may have changed.
pub struct Watch {
    events: Receiver<()>,
    waker: SyncSender<()>,
    watcher: Option<notify::RecommendedWatcher>,
    dirs: Vec<PathBuf>,
    /// The directories that are watched, each with its inode and when that
    /// was made: a watch goes with it, when another takes the name, perhaps
    /// under the same number.
    watched: Vec<(PathBuf, Inode)>,
}

impl Watch {
    /// Begins to watch; what cannot be watched is looked at now and then.
    pub fn new(dirs: Vec<PathBuf>) -> Watch {
        let (waker, events) = sync_channel(1);
        let tx = waker.clone();
        let handler = move |event: notify::Result<notify::Event>| {
            // Opening and reading, also ours, changes nothing.
            let reads = event
                .is_ok_and(|event| matches!(event.kind, EventKind::Access(_)));
            if !reads {
                // One that waits says it all; and the receiver is gone only
                // when the agent is ending.
                let _ = tx.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(handler);
        let (watcher, watched) = (watcher.ok(), Vec::new());
        let mut watch = Watch { events, waker, watcher, dirs, watched };
        watch.cover();
        watch
    }

    /// What makes [`Watch::wait`] return at once.
    pub fn waker(&self) -> SyncSender<()> {
        self.waker.clone()
    }

    /// Watches each directory that exists and is not watched yet, and of one
    /// that does not, the directory that it would come in. Whether one is
    /// watched that was not: it may have changed before.
    fn cover(&mut self) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        let inode = |dir: &Path| {
            let meta = std::fs::metadata(dir).ok().filter(|m| m.is_dir());
            meta.map(|meta| (meta.ino(), meta.created().ok()))
        };
        let of = |dir: &PathBuf| match (inode(dir), dir.parent()) {
            (None, Some(parent)) => parent.to_owned(),
            _ => dir.clone(),
        };
        let wanted: Vec<PathBuf> = self.dirs.iter().map(of).collect();
        self.watched.retain(|(dir, known)| {
            let stays = wanted.contains(dir) && inode(dir) == Some(*known);
            if !stays {
                // It is gone, and perhaps its watch with it.
                let _ = watcher.unwatch(dir);
            }
            stays
        });
        let mut new = false;
        for dir in &wanted {
            if self.watched.iter().any(|(known, _)| known == dir) {
                continue;
            }
            if let Some(inode) = inode(dir)
                && watcher.watch(dir, RecursiveMode::NonRecursive).is_ok()
            {
                self.watched.push((dir.clone(), inode));
                new = true;
            }
        }
        new
    }

    /// Waits until something may have changed, or it is time to look.
    pub fn wait(&mut self) {
        if self.cover() {
            return;
        }
        // Without an event, also where there is no watcher, it is looked now
        // and then; the waker keeps the channel open.
        if self.events.recv_timeout(LOOK_EVERY).is_ok() {
            let since = clock::boot();
            while clock::boot().since(since) < NOT_LONGER
                && self.events.recv_timeout(DEBOUNCE).is_ok()
            {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> (tempfile::TempDir, Watch) {
        let dir = tempfile::tempdir().unwrap();
        let watch = Watch::new(vec![dir.path().to_owned()]);
        assert_eq!(watch.watched.len(), 1, "inotify is there");
        (dir, watch)
    }

    #[test]
    fn what_is_written_wakes_it_and_what_is_read_does_not() {
        let (dir, mut watch) = watch();
        std::fs::write(dir.path().join("a.yaml"), "a").unwrap();
        watch.wait();
        for _ in 0..20 {
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
            std::fs::read(dir.path().join("a.yaml")).unwrap();
        }
        let woken = watch.events.recv_timeout(2 * DEBOUNCE);
        assert!(woken.is_err(), "it would wake itself for ever");
    }

    #[test]
    fn a_directory_that_was_made_anew_is_watched_again() {
        let (dir, mut watch) = watch();
        let base = tempfile::tempdir().unwrap();
        let old = base.path().join("old");
        std::fs::rename(dir.path(), &old).unwrap();
        std::fs::create_dir(dir.path()).unwrap();
        watch.cover();
        while watch.events.recv_timeout(DEBOUNCE).is_ok() {}
        std::fs::write(dir.path().join("a.yaml"), "a").unwrap();
        assert!(watch.events.recv_timeout(LOOK_EVERY).is_ok());
        // Again, under a number that may be the same.
        std::fs::remove_dir_all(dir.path()).unwrap();
        std::fs::create_dir(dir.path()).unwrap();
        watch.cover();
        while watch.events.recv_timeout(DEBOUNCE).is_ok() {}
        std::fs::write(dir.path().join("a.yaml"), "a").unwrap();
        assert!(watch.events.recv_timeout(LOOK_EVERY).is_ok());
    }

    #[test]
    fn a_directory_that_comes_later_is_seen_at_once() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("patterns");
        let mut watch = Watch::new(vec![dir.clone()]);
        let since = clock::boot();
        for _ in 0..2 {
            while watch.events.recv_timeout(DEBOUNCE).is_ok() {}
            std::fs::create_dir(&dir).unwrap();
            assert!(watch.events.recv_timeout(LOOK_EVERY).is_ok());
            watch.wait(); // it is watched itself now
            while watch.events.recv_timeout(DEBOUNCE).is_ok() {}
            std::fs::write(dir.join("a.yaml"), "a").unwrap();
            assert!(watch.events.recv_timeout(LOOK_EVERY).is_ok());
            std::fs::remove_dir_all(&dir).unwrap();
            watch.wait(); // and now what it would come in
        }
        assert!(clock::boot().since(since) < LOOK_EVERY);
    }

    #[test]
    fn a_directory_where_something_is_written_all_the_time_is_read() {
        let (dir, mut watch) = watch();
        let busy = dir.path().join("busy.log");
        let stop = std::sync::Arc::new(std::sync::Mutex::new(()));
        let stopped = std::sync::Arc::downgrade(&stop);
        let writer = std::thread::spawn(move || {
            while stopped.upgrade().is_some() {
                std::fs::write(&busy, "x").unwrap();
                std::thread::sleep(DEBOUNCE / 4);
            }
        });
        let since = clock::boot();
        watch.wait();
        let took = clock::boot().since(since);
        drop(stop);
        writer.join().unwrap();
        assert!(took < 2 * NOT_LONGER, "{took:?}");
    }
}
