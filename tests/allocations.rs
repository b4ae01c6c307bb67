//! A line that matches nothing must not allocate: nearly every kernel line is
//! one, on thousands of nodes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use faultline::kernel::KernelRecord;
use faultline::patterns::matcher::{Scratch, Taken};
use faultline::patterns::{builtin, compile, parse};
use faultline::time::Timestamp;

struct Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);

#[expect(unsafe_code, reason = "counting allocations needs an allocator")]
// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn benign_lines() -> Vec<String> {
    let text = include_str!("../fixtures/corpus/benign.jsonl");
    let line = |json: &str| {
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        value["line"].as_str().unwrap().to_owned()
    };
    text.lines().map(line).collect()
}

#[test]
fn a_line_that_matches_nothing_does_not_allocate() {
    let files: Vec<_> = builtin::files()
        .iter()
        .map(|f| parse::parse(f).unwrap_or_else(|d| panic!("{d}")))
        .collect();
    let (set, _) = compile::compile(&files).unwrap();
    let lines = benign_lines();
    let mut scratch = Scratch::default();
    let mut out = Vec::new();
    let mut untaken = 0;
    // The first pass compiles the few expressions whose literals occur.
    for pass in 0..2 {
        for line in &lines {
            out.clear();
            let form = faultline::forms::form_of(line.as_bytes());
            let record = KernelRecord {
                text: line.as_bytes(),
                form: Some(form),
                level: Some(6),
                subsystem: b"",
                device: b"",
                time: Timestamp(0),
                approximate: false,
                injected: false,
            };
            let before = COUNT.load(Ordering::Relaxed);
            let taken =
                set.matcher.observe_kernel(&record, &mut scratch, &mut out);
            let made = COUNT.load(Ordering::Relaxed) - before;
            // Whose a line is, is told in a signal, where it may be trouble.
            let told = matches!(taken, Taken::Taken | Taken::Fallback);
            if pass == 1 && !told {
                untaken += 1;
                assert_eq!(made, 0, "{line}");
            }
        }
    }
    assert!(untaken > lines.len() / 2, "{untaken} of {}", lines.len());
}
