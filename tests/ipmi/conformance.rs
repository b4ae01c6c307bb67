//! What the specification asks of whoever reads sensor records, asks on
//! other logical units and other network functions, and gets answers that
//! are cut short: each of the points that a library in use was found to
//! miss, asked of our own decoder and of our own commands.

use std::sync::{Arc, Mutex};

use faultline::decode::ipmi::convert::Linearization;
use faultline::decode::ipmi::sdr::{self, Body, Located};
use faultline::decode::ipmi::sel;
use faultline::decode::ipmi::sensor::{Access, Direction, Sensor};
use faultline::ipmi::monitor::{Monitor, Pace, Shared};
use faultline::ipmi::{
    Link, Response, Target, Transport, TransportError, events, repository,
    vitals,
};
use faultline::sources::Stop;
use faultline::time::Uptime;

/// A record of this type: a header, and the body.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1, 0, 0x51, kind, body.len() as u8];
    bytes.extend(body);
    bytes
}

/// What differs from one full sensor record to the next.
#[derive(Clone)]
struct Full {
    lun: u8,
    initialization: u8,
    capabilities: u8,
    format: u8,
    linearization: u8,
    m: i16,
    b: i16,
    exponents: u8,
    name: Vec<u8>,
}

impl Default for Full {
    fn default() -> Full {
        Full {
            lun: 0,
            initialization: 0x7F,
            capabilities: 0x68,
            format: 0,
            linearization: 0,
            m: 1,
            b: 0,
            exponents: 0,
            name: vec![0xC1, b'x'],
        }
    }
}

impl Full {
    fn bytes(&self) -> Vec<u8> {
        let ten = |n: i16| [n as u8, ((n >> 2) as u8) & 0xC0];
        let mut body = vec![0x20, self.lun, 1, 7, 1, self.initialization];
        body.extend([self.capabilities, 1, 1, 0, 0, 0, 0, 0, 0]);
        body.extend([self.format, 1, 0, self.linearization]);
        body.extend(ten(self.m));
        body.extend(ten(self.b));
        body.extend([0, self.exponents]);
        body.extend([0; 17]);
        body.extend(&self.name);
        record(0x01, &body)
    }

    fn sensor(&self) -> Sensor {
        only(&self.bytes())
    }

    /// The value of a raw reading, as it is shown.
    fn value(&self, raw: u8) -> String {
        let conversion = self.sensor().conversion.unwrap();
        format!("{:.3}", conversion.value(raw).unwrap())
    }
}

