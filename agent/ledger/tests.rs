//! The rules of a fault's life, one test each, on a virtual clock.

mod counting;
mod folding;
mod parts;
mod people;
mod proving;
mod random;
mod room;
mod rules;
mod siblings;
mod twins;
