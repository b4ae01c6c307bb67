//! `faultline schema`: the JSON Schema of pattern files.

use crate::patterns::file::schema;

/// Prints the schema.
pub fn run(out: &mut dyn std::io::Write) -> anyhow::Result<u8> {
    writeln!(out, "{:#}", schema())?;
    Ok(0)
}
