//! Proofs: which stopwatch runs when, and which is complete.
//!
//! Silence proves something only while somebody listens, so every proof that
//! takes time runs only while all sources that saw the fault are up.

use std::collections::BTreeSet;
use std::time::Duration;

use super::fault::{Ended, Fault, Phase, Stopwatch};
use super::table::Row;
use crate::parts::part::Presence;
use crate::patterns::set::Proof;
use crate::signal::{SourceId, Truth};
use crate::time::{BootId, Uptime};

/// What proofs depend on besides the fault.
pub(super) struct Around<'a> {
    /// The sources that are up.
    pub up: &'a BTreeSet<SourceId>,
    /// This boot.
    pub boot: &'a BootId,
    /// Whether a state source judges the pattern.
    pub is_state: bool,
    /// Whether faults that it explains as their parent are still there: a
    /// parent is not well before its children are.
    pub has_children: bool,
    /// Whether it is known which parts are there; `None` where nobody takes
    /// a census.
    pub sees_parts: Option<bool>,
}

/// Whether somebody watches for this fault.
pub(super) fn is_watched(fault: &Fault, up: &BTreeSet<SourceId>) -> bool {
    !fault.sources.is_empty()
        && fault.sources.iter().all(|source| up.contains(source))
}

/// Back to zero, none begun.
pub(super) fn reset(fault: &mut Fault) {
    fault.proofs.clear();
    fault.proofs.resize(fault.clear.len(), Stopwatch::default());
    fault.begun.clear();
}

/// Whether proofs may run at all in this phase. An explained fault can be
/// proven to be over before its cause is.
pub(super) fn may_run(fault: &Fault) -> bool {
    let phase = fault.phase;
    !fault.locked && (phase.is_raised() || phase == Phase::Explained)
}

/// Runs or stops every proof's stopwatch; whether any was stopped.
pub(super) fn run(row: &mut Row, now: Uptime, around: &Around<'_>) -> bool {
    let mut stopped = false;
    for i in 0..row.fault.clear.len() {
        let runs = runs(row, i, around);
        let Some(watch) = row.fault.proofs.get_mut(i) else { continue };
        if runs {
            watch.start(now);
        } else if watch.since.is_some() {
            watch.stop(now);
            stopped = true;
        }
    }
    stopped
}

fn runs(row: &Row, i: usize, around: &Around<'_>) -> bool {
    let fault = &row.fault;
    if !may_run(fault) || around.has_children || !is_watched(fault, around.up) {
        return false;
    }
    let is_silent = !around.is_state || row.truth == Truth::False;
    let begun = fault.begun.iter().any(|b| usize::from(*b) == i);
    let present = is_present(fault, around.sees_parts);
    match fault.clear[i] {
        Proof::Recovered { .. } => begun && row.truth != Truth::True,
        Proof::Normal(_) => present && begun && row.truth == Truth::False,
        Proof::Quiet(_) => present && is_silent,
        Proof::Reboot(_) => {
            present && is_silent && *around.boot != fault.last_boot
        }
        Proof::Replaced => false,
    }
}

/// Gone is not well: whether the part is there, so that its silence means
/// something. One that the census does not count is taken to be.
fn is_present(fault: &Fault, sees_parts: Option<bool>) -> bool {
    match (fault.presence(), sees_parts) {
        (None, _) | (_, None) => true,
        (Some(presence), Some(sees)) => sees && presence == Presence::Present,
    }
}

/// The proof that is complete; of several the one that was first.
pub(super) fn complete(fault: &Fault, now: Uptime) -> Option<Ended> {
    let due = |(i, proof): (usize, &Proof)| {
        let watch = fault.proofs.get(i)?;
        let due = watch.due(target(proof)?)?;
        (due <= now).then_some((due, i))
    };
    let (_, first) = fault.clear.iter().enumerate().filter_map(due).min()?;
    Some(match fault.clear[first] {
        Proof::Recovered { .. } | Proof::Normal(_) => Ended::Recovered,
        Proof::Quiet(_) => Ended::Quiet,
        Proof::Reboot(_) => Ended::Rebooted,
        Proof::Replaced => Ended::Replaced { told: None },
    })
}

/// When the first of the running proofs will be complete.
pub(super) fn next(fault: &Fault) -> Option<Uptime> {
    let due =
        |(i, proof): (usize, &Proof)| fault.proofs.get(i)?.due(target(proof)?);
    fault.clear.iter().enumerate().filter_map(due).min()
}

/// How long it must hold; `None` for a proof that takes no time.
fn target(proof: &Proof) -> Option<Duration> {
    match proof {
        Proof::Recovered { hold } => Some(*hold),
        Proof::Normal(t) | Proof::Quiet(t) | Proof::Reboot(t) => Some(*t),
        Proof::Replaced => None,
    }
}

/// Puts other rules into force; an entry that both have keeps its stopwatch.
pub(super) fn replace(fault: &mut Fault, clear: Vec<Proof>) {
    let old: Vec<(Proof, Stopwatch, bool)> = fault
        .clear
        .iter()
        .enumerate()
        .map(|(i, proof)| {
            let watch = fault.proofs.get(i).copied().unwrap_or_default();
            let begun = fault.begun.iter().any(|b| usize::from(*b) == i);
            (proof.clone(), watch, begun)
        })
        .collect();
    fault.clear = clear;
    reset(fault);
    for (i, proof) in fault.clear.iter().enumerate() {
        let Some((_, watch, begun)) = old.iter().find(|(p, ..)| p == proof)
        else {
            continue;
        };
        fault.proofs[i] = *watch;
        if *begun {
            fault.begun.push(index(i));
        }
    }
}

/// The entry's index as it is stored; a list of proofs is never that long.
pub(super) fn index(i: usize) -> u8 {
    u8::try_from(i).unwrap_or(u8::MAX)
}
