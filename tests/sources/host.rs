//! The host source, over a tree whose CPUs and counters change.

use std::collections::BTreeMap;

use faultline::signal::{Event, Truth};
use faultline::sources::Setup;

use crate::bench::{Bench, set_of};
use crate::host_dir::HostDir;

const PATTERNS: &str = "
version: 1
component: host
patterns:
  - name: off
    summary: 'CPU {cpu} is off'
    severity: error
    source: host
    where: { kind: cpu, online: false, parked: false }
    part: 'cpu/{cpu}'
    clear: [replaced]
    advice: look
  - name: corrupted
    summary: '{corrupted} KiB'
    severity: error
    source: host
    where: { kind: memory, corrupted: '> 0' }
    part: memory/system
    clear: [replaced]
    advice: look
  - name: hot
    summary: '{events_hour} times'
    severity: error
    source: host
    where: { kind: throttle, events_hour: '> 3' }
    part: 'thermal/{scope}{cpu}'
    clear: [{ normal: 1h }]
    advice: look
";

/// What holds, and what no longer does, of the next look that differs.
fn told(bench: &Bench) -> Vec<(String, Truth)> {
    let state = |event| match event {
        Event::State(s, truth) => (format!("{} {}", s.pattern, s.part), truth),
        other => panic!("{other:?}"),
    };
    bench.until_events().into_iter().map(state).collect()
}

#[test]
fn a_cpu_that_goes_memory_that_is_lost_and_heat_are_told_and_end() {
    let host = HostDir::copy("server");
    let setup = Setup::Host(host.poll());
    let bench = Bench::of(set_of(PATTERNS), setup, BTreeMap::new(), false);
    let first = told(&bench);
    assert!(first.iter().all(|(_, truth)| *truth == Truth::False));
    // Four CPUs and cores, two packages, and the memory.
    assert_eq!(first.len(), 4 + 4 + 2 + 1);
    let cpu = |truth| vec![("off cpu/2".to_owned(), truth)];
    host.write("sys/devices/system/cpu/online", "0-1,3");
    let off = told(&bench);
    assert!(off.contains(&cpu(Truth::True)[0]), "{off:?}");
    host.write("sys/devices/system/cpu/online", "0-3");
    let on = told(&bench);
    assert!(on.contains(&cpu(Truth::False)[0]), "{on:?}");
    host.write("proc/meminfo", "HardwareCorrupted:     8 kB");
    let lost = [("corrupted memory/system".to_owned(), Truth::True)];
    assert_eq!(told(&bench), lost);
    let count = "cpu1/thermal_throttle/core_throttle_count";
    host.write(&format!("sys/devices/system/cpu/{count}"), "9");
    let hot = [("hot thermal/core1".to_owned(), Truth::True)];
    assert_eq!(told(&bench), hot);
    bench.stop();
}

#[test]
fn what_was_hot_is_still_hot_after_a_restart() {
    let host = HostDir::copy("server");
    let run = |positions| {
        let setup = Setup::Host(host.poll());
        Bench::of(set_of(PATTERNS), setup, positions, false)
    };
    let first = run(BTreeMap::new());
    told(&first);
    let count = "cpu1/thermal_throttle/core_throttle_count";
    host.write(&format!("sys/devices/system/cpu/{count}"), "9");
    told(&first);
    let second = run(first.stop());
    let again = told(&second);
    let hot = ("hot thermal/core1".to_owned(), Truth::True);
    assert!(again.contains(&hot), "{again:?}");
    second.stop();
}
