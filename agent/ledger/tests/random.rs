//! Random lives. Two worlds get the same inputs; one of them is restarted
//! now and then, through what the store would hold. They must stay alike.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::ledger::fault::{Fault, FaultKey, Phase};
use crate::ledger::testing::*;
use crate::observation::Source;
use crate::parts::ids::PartId;
use crate::patterns::set::{Pattern, Proof, Quarantine, Severity, SubKey};
use crate::patterns::template::Template;
use crate::signal::{Effect, Truth};

const NAMES: [&str; 9] =
    ["bad", "ce", "lba", "page", "cause", "symptom", "twin", "ue", "hist"];
const PARTS: [&str; 5] =
    ["disk/sda", "disk/sda1", "disk/sdb", "fs/sda1", "memory/mc0"];

#[derive(Clone, Debug)]
enum Op {
    See { name: usize, part: usize, count: u64, value: u8, drill: bool },
    History { part: usize, text: u8 },
    Evidence { name: usize, part: usize },
    Suppressed { name: usize, count: u64 },
    Prove { name: usize, part: usize, i: u8 },
    State { part: usize, truth: Truth },
    Health { up: bool },
    Pass { seconds: u64 },
    Clear { name: usize, part: usize, replaced: bool },
    Reload { changed: bool },
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let (name, part) = (0..NAMES.len(), 0..PARTS.len());
    let truth = prop_oneof![
        Just(Truth::True),
        Just(Truth::False),
        Just(Truth::Unknown)
    ];
    let time = prop_oneof![0..10u64, 10..600u64, 600..100_000u64];
    let drill = prop::bool::weighted(0.1);
    prop_oneof![
        10 => (name.clone(), part.clone(), 1..4u64, 0..4u8, drill).prop_map(
            |(name, part, count, value, drill)| Op::See {
                name, part, count, value, drill
            }
        ),
        1 => (part.clone(), 0..3u8)
            .prop_map(|(part, text)| Op::History { part, text }),
        1 => (name.clone(), part.clone())
            .prop_map(|(name, part)| Op::Evidence { name, part }),
        1 => (name.clone(), 1..20u64)
            .prop_map(|(name, count)| Op::Suppressed { name, count }),
        3 => (name.clone(), part.clone(), 0..3u8)
            .prop_map(|(name, part, i)| Op::Prove { name, part, i }),
        3 => (part.clone(), truth)
            .prop_map(|(part, truth)| Op::State { part, truth }),
        1 => any::<bool>().prop_map(|up| Op::Health { up }),
        6 => time.prop_map(|seconds| Op::Pass { seconds }),
        1 => (name, part, any::<bool>()).prop_map(
            |(name, part, replaced)| Op::Clear { name, part, replaced }
        ),
        1 => any::<bool>().prop_map(|changed| Op::Reload { changed }),
        3 => Just(Op::Restart),
    ]
}

fn patterns(changed: bool) -> Vec<Pattern> {
    let clear = vec![
        Proof::Quiet(time("1h")),
        recovered("10m"),
        recovered("0s"),
        Proof::Replaced,
    ];
    let base = |name| Pattern { clear: clear.clone(), ..pattern(name) };
    let tolerant =
        |name, n| Pattern { tolerate: tolerate(n, "1h"), ..base(name) };
    let mut lasting = escalation(Severity::Fatal);
    lasting.when.lasting = Some(time("30m"));
    let mut several = escalation(Severity::Fatal);
    several.when.parts = Some(2);
    several.quarantine = Some(Quarantine::Taint);
    let mut parent = escalation(Severity::Fatal);
    parent.on_parent = true;
    parent.when.parts = Some(2);
    parent.when.under = Some(Template::default());
    let mut once = tolerant("ce", 2);
    once.tolerate = once.tolerate.map(|mut t| {
        t.once_per = Some(time("10s"));
        t
    });
    let mut all = vec![
        Pattern { escalate: vec![lasting, several], ..base("bad") },
        once,
        Pattern {
            sub_key: SubKey::Same(Template::default()),
            ..tolerant("lba", 1)
        },
        Pattern {
            sub_key: SubKey::Distinct(Template::default()),
            ..tolerant("page", 2)
        },
        Pattern {
            suppresses: vec!["symptom".into(), "twin".into()],
            ..base("cause")
        },
        tolerant("symptom", 1),
        Pattern { suppresses: vec!["cause".into()], ..base("twin") },
        Pattern { escalate: vec![parent], ..base("ue") },
        Pattern { history: true, ..base("hist") },
        Pattern {
            source: Source::Mount,
            lasting: time("30s"),
            suppresses: vec!["symptom".into()],
            clear: vec![Proof::Normal(time("2m")), recovered("0s")],
            ..pattern("ro")
        },
    ];
    if changed {
        all.retain(|p| &*p.name != "twin");
        all[0].severity = Severity::Warning;
        all[0].clear.remove(0);
        all[1].tolerate = tolerate(1, "30m");
        all[4].suppresses.clear();
    }
    all
}

/// A world, with what sources last told and what the store was given.
struct Life {
    world: World,
    states: BTreeMap<usize, Truth>,
    up: bool,
    stored: BTreeMap<FaultKey, Fault>,
    /// The errors told of each fault that is still known.
    seen: BTreeMap<FaultKey, u64>,
}

impl Life {
    fn new() -> Life {
        let world = World::new(patterns(false));
        let (states, stored) = (BTreeMap::new(), BTreeMap::new());
        let seen = BTreeMap::new();
        Life { world, states, up: true, stored, seen }
    }

