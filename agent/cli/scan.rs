//! `faultline scan`: one pass over everything readable now, without a running
//! agent. What the sources find is played through a ledger in the order in
//! which it happened, so that counts, tolerances and recoveries mean what
//! they mean in the agent.

mod gathered;
mod pass;

use serde_json::json;

use super::screen::{Ink, Screen};
use super::table::{Fit, Table};
use super::{Exit, Global, escape, known, status};
use crate::clock;
use crate::drive::Drive;
use crate::patterns::set::PatternSet;
use crate::signal::{Event, Truth};
use crate::time::{Timestamp, Uptime};
use crate::view::FaultView;
use pass::{Pass, Reading};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Options of `scan`.
#[derive(Debug, clap::Args)]
pub struct ScanArgs {
    /// Also what is within its tolerance, explained or over
    #[arg(long)]
    pub all: bool,
    /// The directory that holds the host's /proc, /sys and /dev
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

/// How long a state that holds now is taken to have held: a scan is no time
/// to wait for `lasting`.
const HELD_MAX: Duration = Duration::from_secs(3600);

/// Looks and shows.
///
/// # Errors
/// The configuration or the patterns make no sense.
pub fn run(
    global: &Global,
    args: &ScanArgs,
    out: &mut Screen,
) -> anyhow::Result<Exit> {
    let mut config = global.settings()?;
    if let Some(root) = &args.root {
        config.root.clone_from(root);
    }
    let set = global.load_patterns(&config)?;
    let pass = pass::pass(&config, &set)?;
    let now = clock::now().wall;
    let (faults, at) = play(&set, &pass, now);
    let views = faults.iter().map(|f| FaultView::of(f, at));
    let shown: Vec<FaultView> =
        views.filter(|f| args.all || known::is_raised(f)).collect();
    let blind = pass.readings.iter().any(|r| r.state == "unknown");
    let raised = shown.iter().filter(|f| known::is_raised(f));
    let exit = match Exit::of_severities(raised.map(|f| f.severity.as_str())) {
        Exit::Good if blind => Exit::CannotCheck,
        exit => exit,
    };
    if global.json {
        out.json(&json!({
            "time": now.to_string(),
            "faults": shown,
            "sources": pass.readings,
        }))?;
        return Ok(exit);
    }
    show(shown, args.all, out)?;
    out.line("")?;
    for reading in &pass.readings {
        show_reading(reading, out)?;
    }
    Ok(exit)
}

/// Plays what was found through a ledger, up to now.
fn play(
    set: &Arc<PatternSet>,
    pass: &Pass,
    now: Timestamp,
) -> (Vec<crate::ledger::fault::Fault>, Uptime) {
    let first = pass.events.first().map_or(now, |e| e.time).min(now);
    let mut drive = Drive::new(Arc::clone(set), first);
    if let Some(census) = &pass.census {
        drive.census(Arc::clone(census));
    }
    let mut end = now;
    for found in &pass.events {
        drive.advance(found.time.min(now));
        drive.batch(found.source, vec![found.event.clone()]);
        let (signal, waits) = match &found.event {
            Event::State(signal, Truth::True) => (signal, true),
            Event::Match(signal) => (signal, false),
            _ => continue,
        };
        let Some(pattern) = set.get(&signal.pattern) else { continue };
        // Nobody waits here: what holds is taken to have lasted, and what
        // waits for its cause has seen all that there is.
        let lasting = if waits { pattern.lasting } else { Duration::ZERO };
        let settle = match pattern.suppressible {
            true => pattern.settle,
            false => Duration::ZERO,
        };
        end = end.max(found.time.min(now).plus(lasting + settle));
    }
    drive.advance(end.min(now.plus(HELD_MAX)));
    let at = drive.now().boot;
    (drive.ledger().faults().cloned().collect(), at)
}

fn show(
    mut faults: Vec<FaultView>,
    with_state: bool,
    out: &mut Screen,
) -> std::io::Result<()> {
    if faults.is_empty() {
        return out.line("Nothing found.");
    }
    faults.sort_by_key(|f| {
        (!known::is_raised(f), status::rank(f), f.part.clone())
    });
    let mut table = Table::new(&[
        ("SEVERITY", Fit::Keep),
        ("PART", Fit::Keep),
        ("PLACE", Fit::Wrap),
        ("WHAT", Fit::Wrap),
        ("COUNT", Fit::Right),
        ("LAST SEEN", Fit::Keep),
        ("ACTION", Fit::Wrap),
    ]);
    for fault in &faults {
        let raised = known::is_raised(fault);
        let ink =
            if raised { Ink::of_severity(&fault.severity) } else { Ink::Dim };
        let what = match with_state && !raised {
            true => format!("{} ({})", fault.summary, status::state(fault)),
            false => fault.summary.clone(),
        };
        table.row([
            (&fault.severity, ink),
            (&fault.part, Ink::Bold),
            (&status::place(fault), Ink::Plain),
            (&what, Ink::Plain),
            (&fault.count.to_string(), Ink::Plain),
            (&fault.last_seen, Ink::Plain),
            (&fault.advice, Ink::Plain),
        ]);
    }
    table.drop_if_unknown("PLACE");
    table.show(out)
}

fn show_reading(reading: &Reading, out: &mut Screen) -> std::io::Result<()> {
    let ink = match reading.state {
        "read" => Ink::Plain,
        "absent" => Ink::Dim,
        _ => Ink::Yellow,
    };
    out.ink(ink, escape::escape(&reading.to_string()))?;
    out.line("")
}
