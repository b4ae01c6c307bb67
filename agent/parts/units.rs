//! What a BMC keeps of the node's field-replaceable units, as parts of the
//! census: so that a power supply has a place, a model and a serial number,
//! and one that was swapped while the node ran is seen.
//!
//! Whoever reads the BMC puts them on the [`Shelf`]; the census takes them
//! from there and never waits for a BMC.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::census::{Census, Reading};
use super::host::BOARD;
use super::ids::PartId;
use super::part::{Part, Presence, Realm};
use super::serials;
use crate::decode::ipmi::fru::Label;
use crate::decode::ipmi::part::stem;

/// One unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// The part that it is: `psu/2`.
    pub part: String,
    /// Its name in the BMC's repository: `PSU2 FRU`.
    pub name: String,
    /// What its label says.
    pub label: Label,
}

/// What is known of the units.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Units {
    /// No BMC was ever asked.
    #[default]
    None,
    /// They could not be read, and why: all of them, or some. Those that
    /// could be are with it.
    Unread(String, Vec<Unit>),
    /// All of them.
    Read(Vec<Unit>),
}

/// Where they are left for the census, and where it tells which are gone.
#[derive(Clone, Debug, Default)]
pub struct Shelf(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    version: u64,
    units: Units,
    gone: BTreeSet<String>,
}

impl Shelf {
    /// Leaves them here; tells the census if they are others.
    pub fn put(&self, units: Units) {
        let mut held = self.locked();
        if held.units != units {
            held.version += 1;
            held.units = units;
        }
    }

    /// How often other units were put here.
    pub fn version(&self) -> u64 {
        self.locked().version
    }

    /// What is here.
    pub fn look(&self) -> Units {
        self.locked().units.clone()
    }

    /// What a census says of the units: which were there and are not.
    pub fn hear(&self, census: &Census) {
        let is_gone = |part: &&Part| {
            part.realm == Realm::Bmc && part.presence == Presence::Gone
        };
        // Another one may be in its place.
        let is_missed = |part: &&Part| {
            let now = census.get(&part.name);
            now.is_none_or(|now| now.presence == Presence::Gone)
        };
        let gone = census.parts().filter(is_gone).filter(is_missed);
        let names = gone.map(|part| part.name.as_str().to_owned());
        self.locked().gone = names.collect();
    }

    /// Those that are gone, by name.
    pub fn gone(&self) -> BTreeSet<String> {
        self.locked().gone.clone()
    }

