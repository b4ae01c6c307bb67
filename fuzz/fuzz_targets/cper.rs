//! Firmware's records in the kernel's text: any lines, at any times, of drills or not.
#![no_main]

use faultline::decode::cper::{Assembler, SECTIONS_MAX, line};
use faultline::time::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|log: &[u8]| {
    let mut all = Assembler::default();
    let mut out = Vec::new();
    let (mut time, mut begun, mut ended) = (Timestamp(0), None, Vec::new());
    for text in log.split(|b| *b == b'\n') {
        // The first byte says whether a drill prints, and how long after the
        // last line.
        let (first, text) = match text.split_first() {
            Some((first, text)) if *first < 0x20 => (*first, text),
            _ => (0, text),
        };
        time.0 += [0, 1_000, 1_900_000, -5][usize::from(first >> 2 & 3)];
        let id = all.feed(time, first & 1 == 1, text, &mut out);
        assert!(id.is_none() || line::parse(text).is_some());
        begun = begun.max(id);
        ended.extend(out.drain(..));
    }
    all.end(&mut ended);
    assert!(all.is_idle());
    // Each that was begun ends once.
    let mut ids: Vec<_> = ended.iter().map(|record| record.id).collect();
    ids.sort_unstable();
    let many = begun.map_or(0, |last| last + 1);
    assert_eq!(ids, (0..many).collect::<Vec<_>>());
    for record in &ended {
        assert!(record.sections.len() <= SECTIONS_MAX);
        for section in &record.sections {
            // Only that they return.
            let _ = (section.label(), section.page());
        }
    }
});
