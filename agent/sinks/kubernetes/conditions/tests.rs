use serde_json::{Value, json};

use super::patch::existing;
use super::*;
use crate::ledger::desired::MESSAGE_MAX;
use crate::sinks::board::Groups;
use crate::sinks::kubernetes::cluster::Node;

const GRACE: Duration = Duration::from_secs(60);
const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

fn kind(text: &str) -> Arc<str> {
    Arc::from(text)
}

fn state(status: Status, reason: &str, message: &str) -> ConditionState {
    ConditionState {
        status,
        reason: reason.into(),
        message: message.into(),
        since: Some(NOW.minus(Duration::from_secs(3600))),
        essence: crate::hash::fnv1a(reason.as_bytes()),
    }
}

/// A node whose kernel log is read, with patterns for memory and disks.
fn notice(states: &[(&str, ConditionState)]) -> Notice {
    let sources = |s: &[Source]| s.iter().copied().collect();
    let groups: Groups = [
        (kind("DiskFault"), sources(&[Source::Disk])),
        (kind("MemoryFault"), sources(&[Source::Kmsg, Source::Edac])),
    ]
    .into();
    let mut notice = Notice { complete: true, ..Notice::default() };
    notice.groups = Arc::new(groups);
    notice.health.insert(kind("kmsg"), Some(Health::Up));
    notice.health.insert(kind("disk"), Some(Health::Up));
    notice.health.insert(kind("edac"), Some(Health::Absent("none".into())));
    for (name, state) in states {
        notice.desired.conditions.insert(kind(name), state.clone());
    }
    notice
}

fn node(conditions: Value, annotations: Value) -> Node {
    serde_json::from_value(json!({
        "metadata": { "name": "n", "uid": "u1", "annotations": annotations },
        "status": { "conditions": conditions },
    }))
    .unwrap()
}

fn wants(notice: &Notice) -> BTreeMap<Arc<str>, Want> {
    wanted(notice, &Blind::default(), GRACE, Uptime(0))
}

fn planned(node: &Node, notice: &Notice, memory: &Memory) -> Option<Plan> {
    plan(node, &wants(notice), notice, memory, NOW)
}

/// The Node after a patch, as the server merges it.
fn after(node: &Node, plan: &Plan) -> Node {
    let mut next = node.clone();
    let notes = plan.body["metadata"]["annotations"].as_object();
    for (key, value) in notes.into_iter().flatten() {
        match value.as_str() {
            Some(text) => {
                let all = &mut next.metadata.annotations;
                all.insert(key.clone(), text.to_owned());
            }
            None => drop(next.metadata.annotations.remove(key)),
        }
    }
    let entries = plan.body["status"]["conditions"].as_array();
    for entry in entries.into_iter().flatten() {
        let all = &mut next.status.conditions;
        all.retain(|c| c["type"] != entry["type"]);
        if entry["$patch"] != "delete" {
            all.push(entry.clone());
        }
    }
    next
}

fn condition<'a>(node: &'a Node, kind: &str) -> &'a Value {
    existing(node, kind).unwrap()
}

#[test]
fn a_new_node_gets_every_condition_in_one_patch_and_then_nothing() {
    let (fresh, notice) = (node(json!([]), json!({})), notice(&[]));
    let first = planned(&fresh, &notice, &Memory::default()).unwrap();
    assert_eq!(first.haste, Haste::Later);
    let node = after(&fresh, &first);
    assert_eq!(condition(&node, "MemoryFault")["status"], "False");
    assert_eq!(condition(&node, "MemoryFault")["reason"], "NoFault");
    assert_eq!(node.annotation(CONDITIONS), Some("DiskFault,MemoryFault"));
    assert_eq!(planned(&node, &notice, &first.memory), None);
    assert_eq!(planned(&node, &notice, &Memory::default()), None);
}

#[test]
fn a_fault_turns_its_condition_at_once_and_keeps_its_time() {
    let (fresh, quiet) = (node(json!([]), json!({})), notice(&[]));
    let first = planned(&fresh, &quiet, &Memory::default()).unwrap();
    let well = after(&fresh, &first);
    let one = notice(&[("DiskFault", state(Status::True, "DiskA", "a"))]);
    let second = planned(&well, &one, &first.memory).unwrap();
    assert_eq!(second.haste, Haste::Now);
    let failing = after(&well, &second);
    let since = condition(&failing, "DiskFault")["lastTransitionTime"].clone();
    assert_eq!(since, NOW.minus(Duration::from_secs(3600)).to_string());
    // A worse fault joins, long after.
    let two = notice(&[("DiskFault", state(Status::True, "DiskB", "b; a"))]);
    let third = planned(&failing, &two, &second.memory).unwrap();
    assert_eq!(third.haste, Haste::Soon);
    let worse = after(&failing, &third);
    assert_eq!(condition(&worse, "DiskFault")["reason"], "DiskB");
    assert_eq!(condition(&worse, "DiskFault")["lastTransitionTime"], since);
}

