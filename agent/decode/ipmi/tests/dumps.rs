//! Whole repositories and inventories, as a BMC gives them: `fixtures/ipmi`.

use super::*;
use crate::decode::ipmi::fru;
use crate::observation::bmc::Described;

const SERVER: &[u8] = include_bytes!("../../../../fixtures/ipmi/server.sdr");
const LARGE: &[u8] =
    include_bytes!("../../../../fixtures/ipmi/large-server.sdr");

/// The records of a dump, one behind the other.
fn records(mut dump: &[u8]) -> Vec<Body> {
    let mut all = Vec::new();
    while dump.len() > 5 {
        let (record, rest) = dump.split_at(5 + usize::from(dump[4]));
        all.push(parse(record).expect("a good record").body);
        dump = rest;
    }
    assert!(dump.is_empty());
    all
}

fn all_sensors(dump: &[u8]) -> Vec<Sensor> {
    let sensors = records(dump).into_iter().filter_map(|body| match body {
        Body::Sensors(sensors) => Some(sensors),
        _ => None,
    });
    sensors.flatten().collect()
}

#[test]
fn every_record_of_a_server_is_read() {
    assert_eq!(records(SERVER).len(), 44);
    assert_eq!(records(LARGE).len(), 194);
    // 39 records of sensors, of which one is of four drive bays.
    let sensors = all_sensors(SERVER);
    let events = sensors.iter().filter(|s| s.event_only).count();
    assert_eq!((sensors.len(), events), (44, 2));
    assert_eq!(all_sensors(LARGE).len(), 194);
}

#[test]
fn values_are_those_that_other_readers_of_the_same_records_show() {
    let sensors = all_sensors(SERVER);
    let shows = |name: &str, raw: u8| {
        let sensor = sensors.iter().find(|s| s.name == name).expect(name);
        let value = sensor.conversion.and_then(|c| c.value(raw));
        let value = value.expect("an analog sensor");
        format!("{value:.3} {}", sensor.units)
    };
    assert_eq!(shows("Inlet Temp", 24), "24.000 degrees C");
    assert_eq!(shows("Exhaust Temp", 163), "35.000 degrees C");
    assert_eq!(shows("P1 Therm Margin", 235), "-21.000 degrees C");
    assert_eq!(shows("FAN3", 84), "8400.000 RPM");
    assert_eq!(shows("FAN PWM", 40), "40.000 %");
    assert_eq!(shows("P12V", 203), "11.977 Volts");
    assert_eq!(shows("P1V8 Inv", 100), "1.800 Volts");
    assert_eq!(shows("Airflow", 144), "12.000 CFM");
    assert_eq!(shows("PSU1 Input", 70), "350.000 Watts");
}

#[test]
fn no_two_sensors_have_one_key_and_each_has_a_part() {
    let sensors = all_sensors(LARGE);
    let keys: std::collections::BTreeSet<Key> =
        sensors.iter().map(|s| s.key).collect();
    assert_eq!(keys.len(), sensors.len());
    let part = |name: &str| {
        let sensor = sensors.iter().find(|s| s.name == name).expect(name);
        Described::new(sensor.clone()).part
    };
    assert_eq!(part("PSU2 Status"), "psu/2");
    assert_eq!(part("FAN3"), "fan/3");
    assert_eq!(part("DIMM_B1"), "dimm/DIMM_B1");
    assert_eq!(part("Drive 3"), "bay/Drive 3");
    assert_eq!(part("CPU2 Status"), "cpu/2");
    assert_eq!(part("PS Redundancy"), "power/PS Redundancy");
}

#[test]
fn inventories_tell_their_labels() {
    let psu = include_bytes!("../../../../fixtures/ipmi/psu.fru");
    let psu = fru::parse(psu).expect("a good inventory");
    assert_eq!(psu.label().serial.as_deref(), Some("DTXJ8231ABC"));
    assert_eq!(psu.supply.map(|s| s.watts), Some(1600));
    let board = include_bytes!("../../../../fixtures/ipmi/board.fru");
    let board = fru::parse(board).expect("a good inventory");
    assert_eq!(board.label().serial.as_deref(), Some("B123"));
}
