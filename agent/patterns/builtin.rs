//! The pattern packs that are compiled into the binary, as `build.rs` packs
//! them: without their examples and scenarios.

use super::parse::SourceFile;

/// Their names and texts, from `patterns/`.
const FILES: &[(&str, &str)] =
    include!(concat!(env!("OUT_DIR"), "/builtin.rs"));

/// The built-in files.
pub fn files() -> Vec<SourceFile> {
    FILES
        .iter()
        .map(|(name, text)| SourceFile {
            name: format!("built-in {name}"),
            text: text.as_bytes().to_vec(),
            builtin: true,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::compile::compile;
    use super::super::parse::parse;
    use super::*;

    /// The files as they stand in the repository.
    fn shipped() -> Vec<SourceFile> {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/patterns");
        let mut files: Vec<SourceFile> = std::fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
            .map(|path| SourceFile {
                name: format!(
                    "built-in {}",
                    path.file_name().unwrap().to_str().unwrap()
                ),
                text: std::fs::read(&path).unwrap(),
                builtin: true,
            })
            .collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        files
    }

    /// Everything that a set says, but for the places and hashes of the text.
    fn said(files: &[SourceFile]) -> Vec<String> {
        let parsed: Vec<_> = files
            .iter()
            .map(|f| parse(f).unwrap_or_else(|d| panic!("{d}")))
            .collect();
        let (set, _) = compile(&parsed).unwrap();
        let mut all: Vec<String> = Vec::new();
        for pattern in set.patterns.values() {
            let mut pattern = (**pattern).clone();
            pattern.hash = 0;
            all.push(format!("{pattern:?}"));
        }
        all
    }

    #[test]
    fn what_is_built_in_says_what_the_shipped_files_say() {
        let (packed, whole) = (files(), shipped());
        assert!(packed.len() > 10, "{} files", packed.len());
        assert_eq!(said(&packed), said(&whole));
    }

    #[test]
    fn every_shipped_pattern_shows_what_it_takes_and_a_near_miss() {
        use super::super::file::RawGives;
        for file in shipped() {
            let parsed = parse(&file).unwrap_or_else(|d| panic!("{d}"));
            for pattern in &parsed.file.patterns {
                let p = &pattern.value;
                let gives = |e: &&super::super::located::At<_>| {
                    let e: &super::super::file::RawExample = &e.value;
                    matches!(e.gives, RawGives::Match { .. })
                };
                let shown = p.examples.iter().filter(gives).count();
                assert!(
                    shown > 0 || p.benign,
                    "{} takes nothing",
                    p.name.value
                );
                assert!(!p.examples.is_empty(), "{}", p.name.value);
                let missed = p.examples.len() - shown;
                assert!(
                    missed > 0 || p.benign,
                    "{} has no near-miss",
                    p.name.value
                );
            }
        }
    }

    #[test]
    fn no_built_in_pattern_costs_every_line_something() {
        let parsed: Vec<_> =
            files().iter().map(|f| parse(f).unwrap()).collect();
        let (set, _) = compile(&parsed).unwrap();
        assert_eq!(set.matcher.costly(), [""; 0]);
    }

    #[test]
    fn an_outline_tells_what_the_whole_expression_tells() {
        use super::super::classes::{self, expand, outline};
        use super::super::skeleton::skeletons;
        let mut outlined = 0;
        for file in shipped() {
            let text = String::from_utf8(file.text).unwrap();
            let lines = text.lines().filter_map(|line| {
                line.trim_start().strip_prefix("- '")?.strip_suffix('\'')
            });
            for line in lines.filter(|line| line.contains("(?&trouble)")) {
                let told = |expression: &str| {
                    let expression = expand(expression).unwrap();
                    let hir = classes::parse(&expression).unwrap();
                    let captures = classes::captures(&hir);
                    let anchored = classes::is_anchored(&hir);
                    let block = classes::is_block(&hir);
                    (skeletons(&hir), captures, anchored, block)
                };
                assert_eq!(told(line), told(&outline(line)), "{line}");
                outlined += 1;
            }
        }
        assert!(outlined > 50, "{outlined} expressions");
    }

    #[test]
    fn no_example_is_built_in() {
        for file in files() {
            let parsed = parse(&file).unwrap_or_else(|d| panic!("{d}"));
            assert!(parsed.file.scenarios.is_empty(), "{}", file.name);
            let mut patterns = parsed.file.patterns.iter();
            assert!(patterns.all(|p| p.value.examples.is_empty()));
        }
    }
}
