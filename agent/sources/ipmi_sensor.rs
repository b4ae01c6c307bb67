//! Source `ipmi-sensor`: how the sensors of a BMC are, and whether it answers
//! at all.
//!
//! This thread is the BMC's poller: what it reads goes to the board, from
//! which metrics and the census take it, so that nobody else waits for a BMC.
//! A BMC that does not answer makes every sensor unknown, which opens and
//! clears nothing; that it does not answer is told as a state of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::states::{Found, Told};
use super::{Context, Counters, End, Failure};
use crate::clock;
use crate::decode::ipmi::kinds;
use crate::decode::ipmi::reading::Unknown;
use crate::decode::ipmi::sensor::Key;
use crate::hash::fnv1a;
use crate::ipmi::inventory;
use crate::ipmi::monitor::{Monitor, Pace, Pass, View, Why};
use crate::ipmi::presence::Presences;
use crate::ipmi::shelves::Shelves;
use crate::ipmi::{Address, Link, TransportError, Way, access, vitals};
use crate::observation::bmc::Described;
use crate::observation::{Observation, Source, Value};
use crate::signal::{Health, SourceId};
use crate::time::Uptime;

/// How often the BMC is asked for its firmware, chassis and power.
const VITALS_EVERY: Duration = Duration::from_secs(60);

/// After an inventory is another: until the census has taken it, and states
/// can be told of the part that is there now.
const TAKEN: Duration = Duration::from_secs(15);

/// How often it is looked at other patterns, and whether to end.
const NAP: Duration = Duration::from_secs(1);

/// How the sensors of one BMC are read.
#[derive(Clone, Debug)]
pub struct Options {
    /// The BMC.
    pub way: Way,
    /// How often.
    pub pace: Pace,
    /// The host's root, to tell why there is no BMC.
    pub root: PathBuf,
}

impl Options {
    /// The name under which this one's health is told.
    pub fn id(&self) -> SourceId {
        instance(Source::IpmiSensor, &self.way)
    }
}

/// The name of a source's instance for one BMC.
pub fn instance(source: Source, way: &Way) -> SourceId {
    match way.is_first {
        true => SourceId::from(source.name()),
        false => SourceId::from(format!("{source}:{}", way.name)),
    }
}

/// Whether there is anything to ask.
///
/// # Errors
/// There should be, and is not: why, and what to do.
pub fn is_there(way: &Way, root: &std::path::Path) -> Result<(), NotThere> {
    let Address::Device(path) = &way.address else { return Ok(()) };
    if access::place_of(path).exists() {
        return Ok(());
    }
    Err(match access::missing(root) {
        access::Missing::Bmc(why) => NotThere::Absent(why),
        access::Missing::Driver { why, next } => {
            NotThere::Down(format!("{why}; {next}"))
        }
    })
}

/// Why there is nothing to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotThere {
    /// There is no BMC.
    Absent(String),
    /// It cannot be reached from here.
    Down(String),
}

impl NotThere {
    /// How the source ends.
    ///
    /// # Errors
    /// It should be there.
    pub fn end(self) -> Result<End, Failure> {
        match self {
            NotThere::Absent(why) => Ok(End::Absent(why)),
            NotThere::Down(why) => Err(Failure(why)),
        }
    }
}

/// Reads until told to stop.
///
/// # Errors
/// The BMC may not be asked, or the ledger is gone.
pub fn run(options: &Options, context: &mut Context) -> Result<End, Failure> {
    if let Err(not_there) = is_there(&options.way, &options.root) {
        return not_there.end();
    }
    let mut poller = Poller::new(options, context);
    loop {
        let Some(pass) = poller.turn(context)? else {
            return Ok(End::Stopped);
        };
        if context.once {
            return Ok(End::Stopped);
        }
        let mut next = poller.next(&pass, context);
        while clock::boot() < next {
            let left = next.since(clock::boot()).min(NAP);
            if context.stop.sleep(left) {
                return Ok(End::Stopped);
            }
            if context.patterns.refresh() {
                poller.anew = true;
                next = clock::boot();
            }
        }
    }
}

/// Whoever polls one BMC.
struct Poller<'a> {
    options: &'a Options,
    id: SourceId,
    monitor: Monitor,
    described: BTreeMap<Key, Described>,
    told: Told,
    anew: bool,
    /// When everything is to be told again, since a part is another.
    anew_at: Option<Uptime>,
    /// Whether it ever answered: one that is gone is then a fault.
    ever: bool,
    turns: u64,
    vitals_due: Uptime,
    shelves: Shelves,
    presences: Presences,
}

