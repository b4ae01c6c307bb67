//! Records of a BMC's event log: any bytes, as the answer that brings them.
#![no_main]

use faultline::decode::ipmi::sel::{Body, from_response, parse};
use faultline::observation::bmc::Logged;
use faultline::observation::{FieldKind, Source, Value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok((next, entry)) = from_response(bytes) else {
        assert_ne!(bytes.len(), 18);
        return;
    };
    assert_eq!(next, u16::from_le_bytes([bytes[0], bytes[1]]));
    assert_eq!(entry.raw, bytes[2..]);
    assert_eq!(parse(&entry.raw), Ok(entry.clone()));
    if let Body::Event(event) = &entry.body {
        assert!(event.threshold().is_none() || event.has_thresholds());
    }
    let logged = Logged::new(entry, None);
    assert!(logged.part.contains('/'));
    for (name, value) in logged.fields("bmc0", false) {
        let spec = Source::IpmiSel.field(name).expect("a field");
        match (spec.kind, value) {
            (FieldKind::Word(words), Value::Word(word)) => {
                assert!(words.contains(&word), "{name}: {word}");
            }
            (FieldKind::Text, Value::Text(_))
            | (FieldKind::Number, Value::Number(_))
            | (FieldKind::Flag, Value::Flag(_)) => {}
            other => panic!("{name}: {other:?}"),
        }
    }
});
