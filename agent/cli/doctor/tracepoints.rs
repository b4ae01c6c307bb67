//! Whether the kernel's tracepoints of hardware errors can be read here.

use std::path::Path;

use super::Check;
use crate::sources::trace::{self, Unusable};

/// The check of source `mce`: looks, and makes no instance.
pub fn check(root: &Path) -> Check {
    let name = "mce";
    match trace::events(root) {
        Ok(events) => {
            let names = events.iter().filter_map(|e| e.split_once('/'));
            let names: Vec<&str> = names.map(|(_, name)| name).collect();
            Check::ok(name, format!("tracepoints {}", names.join(", ")))
        }
        Err(Unusable::Absent(why)) => Check::ok(name, format!("absent: {why}")),
        Err(Unusable::Down(why)) => Check::warn(
            name,
            why,
            "until then machine checks are known only from the kernel's \
             text, which leaves out what its collector of corrected errors \
             keeps and what it rate-limits",
        ),
    }
}
