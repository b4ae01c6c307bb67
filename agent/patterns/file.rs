//! What a pattern file says, before anything is checked: the YAML's shape.
//!
//! `compile` is the only way from here to a [`super::set::PatternSet`]. The
//! doc comments are the descriptions in the published JSON Schema.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::located::At;
use super::set::{Quarantine, Severity, Stage};
use crate::observation::Source;

/// A pattern file: the failures of one component.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PatternFile {
    /// The version of the language: 1.
    pub version: At<u32>,
    /// The component group, the default for every pattern of the file.
    pub component: Option<At<String>>,
    /// The patterns.
    #[serde(default)]
    pub patterns: Vec<At<RawPattern>>,
    /// Lines with times, and the exact sets of faults they give.
    #[serde(default)]
    pub scenarios: Vec<At<RawScenario>>,
}

/// One pattern: what text or reading means that which part has failed.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawPattern {
    /// Lower-case letters, digits and dashes; unique over all files.
    pub name: At<String>,
    /// Switches the pattern of this name off; nothing else is needed then.
    #[serde(default)]
    pub disabled: bool,
    /// The component group; default: the file's.
    pub component: Option<At<String>>,
    /// One sentence for people; a template.
    pub summary: Option<At<String>>,
    /// How bad it is; info never opens a fault.
    pub severity: Option<Severity>,
    /// The source whose observations it takes.
    pub source: Option<At<Source>>,
    /// A matcher for each field; all must hold.
    #[serde(default, rename = "where")]
    pub matchers: BTreeMap<String, At<RawMatcher>>,
    /// The part, `kind/{capture}`, or a list of which the first that resolves
    /// is used.
    pub part: Option<At<OneOrMany>>,
    /// Further parts for the technician to look at.
    pub suspects: Option<At<OneOrMany>>,
    /// How many errors a match stands for: "{capture}" or a number; 0 makes
    /// the line evidence.
    pub count: Option<At<RawCount>>,
    /// `none`, `N in T`, or `N in T, once per T`; the last two may go on with
    /// `, same: TEMPLATE` or `, distinct: TEMPLATE`.
    pub tolerate: Option<At<String>>,
    /// Tolerates for each rendered value apart.
    pub same: Option<At<String>>,
    /// Tolerates so many different rendered values.
    pub distinct: Option<At<String>>,
    /// State sources: how long `where` must hold.
    pub lasting: Option<At<String>>,
    /// The proofs; the first to complete ends the fault.
    pub clear: Option<At<Vec<At<RawProof>>>>,
    /// How long the fault is on probation after a proof by silence.
    pub probation: Option<At<String>>,
    /// What makes it worse.
    #[serde(default)]
    pub escalate: Vec<At<RawEscalation>>,
    /// Patterns whose faults on the same part, or below it, this one explains.
    #[serde(default)]
    pub suppresses: Vec<At<String>>,
    /// Sources that tell the same errors better: while one of them reads,
    /// what this pattern takes is evidence and counts nothing.
    #[serde(default)]
    pub yields: Vec<At<Source>>,
    /// How long a suppressible fault waits for its cause.
    pub settle: Option<At<String>>,
    /// Function names of the kernel's "callbacks suppressed" lines that hide
    /// matches of this pattern.
    #[serde(default)]
    pub callbacks: Vec<At<String>>,
    /// The text tells of the past.
    #[serde(default)]
    pub history: bool,
    /// Known to be harmless.
    #[serde(default)]
    pub benign: bool,
    /// Takes only kernel lines that no other pattern knows.
    #[serde(default)]
    pub fallback: bool,
    /// What is done while it holds.
    pub then: Option<At<RawThen>>,
    /// How far its faults may go.
    pub stage: Option<Stage>,
    /// The share of nodes it applies to, such as `5 %`.
    pub rollout: Option<At<String>>,
    /// What the technician does; a template.
    pub advice: Option<At<String>>,
    /// `file.md#anchor` of its runbook.
    pub runbook: Option<At<String>>,
    /// The pattern's own tests.
    #[serde(default)]
    pub examples: Vec<At<RawExample>>,
}

