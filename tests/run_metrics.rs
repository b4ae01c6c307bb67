//! The metrics page as a whole, and the limits of its labels.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fault_sample;
mod not_run;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use faultline::ledger::fault::{Fault, FaultKey, Phase};
use faultline::ledger::{Change, ChangeKind};
use faultline::parts::ids::PartId;
use faultline::patterns::set::Severity;
use faultline::sinks::counts::{Shown, Standing};
use faultline::sinks::metrics::{FAULTS_MAX, Metrics, Scrape, SourceCounts};
use faultline::store::Status;
use faultline::time::Timestamp;

fn fault(part: &str, phase: Phase) -> Fault {
    let json = fault_sample::stored("disk-failed", part, 3);
    Fault { phase, ..serde_json::from_value(json).unwrap() }
}

fn show(metrics: &Metrics, fault: &Fault) {
    metrics.faults([(&fault.key, Some(fault))]);
}

/// A page with something in every family.
fn full_page() -> String {
    let metrics = Metrics::new();
    let raised = fault("disk/sda", Phase::Active);
    show(&metrics, &raised);
    show(&metrics, &fault("disk/sdb", Phase::Cleared));
    let never = Fault { opened: None, ..fault("disk/sdc", Phase::Tolerated) };
    show(&metrics, &never);
    let kind = ChangeKind::Opened { relapse: false };
    let time = Timestamp(0);
    metrics.change(&Change { time, kind, fault: raised });
    metrics.matched("disk-failed", 1);
    metrics.delay(Duration::from_micros(700));
    metrics.source_up("kmsg", Some(true));
    metrics.source_up("journal", Some(false));
    metrics.source_up("mount", None);
    metrics.pattern_set(325, 0xfeed);
    metrics.pattern_files([("a.yaml", true), ("b.yaml", false)]);
    metrics.accept_userspace(true);
    metrics.queue_depth(2);
    metrics.ledger(&[("evicted", 1), ("notes", 2)]);
    let scrape = Scrape {
        sources: vec![
            SourceCounts {
                id: "kmsg".into(),
                observations: 1000,
                lost: 5,
                invalid: 1,
                restarts: 2,
                last_success: Timestamp(1_700_000_000_000_000),
            },
            // Absent: no series.
            SourceCounts { id: "mount".into(), ..SourceCounts::default() },
        ],
        unexplained: 7,
        store: Status { durable: true, writes: 9, ..Status::default() },
        log_dropped: 4,
        cluster: Some(Shown {
            guarded: true,
            requests: vec![("get", 200, 1), ("patch", 409, 2), ("get", 0, 3)],
            connected: true,
            written: Timestamp(1_700_000_000_000_000),
            events: 5,
            events_dropped: 6,
            restarts: 0,
            token_ends: Some(Timestamp(1_700_003_600_000_000)),
            standing: Some(Standing {
                word: "waiting",
                severity: Some(Severity::Fatal),
                since: Timestamp(1_700_000_000_000_000),
            }),
        }),
    };
    metrics.page(|| scrape.clone());
    // A second look must not count anything again.
    metrics.page(|| scrape).replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

#[test]
fn the_whole_page_is_as_reviewed() {
    insta::assert_snapshot!(full_page());
}

#[test]
fn promtool_finds_nothing_wrong_with_the_page() {
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        not_run::not_run(
            "promtool check metrics",
            "no promtool here (Debian package prometheus)",
        );
        return;
    };
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(full_page().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{told}");
}

fn series(metrics: &Metrics) -> Vec<String> {
    let page = metrics.page(Scrape::default);
    let lines = page.lines().map(str::to_owned);
    lines.filter(|l| l.starts_with("faultline_fault_active{")).collect()
}

fn overflow(metrics: &Metrics) -> Option<String> {
    let mut lines = series(metrics).into_iter();
    let line = lines.find(|l| l.contains("part=\"overflow\""))?;
    line.rsplit(' ').next().map(str::to_owned)
}

#[test]
fn fault_series_are_bounded_and_the_rest_is_counted() {
    let metrics = Metrics::new();
    let name = |n: usize| format!("disk/d{n}");
    for n in 0..FAULTS_MAX + 88 {
        show(&metrics, &fault(&name(n), Phase::Active));
    }
    assert_eq!(series(&metrics).len(), FAULTS_MAX + 1);
    assert_eq!(overflow(&metrics).as_deref(), Some("88"));
    // Forgotten ones make room for those without a series.
    for n in 0..50 {
        let key: FaultKey = fault(&name(n), Phase::Active).key;
        metrics.faults([(&key, None)]);
    }
    assert_eq!(overflow(&metrics).as_deref(), Some("38"));
    // So do those that are over, as soon as a raised one needs the room.
    for n in 50..100 {
        show(&metrics, &fault(&name(n), Phase::Cleared));
    }
    show(&metrics, &fault("disk/new", Phase::Active));
    let all = series(&metrics);
    assert!(all.iter().any(|l| l.contains("part=\"disk/new\"")));
    assert_eq!(all.len(), FAULTS_MAX + 1);
    for n in 0..FAULTS_MAX + 88 {
        let key: FaultKey = fault(&name(n), Phase::Active).key;
        metrics.faults([(&key, None)]);
    }
    assert_eq!(series(&metrics).len(), 1);
}

#[test]
fn the_worst_of_too_many_faults_has_a_series() {
    let metrics = Metrics::new();
    for n in 0..FAULTS_MAX {
        show(&metrics, &fault(&format!("disk/d{n}"), Phase::Active));
    }
    let mut worst = fault("disk/worst", Phase::Active);
    worst.severity = Severity::Fatal;
    show(&metrics, &worst);
    let all = series(&metrics);
    let shown = all.iter().find(|l| l.contains("part=\"disk/worst\""));
    assert!(shown.is_some_and(|l| l.contains("fatal") && l.ends_with(" 1")));
    assert_eq!(all.len(), FAULTS_MAX + 1);
    assert_eq!(overflow(&metrics).as_deref(), Some("1"));
    // One that is no worse than those shown waits for room.
    show(&metrics, &fault("disk/another", Phase::Active));
    assert_eq!(overflow(&metrics).as_deref(), Some("2"));
}

#[test]
fn a_fault_has_one_series_whatever_its_severity_becomes() {
    let metrics = Metrics::new();
    let mut fault = fault("disk/sda", Phase::Active);
    show(&metrics, &fault);
    fault.severity = Severity::Fatal;
    show(&metrics, &fault);
    let all = series(&metrics);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].contains("severity=\"fatal\"") && all[0].ends_with(" 1"));
    fault.phase = Phase::Cleared;
    show(&metrics, &fault);
    assert!(series(&metrics)[0].ends_with(" 0"));
}

