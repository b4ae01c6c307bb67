//! Checks one pattern and compiles it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use super::check::Findings;
use super::compile::Built;
use super::field_matcher::FieldMatcher;
use super::fields::{self, Message, Where};
use super::file::{RawPattern, RawProof};
use super::life::{
    escalation, lasting, proofs, settle, sub_key, suppresses, tolerate, yields,
};
use super::located::At;
use super::names::Names;
use super::parse::ParsedFile;
use super::rule::{Count, Rule};
use super::sense::{emptied, fallback, idle, opens, required};
use super::set::{Pattern, Quarantine, Severity, Stage, SubKey};
use super::template::Template;
use super::values::{count, duration, parts, template, word};
use crate::hash::fnv1a;
use crate::observation::Source;
use crate::signal::Effect;

/// How long a fault stays on probation unless the pattern says otherwise.
const PROBATION: Duration = Duration::from_secs(7 * 86_400);

/// What patterns may refer to beyond themselves.
pub(super) struct Known<'a> {
    /// Every pattern's name.
    pub(super) names: BTreeSet<&'a str>,
    /// The names that stand in some `suppresses`.
    pub(super) suppressed: BTreeSet<&'a str>,
    /// Whether any fault of a component may exist, shared by its patterns.
    pub(super) seen: RefCell<BTreeMap<Arc<str>, Arc<AtomicBool>>>,
    /// Of how many patterns faults may exist.
    pub(super) expected: Arc<AtomicU64>,
    /// What several patterns say: names, components, files.
    pub(super) words: RefCell<BTreeSet<Arc<str>>>,
}

impl Known<'_> {
    /// The text as all patterns that say it have it: once in memory.
    pub(super) fn shared(&self, text: &str) -> Arc<str> {
        let mut words = self.words.borrow_mut();
        if let Some(word) = words.get(text) {
            return Arc::clone(word);
        }
        let word: Arc<str> = text.into();
        words.insert(Arc::clone(&word));
        word
    }

    fn component_seen(&self, component: &Arc<str>) -> Arc<AtomicBool> {
        let mut seen = self.seen.borrow_mut();
        Arc::clone(seen.entry(Arc::clone(component)).or_default())
    }
}

/// Checks one pattern and appends it to what is built; without something
/// essential there is nothing to append. What is wrong stands in `findings`.
pub(super) fn build(
    file: &ParsedFile,
    raw: &At<RawPattern>,
    known: &Known<'_>,
    findings: &mut Findings<'_>,
    built: &mut Built,
) {
    let p = &raw.value;
    word(&p.name, "a pattern's name", findings);
    let component = p.component.as_ref().or(file.file.component.as_ref());
    match component {
        Some(c) => word(c, "a component", findings),
        None => {
            findings
                .error_here("no component".into())
                .help("give the file or the pattern a `component`");
        }
    }
    let Some(source) = &p.source else {
        findings
            .error_here("the field `source` is missing".into())
            .help(Source::ALL.map(Source::name).join(", "));
        return;
    };
    let source = source.value;
    let taken = fields::check(source, &p.matchers, findings);
    let Some(component) = component else { return };
    let component = known.shared(&component.value);
    let opens = opens(p, findings);
    let pattern = Pattern {
        name: known.shared(&p.name.value),
        summary: template(p.summary.as_ref(), &taken, findings),
        severity: p.severity.unwrap_or(Severity::Info),
        source,
        part: parts(p.part.as_ref(), &taken, findings),
        suspects: parts(p.suspects.as_ref(), &taken, findings),
        tolerate: tolerate(p, source, findings),
        sub_key: sub_key(p, &taken, findings),
        lasting: lasting(p, source, findings),
        clear: proofs(p, source, opens, findings),
        probation: duration(p.probation.as_ref(), PROBATION, findings),
        escalate: p
            .escalate
            .iter()
            .map(|e| escalation(e, p.severity, &taken, findings))
            .collect(),
        suppresses: suppresses(p, known, findings),
        yields: yields(p, source, findings),
        suppressible: known.suppressed.contains(p.name.value.as_str()),
        settle: settle(p, findings),
        history: p.history,
        benign: p.benign,
        fallback: p.fallback,
        condition: known.shared(&condition(p, &component, findings)),
        quarantine: then(p).unwrap_or(Quarantine::None),
        stage: p.stage.unwrap_or(if file.builtin {
            Stage::Enforce
        } else {
            Stage::Report
        }),
        rollout: rollout(p, findings),
        advice: template(p.advice.as_ref(), &taken, findings),
        runbook: runbook(p, findings).map(|r| known.shared(r)),
        file: known.shared(&file.name),
        hash: hash(file, raw),
        seen: Arc::default(),
        expected: Arc::clone(&known.expected),
        component_seen: known.component_seen(&component),
        component,
    };
    required(p, opens, findings);
    idle(p, findings);
    emptied(p, &pattern, findings);
    fallback(p, source, findings);
    let pattern = Arc::new(pattern);
    rules(p, &pattern, taken, findings, built);
    for function in &p.callbacks {
        let function = function.value.clone();
        let patterns = built.callbacks.entry(function).or_default();
        patterns.push(Arc::clone(&pattern.name));
    }
    built.patterns.push(pattern);
}

