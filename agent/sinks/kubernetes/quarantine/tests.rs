//! What is decided about one Node, case by case.

use std::time::Duration;

use serde_json::{Value, json};

use super::decide::{Action, decide};
use super::mark::Mark;
use super::{Memory, OVERRIDDEN, RESPECT, Rules, Standing, Told, Want, Why};
use crate::patterns::set::{Quarantine, Severity};
use crate::sinks::kubernetes::budget::reason::Reason;
use crate::sinks::kubernetes::cluster::{Node, QUARANTINE};
use crate::time::{Now, Timestamp, Uptime};

const WALL: Timestamp = Timestamp(1_795_341_600_000_000);

pub(super) fn at(seconds: u64) -> Now {
    Now { wall: WALL, boot: Uptime(0) }.plus(Duration::from_secs(seconds))
}

pub(super) fn want(how: Quarantine) -> Want {
    Want {
        how,
        component: "memory".into(),
        severity: Severity::Fatal,
        pattern: "memory-uncorrected".into(),
        faults: vec!["0a1b2c3d".into()],
        words: vec!["memory-uncorrected dimm/A1".into()],
        fatal_seen: Some(WALL),
    }
}

/// A Node in a test: patches are applied as the server does.
struct Test {
    node: Node,
    memory: Memory,
    rules: Rules,
}

impl Test {
    fn new() -> Test {
        let node = json!({
            "metadata": { "name": "n", "uid": "u", "resourceVersion": "1" },
            "spec": { "taints": [{ "key": "other", "effect": "NoSchedule",
                                   "odd": 1 }] },
            "status": { "conditions": [
                { "type": "Ready", "status": "True" }] },
        });
        let node = serde_json::from_value(node).unwrap();
        Test { node, memory: Memory::default(), rules: Rules::default() }
    }

    fn decide(&mut self, want: Option<&Want>, now: Now) -> Action {
        self.tell(want, now, &mut Vec::new())
    }

    fn tell(
        &mut self,
        want: Option<&Want>,
        now: Now,
        news: &mut Vec<Told>,
    ) -> Action {
        decide(&self.node, want, &mut self.memory, now, &self.rules, news)
    }

    /// Lets everything be done that needs no leave, or has it.
    fn settle(
        &mut self,
        want: Option<&Want>,
        now: Now,
    ) -> (Standing, Vec<Told>) {
        let mut told = Vec::new();
        for _ in 0..8 {
            match self.tell(want, now, &mut told) {
                Action::Rest { standing, .. } => return (standing, told),
                Action::Mark { mark, old, .. } => {
                    let body = mark.patch(&self.node, old.as_ref());
                    self.apply(&body);
                }
                Action::Patch { body, .. } => self.apply(&body),
                Action::Obey(order) => {
                    self.memory.answered = Some(order.text);
                }
            }
        }
        panic!("it never rests");
    }

    fn apply(&mut self, body: &Value) {
        let version = &self.node.metadata.resource_version;
        assert_eq!(body["metadata"]["resourceVersion"], version.as_str());
        assert_eq!(body["metadata"]["uid"], self.node.metadata.uid.as_str());
        let meta = &mut self.node.metadata;
        for (map, key) in [
            (&mut meta.labels, "labels"),
            (&mut meta.annotations, "annotations"),
        ] {
            for (k, v) in
                body["metadata"][key].as_object().into_iter().flatten()
            {
                match v.as_str() {
                    Some(text) => map.insert(k.clone(), text.to_owned()),
                    None => map.remove(k),
                };
            }
        }
        if let Some(taints) = body["spec"]["taints"].as_array() {
            self.node.spec.taints.clone_from(taints);
        }
        if let Some(cordoned) = body["spec"]["unschedulable"].as_bool() {
            self.node.spec.unschedulable = cordoned;
        }
        self.touch();
    }

    fn touch(&mut self) {
        let version: u64 = self.node.metadata.resource_version.parse().unwrap();
        self.node.metadata.resource_version = (version + 1).to_string();
    }

    fn annotate(&mut self, key: &str, value: &str) {
        let all = &mut self.node.metadata.annotations;
        all.insert(key.into(), value.into());
        self.touch();
    }