    fn apply(&mut self, op: &Op, restarts: bool) {
        let w = &mut self.world;
        match op {
            Op::See { name, part, count, value, drill } => {
                let key = key(NAMES[*name], PARTS[*part]);
                *self.seen.entry(key).or_default() += count;
                w.see_with(NAMES[*name], PARTS[*part], |s| {
                    s.count = *count;
                    s.value = Some(value.to_string());
                    s.injected = *drill;
                    s.parents = vec![Some(PartId::new("memory/mc0"))];
                });
            }
            Op::History { part, text } => {
                w.see_with("hist", PARTS[*part], |s| {
                    s.effect = Effect::History;
                    s.text = text.to_string();
                });
            }
            Op::Evidence { name, part } => {
                w.see_with(NAMES[*name], PARTS[*part], |s| {
                    s.effect = Effect::Evidence;
                });
            }
            Op::Suppressed { name, count } => {
                w.suppressed(NAMES[*name], *count);
            }
            Op::Prove { name, part, i } => {
                w.prove(NAMES[*name], PARTS[*part], *i);
            }
            Op::State { part, truth } => {
                self.states.insert(*part, *truth);
                w.state("ro", PARTS[*part], *truth);
            }
            Op::Health { up } => {
                self.up = *up;
                w.health("kmsg", *up);
            }
            Op::Pass { seconds } => {
                w.pass_for(std::time::Duration::from_secs(*seconds));
            }
            Op::Clear { name, part, replaced } => {
                let what = format!("{} {}", NAMES[*name], PARTS[*part]);
                w.clear(&what, *replaced);
            }
            Op::Reload { changed } => {
                w.reload(patterns(*changed));
                self.tell_again();
            }
            Op::Restart => {
                if restarts {
                    w.restart();
                }
                self.tell_again();
            }
        }
        self.store();
        self.forget();
    }

    /// What sources do after a start or a reload.
    fn tell_again(&mut self) {
        self.world.health("kmsg", self.up);
        for (part, truth) in &self.states {
            self.world.state("ro", PARTS[*part], *truth);
        }
    }

    fn store(&mut self) {
        for (key, row) in self.world.ledger.take_dirty(self.world.now) {
            match row {
                Some(fault) => self.stored.insert(key, fault),
                None => self.stored.remove(&key),
            };
        }
    }

    /// Forgets what the ledger has forgotten.
    fn forget(&mut self) {
        let ledger = &self.world.ledger;
        self.seen.retain(|key, _| ledger.get(key).is_some());
    }

    fn faults(&self) -> Vec<Fault> {
        let now = self.world.now.boot;
        self.world.ledger.faults().map(|f| f.at(now)).collect()
    }
}

/// A fault without its stopwatches, which the store has up to five minutes
/// late.
fn timeless(fault: &Fault) -> Fault {
    let mut fault = fault.clone();
    fault.proofs.iter_mut().for_each(|w| w.reset());
    fault.probation.iter_mut().for_each(|w| w.reset());
    fault.held.reset();
    fault.active.reset();
    fault.settling.reset();
    fault
}

fn check(life: &Life) -> Result<(), TestCaseError> {
    let faults = life.faults();
    prop_assert!(faults.len() <= (NAMES.len() + 1) * PARTS.len());
    for fault in &faults {
        let is = |phase| fault.phase == phase;
        prop_assert!(!is(Phase::Withdrawn));
        prop_assert!(!is(Phase::Cleared) || fault.proof.is_some());
        prop_assert!(!fault.phase.is_raised() || fault.count > 0);
        prop_assert!(!fault.phase.is_raised() || fault.opened.is_some());
        prop_assert!(!fault.filed || !fault.children.is_empty());
        prop_assert_eq!(is(Phase::Recovering), {
            fault.phase.is_raised() && !fault.begun.is_empty()
        });
        prop_assert!(fault.last.len() <= 8);
        prop_assert!(fault.window.counted.len() <= 3);
        prop_assert_eq!(fault.proofs.len(), fault.clear.len());
        if is(Phase::Explained) {
            let by = fault.explained_by.as_ref().unwrap();
            let cause = life.world.ledger.get(by);
            let holds =
                |f: &Fault| f.phase.is_raised() || f.phase == Phase::Explained;
            prop_assert!(cause.is_some_and(holds));
        }
    }
    for (key, seen) in &life.seen {
        let total = life.world.ledger.get(key).map_or(0, |f| f.total);
        prop_assert!(total >= *seen, "{}: lost counts", key);
    }
    let stored: Vec<Fault> = life.stored.values().map(timeless).collect();
    let kept: Vec<Fault> = faults.iter().map(timeless).collect();
    prop_assert_eq!(stored, kept, "the store was not told of a change");
    let due = life.world.ledger.next_deadline();
    let now = life.world.now.boot;
    prop_assert!(due.is_none_or(|due| due >= now));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_restart_at_any_point_changes_nothing(
        ops in prop::collection::vec(op(), 1..60)
    ) {
        let (mut steady, mut restarted) = (Life::new(), Life::new());
        for op in &ops {
            steady.apply(op, false);
            restarted.apply(op, true);
            check(&steady)?;
            check(&restarted)?;
            prop_assert_eq!(steady.faults(), restarted.faults());
            prop_assert_eq!(
                steady.world.told(),
                restarted.world.told()
            );
        }
    }
}
