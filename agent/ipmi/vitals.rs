//! What a BMC says of itself and of the chassis as a whole: asked seldom.

use super::link::Link;
use super::{TransportError, code, netfn};

/// Get Device ID (IPMI 2.0, 20.1), Get Chassis Status (28.2).
const GET_DEVICE_ID: u8 = 0x01;
const CHASSIS: u8 = 0x00;
const GET_CHASSIS_STATUS: u8 = 0x01;

/// Get Power Reading of DCMI 1.5 (6.6.1), with its group extension; mode 1,
/// the system's power.
const GROUP: u8 = 0x2C;
const GET_POWER_READING: u8 = 0x02;
const DCMI: u8 = 0xDC;

/// What it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// The firmware's release, `2.71`.
    pub firmware: Option<String>,
    /// Who made it: the IANA's number of an enterprise.
    pub manufacturer: Option<u32>,
    /// Its product number.
    pub product: Option<u16>,
    /// The chassis.
    pub chassis: Option<Chassis>,
    /// What the system draws now, watts (DCMI).
    pub power: Option<u16>,
}

/// The state of a chassis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chassis {
    /// Whether the system's power is on.
    pub power_on: bool,
    /// Whether a drive failed.
    pub drive_fault: bool,
    /// Whether a fan failed.
    pub cooling_fault: bool,
    /// Whether the main power failed or was overloaded.
    pub power_fault: bool,
    /// Whether it was opened.
    pub intrusion: bool,
}

/// Asks for everything; what a BMC does not know is left out.
///
/// # Errors
/// It does not answer.
pub fn read(link: &mut Link) -> Result<Vitals, TransportError> {
    let mut vitals = Vitals::default();
    let id = link.ask(netfn::APP, GET_DEVICE_ID, &[])?;
    // Device, revision, firmware, IPMI's version, support, who, what.
    if let (code::OK, [_, _, major, minor, _, _, who @ ..]) =
        (id.code, id.data.as_slice())
    {
        // The minor release is in binary-coded decimals.
        vitals.firmware = Some(format!("{}.{minor:02x}", major & 0x7F));
        if let [a, b, c, low, high, ..] = who {
            vitals.manufacturer =
                Some(u32::from_le_bytes([*a, *b, c & 0x0F, 0]));
            vitals.product = Some(u16::from_le_bytes([*low, *high]));
        }
    }
    let chassis = link.ask(CHASSIS, GET_CHASSIS_STATUS, &[])?;
    if let (code::OK, [power, _, misc, ..]) =
        (chassis.code, chassis.data.as_slice())
    {
        vitals.chassis = Some(Chassis {
            power_on: power & 1 != 0,
            // Power fault, and overload.
            power_fault: power & (1 << 3 | 1 << 1) != 0,
            intrusion: misc & 1 != 0,
            drive_fault: misc & 1 << 2 != 0,
            cooling_fault: misc & 1 << 3 != 0,
        });
    }
    let power = link.ask(GROUP, GET_POWER_READING, &[DCMI, 1, 0, 0])?;
    // Current, least, most, average, time, period, and bit 6: it measures.
    if let (code::OK, [DCMI, low, high, rest @ ..]) =
        (power.code, power.data.as_slice())
        && rest.get(14).is_some_and(|state| state & 1 << 6 != 0)
    {
        vitals.power = Some(u16::from_le_bytes([*low, *high]));
    }
    Ok(vitals)
}

#[cfg(test)]
mod tests {
    use super::super::link::testing::{answer, link};
    use super::*;

    #[test]
    fn what_a_bmc_does_not_know_is_left_out() {
        let mut link = link(Box::new(|_, netfn, _, _| match netfn {
            6 => answer(0, &[9, 1, 2, 0x71, 2, 0x9F, 0x91, 0x12, 0, 2, 0xF]),
            0 => answer(0, &[0b1001, 0, 0b1000]),
            _ => answer(0xC1, &[]),
        }));
        let vitals = read(&mut link).unwrap();
        assert_eq!(vitals.firmware.as_deref(), Some("2.71"));
        assert_eq!(vitals.manufacturer, Some(0x1291));
        assert_eq!(vitals.product, Some(0xF02));
        let chassis = vitals.chassis.unwrap();
        assert!(chassis.power_on && chassis.power_fault);
        assert!(chassis.cooling_fault && !chassis.drive_fault);
        assert_eq!(vitals.power, None);
    }

    #[test]
    fn power_is_what_dcmi_measures() {
        let mut data = vec![DCMI, 0x2C, 0x01];
        data.extend([0; 14]);
        data.push(0x40);
        let mut link = link(Box::new(move |_, netfn, _, _| match netfn {
            GROUP => answer(0, &data),
            _ => answer(0xC1, &[]),
        }));
        assert_eq!(read(&mut link).unwrap().power, Some(300));
    }
}