/// What is done while a fault holds.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawThen {
    /// The Node condition that reports it.
    pub condition: Option<At<String>>,
    /// What keeps new work off the node.
    pub quarantine: Option<Quarantine>,
}

/// One proof.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawProof {
    /// An observation about the same part that tells of its recovery.
    Recovered(RawRecovered),
    /// State sources: `where` has not held for this long.
    Normal(String),
    /// Nothing was seen for this long while the source was up.
    Quiet(String),
    /// A new boot, then nothing for this long.
    Reboot(String),
    /// Another serial number in the same place.
    Replaced,
}

/// The observation that tells of a recovery.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawRecovered {
    /// Its source; default: the pattern's.
    pub source: Option<At<Source>>,
    /// A matcher for each field; all must hold.
    #[serde(rename = "where")]
    pub matchers: BTreeMap<String, At<RawMatcher>>,
    /// The part; default: the pattern's.
    pub part: Option<At<OneOrMany>>,
    /// How long the recovery must hold.
    pub hold: Option<At<String>>,
}

/// One escalation.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawEscalation {
    /// When it applies; all that is written must hold.
    #[serde(rename = "if")]
    pub when: RawIf,
    /// The severity while it does.
    pub severity: Option<Severity>,
    /// `{parent}` files one fault on the common parent.
    pub part: Option<At<String>>,
    /// The quarantine while it applies.
    pub then: Option<At<RawThen>>,
}

/// The conditions of an escalation.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawIf {
    /// So many of this pattern's faults are active or recovering.
    pub parts: Option<u32>,
    /// With `parts`: only those that share this rendered parent.
    pub under: Option<At<String>>,
    /// So many errors since opening.
    pub count: Option<u64>,
    /// Active for so long.
    pub lasting: Option<At<String>>,
    /// So many reopenings in 30 days.
    pub relapses: Option<u32>,
}

/// One example: an observation and what it gives.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawExample {
    /// A line of text, as the source presents it.
    pub line: Option<String>,
    /// Further fields of the observation.
    #[serde(default)]
    pub fields: BTreeMap<String, RawMatcher>,
    /// The fields of an observation of a source that has no text.
    #[serde(default)]
    pub observation: BTreeMap<String, RawMatcher>,
    /// A record of a BMC's event log (source `ipmi-sel`): 16 bytes in
    /// hexadecimal. Fields of `observation` take the place of its own.
    pub sel: Option<String>,
    /// What it gives.
    pub gives: RawGives,
}

/// What an example gives.
#[derive(Clone, Debug)]
pub enum RawGives {
    /// No pattern opens a fault on it.
    Nothing,
    /// This pattern takes it.
    Match {
        /// The part it is filed under.
        part: Option<String>,
        /// How many errors it counts.
        count: Option<u64>,
        /// It is a proof rather than a fault.
        proof: Option<String>,
    },
}

/// A scenario: lines with times, and the exact sets of faults.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawScenario {
    /// Its name.
    pub name: String,
    /// What happens, in order.
    pub lines: Vec<RawStep>,
    /// Every fault that was raised, as `pattern part`.
    #[serde(default)]
    pub raised: Vec<String>,
    /// Every fault that was explained by another.
    #[serde(default)]
    pub explained: Vec<String>,
    /// Every fault that was cleared, with its proof.
    #[serde(default)]
    pub cleared: BTreeMap<String, String>,
}

/// One step of a scenario.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawStep {
    /// When, from the scenario's beginning.
    pub at: At<String>,
    /// A line of kernel text.
    pub line: Option<String>,
    /// The source of an `observation`.
    pub source: Option<Source>,
    /// The fields of an observation of that source.
    #[serde(default)]
    pub observation: BTreeMap<String, RawMatcher>,
    /// A record of a BMC's event log: 16 bytes in hexadecimal. Fields of
    /// `observation` take the place of its own.
    pub sel: Option<String>,
    /// The machine boots again.
    #[serde(default)]
    pub boot: bool,
}

