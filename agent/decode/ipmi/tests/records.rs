//! Records: factors, names, keys, sharing, locators.

use super::*;
use crate::decode::ipmi::sensor::{Access, Direction};

#[test]
fn factors_of_either_sign_and_ten_bits_convert() {
    assert_eq!(value(&full(0, -10, 28, 0xd2, 0), 100), Some(1.8));
    assert_eq!(value(&full(0, -1, 0, 0, 0), 7), Some(-7.0));
    assert_eq!(value(&full(0, 300, 0, 0, 0), 2), Some(600.0));
    assert_eq!(value(&full(0, 1, -128, 0, 0), 153), Some(25.0));
    assert_eq!(value(&full(0, 59, 0, 0xd0, 0), 203), Some(11.977));
}

#[test]
fn raw_bytes_are_read_in_either_complement() {
    assert_eq!(value(&full(0, 1, 0, 0, 0x40), 0xfe), Some(-1.0));
    assert_eq!(value(&full(0, 1, 0, 0, 0x80), 0xff), Some(-1.0));
}

#[test]
fn a_sensor_without_analog_reading_has_no_value() {
    assert_eq!(value(&full(0, 1, 0, 0, 0xc0), 5), None);
}

#[test]
fn linearizations_stand_at_their_codes_and_are_applied() {
    let of = |code| {
        let conversion = sensor(&full(code, 1, 0, 0, 0)).conversion;
        conversion.map(|c| c.linearization)
    };
    assert_eq!(of(8), Some(Linearization::Square));
    assert_eq!(of(9), Some(Linearization::Cube));
    assert_eq!(of(10), Some(Linearization::SquareRoot));
    assert_eq!(of(11), Some(Linearization::CubeRoot));
    assert_eq!(of(0x71), Some(Linearization::NonLinear(0x71)));
    assert_eq!(value(&full(10, 1, 0, 0, 0), 144), Some(12.0));
}

#[test]
fn a_non_linear_sensor_has_no_value_until_its_factors_were_asked() {
    let sensor = sensor(&full(0x70, 1, 0, 0, 0));
    let conversion = sensor.conversion.expect("an analog sensor");
    assert!(conversion.needs_factors());
    assert_eq!(conversion.value(10), None);
    let answer = [11, 2, 0, 5, 0, 0, 0];
    let factors = crate::decode::ipmi::convert::Factors::from_response(&answer);
    let (next, factors) = factors.expect("seven bytes");
    assert_eq!(next, 11);
    assert_eq!(conversion.value_with(10, &factors), Some(25.0));
}

#[test]
fn names_are_read_in_all_encodings() {
    let name = |head, bytes: &[u8]| {
        let mut record = full(0, 1, 0, 0, 0);
        record.truncate(47);
        sensor(&named(record, head, bytes)).name
    };
    assert_eq!(name(0xc4, b"Temp"), "Temp");
    assert_eq!(name(0x41, &[0x12]), "12");
    assert_eq!(name(0x83, &[0x29, 0xdc, 0xa6]), "IPMI");
    assert_eq!(name(0x04, &[b'F', 0, b'1', 0]), "F1");
    assert_eq!(name(0xc9, b"Temp"), "Temp", "its length is too long");
}

#[test]
fn owner_channel_and_unit_are_part_of_the_key() {
    let mut record = full(0, 1, 0, 0, 0);
    record[5] = 0x30;
    record[6] = 0x71;
    let key = Key { owner: 0x30, channel: 7, lun: 1, number: 1 };
    assert_eq!(sensor(&record).key, key);
    assert!(!key.is_software());
    assert!(Key { owner: 0x41, ..key }.is_software());
}

#[test]
fn sensors_that_share_a_record_are_each_their_own() {
    let drives = sensors(&compact([0x04, 0x80], b"Drive "));
    let is: Vec<_> = drives
        .iter()
        .map(|s| (s.name.as_str(), s.key.number, s.entity.instance))
        .collect();
    assert_eq!(
        is,
        [
            ("Drive 0", 0x50, 1),
            ("Drive 1", 0x51, 2),
            ("Drive 2", 0x52, 3),
            ("Drive 3", 0x53, 4)
        ]
    );
}

#[test]
fn shared_names_count_from_their_offset_in_digits_or_letters() {
    let names = |sharing| -> Vec<String> {
        let all = sensors(&compact(sharing, b"D"));
        all.into_iter().map(|s| s.name).collect()
    };
    assert_eq!(names([0x02, 0x0a]), ["D10", "D11"]);
    assert_eq!(names([0x13, 0x18]), ["DY", "DZ", "DAA"]);
    assert_eq!(names([0x01, 0x0a]), ["D"]);
    assert_eq!(names([0x00, 0x0a]), ["D"]);
    assert_eq!(names([0x22, 0x01]), ["D1", "D2"], "a reserved modifier");
    let bays = sensors(&compact([0x02, 0x09], b"Drive 15"));
    assert_eq!(bays[0].name, "Drive 15 9", "not a bay 159");
}

