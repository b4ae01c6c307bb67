//! The machine whose log is replayed: matcher, ledger and virtual clock.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Sink;
use super::clock::{Clock, Then};
use super::report::{Report, Totals};
use crate::cli::screen::Screen;
use crate::decode::mce::decode;
use crate::decode::mce_log;
use crate::drive::Drive;
use crate::kernel::KernelRecord;
use crate::kernel::looks_like_trouble;
use crate::ledger::Change;
use crate::ledger::desired::desired;
use crate::observation::{LEVELS, Observation, Source, Value};
use crate::parts::census::Census;
use crate::patterns::matcher::{Scratch, Taken};
use crate::patterns::set::PatternSet;
use crate::signal::Event;
use crate::sources::Unexplained;
use crate::sources::machine_check::{self, Seen};
use crate::sources::mce_text::{Blocks, Printed};
use crate::sources::text::{Line, Time};
use crate::time::Timestamp;

/// Its state.
pub struct Machine<'a> {
    set: Arc<PatternSet>,
    drive: Drive,
    clock: Clock,
    scratch: Scratch,
    blocks: Blocks,
    /// Machine checks that mcelog or rasdaemon logged.
    logged: mce_log::Reader,
    report: Report<'a>,
    totals: Totals,
    /// Kernel lines that look like trouble and that no pattern knows.
    unexplained: Unexplained,
    /// How often something was shown.
    shown: u64,
}

impl<'a> Machine<'a> {
    /// A machine on which nothing has happened.
    /// `census` gives names to its parts, if it is known.
    pub fn new(
        set: Arc<PatternSet>,
        census: Option<Arc<Census>>,
        report: Report<'a>,
    ) -> Machine<'a> {
        let mut drive = Drive::new(Arc::clone(&set), Timestamp(0));
        if let Some(census) = census {
            // There is no fault yet that could change.
            drive.census(census);
        }
        Machine {
            drive,
            set,
            clock: Clock::default(),
            scratch: Scratch::default(),
            blocks: Blocks::default(),
            report,
            totals: Totals { boots: 1, ..Totals::default() },
            unexplained: Unexplained::default(),
            logged: mce_log::Reader::default(),
            shown: 0,
        }
    }

    /// Before the first line.
    pub fn begin(&mut self) -> io::Result<()> {
        self.report.begin()
    }

    /// Lets `time` pass without a line.
    pub fn pass(&mut self, time: Duration) -> io::Result<()> {
        self.end_blocks()?;
        let until = self.drive.now().wall.plus(time);
        let changes = self.drive.advance(until);
        self.tell(&changes)
    }

    /// Shows how it ends.
    pub fn end(
        mut self,
        lines: u64,
        cut: u64,
        passed_over: u64,
    ) -> io::Result<()> {
        self.end_blocks()?;
        self.totals.lines = lines;
        self.totals.cut = cut;
        self.totals.passed_over = passed_over;
        self.totals.relative = self.clock.is_relative();
        let ledger = self.drive.ledger();
        self.totals.notes += ledger.stats().notes;
        let faults: Vec<_> = ledger.faults().collect();
        let unexplained = &self.unexplained;
        self.report.end(&self.totals, &faults, unexplained, self.drive.now())
    }

    /// No line follows that would belong to a machine check.
    fn end_blocks(&mut self) -> io::Result<()> {
        let mut events = Vec::new();
        let matching = (&self.set.matcher, &mut self.scratch);
        self.blocks.end(matching, &mut events);
        if events.is_empty() {
            return Ok(());
        }
        let changes = self.drive.batch(Source::Kmsg, events);
        self.tell(&changes)
    }

    /// The machine boots: what is remembered goes through the store.
    fn boot(&mut self) -> io::Result<()> {
        self.totals.boots += 1;
        self.totals.notes += self.drive.ledger().stats().notes;
        self.report.boot(self.totals.boots)?;
        let changes = self.drive.boot();
        self.tell(&changes)
    }

    fn tell(&mut self, changes: &[Change]) -> io::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        self.shown += 1;
        let relative = self.clock.is_relative();
        for change in changes {
            self.report.change(change, relative)?;
        }
        self.report.desired(&desired(self.drive.ledger().faults()))
    }
}

