//! When the inventories of a BMC are read: a few at a time, seldom, and soon
//! after a sensor has told that something was put in. Reading one is
//! `inventory`'s; who learns of it is the board's business.

use std::collections::BTreeMap;
use std::time::Duration;

use super::inventory::{Item, Place};
use super::monitor::{View, Why};
use super::{Link, TransportError};
use crate::clock;
use crate::decode::ipmi::entity::Entity;
use crate::decode::ipmi::sensor::Key;
use crate::time::Uptime;

/// How often an inventory is read when nothing tells that it has changed.
const INVENTORY_EVERY: Duration = Duration::from_secs(1800);

/// How long reading inventories may take in one pass: each is some dozen
/// commands.
const INVENTORY_BUDGET: Duration = Duration::from_secs(2);

/// After a sensor told that something was put in: its inventory needs a
/// moment to be there. Some BMCs take minutes over it, and until then have
/// none or still that of the unit that was pulled; so it is read again, each
/// time after twice as long.
const SETTLE: Duration = Duration::from_secs(5);

/// Where inventories are, and what they said.
#[derive(Debug, Default)]
pub struct Shelves {
    all: Vec<Shelf>,
    /// The states by which a part is seen to come or go.
    states: BTreeMap<Key, Option<u16>>,
}

#[derive(Debug)]
struct Shelf {
    place: Place,
    due: Uptime,
    /// How long it was left alone the last time.
    pause: Duration,
    item: Option<Item>,
}

impl Shelves {
    /// The places that there are; those that were known before are forgotten
    /// only if there are others now.
    pub fn stock(&mut self, places: Vec<Place>) {
        let known = self.all.iter().map(|shelf| &shelf.place);
        if known.eq(places.iter()) {
            return;
        }
        let shelf = |place| Shelf {
            place,
            due: Uptime(0),
            pause: INVENTORY_EVERY,
            item: None,
        };
        self.all = places.into_iter().map(shelf).collect();
    }

    /// What a sensor tells of its entity has changed: perhaps it is another.
    pub fn watch(&mut self, views: &[View], now: Uptime) {
        for view in views.iter().filter(|v| !v.sensor.has_thresholds()) {
            let bits = match &view.reading {
                Ok(reading) => Some(reading.bits),
                // Silence is no change.
                Err(Why::Silent | Why::NotYet) => continue,
                Err(Why::Said(_)) => None,
            };
            let before = self.states.insert(view.sensor.key, bits);
            if before.is_some_and(|before| before != bits) {
                self.mark(view.sensor.entity, now.plus(SETTLE));
            }
        }
    }

    /// Everything is read again: nobody has watched for a while.
    pub fn read_anew(&mut self) {
        for shelf in &mut self.all {
            shelf.due = Uptime(0);
            shelf.pause = SETTLE;
        }
    }

    fn mark(&mut self, entity: Entity, due: Uptime) {
        for shelf in &mut self.all {
            if shelf.place.entity() == entity {
                shelf.due = shelf.due.min(due);
                shelf.pause = SETTLE;
            }
        }
    }

    /// Reads those that are due, as far as the budget goes; all of them,
    /// once each was read.
    ///
    /// # Errors
    /// The BMC does not answer.
    pub fn read_some(
        &mut self,
        link: &mut Link,
    ) -> Result<Option<Vec<Item>>, TransportError> {
        let began = clock::boot();
        let mut news = self.all.is_empty();
        let mut due: Vec<&mut Shelf> =
            self.all.iter_mut().filter(|s| s.due <= began).collect();
        due.sort_by_key(|shelf| shelf.due);
        for shelf in due {
            shelf.item = Some(shelf.place.read(link)?);
            shelf.pause = (shelf.pause * 2).min(INVENTORY_EVERY);
            shelf.due = clock::boot().plus(shelf.pause);
            news = true;
            if clock::boot().since(began) >= INVENTORY_BUDGET {
                break;
            }
        }
        let items: Vec<Item> =
            self.all.iter().filter_map(|shelf| shelf.item.clone()).collect();
        // Half an inventory would look like parts that are missing.
        Ok((news && items.len() == self.all.len()).then_some(items))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::inventory;
    use super::super::link::testing::{answer, link};
    use super::*;
    use crate::decode::ipmi::kinds;
    use crate::decode::ipmi::reading::Reading;
    use crate::decode::ipmi::sdr::{Located, Locator};
    use crate::decode::ipmi::sensor::Sensor;
    use crate::decode::ipmi::thresholds::Thresholds;

    /// A supply's sensor of states.
    fn view(bits: u16) -> View {
        let sensor = Sensor {
            name: "PSU2 Status".into(),
            kind: kinds::POWER_SUPPLY,
            reading_type: 0x6F,
            entity: Entity::of(10, 2),
            ..Sensor::default()
        };
        View {
            sensor: Arc::new(sensor),
            limits: Thresholds::default(),
            reading: Ok(Reading { bits, ..Reading::default() }),
            read: None,
        }
    }

    fn supply() -> Locator {
        Locator {
            located: Located::LogicalFru(0x12),
            owner: 0x20,
            channel: 0,
            lun: 0,
            device: (0x10, 0),
            entity: Entity::of(10, 2),
            name: "PSU2 FRU".into(),
        }
    }

    #[test]
    fn a_unit_that_was_put_in_is_read_until_its_bmc_had_minutes_for_it() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let mut link = link(Box::new(move |_, _, _, data| {
            if data[0] == 0x12 {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            answer(0xCB, &[])
        }));
        let mut shelves = Shelves::default();
        shelves.stock(inventory::places(&[supply()]));
        let seconds = |pause: Duration| pause.as_secs();
        // Reads what is due, as if `wait` had passed.
        let mut pause = |shelves: &mut Shelves, wait: Duration| {
            let now = clock::boot().plus(wait);
            for shelf in &mut shelves.all {
                if shelf.due <= now {
                    shelf.due = Uptime(0);
                }
            }
            let before = asked.load(Ordering::Relaxed);
            shelves.read_some(&mut link).unwrap();
            let is_read = asked.load(Ordering::Relaxed) > before;
            is_read.then(|| seconds(shelves.all[0].pause))
        };
        shelves.watch(&[view(0)], clock::boot());
        assert_eq!(pause(&mut shelves, Duration::ZERO), Some(1800));
        shelves.watch(&[view(0)], clock::boot());
        assert_eq!(pause(&mut shelves, Duration::from_secs(1700)), None);

        shelves.watch(&[view(1)], clock::boot());
        assert_eq!(pause(&mut shelves, Duration::from_secs(4)), None);
        for (wait, then) in [(5, 10), (10, 20), (20, 40), (40, 80), (80, 160)] {
            let wait = Duration::from_secs(wait);
            assert_eq!(pause(&mut shelves, wait), Some(then));
        }
        for then in [320, 640, 1280, 1800, 1800] {
            let wait = INVENTORY_EVERY;
            assert_eq!(pause(&mut shelves, wait), Some(then));
        }
    }
}
