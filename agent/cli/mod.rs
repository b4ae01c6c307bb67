//! The commands, a file each.

pub mod check;
pub mod schema;
pub mod test;
