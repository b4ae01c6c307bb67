//! `faultline explain`: all that is known of a fault, under the headings that
//! events and notifications use too; or of a pattern.

mod done;

use std::sync::Arc;

use serde_json::json;

use self::done::{Told, done, impact, told};
use super::known::{self, Teller, is_raised};
use super::screen::{Ink, Screen};
use super::{Exit, Global, client, escape, history, status, table, when};
use crate::clock;
use crate::config::Config;
use crate::parts::ids::PartId;
use crate::patterns::set::{Escalation, Pattern, Proof, SubKey};
use crate::store::HistoryEntry;
use crate::time::{Timestamp, show_duration};
use crate::view::FaultView;

/// Options of `explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// A fault (its id, "PATTERN PART", a part) or the name of a pattern
    pub what: String,
}

/// How many changes of a fault are shown.
const LIFE_SHOWN: usize = 12;

/// The width of the headings.
const HEADING: usize = 10;

/// Explains it.
///
/// # Errors
/// Nothing has such a name.
pub fn run(
    global: &Global,
    args: &ExplainArgs,
    out: &mut Screen,
) -> anyhow::Result<Exit> {
    let config = global.settings()?;
    // Patterns can be explained where no agent ever ran.
    let known = known::faults(&config);
    if let Ok((faults, teller)) = &known
        && let Some(fault) = known::find(faults, &args.what)?
    {
        if let (Some(warning), false) = (teller.warning(), global.json) {
            out.ink(Ink::Yellow, escape::escape(&warning))?;
            out.line("")?;
        }
        let explained = faults
            .iter()
            .filter(|f| f.explained_by.as_deref() == Some(&key(fault)))
            .map(key)
            .collect();
        let affects = affects(&fault.part, &config);
        let life = life(&config, fault);
        let told = told(teller, &config);
        let found = Found { fault, explained, affects, life, told };
        return found.show(global.json, out).map(|()| Exit::Good);
    }
    let set = global.load_patterns(&config)?;
    if let Some(pattern) = set.get(args.what.trim()) {
        show_pattern(pattern, global.json, out)?;
        return Ok(Exit::Good);
    }
    let names = set.patterns.keys().map(|name| &**name);
    let near = crate::patterns::diagnostic::did_you_mean(&args.what, names);
    let hint = match (near, known) {
        (Some(near), _) => format!("; did you mean the pattern {near}?"),
        (None, Err(error)) => format!("; and no faults are known: {error:#}"),
        (None, Ok(_)) => "; `faultline status --all` lists the faults".into(),
    };
    anyhow::bail!("no fault and no pattern {:?}{hint}", args.what)
}

fn key(fault: &FaultView) -> String {
    format!("{} {}", fault.pattern, fault.part)
}

/// The last changes of a fault; it is explained without them where they
/// can't be read.
fn life(config: &Config, fault: &FaultView) -> Vec<HistoryEntry> {
    let Ok((entries, _)) = known::history(config, usize::MAX) else {
        return Vec::new();
    };
    let own = entries.into_iter().filter(|e| e.id == fault.id);
    let own: Vec<_> = own.collect();
    own[own.len().saturating_sub(LIFE_SHOWN)..].to_vec()
}

/// What software loses with the part, as far as this node's mount table
/// tells.
fn affects(part: &str, config: &Config) -> Vec<String> {
    let part = PartId::new(part);
    let table = config.root.join("proc/self/mountinfo");
    let table = std::fs::read_to_string(table).unwrap_or_default();
    let mut lost: Vec<String> = table
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let point = left.split(' ').nth(4)?;
            let device = right.split(' ').nth(1)?.strip_prefix("/dev/")?;
            let below = PartId::new(&format!("disk/{device}")).is_within(&part);
            below.then(|| format!("{point} ({device})"))
        })
        .collect();
    lost.sort();
    lost.dedup();
    lost
}

/// What was found of a fault.
struct Found<'a> {
    fault: &'a FaultView,
    explained: Vec<String>,
    affects: Vec<String>,
    life: Vec<HistoryEntry>,
    told: Told,
}