#[test]
fn sharing_ends_with_the_last_sensor_number() {
    let mut record = compact([0x04, 0], b"D");
    record[7] = 0xfe;
    let numbers: Vec<u8> =
        sensors(&record).iter().map(|s| s.key.number).collect();
    assert_eq!(numbers, [0xfe, 0xff]);
}

#[test]
fn hysteresis_and_the_thresholds_that_can_be_asked_for_are_told() {
    let mut record = full(0, 1, 0, 0, 0);
    record[11] = 0x68;
    record[42] = 3;
    record[43] = 2;
    let told = sensor(&record);
    assert_eq!((told.hysteresis_upper, told.hysteresis_lower), (3, 2));
    assert!(told.thresholds_readable, "access 2 is readable, settable");
    assert_eq!(told.hysteresis, Access::Settable);
    assert!(told.sets_hysteresis);
    record[11] = 0x50;
    record[10] = 0x77;
    let other = sensor(&record);
    assert!(!other.thresholds_readable);
    assert_eq!(other.hysteresis, Access::Readable);
    assert!(!other.sets_hysteresis);
}

#[test]
fn thresholds_come_from_the_record_where_its_mask_has_them() {
    let mut record = full(0, 1, 0, 0, 0);
    record[18] = 0b01_1000;
    record[36..42].copy_from_slice(&[110, 100, 90, 1, 2, 3]);
    let told: Vec<_> = sensor(&record).thresholds.iter().collect();
    assert_eq!(
        told,
        [(Threshold::UpperNonCritical, 90), (Threshold::UpperCritical, 100)]
    );
    record[11] = 0x60; // it has no thresholds
    assert!(sensor(&record).thresholds.is_empty());
    record[11] = 0x6c; // fixed ones, in the record alone
    assert_eq!(sensor(&record).thresholds.iter().count(), 2);
}

#[test]
fn padding_behind_a_record_is_no_part_of_it() {
    let mut record = full(0, 1, 0, 0, 0);
    let bare = parse(&record);
    record.extend([0xff; 40]);
    assert_eq!(parse(&record), bare);
}

#[test]
fn a_fru_locator_says_whether_its_inventory_is_logical() {
    let fru = |flags| {
        let head = vec![
            1, 0, 0x51, 0x11, 0, 0x20, 0x85, flags, 0x70, 0, 0x10, 0, 10, 1, 0,
        ];
        match parse(&named(head, 0xc1, b"x")).expect("a good record").body {
            Body::Locator(locator) => locator,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fru(0x80).located, Located::LogicalFru(0x85));
    assert_eq!(fru(0x00).located, Located::PhysicalFru(0x84));
    assert_eq!((fru(0x88).lun, fru(0).channel), (1, 7));
    assert_eq!(fru(0).entity, Entity::of(10, 1));
}

#[test]
fn associations_tell_what_is_in_what() {
    let mut record = vec![1, 0, 0x51, 8, 0, 10, 0x60, 0x00];
    record.extend([10, 1, 10, 2, 0, 0, 0, 0]);
    record[4] = 11;
    let Body::Entities(list) = parse(&record).expect("good").body else {
        panic!("no association")
    };
    assert_eq!(list.container, Entity::of(10, 0x60));
    assert!(list.contains(Entity::of(10, 2)));
    assert!(!list.contains(Entity::of(10, 3)));
    record[7] = 0x80;
    record[8..12].copy_from_slice(&[10, 1, 10, 4]);
    let Body::Entities(range) = parse(&record).expect("good").body else {
        panic!("no association")
    };
    assert!(range.contains(Entity::of(10, 3)));
    assert!(!range.contains(Entity::of(10, 5)));
    assert!(!range.contains(Entity::of(11, 3)));
}

#[test]
fn records_of_makers_keep_their_bytes() {
    let record = [9, 0, 0x51, 0xc0, 5, 0x57, 1, 0, 0xaa, 0xbb];
    let Body::Oem { manufacturer, data } = parse(&record).expect("good").body
    else {
        panic!("not the maker's")
    };
    assert_eq!((manufacturer, data), (0x157, vec![0xaa, 0xbb]));
}

#[test]
fn what_a_sensor_measures_of_its_entity_is_told() {
    let supply = |sharing| sensor(&compact([sharing, 0], b"D")).direction;
    assert_eq!(supply(0x41), Direction::Input);
    assert_eq!(supply(0x81), Direction::Output);
    assert_eq!(supply(0x01), Direction::Unspecified);
    let mut record = full(0, 1, 0, 0, 0);
    record[28] = 0x02;
    assert_eq!(sensor(&record).direction, Direction::Output);
}
