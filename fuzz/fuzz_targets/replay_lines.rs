//! What `replay` reads: logs in every transport's form, any bytes.
#![no_main]

use faultline::cli::replay::{Pasted, Spread};
use faultline::forms;
use faultline::sources::text::{Line, Reader};
use faultline::time::Timestamp;
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;

fn check(line: &Line, read: u64) {
    assert!(line.number >= 1 && line.number <= read);
    assert!(line.level.is_none_or(|l| l < 8));
    assert!(forms::NAMES.contains(&line.form));
}

fuzz_target!(|log: &[u8]| {
    let latest = Timestamp(1_790_000_000_000_000);
    let mut reader = Reader::new(latest, TimeZone::UTC);
    let (mut pasted, mut spread) = (Pasted::default(), Spread::default());
    let (mut read, mut given, mut whole) = (0, 0, Vec::new());
    for raw in log.split(|b| *b == b'\n') {
        read += 1;
        let mut raw = raw.to_vec();
        pasted.clean(&mut raw);
        spread.take(&raw, &mut whole);
        for raw in whole.drain(..) {
            given += 1;
            if let Some(line) = reader.line(&raw) {
                check(line, read);
            }
        }
    }
    spread.end(&mut whole);
    for raw in whole {
        given += 1;
        if let Some(line) = reader.line(&raw) {
            check(line, read);
        }
    }
    assert_eq!(given, read, "line by line");
    if let Some(line) = reader.end() {
        check(line, read);
    }
});
