//! Siblings point to the parent: when several parts under one controller,
//! channel or backplane have the same fault within an hour, one fault is
//! filed on what they share, and theirs are kept as its evidence.
//!
//! The children are explained by the parent's fault, and their own proofs go
//! on. The parent's fault, which nobody observed, is over when the last child
//! has cleared by its own proof, and with that proof; or when it is replaced
//! or a person clears it, and then the children with it. Should the parent
//! also be observed itself, its own proofs count, from when the last child
//! has cleared.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::fault::{Ended, Fault, FaultKey, Phase};
use super::table::Row;
use super::{Ledger, proof, tolerance};
use crate::parts::ids::PartId;
use crate::patterns::set::{Pattern, Proof};
use crate::time::Timestamp;

/// Within how long the children must have opened.
const SIBLINGS_WITHIN: Duration = Duration::from_secs(3600);

/// How many children a parent's fault names.
const CHILDREN_NAMED: usize = 64;

impl Ledger {
    /// The faults filed on parents of this fault's part.
    pub(super) fn parents_of(
        &self,
        key: &FaultKey,
    ) -> impl Iterator<Item = &Row> {
        let pattern = self.set.get(&key.pattern);
        let escalations = pattern.map_or(&[][..], |p| &p.escalate);
        let parents = self.get(key).map_or(&[][..], |f| &f.parents);
        escalations
            .iter()
            .zip(parents)
            .filter(|(escalation, _)| escalation.on_parent)
            .filter_map(|(_, parent)| parent.as_ref())
            .filter(|parent| **parent != key.part)
            .filter_map(|parent| {
                let pattern = key.pattern.clone();
                let key = FaultKey { pattern, part: parent.clone() };
                self.table.get(&key)
            })
            .filter(|row| !row.fault.children.is_empty())
    }

    /// Files faults on common parents where enough children have opened.
    pub(super) fn file_parents(&mut self) {
        let patterns: Vec<Arc<Pattern>> = self
            .set
            .patterns
            .values()
            .filter(|p| p.escalate.iter().any(|e| e.on_parent))
            .cloned()
            .collect();
        for pattern in patterns {
            for (i, escalation) in pattern.escalate.iter().enumerate() {
                let Some(least) = escalation.when.parts else { continue };
                if !escalation.on_parent {
                    continue;
                }
                for (parent, children) in self.siblings(&pattern, i, least) {
                    self.file_parent(&pattern, parent, children);
                }
            }
        }
    }