/// Appends the pattern's own rule and one for each `recovered` proof.
fn rules(
    p: &RawPattern,
    pattern: &Arc<Pattern>,
    taken: Where,
    findings: &mut Findings<'_>,
    built: &mut Built,
) {
    let count = count(p, &taken, findings);
    let effect = if p.benign {
        None
    } else if pattern.severity == Severity::Info {
        Some(Effect::Note)
    } else if p.history {
        Some(Effect::History)
    } else if count == Count::Fixed(0) {
        Some(Effect::Evidence)
    } else {
        Some(Effect::Open)
    };
    let draft = Draft {
        pattern: pattern.clone(),
        effect,
        names: names(pattern, &count),
        part: None,
        count,
    };
    draft.rules(pattern.source, taken, findings, built);
    let proofs = p.clear.iter().flat_map(|c| &c.value).enumerate();
    for (i, proof) in proofs {
        let RawProof::Recovered(r) = &proof.value else { continue };
        let source = r.source.as_ref().map_or(pattern.source, |s| s.value);
        let seen = fields::check(source, &r.matchers, findings);
        let part = r.part.as_ref().or(p.part.as_ref());
        let part = parts(part, &seen, findings);
        let names = Names::of(part.iter().flat_map(Template::holes));
        let same = part == pattern.part;
        let draft = Draft {
            pattern: pattern.clone(),
            effect: u8::try_from(i).ok().map(Effect::Proof),
            names,
            part: (!same).then(|| part.into()),
            count: Count::Fixed(0),
        };
        draft.rules(source, seen, findings, built);
    }
}

/// What the rules of one `where` have in common.
struct Draft {
    pattern: Arc<Pattern>,
    effect: Option<Effect>,
    names: Names,
    part: Option<Arc<[Template]>>,
    count: Count,
}

/// The captures and fields that a pattern's templates use.
fn names(pattern: &Pattern, count: &Count) -> Names {
    let under = pattern.escalate.iter().filter_map(|e| e.when.under.as_ref());
    let sub_key = match &pattern.sub_key {
        SubKey::None => None,
        SubKey::Same(t) | SubKey::Distinct(t) => Some(t),
    };
    let count = match count {
        Count::Fixed(_) => None,
        Count::Captured(t) => Some(t),
    };
    let templates = [&pattern.summary, &pattern.advice]
        .into_iter()
        .chain(&pattern.part)
        .chain(&pattern.suspects)
        .chain(under)
        .chain(sub_key)
        .chain(count);
    Names::of(templates.flat_map(Template::holes))
}

impl Draft {
    /// Appends one rule for each expression of `message`, or one for the
    /// other fields alone.
    fn rules(
        self,
        source: Source,
        taken: Where,
        findings: &mut Findings<'_>,
        built: &mut Built,
    ) {
        let others: Arc<[FieldMatcher]> = taken.matchers.into();
        let is_plain = |form: &&str| *form == "none";
        let plain = taken.forms.is_empty() || taken.forms.iter().any(is_plain);
        let formed = !taken.forms.iter().all(is_plain);
        let mut rule = |message: Option<Message>| {
            let (expression, skeletons, block) = match message {
                Some(m) => (Some(m.expression), m.skeletons, m.block),
                None => (None, Vec::new(), false),
            };
            let skeletons = match built.skeletons.add(&skeletons) {
                Ok(place) => place,
                Err(message) => {
                    findings.error_here(message);
                    return;
                }
            };
            let rule = Rule {
                pattern: self.pattern.clone(),
                effect: self.effect,
                message: expression.map(Arc::new),
                others: others.clone(),
                names: self.names.clone(),
                part: self.part.clone(),
                count: self.count.clone(),
                skeletons,
                plain,
                formed,
                block,
            };
            built.rules.push((source, rule));
        };
        if taken.messages.is_empty() {
            return rule(None);
        }
        taken.messages.into_iter().for_each(|m| rule(Some(m)));
    }
}

