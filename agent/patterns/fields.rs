//! Checks `where`: each field against what its source has, each matcher
//! against what its field holds.

use std::collections::{BTreeMap, BTreeSet};

use super::check::Findings;
use super::classes;
use super::diagnostic::did_you_mean;
use super::field_matcher::{Compare, Expression, FieldMatcher};
use super::file::RawMatcher;
use super::located::At;
use super::skeleton::{Skeleton, skeletons};
use crate::observation::{FieldKind, Source};

/// What a checked `where` is made of.
#[derive(Debug, Default)]
pub struct Where {
    /// The matchers of all fields but `message`.
    pub matchers: Vec<FieldMatcher>,
    /// The expressions of `message`, of which any may hold.
    pub messages: Vec<Message>,
    /// Names that templates may use: captures, and the source's fields.
    pub names: BTreeSet<String>,
    /// The captures among them, each with whether it can be a number.
    pub captures: BTreeMap<String, bool>,
    /// The forms it takes.
    pub forms: Vec<&'static str>,
    /// An expression could not be read: what it captures is not known.
    pub incomplete: bool,
}

/// One checked expression of `message`.
#[derive(Debug)]
pub struct Message {
    /// The expression.
    pub expression: Expression,
    /// What every match contains.
    pub skeletons: Vec<Skeleton>,
    /// Whether it spans lines.
    pub block: bool,
}

/// Checks a `where` of observations of `source`.
pub fn check(
    source: Source,
    raw: &BTreeMap<String, At<RawMatcher>>,
    findings: &mut Findings<'_>,
) -> Where {
    let mut done = Where::default();
    for spec in source.fields() {
        if spec.name != "message" {
            done.names.insert(spec.name.to_owned());
        }
    }
    for (name, matcher) in raw {
        let Some(spec) = source.fields().iter().find(|f| f.name == name) else {
            let names = source.fields().iter().map(|f| f.name);
            let help = did_you_mean(name, names.clone()).map_or_else(
                || format!("it has: {}", names.collect::<Vec<_>>().join(", ")),
                |n| format!("did you mean `{n}`?"),
            );
            findings
                .error(
                    matcher.place,
                    format!("source {source} has no field `{name}`"),
                )
                .help(help);
            done.incomplete = true;
            continue;
        };
        match (&matcher.value, spec.kind) {
            (RawMatcher::Text(text), FieldKind::Text) => {
                expression(
                    source, spec.name, text, matcher, &mut done, findings,
                );
            }
            (RawMatcher::List(list), FieldKind::Text)
                if spec.name == "message" && !list.is_empty() =>
            {
                for text in list {
                    expression(
                        source, spec.name, text, matcher, &mut done, findings,
                    );
                }
            }
            (raw, FieldKind::Word(words)) => {
                if let Some(list) = word_list(raw, words, matcher, findings) {
                    if spec.name == "form" {
                        done.forms.clone_from(&list);
                    }
                    done.matchers.push(FieldMatcher::Words(spec.name, list));
                }
            }
            (RawMatcher::Flag(flag), FieldKind::Flag) => {
                done.matchers.push(FieldMatcher::Flag(spec.name, *flag));
            }
            (raw, FieldKind::Number) => match comparison(raw) {
                Some(c) => {
                    done.matchers.push(FieldMatcher::Number(spec.name, c));
                }
                None => {
                    findings
                        .error(
                            matcher.place,
                            format!("`{name}` takes a comparison"),
                        )
                        .help("write \">= 95\", \"< 3\" or a number");
                }
            },
            (_, kind) => {
                let wants = match kind {
                    FieldKind::Text if spec.name == "message" => {
                        "a regular expression, or a list of them"
                    }
                    FieldKind::Text => "a regular expression",
                    FieldKind::Word(_) => "a word or a list of words",
                    FieldKind::Number => "a comparison",
                    FieldKind::Flag => "true or false",
                };
                findings.error(
                    matcher.place,
                    format!("the field `{name}` takes {wants}"),
                );
                done.incomplete = true;
            }
        }
    }
    if raw.is_empty() {
        done.incomplete = true;
        findings
            .error_here("`where` is missing or empty".into())
            .help("name at least one field and what it must match");
    }
    done
}

fn word_list(
    raw: &RawMatcher,
    words: &'static [&'static str],
    at: &At<RawMatcher>,
    findings: &mut Findings<'_>,
) -> Option<Vec<&'static str>> {
    let list = match raw {
        RawMatcher::Text(word) => std::slice::from_ref(word),
        RawMatcher::List(list) => list.as_slice(),
        RawMatcher::Flag(_) | RawMatcher::Number(_) => {
            findings.error(at.place, "expected a word or a list".into());
            return None;
        }
    };
    let mut known = Vec::with_capacity(list.len());
    for word in list {
        if let Some(word) = words.iter().find(|w| **w == word) {
            known.push(*word);
            continue;
        }
        let help = did_you_mean(word, words.iter().copied()).map_or_else(
            || format!("one of: {}", words.join(", ")),
            |w| format!("did you mean `{w}`?"),
        );
        findings.error(at.place, format!("unknown word `{word}`")).help(help);
    }
    Some(known)
}

