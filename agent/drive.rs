//! Drives a ledger on a virtual clock: what `replay` and the scenarios of
//! pattern files run on. The same code as in the agent decides; only the
//! clock is not real.

use std::sync::Arc;
use std::time::Duration;

use crate::decode::block::WAIT;
use crate::forms::form_of;
use crate::kernel::KernelRecord;
use crate::ledger::{Change, Input, Ledger, Options};
use crate::observation::{Source, Value};
use crate::parts::census::Census;
use crate::patterns::matcher::{Scratch, Taken};
use crate::patterns::observed::observe;
use crate::patterns::set::{PatternSet, Stage};
use crate::signal::{Batch, Event, Health, SourceId};
use crate::sources::mce_text::{Blocks, Printed};
use crate::time::{BootId, Now, Timestamp, Uptime};

/// A ledger, its one source of text, and the time there.
pub struct Drive {
    ledger: Ledger,
    now: Now,
    boots: u64,
    source: SourceId,
    scratch: Scratch,
    blocks: Blocks,
    /// The ledger's next deadline, as long as nothing has stepped it: asking
    /// goes through all faults, and lines come by the million.
    due: Option<Option<Uptime>>,
}

impl Drive {
    /// Begins at `start` with nothing known.
    pub fn new(set: Arc<PatternSet>, start: Timestamp) -> Drive {
        let mut drive = Drive {
            ledger: Ledger::new(set, options(0)),
            now: Now { wall: start, ..Now::default() },
            boots: 0,
            source: "replay".into(),
            scratch: Scratch::default(),
            blocks: Blocks::default(),
            due: None,
        };
        drive.source_up();
        drive
    }

    /// The ledger as it stands.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The time there.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Gives names to parts. On this clock they are all looked at.
    pub fn census(&mut self, census: Arc<Census>) -> Vec<Change> {
        self.step(Input::Health("inventory".into(), Health::Up));
        self.step(Input::Census(census))
    }

    /// Lets time pass until `wall`, with a tick wherever something is due. A
    /// time that lies behind changes nothing.
    pub fn advance(&mut self, wall: Timestamp) -> Vec<Change> {
        let mut changes = match wall > self.now.wall.plus(WAIT) {
            true => self.end_blocks(),
            false => Vec::new(),
        };
        let mut left = wall.since(self.now.wall);
        while let Some(due) = self.due() {
            // A deadline already reached still moves the clock by a tick,
            // so that time always ends.
            let step = due.since(self.now.boot).max(Duration::from_micros(1));
            if step > left {
                break;
            }
            self.now = self.now.plus(step);
            left -= step;
            changes.extend(self.step(Input::Tick));
        }
        self.now = self.now.plus(left);
        changes
    }

    /// The wall clock is set, or the machine was off: no timer runs meanwhile.
    pub fn jump(&mut self, wall: Timestamp) {
        self.now.wall = wall;
    }

    /// The machine boots again: a new ledger takes up what the old one knew.
    pub fn boot(&mut self) -> Vec<Change> {
        let mut changes = self.end_blocks();
        let faults = self.ledger.faults().map(|f| f.at(self.now.boot));
        let faults = faults.collect();
        self.boots += 1;
        let set = self.ledger.patterns().clone();
        let census = self.ledger.census().clone();
        self.ledger = Ledger::new(set, options(self.boots));
        if census.parts().next().is_some() {
            self.census(census);
        }
        self.ledger.restore(self.now, faults);
        changes.extend(self.source_up());
        changes
    }

    /// No text follows that would belong to a machine check.
    pub fn end_blocks(&mut self) -> Vec<Change> {
        let mut events = Vec::new();
        let set = self.ledger.patterns().clone();
        let matching = (&set.matcher, &mut self.scratch);
        self.blocks.end(matching, &mut events);
        match events.is_empty() {
            true => Vec::new(),
            false => self.batch(Source::Kmsg, events),
        }
    }

    fn source_up(&mut self) -> Vec<Change> {
        let up = Input::Health(self.source.clone(), Health::Up);
        self.step(up)
    }

    /// Offers one line or record of kernel text, at the present time.
    pub fn kernel_text(&mut self, text: &[u8], level: Option<u8>) -> Outcome {
        let record = KernelRecord {
            text,
            form: Some(form_of(text)),
            level,
            subsystem: b"",
            device: b"",
            time: self.now.wall,
            approximate: false,
            injected: false,
        };
        let mut events = Vec::new();
        let set = self.ledger.patterns().clone();
        let taken =
            set.matcher.observe_kernel(&record, &mut self.scratch, &mut events);
        let matching = (&set.matcher, &mut self.scratch);
        let printed = Printed::at(self.now.wall);
        self.blocks.record(&record, printed, 0, matching, &mut events);
        self.events(taken, events)
    }

    /// Offers one observation of a source other than kernel text, at the
    /// present time.
    pub fn observe(
        &mut self,
        source: Source,
        fields: &[(&'static str, Value<'_>)],
    ) -> Outcome {
        let set = self.ledger.patterns().clone();
        let (time, scratch) = (self.now.wall, &mut self.scratch);
        let (taken, events) =
            observe(&set.matcher, source, fields, time, scratch);
        let changes = self.batch(source, events.clone());
        Outcome { taken, events, changes }
    }

    /// Steps the ledger with what a text came to.
    pub fn events(&mut self, taken: Taken, events: Vec<Event>) -> Outcome {
        if events.is_empty() {
            return Outcome { taken, events, changes: Vec::new() };
        }
        let changes = self.batch(Source::Kmsg, events.clone());
        Outcome { taken, events, changes }
    }

    /// Steps the ledger with what a source's patterns took.
    pub fn batch(&mut self, source: Source, events: Vec<Event>) -> Vec<Change> {
        let id = self.source.clone();
        let batch = Batch { source, id, events, position: None };
        self.step(Input::Batch(batch))
    }

    fn step(&mut self, input: Input) -> Vec<Change> {
        self.due = None;
        self.ledger.step(self.now, input)
    }

    fn due(&mut self) -> Option<Uptime> {
        *self.due.get_or_insert_with(|| self.ledger.next_deadline())
    }
}

/// What one text came to.
pub struct Outcome {
    /// Whether a pattern took it.
    pub taken: Taken,
    /// What the patterns made of it.
    pub events: Vec<Event>,
    /// What changed.
    pub changes: Vec<Change>,
}

fn options(boot: u64) -> Options {
    Options {
        node: "replay".into(),
        boot: BootId(format!("boot-{boot}")),
        mode: Stage::Enforce,
    }
}
