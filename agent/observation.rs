//! Observations: one thing a source saw, and the fields each source has.
//!
//! An observation borrows from the source's buffer, so that a line that
//! matches nothing costs no allocation. The table of fields is what `check`,
//! the schema and the documentation know of a source.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Where observations come from.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Kernel text: `/dev/kmsg`, or the same text through another transport.
    Kmsg,
    /// The systemd journal.
    Journal,
    /// Log files.
    File,
    /// Mounted filesystems, from `/proc/self/mountinfo`.
    Mount,
}

impl Source {
    /// Every source, in the order in which they are listed to people.
    pub const ALL: [Source; 4] =
        [Source::Kmsg, Source::Journal, Source::File, Source::Mount];

    /// The name used in pattern files, metrics and messages.
    pub fn name(self) -> &'static str {
        match self {
            Source::Kmsg => "kmsg",
            Source::Journal => "journal",
            Source::File => "file",
            Source::Mount => "mount",
        }
    }

    /// Whether it tells how something *is* (true) or that something
    /// *happened* (false).
    pub fn is_state(self) -> bool {
        matches!(self, Source::Mount)
    }

    /// The fields its observations have.
    pub fn fields(self) -> &'static [FieldSpec] {
        match self {
            Source::Kmsg => KMSG,
            Source::Journal => JOURNAL,
            Source::File => FILE,
            Source::Mount => MOUNT,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a field holds, and so which matcher it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Bytes; the matcher is a regular expression.
    Text,
    /// One of these words; the matcher is a word or a list of words.
    Word(&'static [&'static str]),
    /// A number; the matcher is a comparison.
    Number,
    /// True or false.
    Flag,
}

/// One field of a source's observations.
#[derive(Clone, Copy, Debug)]
pub struct FieldSpec {
    /// Its name in `where` and in templates.
    pub name: &'static str,
    /// What it holds.
    pub kind: FieldKind,
    /// What it means, in one sentence.
    pub doc: &'static str,
}

/// The kernel's log levels by name, 0 to 7 (include/linux/kern_levels.h).
pub const LEVELS: [&str; 8] =
    ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

const fn text(name: &'static str, doc: &'static str) -> FieldSpec {
    FieldSpec { name, kind: FieldKind::Text, doc }
}

const LEVEL: FieldSpec = FieldSpec {
    name: "level",
    kind: FieldKind::Word(&LEVELS),
    doc: "the log level, emerg to debug",
};

const KMSG: &[FieldSpec] = &[
    text("message", "the message as the kernel printed it, a line at a time"),
    LEVEL,
    text("subsystem", "the record's SUBSYSTEM="),
    text("device", "the record's DEVICE="),
    FieldSpec {
        name: "form",
        kind: FieldKind::Word(crate::forms::NAMES),
        doc: "the kernel's form that carries text chosen by users, or none",
    },
];

const JOURNAL: &[FieldSpec] = &[
    text("message", "the entry's MESSAGE"),
    text("unit", "the systemd unit"),
    text("identifier", "the syslog identifier"),
    LEVEL,
];

const FILE: &[FieldSpec] = &[
    text("message", "the line, without its newline"),
    text("path", "the file it stands in"),
];

const MOUNT: &[FieldSpec] = &[
    text("mountpoint", "where it is mounted"),
    text("device", "what is mounted, without /dev/"),
    text("fstype", "the filesystem's type"),
    FieldSpec {
        name: "readonly",
        kind: FieldKind::Flag,
        doc: "whether the superblock is read-only",
    },
];

/// The value of one field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Bytes as they came.
    Text(&'a [u8]),
    /// A word of the field's list.
    Word(&'a str),
    /// A number.
    Number(f64),
    /// True or false.
    Flag(bool),
}

/// One thing a source saw.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// Which patterns it is held against: kernel text that came through the
    /// journal or a file is `Kmsg` here.
    pub patterns: Source,
    /// When it happened.
    pub time: Timestamp,
    /// Whether `time` is a reconstruction (back-log read after the fact).
    pub approximate: bool,
    /// Whether it was put in by a drill.
    pub injected: bool,
    /// The fields, in any order; absent ones match nothing.
    pub fields: &'a [(&'static str, Value<'a>)],
}

impl<'a> Observation<'a> {
    /// The value of a field, if this observation has it.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        self.fields.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
    }
}
