//! Binds faults to parts: what a name stands for now, which part is gone,
//! which was replaced, and which was found in another place.
//!
//! The census is an input like the pattern set. A fault is filed under the
//! identity of its part, so after a boot, when the kernel gives its names
//! anew, only what people are shown changes.

use std::sync::Arc;

use super::fault::{Ended, Fault, FaultKey, Phase};
use super::step::LAST_EVIDENCE;
use super::step::SOURCES_MAX;
use super::table::Row;
use super::{ChangeKind, Ledger, life, tolerance};
use crate::parts::census::{Census, Found};
use crate::parts::ids::{PartId, is_volatile};
use crate::parts::part::{About, Presence};
use crate::patterns::set::Pattern;
use crate::signal::Truth;

/// The source that takes the census: while it is down, nobody knows which
/// parts are there.
const SOURCE: &str = "inventory";

impl Ledger {
    /// What an observation of a part by this name is filed under.
    pub(super) fn key_of(&self, pattern: &Pattern, name: &PartId) -> FaultKey {
        let found = self.census.resolve(name);
        let part = found.map_or_else(|| name.clone(), |f| f.identity);
        FaultKey { pattern: pattern.name.clone(), part }
    }

    /// Whether it is known which parts are there; `None` where nobody takes
    /// a census.
    pub(super) fn sees_parts(&self) -> Option<bool> {
        self.has_census.then(|| self.up.contains(SOURCE))
    }

    /// Whether the part of one fault lies in that of another.
    pub(super) fn lies_in(&self, key: &FaultKey, of: &FaultKey) -> bool {
        match (self.get(key), self.get(of)) {
            (Some(fault), Some(of)) => fault.lies_in(&of.key.part, of.name()),
            _ => key.part.is_within(&of.part),
        }
    }

    /// The census as it is now.
    pub fn census(&self) -> &Arc<Census> {
        &self.census
    }

    /// Holds every fault against a new census.
    pub(super) fn take_census(&mut self, census: Arc<Census>) {
        self.census = census;
        self.has_census = true;
        for key in self.table.keys(|_| true) {
            let key = self.learn(key);
            self.place(&key);
        }
    }

    /// Files a fault under a better identity, if one is known by now.
    /// Returns what it is filed under.
    fn learn(&mut self, key: FaultKey) -> FaultKey {
        let Some(fault) = self.get(&key) else { return key };
        // A name of an earlier boot may be another part's now.
        let is_old = fault.last_boot != self.options.boot;
        let name = fault.name();
        let is_known = fault.about.is_some();
        if is_old && (is_known || is_volatile(name)) {
            return key;
        }
        let Some(found) = self.census.resolve(name) else { return key };
        if found.identity == key.part && !is_known {
            // Its source knew its number before it was found in its place.
            if let Some(row) = self.table.get_mut(&key) {
                row.fault.about = Some(found.about);
            }
            return key;
        }
        if found.identity == key.part || self.has_number(fault, &found) {
            return key;
        }
        let pattern = key.pattern.clone();
        let better = FaultKey { pattern, part: found.identity };
        self.refile(&key, &better, found.about);
        better
    }

    /// Whether the fault is known by a number, and so is not the part that
    /// has its name now.
    fn has_number(&self, fault: &Fault, found: &Found) -> bool {
        let number = fault.about.as_ref().and_then(|a| a.number.as_ref());
        number.is_some() && number != found.about.number.as_ref()
    }

    fn refile(&mut self, from: &FaultKey, to: &FaultKey, about: About) {
        let Some(mut row) = self.table.remove(from) else { return };
        self.moves += 1;
        row.fault.filed_as.get_or_insert_with(|| from.clone());
        row.fault.key = to.clone();
        row.fault.about = Some(about);
        match self.table.remove(to) {
            None => self.put(row),
            Some(other) => self.merge(row, other),
        }
        for key in self.table.keys(|row| mentions(&row.fault, from)) {
            if let Some(row) = self.table.get_mut(&key) {
                rename(&mut row.fault, from, to);
            }
        }
    }

