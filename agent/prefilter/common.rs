//! Where a skeleton is best entered: under four bytes that neither other
//! skeletons nor healthy kernels have.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::{Entry, GRAM, HASH_BITS, gram, hash, within_row};

/// What healthy kernels say all day, a line each: nothing is entered under
/// what stands here if there is something else.
const HEALTHY: &str = include_str!("healthy.txt");

/// How common four bytes are: in how many skeletons they stand, and how often
/// in what healthy kernels say.
pub(super) struct Common {
    skeletons: HashMap<u32, u32, FixedState>,
    /// By hash.
    healthy: Vec<u16>,
}

impl Common {
    pub(super) fn of(all: &[Entry]) -> Common {
        // Looked up for every four bytes of all patterns, at every start.
        let mut skeletons = HashMap::with_hasher(FixedState::default());
        for piece in all.iter().flat_map(|entry| &entry.pieces) {
            for four in piece.windows(GRAM) {
                *skeletons.entry(gram(four)).or_default() += 1;
            }
        }
        let mut healthy = vec![0u16; 1 << HASH_BITS];
        for line in HEALTHY.lines() {
            for four in line.as_bytes().windows(GRAM) {
                let count = &mut healthy[hash(gram(four)) as usize];
                *count = count.saturating_add(1);
            }
        }
        Common { skeletons, healthy }
    }

    /// The piece and the place in it where a skeleton is best entered.
    ///
    /// # Errors
    /// When there is no piece, or an empty one.
    pub(super) fn best(
        &self,
        pieces: &[Vec<u8>],
    ) -> Result<(usize, usize), &'static str> {
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
            let alike = self.skeletons.get(&gram(four)).copied().unwrap_or(0);
            let healthy = self.healthy[hash(gram(four)) as usize];
            (healthy, alike * (8 + commonness))
        };
        let best = grams.min_by_key(|(_, _, four)| cost(four));
        if let Some((i, at, _)) = best {
            return Ok((i, at));
        }
        let longest = pieces.iter().enumerate().max_by_key(|(_, p)| p.len());
        let (i, piece) = longest.ok_or("no literal")?;
        Ok((i, rarest_byte(piece)))
    }
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
pub(super) fn rarest_byte(piece: &[u8]) -> usize {
    let bytes = piece.iter().enumerate();
    bytes.max_by_key(|(_, b)| rarity(**b)).map_or(0, |(at, _)| at)
}
