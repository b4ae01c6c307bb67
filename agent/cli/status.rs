//! `faultline status`: the faults that hold now.

use anyhow::Context;
use serde_json::{Value, json};

use super::known::{self, Teller, is_raised};
use super::screen::{Ink, Screen};
use super::table::{Fit, Table, UNKNOWN};
use super::{Exit, Global, client, when};
use crate::clock;
use crate::view::FaultView;

/// Options of `status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Also what is tolerated, settling, explained or cleared
    #[arg(long)]
    pub all: bool,
    /// Kernel lines that look like trouble and that no pattern knows
    #[arg(long, conflicts_with = "all")]
    pub unexplained: bool,
}

/// Shows them.
///
/// # Errors
/// Nothing could be asked.
pub fn run(
    global: &Global,
    args: &StatusArgs,
    out: &mut Screen,
) -> anyhow::Result<Exit> {
    let config = global.settings()?;
    if args.unexplained {
        return unexplained(global, &config.socket, out);
    }
    let (faults, teller) = known::faults(&config)?;
    let raised: Vec<_> = faults.iter().filter(|f| is_raised(f)).collect();
    // A node that can't be asked has told its faults all the same.
    let node = match teller {
        Teller::Agent => client::get(&config.socket, "/api/v1/node").ok(),
        Teller::Store(_) => None,
    };
    let node = node.unwrap_or_default();
    let (down, rejected) = (sources_down(&node), patterns_rejected(&node));
    // Nothing found where nobody looks is no good news.
    let blind = teller != Teller::Agent || !down.is_empty();
    let exit =
        match Exit::of_severities(raised.iter().map(|f| f.severity.as_str())) {
            Exit::Good if blind => Exit::CannotCheck,
            exit => exit,
        };
    let shown: Vec<_> =
        faults.iter().filter(|f| args.all || is_raised(f)).collect();
    if global.json {
        out.json(&json!({
            "from": teller.word(),
            "warning": teller.warning(),
            "sources_down": down,
            "patterns_rejected": rejected,
            "faults": shown,
        }))?;
        return Ok(exit);
    }
    if let Some(warning) = teller.warning() {
        out.ink(Ink::Yellow, super::escape::escape(&warning))?;
        out.line("")?;
    }
    for reason in down.iter().chain(&rejected) {
        out.ink(Ink::Yellow, super::escape::escape(reason))?;
        out.line("")?;
    }
    show(&shown, args.all, out)?;
    footer(&faults, args.all, out)?;
    Ok(exit)
}

fn show(
    faults: &[&FaultView],
    with_state: bool,
    out: &mut Screen,
) -> std::io::Result<()> {
    if faults.is_empty() {
        let none = if with_state { "No faults." } else { "No fault holds." };
        return out.line(none);
    }
    let now = clock::now().wall;
    let mut table = Table::new(&[
        ("ID", Fit::Keep),
        ("SEVERITY", Fit::Keep),
        ("STATE", Fit::Keep),
        ("PART", Fit::Keep),
        ("PLACE", Fit::Wrap),
        ("WHAT", Fit::Wrap),
        ("COUNT", Fit::Right),
        ("LAST SEEN", Fit::Keep),
    ]);
    let mut sorted = faults.to_vec();
    sorted.sort_by_key(|f| (!is_raised(f), rank(f), f.part.clone()));
    for fault in sorted {
        let last = when::parse(&fault.last_seen)
            .map_or_else(|| fault.last_seen.clone(), |t| when::ago(t, now));
        table.row([
            (&fault.id, Ink::Dim),
            (&fault.severity, severity_ink(fault)),
            (&state(fault), Ink::Plain),
            (&fault.part, Ink::Bold),
            (&place(fault), Ink::Plain),
            (&fault.summary, Ink::Plain),
            (&fault.count.to_string(), Ink::Plain),
            (&last, Ink::Plain),
        ]);
    }
    table.drop_if_unknown("PLACE");
    table.show(out)
}

