//! What a driver knows after patches that conflict.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use serde_json::json;

use super::super::Memory;
use super::super::tests::{at, want};
use super::*;
use crate::sinks::kubernetes::budget::limits::LIMITS;
use crate::sinks::kubernetes::cluster::{Answer, Dated, Lease, Row};

/// One Node and a Lease; the next patches of the Node conflict.
struct Small {
    node: RefCell<Node>,
    lease: RefCell<Lease>,
    conflicts: Cell<u32>,
}

fn answer<T>(value: T) -> Answer<T> {
    Ok(Dated { date: at(0).wall, value })
}

impl Small {
    fn new() -> Small {
        let node = |name: &str| {
            let value = json!({
                "metadata": { "name": name, "uid": name,
                              "resourceVersion": "5" },
                "status": { "conditions": [
                    { "type": "Ready", "status": "True" }] },
            });
            serde_json::from_value(value).unwrap()
        };
        let limits = "cluster: { nodes: 1, allowLast: true }";
        let lease = json!({ "metadata": { "resourceVersion": "1",
                                          "annotations": { LIMITS: limits } },
        });
        Small {
            node: RefCell::new(node("n")),
            lease: RefCell::new(Lease(lease)),
            conflicts: Cell::new(0),
        }
    }
}

impl Cluster for Small {
    async fn own_node(&self) -> Answer<Node> {
        answer(self.node.borrow().clone())
    }

    async fn patch_node(&self, body: &Value) -> Answer<Node> {
        let mut node = self.node.borrow_mut();
        let version: u64 = node.metadata.resource_version.parse().unwrap();
        node.metadata.resource_version = (version + 1).to_string();
        let left = self.conflicts.get();
        if left > 0 {
            // Somebody else was faster.
            self.conflicts.set(left - 1);
            return Err(ApiError::Conflict);
        }
        let meta = &mut node.metadata;
        for (map, key) in [
            (&mut meta.labels, "labels"),
            (&mut meta.annotations, "annotations"),
        ] {
            let changes = body["metadata"][key].as_object();
            for (key, value) in changes.into_iter().flatten() {
                match value.as_str() {
                    Some(text) => map.insert(key.clone(), text.to_owned()),
                    None => map.remove(key),
                };
            }
        }
        if let Some(taints) = body["spec"]["taints"].as_array() {
            node.spec.taints.clone_from(taints);
        }
        answer(node.clone())
    }

    async fn lease(&self) -> Answer<Lease> {
        answer(self.lease.borrow().clone())
    }

    async fn put_lease(&self, lease: &Lease) -> Answer<Lease> {
        *self.lease.borrow_mut() = lease.clone();
        answer(lease.clone())
    }

    async fn nodes(&self, pool: Option<&str>) -> Answer<Vec<Arc<Row>>> {
        answer(vec![Arc::new(self.node.borrow().row(pool))])
    }
}

struct Nowhere;

impl Keep for Nowhere {
    fn keep(&self, _: &Memory, _: &[Told]) {}

    async fn settle(&self) {}
}

#[tokio::test]
async fn only_a_conflict_of_its_own_patch_makes_a_grant_unused() {
    let cluster = Small::new();
    let rules = Rules { release_after: Duration::ZERO, ..Rules::default() };
    let mut driver = Driver::new(rules, Memory::default(), 1);
    let want = want(Quarantine::Taint);
    // One step: the grant is entered, and its patch comes too late.
    cluster.conflicts.set(1);
    let turn = driver.turn(&cluster, None, Some(&want), at(0), &Nowhere).await;
    // The next grant came to something.
    assert!(matches!(turn.standing, Standing::Quarantined(_)), "{turn:?}");
    assert!(!driver.unused);
    cluster.conflicts.set(u32::MAX);
    // Its release meets a kubelet each time: the grant was used all the same.
    driver.turn(&cluster, None, None, at(60), &Nowhere).await;
    assert!(!driver.unused);
    // A grant whose patches all conflict was not.
    let cluster = Small::new();
    cluster.conflicts.set(u32::MAX);
    let mut driver = Driver::new(rules, Memory::default(), 1);
    driver.turn(&cluster, None, Some(&want), at(0), &Nowhere).await;
    assert!(driver.unused);
}