#[test]
fn a_fault_whose_part_gets_its_identity_keeps_its_series() {
    // The names sort before and behind what the fault was filed under.
    for part in ["disk/a", "disk/zz"] {
        let metrics = Metrics::new();
        let raised = fault(part, Phase::Active);
        show(&metrics, &raised);
        let before = series(&metrics);
        assert!(before[0].ends_with(" 1"), "{before:?}");
        let mut known = raised.clone();
        known.key.part = PartId::new("disk/sn:ZC1A0");
        known.about = serde_json::from_value(serde_json::json!({
            "owner": "disk/sn:ZC1A0", "name": part,
        }))
        .unwrap();
        let changes = [(&known.key, Some(&known)), (&raised.key, None)];
        metrics.faults(changes);
        assert_eq!(series(&metrics), before);
        metrics.faults([changes[1]]);
        assert_eq!(series(&metrics), before);
        metrics.faults([(&known.key, None)]);
        assert!(series(&metrics).is_empty());
    }
}

#[test]
fn pattern_and_source_labels_are_bounded() {
    let metrics = Metrics::new();
    for n in 0..5000 {
        metrics.matched(&format!("p{n}"), 1);
        metrics.source_up(&format!("file:/var/log/{n}"), Some(true));
    }
    let sources = (0..5000)
        .map(|n| SourceCounts {
            id: format!("file:/var/log/{n}"),
            observations: 1,
            ..SourceCounts::default()
        })
        .collect();
    let page = metrics.page(|| Scrape { sources, ..Scrape::default() });
    assert!(page.lines().count() < 3000, "{}", page.lines().count());
    let total = "faultline_observations_total{source=\"overflow\"} 4872";
    assert!(page.contains(total), "the rest is not counted");
}