fn then(p: &RawPattern) -> Option<Quarantine> {
    p.then.as_ref().and_then(|t| t.value.quarantine)
}

/// The Node condition: CamelCase, at most 63 (Kubernetes qualified names), and
/// its end tells it from those that others write: controllers replace nodes
/// over some of them.
fn condition(
    p: &RawPattern,
    component: &str,
    findings: &mut Findings<'_>,
) -> String {
    let written = p.then.as_ref().and_then(|t| t.value.condition.as_ref());
    let Some(written) = written else {
        return camel_case(component, "Fault");
    };
    let text = &written.value;
    if !text.starts_with(|c: char| c.is_ascii_uppercase())
        || text.len() > 63
        || !text.chars().all(|c| c.is_ascii_alphanumeric())
    {
        findings
            .error(written.place, format!("`{text}` is no condition type"))
            .help("CamelCase, such as MemoryFault");
    } else if !text.ends_with("Fault") {
        findings
            .error(
                written.place,
                format!("the condition type `{text}` does not end in `Fault`"),
            )
            .help(
                "controllers replace nodes over conditions of other names, so \
                 none is written; such as MemoryFault",
            );
    }
    text.clone()
}

/// `memory-page` and `Fault` make `MemoryPageFault`.
pub fn camel_case(words: &str, suffix: &str) -> String {
    let mut out = String::new();
    for word in words.split('-') {
        let mut letters = word.chars();
        out.extend(letters.next().map(|c| c.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out + suffix
}

/// `file.md` or `file.md#anchor`: sinks make a link of it.
fn runbook<'a>(
    p: &'a RawPattern,
    findings: &mut Findings<'_>,
) -> Option<&'a str> {
    let raw = p.runbook.as_ref()?;
    let (file, anchor) =
        raw.value.split_once('#').unwrap_or((&raw.value, "top"));
    let word = |text: &str| {
        let good = |c: char| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c)
        };
        !text.is_empty() && text.len() <= 80 && text.chars().all(good)
    };
    if !file.strip_suffix(".md").is_some_and(word) || !word(anchor) {
        findings
            .error(raw.place, format!("`{}` is no runbook", raw.value))
            .help("write file.md#anchor, a place under docs/runbooks/");
    }
    Some(&raw.value)
}

fn rollout(p: &RawPattern, findings: &mut Findings<'_>) -> u8 {
    let Some(raw) = &p.rollout else { return 100 };
    let share = raw.value.trim().strip_suffix('%');
    let share = share.and_then(|s| s.trim().parse().ok());
    share.filter(|s| *s <= 100).unwrap_or_else(|| {
        findings
            .error(raw.place, format!("cannot read `{}`", raw.value))
            .help("write a share of nodes, such as `5 %`");
        100
    })
}

/// A hash of what the pattern says: its lines without comments, wherever it
/// stands.
fn hash(file: &ParsedFile, raw: &At<RawPattern>) -> u64 {
    let from = usize::try_from(raw.place.line).unwrap_or(1).max(1) - 1;
    let later = |p: &&At<RawPattern>| p.place.line > raw.place.line;
    let next = file.file.patterns.iter().filter(later).map(|p| p.place.line);
    let ends = file.file.scenarios.iter().map(|s| s.place.line);
    let to = next
        .chain(ends.filter(|l| *l > raw.place.line))
        .min()
        .and_then(|l| usize::try_from(l).ok())
        .map_or(usize::MAX, |l| l - 1);
    let mut text = file
        .file
        .component
        .as_ref()
        .map_or_else(String::new, |c| c.value.clone());
    let lines = file.text.lines().skip(from).take(to - from);
    for line in lines.map(str::trim) {
        if !line.starts_with('#') && !line.is_empty() {
            text.push_str(line);
            text.push('\n');
        }
    }
    fnv1a(text.as_bytes())
}
