//! Which supplies, fans and drives are there, as sensors tell it: a BMC may
//! keep no inventory of them, or go on giving the inventory of one that was
//! pulled. What is not known is left as it was last told.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::monitor::View;
use crate::decode::ipmi::reading::Reading;
use crate::decode::ipmi::sensor::{Key, SPECIFIC, Sensor};
use crate::decode::ipmi::{kinds, states};

/// The kinds of parts that are pulled while a machine runs; others are
/// counted by the firmware and the kernel.
const PULLED: [&str; 3] = ["psu/", "fan/", "bay/"];

/// Whether it is a supply's own sensor, which has states of its type.
fn is_supply(sensor: &Sensor) -> bool {
    sensor.kind == kinds::POWER_SUPPLY && sensor.reading_type == SPECIFIC
}

/// Whether a power supply tells that it is there.
pub fn sees_supply(sensor: &Sensor, reading: &Reading) -> bool {
    is_supply(sensor) && sensor.presence(reading) == Some(true)
}

/// Sensors of a BMC none of whose supplies ever told that it is there: a
/// machine that runs has one, so this BMC does not use the bit, whatever its
/// records say (old Supermicro boards report a healthy supply as no state at
/// all). Before each was read nothing is concluded.
pub fn untold(mut views: Vec<View>) -> Vec<View> {
    let supplies = || views.iter().filter(|view| is_supply(&view.sensor));
    if supplies().all(|view| view.reading.is_ok()) {
        for view in views.iter_mut().filter(|v| is_supply(&v.sensor)) {
            let sensor = Arc::make_mut(&mut view.sensor);
            let bit = states::presence(sensor.kind, sensor.reading_type);
            sensor.mask &= !bit.unwrap_or(0);
        }
    }
    views
}

/// Whether a part is there, and the name of the sensor that tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct There {
    /// The sensor's name.
    pub name: String,
    /// Whether it is.
    pub is: bool,
}

/// Parts by their names.
pub type Parts = Arc<BTreeMap<String, There>>;

/// What each sensor has told.
#[derive(Debug, Default)]
pub struct Presences(BTreeMap<Key, (String, There)>);

impl Presences {
    /// Takes what sensors say now; `named` makes a part's name of the BMC's
    /// own one for it.
    pub fn watch(&mut self, views: &[View], named: impl Fn(String) -> String) {
        self.0.retain(|key, _| views.iter().any(|v| v.sensor.key == *key));
        for View { sensor, reading, .. } in views {
            let Ok(reading) = reading else { continue };
            let Some(is) = sensor.presence(reading) else {
                // What it told was another sensor's of its number.
                self.0.remove(&sensor.key);
                continue;
            };
            let part = sensor.part();
            if !PULLED.iter().any(|kind| part.starts_with(kind)) {
                continue;
            }
            let there = There { name: sensor.name.clone(), is };
            self.0.insert(sensor.key, (named(part), there));
        }
    }

    /// The parts. Of two sensors of one part, it is enough that one sees it.
    pub fn parts(&self) -> Parts {
        let mut parts: BTreeMap<String, There> = BTreeMap::new();
        for (part, there) in self.0.values() {
            let known = parts.entry(part.clone()).or_insert(there.clone());
            if there.is && !known.is {
                known.clone_from(there);
            }
        }
        Arc::new(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::super::monitor::Why;
    use super::*;
    use crate::decode::ipmi::entity::Entity;
    use crate::decode::ipmi::thresholds::Thresholds;

    fn view(number: u8, reading: Result<u16, Why>) -> View {
        let mut sensor = Sensor {
            name: format!("PSU{number} Status"),
            kind: kinds::POWER_SUPPLY,
            reading_type: 0x6F,
            mask: 0x7F,
            entity: Entity::of(10, 2),
            ..Sensor::default()
        };
        sensor.key.number = number;
        View {
            sensor: Arc::new(sensor),
            limits: Thresholds::default(),
            reading: reading.map(|bits| Reading { bits, ..Reading::default() }),
            read: None,
        }
    }

    fn is_there(presences: &Presences) -> Option<bool> {
        presences.parts().get("psu/2").map(|there| there.is)
    }

    #[test]
    fn silence_changes_nothing_and_a_sensor_that_is_gone_tells_nothing() {
        let mut presences = Presences::default();
        let mut watch = |views: &[View]| {
            presences.watch(views, |part| part);
            is_there(&presences)
        };
        assert_eq!(watch(&[view(1, Err(Why::NotYet))]), None);
        assert_eq!(watch(&[view(1, Ok(1))]), Some(true));
        assert_eq!(watch(&[view(1, Err(Why::Silent))]), Some(true));
        assert_eq!(watch(&[view(1, Ok(0))]), Some(false));
        assert_eq!(watch(&[view(1, Ok(0)), view(2, Ok(1))]), Some(true));
        assert_eq!(watch(&[]), None);
    }

    #[test]
    fn a_bmc_whose_supplies_are_never_there_does_not_tell_presence() {
        let told = |views: Vec<View>| {
            let views = untold(views);
            let presence = |view: &View| {
                let reading = view.reading.as_ref().ok()?;
                view.sensor.presence(reading)
            };
            views.iter().map(presence).collect::<Vec<_>>()
        };
        // Nothing, and a failure without the bit of presence.
        assert_eq!(told(vec![view(1, Ok(0)), view(2, Ok(2))]), [None, None]);
        // One that cannot be read may be the one that is there.
        let unread = view(2, Err(Why::NotYet));
        assert_eq!(told(vec![view(1, Ok(0)), unread]), [Some(false), None]);
    }

    #[test]
    fn a_sensor_that_became_another_tells_nothing_of_what_it_was() {
        let mut presences = Presences::default();
        presences.watch(&[view(1, Ok(0))], |part| part);
        assert_eq!(is_there(&presences), Some(false));
        let mut other = view(1, Ok(0));
        let sensor = Sensor {
            kind: kinds::TEMPERATURE,
            reading_type: 0x01,
            ..(*other.sensor).clone()
        };
        other.sensor = Arc::new(sensor);
        presences.watch(&[other], |part| part);
        assert_eq!(is_there(&presences), None);
    }
}
