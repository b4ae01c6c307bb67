//! Tests of the inventory of field-replaceable units.

use super::*;

/// A field of letters.
fn letters(text: &str) -> Vec<u8> {
    let mut field = vec![0xc0 | u8::try_from(text.len()).unwrap_or(0)];
    field.extend(text.bytes());
    field
}

/// Pads to eights, with the checksum last.
fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    body.push(0xc1);
    while !(body.len() + 3).is_multiple_of(8) {
        body.push(0);
    }
    let eights = u8::try_from((body.len() + 3) / 8).unwrap_or(0);
    let mut area = vec![1, eights];
    area.extend(body);
    area.push(checksum(&area));
    area
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, b| sum.wrapping_sub(*b))
}

/// A supply: product area, then its record.
fn supply_fru(serial: &str) -> Vec<u8> {
    let mut body = vec![0];
    for text in ["Delta", "DPS-1600", "A1-B2", "01", serial, "", ""] {
        body.extend(letters(text));
    }
    let product = sealed(body);
    let records = 1 + u8::try_from(product.len() / 8).unwrap_or(0);
    let mut fru = vec![1, 0, 0, 0, 1, records, 0];
    fru.push(checksum(&fru));
    fru.extend(product);
    let mut power = vec![0; 24];
    power[..2].copy_from_slice(&1600u16.to_le_bytes());
    power[6..8].copy_from_slice(&10_000u16.to_le_bytes());
    power[8..10].copy_from_slice(&24_000u16.to_le_bytes());
    power[17] = 0x09;
    power[18..20].copy_from_slice(&0x1834u16.to_le_bytes());
    let mut head = vec![0, 0x82, 24, checksum(&power)];
    head.push(checksum(&head));
    fru.extend(head);
    fru.extend(power);
    fru
}

#[test]
fn a_power_supply_tells_its_label_and_its_watts() {
    let fru = parse(&supply_fru("SN0001")).expect("a whole inventory");
    assert_eq!(fru.problems, []);
    let label = fru.label();
    assert_eq!(label.model.as_deref(), Some("Delta DPS-1600"));
    assert_eq!(label.serial.as_deref(), Some("SN0001"));
    assert_eq!(label.part_number.as_deref(), Some("A1-B2"));
    let supply = fru.supply.expect("a record of a supply");
    assert_eq!((supply.watts, supply.peak_watts), (1600, 0x834));
    assert_eq!(supply.input, (100_000, 240_000));
    assert!(supply.hot_swap && supply.predicts_failure);
}

#[test]
fn board_and_chassis_are_read_where_there_is_no_product() {
    let mut body = vec![25, 0x40, 0x42, 0x0f];
    for text in ["Maker", "X11", "B123", "PN9", "", "extra"] {
        body.extend(letters(text));
    }
    let board = sealed(body);
    let mut body = vec![0x17];
    body.extend(letters("CH-1"));
    body.extend(letters("C777"));
    let chassis = sealed(body);
    let at = 1 + u8::try_from(chassis.len() / 8).unwrap_or(0);
    let mut bytes = vec![1, 0, 1, at, 0, 0, 0];
    bytes.push(checksum(&bytes));
    bytes.extend(chassis);
    bytes.extend(board);
    let fru = parse(&bytes).expect("a whole inventory");
    let (board, chassis) =
        (fru.board.clone().unwrap_or_default(), fru.chassis.clone());
    assert_eq!(board.made, 0x0f_4240);
    assert_eq!(board.custom, ["extra"]);
    assert_eq!(chassis.map(|c| c.serial).as_deref(), Some("C777"));
    assert_eq!(fru.label().serial.as_deref(), Some("B123"));
    assert_eq!(fru.label().model.as_deref(), Some("Maker X11"));
}

#[test]
fn an_area_with_a_wrong_checksum_is_not_believed() {
    let mut bytes = supply_fru("SN0001");
    bytes[20] ^= 1;
    let fru = parse(&bytes).expect("the header is good");
    assert_eq!(fru.product, None);
    assert_eq!(fru.problems, [BadFru::Checksum(Area::Product)]);
    assert!(fru.supply.is_some());
    assert_eq!(fru.label().serial, None);
}

#[test]
fn every_flipped_bit_is_noticed_or_without_effect() {
    let good = supply_fru("SN0001");
    let whole = parse(&good).expect("a whole inventory");
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            let Ok(fru) = parse(&bytes) else { continue };
            let told = !fru.problems.is_empty();
            assert!(told || fru == whole, "byte {at} bit {bit}: {fru:?}");
        }
    }
}

#[test]
fn no_cut_of_an_inventory_panics_or_makes_up_a_serial() {
    let good = supply_fru("SN0001");
    for n in 0..good.len() {
        let Ok(fru) = parse(&good[..n]) else { continue };
        let serial = fru.label().serial;
        assert!(serial.is_none_or(|s| s == "SN0001"), "cut at {n}");
        assert!(!fru.problems.is_empty(), "cut at {n}");
    }
}

#[test]
fn a_blank_chip_is_told_from_a_broken_one() {
    assert_eq!(parse(&[0xff; 256]), Err(BadFru::Blank));
    assert_eq!(parse(&[0; 256]), Err(BadFru::Blank));
    assert_eq!(parse(&[1, 2]), Err(BadFru::NoHeader(2)));
    let bad = [1, 0, 0, 0, 1, 0, 0, 0];
    assert_eq!(parse(&bad), Err(BadFru::Checksum(Area::Header)));
    let other = [2, 0, 0, 0, 0, 0, 0, 0xfe];
    assert_eq!(parse(&other), Err(BadFru::Version(2, Area::Header)));
}
