//! Kernel lines that look like trouble and that no pattern takes: how many,
//! and a bounded number of masked shapes. That is how the next pattern is
//! found.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::shared::locked;
use crate::time::Timestamp;

/// How many shapes are kept; more would be a log of its own.
pub const SHAPES_MAX: usize = 64;

/// The longest shape kept, bytes.
const SHAPE_MAX: usize = 200;

/// One shape of unexplained lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// The line with its numbers masked: `#` for a decimal or hex number.
    pub text: String,
    /// How many lines had this shape.
    pub count: u64,
    /// One of them, the first.
    pub example: String,
    /// When the last was seen.
    pub last_seen: Timestamp,
}

/// What has not been explained since the agent started.
#[derive(Debug, Default)]
pub struct Unexplained {
    total: AtomicU64,
    shapes: Mutex<Shapes>,
}

#[derive(Debug, Default)]
struct Shapes {
    kept: Vec<Shape>,
    /// Reused: a line of a known shape costs no allocation.
    masked: Vec<u8>,
}

impl Unexplained {
    /// Notes one line. `shaped` is false for text that users chose, which is
    /// counted but must not push out the shapes of real trouble.
    pub fn note(&self, line: &[u8], shaped: bool, now: Timestamp) {
        self.total.fetch_add(1, Ordering::Relaxed);
        if !shaped {
            return;
        }
        let mut shapes = locked(&self.shapes);
        let Shapes { kept, masked } = &mut *shapes;
        mask(line, masked);
        let known = kept.iter_mut().find(|s| s.text.as_bytes() == &masked[..]);
        if let Some(shape) = known {
            shape.count += 1;
            shape.last_seen = now;
            return;
        }
        if kept.len() >= SHAPES_MAX {
            // What came seldom and long ago makes room for what is new.
            let all = kept.iter().enumerate();
            let least = all.min_by_key(|(_, s)| (s.count, s.last_seen));
            let least = least.map_or(0, |(at, _)| at);
            kept.swap_remove(least);
        }
        let text = String::from_utf8_lossy(masked).into_owned();
        let cut = &line[..line.len().min(SHAPE_MAX)];
        let example = cut.escape_ascii().to_string();
        kept.push(Shape { text, count: 1, example, last_seen: now });
    }

    /// How many lines, in all.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// The shapes, most frequent first.
    pub fn shapes(&self) -> Vec<Shape> {
        let mut all = locked(&self.shapes).kept.clone();
        all.sort_by(|a, b| (b.count, &a.text).cmp(&(a.count, &b.text)));
        all
    }
}

/// Writes the shape of `line`: each run of hex digits that has a decimal
/// digit, and what stands before an `x` in `0x`, is one `#`; bytes that a
/// terminal might act on are `?`.
fn mask(line: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut rest = line;
    while let Some(&byte) = rest.first() {
        if out.len() >= SHAPE_MAX {
            break;
        }
        let after_word = out.last().is_some_and(u8::is_ascii_alphabetic);
        let number = number_len(rest, after_word);
        if number > 0 {
            out.push(b'#');
            rest = &rest[number..];
            continue;
        }
        let plain = byte == b' ' || byte.is_ascii_graphic();
        out.push(if plain { byte } else { b'?' });
        rest = &rest[1..];
    }
}

/// The length of the number that `text` begins with. Within a word (`sda1`,
/// `nvme0n1`) only decimal digits are one, so that letters stay.
fn number_len(text: &[u8], within_word: bool) -> usize {
    let decimal = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if within_word {
        return decimal;
    }
    let prefix = if text.starts_with(b"0x") { 2 } else { 0 };
    let digits = text[prefix..].iter().take_while(|b| b.is_ascii_hexdigit());
    let end = prefix + digits.count();
    let run = &text[..end];
    // `dead` and `face` are words; `dead1` and `0xdead` are numbers; and a
    // run that goes on in other letters (`4th`) is only decimal.
    let goes_on = text.get(end).is_some_and(u8::is_ascii_alphabetic);
    if goes_on || !run.iter().any(u8::is_ascii_digit) { decimal } else { end }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape_of(line: &str) -> String {
        let mut out = Vec::new();
        mask(line.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_masked_and_words_stay() {
        assert_eq!(
            shape_of("sd 3:0:0:0: [sda] failed 0x1f at deadbeef12"),
            "sd #:#:#:#: [sda] failed # at #",
        );
        assert_eq!(shape_of("nvme0n1: bad face"), "nvme#n#: bad face");
        assert_eq!(shape_of("a\x1b[2J"), "a?[#J");
    }

    #[test]
    fn lines_of_one_shape_are_one_shape_with_a_count() {
        let all = Unexplained::default();
        all.note(b"foo 12 failed", true, Timestamp(1));
        all.note(b"foo 9 failed", true, Timestamp(2));
        all.note(b"named by a user", false, Timestamp(2));
        assert_eq!(all.total(), 3);
        let shapes = all.shapes();
        assert_eq!(shapes.len(), 1);
        assert_eq!((shapes[0].count, &*shapes[0].text), (2, "foo # failed"));
    }

    #[test]
    fn shapes_are_bounded() {
        let all = Unexplained::default();
        for n in 0..SHAPES_MAX * 2 {
            let word: String = format!("{n:b}").replace('0', "g");
            let word = word.replace('1', "h");
            all.note(word.as_bytes(), true, Timestamp(0));
        }
        assert_eq!(all.shapes().len(), SHAPES_MAX);
        let word =
            |n: usize| format!("{n:b}").replace('0', "g").replace('1', "h");
        let texts: Vec<String> =
            all.shapes().into_iter().map(|shape| shape.text).collect();
        assert!(texts.contains(&word(SHAPES_MAX * 2 - 1)), "the newest stays");
        assert_eq!(all.total(), 2 * SHAPES_MAX as u64);
    }
}
