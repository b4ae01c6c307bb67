//! The matcher: one pass over all patterns, whatever their number.
//!
//! Each expression has skeletons, constant texts in a row, of which every
//! match contains one. They are all looked for in one pass over the line
//! (`prefilter.rs`), and only the expressions whose skeleton was found are
//! tried. A line that matches nothing allocates nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::field_matcher::{Expression, FieldMatcher};
use super::set::{Pattern, SubKey};
use super::shown::{clip, describe, keep, word_values};
use super::skeleton::Skeleton;
use super::template::Template;
use crate::kernel::KernelRecord;
use crate::observation::{
    HISTORY, LEVELS, Observation, SUBJECTS, Source, Value,
};
use crate::parts::ids::PartId;
use crate::prefilter::{Entry, Prefilter};
use crate::signal::{Effect, Event, Signal, Truth, Twin};

/// More errors than this in one line are not believed: the largest count a
/// machine-check bank can hold is 15 bits (MCi_STATUS[52:38]).
const COUNT_MAX: u64 = 1 << 20;

/// What ends the kernel's line about a rate limit (lib/ratelimit.c).
const SUPPRESSED: &[u8] = b" callbacks suppressed";

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
    pub others: Arc<Vec<FieldMatcher>>,
    /// The captures and fields that the pattern's templates use.
    pub names: Arc<BTreeSet<String>>,
    /// The part, in order of preference.
    pub part: Vec<Template>,
    /// The count's template, or its number.
    pub count: Count,
    /// What every match contains; empty tries it on every line.
    pub skeletons: Vec<Skeleton>,
    /// The forms it takes; empty takes only records without user text.
    pub forms: Vec<String>,
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

/// The rules for one sort of text.
#[derive(Default)]
struct Group {
    rules: Vec<Rule>,
    /// Rules without a skeleton.
    always: Vec<u32>,
    /// The rules' skeletons.
    prefilter: Prefilter,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({} rules)", self.rules.len())
    }
}

impl Group {
    /// # Errors
    /// When there are too many literals.
    fn new(mut rules: Vec<Rule>) -> Result<Group, String> {
        let mut entries = Vec::new();
        let mut always = Vec::new();
        for (i, rule) in rules.iter_mut().enumerate() {
            let i = u32::try_from(i).map_err(|_| "too many patterns")?;
            if rule.skeletons.is_empty() {
                always.push(i);
            }
            // The prefilter keeps them from here on.
            for s in std::mem::take(&mut rule.skeletons) {
                let Skeleton { pieces, anchored } = s;
                entries.push(Entry { pieces, anchored, owner: i });
            }
        }
        let prefilter = Prefilter::new(&entries)?;
        rules.shrink_to_fit();
        Ok(Group { rules, always, prefilter })
    }

    /// The rules worth trying on this text, in order, into `scratch`; says
    /// whether there are any.
    fn candidates(&self, text: &[u8], scratch: &mut Scratch) -> bool {
        scratch.candidates.clear();
        scratch.candidates.extend_from_slice(&self.always);
        let candidates = &mut scratch.candidates;
        self.prefilter.find(text, |_, rule| candidates.push(rule));
        if scratch.candidates.len() > 1 {
            scratch.candidates.sort_unstable();
            scratch.candidates.dedup();
        }
        !scratch.candidates.is_empty()
    }
}

/// Buffers that one source's thread reuses from line to line.
#[derive(Debug, Default)]
pub struct Scratch {
    candidates: Vec<u32>,
    /// Leaves out what changes nothing in a running agent: text that is
    /// known to be harmless, where nobody asks whether it is known; proofs
    /// and evidence for faults that cannot be; and all but the number of
    /// notes.
    pub lean: bool,
    /// How many notes of which pattern were only counted; a dozen names.
    notes: Vec<(Arc<str>, u64)>,
}

impl Scratch {
    fn count_note(&mut self, pattern: &Arc<str>) {
        let known = self.notes.iter_mut().find(|(p, _)| p == pattern);
        match known {
            Some((_, count)) => *count += 1,
            None => self.notes.push((Arc::clone(pattern), 1)),
        }
    }

    /// Appends what was only counted since the last time; to be called when
    /// events are sent.
    pub fn take_notes(&mut self, out: &mut Vec<Event>) {
        let notes = self.notes.drain(..);
        out.extend(
            notes.map(|(pattern, count)| Event::Notes { pattern, count }),
        );
    }
}

