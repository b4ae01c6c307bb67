//! Observations: one thing a source saw, and the fields each source has.
//!
//! An observation borrows from the source's buffer, so that a line that
//! matches nothing costs no allocation. The table of fields is what `check`,
//! the schema and the documentation know of a source.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

pub mod bmc;
mod fields;

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
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Kernel text: `/dev/kmsg`, or the same text through another transport.
    Kmsg,
    /// The systemd journal.
    Journal,
    /// Log files.
    File,
    /// Machine checks, from their registers.
    Mce,
    /// Memory errors that the kernel's EDAC drivers count and decode.
    Edac,
    /// PCIe errors (Advanced Error Reporting).
    Aer,
    /// Disks: their state, their own health logs.
    Disk,
    /// Mounted filesystems, from `/proc/self/mountinfo`.
    Mount,
    /// Software RAID arrays and their members.
    Raid,
    /// PCIe links: their width and speed against what both ends can do.
    Pcie,
    /// The node as a whole: memory taken out of use, throttling, CPUs.
    Host,
    /// Sensors of the BMC: temperatures, fans, supplies, states.
    IpmiSensor,
    /// The BMC's event log.
    IpmiSel,
    /// Sensors that the kernel has drivers for.
    Hwmon,
    /// The census of parts.
    Inventory,
}

impl Source {
    /// Every source, in the order in which they are listed to people.
    pub const ALL: [Source; 15] = [
        Source::Kmsg,
        Source::Journal,
        Source::File,
        Source::Mce,
        Source::Edac,
        Source::Aer,
        Source::Disk,
        Source::Mount,
        Source::Raid,
        Source::Pcie,
        Source::Host,
        Source::IpmiSensor,
        Source::IpmiSel,
        Source::Hwmon,
        Source::Inventory,
    ];

    /// The name used in pattern files, metrics and messages.
    pub fn name(self) -> &'static str {
        match self {
            Source::Kmsg => "kmsg",
            Source::Journal => "journal",
            Source::File => "file",
            Source::Mce => "mce",
            Source::Edac => "edac",
            Source::Aer => "aer",
            Source::Disk => "disk",
            Source::Mount => "mount",
            Source::Raid => "raid",
            Source::Pcie => "pcie",
            Source::Host => "host",
            Source::IpmiSensor => "ipmi-sensor",
            Source::IpmiSel => "ipmi-sel",
            Source::Hwmon => "hwmon",
            Source::Inventory => "inventory",
        }
    }

    /// Whether it tells how something *is* (true) or that something
    /// *happened* (false).
    pub fn is_state(self) -> bool {
        match self {
            Source::Kmsg
            | Source::Journal
            | Source::File
            | Source::Mce
            | Source::Edac
            | Source::Aer
            | Source::IpmiSel => false,
            Source::Disk
            | Source::Mount
            | Source::Raid
            | Source::Pcie
            | Source::Host
            | Source::IpmiSensor
            | Source::Hwmon
            | Source::Inventory => true,
        }
    }

    /// The fields its observations have.
    pub fn fields(self) -> &'static [FieldSpec] {
        fields::of(self)
    }

    /// The field of that name.
    pub fn field(self, name: &str) -> Option<&'static FieldSpec> {
        self.fields().iter().find(|spec| spec.name == name)
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

/// The fields that say what an observation of a state source is about, where
/// a source tells of things of several kinds: a pattern that names another
/// kind has nothing to say of it.
pub const SUBJECTS: [&str; 3] = ["kind", "type", "entity"];

/// The field by which an event source says that what it saw happened before
/// the present boot.
pub const HISTORY: &str = "history";

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
    /// The fields, in any order; absent ones match nothing. A word that
    /// stands here several times is all of them: the states of a sensor.
    pub fields: &'a [(&'static str, Value<'a>)],
}

impl<'a> Observation<'a> {
    /// The value of a field, if this observation has it; the first of
    /// several.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        self.fields.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
    }
}
