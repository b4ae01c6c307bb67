//! Runs the scenarios of pattern files: lines with times, and the exact sets
//! of faults that must come of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::drive::Drive;
use crate::ledger::{Change, ChangeKind};
use crate::observation::Source;
use crate::patterns::diagnostic::{Diagnostic, Level, did_you_mean};
use crate::patterns::examples::Outcome;
use crate::patterns::file::RawScenario;
use crate::patterns::located::Place;
use crate::patterns::observed;
use crate::patterns::parse::ParsedFile;
use crate::patterns::set::PatternSet;
use crate::time::{Timestamp, parse_duration};

/// When scenarios begin: any wall time does, and a fixed one repeats.
const START: Timestamp = Timestamp(1_700_000_000_000_000);

/// What a scenario promises, and what came of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Life {
    raised: BTreeSet<String>,
    explained: BTreeSet<String>,
    cleared: BTreeMap<String, String>,
}

/// Runs every scenario of one file.
pub fn run(file: &ParsedFile, set: &Arc<PatternSet>) -> Outcome {
    let mut outcome = Outcome::default();
    for scenario in &file.file.scenarios {
        outcome.ran += 1;
        let (place, messages) = match live(&scenario.value, set) {
            Err((place, message)) => (place, vec![message]),
            Ok(life) => (scenario.place, differences(&scenario.value, &life)),
        };
        if messages.is_empty() {
            continue;
        }
        let name = &scenario.value.name;
        let failed = Diagnostic::new(
            Level::Error,
            &file.name,
            &file.text,
            place,
            format!("scenario {name}: {}", messages.join("; ")),
        );
        outcome.failed.push(match unknown(&scenario.value, set) {
            Some(help) => failed.help(help),
            None => failed,
        });
    }
    outcome
}

/// What to do about a pattern that it names and nobody has.
fn unknown(scenario: &RawScenario, set: &PatternSet) -> Option<String> {
    let ended = scenario.cleared.keys();
    let faults = scenario.raised.iter().chain(&scenario.explained).chain(ended);
    let mut names = faults.filter_map(|fault| fault.split(' ').next());
    let name = names.find(|name| set.get(name).is_none())?;
    let known = set.patterns.keys().map(|name| &**name);
    let near = did_you_mean(name, known);
    Some(match near {
        Some(near) => {
            format!("no pattern is named `{name}`; did you mean `{near}`?")
        }
        None => format!("no pattern is named `{name}`"),
    })
}

fn live(
    scenario: &RawScenario,
    set: &Arc<PatternSet>,
) -> Result<Life, (Place, String)> {
    let mut drive = Drive::new(set.clone(), START);
    let mut life = Life::default();
    let mut last = std::time::Duration::ZERO;
    for step in &scenario.lines {
        let at = parse_duration(&step.at.value);
        let at = at.map_err(|message| (step.at.place, message))?;
        if at < last {
            return Err((step.at.place, "time goes backwards here".into()));
        }
        last = at;
        life.take(drive.advance(START.plus(at)));
        if step.boot {
            life.take(drive.boot());
        }
        if let Some(line) = &step.line {
            life.take(drive.kernel_text(line.as_bytes(), None).changes);
        }
        if let Some(sel) = &step.sel {
            let fail = |message| (step.at.place, message);
            let logged = observed::logged(sel).map_err(fail)?;
            let fields = observed::logged_fields(&logged, &step.observation);
            let fields = fields.map_err(fail)?;
            life.take(drive.observe(Source::IpmiSel, &fields).changes);
        } else if !step.observation.is_empty() {
            let place = step.at.place;
            let Some(source) = step.source else {
                let message = "an observation needs its `source`".to_owned();
                return Err((place, message));
            };
            let fields = observed::fields(source, &step.observation);
            let fields = fields.map_err(|message| (place, message))?;
            life.take(drive.observe(source, &fields).changes);
        }
    }
    life.take(drive.end_blocks());
    Ok(life)
}

impl Life {
    fn take(&mut self, changes: Vec<Change>) {
        for change in changes {
            let name = change.fault.key.to_string();
            match change.kind {
                ChangeKind::Opened { .. } => {
                    self.raised.insert(name);
                }
                ChangeKind::Explained { .. } => {
                    self.explained.insert(name);
                }
                ChangeKind::Cleared(ended) => {
                    self.cleared.insert(name, ended.to_string());
                }
                ChangeKind::Escalated
                | ChangeKind::Eased
                | ChangeKind::Recovering
                | ChangeKind::Interrupted
                | ChangeKind::Moved { .. }
                | ChangeKind::Merged { .. }
                | ChangeKind::OffProbation
                | ChangeKind::Withdrawn => {}
            }
        }
    }
}

/// What should have come and did not, and what came and should not have.
fn differences(scenario: &RawScenario, life: &Life) -> Vec<String> {
    let mut all = Vec::new();
    let mut compare =
        |what: &str, want: &BTreeSet<String>, got: &BTreeSet<String>| {
            for missing in want.difference(got) {
                all.push(format!("`{missing}` was not {what}"));
            }
            for extra in got.difference(want) {
                all.push(format!("`{extra}` was {what} unexpectedly"));
            }
        };
    let set = |list: &[String]| list.iter().cloned().collect();
    compare("raised", &set(&scenario.raised), &life.raised);
    compare("explained", &set(&scenario.explained), &life.explained);
    let pair = |(fault, proof): (&String, &String)| format!("{fault}: {proof}");
    compare(
        "cleared",
        &scenario.cleared.iter().map(pair).collect(),
        &life.cleared.iter().map(pair).collect(),
    );
    all
}