impl<'a> Poller<'a> {
    fn new(options: &'a Options, context: &Context) -> Poller<'a> {
        // Whoever looks once reads everything.
        let pace = match context.once {
            true => Pace {
                fast: Duration::from_secs(60),
                normal: Duration::from_secs(60),
                slow: Duration::from_secs(60),
            },
            false => options.pace,
        };
        Poller {
            options,
            id: options.id(),
            monitor: Monitor::new(pace),
            described: BTreeMap::new(),
            told: Told::default(),
            anew: false,
            anew_at: None,
            ever: false,
            turns: 0,
            vitals_due: Uptime(0),
            shelves: Shelves::default(),
            presences: Presences::default(),
        }
    }

    /// One pass; `None` where it was told to stop.
    fn turn(&mut self, context: &mut Context) -> Result<Option<Pass>, Failure> {
        let way = &self.options.way;
        let mut link = way.link(&context.stop);
        let began = clock::boot();
        let Ok(pass) = self.monitor.pass(&mut link) else { return Ok(None) };
        let views = Arc::new(self.monitor.views());
        let took = clock::boot().since(began);
        self.turns += 1;
        self.ever |= pass.answers.is_ok();
        self.presences.watch(&views, |part| way.part(part));
        link.with(|link| self.post(link, &pass, &views, took));
        self.tell(&pass, &views, context)?;
        if pass.answers.is_err() {
            // What is in it when it is back may be something else.
            self.shelves.read_anew();
        } else {
            let more = link.with(|link| self.seldom(link, &views));
            if more == Err(TransportError::Stopped) {
                return Ok(None);
            }
        }
        Ok(Some(pass))
    }

    /// When the next pass begins: never exactly as long as the last, so that
    /// a thousand nodes do not ask at once.
    fn next(&self, pass: &Pass, context: &Context) -> Uptime {
        if pass.answers.is_err() {
            let mut link = self.options.way.link(&context.stop);
            let rest = link.with(|link| link.rest());
            return clock::boot().plus(rest.max(NAP));
        }
        let seed = format!("{} {}", clock::monotonic(), self.turns);
        let share = 90 + (fnv1a(seed.as_bytes()) % 21) as u32;
        clock::boot().plus(self.options.pace.fast * share / 100)
    }

    /// Puts what was read where others see it.
    fn post(
        &self,
        link: &Link,
        pass: &Pass,
        views: &Arc<Vec<View>>,
        took: Duration,
    ) {
        let repository = self.monitor.repository();
        self.options.way.board.update(&self.options.way.name, |bmc| {
            bmc.answers = Some(pass.answers.is_ok());
            bmc.why = match &pass.answers {
                Ok(()) => pass.trouble.clone(),
                Err(error) => Some(error.to_string()),
            };
            bmc.is_further = !self.options.way.is_first;
            bmc.sensors = Arc::clone(views);
            bmc.there = self.presences.parts();
            bmc.commands = link.commands;
            bmc.errors.clone_from(&link.errors);
            if let Some(found) = repository {
                bmc.records = (found.records, found.skipped);
                bmc.incomplete.clone_from(&found.incomplete);
                if *bmc.known != found.sensors {
                    bmc.known = Arc::new(found.sensors.clone());
                }
            }
            if pass.answers.is_ok() {
                bmc.passed = Some(clock::boot());
                bmc.pass = took;
                bmc.cut += u64::from(pass.cut);
            }
        });
        if pass.answers.is_err() {
            self.options.way.board.stock();
        }
    }

    /// Tells the ledger what has changed.
    fn tell(
        &mut self,
        pass: &Pass,
        views: &[View],
        context: &mut Context,
    ) -> Result<(), Failure> {
        let health = match &pass.answers {
            Err(error) if error.is_ours() => Health::Down(error.to_string()),
            // That it does not answer is a fault of its own, not ours.
            Err(error) if context.once || self.may_be_mistaken(error) => {
                Health::Down(error.to_string())
            }
            _ => match pass.trouble.clone().or_else(|| all_unknown(views)) {
                Some(why) => Health::Down(why),
                None => Health::Up,
            },
        };
        context.tell(&self.id, health)?;
        let way = &self.options.way;
        let now = clock::now().wall;
        let mut found = Found::default();
        let matcher = &context.patterns.set().matcher;
        let mut look = |fields: &[(&'static str, Value<'_>)]| {
            let observation = Observation {
                patterns: Source::IpmiSensor,
                time: now,
                approximate: false,
                injected: false,
                fields,
            };
            found.look(matcher, &observation);
        };
        let supplies = supplies(views);
        for view in views {
            let key = view.sensor.key;
            let described = self.described.entry(key).or_insert_with(|| {
                let mut new = Described::new((*view.sensor).clone());
                new.part = way.part(new.part);
                new
            });
            if described.sensor != *view.sensor {
                *described = Described::new((*view.sensor).clone());
                described.part = way.part(std::mem::take(&mut described.part));
            }
            let reading = match &view.reading {
                Ok(reading) => Ok(reading.clone()),
                Err(Why::Said(unknown)) => Err(*unknown),
                Err(Why::NotYet | Why::Silent) => Err(Unknown::NoAnswer),
            };
            let limits = &view.limits;
            let mut fields = described.fields(&way.name, &reading, limits);
            if view.sensor.kind == kinds::POWER_SUPPLY {
                fields.push(("supplies", Value::Number(supplies as f64)));
            }
            look(&fields);
        }
        let part = format!("bmc/{}", way.name);
        look(&self.of_the_bmc(&part, pass));
        let counters = context.counters(&self.id);
        Counters::add(&counters.observations, found.observations);
        if pass.answers.is_ok() {
            counters.succeeded(now);
        }
        if self.anew_at.is_some_and(|at| clock::boot() >= at) {
            self.anew_at = None;
            self.anew = true;
        }
        let events = self.told.changes(found, std::mem::take(&mut self.anew));
        Counters::add(&counters.matches, events.len() as u64);
        if !events.is_empty() {
            context.send(&self.id, events, None)?;
        }
        Ok(())
    }

    /// Whether it may be the address that is wrong: nobody has ever answered
    /// there. The kernel has no device without a BMC; a file that leads to no
    /// driver is none.
    fn may_be_mistaken(&self, error: &TransportError) -> bool {
        let is_lan = matches!(self.options.way.address, Address::Lan(..));
        !self.ever && (is_lan || error.kind_of_cause() == Some("absent"))
    }

    /// The BMC itself, as a sensor of the health of management: whether it
    /// can be reached. What is ours to set right says nothing of it.
    fn of_the_bmc<'b>(
        &'b self,
        part: &'b str,
        pass: &Pass,
    ) -> Vec<(&'static str, Value<'b>)> {
        let text = |text: &'b str| Value::Text(text.as_bytes());
        let mut fields = vec![
            ("bmc", text(&self.options.way.name)),
            ("id", text("bmc")),
            ("name", text("BMC")),
            ("type", Value::Word("management-health")),
            ("entity", Value::Word("management-module")),
            ("part", text(part)),
        ];
        match &pass.answers {
            Ok(()) => fields.push(("state", Value::Word("none"))),
            Err(error) if error.is_ours() || self.may_be_mistaken(error) => {
                fields.push(("unknown", Value::Word("not-permitted")));
            }
            Err(_) => {
                let state = Value::Word("controller-unavailable");
                fields.push(("state", state));
            }
        }
        fields
    }

