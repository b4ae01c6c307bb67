//! What the tracepoints told, as observations of the sources `mce`, `edac`
//! and `aer`, held against the patterns and sent.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::kmsg::first_poll;
use super::machine_check::{self, Seen};
use super::mce_repeat::Repeats;
use super::trace_fields::{
    MemoryTexts, SPAN, aer_fields, arm_fields, arm_texts, memory_fields, names,
};
use super::trace_instance::Clock;
use super::trace_pair::Settled;
use super::{Closed, Context, Counters};
use crate::clock;
use crate::decode::mce::Decoded;
use crate::decode::trace::ras::Told;
use crate::observation::{Observation, Source, Value};
use crate::patterns::matcher::{Scratch, Taken};
use crate::signal::{Event, Health, SourceId};
use crate::time::{Now, Timestamp};

/// One reading of the clocks, and what it says of the events' times.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    now: Now,
    which: Clock,
    /// The events' clock, nanoseconds.
    pub clock: u64,
    /// What it was when the source began to read.
    began: u64,
}

impl Moment {
    /// Now; `before` is an earlier one of this run.
    pub fn now(which: Clock, before: Option<Moment>) -> Moment {
        let now = clock::now();
        let clock = match which {
            Clock::Boot => now.boot.0.saturating_mul(1000),
            Clock::Mono => clock::monotonic().saturating_mul(1000),
            // It says nothing: nothing waits.
            Clock::Other => u64::MAX,
        };
        let began = before.map_or(clock, |before| before.began);
        Moment { now, which, clock, began }
    }

    /// The wall-clock time of an event, and whether it is a reconstruction.
    fn of(&self, event: u64) -> (Timestamp, bool) {
        if self.which == Clock::Other {
            return (self.now.wall, true);
        }
        let ago = Duration::from_nanos(self.clock.saturating_sub(event));
        (self.now.wall.minus(ago), event < self.began)
    }
}

/// One source's share of the way out.
#[derive(Debug)]
struct Lane {
    source: Source,
    id: SourceId,
    counters: Arc<Counters>,
    events: Vec<Event>,
}

/// The way out: a lane for each source that the tracepoints serve.
#[derive(Debug)]
pub struct Outlet {
    lanes: [Lane; 3],
    /// The file that says how often banks are polled, seconds.
    check_interval: PathBuf,
    /// What other CPUs may report too.
    repeats: Repeats,
    scratch: Scratch,
}

/// The lanes by source; counters of the same sources have other ids.
const MCE: usize = 0;
const EDAC: usize = 1;
const AER: usize = 2;

impl Outlet {
    /// An outlet for the host below `root`.
    pub fn new(root: &Path, context: &Context) -> Outlet {
        let lane = |source, id: &str| {
            let id = SourceId::from(id);
            let counters = context.counters(&id);
            Lane { source, id, counters, events: Vec::new() }
        };
        Outlet {
            lanes: [
                lane(Source::Mce, "mce"),
                lane(Source::Edac, "edac:trace"),
                lane(Source::Aer, "aer:trace"),
            ],
            check_interval: root.join(
                "sys/devices/system/machinecheck/machinecheck0/\
                 check_interval",
            ),
            repeats: Repeats::default(),
            scratch: Scratch::default(),
        }
    }

    /// Tells which sources are served by these events.
    ///
    /// # Errors
    /// When the ledger has ended.
    pub fn tell(
        &self,
        events: &[&str],
        context: &mut Context,
    ) -> Result<(), Closed> {
        let edac = ["ras/mc_event", "ras/extlog_mem_event"];
        let serving: [&[&str]; 3] =
            [&["mce/mce_record"], &edac, &["ras/aer_event"]];
        for (lane, wanted) in self.lanes.iter().zip(serving) {
            let health = if events.iter().any(|e| wanted.contains(e)) {
                Health::Up
            } else {
                let wanted = wanted.join(" or ");
                Health::Absent(format!("this kernel has no event {wanted}"))
            };
            context.tell(&lane.id, health)?;
        }
        Ok(())
    }

