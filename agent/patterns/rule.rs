//! One way in which a pattern takes an observation, and what it makes of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::field_matcher::{Expression, FieldMatcher};
use super::names::Names;
use super::set::{Pattern, SubKey};
use super::shown::{clip, describe, keep, word_values};
use super::template::Template;
use crate::observation::{HISTORY, Observation, SUBJECTS, Value};
use crate::parts::ids::PartId;
use crate::signal::{Effect, Signal, Truth, Twin};

/// More errors than this in one line are not believed: the largest count a
/// machine-check bank can hold is 15 bits (MCi_STATUS[52:38]).
pub(super) const COUNT_MAX: u64 = 1 << 20;

/// One way in which a pattern takes an observation: its own `where`, or that
/// of one of its `recovered` proofs.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The pattern.
    pub pattern: Arc<Pattern>,
    /// What a match means; `None` for a benign pattern.
    pub effect: Option<Effect>,
    /// What `message` must match.
    pub message: Option<Arc<Expression>>,
    /// The matchers of the other fields; all must hold.
    pub others: Arc<[FieldMatcher]>,
    /// The captures and fields that the pattern's templates use.
    pub names: Names,
    /// The part, in order of preference; `None` as the pattern has it.
    pub part: Option<Arc<[Template]>>,
    /// The count's template, or its number.
    pub count: Count,
    /// Where what every match contains stands among the skeletons of the set
    /// while it is compiled; empty tries it on every line.
    pub skeletons: Range<u32>,
    /// Whether it takes records without user text.
    pub plain: bool,
    /// Whether it takes records of a form that carries user text.
    pub formed: bool,
    /// Whether its expression spans lines.
    pub block: bool,
}

/// How many errors one match stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Count {
    /// Always so many.
    Fixed(u64),
    /// What this capture says, or 1 if it says nothing.
    Captured(Template),
}

impl Rule {
    /// Whether a match would leave every fault of a running agent as it is.
    pub(super) fn changes_nothing(&self) -> bool {
        match self.effect {
            None => true,
            Some(Effect::Proof(_)) => {
                !self.pattern.seen.load(Ordering::Relaxed)
            }
            Some(Effect::Evidence) => {
                !self.pattern.component_seen.load(Ordering::Relaxed)
            }
            Some(Effect::Open | Effect::History | Effect::Note) => false,
        }
    }

    /// Whether all matchers hold, without keeping captures: the cheap test
    /// that nearly always says no.
    pub(super) fn holds(&self, observation: &Observation<'_>) -> bool {
        let message = self.message.as_ref().is_none_or(|expression| {
            matches!(observation.get("message"), Some(Value::Text(text))
                if expression.matches(text))
        });
        message && self.others.iter().all(|m| m.holds(observation))
    }

    /// Its expressions.
    pub(super) fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let others = self.others.iter().filter_map(|matcher| match matcher {
            FieldMatcher::Expression(_, expression) => Some(expression),
            _ => None,
        });
        self.message.as_deref().into_iter().chain(others)
    }

    /// How a state is found: a matcher that fails makes it false, else a
    /// field that the source could not read makes it unknown. `None` if the
    /// observation is about another kind of thing.
    pub(super) fn truth(&self, observation: &Observation<'_>) -> Option<Truth> {
        let failed = |m: &&FieldMatcher| {
            observation.get(m.field()).is_some() && !m.holds(observation)
        };
        let mut failed = self.others.iter().filter(failed).peekable();
        if failed.peek().is_some() {
            let is_subject = |m: &FieldMatcher| SUBJECTS.contains(&m.field());
            return (!failed.any(is_subject)).then_some(Truth::False);
        }
        let read = |m: &FieldMatcher| observation.get(m.field()).is_some();
        let all = self.others.iter().all(read);
        Some(if all { Truth::True } else { Truth::Unknown })
    }

    /// Everything that templates may use.
    fn values(
        &self,
        observation: &Observation<'_>,
    ) -> BTreeMap<String, String> {
        let mut values = word_values(observation, |n| self.names.contains(n));
        let mut capture = |field: &str, expression: &Expression| {
            let Some(Value::Text(text)) = observation.get(field) else {
                return;
            };
            let captures = expression.with(|regex| {
                let mut captures = regex.create_captures();
                regex.captures(text, &mut captures);
                captures
            });
            if let Some(captures) = captures {
                keep(&captures, text, &self.names, &mut values);
            }
        };
        if let Some(expression) = &self.message {
            capture("message", expression);
        }
        for matcher in self.others.iter() {
            if let FieldMatcher::Expression(field, expression) = matcher {
                capture(field, expression);
            }
        }
        values
    }

    pub(super) fn signal(
        &self,
        observation: &Observation<'_>,
        effect: Effect,
        text: &[u8],
    ) -> Signal {
        let values = self.values(observation);
        let pattern = &self.pattern;
        let part = self.part.as_deref().unwrap_or(&pattern.part);
        let part = part.iter().find_map(|t| t.fill(&values));
        let part =
            part.unwrap_or_else(|| format!("node/{}", pattern.component));
        let fill = |t: &Template| t.fill(&values);
        let count = match &self.count {
            Count::Fixed(n) => *n,
            Count::Captured(t) => fill(t)
                .and_then(|n| n.trim().parse().ok())
                .map_or(1, |n: u64| n.min(COUNT_MAX)),
        };
        let value = match &pattern.sub_key {
            SubKey::None => None,
            SubKey::Same(t) | SubKey::Distinct(t) => fill(t),
        };
        let parent = |e: &super::set::Escalation| {
            e.when.under.as_ref().and_then(fill).map(|p| PartId::new(&p))
        };
        let suspects = pattern.suspects.iter().filter_map(fill);
        let part = PartId::new(&part);
        Signal {
            twin: Twin::of(observation, &part),
            pattern: pattern.name.clone(),
            effect,
            part,
            suspects: suspects.map(|p| PartId::new(&p)).collect(),
            count,
            value,
            parents: pattern.escalate.iter().map(parent).collect(),
            time: observation.time,
            approximate: observation.approximate,
            injected: observation.injected,
            captures: values,
            text: match text {
                b"" => clip(describe(observation).as_bytes()),
                text => clip(text),
            },
        }
    }
}

impl Effect {
    /// What opens a fault is history if it happened before this boot.
    pub(super) fn of_its_time(self, observation: &Observation<'_>) -> Effect {
        let past = || observation.get(HISTORY) == Some(Value::Flag(true));
        if self == Effect::Open && past() { Effect::History } else { self }
    }
}
