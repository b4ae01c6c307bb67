//! Records of the system event log (IPMI 2.0 chapter 32 and 29.7): what
//! happened, on which sensor, and whether it began or ended.

mod detail;
#[cfg(test)]
mod tests;

pub use detail::{Detail, SlotKind};

use super::kinds;
use super::le24;
use super::sensor::{Key, Sensor, THRESHOLD};
use super::states;
use super::thresholds::Threshold;

/// Every record has so many bytes.
pub const RECORD: usize = 16;

/// Record ids that are none: 0000h asks for the first, FFFFh for the last.
pub const FIRST: u16 = 0x0000;
/// See [`FIRST`]; as the next id it says that there is none.
pub const LAST: u16 = 0xffff;

/// Why a record says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEntry {
    /// Not sixteen bytes.
    #[error("{0} bytes are no record of 16")]
    Length(usize),
}

/// When an event was logged, by the BMC's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stamp {
    /// The record has no time, or says that it is not valid.
    None,
    /// Seconds since the BMC started, when its clock was not set yet.
    SinceStart(u32),
    /// Seconds since 1970, in UTC or the local time that the BMC was given.
    At(u32),
}

impl Stamp {
    /// Of the four bytes (IPMI 2.0 37.1 "Time Stamp Format"): up to
    /// 20000000h it is not a date.
    pub fn of(seconds: u32) -> Stamp {
        match seconds {
            u32::MAX => Stamp::None,
            0..=0x2000_0000 => Stamp::SinceStart(seconds),
            _ => Stamp::At(seconds),
        }
    }
}

/// One record of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its id; ids begin anew or go on after a clear.
    pub id: u16,
    /// When.
    pub time: Stamp,
    /// What.
    pub body: Body,
    /// The bytes, as they are.
    pub raw: [u8; RECORD],
}

/// What a record tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body {
    /// 02h: an event of a sensor, or of software.
    Event(Event),
    /// C0h to FFh, the maker's own, and types that nobody has defined.
    Oem {
        /// The record's type.
        kind: u8,
        /// Who made it (IANA enterprise number): types C0h to DFh tell.
        manufacturer: Option<u32>,
    },
}

/// An event of a sensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// Whose.
    pub key: Key,
    /// The sensor's type.
    pub kind: u8,
    /// Its event/reading type.
    pub reading_type: u8,
    /// Whether it began (or just happened); else it ended.
    pub asserted: bool,
    /// The three bytes of data.
    pub data: [u8; 3],
}

/// Reads one record.
///
/// # Errors
/// When it has not sixteen bytes.
pub fn parse(bytes: &[u8]) -> Result<Entry, BadEntry> {
    let raw: [u8; RECORD] =
        bytes.try_into().map_err(|_| BadEntry::Length(bytes.len()))?;
    let id = u16::from_le_bytes([raw[0], raw[1]]);
    let kind = raw[2];
    let time = Stamp::of(u32::from_le_bytes([raw[3], raw[4], raw[5], raw[6]]));
    let entry = |time, body| Entry { id, time, body, raw };
    Ok(match kind {
        0x02 => entry(time, Body::Event(event(&raw))),
        0xc0..=0xdf => {
            let manufacturer = le24(&raw, 7);
            entry(time, Body::Oem { kind, manufacturer })
        }
        _ => entry(Stamp::None, Body::Oem { kind, manufacturer: None }),
    })
}

fn event(raw: &[u8; RECORD]) -> Event {
    Event {
        key: Key::of(raw[7], raw[8], raw[11]),
        kind: raw[10],
        reading_type: raw[12] & 0x7f,
        asserted: raw[12] & 0x80 == 0,
        data: [raw[13], raw[14], raw[15]],
    }
}

impl Event {
    /// Which state it is about: bits 3:0 of the first byte of data.
    pub fn offset(&self) -> u8 {
        self.data[0] & 0xf
    }

    /// Whether its states are thresholds.
    pub fn has_thresholds(&self) -> bool {
        self.reading_type == THRESHOLD
    }

    /// The threshold it is about, and whether the reading rose over it
    /// (IPMI 2.0 table 42-2: a pair of offsets for each, falling first).
    pub fn threshold(&self) -> Option<(Threshold, bool)> {
        let offset = self.offset();
        let nth = Threshold::ALL.get(usize::from(offset / 2));
        let threshold = nth.filter(|_| self.has_thresholds());
        threshold.map(|t| (*t, offset % 2 == 1))
    }

    /// The state it is about, by name.
    pub fn state(&self) -> &'static str {
        match self.threshold() {
            Some((threshold, _)) => threshold.word(),
            // Offsets beyond the last threshold, which do not exist.
            None if self.has_thresholds() => states::word(0, 0, self.offset()),
            None => states::word(self.kind, self.reading_type, self.offset()),
        }
    }

    /// Whether the state holds after it. A reading that rises over a lower
    /// threshold leaves its state, whichever way the BMC words it.
    pub fn holds(&self) -> bool {
        match self.threshold() {
            Some((threshold, rising)) => {
                self.asserted == (threshold.is_upper() == rising)
            }
            None => self.asserted,
        }
    }

    /// What the sensor is of, as a word.
    pub fn kind_word(&self) -> &'static str {
        kinds::word(self.kind)
    }

    /// Reading and threshold at the time, raw, where the event carries them
    /// (bits 7:6 and 5:4 of the first byte of data are 01).
    pub fn readings(&self) -> (Option<u8>, Option<u8>) {
        let [what, second, third] = self.data;
        let is_analog = self.has_thresholds();
        (
            (is_analog && what >> 6 == 1).then_some(second),
            (is_analog && what >> 4 & 3 == 1).then_some(third),
        )
    }

    /// The same as values, if this is the sensor's event.
    pub fn values(&self, sensor: &Sensor) -> (Option<f64>, Option<f64>) {
        let (reading, threshold) = self.readings();
        let conversion = sensor.conversion.filter(|_| sensor.key == self.key);
        let value = |raw: Option<u8>| conversion?.value(raw?);
        (value(reading), value(threshold))
    }
}
