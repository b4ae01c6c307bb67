//! A burst as fast as it can be written, and a sustained flood: every record
//! is seen or counted as lost, exactly.

use super::agent::Agent;
use super::ring::{Writer, sleep_ms};
use super::{Figure, Size};

/// Runs `flood` and returns how many records the log got, and how many the
/// agent saw and lost.
fn account(
    agent: &Agent,
    writer: &mut Writer,
    flood: impl FnOnce(&mut Writer),
) -> (u64, u64, u64) {
    let seen = || agent.counted("faultline_observations_total");
    let lost = || agent.counted("faultline_records_lost_total");
    let from = writer.mark();
    agent.settle();
    let (seen_before, lost_before) = (seen(), lost());
    flood(writer);
    let to = writer.mark();
    agent.settle();
    (to - from, seen() - seen_before, lost() - lost_before)
}

pub fn measure(size: Size) -> Vec<Figure> {
    let seconds = if size == Size::Short { 3 } else { 30 };
    let (agent, _) = Agent::start(&[]);
    let mut writer = Writer::open();
    let burst = account(&agent, &mut writer, |w| w.burst(5_000));
    let flood = account(&agent, &mut writer, |w| {
        // 10,000 records a second in steps of 1 ms, kept to the clock.
        let start = faultline::clock::monotonic();
        for step in 1..=seconds * 1000 {
            w.burst(10);
            while faultline::clock::monotonic() < start + step * 1000 {
                sleep_ms(1);
            }
        }
    });
    let mut all = Vec::new();
    for (what, (written, seen, lost)) in [("burst", burst), ("flood", flood)] {
        let names = match what {
            "burst" => [
                "burst of 5,000: seen",
                "burst of 5,000: counted as lost",
                "burst of 5,000: neither seen nor counted",
            ],
            _ => [
                "10,000/s: seen",
                "10,000/s: counted as lost",
                "10,000/s: neither seen nor counted",
            ],
        };
        let open = (written as f64 - seen as f64 - lost as f64).abs();
        let values = [seen as f64, lost as f64, open];
        for (name, value) in names.into_iter().zip(values) {
            let exact = name.ends_with("neither seen nor counted");
            let limit = exact.then_some(0.0);
            all.push(Figure { name, value, unit: "records", limit });
        }
    }
    all
}
