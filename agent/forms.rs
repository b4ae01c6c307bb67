//! The kernel's forms that carry text chosen by users.
//!
//! Facility 0 proves that the kernel printed a record, not that it chose the
//! words: it prints names of programs, files, volumes and devices. A record is
//! held against these forms whole, before any unescaping, and one that has a
//! form is offered only to patterns that name it.

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
];

/// The form of a record, given whole: the text as `/dev/kmsg` escapes it, or
/// plain text.
pub fn form_of(_raw: &[u8]) -> &'static str {
    "none"
}
