//! `faultline schema`: the JSON Schema of pattern files.

use crate::patterns::file::SCHEMA;

/// Prints the schema.
pub fn run(out: &mut dyn std::io::Write) -> anyhow::Result<u8> {
    out.write_all(SCHEMA.as_bytes())?;
    Ok(0)
}
