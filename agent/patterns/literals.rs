//! Finds which of some thousand literals stand in a text, in one pass.
//!
//! Each literal is entered under four of its bytes, the least common ones.
//! The pass looks at every four bytes of the text: a bit table of 8 KiB, which
//! stays in the processor's nearest cache, nearly always says that no literal
//! is entered under them. An automaton over as many literals takes several
//! times as long, since each of its steps waits for memory.

use std::collections::BTreeMap;

/// How many bytes a literal is entered under.
const GRAM: usize = 4;

/// Bits of the hash; the table has as many entries as it has values.
const HASH_BITS: u32 = 16;

/// Bits of the hash that choose a bucket of slots.
const BUCKET_BITS: u32 = 10;

/// The literals and who owns them.
#[derive(Debug, Default)]
pub struct Literals {
    /// One bit for each hash that some literal is entered under.
    filter: Vec<u64>,
    /// Where the slots of each bucket begin.
    heads: Vec<u32>,
    /// The literals' places, in the order of their hashes.
    slots: Vec<Slot>,
    /// Literals of fewer than four bytes; looked for one after another.
    short: Vec<Entry>,
    /// All literals' bytes.
    bytes: Vec<u8>,
    /// All literals' owners.
    owners: Vec<u32>,
}

/// A literal, as pieces of `bytes` and `owners`.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    length: u8,
    first_owner: u32,
    owner_count: u16,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    /// Where in the literal its four bytes stand.
    offset: u8,
    entry: Entry,
}

impl Literals {
    /// Takes the literals, each with its owners.
    ///
    /// # Errors
    /// When there are too many, or one is longer than 255 bytes.
    pub fn new(all: BTreeMap<Vec<u8>, Vec<u32>>) -> Result<Literals, String> {
        let many = |_| "too many literals".to_owned();
        let mut made = Literals {
            filter: vec![0; 1 << (HASH_BITS - 6)],
            ..Literals::default()
        };
        for (literal, owners) in all {
            let entry = Entry {
                start: made.bytes.len().try_into().map_err(many)?,
                length: literal.len().try_into().map_err(many)?,
                first_owner: made.owners.len().try_into().map_err(many)?,
                owner_count: owners.len().try_into().map_err(many)?,
            };
            made.bytes.extend_from_slice(&literal);
            made.owners.extend(owners);
            if literal.len() < GRAM {
                made.short.push(entry);
                continue;
            }
            let offset = rarest(&literal);
            let hash = hash(gram(&literal[offset..]));
            made.filter[(hash >> 6) as usize] |= 1 << (hash & 63);
            let offset = offset.try_into().map_err(many)?;
            made.slots.push(Slot { hash, offset, entry });
        }
        made.slots.sort_by_key(|slot| slot.hash);
        let bucket = |s: &Slot| s.hash >> (HASH_BITS - BUCKET_BITS);
        for b in 0..=1u32 << BUCKET_BITS {
            let head = made.slots.partition_point(|s| bucket(s) < b);
            made.heads.push(head.try_into().map_err(many)?);
        }
        made.bytes.shrink_to_fit();
        made.owners.shrink_to_fit();
        made.slots.shrink_to_fit();
        Ok(made)
    }

    /// Appends the owners of every literal that stands in `text`; some may
    /// come more than once.
    pub fn find(&self, text: &[u8], found: &mut Vec<u32>) {
        for entry in &self.short {
            let literal = self.literal(entry);
            if text.windows(literal.len()).any(|w| w == literal) {
                found.extend_from_slice(self.owners(entry));
            }
        }
        if self.slots.is_empty() || text.len() < GRAM {
            return;
        }
        for (at, window) in text.windows(GRAM).enumerate() {
            let hash = hash(gram(window));
            let bit = self.filter[(hash >> 6) as usize] >> (hash & 63);
            if bit & 1 == 1 {
                self.confirm(text, at, hash, found);
            }
        }
    }

    /// Looks at the literals that are entered under this hash.
    fn confirm(&self, text: &[u8], at: usize, hash: u32, found: &mut Vec<u32>) {
        let bucket = (hash >> (HASH_BITS - BUCKET_BITS)) as usize;
        let range =
            self.heads[bucket] as usize..self.heads[bucket + 1] as usize;
        for slot in self.slots[range].iter().filter(|s| s.hash == hash) {
            let begins = at.checked_sub(usize::from(slot.offset));
            let literal = self.literal(&slot.entry);
            if begins.is_some_and(|b| text[b..].starts_with(literal)) {
                found.extend_from_slice(self.owners(&slot.entry));
            }
        }
    }

    fn literal(&self, entry: &Entry) -> &[u8] {
        let start = entry.start as usize;
        &self.bytes[start..start + usize::from(entry.length)]
    }

    fn owners(&self, entry: &Entry) -> &[u32] {
        let start = entry.first_owner as usize;
        &self.owners[start..start + usize::from(entry.owner_count)]
    }
}

fn gram(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Multiplicative hashing (Knuth, The Art of Computer Programming, 6.4): the
/// constant is 2^32 divided by the golden ratio.
fn hash(gram: u32) -> u32 {
    gram.wrapping_mul(0x9E37_79B1) >> (32 - HASH_BITS)
}

/// Where the four least common bytes of a literal stand.
fn rarest(literal: &[u8]) -> usize {
    let rarity = |b: &u8| match b {
        b' ' | b':' | b'.' => 0,
        b'e' | b't' | b'a' | b'i' | b'n' | b'o' | b's' | b'r' => 1,
        b'd' | b'l' | b'c' | b'u' | b'p' | b'm' => 2,
        b'0'..=b'9' => 2,
        b'a'..=b'z' => 3,
        _ => 4,
    };
    let worth = |w: &[u8]| w.iter().map(rarity).sum::<u32>();
    let windows = literal.windows(GRAM).enumerate();
    windows.max_by_key(|(_, w)| worth(w)).map_or(0, |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(literals: &[&[u8]], text: &[u8]) -> Vec<u32> {
        let all = (0u32..).zip(literals).map(|(i, l)| (l.to_vec(), vec![i]));
        let made = Literals::new(all.collect()).unwrap();
        let mut found = Vec::new();
        made.find(text, &mut found);
        found.sort_unstable();
        found.dedup();
        found
    }

    #[test]
    fn literals_are_found_wherever_they_stand() {
        let literals: [&[u8]; 4] = [b"sd ", b"link is down", b"down", b"XFS ("];
        assert_eq!(find(&literals, b"eth0: link is down"), [1, 2]);
        assert_eq!(find(&literals, b"sd 1:0:0:0"), [0]);
        assert_eq!(find(&literals, b"XFS (sda1)"), [3]);
        assert!(find(&literals, b"XFS").is_empty());
        assert!(find(&literals, b"").is_empty());
    }

    proptest! {
        #[test]
        fn it_finds_what_a_plain_search_finds(
            literals in proptest::collection::btree_set("[a-d :]{1,7}", 1..40),
            text in "[a-d :]{0,60}",
        ) {
            let list: Vec<&[u8]> =
                literals.iter().map(|l| l.as_bytes()).collect();
            let plain: Vec<u32> = (0u32..)
                .zip(&literals)
                .filter(|(_, l)| text.contains(l.as_str()))
                .map(|(i, _)| i)
                .collect();
            prop_assert_eq!(find(&list, text.as_bytes()), plain);
        }
    }
}
