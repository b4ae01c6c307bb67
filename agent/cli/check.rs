//! `faultline check`: what is wrong with pattern files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::runbooks;
use crate::patterns::builtin;
use crate::patterns::compile::compile;
use crate::patterns::diagnostic::{Diagnostic, Level};
use crate::patterns::located::Place;
use crate::patterns::parse::{ParsedFile, SourceFile, parse};
use crate::patterns::set::PatternSet;
use crate::reload;

/// Files read, checked together with the built-in packs.
#[derive(Debug)]
pub struct Checked {
    /// The files that were asked for and have the right shape.
    pub files: Vec<ParsedFile>,
    /// The set, if nothing is wrong.
    pub set: Option<PatternSet>,
    /// What was found.
    pub found: Vec<Diagnostic>,
    /// Built-in patterns that are no longer in force as they are, each with
    /// the file that takes its place: wanted mostly, but a name that clashes
    /// by accident blinds the agent without a word.
    pub overrides: Vec<(String, String)>,
}

/// Reads and checks the files. A directory stands for its `*.yaml` files. A
/// file that is one of the built-in packs, by its name and first pattern,
/// takes that pack's place, so that a pack can be checked before it is built
/// in.
pub fn check(paths: &[PathBuf]) -> Checked {
    let mut found = Vec::new();
    let mut files = Vec::new();
    for path in expand(paths, &mut found) {
        match reload::read(&path).and_then(|source| parse(&source)) {
            Ok(file) => files.push(file),
            Err(d) => found.push(d),
        }
    }
    found.extend(files.iter().flat_map(runbooks::missing));
    let mut packs = Vec::new();
    for pack in builtin::files() {
        match parse(&pack) {
            Ok(pack) => {
                let same = files.iter_mut().find(|f| is_pack(f, &pack));
                match same {
                    Some(file) => file.builtin = true,
                    None => packs.push(pack),
                }
            }
            Err(d) => found.push(d),
        }
    }
    let overrides = overrides(&files, &packs);
    packs.extend(files.iter().cloned());
    let set = match compile(&packs) {
        Ok((set, warnings)) => {
            found.extend(warnings);
            Some(set)
        }
        Err(all) => {
            found.extend(all);
            None
        }
    };
    let asked = |d: &Diagnostic| !d.file.starts_with("built-in ");
    if found.iter().any(asked) {
        // Findings in the packs matter only when nothing else explains them.
        found.retain(asked);
    }
    Checked { files, set, found, overrides }
}

fn overrides(
    files: &[ParsedFile],
    packs: &[ParsedFile],
) -> Vec<(String, String)> {
    let names = |file: &ParsedFile| {
        let all = file.file.patterns.iter();
        all.map(|p| p.value.name.value.clone()).collect::<Vec<_>>()
    };
    let built_in: BTreeSet<String> = packs.iter().flat_map(names).collect();
    let of_file = |file: &ParsedFile| {
        let own = names(file).into_iter();
        let own = own.filter(|name| built_in.contains(name));
        own.map(|name| (name, file.name.clone())).collect::<Vec<_>>()
    };
    files.iter().flat_map(of_file).collect()
}

/// Whether `file` is the source of a built-in pack: the same file name and
/// component.
fn is_pack(file: &ParsedFile, pack: &ParsedFile) -> bool {
    let name = Path::new(&file.name).file_name().and_then(|n| n.to_str());
    let component =
        |f: &ParsedFile| f.file.component.as_ref().map(|c| c.value.clone());
    name.is_some_and(|n| pack.name == format!("built-in {n}"))
        && component(file) == component(pack)
        && first(file) == first(pack)
}

fn first(file: &ParsedFile) -> Option<&str> {
    file.file.patterns.first().map(|p| p.value.name.value.as_str())
}

/// Directories become their pattern files; the rest stays.
fn expand(paths: &[PathBuf], found: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for path in paths {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        match reload::list(path) {
            Ok(files) if files.is_empty() => found.push(empty(path)),
            Ok(files) => all.extend(files),
            Err(d) => found.push(d),
        }
    }
    all
}

/// Nothing that was checked is no success.
fn empty(path: &Path) -> Diagnostic {
    let is_named = |ending| path.extension().is_some_and(|e| e == ending);
    let what = match is_named("yaml") || is_named("yml") {
        true => "is a directory, not a file, and empty",
        false => "the directory has no pattern file",
    };
    let name = path.display().to_string();
    Diagnostic::new(Level::Error, &name, "", Place::default(), what)
        .help("pattern files end in .yaml or .yml")
}

/// Runs the command; the result is its exit status: 0 good, 1 findings.
///
/// # Errors
/// The output cannot be written.
pub fn run(
    paths: &[PathBuf],
    json: bool,
    out: &mut dyn std::io::Write,
) -> anyhow::Result<u8> {
    let checked = check(paths);
    let status = u8::from(!checked.found.is_empty());
    let patterns: usize =
        checked.files.iter().map(|f| f.file.patterns.len()).sum();
    if json {
        let report = serde_json::json!({
            "files": checked.files.len(),
            "patterns": patterns,
            "findings": checked.found,
            "overrides": checked.overrides.iter().map(|(name, file)| {
                serde_json::json!({ "pattern": name, "file": file })
            }).collect::<Vec<_>>(),
        });
        let report = format!("{report:#}");
        writeln!(out, "{}", super::escape::quiet_json(&report))?;
        return Ok(status);
    }
    for d in &checked.found {
        writeln!(out, "{d}\n")?;
    }
    for (name, file) in &checked.overrides {
        let note = format!(
            "note: {file}: {name} takes the place of the built-in pattern of \
             this name"
        );
        writeln!(out, "{}\n", super::escape::escape(&note))?;
    }
    let count =
        |level| checked.found.iter().filter(|d| d.level == level).count();
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    writeln!(
        out,
        "{} file(s), {patterns} pattern(s): {errors} error(s), {warnings} \
         warning(s)",
        checked.files.len(),
    )?;
    Ok(status)
}

/// For tests and fuzzing: checks one text as an SRE's file.
pub fn check_text(
    name: &str,
    text: &[u8],
) -> Result<PatternSet, Vec<Diagnostic>> {
    let source = SourceFile {
        name: name.to_owned(),
        text: text.to_vec(),
        builtin: false,
    };
    let file = parse(&source).map_err(|d| vec![d])?;
    compile(&[file]).map(|(set, _)| set)
}
