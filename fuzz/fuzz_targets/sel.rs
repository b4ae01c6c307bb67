//! Records of a BMC's event log: any bytes.
#![no_main]

use faultline::decode::ipmi::sel::{Body, RECORD, parse};
use faultline::observation::bmc::Logged;
use faultline::observation::{FieldKind, Source, Value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(entry) = parse(bytes) else {
        assert_ne!(bytes.len(), RECORD);
        return;
    };
    assert_eq!(entry.raw, bytes);
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
