//! One sensor, as its record describes it.

use std::fmt;

use super::convert::{Factors, Format, Linearization};
use super::entity::Entity;
use super::kinds;
use super::sel::Event;
use super::thresholds::Thresholds;
use super::units::Units;

/// Event/reading type of sensors with thresholds.
pub const THRESHOLD: u8 = 0x01;
/// Event/reading type of sensors whose states depend on the sensor's type.
pub const SPECIFIC: u8 = 0x6f;

/// What tells a sensor from every other: names repeat, record ids change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Who owns it: a controller's slave address (even, as on the bus), or
    /// the id of system software with bit 0 set.
    pub owner: u8,
    /// The channel on which the owner is reached; 0 is the IPMB.
    pub channel: u8,
    /// The owner's logical unit.
    pub lun: u8,
    /// Its number there.
    pub number: u8,
}

impl Key {
    /// Of the three bytes that begin a sensor record.
    pub(super) fn of(owner: u8, place: u8, number: u8) -> Key {
        Key { owner, channel: place >> 4, lun: place & 3, number }
    }

    /// Whether software of the host owns it and no controller can be asked.
    pub fn is_software(self) -> bool {
        self.owner & 1 != 0
    }
}

impl fmt::Display for Key {
    /// `20.0.0.31`: owner, channel, unit and number, hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Key { owner, channel, lun, number } = self;
        write!(f, "{owner:02x}.{channel:x}.{lun}.{number:02x}")
    }
}

/// How an analog reading becomes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// How the raw byte is to be read.
    pub format: Format,
    /// The function over it.
    pub linearization: Linearization,
    /// Its factors; those of a non-linear sensor must be asked for.
    pub factors: Factors,
}

impl Conversion {
    /// The value of a raw reading; `None` where the factors of a non-linear
    /// sensor are missing, or where the result is no number.
    pub fn value(&self, raw: u8) -> Option<f64> {
        match self.linearization {
            Linearization::NonLinear(_) => None,
            _ => self.value_with(raw, &self.factors),
        }
    }

    /// The same, with factors that were asked for this raw reading.
    pub fn value_with(&self, raw: u8, factors: &Factors) -> Option<f64> {
        let x = factors.apply(self.format.number(raw));
        self.linearization.apply(x)
    }

    /// Whether factors must be asked for each raw reading.
    pub fn needs_factors(&self) -> bool {
        matches!(self.linearization, Linearization::NonLinear(_))
    }
}

/// Whether a sensor's hysteresis or thresholds can be asked for (byte 12 of
/// its record).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// There is none.
    #[default]
    None,
    /// It can be read.
    Readable,
    /// It can be read and set.
    Settable,
    /// It is fixed and cannot be read.
    Fixed,
}

impl Access {
    /// Of its two bits.
    pub(super) fn of(bits: u8) -> Access {
        match bits & 3 {
            0 => Access::None,
            1 => Access::Readable,
            2 => Access::Settable,
            _ => Access::Fixed,
        }
    }

    /// Whether the BMC tells it.
    pub fn is_readable(self) -> bool {
        matches!(self, Access::Readable | Access::Settable)
    }
}

/// What a sensor measures of its entity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// The record does not say, or it does not matter.
    #[default]
    Unspecified,
    /// What goes into the entity.
    Input,
    /// What it gives.
    Output,
}

impl Direction {
    /// Of its two bits.
    pub(super) fn of(bits: u8) -> Direction {
        match bits & 3 {
            1 => Direction::Input,
            2 => Direction::Output,
            _ => Direction::Unspecified,
        }
    }
}

/// One sensor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sensor {
    /// Who it is.
    pub key: Key,
    /// The record it was read from: metrics that others began are labelled
    /// with it.
    pub record: u16,
    /// Its name; names may repeat.
    pub name: String,
    /// Its type: [`kinds`].
    pub kind: u8,
    /// Its event/reading type: thresholds, generic states, states of its
    /// type, or the maker's.
    pub reading_type: u8,
    /// What it belongs to.
    pub entity: Entity,
    /// What its value is measured in.
    pub units: Units,
    /// How its value is made; `None` where it has none.
    pub conversion: Option<Conversion>,
    /// The thresholds that its record has, raw. The BMC's own may have been
    /// changed since: Get Sensor Thresholds.
    pub thresholds: Thresholds<u8>,
    /// Whether the BMC can be asked for the thresholds.
    pub thresholds_readable: bool,
    /// The thresholds that its status bits tell of; the states that it can
    /// report, otherwise.
    pub mask: u16,
    /// How far a reading must come back behind a threshold before the BMC
    /// takes its state back, raw: upper ones.
    pub hysteresis_upper: u8,
    /// The same of lower thresholds.
    pub hysteresis_lower: u8,
    /// Whether, and how, its hysteresis can be asked for.
    pub hysteresis: Access,
    /// Whether the BMC sets its hysteresis from the record at its start.
    pub sets_hysteresis: bool,
    /// Whether it measures what goes in or what comes out.
    pub direction: Direction,
    /// Whether it only makes events and has no reading.
    pub event_only: bool,
    /// Whether it is to be ignored while its entity is absent.
    pub optional: bool,
}

impl Sensor {
    /// What it is of, as a word.
    pub fn kind_word(&self) -> &'static str {
        kinds::word(self.kind)
    }

    /// Whether its states are thresholds crossed.
    pub fn has_thresholds(&self) -> bool {
        self.reading_type == THRESHOLD
    }

    /// The thresholds as values, those that can be converted.
    pub fn values_of(&self, raw: &Thresholds<u8>) -> Thresholds<f64> {
        match &self.conversion {
            Some(conversion) => raw.filter_map(|raw| conversion.value(raw)),
            None => Thresholds::default(),
        }
    }

    /// Whether an event is its own: the BMC's and the firmware's numbers of
    /// sensors may overlap, and then only the type tells whose it is.
    pub fn tells(&self, event: &Event) -> bool {
        self.key == event.key && self.kind == event.kind
    }

    /// The part that it belongs to: see [`super::part`].
    pub fn part(&self) -> String {
        let Sensor { entity, kind, reading_type, name, .. } = self;
        super::part::of(*entity, *kind, *reading_type, name)
    }
}
