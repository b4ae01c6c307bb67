//! The inventory of a field-replaceable unit: any bytes, and the same with
//! the checksums put right, so that what is behind them is reached.
#![no_main]

use faultline::decode::ipmi::fru::{Fru, parse};
use libfuzzer_sys::fuzz_target;

fn look(fru: &Fru) {
    let label = fru.label();
    for text in [&label.model, &label.serial, &label.part_number] {
        let Some(text) = text else { continue };
        assert!(!text.is_empty() && !text.contains(char::is_control));
        // Two fields of 63 bytes, of which each may become three.
        assert!(text.len() <= 2 * 63 * 3 + 1);
    }
    if let Some(supply) = &fru.supply {
        assert!(supply.watts < 4096 && supply.peak_watts < 4096);
    }
}

/// Puts the last byte of `bytes` right.
fn seal(bytes: &mut [u8]) {
    if let Some((last, rest)) = bytes.split_last_mut() {
        *last = rest.iter().fold(0u8, |sum, b| sum.wrapping_sub(*b));
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(fru) = parse(bytes) {
        look(&fru);
    }
    let mut bytes = bytes.to_vec();
    if bytes.len() < 8 {
        return;
    }
    bytes[0] = 1;
    for at in 2..5 {
        let start = usize::from(bytes[at]) * 8;
        let Some([version, eights]) = bytes.get_mut(start..start + 2) else {
            continue;
        };
        *version = 1;
        let end = start + usize::from(*eights) * 8;
        if let Some(area) = bytes.get_mut(start..end) {
            seal(area);
        }
    }
    let records = usize::from(bytes[5]) * 8;
    if let Some(head) = bytes.get_mut(records..records + 5) {
        seal(head);
    }
    seal(&mut bytes[..8]);
    if let Ok(fru) = parse(&bytes) {
        look(&fru);
    }
});