/// Where the part sits, and its serial number, which tells whether it is the
/// right one.
pub fn place(fault: &FaultView) -> String {
    let serial = fault.serial.as_ref().map(|s| format!("S/N {s}"));
    let words: Vec<&str> =
        fault.place.iter().chain(&serial).map(String::as_str).collect();
    match words.is_empty() {
        true => UNKNOWN.to_owned(),
        false => words.join(", "),
    }
}

/// The worst first.
pub fn rank(fault: &FaultView) -> u8 {
    match fault.severity.as_str() {
        "fatal" => 0,
        "error" => 1,
        "warning" => 2,
        _ => 3,
    }
}

/// What is over is not red.
fn severity_ink(fault: &FaultView) -> Ink {
    match is_raised(fault) {
        true => Ink::of_severity(&fault.severity),
        false => Ink::Dim,
    }
}

/// The state with what else a person should know of it.
pub fn state(fault: &FaultView) -> String {
    let mut text = fault.state.clone();
    let mut add = |word: &str| {
        text.push_str(", ");
        text.push_str(word);
    };
    match fault.presence.as_deref() {
        Some("missing") if is_raised(fault) => add("not present"),
        Some("unknown") if is_raised(fault) => add("presence unknown"),
        _ => {}
    }
    if fault.on_probation {
        add("on probation");
    }
    if fault.recurring {
        add("recurring");
    }
    if fault.since_previous_boot {
        add("since previous boot");
    }
    if fault.injected {
        add("injected");
    }
    text
}

fn footer(
    faults: &[FaultView],
    all: bool,
    out: &mut Screen,
) -> std::io::Result<()> {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for word in ["settling", "tolerated", "explained", "cleared"] {
        let count = faults.iter().filter(|f| f.state == word).count();
        if count > 0 {
            counts.push((format!("{count} {word}"), count));
        }
    }
    if counts.is_empty() || all {
        return Ok(());
    }
    let words: Vec<_> = counts.into_iter().map(|(text, _)| text).collect();
    let text = format!(
        "Also known: {}. `faultline status --all` shows them.",
        words.join(", ")
    );
    out.ink(Ink::Dim, text)?;
    out.line("")
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The pattern files that are not in force as they stand.
fn patterns_rejected(node: &Value) -> Vec<String> {
    let rejected = node.pointer("/patterns/rejected").and_then(Value::as_array);
    let one = |file: &Value| {
        let stands_in = file.get("last_good_in_force");
        let instead = match stands_in.and_then(Value::as_bool) {
            Some(true) => "its last good version is in force",
            _ => "nothing of it is in force",
        };
        let name = text(file, "file");
        format!("rejected: {name}; {instead}: faultline check {name}")
    };
    rejected.into_iter().flatten().map(one).collect()
}

/// The sources that should be readable and are not, each with the reason.
fn sources_down(node: &Value) -> Vec<String> {
    let sources = node.get("sources").and_then(Value::as_array);
    sources
        .into_iter()
        .flatten()
        .filter(|s| text(s, "state") == "down")
        .map(|s| {
            let (id, why) = (text(s, "source"), text(s, "reason"));
            format!("unknown: source {id} can't be read: {why}")
        })
        .collect()
}

/// Shows the masked shapes of lines that nothing takes.
fn unexplained(
    global: &Global,
    socket: &std::path::Path,
    out: &mut Screen,
) -> anyhow::Result<Exit> {
    let answer = client::get(socket, "/api/v1/unexplained")
        .context("unexplained lines are kept by the running agent only")?;
    if global.json {
        out.json(&answer)?;
        return Ok(Exit::Good);
    }
    let shapes: Vec<Value> = known::list(answer, "unexplained")?;
    if shapes.is_empty() {
        out.line("Every line was explained.")?;
        return Ok(Exit::Good);
    }
    let mut table = Table::new(&[
        ("COUNT", Fit::Right),
        ("LAST SEEN", Fit::Keep),
        ("SHAPE", Fit::Wrap),
    ]);
    for shape in &shapes {
        let text = |key: &str| match shape.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        table.row([
            (&text("count"), Ink::Plain),
            (&text("last_seen"), Ink::Plain),
            (&text("text"), Ink::Plain),
        ]);
    }
    table.show(out)?;
    Ok(Exit::Good)
}