    fn our_taints(&self) -> usize {
        let ours = |t: &&Value| t["key"] == QUARANTINE;
        self.node.spec.taints.iter().filter(ours).count()
    }
}

#[test]
fn a_mark_is_one_taint_a_label_and_an_annotation_beside_what_others_wrote() {
    let mut t = Test::new();
    let want = want(Quarantine::Taint);
    let (standing, _) = t.settle(Some(&want), at(0));
    assert_eq!(standing, Standing::Quarantined(Quarantine::Taint));
    assert_eq!(
        t.node.spec.taints,
        [
            json!({ "key": "other", "effect": "NoSchedule", "odd": 1 }),
            json!({ "key": "faultline.dev/quarantine", "value": "memory",
                    "effect": "NoSchedule" }),
        ]
    );
    assert!(!t.node.spec.unschedulable);
    assert_eq!(t.node.label(QUARANTINE), Some("taint"));
    let mark = Mark::read(&t.node).unwrap();
    assert_eq!(mark.faults, ["memory-uncorrected dimm/A1"]);
    assert_eq!(mark.since, "2026-11-22T10:00:00Z");
    // Another's change of the list neither loses nor disturbs anything.
    t.node.spec.taints.remove(0);
    t.touch();
    let rest = t.decide(Some(&want), at(9));
    assert!(matches!(rest, Action::Rest { again: None, .. }), "{rest:?}");
}

#[test]
fn the_node_is_released_when_all_faults_are_over_and_the_hold_has_passed() {
    let mut t = Test::new();
    t.settle(Some(&want(Quarantine::Taint)), at(0));
    assert_eq!(t.settle(None, at(100)).0, Standing::Releasing);
    assert_eq!(t.settle(None, at(699)).0, Standing::Releasing);
    // A fault in between begins the hold anew.
    t.settle(Some(&want(Quarantine::Taint)), at(699));
    assert_eq!(t.settle(None, at(700)).0, Standing::Releasing);
    let (standing, told) = t.settle(None, at(1300));
    assert_eq!(
        (standing, told),
        (Standing::Free, vec![Told::Released(Why::Over)])
    );
    assert_eq!(t.node.spec.taints.len(), 1);
    assert!(t.node.metadata.labels.is_empty());
    assert!(t.node.metadata.annotations.is_empty());
}

#[test]
fn a_cordon_of_ours_is_undone_and_one_that_was_there_before_stays() {
    let mut t = Test::new();
    t.settle(Some(&want(Quarantine::Cordon)), at(0));
    assert!(t.node.spec.unschedulable);
    assert_eq!(t.our_taints(), 0);
    t.settle(None, at(0));
    t.settle(None, at(600));
    assert!(!t.node.spec.unschedulable);

    t.node.spec.unschedulable = true;
    t.settle(Some(&want(Quarantine::Cordon)), at(700));
    // Stronger and weaker again: what was there before is not forgotten.
    t.settle(Some(&want(Quarantine::Taint)), at(701));
    assert!(t.node.spec.unschedulable && t.our_taints() == 1);
    t.settle(Some(&want(Quarantine::Cordon)), at(702));
    assert_eq!(t.our_taints(), 0);
    t.settle(None, at(703));
    t.settle(None, at(1400));
    assert!(t.node.spec.unschedulable);
}

#[test]
fn a_taint_never_touches_a_persons_cordon() {
    let mut t = Test::new();
    t.settle(Some(&want(Quarantine::Taint)), at(0));
    t.node.spec.unschedulable = true;
    t.touch();
    t.settle(None, at(0));
    t.settle(None, at(600));
    assert!(t.node.spec.unschedulable && t.our_taints() == 0);
}

