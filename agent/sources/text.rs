//! Logs as people keep them, line by line: dmesg's formats, syslog files,
//! journal exports and raw kmsg records, mixed if need be. Recognises the
//! transport of each line, strips it, and keeps what a line alone doesn't
//! tell: the year, the boot, the record it belongs to. Pure.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::journal_entry::{Entry, Export};
use super::kmsg_record;
use super::text_header::{Header, Stamp, strip};
use crate::forms;
use crate::time::Timestamp;

/// When a line says that it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Time {
    /// It doesn't say.
    #[default]
    None,
    /// An instant of the wall clock.
    Wall(Timestamp),
    /// Microseconds since the boot.
    Monotonic(u64),
}

/// One log line without its transport.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Its number in the input, counted from 1; the first, where several
    /// lines of input make this one.
    pub number: u64,
    /// The line as it stands in the input, without its newline; for entries
    /// of `journalctl -o export`, which have many, the message.
    pub raw: Vec<u8>,
    /// The message; several lines if the kernel printed it so.
    pub text: Vec<u8>,
    /// What the line is withheld for, see `forms`; found before unescaping.
    pub form: &'static str,
    /// When, by the line itself.
    pub time: Time,
    /// The log level, if the line tells.
    pub level: Option<u8>,
    /// SUBSYSTEM=, empty if there is none.
    pub subsystem: Vec<u8>,
    /// DEVICE=, empty if there is none.
    pub device: Vec<u8>,
    /// The task or CPU that printed it, such as `T10`; empty where the kernel
    /// does not tell.
    pub caller: Vec<u8>,
    /// Whether the kernel printed it; a line without any transport is taken
    /// for the kernel's.
    pub kernel: bool,
    /// The program that wrote it; `kernel` for the kernel's where a syslog
    /// header says so, empty where there is no such header.
    pub identifier: Vec<u8>,
    /// The systemd unit, where the journal tells.
    pub unit: Vec<u8>,
    /// Whether the machine has booted since the line before.
    pub new_boot: bool,
}

impl Line {
    /// How long after the boot it was printed, if the line tells.
    pub fn uptime(&self) -> Option<Duration> {
        match self.time {
            Time::Monotonic(micros) => Some(Duration::from_micros(micros)),
            Time::Wall(_) | Time::None => None,
        }
    }
}

/// A step back of the kernel's clock by more than this is a new boot; less is
/// CPUs that print out of order.
const BACK_MAX_MICROS: u64 = 5_000_000;

/// A date that is so many days further on in the year is a late line of the
/// year before: programs' lines are seconds out of order, never a week.
const LATE_OVER_NEW_YEAR: i32 = -358;

/// Reads a log line by line; formats may be mixed. The lines it gives are
/// valid until the next call.
#[derive(Debug)]
pub struct Reader {
    zone: TimeZone,
    /// Nothing in the log was written later.
    latest: Timestamp,
    /// The year of the last date without one.
    year: Option<(i16, DateTime)>,
    monotonic: Option<u64>,
    boot: Vec<u8>,
    kernel_seen: bool,
    /// journalctl has said that another boot follows.
    boot_said: bool,
    number: u64,
    /// How wide dmesg's header was, and the form of that record: the further
    /// lines of a record are indented by so much, and inherit its form.
    indent: usize,
    /// Whether the log is followed while it is written.
    is_followed: bool,
    export: Export,
    export_began: u64,
    current: Line,
    /// A raw kmsg record waits for its dictionary lines, and from then on
    /// each line waits for the next.
    held: Line,
    holding: bool,
}

impl Reader {
    /// A reader for a log that was last written at `latest`, on a machine in
    /// time zone `zone`.
    pub fn new(latest: Timestamp, zone: TimeZone) -> Reader {
        Reader {
            zone,
            latest,
            year: None,
            monotonic: None,
            boot: Vec::new(),
            kernel_seen: false,
            boot_said: false,
            number: 0,
            indent: 0,
            is_followed: false,
            export: Export::default(),
            export_began: 0,
            current: Line::default(),
            held: Line::default(),
            holding: false,
        }
    }

    /// What comes is of a log that is followed, and it is `now`: it is no
    /// export, whose words in a log would hide what is behind them, and a
    /// date without a year is the last of its name.
    pub fn follow_at(&mut self, now: Timestamp) {
        self.is_followed = true;
        self.latest = now;
        self.year = None;
    }

    /// Takes the next line of input, without its newline, and gives the log
    /// line that is complete with it, if one is.
    pub fn line(&mut self, raw: &[u8]) -> Option<&Line> {
        self.line_of(raw, raw.len())
    }

    /// The same of a line that is `length` bytes long, of which only the
    /// beginning is here.
    pub fn line_of(&mut self, raw: &[u8], length: usize) -> Option<&Line> {
        self.number += 1;
        if self.holding
            && self.dictionary(raw.strip_suffix(b"\r").unwrap_or(raw))
        {
            return None;
        }
        let filled = self.fill(raw, length);
        self.give(filled)
    }

