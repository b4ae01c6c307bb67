//! Records of the sensor data repository (IPMI 2.0 chapter 43).
//!
//! Bytes are numbered from 0 here, the specification counts from 1.

use super::convert::{Factors, Format, Linearization};
use super::entity::Entity;
use super::sensor::{Access, Conversion, Direction, Key, Sensor, THRESHOLD};
use super::text::{self, Zero};
use super::thresholds::{ALL_BITS, Thresholds};
use super::units::Units;
use super::{le16, le24};

/// Bytes before the body: record id, version, type, length.
pub const HEADER: usize = 5;

/// The longest record: its length is one byte.
pub const RECORD_MAX: usize = HEADER + 255;

/// Why a record says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// The header is not all there.
    #[error("{0} bytes are no record")]
    NoHeader(usize),
    /// The bytes end before the length that the header has.
    #[error("{got} of {want} bytes are there")]
    Cut {
        /// How long it says it is.
        want: usize,
        /// How much there is.
        got: usize,
    },
    /// The record ends before what its type must have.
    #[error("a record of type {kind:02x}h needs {want} bytes, has {got}")]
    Short {
        /// Its type.
        kind: u8,
        /// The least that its type has.
        want: usize,
        /// What it has.
        got: usize,
    },
    /// A version of the format that is not known: not 51h, 01h or 02h.
    #[error("version {0:02x}h is not known")]
    Version(u8),
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its id; changes when the repository is written anew.
    pub id: u16,
    /// What it describes.
    pub body: Body,
}

/// What a record describes.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// 01h, 02h, 03h: one sensor, or several that share the record.
    Sensors(Vec<Sensor>),
    /// 08h, 09h: what is in what.
    Entities(Association),
    /// 10h, 11h, 12h: a device, a FRU, a controller.
    Locator(Locator),
    /// 13h: a controller that was found, by its own numbers.
    Controller {
        /// Slave address.
        address: u8,
        /// Who made it (IANA enterprise number).
        manufacturer: u32,
        /// Its maker's number for it.
        product: u16,
    },
    /// C0h: the maker's own.
    Oem {
        /// Who (IANA enterprise number).
        manufacturer: u32,
        /// What, as it is.
        data: Vec<u8>,
    },
    /// Another type, which describes no sensor and no FRU.
    Other(u8),
}

/// Entities that are within another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Association {
    /// The one they are in.
    pub container: Entity,
    /// Those in it: single ones, or where `is_range`, pairs of a first and a
    /// last.
    pub contained: Vec<Entity>,
    /// Whether they are told as ranges.
    pub is_range: bool,
}

impl Association {
    /// Whether the entity is one of the contained.
    pub fn contains(&self, entity: Entity) -> bool {
        if !self.is_range {
            return self.contained.contains(&entity);
        }
        self.contained.chunks_exact(2).any(|pair| {
            pair[0].id == entity.id
                && (pair[0].instance..=pair[1].instance)
                    .contains(&entity.instance)
        })
    }
}

/// Which sort of locator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Located {
    /// 10h: a device on a bus.
    Device,
    /// 11h: inventory that a controller keeps under this id and answers
    /// FRU commands for.
    LogicalFru(u8),
    /// 11h: inventory in a memory chip at this slave address.
    PhysicalFru(u8),
    /// 12h: a management controller.
    Controller,
}

/// A device that is not a sensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locator {
    /// Which sort.
    pub located: Located,
    /// The controller through which it is reached: slave address.
    pub owner: u8,
    /// The channel to it.
    pub channel: u8,
    /// The logical unit.
    pub lun: u8,
    /// Type and modifier of the device (IPMI 2.0 table 43-12); a
    /// controller's capabilities.
    pub device: (u8, u8),
    /// What it belongs to.
    pub entity: Entity,
    /// Its name.
    pub name: String,
}

