//! The budget's decisions, one by one.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::consider::{Ask, Denial, Verdict, consider};
use super::reason::Reason;
use super::register::{Entry, Instant, Record, State, key, records};
use super::tidy::{Tidy, tidy};
use crate::patterns::set::{Quarantine, Severity};
use crate::sinks::kubernetes::cluster::{Dated, Lease, Row};
use crate::time::Timestamp;

/// 22 November 2026, 10:00 UTC: a Sunday.
const NOW: Timestamp = Timestamp(1_795_341_600_000_000);

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

fn row(name: &str) -> Row {
    Row {
        name: name.into(),
        uid: format!("uid-{name}").into(),
        resource_version: "100".into(),
        pool: None,
        ready: true,
        cordoned: false,
        marked: Quarantine::None,
        note: None,
        control_plane: false,
        retired: false,
    }
}

fn rows(count: usize) -> Vec<Row> {
    (0..count).map(|i| row(&format!("n{i}"))).collect()
}

fn arcs(rows: &[Row]) -> Vec<Arc<Row>> {
    rows.iter().cloned().map(Arc::new).collect()
}

fn lease(limits: &str, entries: &[Entry]) -> Dated<Lease> {
    let mut lease = Lease(json!({ "metadata": { "annotations": {
        "faultline.dev/limits": limits } } }));
    for entry in entries {
        lease.annotate(&key(&entry.node), Some(entry.text()));
    }
    Dated { date: NOW, value: lease }
}

fn entry(node: &str, state: State) -> Entry {
    Entry {
        node: node.into(),
        uid: format!("uid-{node}"),
        state,
        resource_version: match state {
            State::Granted => "100".into(),
            _ => String::new(),
        },
        how: Quarantine::Taint,
        severity: Severity::Error,
        pattern: format!("pattern-of-{node}"),
        faults: Vec::new(),
        pool: None,
        since: Instant(NOW.minus(minutes(2))),
        at: Instant(NOW.minus(minutes(1))),
        counted: None,
        room: Default::default(),
        on: Vec::new(),
        earlier: Vec::new(),
    }
}

/// What `n0` asks.
fn ask(severity: Severity) -> Ask<'static> {
    Ask {
        node: "n0",
        uid: "uid-n0",
        resource_version: "100",
        how: Quarantine::Taint,
        severity,
        pattern: "memory-uncorrected",
        faults: &[],
        free: false,
        control_plane: false,
        unused: false,
    }
}

fn denied(verdict: Verdict) -> Denial {
    match verdict {
        Verdict::Deny(denial) => denial,
        other => panic!("not denied: {other:?}"),
    }
}

fn reasons(verdict: Verdict) -> Vec<Reason> {
    denied(verdict).reasons
}

fn is_granted(lease: &Dated<Lease>, rows: &[Row], ask: &Ask<'_>) -> bool {
    matches!(consider(lease, Some(&arcs(rows)), ask), Verdict::Grant(_))
}

#[test]
fn without_limits_nothing_is_quarantined() {
    let error = ask(Severity::Fatal);
    for limits in ["", "cluster: { nodes: many }"] {
        let lease = lease(limits, &[]);
        let why = reasons(consider(&lease, None, &error));
        assert!(matches!(why[..], [Reason::NoLimits(_)]), "{why:?}");
    }
    let bare = Dated { date: NOW, value: Lease(json!({ "metadata": {} })) };
    let why = reasons(consider(&bare, None, &error));
    assert!(matches!(why[..], [Reason::NoLimits(_)]));
}

#[test]
fn a_grant_names_the_version_that_the_patch_will_carry() {
    let lease = lease("cluster: { nodes: 2 }", &[]);
    assert_eq!(consider(&lease, None, &ask(Severity::Error)), Verdict::List);
    let rows = arcs(&rows(10));
    let verdict = consider(&lease, Some(&rows), &ask(Severity::Error));
    let Verdict::Grant(entry) = verdict else { panic!("{verdict:?}") };
    assert_eq!(entry.state, State::Granted);
    assert_eq!((&*entry.uid, &*entry.resource_version), ("uid-n0", "100"));
    assert_eq!(entry.at, Instant(NOW));
}

#[test]
fn nodes_that_others_took_out_count_each_once() {
    let mut nodes = rows(10);
    nodes[1].cordoned = true;
    nodes[1].ready = false;
    nodes[2].ready = false;
    nodes[3].marked = Quarantine::Taint;
    let own_grant = entry("n3", State::Granted);
    let three =
        lease("cluster: { nodes: 3 }", std::slice::from_ref(&own_grant));
    let why =
        reasons(consider(&three, Some(&arcs(&nodes)), &ask(Severity::Fatal)));
    assert!(matches!(why[..], [Reason::Spent { limit: 3, out: 3, .. }]));
    let four = lease("cluster: { nodes: 4 }", &[own_grant]);
    assert!(is_granted(&four, &nodes, &ask(Severity::Fatal)));
}

