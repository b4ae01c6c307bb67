//! What a replay shows: changes as they come, and at the end what stands and
//! what would have been done.

use std::io;
use std::sync::Arc;

use serde_json::json;

use crate::cli::escape::escape;
use crate::cli::history;
use crate::cli::screen::{Ink, Screen};
use crate::cli::table::{Fit, Table};
use crate::ledger::Change;
use crate::ledger::desired::{Desired, Status, desired};
use crate::ledger::fault::{Fault, Phase};
use crate::patterns::set::Quarantine;
use crate::sources::Unexplained;
use crate::sources::unexplained::Shape;
use crate::store::HistoryEntry;
use crate::time::{Now, Timestamp};
use crate::view::FaultView;

/// Shapes of unexplained lines that people are shown; `--json` has them all.
const SHAPES_SHOWN: usize = 10;

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Lines of input.
    pub lines: u64,
    /// Lines too long to be looked at whole.
    pub cut: u64,
    /// Lines of a broken journal export.
    pub passed_over: u64,
    /// Records that a pattern took.
    pub matched: u64,
    /// Boots of the machine.
    pub boots: u64,
    /// Whether the times count from the first boot, since no line had the
    /// time of a wall clock.
    pub relative: bool,
    /// The earliest time.
    pub first: Option<Timestamp>,
    /// The latest time.
    pub last: Option<Timestamp>,
    /// Matches of severity info.
    pub notes: u64,
}

impl Totals {
    /// A line had this time.
    pub fn saw(&mut self, time: Timestamp) {
        self.first = Some(self.first.map_or(time, |t| t.min(time)));
        self.last = Some(self.last.map_or(time, |t| t.max(time)));
    }
}

/// Writes the report.
pub struct Report<'a> {
    json: bool,
    out: &'a mut Screen,
    /// Whether a change was shown.
    any: bool,
    desired: Desired,
}

