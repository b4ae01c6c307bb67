//! What the ledger's tests are written with: patterns made of defaults, and
//! a world with a virtual clock that ticks whenever the ledger asks for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::fault::{Fault, FaultKey, Phase};
use super::{Change, Command, Input, Ledger, Options};
use crate::observation::Source;
use crate::parts::ids::PartId;
use crate::patterns::matcher::Matcher;
use crate::patterns::set::{
    Escalation, Pattern, PatternSet, Proof, Quarantine, Severity, Stage,
    SubKey, Tolerance,
};
use crate::patterns::template::Template;
use crate::signal::{Batch, Effect, Event, Health, Signal, SourceId, Truth};
use crate::time::{BootId, Now, Timestamp, Uptime, parse_duration};

/// 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600_000_000;

pub fn time(text: &str) -> Duration {
    parse_duration(text).unwrap()
}

pub fn pattern(name: &str) -> Pattern {
    Pattern {
        name: name.into(),
        component: "disk".into(),
        summary: Template::parse("{count} errors").unwrap(),
        severity: Severity::Error,
        source: Source::Kmsg,
        part: Vec::new(),
        suspects: Vec::new(),
        tolerate: None,
        sub_key: SubKey::None,
        lasting: Duration::ZERO,
        clear: vec![Proof::Quiet(time("1h"))],
        probation: time("7d"),
        escalate: Vec::new(),
        suppresses: Vec::new(),
        yields: Vec::new(),
        suppressible: false,
        settle: time("5s"),
        history: false,
        benign: false,
        fallback: false,
        condition: "DiskFault".into(),
        quarantine: Quarantine::None,
        stage: Stage::Enforce,
        rollout: 100,
        advice: Template::parse("replace it").unwrap(),
        runbook: None,
        file: "test.yaml".into(),
        hash: 0,
        seen: Arc::default(),
        component_seen: Arc::default(),
        expected: Arc::default(),
    }
}

pub fn tolerate(count: u64, window: &str) -> Option<Tolerance> {
    Some(Tolerance { count, window: time(window), once_per: None })
}

pub fn recovered(hold: &str) -> Proof {
    Proof::Recovered { hold: time(hold) }
}

pub fn escalation(severity: Severity) -> Escalation {
    Escalation {
        when: Default::default(),
        severity: Some(severity),
        quarantine: None,
        on_parent: false,
    }
}

/// Checks patterns into a set: relates symptoms to causes and hashes them.
pub fn set(patterns: Vec<Pattern>) -> Arc<PatternSet> {
    let symptoms: Vec<Arc<str>> =
        patterns.iter().flat_map(|p| p.suppresses.clone()).collect();
    let checked = |mut p: Pattern| {
        p.suppressible = symptoms.contains(&p.name);
        p.hash = 0;
        p.hash = crate::hash::fnv1a(format!("{p:?}").as_bytes());
        (p.name.clone(), Arc::new(p))
    };
    let patterns: BTreeMap<_, _> = patterns.into_iter().map(checked).collect();
    let matcher = Matcher::default();
    Arc::new(PatternSet { patterns, matcher, hash: 0, incomplete: false })
}

pub fn key(name: &str, part: &str) -> FaultKey {
    FaultKey { pattern: name.into(), part: PartId::new(part) }
}

pub struct World {
    pub ledger: Ledger,
    pub now: Now,
    pub changes: Vec<Change>,
    pub boot: u32,
}

impl World {
    /// A ledger with these patterns and the source `kmsg` up.
    pub fn new(patterns: Vec<Pattern>) -> World {
        let now = Now { wall: Timestamp(START), boot: Uptime(60_000_000) };
        let ledger = Ledger::new(set(patterns), options(1));
        let mut world = World { ledger, now, changes: Vec::new(), boot: 1 };
        world.health("kmsg", true);
        world
    }

    pub fn input(&mut self, input: Input) {
        let changes = self.ledger.step(self.now, input);
        self.changes.extend(changes);
    }

    /// Lets time pass, with a tick whenever the ledger asks for one.
    pub fn pass(&mut self, how_long: &str) {
        self.pass_for(time(how_long));
    }

    pub fn pass_for(&mut self, how_long: Duration) {
        let end = self.now.plus(how_long);
        while let Some(due) = self.ledger.next_deadline()
            && due <= end.boot
        {
            let ahead = due.since(self.now.boot);
            self.now = self.now.plus(ahead);
            self.input(Input::Tick);
            let next = self.ledger.next_deadline();
            assert!(
                next.is_none_or(|next| next > self.now.boot),
                "due at {:?} after a tick at {:?}",
                next,
                self.now.boot
            );
        }
        self.now = end;
    }

