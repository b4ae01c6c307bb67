//! The faults of a node as an annotation of it tells them: a condition names
//! parts in words for people, and whoever looks at a whole cluster wants
//! severity, part and age of each. Written in the same patch as the
//! conditions, so it costs no request. Pure.

use serde::{Deserialize, Serialize};

use crate::patterns::set::Severity;
use crate::sinks::board::Named;

/// The annotation.
pub const FAULTS: &str = "faultline.dev/faults";

/// How many faults it names; a node with more is as broken.
pub const FAULTS_MAX: usize = 16;

/// The longest name of a part there.
const PART_MAX: usize = 160;

/// What the annotation says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listed {
    /// The faults, the worst first.
    pub faults: Vec<OneFault>,
    /// How many more there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub more: usize,
}

/// One fault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OneFault {
    /// Its id.
    pub id: String,
    /// Its pattern.
    pub pattern: String,
    /// What people call its part.
    pub part: String,
    /// `info`, `warning`, `error` or `fatal`.
    pub severity: String,
    /// Since when it holds, as RFC 3339.
    pub since: String,
    /// Its condition type.
    pub condition: String,
}

/// Whether a count is left out of what is written.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
pub(super) fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Listed {
    /// Reads what a Node carries; nonsense says nothing.
    pub fn parse(text: &str) -> Option<Listed> {
        serde_json::from_str(text).ok()
    }
}

/// The annotation's text; `None`: no fault is to be told.
pub fn text(faults: &[Named]) -> Option<String> {
    let told = |f: &&Named| f.told && f.severity > Severity::Info;
    let mut told: Vec<&Named> = faults.iter().filter(told).collect();
    if told.is_empty() {
        return None;
    }
    told.sort_by(|a, b| {
        let age = |f: &Named| (f.opened, f.id.clone());
        b.severity.cmp(&a.severity).then_with(|| age(a).cmp(&age(b)))
    });
    let more = told.len().saturating_sub(FAULTS_MAX);
    let faults = told.into_iter().take(FAULTS_MAX).map(one).collect();
    let listed = Listed { faults, more };
    Some(serde_json::to_string(&listed).expect("strings and a number only"))
}

fn one(fault: &Named) -> OneFault {
    let mut part = fault.part.clone();
    part.truncate(part.floor_char_boundary(PART_MAX));
    OneFault {
        id: fault.id.clone(),
        pattern: fault.pattern.to_string(),
        part,
        severity: fault.severity.word().to_owned(),
        since: fault.opened.map_or_else(String::new, |at| at.to_string()),
        condition: fault.condition.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn named(i: i64, severity: Severity, told: bool) -> Named {
        Named {
            id: format!("{i:08x}"),
            pattern: "disk-medium".into(),
            part: format!("disk/sd{i}"),
            component: "disk".into(),
            condition: "DiskFault".into(),
            severity,
            opened: Some(Timestamp(i * 1_000_000)),
            told,
        }
    }

    #[test]
    fn the_worst_and_oldest_stand_first_and_the_rest_is_counted() {
        let mut faults: Vec<Named> =
            (0..20).map(|i| named(i, Severity::Warning, true)).collect();
        faults.push(named(30, Severity::Fatal, true));
        faults.push(named(40, Severity::Fatal, false));
        faults.push(named(50, Severity::Info, true));
        let listed = Listed::parse(&text(&faults).unwrap()).unwrap();
        assert_eq!(listed.faults.len(), FAULTS_MAX);
        assert_eq!(listed.more, 5);
        assert_eq!(listed.faults[0].part, "disk/sd30");
        assert_eq!(listed.faults[1].part, "disk/sd0");
        assert_eq!(listed.faults[1].since, "1970-01-01T00:00:00Z");
    }

    #[test]
    fn what_is_only_observed_is_not_told() {
        assert_eq!(text(&[named(1, Severity::Fatal, false)]), None);
        assert_eq!(text(&[]), None);
        assert_eq!(Listed::parse("nonsense"), None);
    }
}