impl<'a> Report<'a> {
    /// A report on `out`.
    pub fn new(json: bool, out: &'a mut Screen) -> Report<'a> {
        Report { json, out, any: false, desired: Desired::default() }
    }

    /// Where it is written.
    pub fn screen(&mut self) -> &mut Screen {
        self.out
    }

    /// Before the first line.
    pub fn begin(&mut self) -> io::Result<()> {
        if self.json {
            self.out.line("{\"changes\":[")?;
        }
        Ok(())
    }

    /// The machine boots for the `n`th time.
    pub fn boot(&mut self, n: u64) -> io::Result<()> {
        if self.json || !self.any {
            return Ok(());
        }
        self.out.ink(Ink::Dim, format!("-- boot {n} --"))?;
        self.out.line("")
    }

    /// A fault changed.
    pub fn change(
        &mut self,
        change: &Change,
        relative: bool,
    ) -> io::Result<()> {
        let entry = HistoryEntry::of(change);
        if self.json {
            if self.any {
                self.out.line(",")?;
            }
            self.any = true;
            return self.out.json_line(&entry);
        }
        self.any = true;
        let time = show_time(change.time, relative);
        let word = history::change(&entry);
        self.out.ink(Ink::Dim, time)?;
        self.out.ink(history::ink(&entry), format!("  {word:<14}"))?;
        let severity = format!("{:<9}", entry.severity);
        self.out.ink(Ink::of_severity(&entry.severity), severity)?;
        self.out.ink(Ink::Bold, escape(&entry.part))?;
        self.out.line(format!("  {}", escape(&history::what(&entry))))
    }

    /// What the node should look like after a change; shown where it differs
    /// from before.
    pub fn desired(&mut self, desired: &Desired) -> io::Result<()> {
        if *desired == self.desired {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.desired, desired.clone());
        if self.json {
            return Ok(());
        }
        let holds = |d: &Desired, name: &Arc<str>| {
            d.conditions.get(name).is_some_and(|c| c.status == Status::True)
        };
        let names = before.conditions.keys().chain(desired.conditions.keys());
        let names: std::collections::BTreeSet<_> = names.cloned().collect();
        for name in names {
            match (holds(&before, &name), holds(desired, &name)) {
                (false, true) => {
                    self.would(&format!("set condition {name}=True"))?;
                }
                (true, false) => {
                    self.would(&format!("set condition {name}=False"))?;
                }
                _ => {}
            }
        }
        let now = (desired.quarantine, &desired.taint);
        if now != (before.quarantine, &before.taint) {
            let deed = match desired.quarantine {
                Quarantine::None => "release the node".to_owned(),
                _ => quarantine(desired),
            };
            self.would(&deed)?;
        }
        Ok(())
    }

    fn would(&mut self, what: &str) -> io::Result<()> {
        self.out.spaces(22)?;
        self.out.line(format!("would {}", escape(what)))
    }

    /// After the last line.
    pub fn end(
        &mut self,
        totals: &Totals,
        faults: &[&Fault],
        unexplained: &Unexplained,
        now: Now,
    ) -> io::Result<()> {
        // A fault that was forgotten since the last change told nobody.
        self.desired = desired(faults.iter().copied());
        if self.json {
            return self.end_json(totals, faults, unexplained, now);
        }
        if self.any {
            self.out.line("")?;
        }
        self.sums(totals)?;
        let mut standing: Vec<&Fault> =
            faults.iter().filter(|f| f.phase.is_raised()).copied().collect();
        standing.sort_by_key(|f| (std::cmp::Reverse(f.severity), &f.key));
        if standing.is_empty() {
            self.out.line("No fault stands at the end.")?;
        } else {
            self.heading("Standing at the end")?;
            self.table(&standing, totals.relative)?;
        }
        self.others(faults, totals.relative)?;
        self.deeds()?;
        self.unexplained(unexplained)
    }

    fn end_json(
        &mut self,
        totals: &Totals,
        faults: &[&Fault],
        unexplained: &Unexplained,
        now: Now,
    ) -> io::Result<()> {
        let views: Vec<_> =
            faults.iter().map(|f| FaultView::of(f, now.boot)).collect();
        let time = |t: Option<Timestamp>| t.map(|t| t.to_string());
        let shape = |s: Shape| {
            json!({
                "text": s.text,
                "count": s.count,
                "example": s.example,
                "last_seen": s.last_seen.to_string(),
            })
        };
        let shapes: Vec<_> =
            unexplained.shapes().into_iter().map(shape).collect();
        let input = json!({
            "lines": totals.lines,
            "lines_cut": totals.cut,
            "lines_passed_over": totals.passed_over,
            "records_matched": totals.matched,
            "notes": totals.notes,
            "unexplained": unexplained.total(),
            "boots": totals.boots,
            "times": if totals.relative { "since-boot" } else { "wall" },
            "first": time(totals.first),
            "last": time(totals.last),
        });
        let rest = serde_json::to_string_pretty(&json!({
            "faults": views,
            "desired": self.desired,
            "unexplained": shapes,
            "input": input,
        }))?;
        // The object was begun before the first change.
        let rest = rest.trim_start_matches('{');
        self.out.line("],")?;
        self.out.line(crate::cli::escape::quiet_json(rest.trim_start()))
    }

    fn sums(&mut self, totals: &Totals) -> io::Result<()> {
        let mut text = format!("{} line(s)", totals.lines);
        if totals.boots > 1 {
            text.push_str(&format!(", {} boots", totals.boots));
        }
        if let (Some(first), Some(last)) = (totals.first, totals.last) {
            let show = |t| show_time(t, totals.relative);
            text.push_str(&format!(", {} to {}", show(first), show(last)));
        }
        text.push_str(&format!("; {} matched a pattern", totals.matched));
        if totals.notes > 0 {
            text.push_str(&format!(", {} only noted", totals.notes));
        }
        if totals.cut > 0 {
            text.push_str(&format!(", {} too long and cut", totals.cut));
        }
        self.out.line(text)?;
        if totals.passed_over > 0 {
            let broken = crate::cli::replay::BROKEN;
            self.out.line(format!("{} {broken}", totals.passed_over))?;
        }
        Ok(())
    }

    fn heading(&mut self, text: &str) -> io::Result<()> {
        self.out.line("")?;
        self.out.ink(Ink::Bold, text)?;
        self.out.line("")
    }

    fn table(&mut self, faults: &[&Fault], relative: bool) -> io::Result<()> {
        let mut table = Table::new(&[
            ("SEVERITY", Fit::Keep),
            ("PART", Fit::Keep),
            ("WHAT", Fit::Wrap),
            ("COUNT", Fit::Right),
            ("LAST SEEN", Fit::Keep),
            ("ACTION", Fit::Wrap),
        ]);
        for fault in faults {
            let severity = fault.severity.word();
            table.row([
                (severity, Ink::of_severity(severity)),
                (fault.name().as_str(), Ink::Bold),
                (&fault.summary, Ink::Plain),
                (&fault.count.to_string(), Ink::Plain),
                (&show_time(fault.last_seen, relative), Ink::Plain),
                (&fault.advice, Ink::Plain),
            ]);
        }
        table.show(self.out)
    }

    /// What is not raised, and why.
    fn others(&mut self, faults: &[&Fault], relative: bool) -> io::Result<()> {
        let rest: Vec<_> =
            faults.iter().filter(|f| !f.phase.is_raised()).collect();
        if rest.is_empty() {
            return Ok(());
        }
        self.heading("Not raised")?;
        let mut table = Table::new(&[
            ("STATE", Fit::Keep),
            ("PART", Fit::Keep),
            ("WHAT", Fit::Wrap),
            ("COUNT", Fit::Right),
            ("LAST SEEN", Fit::Keep),
            ("WHY", Fit::Wrap),
        ]);
        for fault in rest {
            table.row([
                (fault.phase.word(), Ink::Plain),
                (fault.name().as_str(), Ink::Bold),
                (&fault.summary, Ink::Plain),
                (&fault.count.to_string(), Ink::Plain),
                (&show_time(fault.last_seen, relative), Ink::Plain),
                (&why(fault), Ink::Plain),
            ]);
        }
        table.show(self.out)
    }

    /// How the next pattern is found.
    fn unexplained(&mut self, unexplained: &Unexplained) -> io::Result<()> {
        let total = unexplained.total();
        if total == 0 {
            return Ok(());
        }
        self.heading(&format!(
            "{total} line(s) look like trouble, and no pattern knows them"
        ))?;
        let mut table =
            Table::new(&[("COUNT", Fit::Right), ("SHAPE", Fit::Wrap)]);
        for shape in unexplained.shapes().iter().take(SHAPES_SHOWN) {
            table.row([
                (&shape.count.to_string(), Ink::Plain),
                (&shape.text, Ink::Plain),
            ]);
        }
        table.show(self.out)
    }

    /// What the agent would have done by the end.
    fn deeds(&mut self) -> io::Result<()> {
        let desired = std::mem::take(&mut self.desired);
        if desired.conditions.is_empty() {
            return Ok(());
        }
        self.heading("What would be done (with mode: enforce)")?;
        for (name, condition) in &desired.conditions {
            let status = match condition.status {
                Status::True => "True",
                Status::False => "False",
            };
            let message = escape(&condition.message);
            self.out.line(format!(
                "condition {name}={status} ({}): {message}",
                condition.reason
            ))?;
        }
        self.out.line(format!("quarantine: {}", quarantine(&desired)))?;
        for key in &desired.because {
            self.out.line(format!("  for {}", escape(&key.to_string())))?;
        }
        Ok(())
    }
}

/// Why a fault is not raised.
fn why(fault: &Fault) -> String {
    match fault.phase {
        Phase::Tolerated => "within its tolerance".to_owned(),
        Phase::Settling => {
            "raised in seconds, unless its cause appears".to_owned()
        }
        Phase::Explained => match fault.cause() {
            Some(cause) => format!("explained by {cause}"),
            None => "explained".to_owned(),
        },
        Phase::Cleared => {
            let proof = fault.proof.as_ref().map(ToString::to_string);
            let proof = proof.unwrap_or_default();
            match fault.on_probation() {
                true => format!("{proof}; on probation"),
                false => proof,
            }
        }
        Phase::Withdrawn => "its pattern is gone".to_owned(),
        Phase::Active | Phase::Recovering => String::new(),
    }
}

fn quarantine(desired: &Desired) -> String {
    let component = desired.taint.as_deref().unwrap_or_default();
    match desired.quarantine {
        Quarantine::None => "none".to_owned(),
        Quarantine::Taint => {
            format!("taint faultline.dev/quarantine={component}:NoSchedule")
        }
        Quarantine::Cordon => "cordon the node".to_owned(),
        Quarantine::Evict => {
            format!("taint faultline.dev/quarantine={component}:NoExecute")
        }
    }
}

/// The time, or, where no line told it, the seconds since the first boot as
/// dmesg writes them.
fn show_time(time: Timestamp, relative: bool) -> String {
    if !relative {
        return time.to_string();
    }
    let (s, us) = (time.0.div_euclid(1_000_000), time.0.rem_euclid(1_000_000));
    format!("[{s:>11}.{us:06}]")
}