    fn put(&mut self, row: Row) {
        // It stood in the table a moment ago, so there is room.
        if !self.table.put_back(row) {
            self.stats.refused += 1;
        }
    }

    /// Makes one fault of two that turn out to be on one part: the one that
    /// is further along its life, with what both have counted.
    fn merge(&mut self, a: Row, b: Row) {
        let rank = |row: &Row| match row.fault.phase {
            Phase::Recovering | Phase::Active => 5,
            Phase::Explained => 4,
            Phase::Settling => 3,
            Phase::Cleared if row.fault.on_probation() => 2,
            Phase::Tolerated => 1,
            _ => 0,
        };
        let older = |row: &Row| std::cmp::Reverse(row.fault.first.time);
        let (mut row, other) =
            match (rank(&a), older(&a)) >= (rank(&b), older(&b)) {
                true => (a, b),
                false => (b, a),
            };
        let other = (other.fault, other.truth);
        if other.1 == Truth::True {
            row.truth = Truth::True;
        }
        let told = other.0.phase.is_raised();
        join(&mut row.fault, &other.0);
        self.stats.dropped_values += self.table.room().fit(&mut row.fault);
        let into = row.fault.name().clone();
        self.put(row);
        if told {
            let (time, kind) = (self.now.wall, ChangeKind::Merged { into });
            self.changes.push(super::Change { time, kind, fault: other.0 });
        }
    }

    /// Looks where the part of a fault is now.
    fn place(&mut self, key: &FaultKey) {
        let Some(fault) = self.get(key) else { return };
        let Some(about) = &fault.about else { return };
        let is_replaced = self.census.is_replaced(about);
        let now = self.now_known(fault, about);
        let is_same = now == *about;
        let moved = about.number.is_some()
            && about.place.is_some()
            && now.place != about.place
            && now.presence == Presence::Present;
        let from = about.place.clone().unwrap_or_default();
        let told = moved && fault.phase.is_raised();
        if is_replaced {
            // Told under the name by which people know it.
            self.replaced(key);
        }
        if !is_same && let Some(row) = self.table.get_mut(key) {
            row.fault.about = Some(now);
        }
        if told {
            self.tell(key, ChangeKind::Moved { from });
        }
    }

    /// What is known of the part of a fault by now. What the census has
    /// forgotten is known as it was, and is gone.
    fn now_known(&self, fault: &Fault, about: &About) -> About {
        // A filesystem or a logical CPU is on its owner, not the owner.
        let own = self.census.resolve(&fault.key.part);
        let by_name = || {
            let found = self.census.resolve(&about.name)?;
            (found.about.owner == about.owner).then_some(found)
        };
        let found = own.or_else(by_name);
        let Some(mut now) = found.map(|found| found.about) else {
            let owner = self.census.get(&about.owner);
            let presence = owner.map_or(Presence::Gone, |p| p.presence);
            // Another part may go by its name by now.
            let taken = self.census.resolve(&about.name);
            let taken = taken.is_some_and(|f| f.about.owner != about.owner);
            let name = if taken { &fault.key.part } else { &about.name };
            let name = name.clone();
            return About { name, presence, ..about.clone() };
        };
        // Names that stay are shown as the kernel wrote them.
        let same = now.aliases.contains(&about.name) || now.name == about.name;
        if same && !is_volatile(&about.name) {
            now.name = about.name.clone();
        }
        now
    }

