//! Takes a batch apart: what each event means for the faults it is about.

use std::sync::Arc;

use super::fault::{Ended, Evidence, Fault, FaultKey, Phase, Window};
use super::room::Room;
use super::table::Row;
use super::tolerance::{Occasion, admit, empty};
use super::twins::{self, Telling};
use super::{Ledger, proof, tolerance};
use crate::hash::fnv1a;
use crate::patterns::set::{Pattern, Proof, Severity, Tolerance};
use crate::signal::{Batch, Effect, Event, Signal, SourceId, Truth};
use crate::time::Timestamp;

/// How many of the last observations are kept beside the first.
pub(super) const LAST_EVIDENCE: usize = 8;

/// How many sources a fault waits for; a machine has fewer that could see
/// the same fault.
const SOURCES_MAX: usize = 16;

/// How many history texts of one boot are remembered for each fault.
const HISTORY_TEXTS_MAX: usize = 64;

/// "N callbacks suppressed" belongs to a part seen at most so long ago: the
/// kernel's rate limits work in intervals of 5 s, and say so when the next
/// line comes (lib/ratelimit.c).
const SUPPRESSED_WITHIN: std::time::Duration =
    std::time::Duration::from_secs(60);

impl Ledger {
    /// Steps all events of a batch, in order. False if no fault's life can
    /// have moved by them: then there is nothing to keep up, which costs the
    /// more the more faults there are. Every link that comes up and every
    /// filesystem that is mounted is a proof, mostly of nothing.
    pub(super) fn take_batch(&mut self, batch: Batch) -> bool {
        let id = batch.id;
        let mut stepped = false;
        for event in batch.events {
            stepped |= match event {
                Event::Match(signal) => self.take_signal(&id, signal, None),
                Event::State(signal, truth) => {
                    self.take_signal(&id, signal, Some(truth))
                }
                Event::Suppressed { patterns, count, time, text } => {
                    let at = self.monotone(&id, time);
                    self.take_suppressed(&id, &patterns, count, at, text);
                    true
                }
                Event::Notes { count, .. } => {
                    self.stats.notes += count;
                    false
                }
                Event::Gap { lost } => {
                    self.stats.lost += lost;
                    false
                }
                Event::Census(census) => {
                    self.take_census(census);
                    true
                }
            };
        }
        stepped
    }

    /// Steps one match; whether a fault's life can have moved.
    fn take_signal(
        &mut self,
        id: &SourceId,
        mut signal: Signal,
        truth: Option<Truth>,
    ) -> bool {
        let Some(pattern) = self.set.get(&signal.pattern).cloned() else {
            self.stats.unknown += 1;
            return false;
        };
        signal.time = self.monotone(id, signal.time);
        let is_note = pattern.benign || pattern.severity == Severity::Info;
        match (signal.effect, truth) {
            (Effect::Note, _) => {
                self.stats.notes += 1;
                return false;
            }
            (Effect::Open | Effect::History, _) if is_note => {
                self.stats.notes += 1;
                return false;
            }
            (Effect::Evidence, _) => {
                self.take_evidence(&pattern, &signal);
                return false;
            }
            (Effect::Proof(i), _) => {
                return self.take_proof(&pattern, &signal, i);
            }
            (_, Some(truth)) => {
                self.take_state(id, &pattern, signal, truth);
            }
            (Effect::History, None) => {
                self.take_history(id, &pattern, signal);
            }
            (Effect::Open, None) => self.take_open(id, &pattern, signal),
        }
        true
    }

    /// The time of an observation, not before the last one of its source
    /// unless the wall clock stepped back since.
    fn monotone(&mut self, id: &SourceId, time: Timestamp) -> Timestamp {
        let horizon = self.now.wall.max(time);
        let last = self.clocks.entry(id.clone()).or_insert(time);
        *last = (*last).min(horizon).max(time);
        *last
    }

    fn take_open(
        &mut self,
        id: &SourceId,
        pattern: &Pattern,
        mut signal: Signal,
    ) {
        let telling = signal.twin.map(|twin| {
            let at = signal.time;
            Telling { source: id, twin, at }
        });
        if let Some(telling) = telling {
            signal.count -= self.told(pattern, telling, signal.count);
        }
        if signal.count == 0 || self.yields(pattern) {
            return self.take_evidence(pattern, &signal);
        }
        let Some(key) = self.see(id, pattern, &signal) else { return };
        let room = Room::among(self.table.len());
        let row = self.table.get_mut(&key);
        if let (Some(telling), Some(row)) = (telling, row) {
            twins::remember(&mut row.fault, telling, signal.count, room.window);
        }
        let occasion = Occasion {
            at: signal.time,
            wall: self.now.wall,
            count: signal.count,
            value: Some(signal.value.as_deref().unwrap_or("")),
            real: !signal.injected,
        };
        self.count(&key, pattern, occasion);
    }

