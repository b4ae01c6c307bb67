//! The edac source, over trees that change as drivers change theirs.

use std::collections::BTreeMap;

use faultline::signal::{Event, Health, Signal};
use faultline::sources::Setup;

use crate::bench::{Bench, set_of};
use crate::host_dir::HostDir;

const PATTERN: &str = "
version: 1
component: memory
patterns:
  - name: errors
    summary: '{kind} error(s), {location}'
    severity: error
    source: edac
    where: { kind: [corrected, uncorrected] }
    part: ['dimm/{label}', 'dimm/mc{mc}-{dimm}', 'unit/{device}/{block}', 'memory/mc{mc}']
    count: '{count}'
    same: '{kind} {span}'
    tolerate: 1 in 1h
    clear: [replaced]
    advice: replace it
";

fn bench(host: &HostDir, once: bool) -> Bench {
    let setup = Setup::Edac(host.poll());
    Bench::of(set_of(PATTERN), setup, BTreeMap::new(), once)
}

fn signals(events: Vec<Event>) -> Vec<Signal> {
    let signal = |event| match event {
        Event::Match(signal) => signal,
        other => panic!("{other:?}"),
    };
    events.into_iter().map(signal).collect()
}

/// Part and count of each.
fn counted(events: Vec<Event>) -> Vec<(String, u64)> {
    let pair = |s: Signal| (s.part.to_string(), s.count);
    signals(events).into_iter().map(pair).collect()
}

const DIMM: &str = "sys/devices/system/edac/mc/mc0/dimm1/dimm_ce_count";

#[test]
fn a_dimm_is_named_by_its_label_and_place_and_counts_what_is_new() {
    let host = HostDir::copy("server");
    let bench = bench(&host, false);
    let first = signals(bench.until_events());
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].part.as_str(), "dimm/P1-DIMMA2");
    assert_eq!(first[0].count, 3);
    // It began when the driver was loaded.
    assert_eq!(first[0].value.as_deref(), Some("corrected 863900"));
    assert_eq!(first[0].captures["location"], "channel 0 slot 1");
    host.write(DIMM, "10");
    let part = |count| vec![("dimm/P1-DIMMA2".to_owned(), count)];
    assert_eq!(counted(bench.until_events()), part(7));
    bench.stop();
}

#[test]
fn a_counter_that_shrinks_is_a_driver_that_was_loaded_anew() {
    let host = HostDir::copy("server");
    let bench = bench(&host, false);
    bench.until_events();
    host.write(DIMM, "1");
    let part = |count| vec![("dimm/P1-DIMMA2".to_owned(), count)];
    assert_eq!(counted(bench.until_events()), part(1));
    host.write(DIMM, "0");
    bench.until_position("edac");
    host.write(DIMM, "2");
    assert_eq!(counted(bench.until_events()), part(2));
    bench.stop();
}

#[test]
fn what_came_while_the_agent_was_down_counts_once() {
    let host = HostDir::copy("server");
    let first = bench(&host, false);
    first.until_events();
    let positions = first.stop();
    host.write(DIMM, "23");
    let again = |positions| {
        let setup = Setup::Edac(host.poll());
        Bench::of(set_of(PATTERN), setup, positions, false)
    };
    let second = again(positions);
    let found = counted(second.until_events());
    assert_eq!(found, [("dimm/P1-DIMMA2".to_owned(), 20)]);
    let third = again(second.stop());
    host.write(DIMM, "24");
    let found = counted(third.until_events());
    assert_eq!(found, [("dimm/P1-DIMMA2".to_owned(), 1)]);
    third.stop();
}

#[test]
fn rows_channels_caches_and_what_has_no_place_are_told_once_each() {
    let host = HostDir::copy("legacy");
    let bench = bench(&host, true);
    let mut found = counted(bench.until_events());
    found.sort();
    let expected = [
        ("dimm/DIMM_B1", 5),
        ("dimm/mc0-csrow1", 1),
        ("memory/mc0", 2),
        ("unit/cpu_cache/cpu1/L2", 4),
    ];
    assert_eq!(found, expected.map(|(part, n)| (part.to_owned(), n)));
    bench.stop();
}

#[test]
fn a_controller_that_goes_and_comes_takes_nothing_along() {
    let host = HostDir::copy("server");
    let bench = bench(&host, false);
    bench.until_events();
    host.remove("sys/devices/system/edac/mc/mc0");
    // The other one still counts.
    let other = "sys/devices/system/edac/mc/mc1/dimm0/dimm_ue_count";
    host.write(other, "1");
    let found = counted(bench.until_events());
    assert_eq!(found, [("dimm/P2-DIMMA1".to_owned(), 1)]);
    host.write(DIMM, "5");
    let found = counted(bench.until_events());
    assert_eq!(found, [("dimm/mc0-dimm1".to_owned(), 2)]);
    bench.stop();
}

#[test]
fn what_cannot_be_read_is_down_with_its_name_and_the_rest_is_read() {
    let host = HostDir::copy("server");
    let bench = bench(&host, false);
    bench.until_events();
    host.write(DIMM, "garbage");
    bench.until_health(
        "edac",
        |health| matches!(health, Health::Down(why) if why.contains("mc0")),
    );
    let other = "sys/devices/system/edac/mc/mc1/dimm0/dimm_ue_count";
    host.write(other, "1");
    let found = counted(bench.until_events());
    assert_eq!(found, [("dimm/P2-DIMMA1".to_owned(), 1)]);
    host.write(DIMM, "4");
    bench.until_health("edac", |health| *health == Health::Up);
    bench.stop();
}

#[test]
fn a_machine_without_it_is_absent() {
    let dir = tempfile::tempdir().unwrap();
    let every = std::time::Duration::from_secs(10);
    let root = dir.path().to_owned();
    let poll = faultline::sources::Poll { root, every };
    let bench = Bench::new(Setup::Edac(poll));
    bench.until_health(
        "edac",
        |health| matches!(health, Health::Absent(why) if why.contains("EDAC")),
    );
    bench.stop();
}