impl Sink for Machine<'_> {
    fn screen(&mut self) -> &mut Screen {
        self.report.screen()
    }

    fn line(&mut self, line: &Line) -> anyhow::Result<bool> {
        let shown = self.shown;
        let now = self.drive.now().wall;
        let moment = self.clock.read(line.time, line.new_boot, now);
        match moment.then {
            Then::Stay => {}
            Then::Pass => {
                let changes = self.drive.advance(moment.time);
                self.tell(&changes)?;
            }
            Then::Jump => self.drive.jump(moment.time),
        }
        if line.new_boot {
            self.end_blocks()?;
            self.boot()?;
        }
        if line.time != Time::None {
            self.totals.saw(moment.time);
        }
        let mut events = Vec::new();
        let scratch = &mut self.scratch;
        let (source, taken) =
            observe(&self.set, line, moment.time, scratch, &mut events);
        if line.kernel {
            let matching = (&self.set.matcher, scratch);
            let record = record(line, moment.time);
            let printed = Printed::line(line, moment.time);
            self.blocks.record(&record, printed, 0, matching, &mut events);
        }
        if let Some(check) = self.logged.line(&line.raw) {
            let seen = Seen {
                time: moment.time,
                approximate: is_approximate(line),
                injected: false,
                history: false,
            };
            let decoded = decode(&check);
            let (matcher, scratch) = (&self.set.matcher, &mut self.scratch);
            let found =
                machine_check::observe(&check, &decoded, seen, |told| {
                    matcher.observe(told, scratch, &mut events)
                });
            self.totals.matched += u64::from(found == Taken::Taken);
        }
        if taken.is_unexplained()
            && line.kernel
            && looks_like_trouble(line.level, &line.subsystem)
        {
            let shaped = line.form == "none";
            self.unexplained.note(&line.text, shaped, moment.time);
        }
        self.totals.matched += u64::from(taken == Taken::Taken);
        if events.is_empty() {
            return Ok(self.shown > shown);
        }
        let changes = self.drive.batch(source, events);
        self.tell(&changes)?;
        Ok(self.shown > shown)
    }
}

fn is_approximate(line: &Line) -> bool {
    !matches!(line.time, Time::Wall(_))
}

/// A line of the kernel's as the patterns take it.
fn record(line: &Line, time: Timestamp) -> KernelRecord<'_> {
    KernelRecord {
        text: &line.text,
        form: Some(line.form),
        level: line.level,
        subsystem: &line.subsystem,
        device: &line.device,
        time,
        approximate: is_approximate(line),
        injected: false,
    }
}

/// Holds a line against the patterns of the sources that could have brought
/// it: which one did, and what became of it.
pub fn observe(
    set: &PatternSet,
    line: &Line,
    time: Timestamp,
    scratch: &mut Scratch,
    events: &mut Vec<Event>,
) -> (Source, Taken) {
    let approximate = is_approximate(line);
    if line.kernel {
        let record = record(line, time);
        let taken = set.matcher.observe_kernel(&record, scratch, events);
        return (Source::Kmsg, taken);
    }
    let level = line.level.and_then(|l| LEVELS.get(usize::from(l)));
    let entry = [
        ("message", Value::Text(&line.text)),
        ("unit", Value::Text(&line.unit)),
        ("identifier", Value::Text(&line.identifier)),
        ("level", Value::Word(level.copied().unwrap_or(""))),
    ];
    let text = [("message", Value::Text(&line.raw))];
    for (patterns, fields) in
        [(Source::Journal, &entry[..]), (Source::File, &text[..])]
    {
        let observation = Observation {
            patterns,
            time,
            approximate,
            injected: false,
            fields,
        };
        let taken = set.matcher.observe(&observation, scratch, events);
        if taken == Taken::Taken {
            return (patterns, taken);
        }
    }
    (Source::Journal, Taken::Nothing)
}
