//! CPU time for each ordinary record: the agent and a bare reader drain the
//! same records.
//!
//! The ring of a small machine holds a thousand records, so 50,000 go through
//! it in bursts: the reader is stopped, the burst is written, the reader goes
//! on and drains it. Both then wait in poll(2) as often and read as often. On
//! a node records come one by one: that is measured too, and has the limit.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::agent::{Agent, cpu, settle};
use super::ring::{Writer, sleep_ms};
use super::{Figure, Size, bare};

/// Records in one burst; the smallest ring in use (CONFIG_LOG_BUF_SHIFT=17)
/// holds twice as many.
const BURST: usize = 500;

/// Nanoseconds a record of a process that drains `count` of them, as the
/// numbers of the records tell.
fn drain(pid: u32, writer: &mut Writer, count: usize) -> f64 {
    let process = Pid::from_raw(i32::try_from(pid).expect("pids are small"));
    for _ in 0..5 {
        let from = writer.mark();
        settle(pid);
        let before = cpu(pid);
        for _ in 0..count / BURST {
            kill(process, Signal::SIGSTOP).expect("it is our child");
            sleep_ms(1);
            writer.burst(BURST);
            kill(process, Signal::SIGCONT).expect("it is our child");
            settle(pid);
        }
        let used = cpu(pid) - before;
        let logged = (writer.mark() - from - 1) as usize;
        if logged >= count {
            return used as f64 / logged as f64;
        }
    }
    panic!("somebody keeps limiting what may be written to the log");
}

/// Nanoseconds a record of a process that follows a writer of one record
/// every 50 µs, so that nearly each wakes it from poll(2).
fn follow(pid: u32, writer: &mut Writer, count: usize) -> f64 {
    let from = writer.mark();
    settle(pid);
    let before = cpu(pid);
    let mut next = faultline::clock::monotonic();
    for _ in 0..count {
        writer.burst(1);
        next += 50;
        while faultline::clock::monotonic() < next {
            std::hint::spin_loop();
        }
    }
    settle(pid);
    let used = cpu(pid) - before;
    let logged = writer.mark() - from - 1;
    used as f64 / logged.max(1) as f64
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
    let (mut our_follow, mut bare_follow) = (Vec::new(), Vec::new());
    let lost = || agent.counted("faultline_records_lost_total");
    let before = lost();
    for _ in 0..5 {
        bare.push(drain(reader.id(), &mut writer, count));
        settle(agent.pid());
        ours.push(drain(agent.pid(), &mut writer, count));
        settle(reader.id());
        bare_follow.push(follow(reader.id(), &mut writer, count));
        settle(agent.pid());
        our_follow.push(follow(agent.pid(), &mut writer, count));
    }
    reader.kill().expect("it is our child");
    reader.wait().expect("it is our child");
    let lost = lost() - before;
    let (ours, bare) = (median(ours), median(bare));
    let (our_follow, bare_follow) = (median(our_follow), median(bare_follow));
    let ratio = our_follow / bare_follow;
    let figure = |name, value, unit, limit| Figure { name, value, unit, limit };
    vec![
        figure("CPU per record followed, bare", bare_follow, "ns", None),
        figure("CPU per record followed, agent", our_follow, "ns", None),
        figure("CPU per record followed, agent to bare", ratio, "x", Some(1.5)),
        figure("CPU per record drained, bare", bare, "ns", None),
        figure("CPU per record drained, agent", ours, "ns", None),
        figure("CPU per record drained, agent to bare", ours / bare, "x", None),
        figure("lost meanwhile", lost as f64, "records", Some(0.0)),
    ]
}
