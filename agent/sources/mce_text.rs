//! Machine checks in the kernel's text: lines put together to blocks, and
//! each block told to the patterns once, as an observation of source `mce`.
//!
//! The rule by which a machine check in text counts once: the lines of a
//! block are matched as any other line, but what they gave is held until the
//! block is finished. Where a pattern of source `mce` takes the block, it
//! counts, and what the lines gave becomes evidence. Where an EDAC driver's
//! line inside the block tells the same error with its DIMM, and a pattern
//! takes it, that one counts instead. Where nobody does, the lines count as
//! they are. Nothing is lost and nothing is told twice. What firmware tells
//! is put together beside it (`cper_text`); a machine check that the kernel
//! makes of such a record is evidence. Pure; the same code serves the agent
//! and `replay`.

use std::time::Duration;

use super::cper_text::Records;
use super::machine_check::{self, Seen};
use super::mce_repeat::Repeats;
use super::text::Line;
use crate::decode::block::{Assembler, Block, BlockId, WAIT, line};
use crate::decode::cper;
use crate::decode::mce::{FIRMWARE_BANK, Registers, Severity, decode};
use crate::kernel::KernelRecord;
use crate::patterns::matcher::{Matcher, Scratch, Taken};
use crate::signal::{Effect, Event};
use crate::time::{Timestamp, Uptime};

/// When the kernel polls for the first time after a boot, and what it finds
/// then has no time stamp (check_interval, arch/x86/kernel/cpu/mce/core.c).
pub const FIRST_POLL: Duration = Duration::from_secs(5 * 60);

/// How long the signals of a source wait for the rest of a block. The kernel
/// prints a block at once; a reader may still see half of it.
const PATIENCE: Duration = Duration::from_secs(1);

/// By how much the clock may be set after a boot: what is older than that by
/// its own time is of an earlier boot.
pub(super) const CLOCK_SET: Duration = Duration::from_secs(86_400);

/// What a transport tells of a record beside what the patterns see.
#[derive(Clone, Copy, Debug)]
pub struct Printed<'a> {
    /// Where it stands on the transport's own time line; only differences
    /// are looked at.
    pub at: Timestamp,
    /// Who printed it, or empty.
    pub caller: &'a [u8],
    /// How long after the boot, if that is told.
    pub uptime: Option<Duration>,
    /// When the first poll after the boot was due.
    pub first_poll: Duration,
}

impl<'a> Printed<'a> {
    /// Printed then, by nobody knows whom.
    pub fn at(at: Timestamp) -> Printed<'a> {
        Printed { at, caller: b"", uptime: None, first_poll: FIRST_POLL }
    }

    /// As a line of a log says, which was printed then.
    pub fn line(line: &'a Line, at: Timestamp) -> Printed<'a> {
        let (caller, uptime) = (&line.caller, line.uptime());
        Printed { caller, uptime, ..Printed::at(at) }
    }
}

/// What the lines of a block that is not finished gave.
#[derive(Debug)]
struct Held {
    id: BlockId,
    events: Vec<Event>,
    seen: Seen,
    /// Printed before the first poll was due.
    early: bool,
    /// When the machine had booted, if that is told.
    booted: Option<Timestamp>,
    /// A pattern took the EDAC driver's line of the same error.
    edac: bool,
}

/// How AMD's decoder grades the block that it prints next, and what that line
/// gave.
#[derive(Debug)]
struct Grade {
    at: Timestamp,
    caller: Vec<u8>,
    events: Vec<Event>,
}

/// The block that was told last: its reason may follow.
#[derive(Debug)]
struct Told {
    at: Timestamp,
    caller: Vec<u8>,
}

/// What a source waits for: the rest of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Block(BlockId),
    /// The block that was graded.
    Graded,
    Record(cper::RecordId),
}

/// The machine checks of one source of kernel text.
#[derive(Debug, Default)]
pub struct Blocks {
    assembler: Assembler,
    /// What firmware tells.
    records: Records,
    held: Vec<Held>,
    grade: Option<Grade>,
    told: Option<Told>,
    /// What other CPUs may report too.
    repeats: Repeats,
    finished: Vec<Block>,
    /// The oldest block when somebody began to wait, and when that was.
    waiting: Option<(Awaited, Uptime)>,
}

/// Whether a line may be of a machine check or of a firmware's record:
/// cheap, and nearly always no.
pub fn may_be(text: &[u8]) -> bool {
    line::may_be(text) || cper::line::may_be(text) || is_panic(text)
}

