//! What a machine check costs from the page of the kernel's ring to what a
//! pattern makes of it, in CPU time, and that none is missed on the way.
//!
//! The pages are those that Debian's 6.1 kernel wrote when its ring had run
//! over (`fixtures/trace`), read again and again. Fails when a check is
//! missing, memory grows, or the limit is broken by far.

use std::process::ExitCode;

use faultline::decode::mce::decode;
use faultline::decode::trace::format::Format;
use faultline::decode::trace::page::{Layout, Missed};
use faultline::decode::trace::ras::{Reader, Told};
use faultline::patterns::matcher::{Scratch, Taken};
use faultline::patterns::{builtin, compile, parse};
use faultline::sources::machine_check::{self, Seen};
use faultline::time::Timestamp;
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

macro_rules! recorded {
    ($how:ident, $path:literal) => {
        $how!(concat!("../fixtures/trace/debian-6.1/", $path))
    };
}

/// So many machine checks are read, at least.
const CHECKS: u64 = 100_000;

/// Microseconds each.
const LIMIT: f64 = 5.0;

/// How much memory may grow while they are read: what one page's worth of
/// signals takes, and what allocators keep, KiB.
const GROWTH: u64 = 1_024;

fn cpu() -> f64 {
    let now = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID);
    now.expect("every Linux has this clock").num_nanoseconds() as f64
}

/// The most memory that this process has had, KiB.
fn peak() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status");
    let text = text.expect("every Linux has this file");
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = peak.and_then(|p| p.trim().strip_suffix(" kB"));
    number.and_then(|n| n.parse().ok()).expect("it has this line")
}

fn main() -> ExitCode {
    let layout = Layout::parse(
        recorded!(include_str, "events/header_page"),
        recorded!(include_str, "events/header_event"),
        None,
    );
    let layout = layout.expect("the kernel wrote it");
    let format = recorded!(include_str, "events/mce/mce_record/format");
    let format = Format::parse(format).expect("the kernel wrote it");
    let reader = Reader::new(&format).expect("the event is read");
    let pages: &[u8] = recorded!(include_bytes, "overrun.pages");
    let files = builtin::files();
    let files = files.iter().map(|f| parse::parse(f).expect("it parses"));
    let files: Vec<_> = files.collect();
    let set = compile::compile(&files).expect("it compiles").0;

    let (mut scratch, mut out) = (Scratch::default(), Vec::new());
    let (mut read, mut taken, mut missed) = (0, 0, 0);
    let (mut began, mut before, mut warm) = (cpu(), 0, false);
    while read < CHECKS {
        for bytes in pages.chunks(layout.page_size()) {
            let mut page = layout.page(bytes).expect("a page");
            if let Missed::Exactly(n) = page.missed() {
                missed += n;
            }
            for record in page.by_ref() {
                let Some(Told::MachineCheck(registers)) =
                    reader.read(record.data)
                else {
                    continue;
                };
                read += 1;
                let seen = Seen {
                    time: Timestamp(i64::try_from(record.time).unwrap_or(0)),
                    approximate: false,
                    injected: false,
                    history: false,
                };
                let decoded = decode(&registers);
                machine_check::observe(&registers, &decoded, seen, |told| {
                    let found =
                        set.matcher.observe(told, &mut scratch, &mut out);
                    taken += u64::from(found == Taken::Taken);
                });
            }
            out.clear();
        }
        if !warm {
            // The first pass compiles expressions and fills caches.
            (began, before, warm) = (cpu(), peak(), true);
            (read, taken, missed) = (0, 0, 0);
        }
    }
    let each = (cpu() - began) / read as f64 / 1_000.0;
    let grown = peak() - before;
    println!("machine checks from the ring's pages:");
    println!("  read                 {read:8}  each with a pattern: {taken}");
    println!("  said to be missed    {missed:8}");
    println!("  CPU us each          {each:8.2}  (limit {LIMIT})");
    println!("  memory grown, KiB    {grown:8}  (limit {GROWTH})");
    // Of 700 that were injected the ring kept 175 (its own statistics).
    let exact = read % 175 == 0 && taken == read && missed == read / 175 * 525;
    let good = exact && grown <= GROWTH && each <= 2.0 * LIMIT;
    if !good {
        println!("  something is missing, or a limit is broken by far");
    }
    ExitCode::from(u8::from(!good))
}
