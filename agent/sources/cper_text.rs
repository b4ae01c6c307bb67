//! Firmware's records in the kernel's text: lines put together to records,
//! and each section told to the patterns once, as an observation of source
//! `edac` (memory, ARM's processors, what nobody has words for), `aer` (PCIe)
//! or `mce` (processors).
//!
//! The rule is that of machine checks in text (`mce_text`): what the lines
//! gave is held until the record is finished; where a pattern takes a section
//! of it, that counts, and the lines are evidence. Where none does, the lines
//! count as they are. The panic that a record causes is evidence too. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use super::machine_check::Seen;
use super::mce_text::as_evidence;
use crate::decode::cper::{
    Assembler, Kind, Record, RecordId, Section, Severity, WAIT, line,
};
use crate::decode::trace::ras::{Aer, AerGrade};
use crate::kernel::KernelRecord;
use crate::observation::{HISTORY, Observation, Source, Value};
use crate::parts::ids::BY_HANDLE;
use crate::patterns::matcher::{Matcher, Scratch, Taken};
use crate::signal::Event;
use crate::time::Timestamp;

/// How long after a record the kernel may make a machine check of it: that
/// is done at leisure, by another worker.
const LATE: Duration = Duration::from_secs(10);

/// How many pages with errors are remembered for that.
const PAGES_MAX: usize = 64;

/// Kinds of memory errors that tell of a mirror, a spare rank or a row that
/// took over (UEFI specification, appendix N.2.5: mirror broken, sparing,
/// physical map-out).
const SPARED: [u32; 3] = [11, 12, 15];

/// What the lines of a record that is not finished gave.
#[derive(Debug)]
struct Held {
    id: RecordId,
    events: Vec<Event>,
    seen: Seen,
}

/// The firmware's records of one source of kernel text.
#[derive(Debug, Default)]
pub(super) struct Records {
    assembler: Assembler,
    held: Vec<Held>,
    finished: Vec<Record>,
    /// When one was told last: its panic may follow.
    told: Option<Timestamp>,
    /// Pages of memory that were told, and when.
    pages: VecDeque<(Timestamp, u64)>,
}

impl Records {
    /// Whether a record is not finished, and events are held.
    pub(super) fn is_open(&self) -> bool {
        !self.assembler.is_idle()
    }

    /// The record that was begun first of those not finished.
    pub(super) fn oldest(&self) -> Option<RecordId> {
        self.assembler.oldest()
    }

    /// Takes a record of kernel text after the patterns of text have had it:
    /// `events[from..]` is what they gave. Where it is of no firmware's
    /// record, says from where on they stand now.
    pub(super) fn record(
        &mut self,
        record: &KernelRecord<'_>,
        at: Timestamp,
        from: usize,
        matching: (&Matcher, &mut Scratch),
        events: &mut Vec<Event>,
    ) -> Option<usize> {
        let (mut id, mut panics) = (None, false);
        for text in record.text.split(|b| *b == b'\n') {
            let (injected, finished) = (record.injected, &mut self.finished);
            let fed = self.assembler.feed(at, injected, text, finished);
            id = fed.or(id);
            panics |= line::is_panic(text);
        }
        let mut given: Vec<Event> = events.drain(from..).collect();
        if let Some(id) = id {
            self.hold(id, record, &mut given);
        }
        self.settle(matching, events);
        let near = |told: Timestamp| at.since(told) <= WAIT;
        if panics && self.told.is_some_and(near) {
            as_evidence(&mut given);
        }
        let from = events.len();
        events.append(&mut given);
        (id.is_none() && !panics).then_some(from)
    }

    /// Tells all as far as they have come: no line of them will.
    pub(super) fn end(
        &mut self,
        matching: (&Matcher, &mut Scratch),
        events: &mut Vec<Event>,
    ) {
        self.assembler.end(&mut self.finished);
        self.settle(matching, events);
    }

    /// Gives up what is not finished: what its lines gave counts as it is.
    pub(super) fn abandon(&mut self, events: &mut Vec<Event>) {
        for mut held in std::mem::take(self).held {
            events.append(&mut held.events);
        }
    }

    /// Whether an unfinished record tells of memory of that page.
    pub(super) fn tells_of(&self, page: u64) -> bool {
        self.assembler.tells_of(page)
    }

