//! What is known of the BMCs, for everyone who only wants to look: metrics,
//! the census, `hwmon`. Whoever asks a BMC writes it here; whoever reads it
//! never waits for a BMC.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::inventory::{Item, Unread};
use super::monitor::View;
use super::presence::Parts;
use super::vitals::Vitals;
use crate::decode::ipmi::fru::Label;
use crate::decode::ipmi::sensor::Sensor;
use crate::parts::units::{Shelf, Unit, Units};
use crate::time::Uptime;

/// What is known of one BMC.
#[derive(Clone, Debug, Default)]
pub struct Bmc {
    /// Whether it answers; `None` before it was asked.
    pub answers: Option<bool>,
    /// Why not.
    pub why: Option<String>,
    /// Whether its parts have its name before theirs.
    pub is_further: bool,
    /// Its sensors as they were last read.
    pub sensors: Arc<Vec<View>>,
    /// Every sensor that it tells of, also those without readings.
    pub known: Arc<Vec<Sensor>>,
    /// Why not all of its records are known, if they are not.
    pub incomplete: Option<String>,
    /// Its identity, its chassis, its power.
    pub vitals: Vitals,
    /// The parts that its sensors see, or miss.
    pub there: Parts,
    /// The parts whose inventory it keeps.
    pub items: Arc<Vec<Item>>,
    /// Whether each of them was read once.
    pub has_items: bool,
    /// When the last pass over its sensors ended.
    pub passed: Option<Uptime>,
    /// How long that took.
    pub pass: Duration,
    /// Passes that were ended by their budget.
    pub cut: u64,
    /// Commands sent.
    pub commands: u64,
    /// Errors by kind.
    pub errors: BTreeMap<&'static str, u64>,
    /// Sensor data records read, and skipped because they make no sense.
    pub records: (u32, u32),
    /// The log: entries, free bytes.
    pub log: Option<(u16, u16)>,
    /// How long it took to look at the log.
    pub log_pass: Duration,
}

/// All of them, by name.
#[derive(Clone, Debug, Default)]
pub struct Board {
    bmcs: Arc<Mutex<BTreeMap<String, Bmc>>>,
    shelf: Shelf,
}

impl Board {
    /// One that leaves the units of BMCs on a shelf, for the census.
    pub fn with_shelf(shelf: Shelf) -> Board {
        Board { shelf, ..Board::default() }
    }

    /// Changes what is known of one.
    pub fn update(&self, name: &str, change: impl FnOnce(&mut Bmc)) {
        change(self.locked().entry(name.to_owned()).or_default());
    }

    /// Leaves what the inventories said where the census finds it. Before
    /// each was read once there is nothing to leave: half of them would look
    /// like parts that are missing.
    pub fn stock(&self) {
        let bmcs = self.look();
        let (mut units, mut unread) = (Vec::new(), None);
        for (name, bmc) in &bmcs {
            let silent = bmc.answers == Some(false);
            if !bmc.has_items && !silent {
                return;
            }
            if silent {
                unread = Some(format!("the BMC {name} does not answer"));
            }
            // Records of units may be among those that are not known.
            unread = unread.or_else(|| bmc.incomplete.clone());
            units_of(bmc, &mut units, &mut unread);
        }
        self.shelf.put(match unread {
            Some(why) => Units::Unread(why, units),
            None => Units::Read(units),
        });
    }

    /// The parts of BMCs that the census finds gone.
    pub fn gone(&self) -> BTreeSet<String> {
        self.shelf.gone()
    }

    /// A copy of everything; sensors and items are shared.
    pub fn look(&self) -> BTreeMap<String, Bmc> {
        self.locked().clone()
    }

    /// Whether any BMC answers.
    pub fn any_answers(&self) -> bool {
        self.locked().values().any(|bmc| bmc.answers == Some(true))
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Bmc>> {
        // A panic elsewhere makes no reading wrong.
        self.bmcs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The units of one BMC. What a sensor does not see is not there, whatever
/// the inventory still says; what one sees is, also without an inventory.
fn units_of(bmc: &Bmc, units: &mut Vec<Unit>, unread: &mut Option<String>) {
    let mut told = BTreeSet::new();
    for item in bmc.items.iter() {
        let is_there = bmc.there.get(&item.part).map(|there| there.is);
        let label = match &item.fru {
            _ if is_there == Some(false) => continue,
            Ok(fru) => fru.label(),
            Err(Unread::Absent) => continue,
            // Blank, or without sense: it is there all the same.
            Err(Unread::Senseless(_)) => Label::default(),
            Err(Unread::Refused(_)) if is_there.is_some() => continue,
            Err(why @ Unread::Refused(_)) => {
                *unread = Some(format!("{}: {why}", item.name));
                continue;
            }
        };
        told.insert(item.part.as_str());
        let (part, name) = (item.part.clone(), item.name.clone());
        units.push(Unit { part, name, label });
    }
    for (part, there) in bmc.there.iter() {
        if there.is && !told.contains(part.as_str()) {
            let (part, name) = (part.clone(), there.name.clone());
            units.push(Unit { part, name, label: Label::default() });
        }
    }
}