#[test]
fn sources_that_share_a_series_are_up_if_all_of_them_are() {
    let metrics = Metrics::new();
    let name = |n: u32| format!("file:/var/log/{n}");
    let shared = |is: &str| {
        let page = metrics.page(Scrape::default);
        let line = format!("faultline_source_up{{source=\"overflow\"}}{is}");
        page.contains(&line)
    };
    for n in 0..200 {
        metrics.source_up(&name(n), Some(true));
    }
    assert!(shared(" 1"));
    metrics.source_up(&name(198), Some(false));
    metrics.source_up(&name(199), Some(true));
    assert!(shared(" 0"), "the last one is not all of them");
    metrics.source_gone(&name(198));
    assert!(shared(" 1"));
    (128..200).for_each(|n| metrics.source_gone(&name(n)));
    assert!(!shared(""));
}

#[test]
fn what_the_rest_of_the_sources_lost_is_counted_whoever_goes() {
    let metrics = Metrics::new();
    let name = |n: u32| format!("file:/var/log/{n}");
    let page = |lost: &[(u32, u64)]| {
        let one = |(n, lost): &(u32, u64)| SourceCounts {
            id: name(*n),
            lost: *lost,
            ..SourceCounts::default()
        };
        let sources = lost.iter().map(one).collect();
        metrics.page(|| Scrape { sources, ..Scrape::default() })
    };
    let lost = |page: &str, of: &str| {
        let start = format!("faultline_records_lost_total{{source=\"{of}\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&start));
        line.map(|count| count.parse::<u64>().unwrap())
    };
    (0..200).for_each(|n| metrics.source_up(&name(n), Some(n < 150)));
    let first = page(&[(150, 5), (151, 2)]);
    assert_eq!(lost(&first, "overflow"), Some(7));
    metrics.source_gone(&name(150));
    assert_eq!(lost(&page(&[(151, 4)]), "overflow"), Some(9));
    // One that gets series of its own leaves the others' as they are.
    metrics.source_gone(&name(0));
    (151..200).for_each(|n| metrics.source_up(&name(n), Some(true)));
    let page = page(&[(151, 5)]);
    assert_eq!(lost(&page, "overflow"), Some(9));
    assert_eq!(lost(&page, &name(151)), Some(1));
    assert!(page.contains("source_up{source=\"overflow\"} 1"), "{page}");
}

#[test]
fn a_source_that_is_gone_has_no_series() {
    let metrics = Metrics::new();
    metrics.source_up("file:/a", Some(false));
    let counts = SourceCounts {
        id: "file:/a".into(),
        observations: 1,
        lost: 1,
        last_success: Timestamp(5_000_000),
        ..SourceCounts::default()
    };
    let sources = vec![counts];
    let page = metrics.page(|| Scrape { sources, ..Scrape::default() });
    assert!(page.contains("file:/a"));
    metrics.source_gone("file:/a");
    let page = metrics.page(Scrape::default);
    assert!(!page.contains("file:/a"), "{page}");
    // It went between what a page collects and what it shows.
    let counts =
        SourceCounts { id: "file:/b".into(), ..SourceCounts::default() };
    metrics.source_up("file:/b", Some(true));
    let page = metrics.page(|| {
        metrics.source_gone("file:/b");
        Scrape { sources: vec![counts], ..Scrape::default() }
    });
    assert!(!page.contains("file:/b"), "{page}");
}
