//! What `replay` reads: logs in every transport's form, any bytes.
#![no_main]

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
    let mut read = 0;
    for raw in log.split(|b| *b == b'\n') {
        read += 1;
        if let Some(line) = reader.line(raw) {
            check(line, read);
        }
    }
    if let Some(line) = reader.end() {
        check(line, read);
    }
});