    /// Whether the next line of input is part of a value that says how many
    /// bytes it has, so that not one of them may be taken away.
    pub fn is_in_value(&self) -> bool {
        self.export.is_in_value()
    }

    /// How many lines belonged to a journal export that is broken, and were
    /// passed over.
    pub fn passed_over(&self) -> u64 {
        self.export.passed_over()
    }

    /// The input has ended: gives the log line that was still open. To be
    /// called until it gives none.
    pub fn end(&mut self) -> Option<&Line> {
        if let Some(entry) = self.export.end() {
            self.entry(entry);
            return self.give(Filled::Line);
        }
        self.give(Filled::Nothing)
    }

    /// When a line says that it was written; the line is not taken.
    pub fn time_of(&mut self, raw: &[u8]) -> Time {
        self.header_time(&strip(raw))
    }

    fn give(&mut self, filled: Filled) -> Option<&Line> {
        let was_holding = self.holding;
        let hold = match filled {
            Filled::Nothing => false,
            Filled::Line => was_holding,
            Filled::Record => true,
        };
        if hold || was_holding {
            std::mem::swap(&mut self.current, &mut self.held);
        }
        self.holding = hold;
        let gives = was_holding || (filled != Filled::Nothing && !hold);
        gives.then_some(&self.current)
    }

    /// Takes a dictionary line of the raw record that waits for it.
    fn dictionary(&mut self, raw: &[u8]) -> bool {
        let field = if let Some(v) = raw.strip_prefix(b" SUBSYSTEM=") {
            Some((&mut self.held.subsystem, v))
        } else if let Some(v) = raw.strip_prefix(b" DEVICE=") {
            Some((&mut self.held.device, v))
        } else {
            None
        };
        field.is_some_and(|(field, value)| {
            set(field, value);
            true
        })
    }

    /// Makes the current line of one line of input.
    fn fill(&mut self, raw: &[u8], length: usize) -> Filled {
        if !self.is_followed
            && let Some(entry) = self.export.line(raw, length)
        {
            let filled = match entry {
                Some(entry) => {
                    self.entry(entry);
                    Filled::Line
                }
                None => Filled::Nothing,
            };
            if raw.starts_with(b"__CURSOR=") {
                self.export_began = self.number;
            }
            return filled;
        }
        let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
        if raw.is_empty() {
            return Filled::Nothing;
        }
        // journalctl's own words: `-- Boot 1234… --`, `-- No entries --`.
        if raw.starts_with(b"-- ") && raw.ends_with(b" --") {
            let boot =
                raw.starts_with(b"-- Boot ") || raw.starts_with(b"-- Reboot");
            self.boot_said |= boot && self.number > 1;
            return Filled::Nothing;
        }
        if raw.starts_with(b"{")
            && let Some(entry) = Entry::from_json(raw)
            && !(entry.cursor.is_empty() && entry.when().is_none())
        {
            self.export_began = self.number;
            self.entry(entry);
            set(&mut self.current.raw, raw);
            return Filled::Line;
        }
        if raw[0].is_ascii_digit()
            && let Ok(record) = kmsg_record::parse(raw)
        {
            self.record(raw, &record);
            return Filled::Record;
        }
        if self.is_followed || !raw.contains(&NO_BREAK_SPACE[0]) {
            self.plain(raw);
        } else {
            self.plain(&with_plain_blanks(raw));
            set(&mut self.current.raw, raw);
        }
        Filled::Line
    }

    /// A raw kmsg record; its dictionary may follow.
    fn record(&mut self, raw: &[u8], record: &kmsg_record::Record<'_>) {
        let new_boot = self.monotonic_boot(record.usec);
        let form = forms::form_of(record.text);
        let line = &mut self.current;
        let mut buffer = Vec::new();
        set(&mut line.raw, raw);
        set(&mut line.text, kmsg_record::unescape(record.text, &mut buffer));
        set(&mut line.subsystem, record.subsystem);
        set(&mut line.device, record.device);
        set(&mut line.caller, record.caller);
        line.identifier.clear();
        line.unit.clear();
        line.number = self.number;
        line.form = form;
        line.time = Time::Monotonic(record.usec);
        line.level = Some(record.level);
        line.kernel = record.facility == 0;
        line.new_boot = new_boot;
        self.indent = 0;
    }

    /// An entry of the journal.
    fn entry(&mut self, entry: Entry) {
        let another = entry.boot.as_bytes() != &self.boot[..];
        let new_boot =
            another && !self.boot.is_empty() && !entry.boot.is_empty();
        if !entry.boot.is_empty() {
            set(&mut self.boot, entry.boot.as_bytes());
        }
        self.current = Line {
            number: self.export_began,
            form: forms::form_of(&entry.message),
            time: entry.when().map_or(Time::None, Time::Wall),
            level: entry.level,
            subsystem: entry.subsystem.into_bytes(),
            device: entry.device.into_bytes(),
            caller: Vec::new(),
            kernel: entry.kernel,
            identifier: entry.identifier.into_bytes(),
            unit: entry.unit.into_bytes(),
            new_boot,
            raw: entry.message.clone(),
            text: entry.message,
        };
        self.indent = 0;
    }