fn only(bytes: &[u8]) -> Sensor {
    match sdr::parse(bytes).unwrap().body {
        Body::Sensors(sensors) => sensors.into_iter().next().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn compact(capabilities: u8, sharing: u8) -> Vec<u8> {
    let mut body = vec![0x20, 0, 1, 7, 1, 0x67, capabilities, 8, 0x6F];
    body.extend([0, 0, 0, 0, 0, 0, 0xC0, 0, 0, sharing, 0]);
    body.extend([0, 0, 0, 0, 0, 0, 0xC1, b'x']);
    record(0x02, &body)
}

#[test]
fn a_negative_slope_is_negative() {
    let sensor = Full { m: -10, b: 28, exponents: 0xD2, ..Full::default() };
    assert_eq!(sensor.value(100), "1.800");
}

#[test]
fn a_slope_of_minus_one_is_not_1023() {
    let sensor = Full { m: -1, ..Full::default() }.sensor();
    assert_eq!(sensor.conversion.unwrap().factors.m, -1);
}

#[test]
fn a_slope_uses_all_of_its_ten_bits() {
    let sensor = Full { m: 300, ..Full::default() }.sensor();
    assert_eq!(sensor.conversion.unwrap().factors.m, 300);
}

#[test]
fn a_negative_offset_is_negative() {
    assert_eq!(Full { b: -128, ..Full::default() }.value(153), "25.000");
}

#[test]
fn ones_complement_has_its_own_minus_one() {
    let sensor = Full { format: 0x40, ..Full::default() };
    assert_eq!(sensor.value(0xFE), "-1.000");
}

#[test]
fn twos_complement_has_its_own_minus_one() {
    let sensor = Full { format: 0x80, ..Full::default() };
    assert_eq!(sensor.value(0xFF), "-1.000");
}

#[test]
fn a_linearization_is_applied_to_the_value() {
    let sensor = Full { linearization: 0x0A, ..Full::default() };
    assert_eq!(sensor.value(144), "12.000");
}

#[test]
fn powers_and_roots_are_not_taken_for_each_other() {
    let of = |code| {
        let full = Full { linearization: code, ..Full::default() };
        full.sensor().conversion.unwrap().linearization
    };
    let found = [8, 9, 10, 11].map(of);
    let expected = [
        Linearization::Square,
        Linearization::Cube,
        Linearization::SquareRoot,
        Linearization::CubeRoot,
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_non_linear_sensor_of_the_maker_is_none_of_the_twelve() {
    let full = Full { linearization: 0x71, ..Full::default() };
    let conversion = full.sensor().conversion.unwrap();
    assert_eq!(conversion.linearization, Linearization::NonLinear(0x71));
    // Its factors are asked for with each reading.
    assert!(conversion.needs_factors());
}

#[test]
fn the_direction_of_a_compact_record_is_where_the_specification_has_it() {
    assert_eq!(only(&compact(0x40, 0x40)).direction, Direction::Input);
    assert_eq!(only(&compact(0x40, 0x80)).direction, Direction::Output);
}

#[test]
fn a_reserved_way_of_numbering_shared_sensors_makes_no_panic() {
    assert_eq!(only(&compact(0x40, 0x20)).name, "x");
    assert!(sdr::parse(&compact(0x40, 0x3F)).is_ok());
}

#[test]
fn hysteresis_that_can_be_read_and_set_is_told_so() {
    let sensor = only(&compact(0x40 | 0x20, 0));
    assert_eq!(sensor.hysteresis, Access::Settable);
    assert!(sensor.hysteresis.is_readable());
}

#[test]
fn hysteresis_that_the_bmc_sets_at_its_start_is_known_by_its_own_bit() {
    let of = |initialization| {
        Full { initialization, ..Full::default() }.sensor().sets_hysteresis
    };
    assert!(of(0x08));
    assert!(!of(0x77));
}

#[test]
fn a_unit_that_a_controller_keeps_is_told_from_a_chip_on_a_bus() {
    let of = |access| {
        let body = [0x20, 5, access, 0, 0, 0x10, 0, 10, 1, 0, 0xC1, b'x'];
        match sdr::parse(&record(0x11, &body)).unwrap().body {
            Body::Locator(locator) => locator.located,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(of(0x80), Located::LogicalFru(5));
    assert!(!matches!(of(0x00), Located::LogicalFru(_)));
}

#[test]
fn a_name_in_bcd_plus_is_read() {
    let name = vec![0x41, 0x12];
    assert_eq!(Full { name, ..Full::default() }.sensor().name, "12");
}

#[test]
fn a_name_in_six_bit_ascii_is_read() {
    let name = vec![0x83, 0x29, 0xDC, 0xA6];
    assert_eq!(Full { name, ..Full::default() }.sensor().name, "IPMI");
}

#[test]
fn a_record_that_is_cut_anywhere_is_an_error_or_has_less_and_never_a_panic() {
    let event = [0x20, 0, 1, 7, 1, 8, 0x6F, 1, 0, 0, 0, 0xC2, b'a', b'b'];
    let fru = [0x20, 5, 0x80, 0, 0, 0x10, 0, 10, 1, 0, 0xC1, b'x'];
    let controller = [0x20, 0, 0, 0xBF, 0, 0, 0, 6, 1, 0, 0xC2, b'a', b'b'];
    let whole = [
        Full::default().bytes(),
        compact(0x40, 0),
        record(0x03, &event),
        record(0x11, &fru),
        record(0x12, &controller),
    ];
    for bytes in whole {
        assert!(sdr::parse(&bytes).is_ok());
        for end in 0..bytes.len() {
            // Cut, and saying so; and cut although it says that it is whole.
            assert!(sdr::parse(&bytes[..end]).is_err(), "{end}");
            let mut cut = bytes[..end].to_vec();
            let Some(length) = cut.get_mut(4) else { continue };
            *length = (end - 5) as u8;
            // What is left of the name may be less than it was.
            if let Ok(read) = sdr::parse(&cut) {
                assert!(end + 3 >= bytes.len(), "{end}: {read:?}");
            }
        }
    }
}

/// What a BMC of a test was asked: by whom, function and command.
type Asked = Arc<Mutex<Vec<(Target, u8, u8)>>>;

/// A BMC that answers from a function.
struct Fake<F>(F, Asked);

impl<F> Transport for Fake<F>
where
    F: FnMut(u8, u8) -> Vec<u8> + Send,
{
    fn send(
        &mut self,
        target: Target,
        netfn: u8,
        command: u8,
        _: &[u8],
        _: Uptime,
    ) -> Result<Response, TransportError> {
        self.1.lock().unwrap().push((target, netfn, command));
        let answer = (self.0)(netfn, command);
        let (code, data) = answer.split_first().unwrap();
        Ok(Response { code: *code, data: data.to_vec() })
    }
}

fn bmc(
    answers: impl FnMut(u8, u8) -> Vec<u8> + Send + 'static,
) -> (Link, Asked) {
    let asked = Asked::default();
    let transport = Fake(answers, Arc::clone(&asked));
    let stop = Stop::new().unwrap();
    let address = "/dev/ipmi0".parse().unwrap();
    let link = Link::over(address, Box::new(transport), &stop);
    (link, asked)
}

#[test]
fn information_of_a_repository_that_is_too_short_is_none() {
    let whole = [0x51, 3, 0, 0xFF, 0xFF, 1, 0, 0, 0, 2, 0, 0, 0, 2];
    for end in 0..=whole.len() {
        let (mut link, _) = bmc(move |_, _| {
            let mut answer = vec![0];
            answer.extend(&whole[..end]);
            answer
        });
        let stamp = repository::stamp(&mut link).unwrap();
        // Support bits are the last byte and no part of the stamp.
        assert_eq!(stamp.is_some(), end >= 13, "{end}");
        assert!(stamp.is_none_or(|stamp| stamp.records() == 3));
    }
}

/// How much a store has left stands in what it tells of itself: an answer
/// of eight bytes has no time stamps, and is not an empty log.
#[test]
fn information_of_a_log_that_is_too_short_is_an_error() {
    let whole = [0x51, 3, 0, 0xFF, 0x0F, 1, 0, 0, 0, 2, 0, 0, 0, 2];
    for end in [0, 1, 4, 8, 12, 14] {
        let (mut link, _) = bmc(move |_, _| {
            let mut answer = vec![0];
            answer.extend(&whole[..end]);
            answer
        });
        let info = events::info(&mut link);
        assert_eq!(info.is_ok(), end == 14, "{end}: {info:?}");
        assert!(info.is_ok_and(|i| i.entries == 3) || end < 14);
    }
}

#[test]
fn a_log_record_of_a_type_that_is_not_known_is_kept_and_the_next_is_read() {
    let raw = [5, 0, 1, 63, 65, 2, 107, 65, 0, 4, 19, 99, 111, 170, 16, 8];
    let entry = sel::parse(&raw).unwrap();
    assert_eq!((entry.id, entry.raw), (5, raw));
    assert!(matches!(entry.body, sel::Body::Oem { kind: 1, .. }));
    // Next 0006h stands before the record; then there is none.
    let mut records = 0;
    let (mut link, _) = bmc(move |_, command| {
        if command == 0x40 {
            let info = [0x51, 2, 0, 0xFF, 0x0F, 1, 0, 0, 0, 2, 0, 0, 0, 2];
            return [&[0][..], &info].concat();
        }
        records += 1;
        let next: [u8; 2] = if records == 1 { [6, 0] } else { [0xFF, 0xFF] };
        let mut raw = raw;
        raw[0] = 4 + records;
        [&[0][..], &next, &raw].concat()
    });
    let (_, found) = events::Log::new(None).look(&mut link, 10).unwrap();
    let ids: Vec<u16> = found.new.iter().map(|new| new.entry.id).collect();
    assert_eq!(ids, [5, 6]);
}

#[test]
fn a_sensor_on_another_logical_unit_is_asked_there() {
    let bytes = Full { lun: 1, ..Full::default() }.bytes();
    let (link, asked) = bmc(move |netfn, command| match (netfn, command) {
        (0x0A, 0x23) => [&[0, 0xFF, 0xFF][..], &bytes].concat(),
        (0x0A, 0x22) => vec![0, 1, 0],
        (0x04, 0x2D) => vec![0, 9, 0xC0, 0],
        _ => vec![0xC1],
    });
    let link = Mutex::new(link);
    let now = std::time::Duration::from_secs(1);
    let mut monitor = Monitor::new(Pace { fast: now, normal: now, slow: now });
    assert!(monitor.pass(&mut Shared(&link)).is_ok());
    let asked = asked.lock().unwrap();
    let reading = asked.iter().find(|(_, f, c)| (*f, *c) == (0x04, 0x2D));
    assert_eq!(reading.unwrap().0, Target { lun: 1, ..Target::BMC });
}

#[test]
fn a_command_of_a_group_extension_is_sent_and_its_answer_read() {
    let (mut link, asked) = bmc(|netfn, _| match netfn {
        0x2C => {
            let mut power = vec![0, 0xDC, 0x2C, 0x01];
            power.extend([0; 14]);
            power.push(0x40);
            power
        }
        _ => vec![0xC1],
    });
    assert_eq!(vitals::read(&mut link).unwrap().power, Some(300));
    assert!(asked.lock().unwrap().contains(&(Target::BMC, 0x2C, 0x02)));
}