    /// Makes observations of everything that is settled.
    pub fn take(
        &mut self,
        settled: &mut Vec<(u64, Settled)>,
        moment: Moment,
        context: &Context,
    ) {
        for (event, what) in settled.drain(..) {
            let (time, approximate) = moment.of(event);
            match what {
                Settled::MachineCheck(check) => {
                    let history = self.is_history(&check.1, event, moment);
                    let injected = false;
                    let seen = Seen { time, approximate, injected, history };
                    let (registers, decoded) = *check;
                    if self.repeats.is_told(&registers, &decoded, time) {
                        continue;
                    }
                    machine_check::observe(&registers, &decoded, seen, |o| {
                        self.observe(MCE, o, context)
                    });
                }
                Settled::Other(told) => {
                    self.other(&told, time, approximate, context);
                }
            }
        }
    }

    /// An error that was found by a poll without a time, before the first
    /// such poll was due: the one at boot found it, which reads what was
    /// left from before.
    fn is_history(
        &self,
        decoded: &Decoded,
        event: u64,
        moment: Moment,
    ) -> bool {
        if !decoded.polled || moment.which == Clock::Other {
            return false;
        }
        Duration::from_nanos(event) < first_poll(&self.check_interval)
    }

    fn other(
        &mut self,
        told: &Told,
        time: Timestamp,
        approximate: bool,
        context: &Context,
    ) {
        let mut send = |lane: usize, fields: &[_]| {
            let observation = Observation {
                patterns: self.lanes[lane].source,
                time,
                approximate,
                injected: false,
                fields,
            };
            self.observe(lane, &observation, context);
        };
        match told {
            Told::Memory(memory) => {
                let texts = MemoryTexts::of(memory);
                send(EDAC, &memory_fields(memory, &texts));
            }
            Told::Aer(aer) => {
                for error in names(aer) {
                    send(AER, &aer_fields(aer, error));
                }
            }
            Told::PageFailed { pfn, result } => {
                let page = format!("{pfn:x}");
                let error = format!("recovery {result}");
                send(
                    EDAC,
                    &[
                        ("kind", Value::Word("uncorrected")),
                        ("unit", Value::Word("page")),
                        ("firmware", Value::Flag(false)),
                        ("page", Value::Text(page.as_bytes())),
                        ("error", Value::Text(error.as_bytes())),
                        ("count", Value::Number(1.0)),
                        SPAN,
                    ],
                );
            }
            Told::NonStandard { grade, fru, section } => send(
                EDAC,
                &[
                    ("kind", Value::Word(grade.word())),
                    ("unit", Value::Word("record")),
                    ("firmware", Value::Flag(true)),
                    ("device", Value::Text(b"firmware")),
                    ("block", Value::Text(fru.as_bytes())),
                    ("error", Value::Text(section.as_bytes())),
                    ("count", Value::Number(1.0)),
                    SPAN,
                ],
            ),
            Told::Arm { grade, cpu, mpidr } => {
                let texts = arm_texts(*cpu, *mpidr);
                send(EDAC, &arm_fields(*grade, &texts));
            }
            // Settled ones are decoded.
            Told::MachineCheck(_) => {}
        }
    }

    fn observe(
        &mut self,
        lane: usize,
        observation: &Observation<'_>,
        context: &Context,
    ) {
        let lane = &mut self.lanes[lane];
        Counters::add(&lane.counters.observations, 1);
        self.scratch.lean = !context.once;
        let matcher = &context.patterns.set().matcher;
        let (scratch, events) = (&mut self.scratch, &mut lane.events);
        if matcher.observe(observation, scratch, events) == Taken::Taken {
            Counters::add(&lane.counters.matches, 1);
        }
    }

    /// Records that could not be understood.
    pub fn invalid(&self, n: u64) {
        Counters::add(&self.lanes[MCE].counters.invalid, n);
    }

    /// Records that the kernel overwrote or dropped.
    pub fn lost(&mut self, lost: u64) {
        if lost > 0 {
            let lane = &mut self.lanes[MCE];
            Counters::add(&lane.counters.lost, lost);
            lane.events.push(Event::Gap { lost });
        }
    }

    /// All rings were read to their ends.
    pub fn succeeded(&self, moment: Moment) {
        for lane in &self.lanes {
            lane.counters.succeeded(moment.now.wall);
        }
    }

    /// Sends what has come.
    ///
    /// # Errors
    /// When the ledger has ended.
    pub fn flush(&mut self, context: &mut Context) -> Result<(), Closed> {
        for lane in &mut self.lanes {
            if !lane.events.is_empty() {
                let events = std::mem::take(&mut lane.events);
                context.send(&lane.id, events, None)?;
            }
        }
        Ok(())
    }
}
