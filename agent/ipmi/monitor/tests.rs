use std::sync::Mutex;

use super::super::link::testing::{answer, link};
use super::super::{BMC_ADDRESS, Response};
use super::*;
use crate::decode::ipmi::sdr;

const PACE: Pace = Pace {
    fast: Duration::from_secs(10),
    normal: Duration::from_secs(30),
    slow: Duration::from_secs(300),
};

/// A full record: a temperature in whole degrees with its number as name.
fn record(id: u8, number: u8, lun: u8, owner: u8) -> Vec<u8> {
    let mut bytes = vec![id, 0, 0x51, 0x01, 0];
    bytes.extend([owner, lun, number, 7, 1, 0x7F, 0x44, 0x01, 0x01]);
    bytes.extend([0; 6]);
    bytes.extend([0, 1, 0, 0, 1, 0, 0, 0, 0, 0]);
    bytes.extend([0; 17]);
    let name = format!("T{number}");
    bytes.push(0xC0 | name.len() as u8);
    bytes.extend(name.bytes());
    bytes[4] = (bytes.len() - 5) as u8;
    bytes
}

/// What a test's BMC does with Get Sensor Reading.
type Read = fn(Target, u8) -> Result<Response, TransportError>;

fn bmc(
    records: Vec<Vec<u8>>,
    mut alive: impl FnMut() -> bool + Send + 'static,
    read: Read,
) -> Mutex<Link> {
    Mutex::new(link(Box::new(move |target, netfn, command, data| {
        if !alive() {
            return answer(code::TIMEOUT, &[]);
        }
        match (netfn, command) {
            (netfn::APP, 0x01) => answer(0, &[0; 11]),
            (netfn::STORAGE, 0x20) => answer(0, &[0x51; 14]),
            (netfn::STORAGE, 0x23) => {
                let at = usize::from(data[2]).max(1) - 1;
                let next = match at + 1 < records.len() {
                    true => [at as u8 + 2, 0],
                    false => [0xFF, 0xFF],
                };
                answer(0, &[&next, records[at].as_slice()].concat())
            }
            (netfn::SENSOR, GET_READING) => read(target, data[0]),
            _ => answer(code::INVALID_COMMAND, &[]),
        }
    })))
}

fn value(view: &View) -> Result<f64, &'static str> {
    match &view.reading {
        Ok(reading) => reading.value.ok_or("no value"),
        Err(why) => Err(why.word()),
    }
}

#[test]
fn a_sensor_is_asked_for_at_its_owner_and_on_its_unit() {
    let records = vec![
        record(1, 1, 0, BMC_ADDRESS),
        record(2, 1, 1, BMC_ADDRESS),
        record(3, 1, 0, 0x30),
    ];
    let link = bmc(
        records,
        || true,
        |target, number| {
            assert_eq!(number, 1);
            let value = 10 * target.lun + (target.address == 0x30) as u8;
            answer(0, &[value, 0xC0, 0])
        },
    );
    let mut monitor = Monitor::new(PACE);
    let pass = monitor.pass(&mut Shared(&link)).unwrap();
    assert_eq!((pass.asked, pass.cut), (3, false));
    let values: Vec<_> = monitor.views().iter().map(value).collect();
    assert_eq!(values, [Ok(0.0), Ok(10.0), Ok(1.0)]);
    let again = monitor.pass(&mut Shared(&link)).unwrap();
    assert_eq!(again.asked, 0, "nothing is due yet");
}

#[test]
fn one_sensor_that_times_out_hides_no_other() {
    let records = (1..=3).map(|n| record(n, n, 0, BMC_ADDRESS)).collect();
    let link = bmc(
        records,
        || true,
        |_, number| match number {
            2 => answer(code::TIMEOUT, &[]),
            n => answer(0, &[n, 0x40, 0]),
        },
    );
    let mut monitor = Monitor::new(PACE);
    let pass = monitor.pass(&mut Shared(&link)).unwrap();
    assert_eq!(pass.answers, Ok(()));
    let values: Vec<_> = monitor.views().iter().map(value).collect();
    assert_eq!(values, [Ok(1.0), Err("no-answer"), Ok(3.0)]);
}

