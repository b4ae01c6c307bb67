use super::*;
use serde_json::json;

const NOW: &str = "2026-11-22T12:00:00Z";
const RECENT: &str = "2026-11-22T11:55:00Z";
const OLD: &str = "2026-11-22T11:00:00Z";

fn node(condition: &str, ready: &str, at: &str) -> Node {
    let value = json!({
        "metadata": { "name": "n1", "uid": "u",
            "annotations": { CONDITIONS: "DiskFault" } },
        "status": { "conditions": [
            { "type": "Ready", "status": ready, "lastTransitionTime": at },
            { "type": "DiskFault", "status": condition, "reason": "DiskA",
              "message": "disk/sda is bad", "lastTransitionTime": OLD,
              "lastHeartbeatTime": at },
        ]},
    });
    serde_json::from_value(value).unwrap()
}

fn pod(ready: &str, at: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": "agent-x", "creationTimestamp": OLD },
        "spec": { "nodeName": "n1" },
        "status": { "phase": "Running", "conditions": [
            { "type": "Ready", "status": ready, "lastTransitionTime": at }] },
    }))
    .unwrap()
}

fn seen(node: &Node, pods: &[&Pod]) -> NodeView {
    overview(node, pods, moment(NOW).unwrap())
}

#[test]
fn a_node_is_ok_only_while_its_agent_lives() {
    let well = node("False", "True", OLD);
    let state = |pod: &Pod| seen(&well, &[pod]).state;
    assert_eq!(state(&pod("True", OLD)), State::Ok);
    assert_eq!(state(&pod("False", RECENT)), State::Ok);
    assert_eq!(state(&pod("False", OLD)), State::Unknown);
    let gone = seen(&well, &[&pod("Unknown", OLD)]);
    assert_eq!(gone.state, State::Unknown);
    assert_eq!(gone.unknown, [format!("its agent is not Ready since {OLD}")]);
}

#[test]
fn a_kubelet_that_is_silent_vouches_for_no_pod() {
    for status in ["Unknown", "False"] {
        let lost = node("False", status, OLD);
        assert_eq!(seen(&lost, &[&pod("True", OLD)]).state, State::Unknown);
        let just_lost = node("False", status, RECENT);
        assert_eq!(seen(&just_lost, &[&pod("True", OLD)]).state, State::Ok);
    }
}

#[test]
fn an_agent_on_the_host_is_believed_as_long_as_it_wrote_lately() {
    assert_eq!(seen(&node("False", "True", RECENT), &[]).state, State::Ok);
    let silent = seen(&node("False", "True", OLD), &[]);
    assert_eq!(silent.state, State::Unknown);
    assert_eq!(silent.agent.runs_as, "unit");
    let mut bare = node("False", "True", RECENT);
    bare.metadata.annotations.clear();
    let bare = seen(&bare, &[]);
    assert_eq!((bare.state, bare.agent.runs_as), (State::Unknown, "none"));
}

#[test]
fn a_dead_agents_faults_are_shown_and_are_not_news() {
    let failing = node("True", "True", OLD);
    let view = seen(&failing, &[&pod("False", OLD)]);
    assert_eq!(view.state, State::Unknown);
    assert_eq!(view.severity.as_deref(), Some("error"));
    assert_eq!(view.faults[0].pattern, "DiskA");
    assert_eq!(seen(&failing, &[&pod("True", OLD)]).state, State::Failing);
}

#[test]
fn of_two_pods_the_one_that_lives_counts() {
    let well = node("False", "True", OLD);
    let (dead, live) = (pod("False", OLD), pod("True", OLD));
    assert_eq!(seen(&well, &[&dead, &live]).state, State::Ok);
    assert_eq!(seen(&well, &[&live, &dead]).state, State::Ok);
}

#[test]
fn what_an_agent_does_not_tell_is_not_well() {
    let live = pod("True", OLD);
    let mut silent = node("False", "True", OLD);
    silent.metadata.annotations.clear();
    assert_eq!(seen(&silent, &[&live]).state, State::Unknown);
    let blind = seen(&node("Unknown", "True", OLD), &[&live]);
    assert_eq!(blind.state, State::Unknown);
    assert!(blind.unknown[0].starts_with("DiskFault DiskA: "));
}

#[test]
fn faults_come_from_the_annotation_with_severity_and_part() {
    let mut failing = node("True", "True", OLD);
    let listed = json!({ "faults": [
        { "id": "1", "pattern": "disk-a", "part": "disk/sda",
          "severity": "warning", "since": OLD, "condition": "DiskFault" },
        { "id": "2", "pattern": "memory-a", "part": "dimm/A1",
          "severity": "fatal", "since": RECENT, "condition": "MemoryFault" },
    ], "more": 3 });
    let notes = &mut failing.metadata.annotations;
    notes.insert(FAULTS.into(), listed.to_string());
    notes.insert(HOLD.into(), "vendor".into());
    notes.insert(IGNORE.into(), "false".into());
    let view = seen(&failing, &[&pod("True", OLD)]);
    assert_eq!(view.severity.as_deref(), Some("fatal"));
    assert_eq!(view.since.as_deref(), Some(RECENT));
    assert_eq!((view.faults.len(), view.more), (2, 3));
    assert_eq!(view.orders, [HOLD]);
}