/// Reads one record; bytes after its end are padding.
///
/// # Errors
/// When it is cut short, or not a record.
pub fn parse(bytes: &[u8]) -> Result<Record, BadRecord> {
    let [id0, id1, version, kind, length, ..] = *bytes else {
        return Err(BadRecord::NoHeader(bytes.len()));
    };
    let want = HEADER + usize::from(length);
    let Some(bytes) = bytes.get(..want) else {
        return Err(BadRecord::Cut { want, got: bytes.len() });
    };
    // 51h is versions 1.5 and 2.0; 1.0 had 01h, and some say 02h.
    if !matches!(version, 0x51 | 0x01 | 0x02) {
        return Err(BadRecord::Version(version));
    }
    let id = u16::from_le_bytes([id0, id1]);
    let least = match kind {
        0x01 => 48,
        0x02 => 32,
        0x03 => 17,
        0x08 => 16,
        0x09 => 32,
        0x10..=0x12 => 16,
        0x13 => 16,
        0xc0 => 8,
        _ => return Ok(Record { id, body: Body::Other(kind) }),
    };
    if bytes.len() < least {
        return Err(BadRecord::Short { kind, want: least, got: bytes.len() });
    }
    let body = match kind {
        0x01 => Body::Sensors(vec![full(id, bytes)]),
        0x02 => Body::Sensors(shared(compact(id, bytes), bytes, 23)),
        0x03 => Body::Sensors(shared(event_only(id, bytes), bytes, 12)),
        0x08 => Body::Entities(association(bytes, 7, 8, 2)),
        0x09 => Body::Entities(association(bytes, 9, 10, 4)),
        0x10 => Body::Locator(device(bytes)),
        0x11 => Body::Locator(fru(bytes)),
        0x12 => Body::Locator(controller(bytes)),
        0x13 => Body::Controller {
            address: bytes[5],
            manufacturer: le24(bytes, 11).unwrap_or(0) & 0x0f_ffff,
            product: le16(bytes, 14).unwrap_or(0),
        },
        _ => Body::Oem {
            manufacturer: le24(bytes, HEADER).unwrap_or(0),
            data: bytes[HEADER + 3..].to_vec(),
        },
    };
    Ok(Record { id, body })
}

/// The name whose type/length byte stands at `at`.
fn name(bytes: &[u8], at: usize) -> String {
    stem(bytes, at).trim().to_owned()
}

/// The same with its blanks; to the end of the record where that comes
/// first.
fn stem(bytes: &[u8], at: usize) -> String {
    let Some(head) = bytes.get(at) else { return String::new() };
    let rest = bytes.get(at + 1..).unwrap_or(&[]);
    let length = usize::from(head & 0x1f).min(rest.len());
    text::stem(head >> 6, Zero::Unicode, &rest[..length])
}

/// Which states the sensor can report: its reading mask; where a BMC left
/// that empty, the events it can make; else all.
fn mask(bytes: &[u8]) -> u16 {
    let at = |i| le16(bytes, i).unwrap_or(0) & 0x7fff;
    [18, 14, 16].map(at).into_iter().find(|m| *m != 0).unwrap_or(0x7fff)
}

/// What full and compact records have alike, up to byte 22.
fn common(id: u16, bytes: &[u8]) -> Sensor {
    let analog = Units::of(bytes[20], bytes[21], bytes[22]);
    Sensor {
        key: Key::of(bytes[5], bytes[6], bytes[7]),
        record: id,
        name: String::new(),
        kind: bytes[12],
        reading_type: bytes[13],
        entity: Entity::of(bytes[8], bytes[9]),
        units: analog,
        conversion: None,
        thresholds: Thresholds::default(),
        thresholds_readable: false,
        mask: mask(bytes),
        hysteresis_upper: 0,
        hysteresis_lower: 0,
        hysteresis: Access::of(bytes[11] >> 4),
        sets_hysteresis: bytes[10] & 0x08 != 0,
        direction: Direction::Unspecified,
        event_only: false,
        optional: bytes[11] & 0x80 != 0,
    }
}

fn full(id: u16, bytes: &[u8]) -> Sensor {
    let mut sensor = common(id, bytes);
    sensor.name = name(bytes, 47);
    sensor.direction = Direction::of(bytes[28]);
    let factors = Factors::of(&bytes[24..30]).unwrap_or_default();
    sensor.conversion = Format::of(bytes[20]).map(|format| Conversion {
        format,
        linearization: Linearization::of(bytes[23]),
        factors,
    });
    sensor.hysteresis_upper = bytes[42];
    sensor.hysteresis_lower = bytes[43];
    if sensor.reading_type == THRESHOLD {
        let readable = bytes[18] & ALL_BITS;
        // Bits 14:12 of the lower and the upper mask: what the status
        // tells of.
        let told = (bytes[15] >> 4 & 7) | (bytes[17] >> 4 & 7) << 3;
        let all = readable | told;
        sensor.mask = u16::from(if all == 0 { ALL_BITS } else { all });
        // Bits 3:2 of the capabilities: none, readable, settable, fixed.
        let access = Access::of(bytes[11] >> 2);
        sensor.thresholds_readable = access.is_readable();
        let there = match access {
            Access::None => 0,
            Access::Fixed => all,
            Access::Readable | Access::Settable => readable,
        };
        sensor.thresholds = Thresholds::of_record(there, &bytes[36..42]);
    }
    sensor
}