    /// Another part is in the place, and the failed one is nowhere: whatever
    /// was wrong with it is over.
    fn replaced(&mut self, key: &FaultKey) {
        let Some(row) = self.table.get_mut(key) else { return };
        // What a state source goes on telling is of the other part.
        row.truth = Truth::Unknown;
        let phase = row.fault.phase;
        let ended = Ended::Replaced { told: None };
        match phase {
            Phase::Tolerated => self.forget(key),
            Phase::Cleared if row.fault.on_probation() => {
                self.end_probation(key, Some(ended));
            }
            Phase::Cleared | Phase::Withdrawn => {}
            Phase::Settling => self.end_quietly(key, ended),
            _ => self.end(key, ended),
        }
    }

    /// Why a person's word that the part was replaced can't be right.
    pub(super) fn still_here(&self, fault: &Fault) -> Option<String> {
        let about = fault.about.as_ref()?;
        let number = about.number.as_ref()?;
        let part = self.census.get(&about.owner)?;
        let is_here = self.sees_parts() == Some(true)
            && part.presence == Presence::Present
            && part.number() == Some(number);
        let serial = about.serial.as_ref().unwrap_or(number);
        let place = part.place.as_deref().unwrap_or("this machine");
        is_here.then(|| {
            format!("it was not replaced: S/N {serial} is still in {place}")
        })
    }

    /// The part that a person's clear of this fault says was taken out or
    /// replaced, if it is gone: the census then forgets it.
    pub fn taken_out(&self, key: &FaultKey, replaced: bool) -> Option<PartId> {
        let fault = self.get(key)?;
        let about = fault.about.as_ref()?;
        let is_meant = replaced || is_of_census(fault);
        let is_gone = about.presence == Presence::Gone;
        (is_meant && is_gone).then(|| about.owner.clone())
    }

    /// Ends what the census itself says of a part that was taken out.
    pub(super) fn settle(&mut self, part: &PartId, ended: &Ended) {
        let of_census = self.table.keys(|row| {
            let about = row.fault.about.as_ref();
            is_of_census(&row.fault) && about.is_some_and(|a| a.owner == *part)
        });
        for key in of_census {
            let Some(row) = self.table.get_mut(&key) else { continue };
            // It will not be told again that it is missing.
            row.truth = Truth::Unknown;
            match row.fault.phase {
                Phase::Tolerated => self.forget(&key),
                phase if phase.is_raised() => self.end(&key, ended.clone()),
                _ => {}
            }
        }
    }
}

fn is_of_census(fault: &Fault) -> bool {
    fault.sources.iter().any(|source| &**source == SOURCE)
}

fn mentions(fault: &Fault, key: &FaultKey) -> bool {
    fault.explained_by.as_ref() == Some(key) || fault.children.contains(key)
}

fn rename(fault: &mut Fault, from: &FaultKey, to: &FaultKey) {
    if fault.explained_by.as_ref() == Some(from) {
        fault.explained_by = Some(to.clone());
    }
    for child in fault.children.iter_mut().filter(|child| *child == from) {
        child.clone_from(to);
    }
}

/// Adds what another fault of the same part has seen and counted.
fn join(fault: &mut Fault, other: &Fault) {
    if other.first.time < fault.first.time {
        let later = std::mem::replace(&mut fault.first, other.first.clone());
        fault.last.push_back(later);
    } else {
        fault.last.push_back(other.first.clone());
    }
    fault.last.extend(other.last.iter().cloned());
    let kept = fault.last.make_contiguous();
    kept.sort_by_key(|evidence| evidence.time);
    while fault.last.len() > LAST_EVIDENCE {
        fault.last.pop_front();
    }
    fault.last_seen = fault.last_seen.max(other.last_seen);
    fault.total = fault.total.saturating_add(other.total);
    if fault.phase != Phase::Cleared {
        fault.count = fault.count.saturating_add(other.count);
    }
    for source in &other.sources {
        if !fault.sources.contains(source) && fault.sources.len() < SOURCES_MAX
        {
            fault.sources.push(source.clone());
        }
    }
    fault.injected &= other.injected;
    life::inherit(fault, other);
    tolerance::join(&mut fault.window, &other.window);
}
