//! The machine whose log is replayed: matcher, ledger and virtual clock.

use std::sync::Arc;
use std::time::Duration;

use super::Sink;
use super::clock::Clock;
use super::report::{Report, Totals};
use crate::kernel::KernelRecord;
use crate::ledger::desired::desired;
use crate::ledger::{Change, Input, Ledger, Options};
use crate::observation::{LEVELS, Observation, Source, Value};
use crate::patterns::matcher::{Scratch, Taken};
use crate::patterns::set::{PatternSet, Stage};
use crate::signal::{Batch, Event, Health, SourceId};
use crate::sources::text::{Line, Time};
use crate::time::{BootId, Now, Timestamp, Uptime};

/// Timers that may fire between two lines. There are some for each fault,
/// and none fires twice at one instant; past this, time jumps.
const TICKS_MAX: usize = 100_000;

/// Its state.
pub struct Machine<'a> {
    set: Arc<PatternSet>,
    ledger: Ledger,
    node: String,
    clock: Clock,
    scratch: Scratch,
    report: Report<'a>,
    totals: Totals,
}

impl<'a> Machine<'a> {
    /// A machine on which nothing has happened.
    pub fn new(
        set: Arc<PatternSet>,
        node: String,
        report: Report<'a>,
    ) -> Machine<'a> {
        let ledger = ledger(&set, &node, 1);
        Machine {
            set,
            ledger,
            node,
            clock: Clock::default(),
            scratch: Scratch::default(),
            report,
            totals: Totals { boots: 1, ..Totals::default() },
        }
    }

    /// Lets it run; before the first line.
    pub fn begin(&mut self) -> anyhow::Result<()> {
        self.report.begin()?;
        self.sources_up()
    }

    fn sources_up(&mut self) -> anyhow::Result<()> {
        for source in [Source::Kmsg, Source::Journal, Source::File] {
            let health = Input::Health(id(source), Health::Up);
            let changes = self.ledger.step(self.clock.now(), health);
            self.tell(&changes)?;
        }
        Ok(())
    }

    /// Lets `time` pass without a line.
    pub fn pass(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = self.clock.now().plus(time);
        self.run_timers(until)?;
        self.clock.set(until);
        self.tick()
    }

    /// Shows how it ends.
    pub fn end(mut self, lines: u64, cut: u64) -> anyhow::Result<()> {
        self.totals.lines = lines;
        self.totals.cut = cut;
        self.totals.relative = self.clock.is_relative();
        self.totals.stats = self.ledger.stats();
        let now = self.clock.now();
        let faults: Vec<_> = self.ledger.faults().collect();
        Ok(self.report.end(&self.totals, &faults, now)?)
    }

    /// Lets every timer fire that is due by `until`.
    fn run_timers(&mut self, until: Now) -> anyhow::Result<()> {
        for _ in 0..TICKS_MAX {
            let now = self.clock.now();
            let Some(due) = self.ledger.next_deadline() else { return Ok(()) };
            if due > until.boot || due == until.boot {
                return Ok(()); // what is due then comes with the line
            }
            // A timer that is due already moves time by the least there is.
            let due = due.max(Uptime(now.boot.0 + 1));
            self.clock.set(now.plus(due.since(now.boot)));
            self.tick()?;
        }
        Ok(())
    }

    fn tick(&mut self) -> anyhow::Result<()> {
        let changes = self.ledger.step(self.clock.now(), Input::Tick);
        self.tell(&changes)
    }

    /// The machine boots: what is remembered goes through the store.
    fn boot(&mut self) -> anyhow::Result<()> {
        let now = self.clock.now();
        let kept: Vec<_> =
            self.ledger.faults().map(|f| f.at(now.boot)).collect();
        self.totals.boots += 1;
        self.totals.add(self.ledger.stats());
        self.ledger = ledger(&self.set, &self.node, self.totals.boots);
        self.ledger.restore(now, kept);
        self.report.boot(self.totals.boots)?;
        self.sources_up()
    }

    fn tell(&mut self, changes: &[Change]) -> anyhow::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let relative = self.clock.is_relative();
        for change in changes {
            self.report.change(change, relative)?;
        }
        let desired = desired(self.ledger.faults());
        Ok(self.report.desired(&desired)?)
    }
}

impl Sink for Machine<'_> {
    fn line(&mut self, line: &Line<'_>) -> anyhow::Result<()> {
        let moment = self.clock.read(line.time, line.new_boot);
        if self.clock.now().boot < moment.until.boot {
            self.run_timers(moment.until)?;
        }
        self.clock.set(moment.then);
        if line.new_boot {
            self.boot()?;
        }
        if line.time != Time::None {
            self.totals.saw(moment.time);
        }
        let mut events = Vec::new();
        let scratch = &mut self.scratch;
        let taken = observe(&self.set, line, moment.time, scratch, &mut events);
        let Some(source) = taken else { return Ok(()) };
        self.totals.matched += 1;
        let batch = Batch { source, id: id(source), events, position: None };
        let changes = self.ledger.step(self.clock.now(), Input::Batch(batch));
        self.tell(&changes)
    }
}

fn ledger(set: &Arc<PatternSet>, node: &str, boot: u64) -> Ledger {
    let options = Options {
        node: node.to_owned(),
        boot: BootId(format!("replay-{boot}")),
        // What would have been done, if it had been allowed.
        mode: Stage::Enforce,
    };
    Ledger::new(Arc::clone(set), options)
}

fn id(source: Source) -> SourceId {
    SourceId::from(source.name())
}

/// Holds a line against the patterns of the sources that could have brought
/// it; which one did, if a pattern took it.
pub fn observe(
    set: &PatternSet,
    line: &Line<'_>,
    time: Timestamp,
    scratch: &mut Scratch,
    events: &mut Vec<Event>,
) -> Option<Source> {
    let approximate = !matches!(line.time, Time::Wall(_));
    if line.kernel {
        let record = KernelRecord {
            text: line.text,
            form: line.form,
            level: line.level,
            subsystem: line.subsystem,
            device: line.device,
            time,
            approximate,
            injected: false,
        };
        let taken = set.matcher.observe_kernel(&record, scratch, events);
        return (taken == Taken::Taken).then_some(Source::Kmsg);
    }
    let level = line.level.and_then(|l| LEVELS.get(usize::from(l)));
    let entry = [
        ("message", Value::Text(line.text)),
        ("identifier", Value::Text(line.identifier)),
        ("level", Value::Word(level.copied().unwrap_or(""))),
    ];
    let text = [("message", Value::Text(line.raw))];
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
            return Some(patterns);
        }
    }
    None
}