    pub fn health(&mut self, source: &str, up: bool) {
        let health = if up { Health::Up } else { Health::Down("gone".into()) };
        self.input(Input::Health(source.into(), health));
    }

    pub fn events(&mut self, events: Vec<Event>) {
        self.events_of("kmsg", events);
    }

    pub fn events_of(&mut self, source: &str, events: Vec<Event>) {
        let id: SourceId = source.into();
        let source = Source::Kmsg;
        let batch = Batch { source, id, events, position: None };
        self.input(Input::Batch(batch));
    }

    pub fn signal(&self, name: &str, part: &str) -> Signal {
        Signal {
            text: format!("{name} on {part}"),
            ..Signal::opening(name, part, self.now.wall)
        }
    }

    /// One observation, now.
    pub fn see(&mut self, name: &str, part: &str) {
        let signal = self.signal(name, part);
        self.events(vec![Event::Match(signal)]);
    }

    pub fn see_with(
        &mut self,
        name: &str,
        part: &str,
        change: impl FnOnce(&mut Signal),
    ) {
        let mut signal = self.signal(name, part);
        change(&mut signal);
        self.events(vec![Event::Match(signal)]);
    }

    pub fn prove(&mut self, name: &str, part: &str, i: u8) {
        self.see_with(name, part, |s| s.effect = Effect::Proof(i));
    }

    pub fn state(&mut self, name: &str, part: &str, truth: Truth) {
        let signal = self.signal(name, part);
        self.events(vec![Event::State(signal, truth)]);
    }

    pub fn suppressed(&mut self, name: &str, count: u64) {
        self.suppressed_of(&[name], count);
    }

    pub fn suppressed_of(&mut self, names: &[&str], count: u64) {
        let patterns = names.iter().map(|name| (*name).into()).collect();
        let (text, time) =
            (format!("{count} callbacks suppressed"), self.now.wall);
        let event = Event::Suppressed { patterns, count, time, text };
        self.events(vec![event]);
    }

    pub fn clear(&mut self, what: &str, replaced: bool) -> String {
        let command = Command::Clear {
            fault: what.into(),
            by: "alice".into(),
            why: "checked".into(),
            replaced,
            force: false,
        };
        match self.ledger.clear(self.now, command) {
            Ok((changes, answer)) => {
                self.changes.extend(changes);
                answer
            }
            Err(error) => format!("error: {error}"),
        }
    }

    /// A set with these, of which a file could not be loaded.
    pub fn reload_some(&mut self, patterns: Vec<Pattern>) {
        let mut set = set(patterns);
        let part = Arc::get_mut(&mut set).expect("nobody else has it");
        part.incomplete = true;
        self.input(Input::Patterns(set));
    }

    pub fn reload(&mut self, patterns: Vec<Pattern>) {
        self.input(Input::Patterns(set(patterns)));
    }

    /// The agent ends and starts again, in the same boot, at the same
    /// instant; the sources come up again.
    pub fn restart(&mut self) {
        let stored: Vec<Fault> =
            self.ledger.faults().map(|f| f.at(self.now.boot)).collect();
        let json = serde_json::to_string(&stored).unwrap();
        let faults: Vec<Fault> = serde_json::from_str(&json).unwrap();
        let set = self.ledger.patterns().clone();
        self.ledger = Ledger::new(set, options(self.boot));
        self.ledger.restore(self.now, faults);
        self.input(Input::Tick);
    }

    /// The machine boots again: another boot clock, the same faults.
    pub fn reboot(&mut self) {
        self.boot += 1;
        let stored: Vec<Fault> =
            self.ledger.faults().map(|f| f.at(self.now.boot)).collect();
        let set = self.ledger.patterns().clone();
        self.ledger = Ledger::new(set, options(self.boot));
        self.now.boot = Uptime(10_000_000);
        self.ledger.restore(self.now, stored);
        self.health("kmsg", true);
    }

    pub fn fault(&self, name: &str, part: &str) -> &Fault {
        let key = key(name, part);
        self.ledger.get(&key).unwrap_or_else(|| panic!("no fault {key}"))
    }

    pub fn phase(&self, name: &str, part: &str) -> Option<Phase> {
        self.ledger.get(&key(name, part)).map(|fault| fault.phase)
    }

    /// The changes since the last call, as `word pattern part`.
    pub fn told(&mut self) -> Vec<String> {
        let word = |c: &Change| format!("{} {}", c.kind.word(), c.fault.key);
        std::mem::take(&mut self.changes).iter().map(word).collect()
    }
}

pub fn options(boot: u32) -> Options {
    Options {
        node: "node-1".into(),
        boot: BootId(format!("boot-{boot}")),
        mode: Stage::Enforce,
    }
}
