//! `faultline test`: runs the examples and scenarios of pattern files.

use std::path::PathBuf;
use std::sync::Arc;

use super::check::check;
use crate::patterns::diagnostic::Level;
use crate::patterns::examples;
use crate::scenario;

/// Runs the command; the result is its exit status: 0 good, 1 findings.
pub fn run(
    paths: &[PathBuf],
    out: &mut dyn std::io::Write,
) -> anyhow::Result<u8> {
    let checked = check(paths);
    let errors = checked.found.iter().filter(|d| d.level == Level::Error);
    for d in errors {
        writeln!(out, "{d}\n")?;
    }
    let Some(set) = checked.set else {
        writeln!(out, "nothing was run: the files do not check")?;
        return Ok(1);
    };
    let set = Arc::new(set);
    let (mut ran, mut failed) = (0, 0);
    for file in &checked.files {
        for outcome in [examples::run(file, &set), scenario::run(file, &set)] {
            ran += outcome.ran;
            failed += outcome.failed.len();
            for d in &outcome.failed {
                writeln!(out, "{d}\n")?;
            }
        }
    }
    writeln!(out, "{} passed, {failed} failed", ran.saturating_sub(failed))?;
    Ok(u8::from(
        failed > 0 || checked.found.iter().any(|d| d.level == Level::Error),
    ))
}
