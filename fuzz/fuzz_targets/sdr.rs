//! Records of a BMC's sensor repository, and answers to readings of what
//! they describe: any bytes. The first byte is where the record ends.
#![no_main]

use faultline::decode::ipmi::convert::Factors;
use faultline::decode::ipmi::sdr::{Body, parse};
use faultline::decode::ipmi::thresholds::Thresholds;
use faultline::observation::bmc::Described;
use libfuzzer_sys::fuzz_target;

/// A name has at most 31 bytes, of which a character may become three, and
/// a number behind it.
const NAME_MAX: usize = 31 * 3 + 3;

fuzz_target!(|bytes: &[u8]| {
    let Some((at, bytes)) = bytes.split_first() else { return };
    let (record, answer) = bytes.split_at(bytes.len().min(usize::from(*at)));
    let _ = Factors::from_response(answer);
    let Ok(read) = parse(record) else { return };
    let length = 5 + usize::from(record[4]);
    assert!(length <= record.len());
    // Padding is no part of it.
    assert_eq!(parse(&record[..length]).as_ref(), Ok(&read));
    let Body::Sensors(sensors) = read.body else { return };
    assert!((1..=15).contains(&sensors.len()));
    let limits = Thresholds::from_response(answer);
    for sensor in sensors {
        assert!(sensor.name.len() <= NAME_MAX);
        assert!(!sensor.name.contains(char::is_control));
        let limits = limits.unwrap_or(sensor.thresholds);
        let described = Described::new(sensor);
        assert!(described.part.contains('/'));
        let sensor = &described.sensor;
        let code = answer.first().copied().unwrap_or(0) & 1;
        let reading = sensor.reading(code, answer, &limits);
        if let Ok(reading) = &reading {
            assert_eq!(code, 0);
            // Scanning is on, and the reading is there.
            assert_eq!(answer[1] & 0x60, 0x40);
            assert!(reading.value.is_none_or(f64::is_finite));
            assert_eq!(reading.bits & !sensor.mask & 0x7fc0, 0);
            assert_eq!(
                reading.states.len(),
                reading.bits.count_ones() as usize
            );
        }
        let fields = described.fields("bmc0", &reading, &limits);
        let knows = fields.iter().any(|(name, _)| *name == "state");
        let why = fields.iter().any(|(name, _)| *name == "unknown");
        assert!(knows != why);
        assert!(!knows || reading.is_ok());
    }
});