/// A string, or a list of strings.
#[derive(Clone, Debug)]
pub struct OneOrMany(pub Vec<String>);

/// A field's matcher as written.
#[derive(Clone, Debug, PartialEq)]
pub enum RawMatcher {
    /// A regular expression, a word or a comparison.
    Text(String),
    /// Words of which any may hold.
    List(Vec<String>),
    /// True or false.
    Flag(bool),
    /// A number.
    Number(f64),
}

/// `count` as written.
#[derive(Clone, Debug)]
pub enum RawCount {
    /// A number.
    Number(u64),
    /// A template.
    Text(String),
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = OneOrMany;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }
            fn visit_str<E: de::Error>(self, s: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![s.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> Result<OneOrMany, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = seq.next_element()? {
                    all.push(one);
                }
                Ok(OneOrMany(all))
            }
        }
        d.deserialize_any(V)
    }
}

impl<'de> Deserialize<'de> for RawMatcher {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = RawMatcher;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a regular expression, a word, a list or a flag")
            }
            fn visit_str<E: de::Error>(self, s: &str) -> Result<RawMatcher, E> {
                Ok(RawMatcher::Text(s.to_owned()))
            }
            fn visit_bool<E: de::Error>(
                self,
                b: bool,
            ) -> Result<RawMatcher, E> {
                Ok(RawMatcher::Flag(b))
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<RawMatcher, E> {
                Ok(RawMatcher::Number(n as f64))
            }
            fn visit_i64<E: de::Error>(self, n: i64) -> Result<RawMatcher, E> {
                Ok(RawMatcher::Number(n as f64))
            }
            fn visit_f64<E: de::Error>(self, n: f64) -> Result<RawMatcher, E> {
                Ok(RawMatcher::Number(n))
            }
            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> Result<RawMatcher, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = seq.next_element()? {
                    all.push(one);
                }
                Ok(RawMatcher::List(all))
            }
        }
        d.deserialize_any(V)
    }
}

impl<'de> Deserialize<'de> for RawCount {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = RawCount;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a template such as \"{count}\"")
            }
            fn visit_str<E: de::Error>(self, s: &str) -> Result<RawCount, E> {
                Ok(RawCount::Text(s.to_owned()))
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<RawCount, E> {
                Ok(RawCount::Number(n))
            }
            fn visit_i64<E: de::Error>(self, n: i64) -> Result<RawCount, E> {
                u64::try_from(n).map(RawCount::Number).map_err(|_| {
                    de::Error::custom("a count cannot be negative")
                })
            }
        }
        d.deserialize_any(V)
    }
}

impl<'de> Deserialize<'de> for RawGives {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = RawGives;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`nothing` or { part, count, proof }")
            }
            fn visit_str<E: de::Error>(self, s: &str) -> Result<RawGives, E> {
                match s {
                    "nothing" => Ok(RawGives::Nothing),
                    _ => Err(de::Error::unknown_variant(s, &["nothing"])),
                }
            }
            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<RawGives, A::Error> {
                const KEYS: &[&str] = &["part", "count", "proof"];
                let (mut part, mut count, mut proof) = (None, None, None);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "part" => part = Some(map.next_value()?),
                        "count" => count = Some(map.next_value()?),
                        "proof" => proof = Some(map.next_value()?),
                        _ => return Err(de::Error::unknown_field(&key, KEYS)),
                    }
                }
                Ok(RawGives::Match { part, count, proof })
            }
        }
        d.deserialize_any(V)
    }
}

/// The published JSON Schema of a pattern file.
pub const SCHEMA: &str = include_str!("../../patterns/schema.json");

/// What makes it of the types above is in the tests alone: it would take a
/// hundredth of the program.
#[cfg(test)]
#[path = "file_schema.rs"]
mod schema;
