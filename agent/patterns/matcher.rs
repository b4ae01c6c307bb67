//! The matcher: one pass over all patterns, whatever their number.
//!
//! Each expression has skeletons, constant texts in a row, of which every
//! match contains one. They are all looked for in one pass over the line
//! (`prefilter.rs`), and only the expressions whose skeleton was found are
//! tried. A line that matches nothing allocates nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::field_matcher::Expression;
use super::group::Group;
use super::lately::{Gave, Key, Lately};
use super::rule::Rule;
use super::shown::clip;
use super::skeleton::Skeletons;
use crate::forms;
use crate::kernel::KernelRecord;
use crate::observation::{LEVELS, Observation, Source, Value};
use crate::signal::{Effect, Event, Truth};

/// What ends the kernel's line about a rate limit (lib/ratelimit.c).
const SUPPRESSED: &[u8] = b" callbacks suppressed";

/// Buffers that one source's thread reuses from line to line.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) candidates: Vec<u32>,
    /// Leaves out what changes nothing in a running agent: text that is
    /// known to be harmless, where nobody asks whether it is known; proofs
    /// and evidence for faults that cannot be; and all but the number of
    /// notes.
    pub lean: bool,
    /// Lines that came lately, while `lean`, and gave nothing but notes.
    lately: Lately,
    /// How many notes of which pattern were only counted; a dozen names,
    /// each at its place for ever.
    notes: Vec<(Arc<str>, u64)>,
    /// What the line at hand has given in notes.
    noted: Gave,
}

impl Scratch {
    fn count_note(&mut self, pattern: &Arc<str>) {
        let known = self.notes.iter().position(|(p, _)| p == pattern);
        let at = known.unwrap_or_else(|| {
            self.notes.push((Arc::clone(pattern), 0));
            self.notes.len() - 1
        });
        self.notes[at].1 += 1;
        self.noted = self.noted.and_note(at);
    }

    /// Appends what was only counted since the last time; to be called when
    /// events are sent.
    pub fn take_notes(&mut self, out: &mut Vec<Event>) {
        let counted = self.notes.iter_mut().filter(|(_, count)| *count > 0);
        out.extend(counted.map(|(pattern, count)| Event::Notes {
            pattern: Arc::clone(pattern),
            count: std::mem::take(count),
        }));
    }
}

/// What became of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Taken {
    /// No pattern knows it.
    Nothing,
    /// A `fallback` pattern knows whose it is, but not what it says.
    Fallback,
    /// A `benign` pattern knows it.
    Benign,
    /// At least one pattern took it; the events say which.
    Taken,
}

impl Taken {
    /// Whether nobody knows what it says.
    pub fn is_unexplained(self) -> bool {
        matches!(self, Taken::Nothing | Taken::Fallback)
    }
}

/// The compiled matchers of a pattern set.
#[derive(Debug, Default)]
pub struct Matcher {
    /// Kernel text without user text, a line at a time; beside it the forms,
    /// which are looked for in the same pass.
    kernel: Group,
    /// Rules of benign patterns for the same text. They say what healthy
    /// kernels say, so they are apart: a running agent has no use for them
    /// but where a line looks like trouble.
    benign: Group,
    /// Rules for lines of which no other rule and no benign one knows
    /// anything. They are as wide as a driver, so they too are asked only
    /// where a line looks like trouble.
    fallback: Group,
    /// Kernel text over several lines.
    blocks: Group,
    /// Kernel records of a form that carries user text, whole.
    formed: Group,
    journal: Group,
    file: Group,
    /// The sources that have no text, those of which there are rules.
    others: BTreeMap<Source, Group>,
    /// The patterns whose lines the kernel's rate limit of this function
    /// hides.
    callbacks: BTreeMap<String, Arc<[Arc<str>]>>,
    /// Under which lines are remembered.
    key: Key,
    /// How many patterns may have faults by now: what a line gave when there
    /// were fewer is forgotten.
    expected: Arc<AtomicU64>,
}

