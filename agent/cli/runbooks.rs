//! Whether the runbooks that patterns name are there, as far as this host
//! can tell: many keep theirs in a wiki, and then nothing is said.

use std::fs;
use std::path::Path;

use crate::patterns::diagnostic::{Diagnostic, Level};
use crate::patterns::located::At;
use crate::patterns::parse::ParsedFile;

/// Where runbooks are, seen from the directory of the pattern file: beside
/// it, or as in this repository.
const PLACES: [&str; 3] = ["runbooks", "../runbooks", "../docs/runbooks"];

/// The runbooks that a file names and that are missing where others are.
pub(super) fn missing(file: &ParsedFile) -> Vec<Diagnostic> {
    let own = Path::new(&file.name).parent().unwrap_or(Path::new("."));
    let places = PLACES.map(|place| own.join(place));
    let Some(dir) = places.iter().find(|dir| dir.is_dir()) else {
        return Vec::new();
    };
    let patterns = file.file.patterns.iter();
    let named = patterns.filter_map(|p| p.value.runbook.as_ref());
    named.filter_map(|runbook| look(dir, runbook, file)).collect()
}

fn look(
    dir: &Path,
    runbook: &At<String>,
    file: &ParsedFile,
) -> Option<Diagnostic> {
    let (name, anchor) = match runbook.value.split_once('#') {
        Some((name, anchor)) => (name, Some(anchor)),
        None => (runbook.value.as_str(), None),
    };
    let path = dir.join(name);
    let shown = path.display();
    let message = match fs::read_to_string(&path) {
        Err(_) => format!("there is no {shown}"),
        Ok(text) => {
            let found = anchor.is_none_or(|wanted| has_heading(&text, wanted));
            if found {
                return None;
            }
            format!("{shown} has no heading for #{}", anchor.unwrap_or(""))
        }
    };
    let (name, text) = (&file.name, &file.text);
    let level = Level::Warning;
    Some(Diagnostic::new(level, name, text, runbook.place, message).help(
        "whoever is paged follows this link; write the page, or mend the \
         link",
    ))
}

/// Whether a page has a heading with this anchor, as GitHub makes them: lower
/// case, dashes for spaces, without other signs.
fn has_heading(text: &str, wanted: &str) -> bool {
    let anchor = |heading: &str| -> String {
        let lower = heading.trim().to_lowercase();
        let kept = lower.chars().filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        });
        kept.collect()
    };
    let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
    let mut anchors = headings.map(|h| anchor(h.trim_start_matches('#')));
    anchors.any(|anchor| anchor == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patterns::parse::{SourceFile, parse};

    #[test]
    fn a_dead_link_is_told_where_there_are_runbooks() {
        let dir = tempfile::tempdir().unwrap();
        let text = "version: 1\ncomponent: disk\npatterns:\n  \
            - { name: a, runbook: mine.md#broken-disk }\n  \
            - { name: b, runbook: mine.md#gone }\n  \
            - { name: c, runbook: none.md }\n";
        let source = SourceFile {
            name: dir.path().join("mine.yaml").display().to_string(),
            text: text.as_bytes().to_vec(),
            builtin: false,
        };
        let file = parse(&source).unwrap();
        assert_eq!(missing(&file), []);
        let runbooks = dir.path().join("runbooks");
        fs::create_dir(&runbooks).unwrap();
        fs::write(runbooks.join("mine.md"), "# All\n\n## Broken disk!\n")
            .unwrap();
        let found = missing(&file);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].message.ends_with("has no heading for #gone"));
        assert_eq!(found[0].place.line, 5);
        assert!(found[1].message.ends_with("none.md"), "{found:?}");
    }
}