/// Whether the kernel stops for what firmware told.
fn is_panic(text: &[u8]) -> bool {
    cper::line::is_panic(text)
}

impl Blocks {
    /// Whether a block is not finished, and events are held.
    pub fn is_open(&self) -> bool {
        !self.assembler.is_idle()
            || self.grade.is_some()
            || self.records.is_open()
    }

    /// Takes a record after the patterns of text have had it: `events[from..]`
    /// is what they gave.
    pub fn record(
        &mut self,
        record: &KernelRecord<'_>,
        printed: Printed<'_>,
        from: usize,
        matching: (&Matcher, &mut Scratch),
        events: &mut Vec<Event>,
    ) {
        if !self.is_open() && !may_be(record.text) {
            return; // nearly always
        }
        // Text that users chose is never a machine check.
        if record.form() != "none" {
            return;
        }
        let (matcher, scratch) = matching;
        let again = (matcher, &mut *scratch);
        let records = &mut self.records;
        let from = records.record(record, printed.at, from, again, events);
        let Some(from) = from else { return };
        let matching = (matcher, scratch);
        // What user space wrote never completes what the kernel began.
        let mark: &[u8] = if record.injected { b"!" } else { b"" };
        let caller = [mark, printed.caller].concat();
        let (mut id, mut edac) = (None, None);
        for text in record.text.split(|b| *b == b'\n').flat_map(line::pieces) {
            let finished = &mut self.finished;
            let fed = self.assembler.feed(printed.at, &caller, text, finished);
            id = fed.or(id);
            edac = self.assembler.take_edac().or(edac);
            let known =
                || self.was_told(&caller, printed.at) || self.counts_as_it_is();
            if line::is_reason(text) && known() {
                as_evidence(&mut events[from..]);
            }
        }
        let graded = self.grade.take();
        let graded = match (graded, id) {
            (Some(grade), Some(_)) if grade.is_before(printed.at, &caller) => {
                grade.events
            }
            (Some(grade), _) => {
                // Its block has not come: the line is all there is.
                events.splice(from..from, grade.events);
                Vec::new()
            }
            (None, _) => Vec::new(),
        };
        if id.is_none() && line::is_grade(record.text) {
            let events = events.drain(from..).collect();
            let caller = caller.clone();
            self.grade = Some(Grade { at: printed.at, caller, events });
        }
        if let Some(held) = self.held.iter_mut().find(|h| Some(h.id) == edac) {
            held.edac |= events[from..].iter().any(counts);
        }
        if let Some(id) = id {
            let given = graded.into_iter().chain(events.drain(from..));
            match self.held.iter_mut().find(|held| held.id == id) {
                Some(held) => held.events.extend(given),
                None => self.held.push(Held {
                    id,
                    events: given.collect(),
                    seen: Seen {
                        time: record.time,
                        approximate: record.approximate,
                        injected: record.injected,
                        history: false,
                    },
                    early: printed
                        .uptime
                        .is_some_and(|uptime| uptime < printed.first_poll),
                    booted: printed
                        .uptime
                        .map(|uptime| record.time.minus(uptime)),
                    edac: false,
                }),
            }
        }
        let last = Told { at: printed.at, caller };
        self.settle(Some(last), matching, events);
    }

    fn give_up_grade(&mut self, events: &mut Vec<Event>) {
        if let Some(mut grade) = self.grade.take() {
            events.append(&mut grade.events);
        }
    }

    /// Tells all blocks as far as they have come: no line of them will.
    pub fn end(
        &mut self,
        (matcher, scratch): (&Matcher, &mut Scratch),
        events: &mut Vec<Event>,
    ) {
        self.records.end((matcher, &mut *scratch), events);
        self.assembler.end(&mut self.finished);
        self.give_up_grade(events);
        self.settle(None, (matcher, scratch), events);
        self.told = None;
    }

    /// Gives up the blocks: what their lines gave counts as it is.
    pub fn abandon(&mut self, events: &mut Vec<Event>) {
        self.give_up_grade(events);
        self.records.abandon(events);
        for mut held in std::mem::take(self).held {
            events.append(&mut held.events);
        }
    }

