//! A few names in one piece of memory: a set of strings takes ten times as
//! much, and every rule has one. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Names of captures and fields; none holds a blank.
#[derive(Clone, Debug, Default)]
pub struct Names(Arc<str>);

impl Names {
    /// These names, each once.
    pub fn of<'a>(names: impl Iterator<Item = &'a str>) -> Names {
        let names: BTreeSet<&str> = names.collect();
        let names: Vec<&str> = names.into_iter().collect();
        Names(names.join(" ").into())
    }

    /// Whether this is one of them.
    pub fn contains(&self, name: &str) -> bool {
        self.0.split(' ').any(|one| one == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_among_them_only_whole() {
        let names = Names::of(["dimm", "count", "dimm"].into_iter());
        assert!(names.contains("dimm") && names.contains("count"));
        assert!(!names.contains("dim") && !names.contains("nt dimm"));
        assert!(!Names::of([].into_iter()).contains("dimm"));
    }
}
