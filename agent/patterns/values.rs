//! Checks the values that patterns are made of: names, templates, parts,
//! counts and lengths of time.

use std::time::Duration;

use super::check::Findings;
use super::diagnostic::did_you_mean;
use super::fields::Where;
use super::file::{OneOrMany, RawCount, RawPattern};
use super::located::{At, Place};
use super::rule::{COUNT_MAX, Count};
use super::template::Template;
use crate::time::parse_duration;

/// Names are lower-case letters, digits and dashes, so that they fit in
/// labels, files and CamelCase reasons.
pub(super) fn word(name: &At<String>, what: &str, findings: &mut Findings<'_>) {
    let text = &name.value;
    let good =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty()
        || text.len() > 63
        || !text.chars().all(good)
        || !text.starts_with(|c: char| c.is_ascii_lowercase())
    {
        findings
            .error(name.place, format!("`{text}` is not {what}"))
            .help("lower-case letters, digits and dashes, at most 63");
    } else if text.ends_with('-') {
        // A label's value, and so a taint's, ends in a letter or digit.
        findings
            .error(name.place, format!("`{text}` ends in a dash"))
            .help("the API server takes no such taint; leave the dash out");
    }
}

pub(super) fn template(
    text: Option<&At<String>>,
    taken: &Where,
    findings: &mut Findings<'_>,
) -> Template {
    let Some(text) = text else { return Template::default() };
    one_template(&text.value, text.place, taken, findings)
}

pub(super) fn one_template(
    text: &str,
    place: Place,
    taken: &Where,
    findings: &mut Findings<'_>,
) -> Template {
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(message) => {
            findings.error(place, format!("in `{text}`: {message}"));
            return Template::default();
        }
    };
    for hole in template.holes() {
        let known = hole == "count" || taken.names.contains(hole);
        if known || taken.incomplete {
            continue;
        }
        let names = taken.names.iter().map(String::as_str);
        let help = did_you_mean(hole, names).map_or_else(
            || format!("capture it in `where`: (?<{hole}>…)"),
            |n| format!("did you mean {{{n}}}?"),
        );
        findings
            .error(place, format!("nothing is captured as `{hole}`"))
            .help(help);
    }
    template
}

pub(super) fn parts(
    raw: Option<&At<OneOrMany>>,
    taken: &Where,
    findings: &mut Findings<'_>,
) -> Vec<Template> {
    let Some(raw) = raw else { return Vec::new() };
    let mut all = Vec::new();
    for text in &raw.value.0 {
        let template = one_template(text, raw.place, taken, findings);
        let kind = template.prefix().split_once('/').map(|(kind, _)| kind);
        let good = kind.is_some_and(|k| {
            !k.is_empty() && k.chars().all(|c| c.is_ascii_lowercase())
        });
        // A source that decodes names the part itself; what is captured from
        // text never may.
        let decoded = taken.messages.is_empty()
            && matches!(text.as_str(), "{part}" | "{parent}")
            && taken.names.contains(text.trim_matches(['{', '}']));
        if !good && !decoded {
            findings
                .error(raw.place, format!("`{text}` names no kind of part"))
                .help("write kind/name, such as disk/{dev}");
        } else if text.split_once('/').is_some_and(|(_, n)| n.trim().is_empty())
        {
            findings
                .error(raw.place, format!("`{text}` names a kind and no part"))
                .help("write kind/name, such as disk/{dev}");
        }
        all.push(template);
    }
    if all.is_empty() {
        findings.error(raw.place, "the list of parts is empty".into());
    }
    all.shrink_to_fit();
    all
}

pub(super) fn count(
    p: &RawPattern,
    taken: &Where,
    findings: &mut Findings<'_>,
) -> Count {
    match &p.count {
        None => Count::Fixed(1),
        Some(At { value: RawCount::Number(n), place }) => {
            if *n > COUNT_MAX {
                findings
                    .error(*place, format!("{n} errors are not believed"))
                    .help(format!("at most {COUNT_MAX}"));
            }
            Count::Fixed(*n)
        }
        Some(At { value: RawCount::Text(text), place }) => {
            let captured = taken.names.contains("count");
            if text == "{count}" && !captured && !taken.incomplete {
                findings
                    .error(*place, "nothing is captured as `count`".into())
                    .help("capture it in `where`: (?<count>\\d+)");
            }
            let template = one_template(text, *place, taken, findings);
            if template.holes().next().is_none() {
                findings
                    .error(*place, format!("`{text}` is no number"))
                    .help("write a number, or the capture that holds it");
            }
            let wordy = |hole: &&str| taken.captures.get(*hole) == Some(&false);
            if let Some(word) = template.holes().find(wordy) {
                findings
                    .error(*place, format!("`{word}` can never be a number"))
                    .help("capture the digits alone: (?<count>\\d+)");
            }
            Count::Captured(template)
        }
    }
}

pub(super) fn duration(
    text: Option<&At<String>>,
    default: Duration,
    findings: &mut Findings<'_>,
) -> Duration {
    let Some(text) = text else { return default };
    parse_duration(&text.value).unwrap_or_else(|message| {
        findings.error(text.place, message);
        default
    })
}