impl Matcher {
    /// Lets go of the compiled expressions that were not needed since the
    /// last call; how many those were.
    pub fn forget_unused(&self) -> usize {
        let texts = [
            &self.kernel,
            &self.benign,
            &self.fallback,
            &self.blocks,
            &self.formed,
            &self.journal,
            &self.file,
        ];
        let groups = texts.into_iter().chain(self.others.values());
        let rules = groups.flat_map(|group| &group.rules);
        let mut all: Vec<&Expression> =
            rules.flat_map(Rule::expressions).collect();
        // Rules share some, and each is asked once.
        all.sort_unstable_by_key(|expression| std::ptr::from_ref(*expression));
        all.dedup_by(|a, b| std::ptr::eq(*a, *b));
        all.into_iter().filter(|expression| expression.forget()).count()
    }

    /// Sorts the rules by what they take and enters their literals.
    ///
    /// # Errors
    /// When a set is too large to compile.
    pub fn new(
        rules: Vec<(Source, Rule)>,
        callbacks: BTreeMap<String, Arc<[Arc<str>]>>,
        texts: &Skeletons,
    ) -> Result<Matcher, String> {
        let expected = rules.first().map(|(_, rule)| &rule.pattern.expected);
        let expected = expected.cloned().unwrap_or_default();
        let (mut kernel, mut benign) = (Vec::new(), Vec::new());
        let (mut blocks, mut fallback) = (Vec::new(), Vec::new());
        let mut formed = Vec::new();
        let (mut journal, mut file) = (vec![], vec![]);
        let mut others: BTreeMap<Source, Vec<Rule>> = BTreeMap::new();
        for (source, rule) in rules {
            match source {
                Source::Kmsg => {
                    // Who knows no text can't tell a user's from a driver's.
                    if rule.formed && !rule.pattern.fallback {
                        formed.push(rule.clone());
                    }
                    match (rule.plain, rule.block) {
                        (true, true) => blocks.push(rule),
                        (true, false) if rule.effect.is_none() => {
                            benign.push(rule);
                        }
                        (true, false) if rule.pattern.fallback => {
                            fallback.push(rule);
                        }
                        (true, false) => kernel.push(rule),
                        (false, _) => {}
                    }
                }
                Source::Journal => journal.push(rule),
                Source::File => file.push(rule),
                other => others.entry(other).or_default().push(rule),
            }
        }
        let group = |rules| Group::new(rules, texts);
        let grouped = |(source, rules)| Ok((source, group(rules)?));
        let others = others.into_iter().map(grouped);
        Ok(Matcher {
            kernel: Group::beside(forms::entries(), kernel, texts)?,
            benign: group(benign)?,
            fallback: group(fallback)?,
            blocks: group(blocks)?,
            formed: group(formed)?,
            journal: group(journal)?,
            file: group(file)?,
            others: others.collect::<Result<_, String>>()?,
            callbacks,
            key: Key::default(),
            expected,
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
        let kernel = observation.patterns == Source::Kmsg;
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
        let mut among = |group: &Group| match group.candidates(text, scratch) {
            true => try_candidates(group, text, observation, scratch, out),
            false => Taken::Nothing,
        };
        match among(group) {
            Taken::Nothing if kernel => among(&self.benign),
            taken => taken,
        }
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
    /// lines, those after the first only if a pattern takes that, and the
    /// whole if it has several; a record with a form only against the
    /// patterns that name the form.
    pub fn observe_kernel(
        &self,
        record: &KernelRecord<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<Event>,
    ) -> Taken {
        let Some(form) = record.form else {
            return self.unless_known(record, scratch, out);
        };
        if form != "none" {
            return self.one(&self.formed, record, record.text, scratch, out);
        }
        let lines = memchr::memchr(b'\n', record.text).is_some();
        if !lines {
            return self.line(record, record.text, scratch, out);
        }
        let mut lines = record.text.split(|b| *b == b'\n');
        let first = lines.next().unwrap_or_default();
        let lean = std::mem::replace(&mut scratch.lean, false);
        let mut taken = self.line(record, first, scratch, out);
        scratch.lean = lean;
        // Whoever gives a program a name with a line break in it chooses how
        // a line begins. So where the kernel's own beginning of the record is
        // not known, what follows a break is not believed.
        if taken == Taken::Taken {
            for line in lines {
                taken = taken.max(self.line(record, line, scratch, out));
            }
        }
        taken.max(self.one(&self.blocks, record, record.text, scratch, out))
    }

    /// A record of one line, unless the same came lately and changed
    /// nothing. Where somebody asks what a line is, each is looked at.
    fn unless_known(
        &self,
        record: &KernelRecord<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<Event>,
    ) -> Taken {
        if !scratch.lean {
            return self.whole(record, scratch, out);
        }
        let expected = self.expected.load(Ordering::Acquire);
        let hash = self.key.of(record, expected);
        match scratch.lately.get(hash) {
            Some(Gave::Nothing) => return Taken::Nothing,
            Some(Gave::Note(at)) => {
                scratch.notes[usize::from(at)].1 += 1;
                return Taken::Taken;
            }
            Some(Gave::More) | None => {}
        }
        scratch.noted = Gave::Nothing;
        let before = out.len();
        let taken = self.whole(record, scratch, out);
        if out.len() == before && taken != Taken::Benign {
            scratch.lately.add(hash, scratch.noted);
        }
        taken
    }

    /// A record of one line whose form is looked for in the same pass.
    fn whole(
        &self,
        record: &KernelRecord<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<Event>,
    ) -> Taken {
        let text = record.text;
        let mut search = forms::Search::new(text);
        let see = |at, owner| search.see(at, owner);
        let any = self.kernel.search(text, scratch, see);
        let form = search.form();
        let record = &KernelRecord { form: Some(form), ..*record };
        if form != "none" {
            return self.one(&self.formed, record, text, scratch, out);
        }
        if text.ends_with(SUPPRESSED) {
            return self.line(record, text, scratch, out);
        }
        let taken = match any {
            false => Taken::Nothing, // nearly always
            true => self.offer(&self.kernel, record, text, scratch, out),
        };
        self.or_known(taken, record, text, scratch, out)
    }

    /// A line that nothing took may be known as harmless, or at least whose
    /// it is, where that matters.
    fn or_known(
        &self,
        taken: Taken,
        record: &KernelRecord<'_>,
        text: &[u8],
        scratch: &mut Scratch,
        out: &mut Vec<Event>,
    ) -> Taken {
        if taken != Taken::Nothing || scratch.lean {
            return taken;
        }
        let none = &mut Vec::new();
        match self.one(&self.benign, record, text, scratch, none) {
            // Nobody asks whose an ordinary line is.
            Taken::Nothing
                if record.level.is_none() || record.looks_like_trouble() =>
            {
                self.whose(record, text, scratch, out)
            }
            known => known,
        }
    }

    /// Asks the fallbacks; the first that knows the line has it.
    fn whose(
        &self,
        record: &KernelRecord<'_>,
        text: &[u8],
        scratch: &mut Scratch,
        out: &mut Vec<Event>,
    ) -> Taken {
        let first = out.len();
        let taken = self.one(&self.fallback, record, text, scratch, out);
        out.truncate(first + 1);
        taken.min(Taken::Fallback)
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
                Some(patterns) => {
                    out.push(Event::Suppressed {
                        patterns: Arc::clone(patterns),
                        count,
                        time: record.time,
                        text: clip(line),
                    });
                    Taken::Taken
                }
            };
        }
        let taken = self.one(&self.kernel, record, line, scratch, out);
        self.or_known(taken, record, line, scratch, out)
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
            return Taken::Nothing;
        }
        self.offer(group, record, text, scratch, out)
    }

    /// Tries the candidates of `scratch`.
    fn offer(
        &self,
        group: &Group,
        record: &KernelRecord<'_>,
        text: &[u8],
        scratch: &mut Scratch,
        out: &mut Vec<Event>,
    ) -> Taken {
        let level = record.level.and_then(|l| LEVELS.get(usize::from(l)));
        let fields = [
            ("message", Value::Text(text)),
            ("form", Value::Word(record.form())),
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

#[cfg(test)]
impl Matcher {
    /// The patterns for kernel text that cost every line something: they
    /// have no text, or none of four bytes, that a line must contain.
    pub(super) fn costly(&self) -> Vec<&str> {
        let group = &self.kernel;
        let short = group.prefilter.short();
        let short = short.filter_map(|owner| owner.checked_sub(group.others));
        let all = group.always.iter().copied().chain(short);
        all.map(|rule| &*group.rules[rule as usize].pattern.name).collect()
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