#[test]
fn somebody_elses_release_is_respected_until_new_evidence_or_a_day() {
    for wipe_all in [false, true] {
        let mut t = Test::new();
        let mut want = want(Quarantine::Taint);
        t.settle(Some(&want), at(0));
        t.node.spec.taints.retain(|taint| taint["key"] != QUARANTINE);
        if wipe_all {
            t.node.metadata.labels.clear();
            t.node.metadata.annotations.clear();
        }
        t.touch();
        let (standing, told) = t.settle(Some(&want), at(60));
        let until = at(60).wall.plus(RESPECT);
        assert_eq!(standing, Standing::Overridden(until), "{wipe_all}");
        assert_eq!(told, [Told::Overridden(until)]);
        assert_eq!(t.node.label(QUARANTINE), None);
        // A restart changes nothing, nor does a lost store.
        t.memory = Memory::default();
        assert_eq!(t.settle(Some(&want), at(3600)).0, standing);
        // The day passes; or a fatal fault is seen again.
        let mark = t.decide(Some(&want), at(60 + 86_400));
        assert!(matches!(mark, Action::Mark { .. }));
        want.fatal_seen = Some(at(62).wall);
        let mark = t.decide(Some(&want), at(3600));
        assert!(matches!(mark, Action::Mark { .. }));
    }
}

#[test]
fn an_uncordon_is_respected_too() {
    let mut t = Test::new();
    let want = want(Quarantine::Cordon);
    t.settle(Some(&want), at(0));
    t.node.spec.unschedulable = false;
    t.touch();
    let (standing, _) = t.settle(Some(&want), at(1));
    assert!(matches!(standing, Standing::Overridden(_)));
    // Once the faults are over the note goes.
    assert_eq!(t.settle(None, at(2)).0, Standing::Free);
    assert!(t.node.metadata.annotations.is_empty());
}

#[test]
fn our_own_release_that_was_never_answered_is_no_override() {
    let mut t = Test::new();
    let want = want(Quarantine::Taint);
    t.settle(Some(&want), at(0));
    t.settle(None, at(0));
    let Action::Patch { body, .. } = t.decide(None, at(600)) else {
        panic!("released")
    };
    // The patch arrives, the answer does not, and the fault is back.
    t.apply(&body);
    let again = t.decide(Some(&want), at(601));
    assert!(matches!(again, Action::Mark { .. }), "{again:?}");
}

#[test]
fn a_node_created_anew_has_decided_nothing() {
    let mut t = Test::new();
    let want = want(Quarantine::Taint);
    t.settle(Some(&want), at(0));
    let old = t.node.clone();
    t.node = Test::new().node;
    t.node.metadata.uid = "another".into();
    let mark = t.decide(Some(&want), at(1));
    assert!(matches!(mark, Action::Mark { free: false, .. }), "{mark:?}");
    // Annotations copied from the old one mean nothing.
    t.node.metadata.annotations = old.metadata.annotations;
    assert_eq!(Mark::read(&t.node), None);
}

#[test]
fn ignore_takes_the_mark_off_and_ends_with_its_time() {
    let mut t = Test::new();
    let want = want(Quarantine::Taint);
    t.settle(Some(&want), at(0));
    t.annotate("faultline.dev/ignore", "2026-11-22T11:00:00Z; burn-in");
    let (standing, told) = t.settle(Some(&want), at(1));
    assert_eq!(standing, Standing::Ignored(Some(at(3600).wall)));
    let [Told::Ignored { .. }, Told::Released(Why::Ignored)] = told[..] else {
        panic!("{told:?}");
    };
    let mark = t.decide(Some(&want), at(3600));
    assert!(matches!(mark, Action::Mark { .. }));
    t.annotate("faultline.dev/ignore", "until I say so");
    let rest = t.settle(Some(&want), at(9_000_000)).0;
    assert_eq!(rest, Standing::Ignored(None));
}

#[test]
fn hold_keeps_the_mark_up() {
    let mut t = Test::new();
    t.settle(Some(&want(Quarantine::Taint)), at(0));
    t.annotate("faultline.dev/hold", "");
    t.settle(None, at(0));
    assert_eq!(t.settle(None, at(9000)).0, Standing::Held);
    t.annotate("faultline.dev/hold", "false");
    t.settle(None, at(9001));
    assert_eq!(t.settle(None, at(9601)).0, Standing::Free);
}

#[test]
fn an_order_to_clear_is_carried_out_once_and_its_annotation_goes() {
    let mut t = Test::new();
    t.annotate("faultline.dev/clear", "dimm/A1; swapped, ticket 7");
    let Action::Obey(order) = t.decide(None, at(0)) else { panic!("obeyed") };
    assert_eq!(
        (&*order.what, &*order.reason),
        ("dimm/A1", "swapped, ticket 7")
    );
    t.memory.answered = Some(order.text);
    assert_eq!(t.settle(None, at(1)).0, Standing::Free);
    assert!(t.node.metadata.annotations.is_empty());
    assert_eq!(t.memory.answered, None);
}

