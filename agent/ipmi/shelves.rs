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
/// moment to be there.
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
        let shelf = |place| Shelf { place, due: Uptime(0), item: None };
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
        }
    }

    fn mark(&mut self, entity: Entity, due: Uptime) {
        for shelf in &mut self.all {
            if shelf.place.entity() == entity {
                shelf.due = shelf.due.min(due);
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
            shelf.due = clock::boot().plus(INVENTORY_EVERY);
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
