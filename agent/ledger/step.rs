//! Takes a batch apart: what each event means for the faults it is about.

use super::fault::{Evidence, Fault, FaultKey, Phase, Window};
use super::room::Room;
use super::table::Row;
use super::tolerance::{Occasion, admit, empty};
use super::twins::{self, Telling};
use super::{Ledger, proof, tolerance};
use crate::hash::fnv1a;
use crate::patterns::set::{Pattern, Severity, Tolerance};
use crate::signal::{Batch, Effect, Event, Signal, SourceId, Truth};
use crate::time::Timestamp;

/// How many of the last observations are kept beside the first.
pub(super) const LAST_EVIDENCE: usize = 8;

/// How many sources a fault waits for; a machine has fewer that could see
/// the same fault.
pub(super) const SOURCES_MAX: usize = 16;

/// How many history texts of one boot are remembered for each fault.
const HISTORY_TEXTS_MAX: usize = 64;

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

    /// What an instance saw that is gone, its source as a whole watches for
    /// from now on: it would see the next one that comes.
    pub(super) fn hand_over(&mut self, gone: &SourceId) {
        self.up.remove(gone);
        self.clocks.remove(gone);
        let Some((whole, _)) = gone.split_once(':') else { return };
        let whole = SourceId::from(whole);
        let saw = |row: &Row| row.fault.sources.contains(gone);
        for key in self.table.keys(saw) {
            let Some(row) = self.table.get_mut(&key) else { continue };
            let sources = &mut row.fault.sources;
            sources.retain(|source| source != gone);
            if !sources.contains(&whole) {
                sources.push(SourceId::clone(&whole));
            }
            self.table.touch(key);
        }
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
    pub(super) fn count(
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
