//! Globs over paths: `*` and `?` within a component. Which files there are,
//! and which directories must be watched to learn of others.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// A path pattern, below a root.
#[derive(Clone, Debug)]
pub struct Glob {
    base: PathBuf,
    parts: Vec<Vec<u8>>,
}

/// What a glob finds.
#[derive(Debug, Default)]
pub struct Found {
    /// The paths that exist, in order.
    pub files: BTreeSet<PathBuf>,
    /// The directories on the way that exist.
    pub directories: BTreeSet<PathBuf>,
}

impl Glob {
    /// The glob `text`, an absolute path, below `root`.
    pub fn new(root: &Path, text: &str) -> Glob {
        let normal = |component| match component {
            Component::Normal(part) => Some(OsStr::as_bytes(part).to_vec()),
            Component::ParentDir => Some(b"..".to_vec()),
            _ => None,
        };
        let parts = Path::new(text).components().filter_map(normal);
        Glob { base: root.to_owned(), parts: parts.collect() }
    }

    /// Whether it names one path.
    pub fn is_literal(&self) -> bool {
        !self.parts.iter().any(|part| is_wild(part))
    }

    /// The path it names, if it is literal; else the pattern as a path.
    pub fn path(&self) -> PathBuf {
        let mut path = self.base.clone();
        path.extend(self.parts.iter().map(|part| OsStr::from_bytes(part)));
        path
    }

    /// Whether it matches `path`, or something that may be below it: what
    /// happens at `path` may change what it finds.
    pub fn touches(&self, path: &Path) -> bool {
        let Ok(rest) = path.strip_prefix(&self.base) else {
            return self.base.starts_with(path);
        };
        let mut parts = self.parts.iter();
        rest.components().all(|component| {
            parts.next().is_some_and(|part| {
                matches(part, component.as_os_str().as_bytes())
            })
        })
    }

    /// Whether it matches `path`.
    pub fn is(&self, path: &Path) -> bool {
        let rest = path.strip_prefix(&self.base);
        let depth = rest.map_or(0, |rest| rest.components().count());
        depth == self.parts.len() && self.touches(path)
    }

    /// Looks what there is now.
    pub fn find(&self, found: &mut Found) {
        walk(&self.base, &self.parts, found);
    }
}

fn walk(at: &Path, parts: &[Vec<u8>], found: &mut Found) {
    let Some((part, rest)) = parts.split_first() else {
        if at.exists() {
            found.files.insert(at.to_owned());
        }
        return;
    };
    if !at.is_dir() {
        return;
    }
    found.directories.insert(at.to_owned());
    if !is_wild(part) {
        return walk(&at.join(OsStr::from_bytes(part)), rest, found);
    }
    // A directory that may not be read has nothing for us; the next look
    // finds out if that changes.
    for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
        if matches(part, entry.file_name().as_bytes()) {
            walk(&entry.path(), rest, found);
        }
    }
}

fn is_wild(part: &[u8]) -> bool {
    part.iter().any(|b| matches!(b, b'*' | b'?'))
}

/// Whether `name` fits `pattern`; linear but for the last `*`.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    // A leading dot is matched only by a dot, as in a shell.
    if name.starts_with(b".") && !pattern.starts_with(b".") {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(b) if *b == b'?' || *b == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_within_a_component() {
        assert!(matches(b"*.log", b"a.log"));
        assert!(matches(b"a*b*c", b"aXbYbZc"));
        assert!(matches(b"mess?ges", b"messages"));
        assert!(!matches(b"*.log", b"a.log.1"));
        assert!(!matches(b"*", b".hidden"));
        assert!(matches(b"**", b""));
    }

    #[test]
    fn a_glob_finds_files_and_the_directories_on_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("var/log/a")).unwrap();
        std::fs::write(root.join("var/log/a/x.log"), "").unwrap();
        let glob = Glob::new(root, "/var/log/*/*.log");
        let mut found = Found::default();
        glob.find(&mut found);
        assert!(found.files.contains(&root.join("var/log/a/x.log")));
        assert_eq!(found.files.len(), 1);
        assert!(found.directories.contains(&root.join("var/log")));
        assert!(found.directories.contains(&root.join("var/log/a")));
        assert!(!glob.is_literal());
    }

    #[test]
    fn what_happens_above_a_file_touches_it() {
        let glob = Glob::new(Path::new("/host"), "/var/log/*.log");
        for path in ["/host/var", "/host/var/log/a.log", "/host", "/"] {
            assert!(glob.touches(Path::new(path)), "{path}");
        }
        for path in ["/host/var/log/a.txt", "/host/etc", "/var/log/a.log"] {
            assert!(!glob.touches(Path::new(path)), "{path}");
        }
        assert!(glob.is(Path::new("/host/var/log/a.log")));
        assert!(!glob.is(Path::new("/host/var/log")));
    }
}
