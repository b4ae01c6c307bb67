//! Aligned tables for people, with colour and wrapping on a terminal.
//!
//! Away from a terminal a row is one line however long, so that `grep` and
//! `awk` find what they look for. Every cell is escaped here: no caller can
//! forget it.

use super::escape::escape;
use super::screen::{Ink, Screen};
use std::io;

/// Between two columns.
const GAP: usize = 2;

/// A column that wraps is never made narrower than this; a terminal with less
/// room than that wraps by itself.
const NARROWEST: usize = 16;

/// What stands where nothing is known.
pub const UNKNOWN: &str = "-";

/// How a column gives way when the terminal is too narrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It doesn't: ids, severities, counts.
    Keep,
    /// Flushed right: numbers.
    Right,
    /// Its words go on in the next line.
    Wrap,
}

/// A table to be filled and shown.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(&'static str, Fit)>,
    rows: Vec<Vec<(String, Ink)>>,
}

impl Table {
    /// A table with these columns.
    pub fn new(columns: &[(&'static str, Fit)]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; the cells are text from outside.
    pub fn row<const N: usize>(&mut self, cells: [(&str, Ink); N]) {
        debug_assert_eq!(N, self.columns.len(), "a cell for each column");
        let safe = |(text, ink): (&str, Ink)| (escape(text).into_owned(), ink);
        self.rows.push(cells.into_iter().map(safe).collect());
    }

    /// Leaves out a column of which nothing is known in any row.
    pub fn drop_if_unknown(&mut self, name: &str) {
        let at = self.columns.iter().position(|(n, _)| *n == name);
        let Some(at) = at else { return };
        if self.rows.iter().all(|row| row[at].0 == UNKNOWN) {
            self.columns.remove(at);
            for row in &mut self.rows {
                row.remove(at);
            }
        }
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes it.
    ///
    /// # Errors
    /// Those of the screen.
    pub fn show(&self, screen: &mut Screen) -> io::Result<()> {
        let widths = self.widths(screen.width());
        let head: Vec<_> = self
            .columns
            .iter()
            .map(|(name, _)| ((*name).to_owned(), Ink::Bold))
            .collect();
        for row in std::iter::once(&head).chain(&self.rows) {
            self.show_row(row, &widths, screen)?;
        }
        Ok(())
    }

    /// The width of each column: its widest cell, or less for columns that
    /// wrap where the terminal is too narrow.
    fn widths(&self, room: Option<usize>) -> Vec<usize> {
        let widest = |i: usize| {
            let cells = self.rows.iter().filter_map(|r| r.get(i));
            cells.map(|(text, _)| width(text)).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|i| widest(i).max(self.columns[i].0.len()))
            .collect();
        let Some(room) = room else { return widths };
        let gaps = GAP * self.columns.len().saturating_sub(1);
        loop {
            let total = widths.iter().sum::<usize>() + gaps;
            let fattest = (0..widths.len())
                .filter(|i| self.columns[*i].1 == Fit::Wrap)
                .filter(|i| widths[*i] > NARROWEST)
                .max_by_key(|i| widths[*i]);
            match fattest {
                Some(i) if total > room => widths[i] -= 1,
                _ => return widths,
            }
        }
    }

    fn show_row(
        &self,
        row: &[(String, Ink)],
        widths: &[usize],
        screen: &mut Screen,
    ) -> io::Result<()> {
        let bounded = screen.width().is_some();
        let cells: Vec<Vec<String>> = row
            .iter()
            .zip(widths)
            .map(|((text, _), w)| match bounded {
                true => wrap(text, *w),
                false => vec![text.clone()],
            })
            .collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..height {
            let mut pending = 0;
            for (i, (_, fit)) in self.columns.iter().enumerate() {
                let text = cells[i].get(line).map_or("", |t| t.as_str());
                let pad = widths[i].saturating_sub(width(text));
                let (left, right) = match fit {
                    Fit::Right => (pad, 0),
                    _ => (0, pad),
                };
                if !text.is_empty() {
                    screen.spaces(pending + left)?;
                    screen.ink(row[i].1, text)?;
                    pending = right;
                } else {
                    pending += pad;
                }
                pending += GAP;
            }
            screen.line("")?; // trailing blanks are never written
        }
        Ok(())
    }
}

/// Breaks `text` at spaces into lines of at most `room` columns; a word that
/// is longer than that is broken where it must.
pub fn wrap(text: &str, room: usize) -> Vec<String> {
    let room = room.max(1);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let wide = width(word);
        let gap = usize::from(used > 0);
        if used + gap + wide <= room {
            let line = lines.last_mut().expect("starts with one line");
            if gap == 1 {
                line.push(' ');
            }
            line.push_str(word);
            used += gap + wide;
            continue;
        }
        if used > 0 {
            lines.push(String::new());
            used = 0;
        }
        for c in word.chars() {
            let w = char_width(c);
            if used + w > room && used > 0 {
                lines.push(String::new());
                used = 0;
            }
            lines.last_mut().expect("starts with one line").push(c);
            used += w;
        }
    }
    lines
}

/// How many columns `text` takes.
pub fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// Columns of one character: 0 for combining marks, 2 for the wide blocks of
/// East Asian scripts and emoji, else 1. Rough (UAX #11 has more), and a
/// wrong guess only bends a column.
fn char_width(c: char) -> usize {
    match c as u32 {
        0x300..=0x36f | 0x20d0..=0x20ff | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&[
            ("PART", Fit::Keep),
            ("WHAT", Fit::Wrap),
            ("COUNT", Fit::Right),
            ("ACTION", Fit::Wrap),
        ]);
        table.row([
            ("disk/sda", Ink::Plain),
            ("Medium error: the disk cannot read a sector", Ink::Plain),
            ("12", Ink::Plain),
            ("Replace the disk.", Ink::Plain),
        ]);
        table.row([
            ("fs/x\u{1b}[2J", Ink::Red),
            ("gone", Ink::Plain),
            ("1", Ink::Plain),
            ("", Ink::Plain),
        ]);
        table
    }

    fn shown(table: &Table, color: bool, room: Option<usize>) -> String {
        let (mut screen, buffer) = Screen::for_tests(color, room);
        table.show(&mut screen).unwrap();
        drop(screen);
        let bytes = buffer.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_row_is_one_aligned_line_away_from_a_terminal() {
        insta::assert_snapshot!(shown(&sample(), false, None));
    }

    #[test]
    fn a_narrow_terminal_wraps_words_and_keeps_ids_whole() {
        let text = shown(&sample(), false, Some(60));
        assert!(text.lines().all(|l| width(l) <= 60), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn colour_surrounds_the_escaped_text_only() {
        let text = shown(&sample(), true, None);
        assert!(text.contains("\u{1b}[31mfs/x\\x1b[2J\u{1b}[0m"), "{text:?}");
    }

    #[test]
    fn a_terminal_narrower_than_any_column_neither_panics_nor_loops() {
        for room in 0..20 {
            assert!(!shown(&sample(), false, Some(room)).is_empty());
        }
    }

    #[test]
    fn words_longer_than_the_room_are_broken() {
        assert_eq!(wrap("ab cdefgh i", 4), ["ab", "cdef", "gh i"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("漢字", 2), ["漢", "字"]);
    }
}
