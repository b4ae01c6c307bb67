//! The register: one annotation of the Lease for each node that was granted,
//! or waits.
//!
//! The annotation `<node>/faultline` is JSON. The node's name is the key's
//! prefix, since it may be as long and look as a prefix does (a DNS name of
//! up to 253 bytes), and since a policy can then compare it with the node in
//! an agent's token: an agent writes its own annotation and no other. So
//! nobody takes away what is over; everybody reads what it means.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::super::cluster::Lease;
use crate::patterns::set::{Quarantine, Severity};
use crate::time::Timestamp;

/// What follows the node's name in the key of its annotation.
pub const SUFFIX: &str = "/faultline";

/// The API server allows 256 KiB of annotations on one object
/// (apimachinery, `TotalAnnotationSizeLimitB`); new entries end well before.
pub const FULL_BYTES: usize = 240 << 10;

/// Beyond this no node is entered as waiting, so that grants have room.
pub const CROWDED_BYTES: usize = 160 << 10;

/// How many fault ids a grant names; more are on the Node.
pub const FAULTS_MAX: usize = 4;

/// How many earlier grants of its node a grant remembers.
pub const EARLIER_MAX: usize = 8;

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It may patch its Node at `resourceVersion`.
    Granted,
    /// It was granted and its node is back; kept for the rate.
    Released,
    /// It asks.
    Waiting,
}

/// One node's annotation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The node, from the key.
    #[serde(skip)]
    pub node: String,
    /// The Node's uid.
    pub uid: String,
    /// What it says.
    pub state: State,
    /// The Node's version that the grant is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// What was asked for.
    pub how: Quarantine,
    /// The worst fault's severity.
    pub severity: Severity,
    /// The worst fault's pattern.
    pub pattern: String,
    /// The ids of the faults that ask.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// The node's pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Since when quarantine is asked for, by the server's clock.
    pub since: Instant,
    /// When it was granted, or asked last, by the server's clock.
    pub at: Instant,
    /// While waiting: when the nodes were last counted for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Instant>,
    /// While waiting: the room that was counted then for faults as bad as
    /// its own, by place.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub room: BTreeMap<String, usize>,
    /// While waiting: what it waits for ([`super::reason::Reason::tag`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
    /// Grants of this node before this one, as long as the rate counts them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Instant>,
}

/// A time to the second, as RFC 3339: people read the Lease.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Instant(pub Timestamp);

impl From<Instant> for String {
    fn from(instant: Instant) -> String {
        instant.0.to_string()
    }
}

impl TryFrom<String> for Instant {
    type Error = jiff::Error;

    fn try_from(text: String) -> Result<Instant, jiff::Error> {
        let time: jiff::Timestamp = text.parse()?;
        Ok(Instant(Timestamp(time.as_microsecond())))
    }
}

/// What the register holds for one node.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// An entry.
    Entry(Box<Entry>),
    /// Something that this release can't read, of the node with this name.
    /// It counts as a grant while there is such a node.
    Unreadable(String),
}

impl Record {
    /// The node it is about.
    pub fn node(&self) -> &str {
        match self {
            Record::Entry(entry) => &entry.node,
            Record::Unreadable(node) => node,
        }
    }

    /// The entry, if it can be read.
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            Record::Entry(entry) => Some(entry),
            Record::Unreadable(_) => None,
        }
    }
}

/// The key of a node's annotation.
pub fn key(node: &str) -> String {
    format!("{node}{SUFFIX}")
}

/// All records of the Lease, by node.
pub fn records(lease: &Lease) -> Vec<Record> {
    let record = |(key, text): (&str, &str)| {
        let node = key.strip_suffix(SUFFIX)?;
        Some(match serde_json::from_str::<Entry>(text) {
            Ok(entry) => {
                Record::Entry(Box::new(Entry { node: node.into(), ..entry }))
            }
            Err(_) => Record::Unreadable(node.into()),
        })
    };
    lease.annotations().filter_map(record).collect()
}

/// How many bytes of annotations the Lease holds.
pub fn size(lease: &Lease) -> usize {
    lease.annotations().map(|(key, value)| key.len() + value.len()).sum()
}

impl Entry {
    /// The annotation's text.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers only")
    }

    /// When grants of this node were made, the latest first.
    pub fn granted_at(&self) -> impl Iterator<Item = Timestamp> {
        let latest = (self.state != State::Waiting).then_some(self.at);
        let earlier = self.earlier.iter().rev().copied();
        latest.into_iter().chain(earlier).map(|instant| instant.0)
    }

    /// The worst first: severity, then who has waited longest, then the name
    /// so that all agents agree.
    pub fn rank(&self) -> (std::cmp::Reverse<Severity>, Instant, &str) {
        (std::cmp::Reverse(self.severity), self.since, &self.node)
    }

    /// One line for people: what, and why.
    pub fn words(&self) -> String {
        let severity = self.severity.word();
        let mut text = format!("{severity} {}", self.pattern);
        if !self.faults.is_empty() {
            let _ = write!(text, " ({})", self.faults.join(", "));
        }
        text
    }
}

/// Whether version `a` was certainly given before `b`. Versions are opaque
/// where they are no decimal numbers, and then none is before another.
pub fn is_before(a: &str, b: &str) -> bool {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a < b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry() -> Entry {
        Entry {
            node: "n1.example".into(),
            uid: "u1".into(),
            state: State::Granted,
            resource_version: "42".into(),
            how: Quarantine::Taint,
            severity: Severity::Fatal,
            pattern: "memory-uncorrected".into(),
            faults: vec!["0a1b2c3d".into()],
            pool: None,
            since: Instant(Timestamp(1_000_000)),
            at: Instant(Timestamp(2_000_000)),
            counted: None,
            room: BTreeMap::new(),
            on: Vec::new(),
            earlier: vec![Instant(Timestamp(0))],
        }
    }

    #[test]
    fn an_entry_reads_back_as_written() {
        let mut lease = Lease(json!({ "metadata": { "annotations": {
            "faultline.dev/limits": "cluster: {}" } } }));
        lease.annotate(&key("n1.example"), Some(entry().text()));
        assert_eq!(
            records(&lease),
            [Record::Entry(Box::new(entry()))],
            "{lease:?}"
        );
        let times: Vec<i64> = entry().granted_at().map(|t| t.0).collect();
        assert_eq!(times, [2_000_000, 0]);
    }

    #[test]
    fn what_cannot_be_read_is_kept_as_a_record_of_its_node() {
        let lease = Lease(json!({ "metadata": { "annotations": {
            "n2/faultline": "{\"state\":\"of a later release\"}" } } }));
        assert_eq!(records(&lease), [Record::Unreadable("n2".into())]);
    }

    #[test]
    fn the_worst_and_then_the_first_come_first() {
        let fatal = entry();
        let error = Entry { severity: Severity::Error, ..entry() };
        let later = Entry { since: Instant(Timestamp(9_000_000)), ..entry() };
        assert!(fatal.rank() < error.rank());
        assert!(fatal.rank() < later.rank());
        assert!(later.rank() < error.rank());
    }

    #[test]
    fn versions_that_are_no_numbers_have_no_order() {
        assert!(is_before("9", "10"));
        assert!(!is_before("10", "9"));
        assert!(!is_before("a", "b"));
    }
}
