//! From the writer's clock before write(2) to the change of the gauge on the
//! metrics page, as a scraper sees it over an open connection; and to a bare
//! reader's answer.

use std::collections::BTreeMap;
use std::io::BufRead;

use faultline::clock::monotonic;

use super::agent::{Agent, metrics};
use super::ring::{Writer, sleep_ms};
use super::{Figure, Size, bare};

/// Takes a record of its own and lets go of it at once.
const PATTERN: &str = r"version: 1
component: bench
patterns:
  - name: bench-lost
    summary: '{unit} is lost'
    severity: warning
    source: kmsg
    where: { message: '^faultline-bench: unit (?<unit>u\d{1,16}) is lost' }
    part: 'bench/{unit}'
    clear:
      - recovered:
          where: { message: '^faultline-bench: unit (?<unit>u\d{1,16}) is back' }
    advice: 'Nothing: a benchmark runs.'
    examples:
      - line: 'faultline-bench: unit u1 is lost'
        gives: { part: bench/u1 }
      - line: 'faultline-bench: unit u1 is well'
        gives: nothing
";

fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len() - 1;
    sorted[(last as f64 * share).round() as usize]
}

/// The page keeps so many faults apart (sinks/metrics.rs, FAULTS_MAX, and
/// some room); then a fresh agent goes on.
const CHUNK: usize = 250;

/// Between two records.
const EVERY_MS: u64 = 10;

/// When something was told of a unit, microseconds.
type Times = BTreeMap<String, u64>;

/// When each unit was written, when the bare reader had it, and when its
/// gauge was on the page.
fn chunk(count: usize) -> [Times; 3] {
    let dir = tempfile::tempdir().expect("there is room");
    let file = dir.path().join("bench.yaml");
    std::fs::write(file, PATTERN).expect("there is room");
    let dir = dir.path().to_str().expect("temporary names are text");
    let (agent, _) = Agent::start(&["--patterns", dir]);
    let mut bare = bare::start();
    let told = bare.stdout.take().expect("it has a pipe");
    let writing = std::thread::spawn(move || write(count));
    let mut page = agent.connect().expect("it answers");
    let (mut seen, mut last) = (Times::new(), None);
    // A second after the last record, what has not come will not come.
    while last.is_none_or(|at| monotonic() - at < 1_000_000) {
        match metrics(&mut page) {
            Some(text) => gauges(&text, &mut seen),
            None => page = agent.connect().expect("it answers"),
        }
        if writing.is_finished() {
            last = last.or(Some(monotonic()));
        }
        std::thread::sleep(std::time::Duration::from_micros(300));
    }
    let written = writing.join().expect("it only writes");
    bare.kill().expect("it is our child");
    bare.wait().expect("it is our child");
    let told = std::io::BufReader::new(told).lines().map_while(Result::ok);
    let told = told.filter_map(|line| {
        let (unit, at) = line.split_once(' ')?;
        Some((unit.to_owned(), at.parse().ok()?))
    });
    [written, told.collect(), seen]
}

/// Writes a record every ten milliseconds, each of a unit of its own; at the
/// end they are all well again, for the next agent that reads the ring.
fn write(count: usize) -> Times {
    let mut writer = Writer::open();
    let mut written = Times::new();
    for _ in 0..count {
        writer.ready();
        // The ring remembers the units of earlier runs; no two are the same.
        let now = monotonic();
        let unit = format!("u{now}");
        writer.line(&format!("faultline-bench: unit {unit} is lost"));
        written.insert(unit, now);
        sleep_ms(EVERY_MS);
    }
    sleep_ms(500);
    for unit in written.keys() {
        writer.line(&format!("faultline-bench: unit {unit} is back"));
    }
    written
}

/// Notes the units whose gauge is on the page for the first time.
fn gauges(page: &str, seen: &mut Times) {
    let now = monotonic();
    for line in page.lines() {
        let Some((_, unit)) = line.split_once("part=\"bench/") else {
            continue;
        };
        let Some((unit, _)) = unit.split_once('"') else { continue };
        if line.starts_with("faultline_fault_active{") {
            seen.entry(unit.to_owned()).or_insert(now);
        }
    }
}

pub fn measure(size: Size) -> Vec<Figure> {
    let count = if size == Size::Short { 200 } else { 1_000 };
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    let (mut missing, mut done) = (0, 0);
    while done < count {
        let [written, told, seen] = chunk(CHUNK.min(count - done));
        done += written.len();
        for (unit, at) in &written {
            let after = |times: &Times| {
                times.get(unit).map(|t| (*t - *at) as f64 / 1000.0)
            };
            match (after(&told), after(&seen)) {
                (Some(b), Some(o)) => {
                    bare.push(b);
                    ours.push(o);
                }
                // Somebody limited the log just then: neither has it.
                (None, None) => {}
                _ => missing += 1,
            }
        }
    }
    assert!(ours.len() > count / 2, "most records were dropped");
    bare.sort_by(f64::total_cmp);
    ours.sort_by(f64::total_cmp);
    let limit = f64::max(5.0, 2.0 * percentile(&bare, 0.99));
    let figure = |name, value, limit| Figure { name, value, unit: "ms", limit };
    vec![
        figure("record to bare reader, p50", percentile(&bare, 0.5), None),
        figure("record to bare reader, p99", percentile(&bare, 0.99), None),
        figure("record to metric, p50", percentile(&ours, 0.5), None),
        figure("record to metric, p99", percentile(&ours, 0.99), Some(limit)),
        Figure {
            name: "told to one of both only",
            value: f64::from(missing),
            unit: "records",
            limit: Some(0.0),
        },
    ]
}
