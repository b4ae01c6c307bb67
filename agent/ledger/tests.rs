//! The rules of a fault's life, one test each.
