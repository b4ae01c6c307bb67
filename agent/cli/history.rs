//! `faultline history`: what became of faults, newest last.

use std::num::NonZeroUsize;

use serde_json::json;

use super::known;
use super::screen::{Ink, Screen};
use super::table::{Fit, Table};
use super::{Exit, Global, escape};
use crate::store::HistoryEntry;

/// Options of `history`.
#[derive(Debug, clap::Args)]
pub struct HistoryArgs {
    /// Only this fault, part or pattern
    pub fault: Option<String>,
    /// At most so many changes, the newest
    #[arg(long, short = 'n', default_value = "50")]
    pub limit: NonZeroUsize,
}

/// More than the store keeps; what `--limit` may ask the store for.
const ALL: usize = 10_000;

/// Shows it.
///
/// # Errors
/// Nothing could be asked.
pub fn run(
    global: &Global,
    args: &HistoryArgs,
    out: &mut Screen,
) -> anyhow::Result<Exit> {
    let config = global.settings()?;
    // The filter comes before the limit.
    let most = args.limit.get();
    let limit = if args.fault.is_some() { ALL } else { most.min(ALL) };
    let (mut entries, teller) = known::history(&config, limit)?;
    if let Some(what) = &args.fault {
        entries.retain(|entry| is_about(entry, what.trim()));
        while entries.len() > most {
            entries.pop_front();
        }
    }
    if global.json {
        out.json(&json!({
            "from": teller.word(),
            "warning": teller.warning(),
            "history": entries,
        }))?;
        return Ok(Exit::Good);
    }
    if let Some(warning) = teller.warning() {
        out.ink(Ink::Yellow, escape::escape(&warning))?;
        out.line("")?;
    }
    if entries.is_empty() {
        out.line("Nothing has happened.")?;
        return Ok(Exit::Good);
    }
    let mut table = Table::new(&[
        ("TIME", Fit::Keep),
        ("CHANGE", Fit::Keep),
        ("SEVERITY", Fit::Keep),
        ("ID", Fit::Keep),
        ("PART", Fit::Keep),
        ("WHAT", Fit::Wrap),
    ]);
    for entry in &entries {
        table.row([
            (&entry.time, Ink::Plain),
            (&change(entry), ink(entry)),
            (&entry.severity, Ink::of_severity(&entry.severity)),
            (&entry.id, Ink::Dim),
            (&entry.part, Ink::Bold),
            (&what(entry), Ink::Plain),
        ]);
    }
    table.show(out)?;
    Ok(Exit::Good)
}

fn is_about(entry: &HistoryEntry, what: &str) -> bool {
    entry.id == what
        || entry.part == what
        || entry.pattern == what
        || format!("{} {}", entry.pattern, entry.part) == what
}

/// The change, with whether it is the fault's return.
pub fn change(entry: &HistoryEntry) -> String {
    match (entry.change.as_str(), entry.relapse) {
        ("opened", true) => "opened again".to_owned(),
        (word, _) => word.to_owned(),
    }
}

/// What it is about, and for an end what ended it.
pub fn what(entry: &HistoryEntry) -> String {
    let mut text = entry.summary.clone();
    if let Some(proof) = &entry.proof {
        text.push_str(&format!(" [{proof}"));
        if let Some(why) = &entry.why {
            text.push_str(&format!(": {why}"));
        }
        text.push(']');
    }
    if let Some(cause) = &entry.explained_by {
        text.push_str(&format!(" [by {cause}]"));
    }
    if entry.injected {
        text.push_str(" [injected]");
    }
    text
}

/// Ends are green, beginnings as bad as the fault.
pub fn ink(entry: &HistoryEntry) -> Ink {
    match entry.change.as_str() {
        "cleared" | "off-probation" | "eased" => Ink::Green,
        "opened" | "escalated" => Ink::of_severity(&entry.severity),
        _ => Ink::Plain,
    }
}
