//! Bytes of a log file into lines, as they come. Pure.

/// The longest line; the rest is skipped and counted. Sixteen times what the
/// kernel or a sane program writes.
pub const LINE_MAX: usize = 16 * 1024;

/// The line that is not complete yet.
#[derive(Debug)]
pub struct Lines {
    max: usize,
    partial: Vec<u8>,
    /// The bytes of the partial line seen, also those not kept.
    length: u64,
    /// Whether the partial line has been cut.
    cut: bool,
}

impl Default for Lines {
    fn default() -> Lines {
        Lines::bounded(LINE_MAX)
    }
}

impl Lines {
    /// Lines of at most `max` bytes.
    pub fn bounded(max: usize) -> Lines {
        Lines { max, partial: Vec::new(), length: 0, cut: false }
    }

    /// Takes the next bytes and calls `take` with each line that they
    /// complete, without its newline; says how many of them were cut.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(&[u8]),
    ) -> u64 {
        let mut cut = 0;
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.append(&bytes[..end]);
            bytes = &bytes[end + 1..];
            cut += u64::from(self.cut);
            take(&self.partial);
            self.clear();
        }
        self.append(bytes);
        cut
    }

    /// How many bytes of the file the partial line takes up.
    pub fn pending(&self) -> u64 {
        self.length
    }

    /// The partial line.
    pub fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// Forgets the partial line.
    pub fn clear(&mut self) {
        self.partial.clear();
        self.length = 0;
        self.cut = false;
    }

    fn append(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        // A writer that doesn't append leaves a hole when its file is
        // truncated: zeros, megabytes of them, before its next line.
        let bytes = if self.partial.is_empty() {
            let zeros = bytes.iter().take_while(|b| **b == 0).count();
            &bytes[zeros..]
        } else {
            bytes
        };
        let room = self.max - self.partial.len();
        if bytes.len() > room {
            self.cut = true;
        }
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(lines: &mut Lines, bytes: &[u8]) -> (Vec<Vec<u8>>, u64) {
        let mut out = Vec::new();
        let cut = lines.feed(bytes, |line| out.push(line.to_vec()));
        (out, cut)
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        let mut lines = Lines::default();
        assert_eq!(feed(&mut lines, b"one\ntw"), (vec![b"one".to_vec()], 0));
        assert_eq!(lines.pending(), 2);
        let (out, _) = feed(&mut lines, b"o\n\nx");
        assert_eq!(out, [b"two".to_vec(), b"".to_vec()]);
        assert_eq!(lines.partial(), b"x");
    }

    #[test]
    fn a_long_line_is_cut_counted_and_ends_at_its_newline() {
        let mut lines = Lines::default();
        for _ in 0..10 {
            feed(&mut lines, &[b'x'; 10_000]);
        }
        assert_eq!(lines.pending(), 100_000);
        let (out, cut) = feed(&mut lines, b"end\nnext\n");
        assert_eq!((out[0].len(), cut), (LINE_MAX, 1));
        assert_eq!(out[1], b"next");
        let exact = [vec![b'y'; LINE_MAX], b"\n".to_vec()].concat();
        assert_eq!(feed(&mut lines, &exact).1, 0);
    }

    #[test]
    fn the_zeros_of_a_hole_are_no_text() {
        let mut lines = Lines::default();
        feed(&mut lines, &[0; 50_000]);
        let (out, cut) = feed(&mut lines, b"\0\0text\0\xff\n");
        assert_eq!((out, cut), (vec![b"text\0\xff".to_vec()], 0));
    }

    proptest::proptest! {
        #[test]
        fn pieces_give_the_same_lines_as_the_whole(
            bytes: Vec<u8>, at in 0usize..64,
        ) {
            let (mut whole, mut pieces) = (Lines::default(), Lines::default());
            let (all, _) = feed(&mut whole, &bytes);
            let at = at.min(bytes.len());
            let (mut two, _) = feed(&mut pieces, &bytes[..at]);
            two.extend(feed(&mut pieces, &bytes[at..]).0);
            assert_eq!(all, two);
        }
    }
}
