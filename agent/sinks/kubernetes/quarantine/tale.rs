//! What people are told of the quarantine, as Events: which words, and which
//! of them are the same news once more.

use super::super::budget::reason::Reason;
use super::super::events::Tale;
use super::{Told, Want};
use crate::hash::fnv1a;
use crate::time::Timestamp;

/// What is told of it.
pub(super) fn tale(told: &Told, want: Option<&Want>, now: Timestamp) -> Tale {
    let asked = |words: &[String]| words.join(", ");
    let pattern = want.map_or("", |want| want.pattern.as_str());
    let (action, note, warning) = match told {
        Told::Quarantined { how, words } => (
            "Quarantined",
            format!("quarantined ({}) for {}", how.word(), asked(words)),
            true,
        ),
        Told::Changed { how, words } => (
            "QuarantineChanged",
            format!("quarantined ({}) for {}", how.word(), asked(words)),
            true,
        ),
        Told::Denied(reasons) => {
            let why: Vec<String> =
                reasons.iter().map(ToString::to_string).collect();
            let why = why.join("; ");
            let note = format!("{pattern} asks for quarantine; denied: {why}");
            ("QuarantineDenied", note, true)
        }
        Told::Released(why) => (
            "Released",
            format!("the quarantine is taken off: {}", why.words()),
            false,
        ),
        Told::Ignored { until, text } => {
            let until = until.map_or("the annotation goes".into(), |until| {
                until.to_string()
            });
            let note = format!(
                "{pattern} asks for quarantine; faultline.dev/ignore holds it \
                 back until {until} ({text})"
            );
            ("QuarantineIgnored", note, true)
        }
        Told::Overridden(until) => (
            "QuarantineOverridden",
            format!(
                "somebody took the quarantine off; respected until {until}, \
                 or until a fatal fault is seen again"
            ),
            true,
        ),
        Told::Refused(why) => (
            "QuarantineRefused",
            format!("the API server refuses the quarantine: {why}"),
            true,
        ),
    };
    let same = fnv1a(same_news(told).as_bytes());
    let key = format!("quarantine {action} {pattern} {same:x}");
    event(action, note, warning, key, now)
}

/// What two of a kind have in common where the second is no news, and is only
/// counted on the first one's Event: its note can't be changed.
fn same_news(told: &Told) -> String {
    match told {
        Told::Quarantined { how, words } | Told::Changed { how, words } => {
            format!("{} {}", how.word(), words.join(", "))
        }
        Told::Denied(reasons) => {
            let tags: Vec<String> = reasons.iter().map(Reason::tag).collect();
            tags.join(" ")
        }
        Told::Released(why) => why.words().to_owned(),
        Told::Ignored { text, .. } => text.clone(),
        Told::Refused(why) => why.clone(),
        Told::Overridden(_) => String::new(),
    }
}

/// An Event about the quarantine.
pub(super) fn event(
    action: &str,
    note: String,
    warning: bool,
    key: String,
    time: Timestamp,
) -> Tale {
    let (reason, action) = ("Quarantine".to_owned(), action.to_owned());
    Tale { time, reason, action, note, warning, key }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patterns::set::Quarantine;

    #[test]
    fn another_reason_and_another_part_are_another_event() {
        let key = |told: &Told| tale(told, None, Timestamp::default()).key;
        let no_lease = Told::Denied(vec![Reason::NoLease]);
        let nonsense =
            |why: &str| Told::Denied(vec![Reason::NoLimits(why.to_owned())]);
        assert_ne!(key(&no_lease), key(&nonsense("a")));
        assert_eq!(key(&nonsense("a")), key(&nonsense("a")));
        let quarantined = |part: &str| {
            let words = vec![part.to_owned()];
            Told::Quarantined { how: Quarantine::Taint, words }
        };
        assert_ne!(key(&quarantined("fan/1")), key(&quarantined("fan/2")));
        assert_eq!(key(&quarantined("fan/1")), key(&quarantined("fan/1")));
    }
}
