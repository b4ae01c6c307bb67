//! Finds which of some thousand skeletons (constant texts in a row) stand in
//! a text, in one pass.
//!
//! Each skeleton is entered under four bytes in a row, those that are seldom
//! in what healthy kernels say and in other skeletons (`common.rs`). The pass
//! looks at every four bytes of the text: a bit table of 16 KiB, which stays
//! in the processor's nearest cache, nearly always says that nothing is
//! entered under them. An automaton over as many literals takes several times
//! as long, since each of its steps waits for memory.

mod common;

use std::num::NonZeroU32;

use common::{Common, rarest_byte};

/// How many bytes a skeleton is entered under.
const GRAM: usize = 4;

/// Bits of the hash; the table has as many entries as it has values.
const HASH_BITS: u32 = 17;

/// Bits of the second hash.
const SECOND_BITS: u32 = 15;

/// Bits of the hash that choose a bucket of slots.
const BUCKET_BITS: u32 = 10;

/// How many bytes are compared at once: the four and what follows them.
const WINDOW: usize = 8;

/// Which skeletons there are and who owns each.
#[derive(Debug, Default)]
pub struct Prefilter {
    /// A bit for each four bytes that some skeleton is entered under; no
    /// word if there is none.
    filter: Vec<u64>,
    /// The same under another hash, asked where the first says yes: what is
    /// looked up in vain costs the most, since it is far from the processor.
    second: Vec<u64>,
    /// Where the slots of each bucket begin.
    heads: Vec<u32>,
    /// The places where skeletons are entered, in the order of their hashes.
    slots: Vec<Slot>,
    /// Skeletons without a text of four bytes, by the byte that they are
    /// entered under; looked for one byte after another.
    short: Vec<Slot>,
    /// All skeletons, packed: of each its pieces, each of these its length,
    /// where its least common byte stands, and its bytes; then a 0.
    rows: Vec<u8>,
}

/// One skeleton, and where it is entered.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The four bytes, or the one, and what follows them in the piece.
    window: u64,
    /// Which bytes of `window` there are.
    mask: u64,
    /// The skeleton, in `rows`.
    row: u32,
    /// Where in the row the piece with these bytes begins.
    piece: u16,
    /// Where in the piece they stand.
    offset: u8,
    /// Whether the first piece begins the text.
    anchored: bool,
    /// If so, its first four bytes, if it has them: most candidates are
    /// turned away by these alone, without a look at the row.
    head: Option<NonZeroU32>,
    owner: u32,
}

impl Slot {
    /// The four bytes that it is entered under.
    fn gram(&self) -> u32 {
        self.window as u32
    }
}

/// Words of the bit tables.
const WORDS: usize = 1 << (HASH_BITS - 6);
const SECOND_WORDS: usize = 1 << (SECOND_BITS - 6);

/// 1 if some skeleton may be entered under this hash, else 0.
#[inline(always)]
fn bit<const N: usize>(filter: &[u64; N], hash: u32) -> u64 {
    // The mask changes nothing; it shows that the index is in range.
    filter[(hash >> 6) as usize & (N - 1)] >> (hash & 63) & 1
}

/// A skeleton to be entered.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The texts, in order and apart from each other; of a longer one the
    /// first 255 bytes are looked for.
    pub pieces: Vec<Vec<u8>>,
    /// Whether the first begins the text.
    pub anchored: bool,
    /// Whose it is.
    pub owner: u32,
}

