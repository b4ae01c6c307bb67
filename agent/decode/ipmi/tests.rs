//! Tests of records and readings, from the specification's own words.

use super::convert::Linearization;
use super::entity::Entity;
use super::reading::{Reading, Unknown};
use super::sdr::{BadRecord, Body, Located, parse};
use super::sensor::{Key, Sensor};
use super::thresholds::{Threshold, Thresholds};

mod dumps;
mod readings;
mod records;
mod truncated;

/// A full record of a temperature with these factors.
pub(super) fn full(lin: u8, m: i16, b: i16, exp: u8, units1: u8) -> Vec<u8> {
    let ten = |x: i16| x.cast_unsigned() & 0x3ff;
    let (m, b) = (ten(m), ten(b));
    let mut r = vec![1, 0, 0x51, 1, 0, 0x20, 0, 1, 7, 1, 0x7f, 0x68, 1, 1];
    r.extend([0, 0, 0, 0, 0, 0, units1, 1, 0, lin]);
    r.extend([m as u8, (m >> 8 << 6) as u8, b as u8, (b >> 8 << 6) as u8]);
    r.extend([0, exp]);
    r.extend([0; 17]);
    named(r, 0xc1, b"x")
}

/// A compact record of a power supply.
pub(super) fn compact(sharing: [u8; 2], name: &[u8]) -> Vec<u8> {
    let mut r = vec![2, 0, 0x51, 2, 0, 0x20, 0, 0x50, 4, 1, 0x67, 0x40];
    r.extend([0x0d, 0x6f, 0x07, 0, 0x07, 0, 0x07, 0, 0xc0, 0, 0]);
    r.extend(sharing);
    r.extend([0; 6]);
    let length = u8::try_from(name.len()).unwrap_or(0);
    named(r, 0xc0 | length, name)
}

/// Puts the name behind the record, and the length into its header.
pub(super) fn named(mut record: Vec<u8>, head: u8, name: &[u8]) -> Vec<u8> {
    record.push(head);
    record.extend(name);
    record[4] = u8::try_from(record.len() - 5).unwrap_or(0);
    record
}

pub(super) fn sensors(record: &[u8]) -> Vec<Sensor> {
    match parse(record).expect("a good record").body {
        Body::Sensors(sensors) => sensors,
        other => panic!("{other:?}"),
    }
}

pub(super) fn sensor(record: &[u8]) -> Sensor {
    sensors(record).remove(0)
}

/// The value that the record makes of a raw byte.
pub(super) fn value(record: &[u8], raw: u8) -> Option<f64> {
    sensor(record).conversion.and_then(|c| c.value(raw))
}
