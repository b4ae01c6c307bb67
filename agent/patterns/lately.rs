//! Lines that came lately and changed nothing, and what they gave.
//!
//! What floods a kernel's log is one line over and over, and what a healthy
//! node says is little besides. Such a line is known again by a hash of all
//! that the patterns ask about it, for less than they would cost.
//!
//! Two lines of one hash would be taken for each other: of 64 bits, under a
//! key that is drawn for each set of patterns and never told, so that nobody
//! can look for them, and by chance it happens once in some 10^16 lines.

use std::hash::{BuildHasher, Hasher};

use crate::kernel::KernelRecord;

/// Lines that share a place in the table, the latest first; their hashes fill
/// half a line of the processor's cache.
const WAYS: usize = 4;

/// Places in the table. It takes 16 KiB: what is remembered must not push the
/// rest out of the nearest cache.
const PLACES: usize = 512;

/// How many of a hash's bits its place tells, and more than those that a
/// note takes.
const PLACE_BITS: u32 = PLACES.ilog2();

/// The bits of a remembered hash that tell what the line gave, instead of
/// some that its place tells anyway.
const GAVE_BITS: u32 = 8;

const _: () = assert!(PLACES.is_power_of_two() && GAVE_BITS <= PLACE_BITS);

/// What a line gave that changed nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Gave {
    /// Nothing.
    #[default]
    Nothing,
    /// One note, counted at this place.
    Note(u8),
    /// Several, or at too high a place.
    More,
}

impl Gave {
    /// This, and a note that is counted at place `at`.
    pub(super) fn and_note(self, at: usize) -> Gave {
        match (self, u8::try_from(at)) {
            // One place less than there are: 0 is that of no note.
            (Gave::Nothing, Ok(at)) if at < u8::MAX => Gave::Note(at),
            _ => Gave::More,
        }
    }
}

/// The secret of one set of patterns: what was remembered for another is not
/// known under it.
#[derive(Clone, Debug, Default)]
pub(super) struct Key(foldhash::quality::RandomState);

impl Key {
    /// The hash of all that a pattern may ask about a record, so of all but
    /// its time, when `expected` patterns may have faults.
    pub(super) fn of(&self, record: &KernelRecord<'_>, expected: u64) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(record.text);
        if !record.subsystem.is_empty() || !record.device.is_empty() {
            hasher.write(record.subsystem);
            hasher.write(record.device);
        }
        let level = record.level.unwrap_or(u8::MAX);
        hasher.write_u16(u16::from_be_bytes([level, record.injected.into()]));
        hasher.write_u64(expected);
        hasher.finish()
    }
}

/// The hashes of the lines, each with what its line gave.
#[derive(Debug, Default)]
pub(super) struct Lately(Vec<[u64; WAYS]>);

impl Lately {
    /// What the line of this hash gave, if it is remembered.
    pub(super) fn get(&self, hash: u64) -> Option<Gave> {
        let all = self.0.get(hash as usize % PLACES)?;
        let found = all.iter().find(|one| (*one ^ hash) >> GAVE_BITS == 0)?;
        Some(match (*found as u8).checked_sub(1) {
            None => Gave::Nothing,
            Some(at) => Gave::Note(at),
        })
    }

    /// Remembers a line, in the stead of that which came to its place first.
    pub(super) fn add(&mut self, hash: u64, gave: Gave) {
        let gave = match gave {
            Gave::Nothing => 0,
            Gave::Note(at) => u64::from(at) + 1,
            Gave::More => return,
        };
        if self.0.is_empty() {
            self.0.resize(PLACES, [0; WAYS]);
        }
        let hashes = &mut self.0[hash as usize % PLACES];
        hashes.copy_within(..WAYS - 1, 1);
        hashes[0] = hash >> GAVE_BITS << GAVE_BITS | gave;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn record(text: &str) -> KernelRecord<'_> {
        KernelRecord {
            text: text.as_bytes(),
            form: None,
            level: Some(6),
            subsystem: b"",
            device: b"",
            time: Timestamp(0),
            approximate: false,
            injected: false,
        }
    }

    #[test]
    fn a_line_is_known_again_whenever_it_was_printed() {
        let (key, mut lately) = (Key::default(), Lately::default());
        let line = record("eth0: link is up");
        assert_eq!(lately.get(key.of(&line, 0)), None);
        lately.add(key.of(&line, 0), Gave::Nothing);
        let later =
            KernelRecord { time: Timestamp(7), approximate: true, ..line };
        assert_eq!(lately.get(key.of(&later, 0)), Some(Gave::Nothing));
    }

    #[test]
    fn a_line_that_differs_in_what_patterns_ask_is_another() {
        let key = Key::default();
        let line = record("link is up");
        let others = [
            record("link is down"),
            record(""),
            KernelRecord { level: Some(3), ..line },
            KernelRecord { level: None, ..line },
            KernelRecord { injected: true, ..line },
            KernelRecord { subsystem: b"pci", ..line },
            KernelRecord { device: b"pci", ..line },
            KernelRecord { subsystem: b"p", device: b"ci", ..line },
            KernelRecord { subsystem: b"pc", device: b"i", ..line },
        ];
        let mut hashes: Vec<u64> =
            others.iter().map(|o| key.of(o, 0)).collect();
        hashes.extend([key.of(&line, 0), key.of(&line, 1)]);
        let all = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), all);
    }

    #[test]
    fn another_set_of_patterns_knows_none_of_it() {
        let (one, another) = (Key::default(), Key::default());
        let line = record("link is up");
        assert_ne!(one.of(&line, 0), another.of(&line, 0));
    }

    #[test]
    fn a_note_is_remembered_with_its_place() {
        let mut lately = Lately::default();
        let hash = 0x1234_5678_9abc_def0;
        for (at, gave) in [
            (0, Some(Gave::Note(0))),
            (254, Some(Gave::Note(254))),
            (255, None),
            (9999, None),
        ] {
            let hash = hash + at as u64 * 0x1_0000;
            lately.add(hash, Gave::Nothing.and_note(at));
            assert_eq!(lately.get(hash), gave, "{at}");
            assert_eq!(lately.get(hash ^ 1 << 40), None);
        }
        let twice = Gave::Nothing.and_note(3).and_note(3);
        lately.add(hash ^ 1 << 40, twice);
        assert_eq!(lately.get(hash ^ 1 << 40), None, "one line, two notes");
    }

    #[test]
    fn the_oldest_line_makes_room_and_memory_is_bounded() {
        let mut lately = Lately::default();
        let of = |n: usize| (n * PLACES + 5) as u64;
        for n in 1..=WAYS + 1 {
            lately.add(of(n), Gave::Nothing);
        }
        assert_eq!(lately.get(of(1)), None);
        assert!((2..=WAYS + 1).all(|n| lately.get(of(n)).is_some()));
        for n in 0..100_000 {
            lately.add(n, Gave::Nothing);
        }
        assert_eq!(lately.0.len(), PLACES);
    }
}
