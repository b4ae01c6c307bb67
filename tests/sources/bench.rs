//! A running source whose messages a test awaits.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use faultline::patterns::compile::compile;
use faultline::patterns::parse::{SourceFile, parse};
use faultline::patterns::set::PatternSet;
use faultline::queue::Message;
use faultline::signal::{Event, Health, Position, Signal, SourceId};
use faultline::sources::{
    PatternsCell, Running, Setup, Shared, Stats, Stop, Unexplained, start,
};

/// Longer than anything takes here; a test that waits so long has failed.
const LIMIT: Duration = Duration::from_secs(20);

pub struct Bench {
    pub shared: Shared,
    pub messages: Receiver<Message>,
    running: Running,
    positions: RefCell<BTreeMap<SourceId, Position>>,
}

impl Bench {
    pub fn new(setup: Setup) -> Bench {
        Bench::with(setup, BTreeMap::new(), false)
    }

    pub fn with(
        setup: Setup,
        positions: BTreeMap<SourceId, Position>,
        once: bool,
    ) -> Bench {
        Bench::of(patterns(), setup, positions, once)
    }

    pub fn of(
        set: PatternSet,
        setup: Setup,
        positions: BTreeMap<SourceId, Position>,
        once: bool,
    ) -> Bench {
        let (sender, messages) = sync_channel(10_000);
        let shared = Shared {
            queue: sender,
            patterns: Arc::new(PatternsCell::new(Arc::new(set))),
            stats: Arc::new(Stats::default()),
            unexplained: Arc::new(Unexplained::default()),
            stop: Stop::new().unwrap(),
            committed: None,
            once,
        };
        let running = start(vec![setup], &shared, &positions).unwrap();
        let positions = RefCell::default();
        Bench { shared, messages, running, positions }
    }

    fn next(&self) -> Message {
        let next = self.messages.recv_timeout(LIMIT);
        let next = next.expect("the source says something");
        note(&self.positions, &next);
        next
    }

    /// Waits until one of its instances has made so many observations. Each
    /// is followed by a position within a second.
    pub fn until_observed(&self, id: &str, count: u64) {
        while self.observed(id) < count {
            self.next();
        }
        assert_eq!(self.observed(id), count, "{id}");
    }

    /// Takes messages until `is` holds.
    pub fn until(&self, is: impl Fn() -> bool) {
        while !is() {
            self.next();
        }
    }

    pub fn until_position(&self, id: &str) -> Position {
        loop {
            if let Message::Batch(batch) = self.next()
                && &*batch.id == id
                && let Some(position) = batch.position
            {
                return position;
            }
        }
    }

    /// Waits for the next match.
    pub fn until_match(&self) -> Signal {
        loop {
            let Message::Batch(batch) = self.next() else { continue };
            assert!(batch.events.len() <= 1, "{:?}", batch.events);
            if let Some(Event::Match(signal)) = batch.events.first() {
                return signal.clone();
            }
        }
    }

    /// All events of the next batch that has any.
    pub fn until_events(&self) -> Vec<Event> {
        loop {
            if let Message::Batch(batch) = self.next()
                && !batch.events.is_empty()
            {
                return batch.events;
            }
        }
    }

    pub fn until_health(&self, id: &str, is: impl Fn(&Health) -> bool) {
        loop {
            if let Message::Health(of, health) = self.next()
                && &*of == id
                && is(&health)
            {
                return;
            }
        }
    }

    pub fn until_gone(&self, id: &str) {
        while !matches!(self.next(), Message::Gone(of) if &*of == id) {}
    }

    pub fn lost(&self, id: &str) -> u64 {
        let counters = self.shared.stats.of(&SourceId::from(id));
        counters.lost.load(Relaxed)
    }

    pub fn observed(&self, id: &str) -> u64 {
        let counters = self.shared.stats.of(&SourceId::from(id));
        counters.observations.load(Relaxed)
    }

    pub fn invalid(&self, id: &str) -> u64 {
        let counters = self.shared.stats.of(&SourceId::from(id));
        counters.invalid.load(Relaxed)
    }

    /// Stops the source and gives the last positions it sent.
    pub fn stop(self) -> BTreeMap<SourceId, Position> {
        self.running.stop();
        assert_eq!(self.running.join(Some(LIMIT)), Vec::<SourceId>::new());
        for message in self.messages.try_iter() {
            note(&self.positions, &message);
        }
        self.positions.take()
    }
}

fn note(positions: &RefCell<BTreeMap<SourceId, Position>>, message: &Message) {
    if let Message::Batch(batch) = message
        && let Some(position) = &batch.position
    {
        let id = Arc::clone(&batch.id);
        positions.borrow_mut().insert(id, position.clone());
    }
}

pub fn append(path: &Path, text: &str) {
    let file = File::options().create(true).append(true).open(path);
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

/// A set of one pattern on kernel text, `disk-broken`, and one each on files
/// and the journal.
pub fn patterns() -> PatternSet {
    let one = |name: &str, source: &str, message: &str| {
        format!(
            "  - name: {name}\n    summary: broken\n    severity: error\n    \
             source: {source}\n    where: {{ message: '{message}' }}\n    \
             part: 'disk/{{disk}}'\n    clear: [replaced]\n    \
             advice: replace it\n    examples:\n      \
             - {{ line: 'disk sda: broken', gives: {{ part: disk/sda }} }}\n      \
             - {{ line: 'disk fine', gives: nothing }}\n"
        )
    };
    let regex = r"^disk (?<disk>[a-z]+): broken";
    let text = format!(
        "version: 1\ncomponent: disk\npatterns:\n{}{}{}",
        one("disk-broken", "kmsg", regex),
        one("disk-broken-file", "file", regex),
        one("disk-broken-journal", "journal", regex),
    );
    set_of(&text)
}

/// The set of one pattern file.
pub fn set_of(text: &str) -> PatternSet {
    let source = SourceFile {
        name: "test.yaml".into(),
        text: text.as_bytes().to_vec(),
        builtin: false,
    };
    let file = parse(&source).unwrap_or_else(|d| panic!("{d}"));
    let (set, _) = compile(&[file]).unwrap_or_else(|found| {
        let all: Vec<String> = found.iter().map(|d| d.to_string()).collect();
        panic!("{}", all.join("\n"))
    });
    set
}