impl Prefilter {
    /// Takes the skeletons.
    ///
    /// # Errors
    /// When there are too many, or one is empty.
    pub fn new(all: &[Entry]) -> Result<Prefilter, String> {
        if all.is_empty() {
            return Ok(Prefilter::default());
        }
        let many = |_| "too many literals".to_owned();
        let common = Common::of(all);
        let mut made = Prefilter::default();
        for entry in all {
            let row = made.rows.len();
            let (best, offset) = common.best(&entry.pieces)?;
            let mut piece = 0;
            for (i, text) in entry.pieces.iter().enumerate() {
                if i == best {
                    piece = made.rows.len() - row;
                }
                let text = within_row(text);
                let length = u8::try_from(text.len()).map_err(many)?;
                let rare = u8::try_from(rarest_byte(text)).map_err(many)?;
                made.rows.extend([length, rare]);
                made.rows.extend_from_slice(text);
            }
            made.rows.push(0);
            let (window, mask) =
                window(&within_row(&entry.pieces[best])[offset..]);
            let slot = Slot {
                window,
                mask,
                row: row.try_into().map_err(many)?,
                piece: piece.try_into().map_err(many)?,
                offset: offset.try_into().map_err(many)?,
                anchored: entry.anchored,
                head: four(&entry.pieces[0]).filter(|_| entry.anchored),
                owner: entry.owner,
            };
            if entry.pieces[best].len() < GRAM {
                made.short.push(slot);
            } else {
                made.filter.resize(WORDS, 0);
                made.second.resize(SECOND_WORDS, 0);
                set(&mut made.filter, hash(slot.gram()));
                set(&mut made.second, second_hash(slot.gram()));
                made.slots.push(slot);
            }
        }
        made.short.sort_by_key(|slot| slot.window as u8);
        made.slots.sort_by_key(|slot| (hash(slot.gram()), slot.window));
        let bucket = |s: &Slot| hash(s.gram()) >> (HASH_BITS - BUCKET_BITS);
        made.heads.reserve_exact((1 << BUCKET_BITS) + 1);
        for b in 0..=1u32 << BUCKET_BITS {
            let head = made.slots.partition_point(|s| bucket(s) < b);
            made.heads.push(head.try_into().map_err(many)?);
        }
        made.rows.shrink_to_fit();
        made.slots.shrink_to_fit();
        Ok(made)
    }

    /// Tells of every skeleton that stands in `text`: where the piece that it
    /// is entered under begins, and whose it is. Some may come more than
    /// once.
    #[inline]
    pub fn find(&self, text: &[u8], mut hit: impl FnMut(usize, u32)) {
        let first = |slot: &Slot| slot.window as u8;
        for same in self.short.chunk_by(|a, b| first(a) == first(b)) {
            for at in memchr::memchr_iter(first(&same[0]), text) {
                for slot in same {
                    self.confirm(text, at, slot, &mut hit);
                }
            }
        }
        let Some(filter) = self.filter.first_chunk::<WORDS>() else { return };
        // Eight bytes hold five times four of them; whether something is
        // entered under any of the five is asked at once.
        let mut at = 0;
        while let Some((eight, _)) = text[at..].split_first_chunk::<8>() {
            let word = u64::from_le_bytes(*eight);
            let bit = |i: u32| bit(filter, hash((word >> (8 * i)) as u32));
            let bits = [bit(0), bit(1), bit(2), bit(3), bit(4)];
            if bits.iter().fold(0, |all, bit| all | bit) != 0 {
                for (i, _) in bits.iter().enumerate().filter(|(_, b)| **b != 0)
                {
                    self.look(text, at + i, &mut hit);
                }
            }
            at += 5;
        }
        while let Some((four, _)) = text[at..].split_first_chunk::<4>() {
            if bit(filter, hash(u32::from_le_bytes(*four))) != 0 {
                self.look(text, at, &mut hit);
            }
            at += 1;
        }
    }