    fn locked(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds the units to what was seen of the machine.
pub fn add(reading: &mut Reading, units: Units) {
    let units = match units {
        Units::None => {
            reading.asked_no_bmc = true;
            return;
        }
        Units::Read(units) => units,
        Units::Unread(why, units) => {
            reading.unread.insert(Realm::Bmc, why);
            units
        }
    };
    let own: BTreeSet<PartId> =
        units.iter().map(|unit| PartId::new(&unit.part)).collect();
    for unit in units {
        let mut part = part(&unit);
        // What its label says may be what another is called: a bay of a
        // second BMC.
        part.aliases.retain(|alias| !own.contains(alias));
        match part.name.kind() {
            "psu" | "fan" | "bay" => reading.parts.push(part),
            "board" if unit.part == BOARD => complete(reading, part),
            // What the machine itself tells of is one part, not two.
            _ => {
                let is_known = |known: &Part| known.serial == part.serial;
                if part.serial.is_some() && !reading.parts.iter().any(is_known)
                {
                    reading.parts.push(Part { watched: false, ..part });
                }
            }
        }
    }
    // The firmware's table is of the time of the boot; supplies are changed
    // while the machine runs.
    if reading.parts.iter().any(is_supply_of_bmc) {
        reading.parts.retain(|part| !is_supply_of_tables(part));
    }
}

/// The system's own inventory: what the firmware's table does not say of it.
fn complete(reading: &mut Reading, of_bmc: Part) {
    let board = PartId::new(BOARD);
    match reading.parts.iter_mut().find(|part| part.name == board) {
        Some(known) => {
            known.serial = known.serial.take().or(of_bmc.serial);
            known.model = known.model.take().or(of_bmc.model);
        }
        None => {
            let within = Vec::new();
            let (watched, place) = (false, None);
            reading.parts.push(Part { watched, within, place, ..of_bmc });
        }
    }
}

/// What a census remembers as there, so that another look without a BMC
/// does not miss it.
pub fn of_census(census: &Census) -> Units {
    let there = |part: &&Part| {
        part.realm == Realm::Bmc && part.presence == Presence::Present
    };
    let unit = |part: &Part| Unit {
        part: part.name.as_str().to_owned(),
        name: part.place.clone().unwrap_or_default(),
        label: Label {
            model: part.model.clone(),
            serial: part.serial.clone(),
            part_number: None,
        },
    };
    Units::Read(census.parts().filter(there).map(unit).collect())
}

fn part(unit: &Unit) -> Part {
    let name = PartId::new(&unit.part);
    let tidy = |text: &Option<String>| text.as_deref().map(str::to_owned);
    let place = stem(&unit.name).to_owned();
    let mut part = Part {
        serial: unit.label.serial.as_deref().and_then(serials::serial),
        model: tidy(&unit.label.model).and_then(|m| serials::model(&m)),
        place: (!place.is_empty()).then_some(place),
        within: vec![PartId::new(BOARD)],
        ..Part::named(name.clone(), Realm::Bmc)
    };
    if let Some(place) = &part.place {
        let alias = format!("{}/{place}", name.kind());
        part.alias(PartId::new(&alias));
    }
    part
}

/// Whether it is a supply that a BMC tells of.
pub fn is_supply_of_bmc(part: &Part) -> bool {
    part.realm == Realm::Bmc && part.name.kind() == "psu"
}

/// Whether it is a supply that only the firmware's tables tell of.
pub fn is_supply_of_tables(part: &Part) -> bool {
    part.realm == Realm::Smbios && part.name.kind() == "psu"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::BootId;

    fn supply(serial: Option<&str>) -> Unit {
        Unit {
            part: "psu/2".into(),
            name: "PSU2 FRU".into(),
            label: Label {
                model: Some("Delta DPS-1600".into()),
                serial: serial.map(str::to_owned),
                part_number: None,
            },
        }
    }

    fn census(before: &Census, units: Units) -> Census {
        let mut reading = Reading::default();
        let mut old = Part::named(PartId::new("psu/PSU2"), Realm::Smbios);
        old.serial = Some("P2K4ACK11BT001".into());
        old.place = Some("Bay 2".into());
        reading.parts.push(old);
        add(&mut reading, units);
        before.after(&BootId("a".into()), reading)
    }

    #[test]
    fn a_supply_has_a_place_a_model_and_a_serial_number() {
        let read = Units::Read(vec![supply(Some("DTXJ8231ABC"))]);
        let census = census(&Census::default(), read);
        let part = census.get(&PartId::new("psu/2")).unwrap();
        assert_eq!(part.identity().as_str(), "psu/sn:DTXJ8231ABC");
        assert_eq!(part.place.as_deref(), Some("PSU2"));
        assert_eq!(part.model.as_deref(), Some("Delta DPS-1600"));
        assert!(census.get(&PartId::new("psu/PSU2")).is_some());
        assert_eq!(census.parts().count(), 1, "the table's is of the boot");
    }

    #[test]
    fn a_swapped_supply_takes_the_place_of_the_old_one() {
        let read = |serial| Units::Read(vec![supply(Some(serial))]);
        let first = census(&Census::default(), read("DTXJ8231ABC"));
        let about = first.resolve(&PartId::new("psu/2")).unwrap().about;
        let next = census(&first, read("DTXJ8239XYZ"));
        assert!(!first.is_replaced(&about));
        assert!(next.is_replaced(&about));
        assert_eq!(next.parts().count(), 1);
    }

    #[test]
    fn a_bmc_that_does_not_answer_takes_no_supply_away() {
        let read = Units::Read(vec![supply(Some("DTXJ8231ABC"))]);
        let first = census(&Census::default(), read);
        let deaf = Units::Unread("timeout".into(), Vec::new());
        let next = census(&first, deaf);
        let parts: Vec<_> = next.parts().collect();
        assert_eq!(parts.len(), 1, "{parts:?}");
        assert_eq!(parts[0].presence, Presence::Unknown);
        let gone = census(&first, Units::Read(Vec::new()));
        let part = gone.get(&PartId::new("psu/sn:DTXJ8231ABC")).unwrap();
        assert_eq!(part.presence, Presence::Gone);
    }

    #[test]
    fn a_supply_of_the_tables_is_not_missing_when_the_bmc_tells_another() {
        let first = census(&Census::default(), Units::None);
        assert_eq!(first.parts().count(), 1);
        let read = Units::Read(vec![supply(Some("DTXJ8231ABC"))]);
        let next = census(&first, read);
        let present = |p: &Part| p.presence == Presence::Present;
        assert!(next.parts().all(present), "{:?}", next.parts().count());
    }

    #[test]
    fn placeholder_serials_are_none_and_a_known_part_is_not_told_twice() {
        let read = Units::Read(vec![supply(Some("To be filled by O.E.M."))]);
        let none = census(&Census::default(), read);
        assert_eq!(none.get(&PartId::new("psu/2")).unwrap().serial, None);
        let mut card = supply(Some("P2K4ACK11BT001"));
        card.part = "card/Riser".into();
        let same = census(&Census::default(), Units::Read(vec![card]));
        assert_eq!(same.parts().count(), 1);
    }

    #[test]
    fn bays_of_one_label_behind_two_bmcs_are_each_its_own() {
        let bay = |part: &str| Unit {
            part: part.into(),
            name: "Drive 1".into(),
            label: Label::default(),
        };
        let (first, second) = ("bay/Drive 1", "bay/10.0.7.21 Drive 1");
        let read = Units::Read(vec![bay(second), bay(first)]);
        let census = census(&Census::default(), read);
        for name in [first, second] {
            let found = census.resolve(&PartId::new(name)).unwrap();
            assert_eq!(found.identity.as_str(), name);
        }
    }

    #[test]
    fn only_other_units_are_news() {
        let shelf = Shelf::default();
        shelf.put(Units::Read(vec![supply(None)]));
        let first = shelf.version();
        shelf.put(Units::Read(vec![supply(None)]));
        assert_eq!(shelf.version(), first);
        shelf.put(Units::Unread("busy".into(), Vec::new()));
        assert_ne!(shelf.version(), first);
    }
}