    /// Whether the rest of a block is still worth waiting for.
    pub fn waits(&mut self, now: Uptime) -> bool {
        let grade = self.grade.as_ref().map(|_| Awaited::Graded);
        let block = self.assembler.oldest().map(Awaited::Block).or(grade);
        let record = self.records.oldest().map(Awaited::Record);
        let Some(oldest) = block.or(record) else {
            self.waiting = None;
            return false;
        };
        match self.waiting {
            Some((id, since)) if id == oldest => now.since(since) < PATIENCE,
            _ => {
                self.waiting = Some((oldest, now));
                true
            }
        }
    }

    fn was_told(&self, caller: &[u8], at: Timestamp) -> bool {
        let near =
            |told: &Told| told.caller == caller && at.since(told.at) <= WAIT;
        self.told.as_ref().is_some_and(near)
    }

    /// Whether a block that no longer can be whole has lines that count.
    fn counts_as_it_is(&self) -> bool {
        self.held.iter().any(|held| {
            self.assembler.is_bare(held.id) && held.events.iter().any(counts)
        })
    }

    fn settle(
        &mut self,
        last: Option<Told>,
        (matcher, scratch): (&Matcher, &mut Scratch),
        events: &mut Vec<Event>,
    ) {
        let mut told = false;
        for block in std::mem::take(&mut self.finished) {
            let at = self.held.iter().position(|held| held.id == block.id);
            let Some(at) = at else { continue };
            let mut held = self.held.remove(at);
            let again = (matcher, &mut *scratch);
            let taken = match block.edac {
                true => held.edac,
                // Its lines count as they are, and the driver's report does.
                false if block.driver || block.bare && !block.whole => false,
                false if self.is_told(&block, again, events) => true,
                false => {
                    let again = (matcher, &mut *scratch);
                    self.tell(&block, &held, again, events)
                }
            };
            if taken {
                told = true;
                as_evidence(&mut held.events);
            }
            events.append(&mut held.events);
        }
        if told {
            self.told = last;
        }
    }
}

impl Blocks {
    /// Whether the kernel made it of a firmware's record about memory that
    /// was told, with its DIMM (`apei_mce_report_mem_error`).
    fn is_told(
        &mut self,
        block: &Block,
        matching: (&Matcher, &mut Scratch),
        events: &mut Vec<Event>,
    ) -> bool {
        let registers = &block.registers;
        let (Some(FIRMWARE_BANK), Some(addr)) =
            (registers.bank, registers.addr)
        else {
            return false;
        };
        let page = addr >> 12;
        if self.records.tells_of(page) {
            self.records.end(matching, events);
        }
        self.records.was_told(page, block.time)
    }

    /// Tells a block to the patterns of source `mce`; whether one took it,
    /// now or when another CPU reported the same.
    fn tell(
        &mut self,
        block: &Block,
        held: &Held,
        (matcher, scratch): (&Matcher, &mut Scratch),
        events: &mut Vec<Event>,
    ) -> bool {
        let registers = &block.registers;
        let decoded = decode(registers);
        if decoded.severity == Severity::None {
            return false;
        }
        if self.repeats.is_told(registers, &decoded, block.time) {
            return true;
        }
        let history = decoded.polled && (held.early || is_old(registers, held));
        let seen = Seen { history, ..held.seen };
        machine_check::observe(registers, &decoded, seen, |observation| {
            matcher.observe(observation, scratch, events) == Taken::Taken
        })
    }
}

impl Grade {
    /// Whether a block that begins then is the one it grades.
    fn is_before(&self, at: Timestamp, caller: &[u8]) -> bool {
        self.caller == caller && at.since(self.at) <= WAIT
    }
}

/// Whether the kernel gave it a time before the present boot.
fn is_old(registers: &Registers, held: &Held) -> bool {
    let time = registers.time.and_then(|s| i64::try_from(s).ok());
    let time = time.map(|s| Timestamp(s.saturating_mul(1_000_000)));
    time.zip(held.booted)
        .is_some_and(|(time, booted)| time.plus(CLOCK_SET) < booted)
}

/// Whether it opens a fault or counts.
fn counts(event: &Event) -> bool {
    matches!(event, Event::Match(signal)
        if matches!(signal.effect, Effect::Open | Effect::History))
}

/// What opens or counts does so no more.
pub(super) fn as_evidence(events: &mut [Event]) {
    for event in events {
        if counts(event)
            && let Event::Match(signal) = event
        {
            signal.effect = Effect::Evidence;
            signal.count = 0;
        }
    }
}

#[cfg(test)]
#[path = "mce_text_tests.rs"]
mod tests;
