//! Readings: thresholds crossed, states, and why there is none.

use super::*;

/// 90 and 100 °C above, with 3 of hysteresis; 5 below.
fn temperature() -> Sensor {
    let mut record = full(0, 1, 0, 0, 0);
    record[18] = 0b01_1010;
    record[36..42].copy_from_slice(&[0, 100, 90, 0, 5, 0]);
    record[42] = 3;
    sensor(&record)
}

fn read(sensor: &Sensor, data: &[u8]) -> Result<Reading, Unknown> {
    sensor.reading(0, data, &sensor.thresholds)
}

fn states(sensor: &Sensor, data: &[u8]) -> Vec<&'static str> {
    read(sensor, data).expect("a reading").states
}

#[test]
fn the_value_is_held_against_the_thresholds() {
    let t = temperature();
    let ok = read(&t, &[45, 0xc0, 0xc0]).expect("a reading");
    assert_eq!((ok.value, ok.level(), ok.disputed), (Some(45.0), 0, false));
    assert_eq!(states(&t, &[90, 0xc0, 0x08]), ["upper-non-critical"]);
    let hot = read(&t, &[100, 0xc0, 0x18]).expect("a reading");
    assert_eq!(hot.states, ["upper-non-critical", "upper-critical"]);
    assert_eq!(hot.level(), 2);
    assert_eq!(states(&t, &[5, 0xc0, 0x02]), ["lower-critical"]);
}

#[test]
fn stray_bits_of_the_status_are_not_believed() {
    let t = temperature();
    let stray = read(&t, &[45, 0xc0, 0xd0]).expect("a reading");
    assert_eq!((stray.level(), stray.disputed), (0, true));
    assert_eq!(states(&t, &[45, 0xc0, 0xe0]), Vec::<&str>::new());
}

#[test]
fn a_value_behind_its_threshold_counts_though_the_status_is_silent() {
    let hot = read(&temperature(), &[101, 0xc0, 0xc0]).expect("a reading");
    assert_eq!((hot.level(), hot.disputed), (2, true));
}

#[test]
fn within_the_hysteresis_the_bmc_may_hold_its_state() {
    let t = temperature();
    assert_eq!(states(&t, &[88, 0xc0, 0x08]), ["upper-non-critical"]);
    assert_eq!(states(&t, &[86, 0xc0, 0x08]), Vec::<&str>::new());
    assert_eq!(states(&t, &[88, 0xc0, 0x00]), Vec::<&str>::new());
}

#[test]
fn the_status_decides_where_there_is_nothing_to_compare() {
    let mut t = temperature();
    let none = Thresholds::default();
    let told = t.reading(0, &[45, 0xc0, 0x10], &none).expect("a reading");
    assert_eq!(told.states, ["upper-critical"]);
    let mut mad = Thresholds::default();
    mad.set(Threshold::LowerCritical, 0);
    mad.set(Threshold::UpperCritical, 0);
    let told = t.reading(0, &[45, 0xc0, 0x00], &mad).expect("a reading");
    assert_eq!((told.level(), told.disputed), (0, false));
    t.conversion = None;
    assert_eq!(states(&t, &[45, 0xc0, 0x10]), ["upper-critical"]);
}

#[test]
fn the_value_is_all_there_is_where_the_answer_has_no_status() {
    assert_eq!(states(&temperature(), &[91, 0xc0]), ["upper-non-critical"]);
}

#[test]
fn states_that_the_sensor_cannot_report_are_masked() {
    let drive = sensor(&compact([1, 0], b"D"));
    assert_eq!(states(&drive, &[0, 0xc0, 0x01, 0x80]), ["presence-detected"]);
    assert_eq!(
        states(&drive, &[0, 0xc0, 0xff, 0xff]),
        ["presence-detected", "drive-fault", "predictive-failure"]
    );
    assert_eq!(states(&drive, &[0, 0xc0, 0x02]), ["drive-fault"]);
    assert_eq!(states(&drive, &[0, 0xc0, 0, 0x80]), Vec::<&str>::new());
}

#[test]
fn an_empty_mask_hides_nothing() {
    let mut record = compact([1, 0], b"D");
    record[14..20].fill(0);
    assert_eq!(states(&sensor(&record), &[0, 0xc0, 0x80, 0x80]), ["rebuild"]);
}

#[test]
fn what_cannot_be_read_is_unknown_for_its_reason() {
    let t = temperature();
    let why = |data: &[u8]| read(&t, data).err();
    assert_eq!(why(&[45, 0x80, 0]), Some(Unknown::ScanningDisabled));
    assert_eq!(why(&[45, 0xe0, 0]), Some(Unknown::ReadingUnavailable));
    assert_eq!(why(&[45]), Some(Unknown::Short));
    assert_eq!(why(&[]), Some(Unknown::Short));
    let drive = sensor(&compact([1, 0], b"D"));
    assert_eq!(read(&drive, &[0, 0xc0]).err(), Some(Unknown::Short));
}

#[test]
fn every_completion_code_but_zero_is_unknown() {
    let t = temperature();
    let good = [45, 0xc0, 0xc0];
    for code in 1..=0xff {
        assert!(t.reading(code, &good, &t.thresholds).is_err(), "{code:x}");
    }
    assert_eq!(Unknown::of(0xc0), Unknown::Busy);
    assert_eq!(Unknown::of(0xcb), Unknown::Absent);
    assert_eq!(Unknown::of(0xd1), Unknown::Updating);
    assert_eq!(Unknown::of(0x80).word(), "refused");
}