    /// Files an observation with its fault, which is made if there is none;
    /// `None` when there is no room for it.
    pub(super) fn see(
        &mut self,
        id: &SourceId,
        pattern: &Pattern,
        signal: &Signal,
    ) -> Option<FaultKey> {
        let key = self.key_of(pattern, &signal.part);
        let about = self.census.resolve(&signal.part).map(|f| f.about);
        if self.table.get(&key).is_none() {
            let stage = self.stage_of(pattern);
            let mut fault = new_fault(pattern, key.clone(), signal, stage);
            fault.last_boot = self.options.boot.clone();
            let row = Row::new(fault, self.now.boot);
            if !self.table.insert(row, &mut self.stats.evicted) {
                self.stats.refused += 1;
                return None;
            }
            if Room::has_shrunk(self.table.len()) {
                self.stats.dropped_values += self.table.fit_all();
            }
        }
        let (boot, now) = (self.options.boot.clone(), self.now.boot);
        let room = self.table.room();
        let row = self.table.get_mut(&key)?;
        row.touched = now;
        let fault = &mut row.fault;
        if fault.history_boot != boot {
            fault.history_boot.clone_from(&boot);
            fault.history_seen.clear();
        }
        // While it holds, what is tolerated interrupts no proof, so neither
        // that of a reboot.
        let holds = fault.phase.is_raised() || fault.phase == Phase::Explained;
        if !holds {
            fault.last_boot = boot;
        }
        if !fault.sources.contains(id) && fault.sources.len() < SOURCES_MAX {
            fault.sources.push(id.clone());
        }
        if about.is_some() {
            fault.about = about;
        }
        fault.last_seen = fault.last_seen.max(signal.time);
        fault.suspects.clone_from(&signal.suspects);
        fault.parents.clone_from(&signal.parents);
        fault.captures.clone_from(&signal.captures);
        keep(fault, evidence(signal), room);
        let unraised = [Phase::Tolerated, Phase::Cleared];
        if !signal.injected && !unraised.contains(&fault.phase) {
            // Real evidence makes a drill's fault real.
            fault.injected = false;
        }
        if fault.filed {
            // Only its children's so far; from now on it has its own proofs.
            fault.filed = false;
            proof::replace(fault, pattern.clear.clone());
        }
        Some(key)
    }

    /// Counts errors towards the tolerance; opens or interrupts.
    fn count(
        &mut self,
        key: &FaultKey,
        pattern: &Pattern,
        occasion: Occasion<'_>,
    ) {
        let room = self.table.room();
        let Some(row) = self.table.get_mut(key) else { return };
        let fault = &mut row.fault;
        fault.total = fault.total.saturating_add(occasion.count);
        let halved = fault.on_probation();
        let window = &mut fault.window;
        let admitted = match fault.phase {
            Phase::Settling => None,
            _ => Some(admit(window, pattern, halved, occasion)),
        };
        let spent = admitted.is_some_and(|a| a.spent);
        self.stats.dropped_values += admitted.map_or(0, |a| a.dropped);
        self.stats.dropped_values += tolerance::fit(window, room.window);
        match (fault.phase, admitted) {
            (Phase::Tolerated | Phase::Cleared, Some(admitted)) => {
                // A cleared fault shows its last life until it reopens.
                if fault.phase == Phase::Tolerated || spent {
                    fault.count = admitted.errors;
                }
                if fault.phase == Phase::Tolerated {
                    fault.injected = !admitted.real;
                }
                if spent {
                    fault.since_previous_boot = false;
                }
                show(fault, pattern);
                if spent {
                    self.spend(key, occasion.at, !admitted.real);
                }
            }
            _ => {
                fault.count = fault.count.saturating_add(occasion.count);
                show(fault, pattern);
                if spent {
                    fault.since_previous_boot = false;
                    self.interrupt(key);
                }
            }
        }
    }

