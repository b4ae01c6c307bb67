//! Finds which of some thousand skeletons (constant texts in a row) stand in
//! a text, in one pass.
//!
//! Each skeleton is entered under four bytes in a row, those that fewest
//! other skeletons have. The pass looks at every four bytes of the text: a
//! bit table of 16 KiB, which stays in the processor's nearest cache, nearly
//! always says that nothing is entered under them. An automaton over as many
//! literals takes several times as long, since each of its steps waits for
//! memory.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// How many bytes a skeleton is entered under.
const GRAM: usize = 4;

/// Bits of the hash; the table has as many entries as it has values.
const HASH_BITS: u32 = 17;

/// Bits of the hash that choose a bucket of slots.
const BUCKET_BITS: u32 = 10;

/// Which skeletons there are and who owns each.
#[derive(Debug, Default)]
pub struct Prefilter {
    /// Two bits for each four bytes that some skeleton is entered under; no
    /// word if there is none.
    filter: Vec<u64>,
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
    /// The four bytes, or the one.
    gram: u32,
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

/// Words of the bit table.
const WORDS: usize = 1 << (HASH_BITS - 6);

/// 1 if some skeleton may be entered under this hash, else 0.
#[inline(always)]
fn bit(filter: &[u64; WORDS], hash: u32) -> u64 {
    // The mask changes nothing; it shows that the index is in range.
    filter[(hash >> 6) as usize & (WORDS - 1)] >> (hash & 63) & 1
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
        let many = |_| "too many literals".to_owned();
        let common = Common::of(all);
        let mut made = Prefilter::default();
        for entry in all {
            let row = made.rows.len();
            let (best, offset, gram) = common.best(&entry.pieces)?;
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
            let slot = Slot {
                gram,
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
                for hash in [hash(gram), second_hash(gram)] {
                    made.filter[(hash >> 6) as usize] |= 1 << (hash & 63);
                }
                made.slots.push(slot);
            }
        }
        made.short.sort_by_key(|slot| slot.gram);
        made.slots.sort_by_key(|slot| (hash(slot.gram), slot.gram));
        let bucket = |s: &Slot| hash(s.gram) >> (HASH_BITS - BUCKET_BITS);
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
        for same in self.short.chunk_by(|a, b| a.gram == b.gram) {
            for at in memchr::memchr_iter(same[0].gram as u8, text) {
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
            if bit(0) | bit(1) | bit(2) | bit(3) | bit(4) != 0 {
                for i in (0..5).filter(|i| bit(*i) != 0) {
                    let gram = (word >> (8 * i)) as u32;
                    if has_second(filter, gram) {
                        self.look(text, at + i as usize, gram, &mut hit);
                    }
                }
            }
            at += 5;
        }
        while let Some((four, _)) = text[at..].split_first_chunk::<4>() {
            let gram = u32::from_le_bytes(*four);
            if bit(filter, hash(gram)) != 0 && has_second(filter, gram) {
                self.look(text, at, gram, &mut hit);
            }
            at += 1;
        }
    }

    /// Looks at the skeletons that are entered under these four bytes.
    #[inline(never)]
    fn look(
        &self,
        text: &[u8],
        at: usize,
        gram: u32,
        hit: &mut impl FnMut(usize, u32),
    ) {
        let bucket = (hash(gram) >> (HASH_BITS - BUCKET_BITS)) as usize;
        let range =
            self.heads[bucket] as usize..self.heads[bucket + 1] as usize;
        let head = four(text);
        for slot in &self.slots[range] {
            if slot.gram == gram && (slot.head.is_none() || slot.head == head) {
                self.confirm(text, at, slot, hit);
            }
        }
    }

    /// Whether the skeleton stands in the text whose bytes are at `at`.
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

/// In how many skeletons each four bytes stand: what many have in common is
/// common in what the kernel says.
struct Common(BTreeMap<u32, u32>);

impl Common {
    fn of(all: &[Entry]) -> Common {
        let mut count = BTreeMap::new();
        for piece in all.iter().flat_map(|entry| &entry.pieces) {
            for four in piece.windows(GRAM) {
                *count.entry(gram(four)).or_default() += 1;
            }
        }
        Common(count)
    }

    /// The piece and the place in it where a skeleton is best entered, and
    /// the bytes there.
    ///
    /// # Errors
    /// When there is no piece, or an empty one.
    fn best(
        &self,
        pieces: &[Vec<u8>],
    ) -> Result<(usize, usize, u32), &'static str> {
        if pieces.iter().any(Vec::is_empty) {
            return Err("an empty literal");
        }
        let grams = pieces.iter().enumerate().flat_map(|(i, piece)| {
            let windows = within_row(piece).windows(GRAM).enumerate();
            windows.map(move |(at, four)| (i, at, four))
        });
        let cost = |four: &[u8]| {
            let commonness = four.iter().map(|b| 4 - rarity(*b)).sum::<u32>();
            // A byte that is as common everywhere weighs as much as being in
            // half as many skeletons again.
            let alike = self.0.get(&gram(four)).copied().unwrap_or(0);
            (is_common(four), alike * (8 + commonness))
        };
        let best = grams.min_by_key(|(_, _, four)| cost(four));
        if let Some((i, at, four)) = best {
            return Ok((i, at, gram(four)));
        }
        let longest = pieces.iter().enumerate().max_by_key(|(_, p)| p.len());
        let (i, piece) = longest.ok_or("no literal")?;
        let at = rarest_byte(piece);
        Ok((i, at, u32::from(piece[at])))
    }
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

/// Another hash, which is asked where the first says yes: what is looked up
/// in vain costs the most, since it is far from the processor.
fn second_hash(gram: u32) -> u32 {
    gram.wrapping_mul(0x85EB_CA6B) >> (32 - HASH_BITS)
}

fn has_second(filter: &[u64; WORDS], gram: u32) -> bool {
    bit(filter, second_hash(gram)) != 0
}

/// What healthy kernels say all day: nothing is entered under these words if
/// it has others.
const WORDS_OF_HEALTH: &[&str] = &[
    " initialized",
    " registered",
    " supported",
    " enabled",
    " disabled",
    " available",
    " device ",
    " driver ",
    " version ",
    " controller",
    " interface",
    " address",
    " memory ",
    " loading",
    " revision",
    " using ",
    " with ",
    " from ",
    " for ",
    " link ",
    " Link ",
    " mode",
    " state",
    " support",
    " failed",
    " error",
    " Error",
    "audit",
    "/dev/",
    "pcieport 0000:",
    "0x0000",
    "0xffff",
    " Intel",
    "BIOS",
    "BTRFS",
    " Gb/s",
    " code",
    "input",
];

fn is_common(four: &[u8]) -> bool {
    let has = |word: &&str| word.as_bytes().windows(GRAM).any(|w| w == four);
    WORDS_OF_HEALTH.iter().any(has)
}

/// How rare a byte is in what the kernel says, 0 to 4.
fn rarity(byte: u8) -> u32 {
    match byte {
        b' ' | b':' | b'.' => 0,
        b'e' | b't' | b'a' | b'i' | b'n' | b'o' | b's' | b'r' => 1,
        b'd' | b'l' | b'c' | b'u' | b'p' | b'm' | b'0'..=b'9' => 2,
        b'a'..=b'z' => 3,
        _ => 4,
    }
}

/// Where the least common byte of a piece stands.
fn rarest_byte(piece: &[u8]) -> usize {
    let bytes = piece.iter().enumerate();
    bytes.max_by_key(|(_, b)| rarity(**b)).map_or(0, |(at, _)| at)
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
