//! The census of parts: who is there, who is missing, and whether there are
//! as many as there should be.
//!
//! It is taken at the start, every few minutes, and when the kernel says that
//! a device came or went. Its position is the census itself: what was there
//! before a restart or a boot is what a part can be missing against, and it
//! is written down in one transaction with what follows from it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::poll::PollFlags;

use super::states::{Found, Told};
use super::stop::{Woken, wait};
use super::{Context, Counters, End, Failure, uevent};
use crate::clock;
use crate::observation::{Observation, Source, Value};
use crate::parts::census::{Census, Reading};
use crate::parts::host::Labels;
use crate::parts::ids::PartId;
use crate::parts::looker::{Looker, PATIENCE};
use crate::parts::part::{Part, Presence};
use crate::parts::units::Shelf;
use crate::signal::{Event, Position, SourceId};
use crate::time::{BootId, Timestamp};

/// How often it is looked whether there is something to do: another pattern
/// set, a part to forget.
const NAP: Duration = Duration::from_secs(5);

/// A device that appears brings others: its partitions, its interfaces.
const SETTLE: Duration = Duration::from_secs(2);

/// Looks are at least so far apart, however many devices come and go.
const APART: Duration = Duration::from_secs(10);

/// How the census is taken.
#[derive(Clone, Debug)]
pub struct Options {
    /// This boot.
    pub boot: BootId,
    /// How often, if nothing happens.
    pub every: Duration,
    /// How many parts there should be.
    pub expect: BTreeMap<String, u32>,
    /// Whether the kernel can be asked to tell of devices: not of a host
    /// that is a directory.
    pub is_live: bool,
    /// What the ledger's thread asks of this one.
    pub desk: Desk,
    /// Where whoever reads a BMC leaves what it keeps of its units.
    pub shelf: Shelf,
    /// Outlives a restart of the source: a look that hangs is not begun
    /// again beside the first.
    looker: Arc<Mutex<Looker>>,
}

impl Options {
    /// The host below `root`.
    pub fn under(root: &Path, labels: Labels) -> Options {
        let path = super::kmsg::Options::under(root).boot_id;
        let boot = super::kmsg_open::boot_id(&path).unwrap_or_default();
        let shelf = Shelf::default();
        let looker = Looker::new(root, labels).with_units(shelf.clone());
        Options {
            boot: BootId(boot),
            every: Duration::from_secs(300),
            expect: BTreeMap::new(),
            is_live: root == Path::new("/"),
            desk: Desk::default(),
            shelf,
            looker: Arc::new(Mutex::new(looker)),
        }
    }
}

/// What others want of whoever takes the census.
#[derive(Clone, Debug, Default)]
pub struct Desk(Arc<Mutex<Wishes>>);

#[derive(Debug, Default)]
struct Wishes {
    forget: Vec<PartId>,
}

/// More than a person clears before the next look.
const WISHES_MAX: usize = 256;

impl Desk {
    /// Wishes that a part that is gone be forgotten: a person said that it
    /// was taken out.
    pub fn forget(&self, part: PartId) {
        let mut wishes = locked(&self.0);
        if wishes.forget.len() < WISHES_MAX {
            wishes.forget.push(part);
        }
    }

    fn take(&self) -> Wishes {
        std::mem::take(&mut locked(&self.0))
    }

    fn is_empty(&self) -> bool {
        locked(&self.0).forget.is_empty()
    }
}

/// The census that a position holds, for this boot.
pub fn stored(position: &Position, boot: &BootId) -> Option<Census> {
    let census: Census = serde_json::from_str(&position.0).ok()?;
    Some(census.restored(boot))
}

/// Takes the census until told to stop.
///
/// # Errors
/// Looking takes too long.
pub fn run(options: &Options, context: &mut Context) -> Result<End, Failure> {
    let id = SourceId::from("inventory");
    let before = context.positions.get(&id);
    let before = before.and_then(|p| stored(p, &options.boot));
    let mut clerk = Clerk {
        id,
        census: before.unwrap_or_default(),
        told: Told::default(),
        is_first: true,
    };
    let news = match options.is_live && !context.once {
        true => uevent::open(),
        false => None,
    };
    loop {
        let units = options.shelf.version();
        let reading = locked(&options.looker).look(PATIENCE);
        let reading = reading.map_err(Failure)?;
        clerk.take(options, context, reading, false)?;
        if context.once {
            return Ok(End::Stopped);
        }
        let mut due = clock::boot().plus(options.every);
        let apart = clock::boot().plus(APART);
        loop {
            let left = due.since(clock::boot()).min(NAP);
            match watch(&news, context, left) {
                Woken::Stop => return Ok(End::Stopped),
                Woken::Ready => {
                    if news.as_ref().is_some_and(uevent::is_of_interest) {
                        let soon = clock::boot().plus(SETTLE).max(apart);
                        due = due.min(soon);
                    }
                }
                Woken::Timeout => {}
            }
            if context.patterns.refresh() {
                clerk.tell(options, context, true)?;
            }
            let is_due = clock::boot() >= due;
            let other_units = options.shelf.version() != units;
            if !options.desk.is_empty() || other_units || is_due {
                break;
            }
        }
    }
}