    /// Text that tells of the past: opens without counting, and never twice
    /// for the same boot and text.
    fn take_history(
        &mut self,
        id: &SourceId,
        pattern: &Pattern,
        signal: Signal,
    ) {
        // Of an observation that says so itself nobody knows in how long its
        // errors came: more than may come at any time were too many, fewer
        // say nothing. A pattern of history has decided that it is one.
        let few = |t: Tolerance| signal.count <= t.count;
        if !pattern.history && pattern.tolerate.is_some_and(few) {
            return self.take_evidence(pattern, &signal);
        }
        let key = self.key_of(pattern, &signal.part);
        let text = fnv1a(signal.text.as_bytes());
        let is_filed = self.get(&key).is_some_and(|fault| {
            fault.history_boot == self.options.boot
                && fault.history_seen.contains(&text)
        });
        if is_filed || self.see(id, pattern, &signal).is_none() {
            return;
        }
        let Some(row) = self.table.get_mut(&key) else { return };
        let fault = &mut row.fault;
        if fault.history_seen.len() >= HISTORY_TEXTS_MAX {
            fault.history_seen.remove(0);
        }
        fault.history_seen.push(text);
        match fault.phase {
            Phase::Tolerated | Phase::Cleared => {
                fault.since_previous_boot = true;
                fault.count = signal.count.max(1);
                fault.total = fault.total.saturating_add(fault.count);
                let last = fault.window.last_occasion;
                empty(&mut fault.window, last);
                show(fault, pattern);
                self.spend(&key, signal.time, signal.injected);
            }
            Phase::Settling | Phase::Withdrawn => {}
            _ => self.interrupt(&key),
        }
    }

    /// Belongs to a block: kept with every fault it may be about.
    fn take_evidence(&mut self, pattern: &Pattern, signal: &Signal) {
        let name = &signal.part;
        let found = self.census.resolve(name);
        let part = found.as_ref().map_or(name, |f| &f.identity);
        let within = found.as_ref().map_or(&[][..], |f| &f.about.within);
        let keys = self.table.keys(|row| {
            let fault = &row.fault;
            fault.component == pattern.component
                && fault.phase != Phase::Cleared
                && (part.is_within(&fault.key.part)
                    || within.contains(&fault.key.part)
                    || name.is_within(fault.name())
                    || fault.lies_in(part, name))
        });
        let room = self.table.room();
        for key in keys {
            // What only says whose a line is must not push out the lines
            // that the fault is about.
            let last = self.get(&key).map_or(0, |fault| fault.last.len());
            if pattern.fallback && last >= LAST_EVIDENCE / 2 {
                continue;
            }
            if let Some(row) = self.table.get_mut(&key) {
                keep(&mut row.fault, evidence(signal), room);
            }
        }
    }

    /// A recovery observation about a part, for the pattern's faults on it
    /// and on parts within it; whether there is one.
    fn take_proof(
        &mut self,
        pattern: &Pattern,
        signal: &Signal,
        i: u8,
    ) -> bool {
        if let Some(early) = &mut self.early {
            early.keep(signal, i);
        }
        if self.table.of(&pattern.name).next().is_none() {
            return false; // nearly always
        }
        let keys = self.proved_by(pattern, signal);
        for key in &keys {
            self.prove(key, signal, i);
        }
        !keys.is_empty()
    }

    /// The pattern's faults on the signal's part and on parts within it.
    pub(super) fn proved_by(
        &self,
        pattern: &Pattern,
        signal: &Signal,
    ) -> Vec<FaultKey> {
        let part = self.key_of(pattern, &signal.part).part;
        let rows = self.table.of(&pattern.name);
        let proved = rows.filter(|r| r.fault.lies_in(&part, &signal.part));
        proved.map(|row| row.fault.key.clone()).collect()
    }

    pub(super) fn prove(&mut self, key: &FaultKey, signal: &Signal, i: u8) {
        let room = self.table.room();
        let Some(row) = self.table.get_mut(key) else { return };
        let holds = row.truth == Truth::True;
        let fault = &mut row.fault;
        let hold = match fault.clear.get(usize::from(i)) {
            Some(Proof::Recovered { hold }) => *hold,
            // The rules changed between match and step.
            _ => return,
        };
        // A state that a source still finds is not over, and what a drill
        // says of a real fault proves nothing.
        if holds || (signal.injected && !fault.injected) {
            return;
        }
        keep(fault, evidence(signal), room);
        match fault.phase {
            // With a hold the line alone proves nothing: what is tolerated
            // then goes on counting, or a part that recovers after every
            // failure could never use its tolerance up.
            Phase::Tolerated if hold.is_zero() => self.forget(key),
            Phase::Cleared if hold.is_zero() => {
                empty(&mut fault.window, None);
            }
            Phase::Tolerated | Phase::Cleared => {}
            Phase::Withdrawn => {}
            _ if fault.locked => {}
            Phase::Settling if hold.is_zero() => {
                self.end_quietly(key, Ended::Recovered);
            }
            _ if hold.is_zero() => self.end(key, Ended::Recovered),
            _ => {
                if !fault.begun.contains(&i) {
                    fault.begun.push(i);
                }
                self.recovering(key);
            }
        }
    }

