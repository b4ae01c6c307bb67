//! Records of firmware-first machines out of the kernel's text: what firmware
//! found (GHES), what the extended log has, and what was left of the previous
//! boot (BERT). A record is printed as up to twenty lines a section, and only
//! all of them together say what failed, where and how bad.
//!
//! Lines are put together by the number they bear; those without one are of
//! the boot error record. A record has no last line: it ends with the next
//! one, with the panic it causes, or when nothing more comes. A section that
//! is cut off says what it says. Pure; bounded: [`OPEN_MAX`] records of
//! [`SECTIONS_MAX`] sections.

pub mod line;
mod section;

use std::time::Duration;

use self::line::{Line, What};
pub use self::section::{Section, is_slot};
use crate::time::Timestamp;

/// Records open at a time: the kernel prints one after the other, and CPUs
/// that fail at once print theirs in between.
pub const OPEN_MAX: usize = 4;

/// Sections of a record that are kept; firmware writes one or two.
pub const SECTIONS_MAX: usize = 16;

/// A line that comes so long after the one before is of another record:
/// they are printed at once, and some logs count whole seconds.
pub const WAIT: Duration = Duration::from_secs(2);

/// So many lines of others end a record, where time does not.
const OTHERS_MAX: u32 = 200;

/// How bad (CPER_SEV_*, UEFI specification, appendix N).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing failed.
    Info,
    /// Repaired.
    Corrected,
    /// Lost, the machine goes on.
    Recoverable,
    /// Lost, the machine stops.
    Fatal,
}

/// What a section is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Memory.
    Memory,
    /// A PCIe function.
    Pcie,
    /// A processor of PCs.
    Processor,
    /// A processor of ARM's.
    Arm,
    /// What the kernel has no words for.
    Other,
}

/// Counted up, never used again.
pub type RecordId = u64;

/// A finished record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which lines it was made of: those that [`Assembler::feed`] answered
    /// with this.
    pub id: RecordId,
    /// When its first line was printed.
    pub time: Timestamp,
    /// Whether it is of the previous boot.
    pub past: bool,
    /// What it says, information left out.
    pub sections: Vec<Section>,
}

/// A record that is not finished.
#[derive(Debug)]
struct Open {
    record: Record,
    number: Option<u32>,
    /// Put in by a drill: never mixed with what the kernel prints.
    injected: bool,
    severity: Option<Severity>,
    /// Which sections told theirs.
    told: Vec<bool>,
    last: Timestamp,
    others: u32,
}

/// Puts records together.
#[derive(Debug, Default)]
pub struct Assembler {
    open: Vec<Open>,
    next: RecordId,
}

impl Assembler {
    /// Whether no record is open.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// The record that was begun first of those not finished.
    pub fn oldest(&self) -> Option<RecordId> {
        self.open.first().map(|open| open.record.id)
    }

    /// Whether an unfinished record tells of memory of that page.
    pub fn tells_of(&self, page: u64) -> bool {
        let mut sections = self.open.iter().flat_map(|o| &o.record.sections);
        sections.any(|section| section.page() == Some(page))
    }

    /// Takes one line of kernel text and appends the records that it ends to
    /// `out`. Says to which record it belongs, if to one.
    pub fn feed(
        &mut self,
        time: Timestamp,
        injected: bool,
        text: &[u8],
        out: &mut Vec<Record>,
    ) -> Option<RecordId> {
        self.flush(time, out);
        let Some(line) = line::parse(text) else {
            self.pass(out);
            if line::is_panic(text) {
                self.end(out);
            }
            return None;
        };
        let same = |o: &Open| o.number == line.number && o.injected == injected;
        let at = self.open.iter().position(same);
        let at = match (at, line.what) {
            (Some(at), What::End) => {
                self.open[at].touch(time);
                let id = self.open[at].record.id;
                self.finish(at, out);
                return Some(id);
            }
            (None, What::End) => return None,
            (Some(at), what) if self.open[at].is_over(what) => {
                self.finish(at, out);
                self.begin(time, line.number, injected, out)
            }
            (Some(at), _) => at,
            (None, what) if begins(line.number, what) => {
                self.begin(time, line.number, injected, out)
            }
            (None, _) => return None,
        };
        let open = self.open.get_mut(at)?;
        open.touch(time);
        open.take(line);
        Some(open.record.id)
    }

