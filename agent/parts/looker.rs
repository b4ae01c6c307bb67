//! Looks at the machine on a thread of its own, since sysfs of a dying
//! device may hang, and waits for it only so long.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::census::Reading;
use super::host::{Labels, look};
use super::units::{self, Shelf};
use crate::probe::Probe;
use crate::tree::Tree;

/// How long a look may take: a server with a thousand functions takes a
/// tenth of a second.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Whoever looks; at most one look is under way.
#[derive(Debug)]
pub struct Looker {
    root: PathBuf,
    labels: Labels,
    shelf: Shelf,
    probe: Probe<Reading>,
}

impl Looker {
    /// Looks below `root`; `labels` gives slots to what memory controllers
    /// print.
    pub fn new(root: &Path, labels: Labels) -> Looker {
        let (root, shelf) = (root.to_owned(), Shelf::default());
        Looker { root, labels, shelf, probe: Probe::default() }
    }

    /// Adds the units that a BMC keeps, which are on the shelf.
    pub fn with_units(self, shelf: Shelf) -> Looker {
        Looker { shelf, ..self }
    }

    /// One look. If the last one still hangs, it is waited for instead.
    ///
    /// # Errors
    /// It takes longer than `patience`, or no thread could be made.
    pub fn look(&mut self, patience: Duration) -> Result<Reading, String> {
        let (root, labels) = (self.root.clone(), self.labels.clone());
        let seen = self.probe.ask(patience, move |progress| {
            look(&Tree::new(&root, progress), &labels)
        });
        let mut reading = seen?;
        units::add(&mut reading, self.shelf.look());
        Ok(reading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_root_has_no_parts_and_hides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut looker = Looker::new(dir.path(), Labels::new());
        let reading = looker.look(PATIENCE).unwrap();
        assert!(reading.parts.is_empty(), "{reading:?}");
        assert!(reading.unread.is_empty(), "{reading:?}");
    }
}
