//! The faults as series: one for each that was raised and is remembered, up
//! to a limit, and one for each part that such a fault is on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use prometheus::IntGaugeVec;

use super::maker::{Maker, OVERFLOW, locked};
use crate::ledger::fault::{Fault, FaultKey};
use crate::patterns::set::Severity;

/// Fault series at most; a node with more is broken as a whole, and the count
/// of the rest is in the overflow series.
pub const FAULTS_MAX: usize = 512;

/// The series of faults and of their parts.
#[derive(Debug)]
pub(super) struct FaultMetrics {
    active: IntGaugeVec,
    parts: IntGaugeVec,
    faults: Mutex<Faults>,
}

/// The faults that are shown, and how.
#[derive(Debug, Default)]
struct Faults {
    shown: BTreeMap<FaultKey, Shown>,
    with_series: usize,
    /// The parts that have an info series.
    parts: BTreeSet<[String; 4]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    /// pattern, component, part, severity.
    labels: [String; 4],
    /// Whether it is raised, and how bad it is: which of too many has a
    /// series.
    worth: (bool, Severity),
    has_series: bool,
    /// part, place, model, serial; where the census knows the part.
    part: Option<[String; 4]>,
}

impl Shown {
    fn of(fault: &Fault) -> Shown {
        let labels = [
            fault.key.pattern.to_string(),
            fault.component.to_string(),
            fault.name().to_string(),
            fault.severity.word().to_owned(),
        ];
        let worth = (fault.phase.is_raised(), fault.severity);
        let part = fault.about.as_ref().map(|about| {
            let text = |t: &Option<String>| t.clone().unwrap_or_default();
            let name = fault.name().to_string();
            let (place, model) = (text(&about.place), text(&about.model));
            [name, place, model, text(&about.serial)]
        });
        Shown { labels, worth, has_series: false, part }
    }

    fn is_raised(&self) -> bool {
        self.worth.0
    }

    fn labels(&self) -> [&str; 4] {
        self.labels.each_ref().map(String::as_str)
    }
}

impl FaultMetrics {
    pub(super) fn new(maker: &Maker) -> FaultMetrics {
        FaultMetrics {
            active: maker.gauges(
                "faultline_fault_active",
                "Faults that were raised and are remembered: 1 while active \
                 or recovering, 0 when over.",
                &["pattern", "component", "part", "severity"],
            ),
            parts: maker.gauges(
                "faultline_part_info",
                "The parts that faults are on: where they sit and what they \
                 are.",
                &["part", "place", "model", "serial"],
            ),
            faults: Mutex::default(),
        }
    }

    /// Shows faults as they are now; `None`: one is forgotten.
    pub(super) fn faults<'a>(
        &self,
        changed: impl IntoIterator<Item = (&'a FaultKey, Option<&'a Fault>)>,
    ) {
        let mut faults = locked(&self.faults);
        let faults = &mut *faults;
        let (mut gone, mut new) = (Vec::new(), Vec::new());
        for (key, fault) in changed {
            if let Some(old) = faults.shown.remove(key)
                && old.has_series
            {
                faults.with_series -= 1;
                gone.push(old.labels);
            }
            let fault = fault.filter(|f| f.opened.is_some());
            new.extend(fault.map(|fault| (key, Shown::of(fault))));
        }
        for (key, shown) in new {
            self.show(faults, key, shown);
        }
        // A part that gets its identity gives its fault another key, and the
        // same labels. Removed and made anew, the series would be missed.
        for labels in gone {
            let mut shown = faults.shown.values();
            if !shown.any(|s| s.has_series && s.labels == labels) {
                let labels = labels.each_ref().map(String::as_str);
                // Nothing is left of it either way.
                let _ = self.active.remove_label_values(&labels);
            }
        }
        self.show_overflow(faults);
        self.show_parts(faults);
    }

    /// One series for each part that a fault with a series is on: no more
    /// than there are of those.
    fn show_parts(&self, faults: &mut Faults) {
        let with_series = faults.shown.values().filter(|s| s.has_series);
        let parts: BTreeSet<[String; 4]> =
            with_series.filter_map(|s| s.part.clone()).collect();
        for old in faults.parts.difference(&parts) {
            let labels = old.each_ref().map(String::as_str);
            // Nothing is left of it either way.
            let _ = self.parts.remove_label_values(&labels);
        }
        for new in parts.difference(&faults.parts) {
            let labels = new.each_ref().map(String::as_str);
            self.parts.with_label_values(&labels).set(1);
        }
        faults.parts = parts;
    }

    fn show(&self, faults: &mut Faults, key: &FaultKey, mut new: Shown) {
        if faults.with_series >= FAULTS_MAX && new.is_raised() {
            self.make_room(faults, new.worth);
        }
        if faults.with_series < FAULTS_MAX {
            self.give_series(&mut new);
            faults.with_series += 1;
        }
        faults.shown.insert(key.clone(), new);
    }

    /// A fault that is over, or else the least of those that are not as bad,
    /// gives its series up.
    fn make_room(&self, faults: &mut Faults, to: (bool, Severity)) {
        let all = faults.shown.values_mut().filter(|shown| shown.has_series);
        let least = all.min_by_key(|shown| shown.worth);
        if let Some(shown) = least.filter(|shown| shown.worth < to) {
            shown.has_series = false;
            let _ = self.active.remove_label_values(&shown.labels());
            faults.with_series -= 1;
        }
    }

    fn give_series(&self, shown: &mut Shown) {
        shown.has_series = true;
        let series = self.active.with_label_values(&shown.labels());
        series.set(i64::from(shown.is_raised()));
    }

    /// Gives free series to raised faults without one, and shows how many
    /// are left.
    fn show_overflow(&self, faults: &mut Faults) {
        let labels = [OVERFLOW; 4];
        if faults.shown.len() <= faults.with_series {
            // There is none unless there was an overflow.
            let _ = self.active.remove_label_values(&labels);
            return;
        }
        let mut rest = 0;
        for shown in faults.shown.values_mut() {
            if shown.has_series || !shown.is_raised() {
                continue;
            }
            if faults.with_series < FAULTS_MAX {
                self.give_series(shown);
                faults.with_series += 1;
            } else {
                rest += 1;
            }
        }
        self.active.with_label_values(&labels).set(rest);
    }
}