#[test]
fn a_count_alone_is_no_news_also_after_a_restart() {
    let fresh = node(json!([]), json!({}));
    let one = notice(&[("DiskFault", state(Status::True, "DiskA", "1 error"))]);
    let first = planned(&fresh, &one, &Memory::default()).unwrap();
    let node = after(&fresh, &first);
    let more =
        notice(&[("DiskFault", state(Status::True, "DiskA", "99 errors"))]);
    assert_eq!(planned(&node, &more, &first.memory), None);
    let stored = serde_json::to_string(&first.memory).unwrap();
    let memory: Memory = serde_json::from_str(&stored).unwrap();
    assert_eq!(planned(&node, &more, &memory), None);
}

#[test]
fn others_conditions_and_types_that_are_not_ours_are_left_alone() {
    let theirs = json!([
        { "type": "Ready", "status": "True" },
        { "type": "KernelDeadlock", "status": "False" },
        { "type": "FanFault", "status": "True" },
    ]);
    let node = node(theirs, json!({}));
    let plan = planned(&node, &notice(&[]), &Memory::default()).unwrap();
    let text = plan.body.to_string();
    for kind in ["Ready", "KernelDeadlock", "FanFault"] {
        assert!(!text.contains(kind), "{text}");
    }
    let mut odd = notice(&[("Ready", state(Status::True, "A", "a"))]);
    let mut groups = Groups::clone(&odd.groups);
    groups.insert(kind("KernelDeadlock"), [Source::Kmsg].into());
    odd.groups = Arc::new(groups);
    assert_eq!(wants(&odd).len(), 2);
}

#[test]
fn a_group_that_is_gone_loses_its_condition() {
    let listed = json!({ CONDITIONS: "DiskFault,FanFault,Ready" });
    let had = json!([
        { "type": "FanFault", "status": "False" },
        { "type": "Ready", "status": "True" },
    ]);
    let node = node(had, listed);
    let plan = planned(&node, &notice(&[]), &Memory::default()).unwrap();
    let next = after(&node, &plan);
    assert!(existing(&next, "FanFault").is_none());
    assert!(existing(&next, "Ready").is_some());
    assert_eq!(next.annotation(CONDITIONS), Some("DiskFault,MemoryFault"));
}

#[test]
fn nothing_is_taken_back_before_every_source_was_tried() {
    let had = json!([{ "type": "DiskFault", "status": "True",
                       "reason": "DiskA", "message": "a",
                       "lastTransitionTime": "2026-01-01T00:00:00Z" }]);
    let node = node(had, json!({ CONDITIONS: "DiskFault" }));
    let mut early = notice(&[]);
    early.complete = false;
    early.health.insert(kind("disk"), None);
    assert_eq!(planned(&node, &early, &Memory::default()), None);
    // But what is found is told at once.
    let found = state(Status::True, "MemoryA", "a");
    early.desired.conditions.insert(kind("MemoryFault"), found);
    let plan = planned(&node, &early, &Memory::default()).unwrap();
    let next = after(&node, &plan);
    assert_eq!(condition(&next, "MemoryFault")["status"], "True");
    assert_eq!(condition(&next, "DiskFault")["status"], "True");
}

#[test]
fn a_source_that_cannot_be_read_makes_unknown_after_its_grace() {
    let mut notice = notice(&[]);
    let down = Health::Down("permission denied".into());
    notice.health.insert(kind("kmsg"), Some(down));
    let mut blind = Blind::default();
    blind.note(&notice.health, Uptime(0));
    let early = wanted(&notice, &blind, GRACE, Uptime(59_000_000));
    assert_eq!(early["MemoryFault"], Want::Keep);
    assert_eq!(blind.next(GRACE, Uptime(0)), Some(Uptime(60_000_000)));
    let late = wanted(&notice, &blind, GRACE, Uptime(60_000_000));
    let Want::Is(stand) = &late["MemoryFault"] else { panic!() };
    assert_eq!((stand.status, &*stand.reason), ("Unknown", UNREADABLE));
    assert!(stand.message.contains("kmsg: permission denied"));
    let Want::Is(disk) = &late["DiskFault"] else { panic!() };
    assert_eq!(disk.status, "False");
    // What is known to have failed is not unknown.
    let raised = state(Status::True, "MemoryA", "a");
    notice.desired.conditions.insert(kind("MemoryFault"), raised);
    let known = wanted(&notice, &blind, GRACE, Uptime(60_000_000));
    let Want::Is(stand) = &known["MemoryFault"] else { panic!() };
    assert_eq!(stand.status, "True");
}

