//! Patterns: what the files say, the checked set, and the matcher. Pure: the
//! files are read elsewhere and come in as bytes.
//!
//! `parse` (bytes to shape) → `compile` (shape to a checked set) → `matcher`.

pub mod builtin;
mod check;
pub mod classes;
pub mod compile;
pub mod diagnostic;
pub mod examples;
pub mod field_matcher;
mod fields;
pub mod file;
mod group;
mod lately;
mod life;
pub mod located;
pub mod matcher;
mod names;
pub mod observed;
pub mod parse;
pub mod pattern;
pub mod rule;
mod sense;
pub mod set;
mod shown;
mod skeleton;
pub mod template;
mod values;

#[cfg(test)]
mod tests;