#[tokio::test]
async fn a_note_that_an_earlier_life_could_not_tell_of_is_told_once() {
    let cluster = Small::new();
    let rules = Rules::default();
    let want = want(Quarantine::Taint);
    let mut first = Driver::new(rules, Memory::default(), 1);
    first.turn(&cluster, None, Some(&want), at(0), &Nowhere).await;
    let memory = first.memory().clone();
    cluster.node.borrow_mut().spec.taints.clear();
    let told = |turn: &Turn| {
        let is = |told: &Told| matches!(told, Told::Overridden(_));
        turn.told.iter().filter(|told| is(told)).count()
    };
    let turn = first.turn(&cluster, None, Some(&want), at(60), &Nowhere).await;
    assert_eq!(told(&turn), 1);
    let turn = first.turn(&cluster, None, Some(&want), at(61), &Nowhere).await;
    assert_eq!(told(&turn), 0);
    // As if it had ended after the patch.
    let mut second = Driver::new(rules, memory, 1);
    let turn = second.turn(&cluster, None, Some(&want), at(62), &Nowhere).await;
    assert!(matches!(turn.standing, Standing::Overridden(_)), "{turn:?}");
    assert_eq!(told(&turn), 1);
    let turn = second.turn(&cluster, None, Some(&want), at(63), &Nowhere).await;
    assert_eq!(told(&turn), 0);
}

#[tokio::test]
async fn a_mark_and_a_release_that_an_earlier_life_could_not_tell_of_are_told()
{
    let cluster = Small::new();
    let rules = Rules { release_after: Duration::ZERO, ..Rules::default() };
    let want = want(Quarantine::Taint);
    let uid = cluster.node.borrow().metadata.uid.clone();
    let mut memory = Memory { uid, ..Memory::default() };
    for (want, word) in [(Some(&want), "Quarantined"), (None, "Released")] {
        // It ends when the patch is made, and before it hears of that.
        let mut first = Driver::new(rules, memory.clone(), 1);
        let turn = first.turn(&cluster, None, want, at(0), &Nowhere).await;
        assert!(turn.told.iter().all(|told| is(told, word)), "{turn:?}");
        if want.is_none() {
            // What it waited for, until it was on the disk.
            let version = memory.marked_at.clone();
            memory.releasing = version;
            memory.why = Some(Why::Over);
        }
        let mut second = Driver::new(rules, memory, 1);
        let turn = second.turn(&cluster, None, want, at(1), &Nowhere).await;
        assert!(is(&turn.told[0], word), "{turn:?}");
        assert_eq!(turn.told.len(), 1);
        let turn = second.turn(&cluster, None, want, at(2), &Nowhere).await;
        assert!(turn.told.is_empty(), "{turn:?}");
        memory = second.memory().clone();
    }
}

fn is(told: &Told, word: &str) -> bool {
    format!("{told:?}").starts_with(word)
}

/// Counts how often it was waited for.
#[derive(Default)]
struct Waited(Cell<u32>);

impl Keep for Waited {
    fn keep(&self, _: &Memory, _: &[Told]) {}

    async fn settle(&self) {
        self.0.set(self.0.get() + 1);
    }
}

#[tokio::test]
async fn a_first_mark_waits_for_no_disk_and_one_right_after_a_release_does() {
    let cluster = Small::new();
    let rules = Rules { release_after: Duration::ZERO, ..Rules::default() };
    let mut driver = Driver::new(rules, Memory::default(), 1);
    let (want, disk) = (want(Quarantine::Taint), Waited::default());
    let mut waits = Vec::new();
    for (want, seconds) in [
        (Some(&want), 0),
        (None, 60),
        // Nobody would be told of the release before it.
        (Some(&want), 61),
        (None, 120),
        (Some(&want), 180),
    ] {
        driver.turn(&cluster, None, want, at(seconds), &disk).await;
        waits.push(disk.0.take());
    }
    assert_eq!(waits, [0, 1, 1, 1, 0]);
}
