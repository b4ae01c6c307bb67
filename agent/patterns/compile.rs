//! From files to a checked [`PatternSet`]: the only way from what people
//! wrote to what the matcher and the ledger work with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::check::Findings;
use super::diagnostic::{Diagnostic, Level, did_you_mean};
use super::file::RawPattern;
use super::located::{At, Place};
use super::matcher::Matcher;
use super::parse::ParsedFile;
use super::pattern;
use super::rule::Rule;
use super::set::{Pattern, PatternSet};
use super::skeleton::Skeletons;
use crate::hash::fnv1a;
use crate::observation::Source;

/// More patterns than this are refused: a hostile directory must not make
/// the agent large. 1,000 is what the matcher is measured with.
pub const PATTERNS_MAX: usize = 4000;

/// The checked patterns, their rules, and what their rules must contain.
#[derive(Default)]
pub(super) struct Built {
    pub(super) patterns: Vec<Arc<Pattern>>,
    pub(super) rules: Vec<(Source, Rule)>,
    /// The patterns whose lines the rate limit of a kernel function hides.
    pub(super) callbacks: BTreeMap<String, Vec<Arc<str>>>,
    pub(super) skeletons: Skeletons,
}

/// One pattern as written, and where.
struct Entry<'a> {
    file: usize,
    raw: &'a At<RawPattern>,
}

/// Checks the files together and compiles what they say. Later files win
/// over built-in ones of the same pattern name.
///
/// # Errors
/// All findings, if one of them is an error.
pub fn compile(
    files: &[ParsedFile],
) -> Result<(PatternSet, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut findings: Vec<Findings<'_>> =
        files.iter().map(Findings::new).collect();
    for (file, findings) in files.iter().zip(&mut findings) {
        if file.file.version.value != 1 {
            findings
                .error(
                    file.file.version.place,
                    format!("unknown version {}", file.file.version.value),
                )
                .help("this release reads `version: 1`");
        }
    }
    let entries = choose(files, &mut findings);
    let known = pattern::Known {
        names: entries.keys().copied().collect(),
        suppressed: entries
            .values()
            .filter(|e| !e.raw.value.disabled)
            .flat_map(|e| &e.raw.value.suppresses)
            .map(|s| s.value.as_str())
            .collect(),
        seen: Default::default(),
        expected: Default::default(),
        words: Default::default(),
    };
    let mut built = Built::default();
    for entry in entries.values().filter(|e| !e.raw.value.disabled) {
        let file = &files[entry.file];
        let found = &mut findings[entry.file];
        found.here = entry.raw.value.name.place;
        pattern::build(file, entry.raw, &known, found, &mut built);
    }
    circles(&entries, &mut findings);
    let all: Vec<Diagnostic> =
        findings.into_iter().flat_map(|f| f.found).collect();
    if all.iter().any(|d| d.level == Level::Error) {
        return Err(all);
    }
    let set = assemble(built).map_err(|message| {
        vec![Diagnostic::new(
            Level::Error,
            files.last().map_or("patterns", |f| &f.name),
            "",
            Place::default(),
            message,
        )]
    })?;
    Ok((set, all))
}

/// The entry in force for each name: an SRE's wins over a built-in one.
fn choose<'a>(
    files: &'a [ParsedFile],
    findings: &mut [Findings<'_>],
) -> BTreeMap<&'a str, Entry<'a>> {
    let mut chosen: BTreeMap<&str, Entry<'_>> = BTreeMap::new();
    let builtin: BTreeSet<&str> = files
        .iter()
        .filter(|f| f.builtin)
        .flat_map(|f| &f.file.patterns)
        .map(|p| p.value.name.value.as_str())
        .collect();
    for (index, file) in files.iter().enumerate() {
        for raw in &file.file.patterns {
            let name = &raw.value.name;
            let earlier = chosen.get(name.value.as_str());
            let doubled =
                earlier.filter(|e| files[e.file].builtin == file.builtin);
            if let Some(entry) = doubled {
                let other = &entry.raw.value.name.place;
                findings[index]
                    .error(
                        name.place,
                        format!("the name `{}` is taken", name.value),
                    )
                    .help(format!(
                        "it stands in {}:{}",
                        files[entry.file].name, other.line
                    ));
                continue;
            }
            if raw.value.disabled && !builtin.contains(name.value.as_str()) {
                let near = did_you_mean(&name.value, builtin.iter().copied());
                let help = near.map_or_else(
                    || "it is not among the built-in patterns".to_owned(),
                    |n| format!("did you mean `{n}`?"),
                );
                findings[index]
                    .warning(
                        name.place,
                        format!("no pattern `{}` to disable", name.value),
                    )
                    .help(help);
            }
            chosen.insert(&name.value, Entry { file: index, raw });
        }
    }
    chosen
}

/// Refuses `suppresses` that lead back to where they began.
fn circles(entries: &BTreeMap<&str, Entry<'_>>, findings: &mut [Findings<'_>]) {
    let next = |name: &str| -> Vec<&str> {
        entries.get(name).map_or_else(Vec::new, |e| {
            e.raw.value.suppresses.iter().map(|s| s.value.as_str()).collect()
        })
    };
    for (name, entry) in entries {
        let mut seen = BTreeSet::new();
        let mut open = next(name);
        while let Some(other) = open.pop() {
            if other == *name {
                findings[entry.file]
                    .error(
                        entry.raw.value.suppresses[0].place,
                        format!("`{name}` suppresses itself in a circle"),
                    )
                    .help("a cause cannot be explained by its own symptom");
                break;
            }
            if seen.insert(other) {
                open.extend(next(other));
            }
        }
    }
}

fn assemble(built: Built) -> Result<PatternSet, String> {
    let count = built.patterns.len();
    if count > PATTERNS_MAX {
        return Err(format!(
            "{count} patterns are too many; at most {PATTERNS_MAX} are taken"
        ));
    }
    let mut hashes = Vec::new();
    for pattern in &built.patterns {
        hashes.extend_from_slice(pattern.name.as_bytes());
        hashes.extend_from_slice(&pattern.hash.to_le_bytes());
    }
    let Built { patterns, rules, callbacks, skeletons } = built;
    let callbacks = callbacks.into_iter().map(|(f, all)| (f, all.into()));
    let named = patterns.into_iter().map(|p| (p.name.clone(), p));
    Ok(PatternSet {
        patterns: named.collect(),
        matcher: Matcher::new(rules, callbacks.collect(), &skeletons)?,
        hash: fnv1a(&hashes),
        incomplete: false,
    })
}