    /// Whether an error of that page was told: once for each that was.
    pub(super) fn was_told(&mut self, page: u64, at: Timestamp) -> bool {
        let same = |(time, told): &(Timestamp, u64)| {
            *told == page && at.since(*time).max(time.since(at)) <= LATE
        };
        let found = self.pages.iter().position(same);
        found.is_some_and(|i| self.pages.remove(i).is_some())
    }

    fn hold(
        &mut self,
        id: RecordId,
        record: &KernelRecord<'_>,
        given: &mut Vec<Event>,
    ) {
        match self.held.iter_mut().find(|held| held.id == id) {
            Some(held) => held.events.append(given),
            None => self.held.push(Held {
                id,
                events: std::mem::take(given),
                seen: Seen {
                    time: record.time,
                    approximate: record.approximate,
                    injected: record.injected,
                    history: false,
                },
            }),
        }
    }

    fn settle(
        &mut self,
        (matcher, scratch): (&Matcher, &mut Scratch),
        events: &mut Vec<Event>,
    ) {
        for record in std::mem::take(&mut self.finished) {
            let held = self.held.iter().position(|h| h.id == record.id);
            let Some(held) = held else { continue };
            let mut held = self.held.remove(held);
            let mut take = |observation: &Observation<'_>| {
                matcher.observe(observation, scratch, events) == Taken::Taken
            };
            if tell(&record, held.seen, &mut take) {
                self.told = Some(record.time);
                as_evidence(&mut held.events);
                for page in record.sections.iter().filter_map(Section::page) {
                    self.pages.push_back((record.time, page));
                }
                let excess = self.pages.len().saturating_sub(PAGES_MAX);
                self.pages.drain(..excess);
            }
            events.append(&mut held.events);
        }
    }
}

type Take<'a> = &'a mut dyn FnMut(&Observation<'_>) -> bool;

/// Tells the sections of a record; whether a pattern took one.
fn tell(record: &Record, seen: Seen, take: Take<'_>) -> bool {
    let seen = Seen { history: record.past, ..seen };
    // What the kernel has no words for mostly says of the other sections
    // what only their maker understands.
    let known = record.sections.iter().any(|s| s.kind != Kind::Other);
    let mut taken = false;
    for section in &record.sections {
        taken |= match section.kind {
            Kind::Memory => memory(section, seen, take),
            Kind::Pcie => pcie(section, seen, take),
            Kind::Processor => processor(section, seen, take),
            Kind::Arm => arm(section, seen, take),
            Kind::Other if known => false,
            Kind::Other => other(section, seen, take),
        };
    }
    taken
}

fn observe(
    patterns: Source,
    seen: Seen,
    mut fields: Vec<(&'static str, Value<'_>)>,
    take: Take<'_>,
) -> bool {
    fields.push(("count", Value::Number(1.0)));
    fields.push((HISTORY, Value::Flag(seen.history)));
    if patterns != Source::Mce {
        fields.push(("span", Value::Number(0.0)));
    }
    take(&Observation {
        patterns,
        time: seen.time,
        approximate: seen.approximate,
        injected: seen.injected,
        fields: &fields,
    })
}

fn kind(severity: Severity) -> &'static str {
    match severity {
        Severity::Info | Severity::Corrected => "corrected",
        Severity::Recoverable => "uncorrected",
        Severity::Fatal => "fatal",
    }
}

fn memory(section: &Section, seen: Seen, take: Take<'_>) -> bool {
    let spared = section.error_type.is_some_and(|n| SPARED.contains(&n));
    let kind = if spared { "spared" } else { kind(section.severity) };
    let error = section.error.as_deref().unwrap_or("memory error");
    let fru = section.fru.as_ref().map(|fru| format!("called {fru:?}"));
    let place = match (section.place.is_empty(), fru) {
        (false, _) => section.place.clone(),
        (true, Some(fru)) => fru,
        (true, None) => "place not told".to_owned(),
    };
    let handle = section.handle.map(|n| format!("{BY_HANDLE}{n:04x}"));
    let address = section.address.map(|a| format!("{a:x}"));
    let page = section.page().map(|page| format!("{page:x}"));
    let mut fields = vec![
        ("kind", Value::Word(kind)),
        ("unit", Value::Word("memory")),
        ("firmware", Value::Flag(true)),
        ("error", Value::Text(error.as_bytes())),
        ("location", Value::Text(place.as_bytes())),
    ];
    let texts = [
        ("label", section.label()),
        ("handle", handle.as_deref()),
        ("address", address.as_deref()),
        ("page", page.as_deref()),
    ];
    let known = texts.iter().filter_map(|(n, text)| Some((*n, (*text)?)));
    fields.extend(known.map(|(n, text)| (n, Value::Text(text.as_bytes()))));
    observe(Source::Edac, seen, fields, take)
}

