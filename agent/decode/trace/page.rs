//! The pages that `per_cpu/cpuN/trace_pipe_raw` gives: sub-buffers of the
//! kernel's ring, each with a header and records.
//!
//! The layout of the header is told by `events/header_page`, that of a
//! record's first word by `events/header_event`; what the forms of a record
//! mean stands in include/linux/ring_buffer.h and kernel/trace/ring_buffer.c
//! (rb_event_data_length, rb_event_time_stamp, ring_buffer_read_page). A
//! record is borrowed from the page: nothing is allocated for it.

use super::format::{Slot, fields};

/// The records before these were overwritten (RB_MISSED_EVENTS).
const MISSED: u64 = 1 << 31;

/// How many they were stands behind the last record (RB_MISSED_STORED).
const MISSED_STORED: u64 = 1 << 30;

/// An absolute time stamp holds so many bits; those above are the page's
/// (ABS_TS_MASK).
const STAMP_BITS: u32 = 59;

/// The largest sub-buffer that the kernel makes (order 7 of 4 KiB pages,
/// buffer_subbuf_size_write; or one page of 64 KiB).
const PAGE_MAX: usize = 512 << 10;

/// Why a layout cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// `header_page` does not describe this.
    #[error("header_page has no usable {0}")]
    Page(&'static str),
    /// `header_event` describes a first word that is none.
    #[error("header_event describes a word of {0} bits")]
    Event(u32),
}

/// How pages and records are laid out on this kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    timestamp: Slot,
    commit: Slot,
    commit_size: usize,
    data: usize,
    size: usize,
    len_bits: u32,
    delta_bits: u32,
    len_max: u32,
    padding: u32,
    extend: u32,
    stamp: u32,
}

impl Layout {
    /// Reads `events/header_page` and `events/header_event`. `size` is that
    /// of the instance's sub-buffers, where it has its own.
    ///
    /// # Errors
    /// When they describe no page.
    pub fn parse(
        page: &str,
        event: &str,
        size: Option<usize>,
    ) -> Result<Layout, LayoutError> {
        let fields = fields(page);
        let find = |name: &'static str| {
            let found = fields.iter().find(|(n, _)| n == name);
            found.map(|(_, slot)| *slot).ok_or(LayoutError::Page(name))
        };
        let (timestamp, commit, data) =
            (find("timestamp")?, find("commit")?, find("data")?);
        let size = size.unwrap_or(data.end());
        let is_word = |slot: &Slot| matches!(slot.size(), 4 | 8);
        if !is_word(&timestamp) || timestamp.end() > data.offset() {
            return Err(LayoutError::Page("timestamp"));
        }
        if !is_word(&commit) || commit.end() > data.offset() {
            return Err(LayoutError::Page("commit"));
        }
        if data.offset() >= size || size > PAGE_MAX {
            return Err(LayoutError::Page("data"));
        }
        let word = |name, otherwise| said(event, name).unwrap_or(otherwise);
        let (len_bits, delta_bits) =
            (word("type_len", 5), word("time_delta", 27));
        let bits = len_bits.saturating_add(delta_bits);
        if bits != 32 || len_bits == 0 || delta_bits == 0 {
            return Err(LayoutError::Event(bits));
        }
        Ok(Layout {
            timestamp,
            commit,
            commit_size: commit.size(),
            data: data.offset(),
            size,
            len_bits,
            delta_bits,
            len_max: word("data max type_len", 28),
            padding: word("padding", 29),
            extend: word("time_extend", 30),
            stamp: word("time_stamp", 31),
        })
    }

    /// How many bytes one page takes.
    pub fn page_size(&self) -> usize {
        self.size
    }

    /// Takes one page apart; `None` where it is too short for a header.
    pub fn page<'a>(&self, bytes: &'a [u8]) -> Option<Page<'a>> {
        let time = self.timestamp.number(bytes)?;
        // Sign extended where it is an int.
        let commit = self.commit.number(bytes)? & u64::from(u32::MAX);
        let data = bytes.get(self.data..)?;
        let wanted = commit & !(MISSED | MISSED_STORED);
        let used = usize::try_from(wanted).unwrap_or(usize::MAX);
        let fits = used <= data.len();
        let used = used.min(data.len());
        let missed = match (commit & MISSED, commit & MISSED_STORED) {
            (0, _) => Missed::Nothing,
            (_, 0) => Missed::Some,
            _ => stored(&data[used..], self.commit_size),
        };
        let rest = &data[..used];
        Some(Page { layout: *self, rest, time, missed, damaged: !fits })
    }
}

