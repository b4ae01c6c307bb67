//! What a person asks: which fault is meant, and that it be over.

use super::fault::{Ended, Fault, FaultKey, Phase, Told};
use super::{Change, ChangeKind, Command, Ledger};
use crate::parts::part::Presence;
use crate::signal::Truth;
use crate::time::{Now, show_duration};

/// How many candidates an error names; the rest are in `status`.
const CANDIDATES_SHOWN: usize = 8;

impl Ledger {
    /// The fault that a person means: its id, `pattern part`, or a part or a
    /// pattern that has exactly one raised fault.
    ///
    /// # Errors
    /// A sentence that says what to write instead.
    pub fn find(&self, what: &str) -> Result<&Fault, String> {
        let what = what.trim();
        let named = |f: &&Fault| {
            f.id() == what || f.title() == what || f.key.to_string() == what
        };
        let mut all = self.faults().filter(named);
        if let Some(fault) = all.next() {
            return match all.next() {
                None => Ok(fault),
                Some(other) => Err(format!(
                    "{what:?} means two faults: {}",
                    candidates([fault, other].into_iter())
                )),
            };
        }
        let raised: Vec<&Fault> = self
            .faults()
            .filter(|f| f.phase.is_raised())
            .filter(|f| &*f.key.pattern == what || is_on(f, what))
            .collect();
        match raised.as_slice() {
            [fault] => Ok(fault),
            [] => Err(self.no_such_fault(what)),
            several => Err(format!(
                "{what:?} has {} raised faults; name one by its id: {}",
                several.len(),
                candidates(several.iter().copied())
            )),
        }
    }

    fn no_such_fault(&self, what: &str) -> String {
        let raised = self.faults().filter(|f| f.phase.is_raised());
        let raised = candidates(raised);
        if raised.is_empty() {
            return format!("no fault {what:?}; none is raised");
        }
        format!(
            "no fault {what:?}; name one by its id, as \"pattern part\", or \
             by a part with one raised fault: {raised}"
        )
    }

    /// Carries out a person's command; the text is the answer to the person.
    ///
    /// # Errors
    /// A sentence that says why not and what to do; nothing has changed then.
    pub fn clear(
        &mut self,
        now: Now,
        command: Command,
    ) -> Result<(Vec<Change>, String), String> {
        self.begin(now);
        let answer = self.obey(command);
        let changes = self.finish();
        match answer {
            Ok(answer) => Ok((changes, answer)),
            Err(error) => {
                // What was due anyway is told with the next step.
                self.changes = changes;
                Err(error)
            }
        }
    }

    /// Does what `command` says, without the upkeep around it.
    pub(super) fn obey(&mut self, command: Command) -> Result<String, String> {
        let Command::Clear { fault, by, why, replaced, force } = command;
        let found = self.find(&fault)?;
        let (key, phase) = (found.key.clone(), found.phase);
        let shown = format!("{} ({})", found.title(), found.id());
        let ended = if replaced {
            let here = self.still_here(found);
            let forced = here.is_some();
            if let (Some(here), false) = (here, force) {
                return Err(format!(
                    "{shown}: {here}; if that is wrong, say --force, which \
                     is recorded"
                ));
            }
            Ended::Replaced { told: Some(Told { by, why, forced }) }
        } else {
            Ended::Cleared { by, why }
        };
        let taken_out = self.taken_out(&key, replaced);
        let settled = ended.clone();
        let answer = self.carry_out(&key, phase, &shown, ended)?;
        if let Some(part) = taken_out {
            self.settle(&part, &settled);
        }
        Ok(answer)
    }

    fn carry_out(
        &mut self,
        key: &FaultKey,
        phase: Phase,
        shown: &str,
        ended: Ended,
    ) -> Result<String, String> {
        let on_probation = self.get(key).is_some_and(Fault::on_probation);
        match phase {
            Phase::Tolerated if self.holds(key) => {
                Err(format!("{shown} still holds, by its source"))
            }
            Phase::Tolerated => {
                self.forget(key);
                Ok(format!("{shown} was tolerated; its count is forgotten"))
            }
            Phase::Settling => {
                // Nobody was told that it opened.
                self.end_quietly(key, ended);
                Ok(format!("{shown} was waiting for its cause; it is over"))
            }
            Phase::Cleared if on_probation => {
                self.end_probation(key, Some(ended));
                Ok(format!("{shown} was cleared; its probation is over"))
            }
            Phase::Cleared | Phase::Withdrawn => {
                Err(format!("{shown} is {} already", phase.word()))
            }
            _ => {
                let again = self.still_holds(key);
                self.end(key, ended);
                Ok(format!("cleared {shown}{again}"))
            }
        }
    }

    /// Whether a state source still finds it.
    fn holds(&self, key: &FaultKey) -> bool {
        self.table.get(key).is_some_and(|row| row.truth == Truth::True)
    }

    /// A warning for the answer when the state that was cleared still holds.
    fn still_holds(&self, key: &FaultKey) -> String {
        // The census forgets what a person says was taken out.
        let gone = self.get(key).and_then(Fault::presence);
        if !self.holds(key) || gone == Some(Presence::Gone) {
            return String::new();
        }
        let lasting = self.set.get(&key.pattern).map(|p| p.lasting);
        match lasting.filter(|d| !d.is_zero()) {
            None => "; its state still holds, so it is raised again".into(),
            Some(d) => format!(
                "; its state still holds, so it is raised again in {}",
                show_duration(d)
            ),
        }
    }

    /// Ends a probation, by time or by a person (`proof`).
    pub(super) fn end_probation(
        &mut self,
        key: &FaultKey,
        proof: Option<Ended>,
    ) {
        let Some(row) = self.table.get_mut(key) else { return };
        let fault = &mut row.fault;
        fault.probation = None;
        if proof.as_ref().is_some_and(Ended::is_replaced) {
            fault.relapses.clear();
        }
        if proof.is_some() {
            fault.proof = proof;
            fault.window = Default::default();
        }
        if fault.phase == Phase::Cleared {
            self.tell(key, ChangeKind::OffProbation);
        }
    }
}

/// Whether the fault is on a part of this name: what people call it, its
/// identity, its serial number, or another of its names.
fn is_on(fault: &Fault, what: &str) -> bool {
    let about = fault.about.as_ref();
    fault.name().as_str() == what
        || fault.key.part.as_str() == what
        || about.is_some_and(|about| {
            about.serial.as_deref() == Some(what)
                || about.aliases.iter().any(|alias| alias.as_str() == what)
        })
}

fn candidates<'a>(faults: impl Iterator<Item = &'a Fault>) -> String {
    let all: Vec<String> =
        faults.map(|f| format!("{} ({})", f.id(), f.title())).collect();
    let more = all.len().saturating_sub(CANDIDATES_SHOWN);
    let mut text = all[..all.len() - more].join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
