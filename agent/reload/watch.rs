//! Watching the directories of pattern files.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
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
    watcher: Option<notify::RecommendedWatcher>,
    dirs: Vec<PathBuf>,
    watched: Vec<PathBuf>,
}

impl Watch {
    /// Begins to watch; what cannot be watched is looked at now and then.
    pub fn new(dirs: Vec<PathBuf>) -> Watch {
        let (tx, events) = channel();
        let watcher = notify::recommended_watcher(move |_event| {
            // The receiver is gone only when the agent is ending.
            let _ = tx.send(());
        });
        let mut watch =
            Watch { events, watcher: watcher.ok(), dirs, watched: vec![] };
        watch.cover();
        watch
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
        match self.events.recv_timeout(LOOK_EVERY) {
            Ok(()) => while self.events.recv_timeout(DEBOUNCE).is_ok() {},
            Err(RecvTimeoutError::Timeout) => {}
            // Without a watcher there are no events; look now and then.
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(LOOK_EVERY);
            }
        }
    }
}
