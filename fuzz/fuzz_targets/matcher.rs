//! Kernel text against the built-in patterns, through the ledger: any bytes.
//! What comes out is bounded, and nothing of it acts on a terminal; a line
//! that came lately gives what it gave before.
#![no_main]

use std::sync::{Arc, OnceLock};

use faultline::drive::Drive;
use faultline::kernel::KernelRecord;
use faultline::patterns::matcher::{Scratch, Taken};
use faultline::patterns::set::PatternSet;
use faultline::patterns::{builtin, compile, parse};
use faultline::signal::{Event, TEXT_MAX};
use faultline::time::Timestamp;
use libfuzzer_sys::fuzz_target;

fn builtin_set() -> Arc<PatternSet> {
    static SET: OnceLock<Arc<PatternSet>> = OnceLock::new();
    let compile = || {
        let files = builtin::files();
        let files = files.iter().map(|f| parse::parse(f).expect("it parses"));
        let files: Vec<_> = files.collect();
        Arc::new(compile::compile(&files).expect("it compiles").0)
    };
    SET.get_or_init(compile).clone()
}

/// What a running agent makes of a line.
fn lean(text: &[u8], scratch: &mut Scratch) -> (Taken, Vec<Event>) {
    let record = KernelRecord {
        text,
        form: None,
        level: Some(6),
        subsystem: b"",
        device: b"",
        time: Timestamp(0),
        approximate: false,
        injected: false,
    };
    scratch.lean = true;
    let mut out = Vec::new();
    let taken =
        builtin_set().matcher.observe_kernel(&record, scratch, &mut out);
    scratch.take_notes(&mut out);
    (taken, out)
}

fuzz_target!(|log: &[u8]| {
    let mut warm = Scratch::default();
    for line in log.split(|b| matches!(b, 0 | b'\n')) {
        for _ in 0..2 {
            let given = lean(line, &mut warm);
            assert_eq!(given, lean(line, &mut Scratch::default()));
        }
    }
    let start = Timestamp(1_790_000_000_000_000);
    let mut drive = Drive::new(builtin_set(), start);
    for record in log.split(|b| *b == 0) {
        let outcome = drive.kernel_text(record, Some(3));
        for event in outcome.events {
            let Event::Match(signal) = event else { continue };
            let part = signal.part.as_str();
            assert!(part.contains('/') && part.len() < 512, "{part:?}");
            assert!(!part.contains(char::is_control), "{part:?}");
            // Lossy UTF-8 makes at most three bytes of one.
            assert!(signal.text.len() <= 3 * TEXT_MAX);
        }
    }
});
