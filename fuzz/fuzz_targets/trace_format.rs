//! The description of a trace event, and a record held against it: any text
//! before the first NUL, any bytes behind it.
#![no_main]

use faultline::decode::trace::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    let mut halves = raw.splitn(2, |b| *b == 0);
    let text = String::from_utf8_lossy(halves.next().unwrap_or(&[]));
    let record = halves.next().unwrap_or(&[]);
    let Ok(format) = Format::parse(&text) else { return };
    for name in format.names() {
        let slot = format.slot(name).expect("a name that was listed");
        let _ = slot.number(record);
        if let Some(bytes) = slot.bytes(record) {
            assert!(bytes.len() <= record.len());
        }
        let _ = slot.text(record);
    }
});
