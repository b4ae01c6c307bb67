//! Severity and quarantine: the pattern's own, and what its escalations make
//! of them.
//!
//! All escalations that hold apply; the highest severity and the strongest
//! quarantine win. One ends when its condition does; relapses are forgotten
//! only when the fault opens anew, so what they escalated stays.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::fault::{Fault, FaultKey, Phase};
use super::table::Row;
use super::{ChangeKind, Ledger};
use crate::parts::ids::PartId;
use crate::patterns::set::{Escalation, Pattern};
use crate::time::Uptime;

/// For each escalation, how many faults of the pattern hold, in all (`None`)
/// and under each parent.
type Counts = Vec<BTreeMap<Option<PartId>, u32>>;

impl Ledger {
    /// Judges one fault without a word: its opening tells.
    pub(super) fn judge(&mut self, key: &FaultKey) {
        let Some(pattern) = self.set.get(&key.pattern).cloned() else {
            return;
        };
        let counts = self.count_parts(&pattern);
        self.judge_one(key, &pattern, &counts);
    }

    /// Judges every raised fault and tells what changed.
    pub(super) fn judge_all(&mut self) {
        let mut raised: BTreeMap<Arc<str>, Vec<FaultKey>> = BTreeMap::new();
        for row in self.table.iter() {
            let fault = &row.fault;
            let is_plain = fault.severity == fault.base_severity
                && fault.quarantine == fault.base_quarantine;
            let escalates = |p: &Arc<Pattern>| !p.escalate.is_empty();
            let pattern = self.set.get(&fault.key.pattern);
            let may_change = !is_plain || pattern.is_some_and(escalates);
            if fault.phase.is_raised() && may_change {
                let key = fault.key.clone();
                raised.entry(key.pattern.clone()).or_default().push(key);
            }
        }
        for (name, keys) in raised {
            let Some(pattern) = self.set.get(&name).cloned() else { continue };
            let counts = self.count_parts(&pattern);
            for key in keys {
                if let Some(kind) = self.judge_one(&key, &pattern, &counts) {
                    self.tell(&key, kind);
                }
            }
        }
    }

    /// Judges one fault; what that changed, if it did.
    fn judge_one(
        &mut self,
        key: &FaultKey,
        pattern: &Pattern,
        counts: &Counts,
    ) -> Option<ChangeKind> {
        let now = self.now.boot;
        let fault = self.get(key)?;
        let mut severity = fault.base_severity;
        let mut quarantine = fault.base_quarantine;
        for (i, escalation) in pattern.escalate.iter().enumerate() {
            let holds = if escalation.on_parent {
                self.is_parent(fault, i)
            } else {
                applies(fault, escalation, i, counts, now)
            };
            if holds {
                severity =
                    severity.max(escalation.severity.unwrap_or(severity));
                quarantine =
                    quarantine.max(escalation.quarantine.unwrap_or(quarantine));
            }
        }
        let before = (fault.severity, fault.quarantine);
        let kind = match (severity, quarantine).cmp(&before) {
            Ordering::Equal => return None,
            // The severity is looked at first.
            Ordering::Less => ChangeKind::Eased,
            Ordering::Greater => ChangeKind::Escalated,
        };
        if let Some(row) = self.table.get_mut(key) {
            row.fault.severity = severity;
            row.fault.quarantine = quarantine;
        }
        Some(kind)
    }

    /// Whether the fault stands on the parent that escalation `i` names.
    fn is_parent(&self, fault: &Fault, i: usize) -> bool {
        let names = |child: &Fault| {
            let parent = child.parents.get(i).and_then(Option::as_ref);
            parent == Some(&fault.key.part)
        };
        fault.children.iter().any(|key| self.get(key).is_some_and(names))
    }

    fn count_parts(&self, pattern: &Pattern) -> Counts {
        let count = |(i, escalation): (usize, &Escalation)| {
            let mut counts = BTreeMap::new();
            if escalation.when.parts.is_none() {
                return counts;
            }
            for row in self.table.of(&pattern.name).filter(|r| holds(r)) {
                *counts.entry(None).or_insert(0) += 1;
                let parent = row.fault.parents.get(i).cloned().flatten();
                if parent.is_some() {
                    *counts.entry(parent).or_insert(0) += 1;
                }
            }
            counts
        };
        pattern.escalate.iter().enumerate().map(count).collect()
    }

    /// When the next `lasting` of an escalation is reached.
    pub(super) fn next_escalation(&self, fault: &Fault) -> Option<Uptime> {
        let pattern = self.set.get(&fault.key.pattern)?;
        let lasting = pattern.escalate.iter().filter_map(|e| e.when.lasting);
        lasting
            .filter_map(|t| fault.active.due(t))
            .filter(|due| *due > self.now.boot)
            .min()
    }
}

/// Whether the fault counts for `parts`: it is raised, or is only folded into
/// the parent it shares with its siblings. A filed parent is none of them.
fn holds(row: &Row) -> bool {
    let fault = &row.fault;
    let is_child = fault.phase == Phase::Explained
        && fault
            .explained_by
            .as_ref()
            .is_some_and(|by| by.pattern == fault.key.pattern);
    (fault.phase.is_raised() || is_child) && !fault.filed
}

/// Whether all conditions of the escalation hold for the fault.
fn applies(
    fault: &Fault,
    escalation: &Escalation,
    i: usize,
    counts: &Counts,
    now: Uptime,
) -> bool {
    let when = &escalation.when;
    let parts = |least: u32| {
        let parent = match &when.under {
            None => None,
            Some(_) if fault.filed => Some(fault.key.part.clone()),
            Some(_) => match fault.parents.get(i).cloned().flatten() {
                None => return false,
                parent => parent,
            },
        };
        let counted = counts.get(i).and_then(|c| c.get(&parent));
        counted.is_some_and(|n| *n >= least)
    };
    let relapses = u32::try_from(fault.relapses.len()).unwrap_or(u32::MAX);
    when.parts.is_none_or(parts)
        && when.count.is_none_or(|n| fault.count >= n)
        && when.lasting.is_none_or(|t| fault.active.read(now) >= t)
        && when.relapses.is_none_or(|n| relapses >= n)
}
