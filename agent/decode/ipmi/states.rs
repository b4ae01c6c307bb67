//! The states of discrete sensors by name (IPMI 2.0 tables 42-2 and 42-3):
//! bits of a reading, offsets of an event.

mod generic;
mod specific;
#[cfg(test)]
mod tests;
mod words;

use super::kinds;
use super::sensor::{SPECIFIC, THRESHOLD};
pub use words::ALL;

/// A reading has fifteen states; bit 15 is reserved.
pub const STATES_MAX: u8 = 15;

/// States that the specification has no name for: a maker's sensors, and
/// the reserved offsets of the others.
const UNNAMED: [&str; 16] = [
    "state-0", "state-1", "state-2", "state-3", "state-4", "state-5",
    "state-6", "state-7", "state-8", "state-9", "state-10", "state-11",
    "state-12", "state-13", "state-14", "state-15",
];

/// The states of that sensor type and event/reading type, by offset.
fn table(kind: u8, reading_type: u8) -> &'static [&'static str] {
    match reading_type {
        THRESHOLD => &super::thresholds::WORDS,
        SPECIFIC => specific::of(kind),
        _ => generic::of(reading_type),
    }
}

/// The name of the state at this offset; empty names in the tables are
/// reserved offsets.
pub fn word(kind: u8, reading_type: u8, offset: u8) -> &'static str {
    let named = table(kind, reading_type).get(usize::from(offset));
    match named {
        Some(word) if !word.is_empty() => word,
        _ => UNNAMED[usize::from(offset & 0xf)],
    }
}

/// The names of all states whose bit is set.
pub fn words(kind: u8, reading_type: u8, bits: u16) -> Vec<&'static str> {
    let set = (0..STATES_MAX).filter(|offset| bits >> offset & 1 != 0);
    set.map(|offset| word(kind, reading_type, offset)).collect()
}

/// The state by which such a sensor tells that its part is there.
pub fn presence(kind: u8, reading_type: u8) -> Option<u16> {
    let bit = match (reading_type, kind) {
        (0x08, _) => 1,
        (SPECIFIC, kinds::POWER_SUPPLY | kinds::DRIVE_SLOT | 0x25) => 0,
        (SPECIFIC, kinds::PROCESSOR) => 7,
        (SPECIFIC, kinds::MEMORY) => 6,
        (SPECIFIC, kinds::BATTERY) => 2,
        _ => return None,
    };
    Some(1 << bit)
}

/// The names that the specification has for a sensor's states, in order.
pub fn named(kind: u8, reading_type: u8) -> Vec<&'static str> {
    let all = table(kind, reading_type).iter().copied();
    all.filter(|word| !word.is_empty()).collect()
}