    /// A line with a header, or with none.
    fn plain(&mut self, raw: &[u8]) {
        let indented = self.indent > 0
            && raw.len() > self.indent
            && raw[..self.indent].iter().all(|b| *b == b' ');
        if indented {
            // A further line of the record before: same time, and withheld
            // for the same reason.
            let line = &mut self.current;
            let from = if self.holding { &self.held } else { &*line };
            let (form, kernel) = (from.form, from.kernel);
            let (time, level) = (from.time, from.level);
            let caller = from.caller.clone();
            set(&mut line.raw, raw);
            set(&mut line.text, &raw[self.indent..]);
            let own = forms::form_of(&line.text);
            line.form = if form == "none" { own } else { form };
            line.number = self.number;
            line.caller = caller;
            (line.kernel, line.time, line.level) = (kernel, time, level);
            line.new_boot = false;
            return;
        }
        let header = strip(raw);
        let new_boot = self.header_boot(&header);
        let time = self.header_time(&header);
        let dmesg = header.kernel && header.text.len() < raw.len();
        self.indent = if dmesg { raw.len() - header.text.len() } else { 0 };
        let line = &mut self.current;
        set(&mut line.raw, raw);
        set(&mut line.text, header.text);
        set(&mut line.identifier, header.identifier);
        set(&mut line.caller, header.caller);
        line.subsystem.clear();
        line.device.clear();
        line.unit.clear();
        line.number = self.number;
        line.form = forms::form_of(header.text);
        line.time = time;
        line.level = header.level;
        line.kernel = header.kernel;
        line.new_boot = new_boot | std::mem::take(&mut self.boot_said);
    }

    /// Whether the kernel's clock has gone back to the beginning.
    fn monotonic_boot(&mut self, now: u64) -> bool {
        let before = self.monotonic.replace(now);
        before.is_some_and(|b| now.saturating_add(BACK_MAX_MICROS) < b)
    }

    /// Whether a line tells of a new boot: by the kernel's clock, or as the
    /// first line that every kernel prints.
    fn header_boot(&mut self, header: &Header<'_>) -> bool {
        if !header.kernel {
            return false;
        }
        let seen = std::mem::replace(&mut self.kernel_seen, true);
        let first = header.text.starts_with(b"Linux version ") && seen;
        first | header.monotonic.is_some_and(|now| self.monotonic_boot(now))
    }

    fn header_time(&mut self, header: &Header<'_>) -> Time {
        let Some(stamp) = header.wall else {
            return header.monotonic.map_or(Time::None, Time::Monotonic);
        };
        let instant = match stamp {
            Stamp::Instant(instant) => Some(instant),
            Stamp::Civil(civil) => self.instant(civil),
            Stamp::Yearless(civil) => self.with_year(civil),
        };
        instant.map_or(Time::None, Time::Wall)
    }

    /// The year of a date that has none: the latest that isn't in the log's
    /// future for the first one; then it goes on by one when the date steps
    /// back by half a year or more (December to January), and back again for
    /// a line of the old year that comes a little late.
    fn with_year(&mut self, date: DateTime) -> Option<Timestamp> {
        let year = match self.year {
            Some((year, before)) => {
                let days = |d: DateTime| i32::from(d.date().day_of_year());
                let back = days(before) - days(date);
                match back {
                    181.. => year.saturating_add(1),
                    ..=LATE_OVER_NEW_YEAR => year.saturating_sub(1),
                    _ => year,
                }
            }
            None => {
                let latest =
                    jiff::Timestamp::from_microsecond(self.latest.0).ok()?;
                let year = latest.to_zoned(self.zone.clone()).year();
                let then = self.instant(in_year(date, year)?);
                // A day of grace: the zone may be another than ours.
                let grace = self.latest.0.saturating_add(86_400_000_000);
                if then.is_some_and(|t| t.0 > grace) { year - 1 } else { year }
            }
        };
        self.year = Some((year, date));
        self.instant(in_year(date, year)?)
    }

    fn instant(&self, civil: DateTime) -> Option<Timestamp> {
        let zoned = civil.to_zoned(self.zone.clone()).ok()?;
        Some(Timestamp(zoned.timestamp().as_microsecond()))
    }
}

/// What one line of input made of the current line.
#[derive(Clone, Copy, PartialEq)]
enum Filled {
    Nothing,
    Line,
    /// A raw kmsg record, which may have a dictionary.
    Record,
}

/// The date in that year; 29 February is the 28th in a common year.
fn in_year(date: DateTime, year: i16) -> Option<DateTime> {
    let with = |day| date.with().year(year).day(day).build();
    with(date.day()).or_else(|_| with(28)).ok()
}

fn set(buffer: &mut Vec<u8>, text: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(text);
}

/// U+00A0 in UTF-8, which mails have in the place of blanks.
const NO_BREAK_SPACE: &[u8] = b"\xc2\xa0";

fn with_plain_blanks(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        let blank = rest.strip_prefix(NO_BREAK_SPACE);
        out.push(if blank.is_some() { b' ' } else { byte });
        rest = blank.unwrap_or(after);
    }
    out
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