    /// Looks at the skeletons that may be entered under the four bytes at
    /// `at`.
    #[inline]
    fn look(&self, text: &[u8], at: usize, hit: &mut impl FnMut(usize, u32)) {
        let here = window(&text[at..]).0;
        let Some(second) = self.second.first_chunk::<SECOND_WORDS>() else {
            return; // there is one as soon as there is a filter
        };
        if bit(second, second_hash(here as u32)) == 0 {
            return;
        }
        let bucket = (hash(here as u32) >> (HASH_BITS - BUCKET_BITS)) as usize;
        let range =
            self.heads[bucket] as usize..self.heads[bucket + 1] as usize;
        for slot in &self.slots[range] {
            if (here ^ slot.window) & slot.mask == 0
                && (slot.head.is_none() || slot.head == four(text))
            {
                self.confirm(text, at, slot, hit);
            }
        }
    }

    /// Whether the skeleton stands in the text whose bytes are at `at`.
    #[inline(never)]
    fn confirm(
        &self,
        text: &[u8],
        at: usize,
        slot: &Slot,
        hit: &mut impl FnMut(usize, u32),
    ) {
        let Some(begins) = at.checked_sub(usize::from(slot.offset)) else {
            return;
        };
        let row = &self.rows[slot.row as usize..];
        let (piece, _, after) = split(&row[usize::from(slot.piece)..]);
        let only = slot.piece == 0 && after[0] == 0;
        // The cheapest first: it turns most away.
        if (!slot.anchored || text.starts_with(split(row).0))
            && text[begins..].starts_with(piece)
            && (only || stands_in(row, text))
        {
            hit(begins, slot.owner);
        }
    }
}

#[cfg(test)]
impl Prefilter {
    /// Whose skeletons have no text of four bytes: each byte of a text is
    /// compared for them.
    pub fn short(&self) -> impl Iterator<Item = u32> {
        self.short.iter().map(|slot| slot.owner)
    }
}

/// What of a piece a row can hold.
fn within_row(piece: &[u8]) -> &[u8] {
    &piece[..piece.len().min(u8::MAX.into())]
}

/// The first four bytes, unless there are fewer or all are NUL.
fn four(text: &[u8]) -> Option<NonZeroU32> {
    let four = text.first_chunk::<GRAM>()?;
    NonZeroU32::new(u32::from_le_bytes(*four))
}

/// The first piece of a row, where its least common byte stands, and the
/// pieces behind it.
#[inline(always)]
fn split(row: &[u8]) -> (&[u8], usize, &[u8]) {
    let (length, rare) = (usize::from(row[0]), usize::from(row[1]));
    (&row[2..2 + length], rare, &row[2 + length..])
}

/// Whether all pieces of the row stand in the text, one behind the other.
fn stands_in(mut row: &[u8], mut text: &[u8]) -> bool {
    while row[0] != 0 {
        let (piece, rare, rest) = split(row);
        let Some(from) = text.get(rare..) else { return false };
        let found = memchr::memchr_iter(piece[rare], from)
            .find(|at| text[*at..].starts_with(piece));
        let Some(at) = found else { return false };
        (text, row) = (&text[at + piece.len()..], rest);
    }
    true
}

/// Up to eight bytes that a text begins with, and which there are.
#[inline(always)]
fn window(text: &[u8]) -> (u64, u64) {
    if let Some(eight) = text.first_chunk::<WINDOW>() {
        return (u64::from_le_bytes(*eight), u64::MAX);
    }
    let mut eight = [0; WINDOW];
    eight[..text.len()].copy_from_slice(text);
    let bits = 8 * text.len() as u32;
    (u64::from_le_bytes(eight), (1u64 << bits) - 1)
}

fn set(filter: &mut [u64], hash: u32) {
    filter[(hash >> 6) as usize] |= 1 << (hash & 63);
}