#[test]
fn a_group_whose_sources_are_all_absent_has_no_condition() {
    let mut notice = notice(&[]);
    let absent = Some(Health::Absent("no disks".into()));
    notice.health.insert(kind("disk"), absent);
    assert!(!wants(&notice).contains_key("DiskFault"));
    // Where the journal gives the kernel's text, it stands for kmsg.
    notice.health.remove("kmsg");
    notice.health.insert(kind("journal"), Some(Health::Up));
    assert!(wants(&notice).contains_key("MemoryFault"));
}

#[test]
fn a_lost_state_is_told_and_kept_until_a_fault_or_a_person_settles_it() {
    let had = json!([{ "type": "DiskFault", "status": "True",
                       "reason": "DiskA", "message": "sda is bad",
                       "lastTransitionTime": "2026-01-01T00:00:00Z" }]);
    let node = node(had, json!({ CONDITIONS: "DiskFault,MemoryFault" }));
    let plan = planned(&node, &notice(&[]), &Memory::default()).unwrap();
    let next = after(&node, &plan);
    let disk = condition(&next, "DiskFault");
    assert_eq!(disk["status"], "Unknown");
    assert_eq!(disk["reason"], STATE_LOST);
    assert!(disk["message"].as_str().unwrap().contains("sda is bad"));
    for memory in [plan.memory.clone(), Memory::default()] {
        assert_eq!(planned(&next, &notice(&[]), &memory), None);
    }
    let found = notice(&[("DiskFault", state(Status::True, "DiskA", "a"))]);
    let plan2 = planned(&next, &found, &plan.memory).unwrap();
    assert_eq!(condition(&after(&next, &plan2), "DiskFault")["status"], "True");
    let mut memory = plan.memory;
    memory.types.insert("DiskFault".into(), CLEARED);
    let plan3 = planned(&next, &notice(&[]), &memory).unwrap();
    let well = after(&next, &plan3);
    assert_eq!(condition(&well, "DiskFault")["status"], "False");
}

#[test]
fn what_was_remembered_of_a_fault_that_is_over_does_not_count_as_lost() {
    let fresh = node(json!([]), json!({}));
    let one = notice(&[("DiskFault", state(Status::True, "DiskA", "a"))]);
    let first = planned(&fresh, &one, &Memory::default()).unwrap();
    let failing = after(&fresh, &first);
    // Withdrawn with its pattern: the ledger knows nothing of it.
    let plan = planned(&failing, &notice(&[]), &first.memory).unwrap();
    assert_eq!(plan.haste, Haste::Now);
    let well = after(&failing, &plan);
    assert_eq!(condition(&well, "DiskFault")["status"], "False");
}

#[test]
fn a_node_made_anew_under_the_same_name_is_told_everything() {
    let fresh = node(json!([]), json!({}));
    let one = notice(&[("DiskFault", state(Status::True, "DiskA", "a"))]);
    let first = planned(&fresh, &one, &Memory::default()).unwrap();
    let mut again = fresh.clone();
    again.metadata.uid = "u2".into();
    let plan = planned(&again, &one, &first.memory).unwrap();
    assert_eq!(plan.body["metadata"]["uid"], "u2");
    assert_eq!(plan.body["status"]["conditions"][0]["status"], "True");
    assert_eq!(plan.memory.uid, "u2");
}

#[test]
fn what_makes_no_sense_is_not_sent() {
    let mut odd = state(Status::True, "9 bad-reason!", "a\u{1b}[31m\nb");
    odd.message.push_str(&"é".repeat(2000));
    odd.since = Some(NOW.plus(Duration::from_secs(999)));
    let fresh = node(json!([]), json!({}));
    let notice = notice(&[("DiskFault", odd)]);
    let plan = planned(&fresh, &notice, &Memory::default()).unwrap();
    let next = after(&fresh, &plan);
    let disk = condition(&next, "DiskFault");
    assert_eq!(disk["reason"], "P9badreason");
    let message = disk["message"].as_str().unwrap();
    assert!(message.len() <= MESSAGE_MAX && message.starts_with("a [31m b"));
    assert_eq!(disk["lastTransitionTime"], NOW.to_string());
    assert_eq!(planned(&next, &notice, &plan.memory), None);
}

#[test]
fn in_mode_observe_what_was_written_is_taken_away() {
    let had = json!([{ "type": "DiskFault", "status": "False" }]);
    let node = node(had, json!({ CONDITIONS: "DiskFault", PATTERNS: "0" }));
    let mut observe = notice(&[]);
    observe.groups = Arc::default();
    let plan = planned(&node, &observe, &Memory::default()).unwrap();
    let next = after(&node, &plan);
    assert!(next.status.conditions.is_empty());
    assert!(next.metadata.annotations.is_empty());
}
