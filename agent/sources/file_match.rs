//! The lines of one log file, held against the patterns.

use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::guard::guarded;
use super::machine_check::{self, Seen};
use super::mce_text::{Blocks, CLOCK_SET, Printed};
use super::text::{Line, Reader, Time};
use super::{Context, forward};
use crate::decode::mce::{Registers, decode};
use crate::decode::mce_log;
use crate::kernel::KernelRecord;
use crate::observation::{Observation, Source, Value};
use crate::patterns::matcher::{Scratch, Taken};
use crate::signal::Event;
use crate::time::{Now, Timestamp};

/// What the lines of a file may be taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// The kernel's, where they are tagged `kernel:`; other lines are
    /// ignored then.
    pub kernel: bool,
    /// Machine checks, as mcelog or rasdaemon log them.
    pub machine_checks: bool,
}

/// What is made of the lines of one file.
pub(super) struct Matching {
    path: Vec<u8>,
    trust: Trust,
    zone: TimeZone,
    reader: Reader,
    logged: mce_log::Reader,
    pub(super) scratch: Scratch,
    blocks: Blocks,
    pub(super) events: Vec<Event>,
    pub(super) now: Now,
    /// Whether all that was there at the beginning has been read.
    pub(super) caught_up: bool,
    pub(super) observations: u64,
    pub(super) matches: u64,
    /// Lines that were skipped because they made the agent panic.
    pub(super) invalid: u64,
}

impl Matching {
    /// Times without a zone are those of `zone`.
    pub(super) fn new(
        path: &Path,
        trust: Trust,
        zone: TimeZone,
        now: Now,
    ) -> Matching {
        Matching {
            path: path.display().to_string().into_bytes(),
            trust,
            reader: Reader::new(now.wall, zone.clone()),
            zone,
            logged: mce_log::Reader::default(),
            scratch: Scratch::default(),
            blocks: Blocks::default(),
            events: Vec::new(),
            now,
            caught_up: false,
            observations: 0,
            matches: 0,
            invalid: 0,
        }
    }

    /// Matches one line; says whether a pattern took it.
    pub(super) fn line(&mut self, raw: &[u8], context: &Context) -> bool {
        let before = self.matches;
        guarded("file", raw, || self.take(raw, context))
            .unwrap_or_else(|| self.skip());
        self.matches > before
    }

    /// Goes on behind a line that panicked.
    #[cold]
    fn skip(&mut self) {
        self.invalid += 1;
        self.reader = Reader::new(self.now.wall, self.zone.clone());
        self.logged = mce_log::Reader::default();
        self.blocks.abandon(&mut self.events);
        self.scratch = Scratch::default();
    }

    /// Whether what was matched waits for the rest of a machine check; not
    /// if it `must` go now.
    pub(super) fn holds(&mut self, context: &Context, must: bool) -> bool {
        let when = (self.now.boot, must);
        let (scratch, events) = (&mut self.scratch, &mut self.events);
        forward::holds(context, when, &mut self.blocks, scratch, events)
    }

    fn take(&mut self, raw: &[u8], context: &Context) {
        self.reader.follow_at(self.now.wall);
        if !self.trust.kernel {
            let stated = self.reader.time_of(raw);
            let told = self.trust.machine_checks;
            if let Some(check) = told.then(|| self.logged.line(raw)).flatten() {
                self.machine_check(&check, stated, context);
            }
            self.observe(raw, stated, context);
            return;
        }
        self.observations += 1;
        let mut reader = self.taken_reader();
        if let Some(line) = reader.line(raw) {
            self.kernel_line(line, context);
        }
        self.reader = reader;
    }

    /// There is no more for now.
    pub(super) fn end(&mut self, context: &Context) {
        let end = || self.end_of_text(context);
        guarded("file", b"the end of the text", end)
            .unwrap_or_else(|| self.skip());
    }