fn pcie(section: &Section, seen: Seen, take: Take<'_>) -> bool {
    let Some(device) = section.device.clone() else { return false };
    let (grade, status) = match section.severity {
        Severity::Info | Severity::Corrected => {
            (AerGrade::Correctable, section.correctable)
        }
        Severity::Recoverable => (AerGrade::NonFatal, section.uncorrectable),
        Severity::Fatal => (AerGrade::Fatal, section.uncorrectable),
    };
    let aer = Aer { device, grade, status: status.unwrap_or(0) };
    let names: Vec<&str> = aer.names().collect();
    let error = match names.is_empty() {
        true => "unknown".to_owned(),
        false => names.join(" "),
    };
    let fields = vec![
        ("kind", Value::Word(aer.grade.word())),
        ("error", Value::Text(error.as_bytes())),
        ("device", Value::Text(aer.device.as_bytes())),
    ];
    observe(Source::Aer, seen, fields, take)
}

fn processor(section: &Section, seen: Seen, take: Take<'_>) -> bool {
    let error = section.error.as_deref().unwrap_or("processor error");
    // The words of the kernel (proc_error_type_strs, cper-x86.c).
    let kind = match error {
        error if error.starts_with("cache") => "cache",
        error if error.starts_with("TLB") => "tlb",
        error if error.starts_with("bus") => "interconnect",
        error if error.starts_with("micro-arch") => "core",
        error if error.starts_with("MS check") => "core",
        _ => "unknown",
    };
    let place = match section.processor {
        Some(id) => format!("the processor with APIC id 0x{id:x}"),
        None => "a processor that is not told".to_owned(),
    };
    // The census knows the CPU that has the id.
    let part = match section.processor {
        Some(id) => format!("cpu/apic{id}"),
        None => "node/cpu".to_owned(),
    };
    let fields = vec![
        ("severity", Value::Word(self::kind(section.severity))),
        ("kind", Value::Word(kind)),
        ("error", Value::Text(error.as_bytes())),
        ("part", Value::Text(part.as_bytes())),
        ("place", Value::Text(place.as_bytes())),
        ("vendor", Value::Word("unknown")),
        ("overflow", Value::Flag(false)),
        ("poison", Value::Flag(false)),
        ("yellow", Value::Flag(false)),
        ("doubtful", Value::Flag(false)),
    ];
    observe(Source::Mce, seen, fields, take)
}

fn arm(section: &Section, seen: Seen, take: Take<'_>) -> bool {
    let block = section.processor.map(|mpidr| format!("mpidr{mpidr:x}"));
    let mut fields = vec![
        ("kind", Value::Word(kind(section.severity))),
        ("unit", Value::Word("device")),
        ("firmware", Value::Flag(true)),
        ("device", Value::Text(b"arm-processor")),
    ];
    let texts = [("block", block.as_ref()), ("error", section.error.as_ref())];
    let known = texts.iter().filter_map(|(n, text)| Some((*n, (*text)?)));
    fields.extend(known.map(|(n, text)| (n, Value::Text(text.as_bytes()))));
    observe(Source::Edac, seen, fields, take)
}

fn other(section: &Section, seen: Seen, take: Take<'_>) -> bool {
    let fru = section.fru.as_deref().unwrap_or("no part named");
    let fields = vec![
        ("kind", Value::Word(kind(section.severity))),
        ("unit", Value::Word("record")),
        ("firmware", Value::Flag(true)),
        ("device", Value::Text(b"firmware")),
        ("block", Value::Text(fru.as_bytes())),
    ];
    observe(Source::Edac, seen, fields, take)
}

#[cfg(test)]
#[path = "cper_text_tests.rs"]
mod tests;
