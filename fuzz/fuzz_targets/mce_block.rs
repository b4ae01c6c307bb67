//! Blocks of machine checks, the kernel's and those of log files: any lines, by any callers, at any times.
#![no_main]

use faultline::decode::block::{Assembler, OPEN_MAX, line};
use faultline::decode::mce::decode;
use faultline::decode::mce_log::Reader;
use faultline::time::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|log: &[u8]| {
    let mut all = Assembler::default();
    let mut out = Vec::new();
    let mut logged = Reader::default();
    let (mut time, mut heads, mut done) = (Timestamp(0), 0, 0);
    for text in log.split(|b| *b == b'\n') {
        // The first byte says who prints, and how long after the last line.
        let (first, text) = match text.split_first() {
            Some((first, text)) if *first < 0x20 => (*first, text),
            _ => (0, text),
        };
        let caller: &[u8] = [&b""[..], b"C1", b"T2", b"!"]
            [usize::from(first & 3)];
        time.0 += [0, 1_000, 1_900_000, -5][usize::from(first >> 2 & 3)];
        if let Some(registers) = logged.line(text) {
            assert_ne!(registers.status, 0);
            decode(&registers);
        }
        let parsed = line::parse(text, false);
        heads += usize::from(matches!(parsed, Some(line::Line::Head(_))));
        let id = all.feed(time, caller, text, &mut out);
        assert!(id.is_none() || line::parse(text, true).is_some());
        done += out.len();
        for block in out.drain(..) {
            decode(&block.registers);
        }
        assert!(done <= heads && heads - done <= OPEN_MAX);
    }
    all.end(&mut out);
    assert_eq!(done + out.len(), heads);
    assert!(all.is_idle());
});