impl Found<'_> {
    fn show(&self, json: bool, out: &mut Screen) -> anyhow::Result<()> {
        if json {
            out.json(&json!({
                "fault": self.fault,
                "affects": self.affects,
                "explains": self.explained,
                "done": done(self.fault, &self.told),
                "impact": impact(self.fault),
                "history": self.life,
            }))?;
            return Ok(());
        }
        let fault = self.fault;
        let now = clock::now().wall;
        let mut report = Report { out };
        report.headed("what", &fault.summary)?;
        report.more(&standing(fault, now))?;
        report.headed("part", &fault.part)?;
        for fact in facts(fault) {
            report.more(&fact)?;
        }
        for suspect in &fault.suspects {
            report.more(&format!("or {suspect}"))?;
        }
        report.list("affects", &self.affects, "not known here")?;
        report.headed("done", &done(fault, &self.told))?;
        report.headed("impact", impact(fault))?;
        report.headed("action", or_none(&fault.advice))?;
        let runbook = fault.runbook.as_deref().unwrap_or_default();
        report.headed("runbook", or_none(runbook))?;
        let evidence: Vec<String> =
            fault.evidence.iter().map(evidence).collect();
        report.list("evidence", &evidence, "none")?;
        report.list("proofs", &self.proofs(), "only a person ends it")?;
        if !self.explained.is_empty() {
            report.list("explains", &self.explained, "")?;
        }
        let life: Vec<String> = self.life.iter().map(moment).collect();
        if !life.is_empty() {
            report.list("life", &life, "")?;
        }
        Ok(())
    }

    fn proofs(&self) -> Vec<String> {
        let fault = self.fault;
        let mut proofs = match is_raised(fault) {
            true => fault.proofs.clone(),
            false => Vec::new(),
        };
        if let Some(proof) = &fault.proof {
            let when = fault.ended.as_deref().unwrap_or_default();
            proofs.push(format!("ended {when}: {proof}"));
        }
        if is_raised(fault) {
            proofs.push(format!(
                "by hand: faultline clear {} --why TEXT",
                fault.id
            ));
        }
        proofs
    }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

/// Severity, state, since when, how often.
fn standing(fault: &FaultView, now: Timestamp) -> String {
    let mut text = format!("{}, {}", fault.severity, status::state(fault));
    match (&fault.opened, &fault.ended) {
        (_, Some(ended)) if !is_raised(fault) => {
            text.push_str(&format!(" since {}", when::with_age(ended, now)));
            if let Some(opened) = &fault.opened {
                text.push_str(&format!(", opened {opened}"));
            }
        }
        (Some(opened), _) if is_raised(fault) => {
            text.push_str(&format!(" since {}", when::with_age(opened, now)));
        }
        _ => {}
    }
    text.push_str(&format!(
        "; {} error(s), last {}",
        fault.count,
        when::with_age(&fault.last_seen, now)
    ));
    if fault.relapses > 0 {
        text.push_str(&format!("; came back {} time(s)", fault.relapses));
    }
    if let Some(cause) = &fault.explained_by {
        text.push_str(&format!("; explained by {cause}"));
    }
    format!("{text} [{} {}]", fault.id, fault.pattern)
}

/// What a technician needs to find the part.
fn facts(fault: &FaultView) -> Vec<String> {
    let fact = |name: &str, value: &Option<String>| {
        value.as_ref().map(|value| format!("{name} {value}"))
    };
    let mut facts: Vec<String> = [
        fact("in", &fault.place),
        fact("model", &fault.model),
        fact("S/N", &fault.serial),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let Some(word) = fault.attachment.as_deref().filter(|a| *a != "local") {
        facts.push(format!("{word}: no hardware of this node's own"));
    }
    match fault.presence.as_deref() {
        Some("missing") => facts.push("not present".to_owned()),
        Some("unknown") => facts.push("whether it is there is unknown".into()),
        _ => {}
    }
    let names: Vec<&str> = fault
        .aliases
        .iter()
        .map(|alias| alias.split_once('/').map_or(&**alias, |(_, n)| n))
        .collect();
    if !names.is_empty() {
        facts.push(format!("also {}", names.join(", ")));
    }
    facts
}

fn evidence(evidence: &crate::ledger::fault::Evidence) -> String {
    let about = if evidence.approximate { "~" } else { "" };
    format!("{about}{}  {}", evidence.time, evidence.text)
}

fn moment(entry: &HistoryEntry) -> String {
    let mut text = format!("{}  {}", entry.time, history::change(entry));
    if let Some(proof) = &entry.proof {
        text.push_str(&format!(": {proof}"));
    }
    if let Some(why) = &entry.why {
        text.push_str(&format!(", {why}"));
    }
    if let Some(cause) = &entry.explained_by {
        text.push_str(&format!(" by {cause}"));
    }
    text
}

/// Headings on the left, text on the right.
struct Report<'a> {
    out: &'a mut Screen,
}

impl Report<'_> {
    fn headed(&mut self, heading: &str, text: &str) -> std::io::Result<()> {
        self.lines(heading, text)
    }

    fn more(&mut self, text: &str) -> std::io::Result<()> {
        self.lines("", text)
    }

    fn list(
        &mut self,
        heading: &str,
        items: &[String],
        none: &str,
    ) -> std::io::Result<()> {
        if items.is_empty() {
            return self.lines(heading, none);
        }
        for (i, item) in items.iter().enumerate() {
            self.lines(if i == 0 { heading } else { "" }, item)?;
        }
        Ok(())
    }

    fn lines(&mut self, heading: &str, text: &str) -> std::io::Result<()> {
        let text = escape::escape(text);
        let lines = match self.out.width() {
            Some(width) => table::wrap(&text, width.saturating_sub(HEADING)),
            None => vec![text.into_owned()],
        };
        for (i, line) in lines.iter().enumerate() {
            let heading = if i == 0 { heading } else { "" };
            self.out.ink(Ink::Bold, heading)?;
            self.out.spaces(HEADING - heading.len())?;
            self.out.line(line)?;
        }
        Ok(())
    }
}