#[test]
fn retired_nodes_leave_both_sides() {
    let mut nodes = rows(20);
    nodes[1].retired = true;
    nodes[1].ready = false;
    let limits = lease("cluster: { share: 5 % }", &[]);
    assert!(is_granted(&limits, &nodes, &ask(Severity::Error)));
    nodes[2].ready = false;
    assert!(!is_granted(&limits, &nodes, &ask(Severity::Error)));
}

#[test]
fn a_grant_counts_until_its_patch_can_never_succeed() {
    let granted = [entry("n1", State::Granted)];
    let one = lease("cluster: { nodes: 1 }", &granted);
    let asked = ask(Severity::Error);
    let mut nodes = rows(10);
    // Unmarked at the grant's version: the patch may be on its way.
    assert!(!is_granted(&one, &nodes, &asked));
    // A list older than the grant shows nothing.
    nodes[1].resource_version = "99".into();
    assert!(!is_granted(&one, &nodes, &asked));
    nodes[1].resource_version = "101".into();
    assert!(is_granted(&one, &nodes, &asked));
    nodes[1].resource_version = "100".into();
    nodes[1].uid = "of another Node".into();
    assert!(is_granted(&one, &nodes, &asked));
    nodes.remove(1);
    assert!(is_granted(&one, &nodes, &asked));
}

#[test]
fn an_entry_of_a_later_release_counts_while_its_node_exists() {
    let mut one = lease("cluster: { nodes: 1 }", &[]);
    one.value.annotate(&key("n1"), Some("{\"state\":\"new\"}".into()));
    let mut nodes = rows(10);
    assert!(!is_granted(&one, &nodes, &ask(Severity::Fatal)));
    nodes.remove(1);
    assert!(is_granted(&one, &nodes, &ask(Severity::Fatal)));
}

#[test]
fn the_own_grant_is_used_and_never_overwritten_while_it_can_come_true() {
    let own = [entry("n0", State::Granted)];
    let none = lease("cluster: { nodes: 0 }", &own);
    assert_eq!(consider(&none, None, &ask(Severity::Error)), Verdict::Go);
    let older = Ask { resource_version: "99", ..ask(Severity::Error) };
    assert_eq!(consider(&none, None, &older), Verdict::Stale);
    // The Node has moved on: it must ask anew.
    let newer = Ask { resource_version: "101", ..ask(Severity::Error) };
    let mut nodes = rows(10);
    nodes[0].resource_version = "101".into();
    let verdict = consider(&none, Some(&arcs(&nodes)), &newer);
    assert!(matches!(reasons(verdict)[..], [Reason::Spent { .. }]));
}

#[test]
fn a_share_is_kept_for_fatal_faults() {
    let mut nodes = rows(20);
    (1..5).for_each(|i| nodes[i].cordoned = true);
    let limits = lease("cluster: { nodes: 5, fatal: 20 % }", &[]);
    let verdict = consider(&limits, Some(&arcs(&nodes)), &ask(Severity::Error));
    let kept = |r: &Reason| matches!(r, Reason::Kept { kept: 1, .. });
    assert!(reasons(verdict).iter().all(kept));
    assert!(is_granted(&limits, &nodes, &ask(Severity::Fatal)));
}

#[test]
fn the_rate_is_judged_by_the_lease_alone_and_reopens_by_itself() {
    let mut old = entry("n1", State::Released);
    old.at = Instant(NOW.minus(minutes(9)));
    let recent = [old.clone(), entry("n2", State::Granted)];
    let limits = "cluster: { nodes: 9, new: 2 in 10m }";
    let asked = ask(Severity::Fatal);
    let why = reasons(consider(&lease(limits, &recent), None, &asked));
    let until = Some(NOW.plus(minutes(1)));
    assert!(matches!(&why[..], [Reason::TooFast { until: u, .. }]
        if *u == until));
    old.at = Instant(NOW.minus(minutes(10)));
    let recent = [old, entry("n2", State::Granted)];
    assert!(is_granted(&lease(limits, &recent), &rows(10), &asked));
}

#[test]
fn a_grant_that_stalls_is_new_however_old_it_is() {
    let mut stalled = entry("n1", State::Granted);
    stalled.at = Instant(NOW.minus(minutes(600)));
    let limits = lease("cluster: { nodes: 9, new: 1 in 10m }", &[stalled]);
    let mut nodes = rows(10);
    assert!(!is_granted(&limits, &nodes, &ask(Severity::Error)));
    nodes[1].marked = Quarantine::Taint;
    nodes[1].resource_version = "101".into();
    assert!(is_granted(&limits, &nodes, &ask(Severity::Error)));
}