    /// Parents with enough raised children, oldest child first.
    fn siblings(
        &self,
        pattern: &Pattern,
        i: usize,
        least: u32,
    ) -> Vec<(PartId, Vec<FaultKey>)> {
        let mut groups: BTreeMap<PartId, Vec<(Timestamp, FaultKey)>> =
            BTreeMap::new();
        for row in self.table.of(&pattern.name) {
            let fault = &row.fault;
            let parent = fault.parents.get(i).cloned().flatten();
            let Some(parent) = parent else { continue };
            if !fault.phase.is_raised() || parent == fault.key.part {
                continue;
            }
            let group = groups.entry(parent).or_default();
            for opened in self.openings(fault) {
                group.push((opened, fault.key.clone()));
            }
        }
        let least = usize::try_from(least.max(1)).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        for (parent, mut group) in groups {
            group.sort();
            let close = |w: &[(Timestamp, FaultKey)]| {
                w[w.len() - 1].0.since(w[0].0) <= SIBLINGS_WITHIN
            };
            let near = group.windows(least).any(close);
            let mut keys: Vec<FaultKey> = Vec::new();
            for (_, key) in group {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
            // What one smaller parent has in common is its own.
            let filed = |key| self.get(key).is_some_and(|f: &Fault| f.filed);
            let one = keys.len() == 1 && keys.iter().all(filed);
            if near && !one {
                found.push((parent, keys));
            }
        }
        found
    }

    /// When a fault opened; for one that was filed on a parent, when each of
    /// those did that it stands for.
    fn openings(&self, fault: &Fault) -> Vec<Timestamp> {
        let opened = |f: &Fault| f.opened.unwrap_or(f.last_seen);
        let children = fault.children.iter().filter_map(|key| self.get(key));
        let held = children.filter(|f| f.phase == Phase::Explained);
        let openings: Vec<Timestamp> = held.map(opened).collect();
        match fault.filed && !openings.is_empty() {
            true => openings,
            false => vec![opened(fault)],
        }
    }

    fn file_parent(
        &mut self,
        pattern: &Pattern,
        parent: PartId,
        children: Vec<FaultKey>,
    ) {
        let key = FaultKey { pattern: pattern.name.clone(), part: parent };
        let newest = children.last().and_then(|key| self.get(key)).cloned();
        let Some(newest) = newest else { return };
        let phase = self.get(&key).map(|fault| fault.phase);
        match phase {
            Some(Phase::Settling | Phase::Withdrawn) => return,
            Some(Phase::Active | Phase::Recovering | Phase::Explained) => {
                self.fold_children(&key, children);
                return;
            }
            Some(Phase::Tolerated | Phase::Cleared) | None => {}
        }
        if phase.is_none() {
            let fault = filed(pattern, key.clone(), &newest);
            let row = Row::new(fault, self.now.boot);
            if !self.table.insert(row, &mut self.stats.evicted) {
                self.stats.refused += 1;
                return;
            }
        }
        if let Some(row) = self.table.get_mut(&key) {
            let fault = &mut row.fault;
            fault.children.clear();
            fault.filed = true;
            fault.injected = newest.injected;
            fault.opened = newest.opened;
            fault.last_seen = fault.last_seen.max(newest.last_seen);
            let rules = clear_rules(pattern, fault);
            proof::replace(fault, rules);
            fault.count = 0;
            tolerance::empty(&mut fault.window, None);
        }
        self.adopt(&key, &children);
        self.sum_children(&key, pattern);
        self.open(&key);
        self.fold_children(&key, children);
    }

    fn fold_children(&mut self, parent: &FaultKey, children: Vec<FaultKey>) {
        for child in children {
            if !self.is_explained_by(parent, &child) {
                self.explain(&child, parent.clone());
            }
        }
    }

    /// Notes children with their parent.
    pub(super) fn adopt(&mut self, parent: &FaultKey, children: &[FaultKey]) {
        let Some(row) = self.table.get_mut(parent) else { return };
        let named = &mut row.fault.children;
        for child in children {
            if !named.contains(child) && named.len() < CHILDREN_NAMED {
                named.push(child.clone());
                self.moves += 1;
            }
        }
    }

    /// Ends filed parents whose last child has cleared, and keeps the others'
    /// counts.
    pub(super) fn finish_parents(&mut self) {
        let parents = self.table.keys(|row| {
            let fault = &row.fault;
            fault.filed
                && !fault.locked
                && (fault.phase.is_raised() || fault.phase == Phase::Explained)
        });
        for key in parents {
            let Some(pattern) = self.set.get(&key.pattern).cloned() else {
                continue;
            };
            self.sum_children(&key, &pattern);
            if self.has_children(&key) {
                continue;
            }
            match self.last_proof(&key) {
                Some(proof) => self.end(&key, proof),
                // None was proven to be well: what it stood on is gone.
                None => self.withdraw(&key),
            }
        }
    }

    /// Whether any child is still explained by it.
    pub(super) fn has_children(&self, parent: &FaultKey) -> bool {
        self.table
            .of(&parent.pattern)
            .any(|row| row.fault.explained_by.as_ref() == Some(parent))
    }

    /// The proof of the child that cleared last.
    fn last_proof(&self, parent: &FaultKey) -> Option<Ended> {
        let children = self.get(parent).map_or(&[][..], |f| &f.children);
        let cleared = children.iter().filter_map(|key| self.get(key));
        let cleared = cleared.filter(|f| f.phase == Phase::Cleared);
        cleared.max_by_key(|f| f.ended)?.proof.clone()
    }

    /// A filed fault shows its children's errors.
    fn sum_children(&mut self, key: &FaultKey, pattern: &Pattern) {
        let Some(parent) = self.get(key) else { return };
        let children: Vec<&Fault> =
            parent.children.iter().filter_map(|key| self.get(key)).collect();
        let sum = children.iter().map(|f| f.count).fold(0, u64::saturating_add);
        let newest = children.iter().max_by_key(|f| f.opened);
        let Some(newest) = newest else { return };
        if sum <= parent.count {
            return;
        }
        let part = &key.part;
        let n: usize = children.iter().map(|f| f.children.len().max(1)).sum();
        let summary =
            format!("{n} parts of {part} at once, such as: {}", newest.summary);
        let advice = format!(
            "Suspect {part}, which they share, before each of them. {}",
            pattern.advice.show(&newest.captures, sum)
        );
        let (last_seen, captures) = (newest.last_seen, newest.captures.clone());
        if let Some(row) = self.table.get_mut(key) {
            let fault = &mut row.fault;
            fault.count = sum;
            fault.summary = summary;
            fault.advice = advice;
            fault.captures = captures;
            fault.last_seen = fault.last_seen.max(last_seen);
        }
    }
}

/// The proofs of a fault: those of its pattern; for one that was only filed,
/// those that are about the part as such.
pub(super) fn clear_rules(pattern: &Pattern, fault: &Fault) -> Vec<Proof> {
    let of_part = |p: &&Proof| !fault.filed || **p == Proof::Replaced;
    pattern.clear.iter().filter(of_part).cloned().collect()
}

/// The parents of a child but this one.
fn wider(child: &Fault, part: &PartId) -> Vec<Option<PartId>> {
    let others = |p: &Option<PartId>| p.clone().filter(|p| p != part);
    child.parents.iter().map(others).collect()
}

/// A fault on the parent, made of its newest child's.
fn filed(pattern: &Pattern, key: FaultKey, child: &Fault) -> Fault {
    Fault {
        phase: Phase::Tolerated,
        base_severity: pattern.severity,
        severity: pattern.severity,
        base_quarantine: pattern.quarantine,
        quarantine: pattern.quarantine,
        suspects: Vec::new(),
        // What it shares with others itself: a channel its controller.
        parents: wider(child, &key.part),
        key,
        last: Default::default(),
        count: 0,
        total: 0,
        since_previous_boot: false,
        history_seen: Vec::new(),
        ended: None,
        proof: None,
        explained_by: None,
        explained_on: None,
        sights: Vec::new(),
        filed_as: None,
        about: None,
        children: Vec::new(),
        filed: true,
        relapses: Default::default(),
        locked: false,
        window: Default::default(),
        held: Default::default(),
        active: Default::default(),
        begun: Vec::new(),
        settling: Default::default(),
        probation: None,
        ..child.clone()
    }
}
