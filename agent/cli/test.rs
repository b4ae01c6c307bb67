//! `faultline test`: runs the examples and scenarios of pattern files.

use std::path::PathBuf;
use std::sync::Arc;

use super::check::check;
use crate::patterns::diagnostic::{Diagnostic, Level};
use crate::patterns::examples;
use crate::scenario;

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
    let is_error = |d: &Diagnostic| d.level == Level::Error;
    let mut failed: Vec<Diagnostic> =
        checked.found.into_iter().filter(is_error).collect();
    let mut ran = 0;
    let unfit = failed.len();
    if let Some(set) = checked.set {
        let set = Arc::new(set);
        for file in &checked.files {
            for done in [examples::run(file, &set), scenario::run(file, &set)] {
                ran += done.ran;
                failed.extend(done.failed);
            }
        }
    }
    let status = u8::from(!failed.is_empty());
    if json {
        let report = serde_json::json!({ "ran": ran, "findings": failed });
        let report = format!("{report:#}");
        writeln!(out, "{}", super::escape::quiet_json(&report))?;
        return Ok(status);
    }
    for d in &failed {
        writeln!(out, "{d}\n")?;
    }
    if ran == 0 && unfit > 0 {
        writeln!(out, "nothing was run: the files do not check")?;
        return Ok(status);
    }
    let bad = failed.len() - unfit;
    writeln!(out, "{} passed, {bad} failed", ran - bad.min(ran))?;
    Ok(status)
}