#[test]
fn evict_is_a_plain_taint_unless_it_is_allowed_and_then_a_second_step() {
    let mut t = Test::new();
    let want = want(Quarantine::Evict);
    t.settle(Some(&want), at(0));
    assert_eq!(t.node.spec.taints[1]["effect"], "NoSchedule");
    t.rules.evict = true;
    let Action::Mark { mark, old, free } = t.decide(Some(&want), at(1)) else {
        panic!("needs leave")
    };
    assert!(free && old.is_some() && mark.how == Quarantine::Evict);
    t.settle(Some(&want), at(1));
    assert_eq!(t.node.spec.taints[1]["effect"], "NoExecute");
    assert_eq!(t.our_taints(), 1);
}

#[test]
fn a_mark_that_a_lost_store_left_stays_until_somebody_knows_better() {
    let mut t = Test::new();
    let want = want(Quarantine::Taint);
    t.settle(Some(&want), at(0));
    t.memory = Memory::default();
    t.settle(None, at(10));
    assert_eq!(t.settle(None, at(9000)).0, Standing::Orphaned);
    // The same fault is seen and proved over: that is a proof.
    t.settle(Some(&want), at(9001));
    t.settle(None, at(9002));
    assert_eq!(t.settle(None, at(9602)).0, Standing::Free);
}

#[test]
fn a_cordoned_node_is_marked_for_free_and_one_that_is_not_ready_is_not() {
    let mut t = Test::new();
    let want = want(Quarantine::Taint);
    t.node.spec.unschedulable = true;
    let action = t.decide(Some(&want), at(0));
    assert!(matches!(action, Action::Mark { free: true, .. }));
    t.node.spec.unschedulable = false;
    t.node.status.conditions[0]["status"] = json!("Unknown");
    let action = t.decide(Some(&want), at(0));
    assert!(matches!(action, Action::Mark { free: false, .. }));
}

#[test]
fn a_mark_that_was_free_asks_for_room_when_the_node_is_uncordoned() {
    let mut t = Test::new();
    let want = want(Quarantine::Taint);
    t.node.spec.unschedulable = true;
    t.settle(Some(&want), at(0));
    assert!(Mark::read(&t.node).unwrap().free);
    t.node.spec.unschedulable = false;
    t.touch();
    let Action::Mark { mark, old, free } = t.decide(Some(&want), at(1)) else {
        panic!("it asks")
    };
    assert!(!free && !mark.free && old.unwrap().free);
    // With leave it is as any other, and asks no more.
    let (standing, _) = t.settle(Some(&want), at(1));
    assert_eq!(standing, Standing::Quarantined(Quarantine::Taint));
    assert!(!Mark::read(&t.node).unwrap().free);
    assert_eq!(t.our_taints(), 1);
}

#[test]
fn where_other_nodes_are_not_guarded_nothing_new_is_marked_and_the_old_stays() {
    let mut t = Test::new();
    let want = want(Quarantine::Taint);
    t.settle(Some(&want), at(0));
    t.rules.guarded = false;
    let (standing, _) = t.settle(Some(&want), at(1));
    assert_eq!(standing, Standing::Quarantined(Quarantine::Taint));
    // The proof still takes it off, and then none comes again.
    t.settle(None, at(2));
    assert_eq!(t.settle(None, at(602)).0, Standing::Free);
    let (standing, _) = t.settle(Some(&want), at(603));
    assert_eq!(standing, Standing::Waiting(vec![Reason::Unguarded]));
    assert_eq!(t.our_taints(), 0);
}

#[test]
fn a_day_to_ignore_until_is_over_at_its_end() {
    let mut t = Test::new();
    let want = want(Quarantine::Taint);
    t.annotate("faultline.dev/ignore", "2026-11-22; burn-in");
    let end = at(14 * 3600).wall;
    let (standing, _) = t.settle(Some(&want), at(1));
    assert_eq!(standing, Standing::Ignored(Some(end)));
    assert_eq!(t.memory.ignored.as_deref(), Some("2026-11-22; burn-in"));
    let mark = t.decide(Some(&want), at(14 * 3600));
    assert!(matches!(mark, Action::Mark { .. }));
    assert_eq!(t.memory.ignored, None);
}

