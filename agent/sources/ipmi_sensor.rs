//! Source `ipmi-sensor`: how the sensors of a BMC are, and whether it answers
//! at all.
//!
//! This thread is the BMC's poller: what it reads goes to the board, from
//! which metrics and the census take it, so that nobody else waits for a BMC.
//! A BMC that does not answer makes every sensor unknown, which opens and
//! clears nothing; that it does not answer is told as a state of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::states::{Found, Told};
use super::{Context, Counters, End, Failure};
use crate::clock;
use crate::decode::ipmi::entity::Entity;
use crate::decode::ipmi::reading::Unknown;
use crate::decode::ipmi::sensor::Key;
use crate::hash::fnv1a;
use crate::ipmi::inventory::{self, Item, Place};
use crate::ipmi::monitor::{Monitor, Pace, Pass, View, Why};
use crate::ipmi::{Address, Link, TransportError, Way, access, vitals};
use crate::observation::bmc::Described;
use crate::observation::{Observation, Source, Value};
use crate::signal::{Health, SourceId};
use crate::time::Uptime;

/// How often the BMC is asked for its firmware, chassis and power.
const VITALS_EVERY: Duration = Duration::from_secs(60);

/// How often an inventory is read when nothing tells that it has changed.
const INVENTORY_EVERY: Duration = Duration::from_secs(1800);

/// How long reading inventories may take in one pass: each is some dozen
/// commands.
const INVENTORY_BUDGET: Duration = Duration::from_secs(2);

/// After a sensor told that something was put in: its inventory needs a
/// moment to be there.
const SETTLE: Duration = Duration::from_secs(5);

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
    if path.exists() {
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
    /// Whether it ever answered: one that is gone is then a fault.
    ever: bool,
    turns: u64,
    vitals_due: Uptime,
    shelves: Shelves,
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
            ever: false,
            turns: 0,
            vitals_due: Uptime(0),
            shelves: Shelves::default(),
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
        link.with(|link| self.post(link, &pass, &views, took));
        self.tell(&pass, &views, context)?;
        if pass.answers.is_ok() {
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
            bmc.sensors = Arc::clone(views);
            bmc.commands = link.commands;
            bmc.errors.clone_from(&link.errors);
            if let Some(found) = repository {
                bmc.records = (found.records, found.skipped);
                if bmc.known.len() != found.sensors.len() {
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
            Err(error) if context.once => Health::Down(error.to_string()),
            _ => match &pass.trouble {
                Some(why) => Health::Down(why.clone()),
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
            look(&described.fields(&way.name, &reading, &view.limits));
        }
        let part = format!("bmc/{}", way.name);
        look(&self.of_the_bmc(&part, pass));
        let counters = context.counters(&self.id);
        Counters::add(&counters.observations, found.observations);
        if pass.answers.is_ok() {
            counters.succeeded(now);
        }
        let events = self.told.changes(found, std::mem::take(&mut self.anew));
        Counters::add(&counters.matches, events.len() as u64);
        if !events.is_empty() {
            context.send(&self.id, events, None)?;
        }
        Ok(())
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
            Err(error) if error.is_ours() => {
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
            way.board.update(&way.name, |bmc| {
                bmc.items = Arc::new(items);
                bmc.has_items = true;
            });
        }
        way.board.stock();
        Ok(())
    }
}

/// Where inventories are, and what they said.
#[derive(Default)]
struct Shelves {
    all: Vec<Shelf>,
    /// The states by which a part is seen to come or go.
    states: BTreeMap<Key, Option<u16>>,
}

struct Shelf {
    place: Place,
    due: Uptime,
    item: Option<Item>,
}

impl Shelves {
    fn stock(&mut self, places: Vec<Place>) {
        let known = self.all.iter().map(|shelf| &shelf.place);
        if known.eq(places.iter()) {
            return;
        }
        let shelf = |place| Shelf { place, due: Uptime(0), item: None };
        self.all = places.into_iter().map(shelf).collect();
    }

    /// What a sensor tells of its entity has changed: perhaps it is another.
    fn watch(&mut self, views: &[View], now: Uptime) {
        for view in views.iter().filter(|v| !v.sensor.has_thresholds()) {
            let bits = match &view.reading {
                Ok(reading) => Some(reading.bits),
                // Silence is no change.
                Err(Why::Silent | Why::NotYet) => continue,
                Err(Why::Said(_)) => None,
            };
            let before = self.states.insert(view.sensor.key, bits);
            if before.is_some_and(|before| before != bits) {
                self.mark(view.sensor.entity, now.plus(SETTLE));
            }
        }
    }

    fn mark(&mut self, entity: Entity, due: Uptime) {
        for shelf in &mut self.all {
            if shelf.place.entity() == entity {
                shelf.due = shelf.due.min(due);
            }
        }
    }

    /// Reads those that are due, as far as the budget goes; all of them,
    /// once each was read.
    fn read_some(
        &mut self,
        link: &mut Link,
    ) -> Result<Option<Vec<Item>>, TransportError> {
        let began = clock::boot();
        let mut news = self.all.is_empty();
        let mut due: Vec<&mut Shelf> =
            self.all.iter_mut().filter(|s| s.due <= began).collect();
        due.sort_by_key(|shelf| shelf.due);
        for shelf in due {
            shelf.item = Some(shelf.place.read(link)?);
            shelf.due = clock::boot().plus(INVENTORY_EVERY);
            news = true;
            if clock::boot().since(began) >= INVENTORY_BUDGET {
                break;
            }
        }
        let items: Vec<Item> =
            self.all.iter().filter_map(|shelf| shelf.item.clone()).collect();
        // Half an inventory would look like parts that are missing.
        Ok((news && items.len() == self.all.len()).then_some(items))
    }
}
