//! Watching the directories of pattern files.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use notify::{RecursiveMode, Watcher};

/// An editor writes a file in several steps, and a ConfigMap swap is several
/// events; the reload waits until it has been quiet for this long.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Network filesystems tell nothing, and a directory may be created later:
/// without an event the directories are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Tells when something in the directories may have changed.
pub struct Watch {
    events: Receiver<()>,
    waker: Sender<()>,
    watcher: Option<notify::RecommendedWatcher>,
    dirs: Vec<PathBuf>,
    watched: Vec<PathBuf>,
}

impl Watch {
    /// Begins to watch; what cannot be watched is looked at now and then.
    pub fn new(dirs: Vec<PathBuf>) -> Watch {
        let (waker, events) = channel();
        let tx = waker.clone();
        let watcher = notify::recommended_watcher(move |_event| {
            // The receiver is gone only when the agent is ending.
            let _ = tx.send(());
        });
        let (watcher, watched) = (watcher.ok(), Vec::new());
        let mut watch = Watch { events, waker, watcher, dirs, watched };
        watch.cover();
        watch
    }

    /// What makes [`Watch::wait`] return at once.
    pub fn waker(&self) -> Sender<()> {
        self.waker.clone()
    }

    /// Watches each directory that exists and is not watched yet.
    fn cover(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        self.watched.retain(|d| d.is_dir());
        for dir in &self.dirs {
            if !self.watched.contains(dir)
                && watcher.watch(dir, RecursiveMode::NonRecursive).is_ok()
            {
                self.watched.push(dir.clone());
            }
        }
    }

    /// Waits until something may have changed, or it is time to look.
    pub fn wait(&mut self) {
        self.cover();
        // Without an event, also where there is no watcher, it is looked now
        // and then; the waker keeps the channel open.
        if self.events.recv_timeout(LOOK_EVERY).is_ok() {
            while self.events.recv_timeout(DEBOUNCE).is_ok() {}
        }
    }
}