#[test]
fn a_mark_is_named_by_its_component_its_condition_and_its_part() {
    let mut t = Test::new();
    t.settle(Some(&want(Quarantine::Taint)), at(0));
    let mark = Mark::read(&t.node).unwrap();
    for what in ["memory", "MemoryFault", "dimm/A1", "memory-uncorrected"] {
        assert!(mark.is_named_by(what), "{what}");
    }
    for what in ["", "dimm/A", "dimm/typo", "DiskFault", "disk"] {
        assert!(!mark.is_named_by(what), "{what}");
    }
}

#[test]
fn notes_that_somebody_took_away_are_written_again() {
    let mut t = Test::new();
    let want = want(Quarantine::Taint);
    t.settle(Some(&want), at(0));
    t.node.metadata.labels.clear();
    t.node.metadata.annotations.clear();
    t.touch();
    let (standing, _) = t.settle(Some(&want), at(1));
    assert_eq!(standing, Standing::Quarantined(Quarantine::Taint));
    assert!(Mark::read(&t.node).is_some() && t.our_taints() == 1);
}

#[test]
fn a_taint_lost_to_an_older_list_of_taints_is_written_again() {
    let mut t = Test::new();
    let want = want(Quarantine::Taint);
    t.settle(Some(&want), at(0));
    let stale = json!([{ "key": "other", "effect": "NoSchedule", "odd": 1 },
                       { "key": "new", "effect": "NoSchedule" }]);
    t.node.spec.taints = serde_json::from_value(stale.clone()).unwrap();
    t.touch();
    let (standing, told) = t.settle(Some(&want), at(1));
    assert_eq!(standing, Standing::Quarantined(Quarantine::Taint));
    assert_eq!((t.our_taints(), told.len()), (1, 0));
    assert_eq!(json!(t.node.spec.taints[..2]), stale);
    // The same long after our own write is somebody's will.
    t.node.spec.taints.truncate(1);
    t.touch();
    let (standing, _) = t.settle(Some(&want), at(60));
    assert!(matches!(standing, Standing::Overridden(_)), "{standing:?}");
}

#[test]
fn a_taint_written_back_by_an_older_list_goes_again() {
    let mut t = Test::new();
    t.settle(Some(&want(Quarantine::Taint)), at(0));
    let stale = t.node.spec.taints.clone();
    t.settle(None, at(0));
    assert_eq!(t.settle(None, at(600)).0, Standing::Free);
    t.node.spec.taints.clone_from(&stale);
    t.touch();
    assert_eq!(t.settle(None, at(601)).0, Standing::Free);
    assert_eq!((t.our_taints(), t.node.spec.taints.len()), (0, 1));
    // Later it is somebody's own.
    t.node.spec.taints.clone_from(&stale);
    t.touch();
    assert_eq!(t.settle(None, at(700)).0, Standing::Free);
    assert_eq!(t.our_taints(), 1);
}

#[test]
fn a_mark_that_somebody_wiped_is_known_until_the_node_says_so() {
    let mut t = Test::new();
    let want = want(Quarantine::Taint);
    t.settle(Some(&want), at(0));
    t.node.spec.taints.clear();
    t.node.metadata.annotations.clear();
    t.node.metadata.labels.clear();
    t.touch();
    // The note conflicts, or the agent ends before it is written.
    for _ in 0..3 {
        let action = t.decide(Some(&want), at(1));
        let note = |action: &Action| match action {
            Action::Patch { body, .. } => {
                body["metadata"]["annotations"][OVERRIDDEN].is_string()
            }
            _ => false,
        };
        assert!(note(&action), "{action:?}");
        t.touch();
    }
    let (standing, told) = t.settle(Some(&want), at(2));
    assert!(matches!(standing, Standing::Overridden(_)), "{standing:?}");
    assert!(matches!(told[..], [Told::Overridden(_)]), "{told:?}");
    assert_eq!(t.memory.marked_at, None);
}
