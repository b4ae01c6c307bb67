//! CPU time for each ordinary record: the agent and a bare reader drain the
//! same records.
//!
//! The ring of a small machine holds a thousand records, so 50,000 go through
//! it in bursts: writer and reader share one CPU, on which the writer goes
//! first, so the reader finds the burst whole and drains it. Both then wait in
//! poll(2) as often and read as often. (To stop the reader by a signal would
//! cost each of its threads a switch, a third of a microsecond a record of the
//! agent's.) On a node records come one by one: that is measured too.

use std::process::Command;

use nix::sched::{CpuSet, sched_setaffinity};
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
    let _turns = Turns::with(pid);
    for _ in 0..5 {
        let from = writer.mark();
        settle(pid);
        let before = cpu(pid);
        for _ in 0..count / BURST {
            writer.burst(BURST);
            drained(pid);
        }
        settle(pid);
        let used = cpu(pid) - before;
        let logged = (writer.mark() - from - 1) as usize;
        if logged >= count {
            return used as f64 / logged as f64;
        }
    }
    panic!("somebody keeps limiting what may be written to the log");
}

/// Waits until a process has read what there is. It has the CPU whenever this
/// thread sleeps; if it does not use it, it waits too.
fn drained(pid: u32) {
    let mut last = cpu(pid);
    loop {
        sleep_ms(1);
        let now = cpu(pid);
        if now == last {
            return;
        }
        last = now;
    }
}

/// While it lives, this thread and a process run on the first CPU only, and
/// the process only when this thread sleeps.
struct Turns(u32);

impl Turns {
    fn with(pid: u32) -> Turns {
        let mut first = CpuSet::new();
        first.set(0).expect("there is a first CPU");
        Turns::run_on(pid, &first);
        policy("--fifo", "1");
        Turns(pid)
    }

    fn run_on(pid: u32, cpus: &CpuSet) {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
        let tasks = tasks.expect("it is our child").flatten();
        let ids = tasks.filter_map(|t| t.file_name().to_str()?.parse().ok());
        for id in ids.chain([0]) {
            // A thread that has just ended is no error.
            let _ = sched_setaffinity(Pid::from_raw(id), cpus);
        }
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        policy("--other", "0");
        let mut all = CpuSet::new();
        for cpu in 0..CpuSet::count() {
            all.set(cpu).expect("the set has room for it");
        }
        Turns::run_on(self.0, &all);
    }
}

/// Sets this thread's scheduling policy, by chrt(1) of util-linux.
fn policy(policy: &str, priority: &str) {
    let thread = nix::unistd::gettid().to_string();
    let mut chrt = Command::new("chrt");
    let set = chrt.args([policy, "--pid", priority, &thread]).status();
    assert!(set.is_ok_and(|s| s.success()), "root may set it");
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
    let mut our_fresh = Vec::new();
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
        settle(reader.id());
        writer.fresh = true;
        our_fresh.push(drain(agent.pid(), &mut writer, count));
        writer.fresh = false;
    }
    reader.kill().expect("it is our child");
    reader.wait().expect("it is our child");
    let lost = lost() - before;
    let (ours, bare) = (median(ours), median(bare));
    let (our_follow, bare_follow) = (median(our_follow), median(bare_follow));
    let ratio = our_follow / bare_follow;
    let our_fresh = median(our_fresh);
    let (drained, fresh) = (ours / bare, our_fresh / bare);
    let figure = |name, value, unit, limit| Figure { name, value, unit, limit };
    vec![
        figure("CPU per record followed, bare", bare_follow, "ns", None),
        figure("CPU per record followed, agent", our_follow, "ns", None),
        figure("CPU per record followed, agent to bare", ratio, "x", None),
        figure("CPU per record drained, bare", bare, "ns", None),
        figure("CPU per record drained, agent", ours, "ns", None),
        figure(
            "CPU per record drained, agent to bare",
            drained,
            "x",
            Some(1.5),
        ),
        figure("CPU per record never seen, agent", our_fresh, "ns", None),
        figure("CPU per record never seen, agent to bare", fresh, "x", None),
        figure("lost meanwhile", lost as f64, "records", Some(0.0)),
    ]
}
