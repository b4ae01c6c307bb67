//! `faultline replay`: what would have happened over a log. The same matcher
//! and ledger as in the agent, on a virtual clock that the lines drive.
//!
//! Invariant: nothing is kept that grows with the log; changes are shown as
//! they come.

mod clock;
pub(super) mod input;
mod machine;
mod matches;
mod pasted;
mod report;
mod spread;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::tz::TimeZone;

use super::screen::Screen;
use super::{Exit, Global};
use crate::parts::census::Census;
use crate::parts::host::Labels;
use crate::parts::looker::{Looker, PATIENCE};
use crate::sources::text::{Line, Reader};
use crate::time::{Timestamp, parse_duration};
use input::Input;
use machine::Machine;
use matches::Matches;
pub use pasted::Pasted;
use report::Report;
pub use spread::Spread;

/// Options of `replay`.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// The log: dmesg output, a journal export, /var/log/messages or raw
    /// kmsg records; `-` for standard input
    #[arg(default_value = "-")]
    pub log: PathBuf,
    /// Show which lines matched which patterns instead of the faults
    #[arg(long)]
    pub matches: bool,
    /// Let so much time pass after the last line
    #[arg(long, value_name = "DURATION", default_value = "0s",
        value_parser = parse_duration)]
    pub follow_up: Duration,
    /// The year in which the log ends, for dates without one [default: when
    /// the file was written]
    #[arg(long, value_parser = year)]
    pub year: Option<i16>,
    /// The host that the log is of, by the directory that holds its /proc
    /// and /sys: faults are then filed under its parts, as they are named
    /// now
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

/// What is said of lines that nobody could make sense of.
const BROKEN: &str = "line(s) passed over: the journal export is broken there \
    (cut off, or copied as text)";

/// What the lines are handed to.
trait Sink {
    /// Takes a line; whether something was shown because of it.
    fn line(&mut self, line: &Line) -> anyhow::Result<bool>;

    /// Where it shows things.
    fn screen(&mut self) -> &mut Screen;
}

/// Replays the log.
///
/// # Errors
/// The log or the patterns can't be read.
pub fn run(
    global: &Global,
    args: &ReplayArgs,
    out: &mut Screen,
) -> anyhow::Result<Exit> {
    let config = global.settings()?;
    let set = global.load_patterns(&config)?;
    let name = args.log.display();
    let mut input =
        Input::open(&args.log).with_context(|| format!("{name}"))?;
    let zone = TimeZone::system();
    let mut reader = Reader::new(latest(args, &zone), zone);
    if args.matches {
        let mut sink = Matches::new(&set, global.json, out);
        feed(&mut input, &name.to_string(), &mut reader, &mut sink)?;
        warn_of(reader.passed_over());
        return Ok(Exit::Good);
    }
    let report = Report::new(global.json, out);
    let labels = &config.sources.inventory.labels;
    let census = args.root.as_deref().map(|root| census(root, labels));
    let census = census.transpose()?;
    let mut sink = Machine::new(set, census, report);
    sink.begin()?;
    feed(&mut input, &name.to_string(), &mut reader, &mut sink)?;
    sink.pass(args.follow_up)?;
    sink.end(input.lines, input.cut, reader.passed_over())?;
    Ok(Exit::Good)
}

/// Says where there is no room in the output that lines were passed over.
fn warn_of(passed_over: u64) {
    if passed_over > 0 {
        eprintln!("faultline: {passed_over} {BROKEN}");
    }
}

/// The parts of the host below `root`.
fn census(root: &Path, labels: &Labels) -> anyhow::Result<Arc<Census>> {
    let mut looker = Looker::new(root, labels.clone());
    let reading = looker.look(PATIENCE).map_err(anyhow::Error::msg)?;
    let census = Census::default().after(&Default::default(), reading);
    Ok(Arc::new(census))
}

/// Hands every line of the log to `sink`.
fn feed(
    input: &mut Input,
    name: &str,
    reader: &mut Reader,
    sink: &mut impl Sink,
) -> anyhow::Result<()> {
    let (mut raw, mut pasted) = (Vec::new(), Pasted::default());
    let (mut spread, mut whole) = (Spread::default(), Vec::new());
    loop {
        let more = input.next(&mut raw).with_context(|| name.to_owned())?;
        if more && reader.is_in_value() {
            // Every byte counts.
            if let Some(line) = reader.line_of(&raw, input.length) {
                sink.line(line)?;
            }
            continue;
        }
        if more {
            if raw.last() == Some(&b'\r') {
                raw.pop();
            }
            pasted.clean(&mut raw);
            spread.take(&raw, &mut whole);
        } else {
            spread.end(&mut whole);
        }
        for raw in whole.drain(..) {
            let Some(line) = reader.line(&raw) else { continue };
            if sink.line(line)? && sink.screen().is_terminal() {
                input.wipe_progress();
                sink.screen().flush()?;
            }
        }
        if !more {
            break;
        }
    }
    while let Some(line) = reader.end() {
        sink.line(line)?;
    }
    Ok(())
}

/// When the log was last written: at the end of the year that was told, else
/// when the file was, else now.
fn latest(args: &ReplayArgs, zone: &TimeZone) -> Timestamp {
    let told = args.year.and_then(|year| {
        let end = jiff::civil::date(year, 12, 31).at(23, 59, 59, 0);
        end.to_zoned(zone.clone()).ok().map(|z| z.timestamp())
    });
    let modified = || {
        let meta = std::fs::metadata(&args.log).ok()?;
        let time = meta.is_file().then(|| meta.modified().ok())??;
        jiff::Timestamp::try_from(time).ok()
    };
    let known = told.or_else(modified).map(|t| Timestamp(t.as_microsecond()));
    known.unwrap_or_else(|| crate::clock::now().wall)
}

fn year(text: &str) -> Result<i16, String> {
    let year: i16 = text.parse().map_err(|_| "no year".to_owned())?;
    // The kernel is not older, and civil dates end with 9999.
    match (1991..=9999).contains(&year) {
        true => Ok(year),
        false => Err("write a year from 1991 to 9999".to_owned()),
    }
}
