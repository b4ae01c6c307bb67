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

/// Each text that is looked for, as an entry of its own: its rule, and how
/// far into the text the rule's literal begins.
fn texts() -> impl Iterator<Item = (Vec<u8>, (usize, usize))> {
    let rules = RULES.iter().enumerate();
    rules.flat_map(|(rule, table)| {
        let texts = table.texts().into_iter();
        texts.map(move |(text, skip)| (text, (rule, skip)))
    })
}

/// Of each entry its rule and where in it the literal begins.
static RULE_OF: LazyLock<Vec<(usize, usize)>> =
    LazyLock::new(|| texts().map(|(_, of)| of).collect());

/// All literals of the rules, in one pass over the text.
static LITERALS: LazyLock<Prefilter> = LazyLock::new(|| {
    let made = Prefilter::new(&entries());
    made.expect("some hundred literals are within every limit")
});

/// What [`Search::see`] is to be told of, for whoever looks for more in the
/// same pass over a text; their owners count from 0.
pub fn entries() -> Vec<Entry> {
    let entry = |(owner, (text, _))| Entry {
        pieces: vec![text],
        anchored: false,
        owner,
    };
    (0..).zip(texts()).map(entry).collect()
}

/// A search for the form of one record.
#[derive(Debug)]
pub struct Search<'a> {
    raw: &'a [u8],
    /// The first rule that holds so far.
    best: usize,
}

impl<'a> Search<'a> {
    /// Begins with the record, whole and as the kernel escapes it.
    pub fn new(raw: &'a [u8]) -> Search<'a> {
        Search { raw, best: RULES.len() }
    }

    /// Takes note of the entry `owner`, found where `at` says.
    #[inline]
    pub fn see(&mut self, at: usize, owner: u32) {
        let (rule, skip) = RULE_OF[owner as usize];
        if rule < self.best && RULES[rule].holds(self.raw, at + skip) {
            self.best = rule;
        }
    }

    /// The form, once the whole text was searched. Where several fit, the
    /// first of the table is it, and those that the record begins with stand
    /// first: what users choose cannot come before them.
    pub fn form(&self) -> &'static str {
        match RULES.get(self.best) {
            Some(Rule { form, .. }) => form,
            None if table::is_task_row(self.raw) => "oom",
            None if table::is_old_task_state(self.raw) => "sched",
            None => "none",
        }
    }
}

/// The form of a record, given whole: the text as `/dev/kmsg` escapes it, or
/// plain text.
pub fn form_of(raw: &[u8]) -> &'static str {
    let mut search = Search::new(raw);
    LITERALS.find(raw, |at, owner| search.see(at, owner));
    search.form()
}

#[cfg(test)]
mod tests;