fn show_pattern(
    pattern: &Arc<Pattern>,
    json: bool,
    out: &mut Screen,
) -> anyhow::Result<()> {
    let proofs: Vec<String> = pattern.clear.iter().map(proof).collect();
    let escalations: Vec<String> =
        pattern.escalate.iter().map(escalation).collect();
    let runbook = pattern.runbook.as_deref().unwrap_or_default();
    if json {
        out.json(&json!({
            "pattern": pattern.name,
            "component": pattern.component,
            "file": pattern.file,
            "source": pattern.source,
            "severity": pattern.severity,
            "tolerance": tolerance(pattern),
            "proofs": proofs,
            "escalations": escalations,
            "suppresses": pattern.suppresses,
            "condition": pattern.condition,
            "quarantine": pattern.quarantine,
            "stage": pattern.stage,
            "runbook": pattern.runbook,
        }))?;
        return Ok(());
    }
    // The holes are filled when a line comes; until then they name what
    // they take from it.
    let holes = pattern.summary.holes().chain(pattern.advice.holes());
    let holes = holes.map(|h| (h.to_owned(), format!("{{{h}}}"))).collect();
    let mut report = Report { out };
    report.headed("pattern", &pattern.name)?;
    report.headed("what", &pattern.summary.show(&holes, 1))?;
    report.more(&format!(
        "{}, component {}",
        pattern.severity.word(),
        pattern.component
    ))?;
    report.headed("file", &pattern.file)?;
    report.headed("where", &format!("source {}", pattern.source))?;
    if pattern.benign {
        return Ok(report.more("benign: known to be harmless, opens nothing")?);
    }
    if pattern.fallback {
        report.more("fallback: knows only whose a line is")?;
    }
    report.headed("tolerance", &tolerance(pattern))?;
    report.list("proofs", &proofs, "only a person ends it")?;
    if !escalations.is_empty() {
        report.list("escalates", &escalations, "")?;
    }
    if !pattern.suppresses.is_empty() {
        report.headed("explains", &pattern.suppresses.join(", "))?;
    }
    let quarantine = pattern.quarantine.word();
    report.headed(
        "done",
        &format!(
            "condition {}, quarantine {quarantine}, up to stage {}",
            pattern.condition,
            format!("{:?}", pattern.stage).to_lowercase()
        ),
    )?;
    report.headed("action", or_none(&pattern.advice.show(&holes, 1)))?;
    Ok(report.headed("runbook", or_none(runbook))?)
}

fn tolerance(pattern: &Pattern) -> String {
    let mut text = match &pattern.tolerate {
        None if pattern.lasting.is_zero() => "none: the first opens".into(),
        None => format!("must hold for {}", show_duration(pattern.lasting)),
        Some(t) => {
            let window = show_duration(t.window);
            match t.once_per {
                None => format!("{} in {window}", t.count),
                Some(per) => format!(
                    "{} in {window}, counted once per {}",
                    t.count,
                    show_duration(per)
                ),
            }
        }
    };
    match &pattern.sub_key {
        SubKey::None => {}
        SubKey::Same(_) => text.push_str(", each value apart"),
        SubKey::Distinct(_) => text.push_str(", different values only"),
    }
    text
}

fn proof(proof: &Proof) -> String {
    match proof {
        Proof::Recovered { hold } if hold.is_zero() => {
            "a recovery is seen".into()
        }
        Proof::Recovered { hold } => {
            format!("a recovery is seen and holds {}", show_duration(*hold))
        }
        Proof::Normal(t) => format!("normal for {}", show_duration(*t)),
        Proof::Quiet(t) => format!("quiet for {}", show_duration(*t)),
        Proof::Reboot(t) => {
            format!("a reboot, then quiet for {}", show_duration(*t))
        }
        Proof::Replaced => "the part is replaced".into(),
    }
}

fn escalation(escalation: &Escalation) -> String {
    let when = &escalation.when;
    let mut conditions = Vec::new();
    if let Some(parts) = when.parts {
        conditions.push(format!("{parts} parts have it"));
    }
    if let Some(count) = when.count {
        conditions.push(format!("{count} errors"));
    }
    if let Some(lasting) = when.lasting {
        conditions.push(format!("it lasts {}", show_duration(lasting)));
    }
    if let Some(relapses) = when.relapses {
        conditions.push(format!("it came back {relapses} times"));
    }
    let mut then = Vec::new();
    if let Some(severity) = escalation.severity {
        then.push(severity.word().to_owned());
    }
    if let Some(quarantine) = escalation.quarantine {
        then.push(format!("quarantine by {}", quarantine.word()));
    }
    if escalation.on_parent {
        then.push("one fault on their parent".to_owned());
    }
    format!("{}: {}", conditions.join(" and "), then.join(", "))
}