#[test]
fn the_last_node_that_takes_work_stays_unless_its_pool_allows_it() {
    let mut nodes = rows(4);
    for node in &mut nodes {
        node.pool = Some("gpu".into());
    }
    nodes[1].ready = false;
    nodes[2].control_plane = true;
    nodes[3].pool = None;
    let text = "cluster: { nodes: 9 }\npoolLabel: pool\n";
    let asked = ask(Severity::Fatal);
    let why = reasons(consider(&lease(text, &[]), Some(&arcs(&nodes)), &asked));
    assert!(matches!(why[..], [Reason::Last(_)]), "{why:?}");
    let allows = format!("{text}pools: {{ gpu: {{ allowLast: true }} }}");
    assert!(is_granted(&lease(&allows, &[]), &nodes, &asked));
}

#[test]
fn a_pool_has_limits_of_its_own() {
    let mut nodes = rows(20);
    for (i, node) in nodes.iter_mut().enumerate() {
        node.pool = Some(if i < 10 { "a" } else { "b" }.into());
    }
    nodes[1].cordoned = true;
    let text = "cluster: { nodes: 9 }\npoolLabel: pool\n\
        pools: { a: { nodes: 1 } }";
    let asked = ask(Severity::Error);
    assert!(!is_granted(&lease(text, &[]), &nodes, &asked));
    nodes[1].pool = Some("b".into());
    assert!(is_granted(&lease(text, &[]), &nodes, &asked));
}

#[test]
fn control_plane_nodes_and_closed_windows_are_refused_even_when_fatal() {
    let plane = Ask { control_plane: true, ..ask(Severity::Fatal) };
    let open = lease("cluster: { nodes: 9 }", &[]);
    let why = reasons(consider(&open, None, &plane));
    assert!(matches!(why[..], [Reason::ControlPlane]));
    let text = "cluster: { nodes: 9 }\nwindows: ['Mon-Fri 01:00-05:00 UTC']";
    let why = reasons(consider(&lease(text, &[]), None, &ask(Severity::Fatal)));
    let opens = NOW.plus(Duration::from_secs(15 * 3600));
    assert_eq!(why, [Reason::Closed { opens: Some(opens) }]);
}

#[test]
fn a_pause_stops_even_what_would_be_free() {
    let text = "cluster: { nodes: 9 }\npause: upgrade";
    let free = Ask { free: true, ..ask(Severity::Fatal) };
    let why = reasons(consider(&lease(text, &[]), None, &free));
    assert_eq!(why, [Reason::Paused("upgrade".into())]);
    let none = lease("cluster: { nodes: 0 }", &[]);
    assert_eq!(consider(&none, None, &free), Verdict::Go);
}

#[test]
fn the_same_pattern_on_many_nodes_at_once_is_deferred() {
    let same = |node: &str| Entry {
        pattern: "memory-uncorrected".into(),
        ..entry(node, State::Waiting)
    };
    let many: Vec<Entry> = ["n1", "n2", "n3", "n4"].map(same).into();
    let text = "cluster: { nodes: 9 }";
    let asked = ask(Severity::Error);
    let why = reasons(consider(&lease(text, &many), None, &asked));
    let until = NOW.plus(minutes(60));
    assert!(matches!(&why[..], [Reason::Correlated { nodes: 5, until: u, .. }]
        if *u == until));
    let verdict = consider(&lease(text, &many[..3]), None, &asked);
    assert_eq!(verdict, Verdict::List);
    let looked =
        format!("{text}\ncorrelation: {{ allow: [memory-uncorrected] }}");
    let verdict = consider(&lease(&looked, &many), None, &asked);
    assert_eq!(verdict, Verdict::List);
}

#[test]
fn the_worst_goes_first_unless_it_waits_for_something_else() {
    let mut fatal = entry("n1", State::Waiting);
    fatal.severity = Severity::Fatal;
    fatal.on = vec!["cluster".into()];
    let asked = ask(Severity::Error);
    let one = |entry: &Entry| {
        lease("cluster: { nodes: 1 }", std::slice::from_ref(entry))
    };
    let verdict = consider(&one(&fatal), Some(&arcs(&rows(10))), &asked);
    assert!(matches!(reasons(verdict)[..], [Reason::Queued { .. }]));
    fatal.on = vec!["cluster".into(), "window".into()];
    assert!(is_granted(&one(&fatal), &rows(10), &asked));
    // One that has not asked for long may be dead.
    fatal.on.clear();
    fatal.at = Instant(NOW.minus(minutes(15)));
    assert!(is_granted(&one(&fatal), &rows(10), &asked));
}

