//! Real values with what they mean, and any values at all.

use proptest::prelude::*;

use super::words::Operation;
use super::*;

fn intel(status: u64) -> Registers {
    Registers { status, vendor: Some(Vendor::Intel), ..Registers::default() }
}

#[test]
fn a_corrected_scrub_names_channel_and_count() {
    let got = decode(&intel(0x8c00_004f_0008_00c2));
    assert_eq!(got.severity, Severity::Corrected);
    assert_eq!((got.unit, got.count), (Unit::Memory, 1));
    assert_eq!(got.code.model, 8);
    assert_eq!(got.code.operation, Some(Operation::Scrub));
    assert_eq!(got.place.channel, Some(2));
}

proptest! {
    #[test]
    fn any_status_decodes(status: u64) {
        decode(&intel(status));
    }
}