#[test]
fn a_silent_bmc_makes_everything_unknown_and_keeps_its_age() {
    let records = (1..=3).map(|n| record(n, n, 0, BMC_ADDRESS)).collect();
    let alive = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let seen = std::sync::Arc::clone(&alive);
    let order = std::sync::atomic::Ordering::SeqCst;
    let link =
        bmc(records, move || seen.load(order), |_, n| answer(0, &[n, 0x40, 0]));
    let pace = Pace { fast: Duration::ZERO, normal: Duration::ZERO, ..PACE };
    let mut monitor = Monitor::new(pace);
    let budget = Duration::from_secs(1);
    let pass = |monitor: &mut Monitor| {
        link.lock().unwrap().wake();
        monitor.pass_within(&mut Shared(&link), budget).unwrap()
    };
    assert_eq!(pass(&mut monitor).answers, Ok(()));
    alive.store(false, order);
    assert!(pass(&mut monitor).answers.is_err());
    for view in monitor.views() {
        assert_eq!(value(&view), Err("bmc-silent"));
        assert!(view.read.is_some());
    }
}

#[test]
fn a_pass_ends_with_its_budget_and_the_next_goes_on() {
    let records = (1..=9).map(|n| record(n, n, 0, BMC_ADDRESS)).collect();
    let link = bmc(
        records,
        || true,
        |_, n| {
            std::thread::sleep(Duration::from_millis(20));
            answer(0, &[n, 0x40, 0])
        },
    );
    let mut monitor = Monitor::new(PACE);
    let budget = Duration::from_millis(50);
    let mut rounds = 0;
    loop {
        rounds += 1;
        let pass = monitor.pass_within(&mut Shared(&link), budget).unwrap();
        assert!(pass.asked <= 4, "{pass:?}");
        if !pass.cut {
            break;
        }
    }
    assert!(rounds >= 3, "{rounds}");
    assert!(monitor.views().iter().all(|view| value(view).is_ok()));
}

#[test]
fn a_sensor_without_a_reading_is_left_alone_for_longer_and_longer() {
    let mut polled = Polled::new(
        &match crate::decode::ipmi::sdr::parse(&record(1, 1, 0, 0x20)) {
            Ok(record) => match record.body {
                crate::decode::ipmi::sdr::Body::Sensors(mut s) => s.remove(0),
                other => panic!("{other:?}"),
            },
            Err(error) => panic!("{error}"),
        },
        Duration::from_secs(10),
    );
    let at = Uptime(0);
    let mut pauses = Vec::new();
    for why in [Unknown::Busy, Unknown::ReadingUnavailable, Unknown::Absent] {
        polled.failures = 0;
        for _ in 0..9 {
            polled.failed(Why::Said(why), at);
        }
        pauses.push(polled.due.since(at).as_secs());
    }
    assert_eq!(pauses, [10, 120, 600]);
}

#[test]
fn a_sensor_that_vanishes_from_the_records_did_not_get_well_by_that() {
    let sensors = |numbers: &[u8]| -> Vec<Sensor> {
        let parse = |n: &u8| sdr::parse(&record(*n, *n, 0, BMC_ADDRESS));
        numbers
            .iter()
            .flat_map(|n| match parse(n).unwrap().body {
                sdr::Body::Sensors(sensors) => sensors,
                other => panic!("{other:?}"),
            })
            .collect()
    };
    let found = |numbers: &[u8], incomplete: Option<&str>| Repository {
        sensors: sensors(numbers),
        incomplete: incomplete.map(str::to_owned),
        ..Repository::default()
    };
    let shown = |monitor: &Monitor| -> Vec<(String, &'static str)> {
        let views = monitor.views().into_iter();
        let why = |view: &View| view.reading.as_ref().err().unwrap().word();
        views.map(|view| (view.sensor.name.clone(), why(&view))).collect()
    };
    let mut monitor = Monitor::new(PACE);
    monitor.take(&found(&[1, 2, 3], None));
    monitor.polled[1].was_bad = true;
    // Two and three are gone; three was well.
    monitor.take(&found(&[1], None));
    let one = ("T1".to_owned(), "not-yet");
    assert_eq!(shown(&monitor), [one.clone(), ("T2".to_owned(), "absent")]);
    // A walk that broke off tells nothing of those behind.
    monitor.take(&found(&[1, 2, 3], None));
    monitor.take(&found(&[1], Some("a record was refused")));
    let names: Vec<String> =
        shown(&monitor).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["T1", "T2", "T3"]);
}
