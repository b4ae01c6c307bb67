//! CPU time for each ordinary record: the agent and a bare reader drain the
//! same records.
//!
//! The ring of a small machine holds a thousand records, so 50,000 go through
//! it in bursts: the reader is stopped, the burst is written, the reader goes
//! on and drains it. Both then wait in poll(2) as often and read as often.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::agent::{Agent, cpu, settle};
use super::ring::{Writer, sleep_ms};
use super::{Figure, Size, bare};

/// Records in one burst; the smallest ring in use (CONFIG_LOG_BUF_SHIFT=17)
/// holds twice as many.
const BURST: usize = 500;

/// Nanoseconds a record of a process that drains `count` of them.
fn drain(pid: u32, writer: &mut Writer, count: usize) -> f64 {
    let process = Pid::from_raw(i32::try_from(pid).expect("pids are small"));
    settle(pid);
    let before = cpu(pid);
    for _ in 0..count / BURST {
        kill(process, Signal::SIGSTOP).expect("it is our child");
        sleep_ms(1);
        writer.burst(BURST);
        kill(process, Signal::SIGCONT).expect("it is our child");
        settle(pid);
    }
    (cpu(pid) - before) as f64 / count as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub fn measure(size: Size) -> Vec<Figure> {
    let count = if size == Size::Short { 5_000 } else { 50_000 };
    let mut writer = Writer::open();
    let (agent, _) = Agent::start(&[]);
    let mut reader = bare::start();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    let lost = "faultline_records_lost_total";
    let seen = agent.counted("faultline_observations_total");
    let lost_before = agent.counted(lost);
    for _ in 0..5 {
        // Each is stopped while the other drains, and skips what it missed
        // outside of the measurement.
        bare.push(drain(reader.id(), &mut writer, count));
        settle(agent.pid());
        ours.push(drain(agent.pid(), &mut writer, count));
    }
    reader.kill().expect("it is our child");
    reader.wait().expect("it is our child");
    let seen = agent.counted("faultline_observations_total") - seen;
    let lost = agent.counted(lost) - lost_before;
    assert!(seen + lost >= 10 * count as u64, "the agent read all of it");
    let (ours, bare) = (median(ours), median(bare));
    let figure = |name, value, unit, limit| Figure { name, value, unit, limit };
    vec![
        figure("CPU per record, bare read loop", bare, "ns", None),
        figure("CPU per record, agent", ours, "ns", None),
        figure("CPU per record, agent to bare", ours / bare, "x", Some(1.5)),
        figure("lost while draining", lost as f64, "records", Some(0.0)),
    ]
}