/// What became of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Taken {
    /// No pattern knows it.
    Nothing,
    /// A `benign` pattern knows it.
    Benign,
    /// At least one pattern took it; the events say which.
    Taken,
}

/// The compiled matchers of a pattern set.
#[derive(Debug, Default)]
pub struct Matcher {
    /// Kernel text without user text, a line at a time.
    kernel: Group,
    /// Kernel text over several lines.
    blocks: Group,
    /// Kernel records of a form that carries user text, whole.
    formed: Group,
    journal: Group,
    file: Group,
    /// The sources that have no text, those of which there are rules.
    others: BTreeMap<Source, Group>,
    /// The pattern whose lines the kernel's rate limit of this function hides.
    callbacks: BTreeMap<String, Arc<str>>,
}

impl Matcher {
    /// Sorts the rules by what they take and enters their literals.
    ///
    /// # Errors
    /// When a set is too large to compile.
    pub fn new(
        rules: Vec<(Source, Rule)>,
        callbacks: BTreeMap<String, Arc<str>>,
    ) -> Result<Matcher, String> {
        let mut kernel = Vec::new();
        let mut blocks = Vec::new();
        let mut formed = Vec::new();
        let (mut journal, mut file) = (vec![], vec![]);
        let mut others: BTreeMap<Source, Vec<Rule>> = BTreeMap::new();
        for (source, rule) in rules {
            match source {
                Source::Kmsg => {
                    let plain = rule.forms.is_empty()
                        || rule.forms.iter().any(|f| f == "none");
                    if rule.forms.iter().any(|f| f != "none") {
                        formed.push(rule.clone());
                    }
                    match (plain, rule.block) {
                        (true, true) => blocks.push(rule),
                        (true, false) => kernel.push(rule),
                        (false, _) => {}
                    }
                }
                Source::Journal => journal.push(rule),
                Source::File => file.push(rule),
                other => others.entry(other).or_default().push(rule),
            }
        }
        let grouped = |(source, rules)| Ok((source, Group::new(rules)?));
        Ok(Matcher {
            kernel: Group::new(kernel)?,
            blocks: Group::new(blocks)?,
            formed: Group::new(formed)?,
            journal: Group::new(journal)?,
            file: Group::new(file)?,
            others: others
                .into_iter()
                .map(grouped)
                .collect::<Result<_, String>>()?,
            callbacks,
        })
    }

    /// Holds an observation of an event source against the patterns and
    /// appends what they make of it to `out`.
    pub fn observe(
        &self,
        observation: &Observation<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<Event>,
    ) -> Taken {
        let group = match observation.patterns {
            Source::Kmsg => &self.kernel,
            Source::Journal => &self.journal,
            Source::File => &self.file,
            other => match self.others.get(&other) {
                Some(group) => group,
                None => return Taken::Nothing,
            },
        };
        let text = match observation.get("message") {
            Some(Value::Text(text)) => text,
            _ => b"",
        };
        if !group.candidates(text, scratch) {
            return Taken::Nothing;
        }
        try_candidates(group, text, observation, scratch, out)
    }

    /// Tells for every state pattern how it finds this observation.
    pub fn observe_state(
        &self,
        observation: &Observation<'_>,
        out: &mut Vec<Event>,
    ) {
        let Some(group) = self.others.get(&observation.patterns) else {
            return;
        };
        for rule in &group.rules {
            let Some(truth) = rule.truth(observation) else { continue };
            if truth == Truth::True {
                rule.pattern.expect();
            }
            let signal = rule.signal(observation, Effect::Open, b"");
            out.push(Event::State(signal, truth));
        }
    }

    /// Holds a record of kernel text against the `kmsg` patterns: each of its
    /// lines, and the whole if it has several; a record with a form only
    /// against the patterns that name the form.
    pub fn observe_kernel(
        &self,
        record: &KernelRecord<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<Event>,
    ) -> Taken {
        if record.form != "none" {
            return self.one(&self.formed, record, record.text, scratch, out);
        }
        let lines = memchr::memchr(b'\n', record.text).is_some();
        if !lines {
            return self.line(record, record.text, scratch, out);
        }
        let mut taken = Taken::Nothing;
        for line in record.text.split(|b| *b == b'\n') {
            taken = taken.max(self.line(record, line, scratch, out));
        }
        taken.max(self.one(&self.blocks, record, record.text, scratch, out))
    }

