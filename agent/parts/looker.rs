//! Looks at the machine on a thread of its own, since sysfs of a dying
//! device may hang, and waits for it only so long.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use super::census::Reading;
use super::host::{Labels, look};
use super::tree::{Progress, Tree};

/// How long a look may take: a server with a thousand functions takes a
/// tenth of a second.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Whoever looks; at most one look is under way.
#[derive(Debug)]
pub struct Looker {
    root: PathBuf,
    labels: Labels,
    under_way: Option<(Receiver<Reading>, Progress)>,
}

impl Looker {
    /// Looks below `root`; `labels` gives slots to what memory controllers
    /// print.
    pub fn new(root: &Path, labels: Labels) -> Looker {
        Looker { root: root.to_owned(), labels, under_way: None }
    }

    /// One look. If the last one still hangs, it is waited for instead.
    ///
    /// # Errors
    /// It takes longer than `patience`, or no thread could be made.
    pub fn look(&mut self, patience: Duration) -> Result<Reading, String> {
        let (receiver, progress) = match self.under_way.take() {
            Some(under_way) => under_way,
            None => self.begin()?,
        };
        match receiver.recv_timeout(patience) {
            Ok(reading) => Ok(reading),
            Err(RecvTimeoutError::Timeout) => {
                let why = format!(
                    "no answer within {} s: reading {} hangs",
                    patience.as_secs(),
                    progress.path().display(),
                );
                self.under_way = Some((receiver, progress));
                Err(why)
            }
            Err(RecvTimeoutError::Disconnected) => Err(format!(
                "it panicked, which is a bug, at {}",
                progress.path().display()
            )),
        }
    }

    fn begin(&self) -> Result<(Receiver<Reading>, Progress), String> {
        let progress = Progress::default();
        let (sender, receiver) = sync_channel(1);
        let tree = Tree::new(&self.root, progress.clone());
        let labels = self.labels.clone();
        std::thread::Builder::new()
            .name("census".into())
            .spawn(move || {
                // Whoever waited may have gone.
                let _ = sender.send(look(&tree, &labels));
            })
            .map_err(|e| format!("no thread to look with: {e}"))?;
        Ok((receiver, progress))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_hangs_is_given_up_with_its_path_and_waited_for_again() {
        let mut looker = Looker::new(Path::new("/nonexistent"), Labels::new());
        let (sender, receiver) = sync_channel(1);
        looker.under_way = Some((receiver, Progress::default()));
        let error = looker.look(Duration::from_millis(1)).unwrap_err();
        assert!(error.contains("hangs"), "{error}");
        sender.send(Reading::default()).unwrap();
        assert!(looker.look(Duration::from_secs(1)).is_ok());
        assert!(looker.under_way.is_none());
    }

    #[test]
    fn an_empty_root_has_no_parts_and_hides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut looker = Looker::new(dir.path(), Labels::new());
        let reading = looker.look(PATIENCE).unwrap();
        assert!(reading.parts.is_empty(), "{reading:?}");
        assert!(reading.unread.is_empty(), "{reading:?}");
    }
}
