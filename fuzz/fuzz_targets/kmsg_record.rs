//! The parser of `/dev/kmsg` records: any bytes.
#![no_main]

use faultline::forms;
use faultline::sources::kmsg_record::{escape, parse, unescape};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    // What is escaped as the kernel does comes back as it was.
    let mut back = Vec::new();
    assert_eq!(unescape(&escape(raw), &mut back), raw);

    let Ok(record) = parse(raw) else { return };
    assert!(record.level < 8);
    for piece in [record.text, record.subsystem, record.device] {
        assert!(piece.len() <= raw.len());
        let mut buffer = Vec::new();
        assert!(unescape(piece, &mut buffer).len() <= piece.len());
    }
    assert!(forms::NAMES.contains(&forms::form_of(record.text)));
});