/// Reads `>= 95`, `< 3`, `95` or the number itself.
fn comparison(raw: &RawMatcher) -> Option<Compare> {
    let text = match raw {
        RawMatcher::Number(n) => return Some(Compare::Is(*n)),
        RawMatcher::Text(text) => text.trim(),
        RawMatcher::List(_) | RawMatcher::Flag(_) => return None,
    };
    type Make = fn(f64) -> Compare;
    let make: [(&str, Make); 5] = [
        (">=", Compare::AtLeast),
        ("<=", Compare::AtMost),
        (">", Compare::Above),
        ("<", Compare::Below),
        ("=", Compare::Is),
    ];
    let (number, make) = make
        .into_iter()
        .find_map(|(op, make)| Some((text.strip_prefix(op)?, make)))
        .unwrap_or((text, Compare::Is));
    number.trim().parse().ok().filter(|n: &f64| n.is_finite()).map(make)
}

fn expression(
    source: Source,
    field: &'static str,
    text: &str,
    at: &At<RawMatcher>,
    done: &mut Where,
    findings: &mut Findings<'_>,
) {
    // Taken back once the captures are known.
    let incomplete = std::mem::replace(&mut done.incomplete, true);
    if text.len() > classes::EXPRESSION_MAX {
        findings
            .error(at.place, format!("the expression has {} bytes", text.len()))
            .help(format!(
                "at most {} are taken; `message` also takes a list of \
                 expressions",
                classes::EXPRESSION_MAX
            ));
        return;
    }
    let expanded = match classes::expand(text) {
        Ok(expanded) => expanded,
        Err(message) => {
            findings.error(at.place, message);
            return;
        }
    };
    // What is built in has been parsed whole by the tests of this build.
    let outlined = findings.builtin().then(|| classes::outline(text));
    let outlined = outlined.and_then(|text| classes::expand(&text).ok());
    let hir = match classes::parse(outlined.as_ref().unwrap_or(&expanded)) {
        Ok(hir) => hir,
        Err((message, offset)) => {
            let place = findings.inside(at.place, text, offset);
            findings.error(place, format!("bad expression: {message}")).help(
                "expressions are the `regex` crate's, on bytes, without \
                 Unicode, look-around or back-references",
            );
            return;
        }
    };
    let kernel = source == Source::Kmsg && field == "message";
    if hir.properties().minimum_len().unwrap_or(0) == 0 && field == "message" {
        findings.error(at.place, "the expression matches empty text".into());
    }
    if kernel && !classes::is_anchored(&hir) {
        findings
            .error(
                at.place,
                "kernel text must be matched from its start".into(),
            )
            .help(
                "begin the expression with ^: other text in a record can \
                 have been chosen by a user",
            );
    }
    if kernel && classes::is_void_behind_start(&hir) {
        findings
            .error(at.place, "any text may stand behind the ^".into())
            .help(
                "begin with what the kernel prints first; text that a user \
                 chose could stand there otherwise",
            );
    }
    if kernel && classes::captures_anything(&hir) {
        findings.error(at.place, "a capture takes any text".into()).help(
            "use a bounded class such as [\\w.-]{1,32}: names in kernel \
                 text can be chosen by users",
        );
    }
    for (name, number) in classes::captures(&hir) {
        *done.captures.entry(name.clone()).or_default() |= number;
        done.names.insert(name);
    }
    // What is built in has been compiled by the tests of this build; doing it
    // again at every start would cost more than all the rest of the start.
    if !findings.builtin()
        && let Err(message) = Expression::compile(&expanded)
    {
        findings.error(at.place, message);
        return;
    }
    done.incomplete = incomplete;
    let expression = Expression::new(expanded);
    if field != "message" {
        done.matchers.push(FieldMatcher::Expression(field, expression));
        return;
    }
    let skeletons = skeletons(&hir);
    let longest = |s: &Skeleton| s.pieces.iter().map(Vec::len).max();
    if skeletons.iter().map(longest).min().flatten().unwrap_or(0) < 2 {
        findings
            .warning(at.place, "the expression requires no literal".into())
            .help(
                "it is tried on every line; name a constant word that every \
                 match contains",
            );
    }
    let block = classes::is_block(&hir);
    done.messages.push(Message { expression, skeletons, block });
}