/// `    padding     : type == 29` or `    type_len    :    5 bits`.
fn said(event: &str, name: &str) -> Option<u32> {
    event.lines().find_map(|line| {
        let rest = line.trim().strip_prefix(name)?.trim_start();
        let sign = |c: char| c == ':' || c == '=' || c.is_whitespace();
        let rest = rest.trim_start_matches(sign);
        let rest = rest.strip_prefix("type").unwrap_or(rest);
        let digits = rest.trim_start_matches(sign);
        digits.split_whitespace().next()?.parse().ok()
    })
}

fn stored(behind: &[u8], size: usize) -> Missed {
    let count = match size {
        4 => behind.first_chunk().map(|b| u32::from_ne_bytes(*b).into()),
        _ => behind.first_chunk().map(|b| u64::from_ne_bytes(*b)),
    };
    count.map_or(Missed::Some, Missed::Exactly)
}

/// Records that were overwritten before this page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// None.
    Nothing,
    /// So many.
    Exactly(u64),
    /// At least one: there was no room in the page to say how many.
    Some,
}

/// One record: when it was written and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// By the buffer's trace clock; nanoseconds for those that count time.
    pub time: u64,
    /// From `common_type` on, as the event's format describes it.
    pub data: &'a [u8],
}

/// The records of one page, in order.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    layout: Layout,
    rest: &'a [u8],
    time: u64,
    missed: Missed,
    damaged: bool,
}

/// What one step through a page found.
enum Step<'a> {
    Data(&'a [u8]),
    Time,
    End,
}

impl<'a> Page<'a> {
    /// What was overwritten before this page.
    pub fn missed(&self) -> Missed {
        self.missed
    }

    /// Whether the page, as far as it was read, contradicts its own header:
    /// what follows the damage can't be told apart.
    pub fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Takes `n` bytes off the front.
    fn cut(&mut self, n: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(front)
    }

    fn word(&mut self) -> Option<u32> {
        let bytes = self.cut(4)?;
        bytes.try_into().ok().map(u32::from_ne_bytes)
    }

    /// One form of record; `None` where it does not fit into the page.
    fn step(&mut self) -> Option<Step<'a>> {
        let Layout { len_bits, delta_bits, .. } = self.layout;
        let word = self.word()?;
        // Bit fields fill a word from the low end on little-endian machines
        // and from the high end on others.
        let (kind, delta) = if cfg!(target_endian = "little") {
            (word & ((1 << len_bits) - 1), word >> len_bits)
        } else {
            (word >> delta_bits, word & ((1 << delta_bits) - 1))
        };
        let delta = u64::from(delta);
        if kind == self.layout.padding {
            return self.pad(delta);
        }
        if kind == self.layout.extend {
            let high = u64::from(self.word()?);
            self.time = self.time.wrapping_add(high << delta_bits | delta);
            return Some(Step::Time);
        }
        if kind == self.layout.stamp {
            let high = u64::from(self.word()?);
            self.time = absolute(high << delta_bits | delta, self.time);
            return Some(Step::Time);
        }
        self.time = self.time.wrapping_add(delta);
        let data = match kind {
            // The length stands in the next word, and counts it.
            0 => {
                let length = self.word()? as usize;
                self.cut(align(length)?.checked_sub(4)?)?
            }
            n if n <= self.layout.len_max => self.cut(n as usize * 4)?,
            _ => return None,
        };
        Some(Step::Data(data))
    }

    /// A record that was discarded, or the end of the page.
    fn pad(&mut self, delta: u64) -> Option<Step<'a>> {
        if delta == 0 {
            self.rest = &[];
            return Some(Step::End);
        }
        self.time = self.time.wrapping_add(delta);
        // Its length counts the word that says so.
        let length = self.word()? as usize;
        self.cut(align(length)?.checked_sub(4)?)?;
        Some(Step::Time)
    }
}

impl<'a> Iterator for Page<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        while !self.rest.is_empty() {
            match self.step() {
                Some(Step::Data(data)) => {
                    return Some(Record { time: self.time, data });
                }
                Some(Step::Time | Step::End) => {}
                None => {
                    self.damaged = true;
                    self.rest = &[];
                }
            }
        }
        None
    }
}

/// Records are padded to whole words (RB_ALIGNMENT).
fn align(length: usize) -> Option<usize> {
    length.checked_next_multiple_of(4)
}

/// An absolute time stamp lacks the upper bits of `before`, which may have
/// grown by one since (rb_fix_abs_ts).
fn absolute(stamp: u64, before: u64) -> u64 {
    let low = (1 << STAMP_BITS) - 1;
    if before & !low == 0 {
        return stamp;
    }
    let stamp = stamp & low | before & !low;
    if stamp < before { stamp.wrapping_add(1 << STAMP_BITS) } else { stamp }
}

#[cfg(test)]
mod tests;