    fn line(
        &self,
        record: &KernelRecord<'_>,
        line: &[u8],
        scratch: &mut Scratch,
        out: &mut Vec<Event>,
    ) -> Taken {
        if let Some((function, count)) = suppressed(line) {
            // Most names are a function's; ext4 gives its own, with a blank
            // in it.
            let last = function.rsplit([' ', ':']).next().unwrap_or("");
            let known = self.callbacks.get(function);
            return match known.or_else(|| self.callbacks.get(last)) {
                None => Taken::Benign,
                Some(pattern) => {
                    out.push(Event::Suppressed {
                        pattern: pattern.clone(),
                        count,
                        time: record.time,
                        text: clip(line),
                    });
                    Taken::Taken
                }
            };
        }
        self.one(&self.kernel, record, line, scratch, out)
    }

    fn one(
        &self,
        group: &Group,
        record: &KernelRecord<'_>,
        text: &[u8],
        scratch: &mut Scratch,
        out: &mut Vec<Event>,
    ) -> Taken {
        if !group.candidates(text, scratch) {
            return Taken::Nothing; // nearly always
        }
        let level = record.level.and_then(|l| LEVELS.get(usize::from(l)));
        let fields = [
            ("message", Value::Text(text)),
            ("form", Value::Word(record.form)),
            ("subsystem", Value::Text(record.subsystem)),
            ("device", Value::Text(record.device)),
            ("level", Value::Word(level.copied().unwrap_or(""))),
        ];
        let observation = Observation {
            patterns: Source::Kmsg,
            time: record.time,
            approximate: record.approximate,
            injected: record.injected,
            fields: &fields,
        };
        try_candidates(group, text, &observation, scratch, out)
    }
}

/// The function and the number in `NAME: N callbacks suppressed`.
fn suppressed(line: &[u8]) -> Option<(&str, u64)> {
    let head = line.strip_suffix(SUPPRESSED)?;
    let head = std::str::from_utf8(head).ok()?;
    let (function, count) = head.rsplit_once(": ")?;
    Some((function, count.parse().ok()?))
}

/// Tries the candidates of `scratch`.
fn try_candidates(
    group: &Group,
    text: &[u8],
    observation: &Observation<'_>,
    scratch: &mut Scratch,
    out: &mut Vec<Event>,
) -> Taken {
    let first = out.len();
    let mut taken = Taken::Nothing;
    for at in 0..scratch.candidates.len() {
        let rule = &group.rules[scratch.candidates[at] as usize];
        if scratch.lean && rule.changes_nothing() || !rule.holds(observation) {
            continue;
        }
        match rule.effect {
            Some(Effect::Note) if scratch.lean => {
                taken = Taken::Taken;
                scratch.count_note(&rule.pattern.name);
            }
            None => taken = taken.max(Taken::Benign),
            Some(effect) => {
                taken = Taken::Taken;
                let effect = effect.of_its_time(observation);
                // Two wordings of one pattern may both fit: one match.
                let again = out[first..].iter().any(|e| {
                    matches!(e, Event::Match(s) if s.effect == effect
                        && s.pattern == rule.pattern.name)
                });
                if !again {
                    if matches!(effect, Effect::Open | Effect::History) {
                        rule.pattern.expect();
                    }
                    let signal = rule.signal(observation, effect, text);
                    out.push(Event::Match(signal));
                }
            }
        }
    }
    taken
}

impl Rule {
    /// Whether a match would leave every fault of a running agent as it is.
    fn changes_nothing(&self) -> bool {
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
    fn holds(&self, observation: &Observation<'_>) -> bool {
        let message = self.message.as_ref().is_none_or(|expression| {
            matches!(observation.get("message"), Some(Value::Text(text))
                if expression.matches(text))
        });
        message && self.others.iter().all(|m| m.holds(observation))
    }

    /// How a state is found: a matcher that fails makes it false, else a
    /// field that the source could not read makes it unknown. `None` if the
    /// observation is about another kind of thing.
    fn truth(&self, observation: &Observation<'_>) -> Option<Truth> {
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
            if let Some(Value::Text(text)) = observation.get(field)
                && let Some(regex) = expression.regex()
            {
                let mut captures = regex.create_captures();
                regex.captures(text, &mut captures);
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

    fn signal(
        &self,
        observation: &Observation<'_>,
        effect: Effect,
        text: &[u8],
    ) -> Signal {
        let values = self.values(observation);
        let pattern = &self.pattern;
        let part = self.part.iter().find_map(|t| t.fill(&values));
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
    fn of_its_time(self, observation: &Observation<'_>) -> Effect {
        let past = || observation.get(HISTORY) == Some(Value::Flag(true));
        if self == Effect::Open && past() { Effect::History } else { self }
    }
}