fn gram(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Multiplicative hashing (Knuth, The Art of Computer Programming, 6.4): the
/// constant is 2^32 divided by the golden ratio.
#[inline(always)]
fn hash(gram: u32) -> u32 {
    gram.wrapping_mul(0x9E37_79B1) >> (32 - HASH_BITS)
}

/// Another hash.
#[inline(always)]
fn second_hash(gram: u32) -> u32 {
    gram.wrapping_mul(0x85EB_CA6B) >> (32 - SECOND_BITS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(owner: u32, anchored: bool, pieces: &[&str]) -> Entry {
        let pieces = pieces.iter().map(|p| p.as_bytes().to_vec()).collect();
        Entry { pieces, anchored, owner }
    }

    fn find(entries: &[Entry], text: &str) -> Vec<u32> {
        let mut found = Vec::new();
        Prefilter::new(entries).unwrap().find(text.as_bytes(), |at, owner| {
            let pieces = &entries[owner as usize].pieces;
            let there = &text.as_bytes()[at..];
            assert!(pieces.iter().any(|p| there.starts_with(within_row(p))));
            found.push(owner);
        });
        found.sort_unstable();
        found.dedup();
        found
    }

    #[test]
    fn texts_are_found_wherever_they_stand() {
        let entries = [
            entry(0, false, &["sd "]),
            entry(1, false, &["link is down"]),
            entry(2, false, &["down"]),
            entry(3, true, &["XFS ("]),
        ];
        assert_eq!(find(&entries, "eth0: link is down"), [1, 2]);
        assert_eq!(find(&entries, "sd 1:0:0:0"), [0]);
        assert_eq!(find(&entries, "XFS (sda1)"), [3]);
        assert!(find(&entries, " XFS (sda1)").is_empty());
        assert!(find(&entries, "XFS").is_empty());
        assert!(find(&entries, "").is_empty());
    }

    #[test]
    fn pieces_stand_in_order_and_apart() {
        let entries = [entry(0, true, &["ata", ": hard ", "reset"])];
        assert_eq!(find(&entries, "ata1: hard resetting link"), [0]);
        assert!(find(&entries, "ata1: soft resetting link").is_empty());
        assert!(find(&entries, "xata1: hard resetting link").is_empty());
        assert!(find(&entries, "ata1: reset; hard ").is_empty());
        let apart = [entry(0, false, &["abcd", "cdef"])];
        assert!(find(&apart, "abcdef").is_empty());
        assert_eq!(find(&apart, "abcdcdef"), [0]);
    }

    #[test]
    fn of_a_very_long_text_the_beginning_is_looked_for() {
        let long = "Hardware is broken; ".repeat(40);
        let entries = [entry(0, true, &[&long, "end"])];
        assert_eq!(find(&entries, &format!("{long}, the end")), [0]);
        assert!(find(&entries, &long[..200]).is_empty());
    }

    #[test]
    fn an_empty_skeleton_is_refused() {
        assert!(Prefilter::new(&[entry(0, false, &[])]).is_err());
        assert!(Prefilter::new(&[entry(0, false, &["a", ""])]).is_err());
    }

    fn plainly(entry: &Entry, text: &str) -> bool {
        let mut rest = text;
        for (i, piece) in entry.pieces.iter().enumerate() {
            let piece = std::str::from_utf8(piece).unwrap();
            let Some(at) = rest.find(piece) else { return false };
            if i == 0 && entry.anchored && at > 0 {
                return false;
            }
            rest = &rest[at + piece.len()..];
        }
        true
    }

    proptest! {
        #[test]
        fn it_finds_what_a_plain_search_finds(
            skeletons in proptest::collection::vec(
                (
                    any::<bool>(),
                    proptest::collection::vec("[a-d :]{1,7}", 1..4),
                ),
                1..40,
            ),
            text in "[a-d :]{0,60}",
        ) {
            let entries: Vec<Entry> = (0..)
                .zip(&skeletons)
                .map(|(i, (anchored, pieces))| {
                    let pieces: Vec<&str> =
                        pieces.iter().map(String::as_str).collect();
                    entry(i, *anchored, &pieces)
                })
                .collect();
            let plain: Vec<u32> = entries
                .iter()
                .filter(|e| plainly(e, &text))
                .map(|e| e.owner)
                .collect();
            prop_assert_eq!(find(&entries, &text), plain);
        }
    }
}
