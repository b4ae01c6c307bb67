//! The kernel's forms that carry text chosen by users.
//!
//! Facility 0 proves that the kernel printed a record, not that it chose the
//! words: it prints names of programs, files, volumes and devices. A record is
//! held against these forms whole, before any unescaping, and one that has a
//! form is offered only to patterns that name it.
//!
//! A form is recognised by words that the kernel prints *before* the user's
//! text, or after a name that is bounded (`comm` is 15 bytes): a long path
//! would push what follows it over the end of the record.

mod table;

use std::sync::LazyLock;

use crate::prefilter::{Entry, Prefilter};
use table::{RULES, Rule};

/// The names of the forms, as `where: { form: … }` takes them. `none` is a
/// record without user text.
pub const NAMES: &[&str] = &[
    "none",
    "segfault",
    "trap",
    "process-started",
    "audit",
    "oom",
    "hung-task",
    "soft-lockup",
    "bad-page",
    "sigbus",
    "ext4-comm",
    "btrfs-path",
    "netfilter",
    "device-name",
    "volume-name",
    "alloc-failure",
    "sched",
    "comm-paren",
    "cgroup",
    // The name of a program, anywhere else.
    "comm",
    // The name of a file, mount point or mount option.
    "path",
    // Other text that programs hand to the kernel.
    "other",
];

/// All literals of the rules, in one pass over the text.
static LITERALS: LazyLock<Prefilter> = LazyLock::new(|| {
    let entry = |(owner, rule): (u32, &Rule)| Entry {
        pieces: vec![rule.literal.into()],
        anchored: false,
        owner,
    };
    let all: Vec<Entry> = (0..).zip(RULES).map(entry).collect();
    Prefilter::new(&all).expect("a hundred literals are within every limit")
});

/// The form of a record, given whole: the text as `/dev/kmsg` escapes it, or
/// plain text. Where several fit, the first of the table is it, and those
/// that the record begins with stand first: what users choose cannot come
/// before them.
pub fn form_of(raw: &[u8]) -> &'static str {
    let mut best = RULES.len();
    LITERALS.find(raw, |at, rule| {
        let index = rule as usize;
        if index < best && RULES[index].holds(raw, at) {
            best = index;
        }
    });
    match RULES.get(best) {
        Some(Rule { form, .. }) => form,
        None if table::is_task_row(raw) => "oom",
        None if table::is_old_task_state(raw) => "sched",
        None => "none",
    }
}

#[cfg(test)]
mod tests;