    /// What is asked seldom, a little of it at a time.
    fn seldom(
        &mut self,
        link: &mut Link,
        views: &[View],
    ) -> Result<(), TransportError> {
        let (way, now) = (&self.options.way, clock::boot());
        if now >= self.vitals_due {
            self.vitals_due = now.plus(VITALS_EVERY);
            let vitals = vitals::read(link)?;
            way.board.update(&way.name, |bmc| bmc.vitals = vitals);
        }
        let locators = self.monitor.repository().map(|r| &r.locators);
        let places = locators.map_or(Vec::new(), |l| inventory::places(l));
        self.shelves.stock(places);
        self.shelves.watch(views, now);
        if let Some(mut items) = self.shelves.read_some(link)? {
            for item in &mut items {
                item.part = way.part(std::mem::take(&mut item.part));
            }
            let mut is_other = false;
            way.board.update(&way.name, |bmc| {
                is_other = bmc.has_items && *bmc.items != items;
                bmc.items = Arc::new(items);
                bmc.has_items = true;
            });
            if is_other {
                self.anew_at = Some(clock::boot().plus(TAKEN));
            }
        }
        way.board.stock();
        Ok(())
    }
}

/// Why nothing at all can be read, if so: that is no health.
fn all_unknown(views: &[View]) -> Option<String> {
    let why = |view: &View| match view.reading {
        Err(Why::Said(unknown)) => Some(unknown.word()),
        _ => None,
    };
    let first = why(views.first()?)?;
    views.iter().all(|view| why(view).is_some()).then(|| {
        format!("none of its {} sensors can be read: {first}", views.len())
    })
}

/// How many power supplies there are, as far as is known: how many may fail
/// depends on it.
fn supplies(views: &[View]) -> usize {
    let is_there = |view: &&View| {
        let sensor = &view.sensor;
        let told = view.reading.as_ref().ok().map(|r| sensor.presence(r));
        sensor.kind == kinds::POWER_SUPPLY && told != Some(Some(false))
    };
    let parts = views.iter().filter(is_there).map(|v| v.sensor.part());
    let parts: BTreeSet<String> =
        parts.filter(|part| part.starts_with("psu/")).collect();
    parts.len()
}
