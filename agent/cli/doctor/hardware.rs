//! What the kernel's own records of hardware errors offer on this host: each
//! source is asked as the agent would ask it.

use std::path::Path;

use super::Check;
use crate::probe::{PATIENCE, Probe};
use crate::sources::counting::{Known, Look};
use crate::sources::looking;
use crate::sources::{aer, disk, edac, host, pcie, raid};
use crate::tree::{Progress, Tree};

/// The checks, in the order of the table of sources.
pub fn checks(root: &Path) -> Vec<Check> {
    vec![
        counters("edac", root, edac::look),
        counters("aer", root, aer::look),
        disks(root),
        states("raid", root, raid::look),
        states("pcie", root, pcie::look),
        states("host", root, host::look),
    ]
}

/// A source that reads counters.
fn counters(
    name: &'static str,
    root: &Path,
    look: fn(&Tree, &Known) -> Result<Look, String>,
) -> Check {
    let none = Known::default();
    let look = match ask(root, move |tree| look(tree, &none)) {
        Ok(Ok(look)) => look,
        Ok(Err(absent)) => return Check::ok(name, format!("absent: {absent}")),
        Err(why) => return unreadable(name, why),
    };
    if let Some(first) = look.failed.first() {
        return unreadable(name, first.clone());
    }
    let found = format!(
        "{} device(s), {} counter(s) not at zero",
        look.devices,
        look.readings.len()
    );
    Check::ok(name, found)
}

/// A source that tells how things are.
fn states(
    name: &'static str,
    root: &Path,
    look: fn(&Tree) -> looking::Look,
) -> Check {
    match ask(root, look) {
        Ok(Ok(seen)) => Check::ok(name, format!("{} thing(s)", seen.len())),
        Ok(Err(absent)) => Check::ok(name, format!("absent: {absent}")),
        Err(why) => unreadable(name, why),
    }
}

/// The disks, and whether NVMe drives tell of their health.
fn disks(root: &Path) -> Check {
    let name = "disk";
    match ask(root, disk::health_logs) {
        Ok(Ok((count, None))) => Check::ok(name, format!("{count} disk(s)")),
        Ok(Ok((count, Some(why)))) => Check::warn(
            name,
            format!("{count} disk(s); a health log can't be read: {why}"),
            "run as root; in a container, mount the host's /dev and allow \
             the devices",
        ),
        Ok(Err(absent)) => Check::ok(name, format!("absent: {absent}")),
        Err(why) => unreadable(name, why),
    }
}

/// Asks; an error says what hangs, or what is there and could not be read.
fn ask<T: Send + 'static>(
    root: &Path,
    look: impl FnOnce(&Tree) -> T + Send + 'static,
) -> Result<T, String> {
    let root = root.to_owned();
    let question = move |progress: Progress| {
        let seen = look(&Tree::new(&root, progress.clone()));
        progress.refused().map_or(Ok(seen), Err)
    };
    Probe::default().ask(PATIENCE, question)?
}

fn unreadable(name: &'static str, why: String) -> Check {
    let next = "the source is down until that can be read: look at the device \
                and its driver";
    Check::warn(name, why, next)
}