    fn end_of_text(&mut self, context: &Context) {
        if self.trust.kernel {
            let mut reader = self.taken_reader();
            while let Some(line) = reader.end() {
                self.kernel_line(line, context);
            }
            self.reader = reader;
        }
    }

    /// The reader, out of the way of the borrow of its line.
    fn taken_reader(&mut self) -> Reader {
        let empty = Reader::new(Timestamp(0), TimeZone::UTC);
        std::mem::replace(&mut self.reader, empty)
    }

    fn observe(&mut self, raw: &[u8], stated: Time, context: &Context) {
        self.observations += 1;
        let (time, approximate) = self.time(stated);
        let observation = Observation {
            patterns: Source::File,
            time,
            approximate,
            injected: false,
            fields: &[
                ("message", Value::Text(raw)),
                ("path", Value::Text(&self.path)),
            ],
        };
        let matcher = &context.patterns.set().matcher;
        let (scratch, events) = (&mut self.scratch, &mut self.events);
        if matcher.observe(&observation, scratch, events) == Taken::Taken {
            self.matches += 1;
        }
    }

    /// A machine check out of the log of mcelog or rasdaemon.
    fn machine_check(
        &mut self,
        registers: &Registers,
        stated: Time,
        context: &Context,
    ) {
        let logged = registers.time.and_then(|s| i64::try_from(s).ok());
        let stated = match logged {
            Some(s) => Time::Wall(Timestamp(s.saturating_mul(1_000_000))),
            None => stated,
        };
        let (time, approximate) = self.time(stated);
        // Both log what there was before the boot with the time at which
        // they found it; whether it is that old, only the kernel could tell.
        // One that has a time of an earlier boot is.
        let booted =
            self.now.wall.minus(Duration::from_micros(self.now.boot.0));
        let history = time.plus(CLOCK_SET) < booted;
        let injected = false;
        let seen = Seen { time, approximate, injected, history };
        let matcher = &context.patterns.set().matcher;
        let (scratch, events) = (&mut self.scratch, &mut self.events);
        let take = |observation: &Observation<'_>| {
            matcher.observe(observation, scratch, events) == Taken::Taken
        };
        let taken =
            machine_check::observe(registers, &decode(registers), seen, take);
        self.matches += u64::from(taken);
    }

    fn kernel_line(&mut self, line: &Line, context: &Context) {
        if !line.kernel || line.identifier != b"kernel" {
            return;
        }
        let (time, approximate) = self.time(line.time);
        let record = KernelRecord {
            text: &line.text,
            form: Some(line.form),
            level: line.level,
            subsystem: &line.subsystem,
            device: &line.device,
            time,
            approximate,
            injected: false,
        };
        let (scratch, events) = (&mut self.scratch, &mut self.events);
        let from = events.len();
        if forward::kernel(context, &record, scratch, events) {
            self.matches += 1;
        }
        let printed = Printed::line(line, time);
        let blocks = &mut self.blocks;
        let told = (&record, printed);
        forward::machine_check(context, told, from, blocks, scratch, events);
    }

    /// The line's own time, if it has one that has come; else now, which for
    /// what was written before we looked is only a guess.
    fn time(&self, stated: Time) -> (Timestamp, bool) {
        match stated {
            Time::Wall(time) if time <= self.now.wall => (time, false),
            _ => (self.now.wall, !self.caught_up),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::guard::tests::{BAD, context};
    use super::*;
    use crate::clock;

    #[test]
    fn a_line_that_panics_is_skipped_and_the_next_one_read() {
        let (context, _messages) = context(Source::File);
        for kernel in [false, true] {
            let path = Path::new("/var/log/messages");
            let trust = Trust { kernel, ..Trust::default() };
            let mut matching =
                Matching::new(path, trust, TimeZone::UTC, clock::now());
            for text in ["one", BAD, "three"] {
                let line = format!("Jan  2 15:04:05 h kernel: {text}");
                assert!(!matching.line(line.as_bytes(), &context));
            }
            matching.end(&context);
            assert_eq!((matching.observations, matching.invalid), (2, 1));
        }
    }
}
