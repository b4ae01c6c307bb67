//! IPMI: the bytes of a BMC to sensors, readings, events and parts.
//!
//! [`sdr::parse`] makes sensors of a record of the sensor data repository,
//! [`sensor::Sensor::reading`] a value and states of a response,
//! [`sel::parse`] an event of a record of the log, [`fru::parse`] the labels
//! of a field-replaceable unit. What asks the BMC for them is elsewhere.
//!
//! Source: Intelligent Platform Management Interface Specification, second
//! generation, v2.0 revision 1.1; Platform Management FRU Information Storage
//! Definition v1.0 revision 1.3. BMCs break both: what cannot be read is an
//! error or unknown with its reason, and never another value.

pub mod convert;
pub mod entity;
pub mod fru;
pub mod kinds;
pub mod numbering;
pub mod part;
pub mod reading;
pub mod sdr;
pub mod sel;
pub mod sensor;
pub mod states;
pub mod text;
pub mod thresholds;
pub mod units;

#[cfg(test)]
mod tests;

/// A little-endian number of two bytes, if both are there.
pub(crate) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes([pair[0], pair[1]]))
}

/// A little-endian number of three bytes: manufacturers' (IANA) numbers.
pub(crate) fn le24(bytes: &[u8], at: usize) -> Option<u32> {
    let three = bytes.get(at..at.checked_add(3)?)?;
    Some(u32::from_le_bytes([three[0], three[1], three[2], 0]))
}
