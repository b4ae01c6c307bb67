//! Tests of the log's records.

use super::*;

fn record(body: [u8; 13]) -> Entry {
    let mut raw = [0; RECORD];
    raw[0] = 5;
    raw[2] = body[0];
    raw[3..7].copy_from_slice(&body[1..5]);
    raw[7..15].copy_from_slice(&body[5..13]);
    parse(&raw).expect("sixteen bytes")
}

fn event_of(kind: u8, number: u8, dir: u8, data: [u8; 3]) -> Event {
    let raw = [
        5, 0, 2, 0x3f, 0x41, 0x02, 0x6b, 0x20, 0, 4, kind, number, dir,
        data[0], data[1], data[2],
    ];
    match parse(&raw).expect("sixteen bytes").body {
        Body::Event(event) => event,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_event_has_its_sensor_state_and_direction() {
    let began = event_of(0x08, 0x31, 0x6f, [0x03, 0xff, 0xff]);
    assert_eq!(began.key.to_string(), "20.0.0.31");
    assert_eq!(began.kind_word(), "power-supply");
    assert_eq!((began.state(), began.holds()), ("input-lost", true));
    let ended = event_of(0x08, 0x31, 0xef, [0x03, 0xff, 0xff]);
    assert_eq!((ended.state(), ended.holds()), ("input-lost", false));
}

#[test]
fn the_channel_and_unit_of_the_generator_are_part_of_the_key() {
    let raw = [1, 0, 2, 0, 0, 0, 0, 0x30, 0x62, 4, 1, 7, 1, 0, 0, 0];
    let entry = parse(&raw).expect("sixteen bytes");
    let Body::Event(event) = entry.body else { panic!("{entry:?}") };
    let key = Key { owner: 0x30, channel: 6, lun: 2, number: 7 };
    assert_eq!(event.key, key);
}

#[test]
fn a_threshold_event_carries_reading_and_threshold() {
    let low = event_of(0x04, 0x12, 0x01, [0x52, 0x00, 0x05]);
    assert_eq!(low.state(), "lower-critical");
    assert!(low.holds());
    assert_eq!(low.readings(), (Some(0), Some(5)));
    let bare = event_of(0x04, 0x12, 0x01, [0x02, 0x00, 0x05]);
    assert_eq!(bare.readings(), (None, None));
}

#[test]
fn rising_over_a_lower_threshold_is_no_failure() {
    let rising = event_of(0x04, 0x12, 0x01, [0x53, 9, 5]);
    assert_eq!(rising.threshold(), Some((Threshold::LowerCritical, true)));
    assert!(!rising.holds());
    let back = event_of(0x01, 3, 0x81, [0x59, 70, 90]);
    assert_eq!(back.state(), "upper-critical");
    assert!(!back.holds());
    let falling = event_of(0x01, 3, 0x01, [0x58, 70, 90]);
    assert!(!falling.holds());
}

#[test]
fn offsets_that_are_no_threshold_have_no_threshold() {
    let odd = event_of(0x01, 3, 0x01, [0x5f, 70, 90]);
    assert_eq!(odd.threshold(), None);
    assert_eq!(odd.state(), "state-15");
}

#[test]
fn records_of_makers_keep_their_bytes_and_their_time() {
    let oem = record([0xc0, 0x3f, 0x41, 0x02, 0x6b, 0x57, 1, 0, 1, 2, 3, 4, 5]);
    assert_eq!(oem.time, Stamp::At(0x6b02_413f));
    let Body::Oem { kind, manufacturer } = oem.body else { panic!("{oem:?}") };
    assert_eq!((kind, manufacturer), (0xc0, Some(0x157)));
    assert_eq!(oem.raw[10..15], [1, 2, 3, 4, 5]);
    let untimed = record([0xe0, 0x3f, 0x41, 2, 0x6b, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(untimed.time, Stamp::None);
    let unknown = record([0x01, 0x3f, 0x41, 2, 0x6b, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert!(matches!(unknown.body, Body::Oem { kind: 1, .. }));
}

#[test]
fn a_clock_that_was_not_set_tells_no_date() {
    assert_eq!(Stamp::of(0), Stamp::SinceStart(0));
    assert_eq!(Stamp::of(0x2000_0000), Stamp::SinceStart(0x2000_0000));
    assert_eq!(Stamp::of(0x2000_0001), Stamp::At(0x2000_0001));
    assert_eq!(Stamp::of(u32::MAX), Stamp::None);
}

#[test]
fn a_record_that_is_too_short_is_none() {
    let data = [5, 0, 1, 63, 65, 2, 107, 65, 0, 4, 19, 99, 111, 170, 16, 8];
    assert_eq!(parse(&data).expect("a whole record").id, 5);
    assert_eq!(parse(&data[..15]), Err(BadEntry::Length(15)));
    assert_eq!(parse(&[]), Err(BadEntry::Length(0)));
}

#[test]
fn a_memory_event_names_its_dimm_only_where_the_specification_says_so() {
    let dimm = |data| event_of(0x0c, 0x48, 0x6f, data).detail().dimm;
    assert_eq!(dimm([0x31, 0xff, 3]), Some(3));
    assert_eq!(dimm([0x21, 0xff, 3]), None, "the maker's own code");
    assert_eq!(dimm([0x01, 0xff, 3]), None);
    assert_eq!(dimm([0x31, 0xff, 0xff]), None, "unspecified");
}

#[test]
fn a_slot_event_names_its_slot() {
    let slot = |data| event_of(0x21, 9, 0x6f, data).detail().slot;
    assert_eq!(slot([0xf0, 7, 12]), Some((SlotKind::Dimm, 12)));
    assert_eq!(slot([0xf0, 9, 3]), Some((SlotKind::Pcie, 3)));
    assert_eq!(slot([0xc0, 9, 3]), None);
}

#[test]
fn data_bytes_are_put_in_words() {
    let words = |kind, data| event_of(kind, 1, 0x6f, data).detail().words;
    assert_eq!(words(0x08, [0x36, 0, 3]), Some("power supply rating mismatch"));
    assert_eq!(words(0x23, [0xc1, 0x04, 0]), Some("SMS/OS"));
    assert_eq!(words(0x0f, [0xc0, 0x02, 0]), Some("no usable system memory"));
    assert_eq!(words(0x0f, [0xc0, 0xee, 0]), None);
}