    /// Finishes the records whose next line has not come in time.
    pub fn flush(&mut self, now: Timestamp, out: &mut Vec<Record>) {
        self.end_where(out, |open| now.since(open.last) > WAIT);
    }

    /// Finishes all: no more will come.
    pub fn end(&mut self, out: &mut Vec<Record>) {
        self.end_where(out, |_| true);
    }

    fn begin(
        &mut self,
        time: Timestamp,
        number: Option<u32>,
        injected: bool,
        out: &mut Vec<Record>,
    ) -> usize {
        if self.open.len() == OPEN_MAX {
            self.finish(0, out);
        }
        let id = self.next;
        self.next += 1;
        self.open.push(Open {
            record: Record {
                id,
                time,
                past: number.is_none(),
                sections: Vec::new(),
            },
            number,
            injected,
            severity: None,
            told: Vec::new(),
            last: time,
            others: 0,
        });
        self.open.len() - 1
    }

    /// A line of others.
    fn pass(&mut self, out: &mut Vec<Record>) {
        for open in &mut self.open {
            open.others += 1;
        }
        self.end_where(out, |open| open.others > OTHERS_MAX);
    }

    fn finish(&mut self, at: usize, out: &mut Vec<Record>) {
        out.push(self.open.remove(at).finished());
    }

    fn end_where(
        &mut self,
        out: &mut Vec<Record>,
        ends: impl Fn(&Open) -> bool,
    ) {
        let mut at = 0;
        while at < self.open.len() {
            match ends(&self.open[at]) {
                true => self.finish(at, out),
                false => at += 1,
            }
        }
    }
}

/// Whether such a line begins a record that was not begun. The first lines
/// may have been lost; a value alone says nothing.
fn begins(number: Option<u32>, what: What<'_>) -> bool {
    match what {
        What::Begin | What::Severity(_) => true,
        What::Section(_) | What::Kind(_) => number.is_some(),
        What::Value(..) | What::Words | What::End => false,
    }
}

impl Open {
    fn touch(&mut self, time: Timestamp) {
        (self.last, self.others) = (time, 0);
    }

    /// Whether such a line is the first of another record.
    fn is_over(&self, what: What<'_>) -> bool {
        match what {
            What::Begin => {
                self.severity.is_some() || !self.record.sections.is_empty()
            }
            What::Severity(_) => !self.record.sections.is_empty(),
            _ => false,
        }
    }

    fn take(&mut self, line: Line<'_>) {
        match line.what {
            What::Severity(severity) => self.severity = Some(severity),
            What::Section(severity) => self.section(severity),
            What::Kind(kind) => {
                if self.record.sections.is_empty() {
                    self.section(None);
                }
                if let Some(section) = self.record.sections.last_mut() {
                    section.kind = kind;
                }
            }
            What::Value(key, value) => {
                if let Some(section) = self.record.sections.last_mut() {
                    section.set(key, value);
                }
            }
            What::Begin | What::End | What::Words => {}
        }
    }

    fn section(&mut self, severity: Option<Severity>) {
        if self.record.sections.len() == SECTIONS_MAX {
            // What follows is of none of those that are kept.
            self.record.sections.pop();
            self.told.pop();
        }
        self.told.push(severity.is_some());
        let severity = severity.unwrap_or(Severity::Info);
        self.record.sections.push(Section::new(severity));
    }

    /// A section that does not say how bad it is, is as bad as its record;
    /// one that nobody graded is an error all the same.
    fn finished(self) -> Record {
        let mut record = self.record;
        let whole = self.severity.unwrap_or(Severity::Recoverable);
        for (section, told) in record.sections.iter_mut().zip(self.told) {
            if !told {
                section.severity = whole;
            }
        }
        record.sections.retain(|s| s.severity > Severity::Info);
        record
    }
}

#[cfg(test)]
mod tests;
