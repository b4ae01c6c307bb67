//! Kernel text that came through the journal or a file, on its way to the
//! matcher; and what of it is worth to be explained.

use crate::kernel::KernelRecord;
use crate::patterns::matcher::{Scratch, Taken};
use crate::signal::Event;
use crate::time::Uptime;

use super::Context;
use super::mce_text::{Blocks, Printed};

/// Holds one record of kernel text against the patterns and says whether any
/// took it.
pub fn kernel(
    context: &Context,
    record: &KernelRecord<'_>,
    scratch: &mut Scratch,
    events: &mut Vec<Event>,
) -> bool {
    let matcher = &context.patterns.set().matcher;
    let trouble = record.looks_like_trouble();
    // Whoever reads once has no ledger that would know what it waits for.
    scratch.lean = !trouble && !context.once;
    let taken = matcher.observe_kernel(record, scratch, events);
    if trouble && taken.is_unexplained() {
        let shaped = record.form() == "none";
        context.unexplained.note(record.text, shaped, record.time);
    }
    taken == Taken::Taken
}

/// Takes a record, after its patterns have had it, for the machine check
/// that it may be a line of; `events[from..]` is what they gave.
pub fn machine_check(
    context: &Context,
    (record, printed): (&KernelRecord<'_>, Printed<'_>),
    from: usize,
    blocks: &mut Blocks,
    scratch: &mut Scratch,
    events: &mut Vec<Event>,
) {
    let matching = (&context.patterns.set().matcher, scratch);
    blocks.record(record, printed, from, matching, events);
}

/// Whether the events are to wait for the rest of a machine check; where
/// not, or where no more will come (`ended`), it is told as far as it goes.
pub fn holds(
    context: &Context,
    (now, ended): (Uptime, bool),
    blocks: &mut Blocks,
    scratch: &mut Scratch,
    events: &mut Vec<Event>,
) -> bool {
    if !blocks.is_open() {
        return false;
    }
    if !ended && blocks.waits(now) {
        return true;
    }
    blocks.end((&context.patterns.set().matcher, scratch), events);
    false
}
