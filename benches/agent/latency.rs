//! From the writer's clock before write(2) to the change of the gauge on the
//! metrics page, as a scraper sees it over an open connection; and to a bare
//! reader's answer.

use std::io::Read;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

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
const CHUNK: u32 = 250;

/// Milliseconds until the gauge of each new fault was on the page, sorted.
fn of_agent(count: u32) -> Vec<f64> {
    let mut all = Vec::new();
    while all.len() < count as usize {
        let left = count - u32::try_from(all.len()).expect("a few");
        let came = chunk(left.min(CHUNK));
        assert!(!came.is_empty(), "no fault came to the page");
        all.extend(came);
    }
    all.sort_by(f64::total_cmp);
    all
}

fn chunk(count: u32) -> Vec<f64> {
    let dir = tempfile::tempdir().expect("there is room");
    let file = dir.path().join("bench.yaml");
    std::fs::write(file, PATTERN).expect("there is room");
    let dir = dir.path().to_str().expect("temporary names are text");
    let (agent, _) = Agent::start(&["--patterns", dir]);
    let mut writer = Writer::open();
    let mut page = agent.connect().expect("it answers");
    let mut all = Vec::new();
    for _ in 0..count {
        writer.ready();
        // The ring remembers the units of earlier runs; no two are the same.
        let start = faultline::clock::monotonic();
        let unit = format!("u{start}");
        writer.line(&format!("faultline-bench: unit {unit} is lost"));
        let gauge = format!("part=\"bench/{unit}\"");
        loop {
            let Some(text) = metrics(&mut page) else {
                page = agent.connect().expect("it answers");
                continue;
            };
            let now = faultline::clock::monotonic();
            let mut lines = text.lines();
            if lines.any(|l| {
                l.starts_with("faultline_fault_active{") && l.contains(&gauge)
            }) {
                all.push((now - start) as f64 / 1000.0);
                break;
            }
            if now - start > 1_000_000 {
                break; // somebody limited the log just then
            }
        }
        writer.line(&format!("faultline-bench: unit {unit} is back"));
        sleep_ms(10);
    }
    all
}

/// Milliseconds until a bare reader has answered, sorted.
fn of_bare(count: u32) -> Vec<f64> {
    let mut reader = bare::start();
    let mut out = reader.stdout.take().expect("it has a pipe");
    let mut writer = Writer::open();
    let mut all = Vec::new();
    while all.len() < count as usize {
        writer.ready();
        let start = faultline::clock::monotonic();
        writer.line("echo");
        let mut fds = [PollFd::new(out.as_fd(), PollFlags::POLLIN)];
        let second = PollTimeout::from(1000_u16);
        if poll(&mut fds, second).expect("poll works") == 0 {
            continue; // somebody limited the log just then
        }
        out.read_exact(&mut [0]).expect("it answers");
        all.push((faultline::clock::monotonic() - start) as f64 / 1000.0);
        sleep_ms(10);
    }
    reader.kill().expect("it is our child");
    reader.wait().expect("it is our child");
    all.sort_by(f64::total_cmp);
    all
}

pub fn measure(size: Size) -> Vec<Figure> {
    let count = if size == Size::Short { 100 } else { 1_000 };
    let bare = of_bare(count);
    let ours = of_agent(count);
    let limit = f64::max(5.0, 2.0 * percentile(&bare, 0.99));
    // On a machine that does other work too, one scheduling delay is more
    // than the limit; CI holds a looser one.
    let limit = if size == Size::Short { 4.0 * limit } else { limit };
    let figure = |name, value, limit| Figure { name, value, unit: "ms", limit };
    vec![
        figure("record to bare reader, p50", percentile(&bare, 0.5), None),
        figure("record to bare reader, p99", percentile(&bare, 0.99), None),
        figure("record to metric, p50", percentile(&ours, 0.5), None),
        figure("record to metric, p99", percentile(&ours, 0.99), Some(limit)),
    ]
}