    /// Lines that the kernel left out: they count for the part of that
    /// pattern that was seen last.
    fn take_suppressed(
        &mut self,
        id: &SourceId,
        names: &[Arc<str>],
        count: u64,
        at: Timestamp,
        text: String,
    ) {
        let known = names.iter().filter_map(|name| self.set.get(name));
        let mut patterns: Vec<_> = known.cloned().collect();
        if patterns.is_empty() {
            self.stats.unknown += 1;
            return;
        }
        patterns.retain(|pattern| !self.yields(pattern));
        if patterns.is_empty() {
            return;
        }
        let near = |fault: &&Fault| {
            let ago = at.since(fault.last_seen);
            let ahead = fault.last_seen.since(at);
            ago.max(ahead) <= SUPPRESSED_WITHIN && fault.sources.contains(id)
        };
        // Of those seen at once the first pattern's is it.
        let rows = patterns.iter().rev().flat_map(|p| self.table.of(&p.name));
        let faults = rows.map(|row| &row.fault);
        let last = faults.filter(near).max_by_key(|f| f.last_seen);
        let Some(key) = last.map(|fault| fault.key.clone()) else {
            self.stats.unplaced = self.stats.unplaced.saturating_add(count);
            return;
        };
        let pattern = patterns.into_iter().find(|p| p.name == key.pattern);
        let (now, room) = (self.now, self.table.room());
        let (Some(pattern), Some(row)) = (pattern, self.table.get_mut(&key))
        else {
            return;
        };
        row.touched = now.boot;
        let fault = &mut row.fault;
        fault.last_seen = fault.last_seen.max(at);
        keep(fault, Evidence { time: at, approximate: false, text }, room);
        // They are as real as the line they follow.
        let real = !fault.injected;
        let wall = now.wall;
        let occasion = Occasion { at, wall, count, value: None, real };
        if count > 0 {
            self.count(&key, &pattern, occasion);
        }
    }
}

/// A fault that has just been seen for the first time.
pub(super) fn new_fault(
    pattern: &Pattern,
    key: FaultKey,
    signal: &Signal,
    stage: crate::patterns::set::Stage,
) -> Fault {
    Fault {
        key,
        filed_as: None,
        about: None,
        phase: Phase::Tolerated,
        component: pattern.component.clone(),
        base_severity: pattern.severity,
        severity: pattern.severity,
        base_quarantine: pattern.quarantine,
        quarantine: pattern.quarantine,
        condition: pattern.condition.clone(),
        stage,
        suspects: Vec::new(),
        sources: Vec::new(),
        clear: pattern.clear.clone(),
        pattern_hash: pattern.hash,
        summary: String::new(),
        advice: String::new(),
        runbook: pattern.runbook.clone(),
        captures: Default::default(),
        parents: Vec::new(),
        first: evidence(signal),
        last: Default::default(),
        last_seen: signal.time,
        last_boot: Default::default(),
        count: 0,
        total: 0,
        since_previous_boot: false,
        history_seen: Vec::new(),
        history_boot: Default::default(),
        opened: None,
        ended: None,
        proof: None,
        explained_by: None,
        explained_on: None,
        children: Vec::new(),
        filed: false,
        relapses: Default::default(),
        locked: false,
        injected: signal.injected,
        window: Window::default(),
        sights: Vec::new(),
        held: Default::default(),
        active: Default::default(),
        proofs: vec![Default::default(); pattern.clear.len()],
        begun: Vec::new(),
        settling: Default::default(),
        probation: None,
        probation_length: pattern.probation,
    }
}

/// Fills in what people read.
pub(super) fn show(fault: &mut Fault, pattern: &Pattern) {
    let count = fault.count;
    fault.summary = pattern.summary.show(&fault.captures, count);
    fault.advice = pattern.advice.show(&fault.captures, count);
}

pub(super) fn evidence(signal: &Signal) -> Evidence {
    Evidence {
        time: signal.time,
        approximate: signal.approximate,
        text: signal.text.clone(),
    }
}

/// Keeps the first and the last few, as far as there is room.
pub(super) fn keep(fault: &mut Fault, evidence: Evidence, room: Room) {
    if fault.total == 0 && fault.first == evidence {
        return room.fit_evidence(fault);
    }
    if fault.last.len() >= LAST_EVIDENCE {
        fault.last.pop_front();
    }
    fault.last.push_back(evidence);
    room.fit_evidence(fault);
}