fn watch(news: &Option<OwnedFd>, context: &Context, time: Duration) -> Woken {
    let fd = news.as_ref().map(|fd| (fd.as_fd(), PollFlags::POLLIN));
    wait(&context.stop, fd, Some(time))
}

/// Who keeps the census.
struct Clerk {
    id: SourceId,
    census: Census,
    told: Told,
    is_first: bool,
}

impl Clerk {
    /// Makes the next census of what was seen, and tells it.
    fn take(
        &mut self,
        options: &Options,
        context: &mut Context,
        reading: Reading,
        anew: bool,
    ) -> Result<(), Failure> {
        for why in reading.unread.values() {
            tracing::debug!(reason = why, "parts that could not be read");
        }
        let mut next = self.census.after(&options.boot, reading);
        for part in options.desk.take().forget {
            next.forget(&part);
        }
        let is_news = self.is_first || !next.is_same(&self.census);
        self.census = next;
        self.is_first = false;
        if is_news {
            let census = Event::Census(Arc::new(self.census.clone()));
            self.send(options, context, vec![census], anew)
        } else {
            self.tell(options, context, anew)
        }
    }

    /// Tells how the patterns find the census.
    fn tell(
        &mut self,
        options: &Options,
        context: &mut Context,
        anew: bool,
    ) -> Result<(), Failure> {
        self.send(options, context, Vec::new(), anew)
    }

    fn send(
        &mut self,
        options: &Options,
        context: &mut Context,
        mut events: Vec<Event>,
        anew: bool,
    ) -> Result<(), Failure> {
        context.up(&self.id)?;
        options.shelf.hear(&self.census);
        let now = clock::now().wall;
        let has_census = !events.is_empty();
        let found = look(&self.census, options, now, context);
        let counters = context.counters(&self.id);
        Counters::add(&counters.observations, found.observations);
        counters.succeeded(now);
        events.extend(self.told.changes(found, anew));
        let matched = events.len() - usize::from(has_census);
        Counters::add(&counters.matches, matched as u64);
        if !events.is_empty() {
            let position = has_census.then(|| {
                let text = serde_json::to_string(&self.census)
                    .expect("a census has only text keys");
                Position(text)
            });
            context.send(&self.id, events, position)?;
        }
        Ok(())
    }
}

/// How the patterns find the parts that are counted, and the counts.
fn look(
    census: &Census,
    options: &Options,
    now: Timestamp,
    context: &Context,
) -> Found {
    let matcher = &context.patterns.set().matcher;
    let mut found = Found::default();
    for part in census.parts().filter(|part| part.watched) {
        let identity = part.identity();
        let name = census.shown(part);
        let fields = fields(part, &identity, &name);
        found.look(matcher, &observation(now, &fields));
    }
    for (what, expected) in &options.expect {
        let there = census.count(what);
        let lacking = f64::from(*expected) - there as f64;
        let fields = [
            ("kind", Value::Word("count")),
            ("of", Value::Text(what.as_bytes())),
            ("expected", Value::Number(f64::from(*expected))),
            ("found", Value::Number(there as f64)),
            ("lacking", Value::Number(lacking.max(0.0))),
        ];
        found.look(matcher, &observation(now, &fields));
    }
    found
}

fn observation<'a>(
    now: Timestamp,
    fields: &'a [(&'static str, Value<'a>)],
) -> Observation<'a> {
    Observation {
        patterns: Source::Inventory,
        time: now,
        approximate: false,
        injected: false,
        fields,
    }
}

/// The kinds of parts, as patterns name them.
const KINDS: [&str; 11] = [
    "dimm", "cpu", "disk", "nvme", "nic", "gpu", "hba", "pci", "psu", "fan",
    "bay",
];

fn fields<'a>(
    part: &'a Part,
    identity: &'a PartId,
    name: &'a PartId,
) -> Vec<(&'static str, Value<'a>)> {
    let kind = match part.counts_as("nvme") {
        true => "nvme",
        false => part.name.kind(),
    };
    let known = KINDS.iter().find(|k| **k == kind);
    let text = |id: &'a PartId| Value::Text(id.as_str().as_bytes());
    let mut fields = vec![
        ("kind", Value::Word(known.unwrap_or(&"other"))),
        ("part", text(identity)),
        ("name", text(name)),
        ("attachment", Value::Word(part.attachment.word())),
    ];
    for (field, value) in [
        ("place", &part.place),
        ("model", &part.model),
        ("serial", &part.serial),
        ("firmware", &part.firmware),
    ] {
        if let Some(value) = value {
            fields.push((field, Value::Text(value.as_bytes())));
        }
    }
    // What could not be read is neither there nor missing.
    if part.presence != Presence::Unknown {
        let present = part.presence == Presence::Present;
        fields.push(("present", Value::Flag(present)));
    }
    fields
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
