//! The built agent on this machine's real `/dev/kmsg`, beside a bare reader.
//!
//! `cargo bench --bench agent -- short` holds the limits that CI can hold in
//! a minute; `full` takes the sizes of docs/performance.md; `idle` also waits
//! ten minutes for the memory; `only=cost` (loss, latency, memory) takes one
//! part. Needs root, since it writes kernel records.

mod agent;
mod bare;
mod cost;
mod latency;
mod loss;
mod ring;

use std::process::ExitCode;

use agent::Agent;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Size {
    Short,
    Full,
    Idle,
}

/// One figure and its limit.
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    limit: Option<f64>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|a| a == "bare-reader") {
        bare::read();
        return ExitCode::SUCCESS;
    }
    let size = if args.iter().any(|a| a == "idle") {
        Size::Idle
    } else if args.iter().any(|a| a == "full") {
        Size::Full
    } else {
        Size::Short
    };
    if let Err(why) = ring::usable() {
        not_run(&why);
        return ExitCode::SUCCESS;
    }
    let _settings = ring::open_for_all();
    let part = args.iter().find_map(|a| a.strip_prefix("only="));
    println!("agent on /dev/kmsg, {size:?}:");
    let mut good = show(vec![size_of_binary()]);
    type Measure = fn(Size) -> Vec<Figure>;
    let parts: [(&str, Measure); 4] = [
        ("cost", cost::measure),
        ("loss", loss::measure),
        ("latency", latency::measure),
        ("memory", memory),
    ];
    for (name, measure) in parts {
        if part.is_none_or(|part| part == name) {
            good &= show(measure(size));
        }
    }
    ExitCode::from(u8::from(!good))
}

/// Prints figures; says whether all are within their limits.
fn show(figures: Vec<Figure>) -> bool {
    let mut good = true;
    for f in figures {
        let limit = f.limit.map_or(String::new(), |l| {
            good &= f.value <= l;
            let broken = if f.value > l { "  BROKEN" } else { "" };
            format!("  (limit {l}){broken}")
        });
        println!("  {:44} {:10.2} {}{limit}", f.name, f.value, f.unit);
    }
    good
}

fn size_of_binary() -> Figure {
    let bytes = std::fs::metadata(agent::BINARY).map_or(0, |m| m.len());
    // The profile `fast` is not linked as tightly as a release.
    let (name, limit) = ("binary as built here", None);
    Figure { name, value: bytes as f64 / 1e6, unit: "MB", limit }
}

/// Memory after a load of records that match nothing.
fn memory(size: Size) -> Vec<Figure> {
    let (agent, started) = Agent::start(&[]);
    let mut writer = ring::Writer::open();
    for _ in 0..20 {
        writer.burst(500);
        agent.settle();
    }
    let (rss, anon) = agent.memory();
    let figure = |name, value, limit| Figure {
        name,
        value: f64::from(value) / 1000.0,
        unit: "MB",
        limit,
    };
    let mut all = vec![
        Figure {
            name: "start to first record",
            value: started,
            unit: "ms",
            limit: (size > Size::Short).then_some(100.0),
        },
        figure("VmRSS after load", rss, None),
        figure("RssAnon after load", anon, None),
    ];
    if size == Size::Idle {
        ring::sleep_ms(600_000);
        let (later, anon) = agent.memory();
        all.push(figure("VmRSS after ten idle minutes", later, Some(12.0)));
        all.push(figure("RssAnon after ten idle minutes", anon, None));
    }
    all
}

fn not_run(why: &str) {
    println!("NOT RUN: benchmarks of the agent: {why}");
    let Some(list) = std::env::var_os("FAULTLINE_NOT_RUN") else { return };
    let line = format!("benchmarks of the agent: {why}\n");
    let mut options = std::fs::File::options();
    let file = options.append(true).create(true).open(list);
    let wrote = file
        .and_then(|mut f| std::io::Write::write_all(&mut f, line.as_bytes()));
    wrote.expect("the list of what did not run can be written");
}