#[test]
fn a_spent_budget_costs_one_get() {
    let mut other = entry("n1", State::Waiting);
    other.on = vec!["cluster".into()];
    other.counted = Some(Instant(NOW.minus(Duration::from_secs(30))));
    other.room.insert("cluster".into(), 0);
    let asked = ask(Severity::Error);
    let spent = lease("cluster: { nodes: 1 }", std::slice::from_ref(&other));
    let why = reasons(consider(&spent, None, &asked));
    assert!(matches!(why[..], [Reason::CountedLately { room: 0, .. }]));
    // Room for worse faults was not what it counted.
    let fatal = ask(Severity::Fatal);
    assert_eq!(consider(&spent, None, &fatal), Verdict::List);
    other.counted = Some(Instant(NOW.minus(Duration::from_secs(61))));
    let old = lease("cluster: { nodes: 1 }", &[other]);
    assert_eq!(consider(&old, None, &asked), Verdict::List);
}

#[test]
fn a_denied_node_is_entered_as_waiting_and_keeps_its_grants_in_mind() {
    let mut own = entry("n0", State::Released);
    own.at = Instant(NOW.minus(minutes(3)));
    let text = "cluster: { nodes: 0, new: 9 in 10m }";
    let lease = lease(text, &[own.clone()]);
    let rows = arcs(&rows(10));
    let denial = denied(consider(&lease, Some(&rows), &ask(Severity::Error)));
    let entered = denial.enter.expect("entered");
    assert_eq!(entered.state, State::Waiting);
    assert_eq!(entered.earlier, [own.at]);
    assert_eq!(entered.on, ["cluster"]);
    assert_eq!(entered.room["cluster"], 0);
}

#[test]
fn to_evict_needs_leave_of_its_own() {
    let mut nodes = rows(10);
    nodes[0].marked = Quarantine::Taint;
    let free =
        Ask { how: Quarantine::Evict, free: true, ..ask(Severity::Fatal) };
    let none = lease("cluster: { nodes: 9 }", &[]);
    let why = reasons(consider(&none, Some(&arcs(&nodes)), &free));
    assert_eq!(why, [Reason::EvictSpent { limit: 0, out: 0 }]);
    let one = lease("cluster: { nodes: 9 }\nevict: 1", &[]);
    assert!(is_granted(&one, &nodes, &free));
    nodes[1].marked = Quarantine::Evict;
    assert!(!is_granted(&one, &nodes, &free));
}

#[test]
fn an_entry_is_taken_away_when_the_rate_has_forgotten_it() {
    let text = "cluster: { nodes: 9, new: 2 in 10m }";
    let mut node = row("n1");
    let own = entry("n1", State::Granted);
    let one = lease(text, std::slice::from_ref(&own));
    // The patch may be on its way; then it is there.
    assert!(matches!(tidy(&one, &node), Tidy::Keep(Some(_))));
    node.marked = Quarantine::Taint;
    node.resource_version = "101".into();
    assert_eq!(tidy(&one, &node), Tidy::Keep(None));
    node.marked = Quarantine::None;
    node.resource_version = "102".into();
    let Tidy::Write(released) = tidy(&one, &node) else { panic!("written") };
    assert_eq!((released.state, released.at), (State::Released, own.at));
    let mut later = lease(text, &[*released]);
    assert!(matches!(tidy(&later, &node), Tidy::Keep(Some(_))));
    later.date = NOW.plus(minutes(10));
    assert_eq!(tidy(&later, &node), Tidy::Remove);
    let waiting = lease(text, &[entry("n1", State::Waiting)]);
    assert_eq!(tidy(&waiting, &node), Tidy::Remove);
    assert_eq!(tidy(&lease(text, &[]), &node), Tidy::Keep(None));
}

#[test]
fn a_full_register_denies_new_nodes_and_says_what_helps() {
    let mut full = lease("cluster: { nodes: 9 }", &[]);
    for i in 0..2_000 {
        let gone = entry(&format!("gone-{i}"), State::Granted);
        full.value.annotate(&key(&gone.node), Some(gone.text()));
    }
    assert!(records(&full.value).iter().all(|r| matches!(r, Record::Entry(_))));
    let verdict = consider(&full, None, &ask(Severity::Fatal));
    let denial = denied(verdict);
    assert_eq!(denial.reasons, [Reason::RegisterFull]);
    assert!(denial.enter.is_none());
    let words = denial.reasons[0].to_string();
    assert!(words.contains("--prune"), "{words}");
}