fn compact(id: u16, bytes: &[u8]) -> Sensor {
    let mut sensor = common(id, bytes);
    sensor.name = stem(bytes, 31);
    sensor.direction = Direction::of(bytes[23] >> 6);
    if sensor.reading_type == THRESHOLD {
        let told = (bytes[15] >> 4 & 7) | (bytes[17] >> 4 & 7) << 3;
        sensor.mask = u16::from(if told == 0 { ALL_BITS } else { told });
        // It has nowhere to keep thresholds or factors.
        let access = Access::of(bytes[11] >> 2);
        sensor.thresholds_readable = access.is_readable();
        sensor.hysteresis_upper = bytes[25];
        sensor.hysteresis_lower = bytes[26];
    }
    sensor
}

fn event_only(id: u16, bytes: &[u8]) -> Sensor {
    Sensor {
        key: Key::of(bytes[5], bytes[6], bytes[7]),
        record: id,
        name: stem(bytes, 16),
        kind: bytes[10],
        reading_type: bytes[11],
        entity: Entity::of(bytes[8], bytes[9]),
        units: Units::default(),
        conversion: None,
        thresholds: Thresholds::default(),
        thresholds_readable: false,
        mask: 0x7fff,
        hysteresis_upper: 0,
        hysteresis_lower: 0,
        hysteresis: Access::None,
        sets_hysteresis: false,
        direction: Direction::of(bytes[12] >> 6),
        event_only: true,
        optional: false,
    }
}

/// The sensors that share a record: as many as the sharing bytes at `at`
/// say, each with the next number, its own name, and where they say so the
/// next instance of the entity.
fn shared(mut first: Sensor, bytes: &[u8], at: usize) -> Vec<Sensor> {
    let count = bytes[at] & 0xf;
    if count <= 1 {
        first.name = first.name.trim().to_owned();
        return vec![first];
    }
    let is_letter = bytes[at] >> 4 & 3 == 1;
    let instances_differ = bytes[at + 1] & 0x80 != 0;
    let offset = bytes[at + 1] & 0x7f;
    let nth = |i: u8| {
        let mut sensor = first.clone();
        sensor.key.number = first.key.number.checked_add(i)?;
        if instances_differ {
            sensor.entity.instance = (first.entity.instance + i) & 0x7f;
        }
        let suffix = suffix(is_letter, u16::from(offset + i));
        let stem = first.name.trim_start();
        // A number right behind another is a third one.
        let runs_on = !is_letter && stem.ends_with(|c: char| c.is_numeric());
        let between = if runs_on { " " } else { "" };
        sensor.name = format!("{stem}{between}{suffix}");
        Some(sensor)
    };
    (0..count).map_while(nth).collect()
}

/// What is put behind the name of the sensor: a number, or letters as the
/// columns of a table have them: Z, AA, AB.
fn suffix(is_letter: bool, n: u16) -> String {
    if !is_letter {
        return n.to_string();
    }
    let letter = |n: u16| char::from(b'A' + (n % 26) as u8);
    match n / 26 {
        0 => letter(n).to_string(),
        more => [letter(more - 1), letter(n)].into_iter().collect(),
    }
}

/// 08h and 09h: the container at byte 5, flags at `flags`, and four entries
/// of `width` bytes whose last two are the entity.
fn association(
    bytes: &[u8],
    flags: usize,
    first: usize,
    width: usize,
) -> Association {
    let entries = bytes[first..].chunks_exact(width).take(4);
    let entity = |e: &[u8]| Entity::of(e[width - 2], e[width - 1]);
    Association {
        container: Entity::of(bytes[5], bytes[6]),
        contained: entries.map(entity).filter(|e| e.id != 0).collect(),
        is_range: bytes[flags] & 0x80 != 0,
    }
}

fn device(bytes: &[u8]) -> Locator {
    Locator {
        located: Located::Device,
        owner: bytes[5] & 0xfe,
        channel: (bytes[6] & 1) << 3 | bytes[7] >> 5,
        lun: bytes[7] >> 3 & 3,
        device: (bytes[10], bytes[11]),
        entity: Entity::of(bytes[12], bytes[13]),
        name: name(bytes, 15),
    }
}

fn fru(bytes: &[u8]) -> Locator {
    let is_logical = bytes[7] & 0x80 != 0;
    Locator {
        located: if is_logical {
            Located::LogicalFru(bytes[6])
        } else {
            Located::PhysicalFru(bytes[6] & 0xfe)
        },
        owner: bytes[5] & 0xfe,
        channel: bytes[8] >> 4,
        lun: bytes[7] >> 3 & 3,
        device: (bytes[10], bytes[11]),
        entity: Entity::of(bytes[12], bytes[13]),
        name: name(bytes, 15),
    }
}

fn controller(bytes: &[u8]) -> Locator {
    Locator {
        located: Located::Controller,
        owner: bytes[5] & 0xfe,
        channel: bytes[6] & 0xf,
        lun: 0,
        device: (bytes[8], 0),
        entity: Entity::of(bytes[12], bytes[13]),
        name: name(bytes, 15),
    }
}
