//! What a pattern must say, and what makes no sense in it.

use std::time::Duration;

use super::check::Findings;
use super::file::{RawCount, RawPattern};
use super::located::At;
use super::set::{Pattern, Proof, Severity};
use crate::observation::Source;

/// Whether the pattern can open a fault.
pub(super) fn opens(p: &RawPattern, findings: &mut Findings<'_>) -> bool {
    if p.benign && p.history {
        findings.error_here("`benign` and `history` exclude each other".into());
    }
    !p.benign
        && p.severity != Some(Severity::Info)
        && !matches!(
            p.count.as_ref().map(|c| &c.value),
            Some(RawCount::Number(0))
        )
}

/// A recovery ends what is tolerated at once, unless it must hold: a part that
/// recovers after each failure would never open a fault.
pub(super) fn emptied(
    p: &RawPattern,
    pattern: &Pattern,
    findings: &mut Findings<'_>,
) {
    let at_once = Proof::Recovered { hold: Duration::ZERO };
    if pattern.tolerate.is_none() || !pattern.clear.contains(&at_once) {
        return;
    }
    let place = p.clear.as_ref().map_or(findings.here, |clear| clear.place);
    findings
        .warning(place, "each recovery empties what `tolerate` counts".into())
        .help(
            "if the part may fail and recover by turns, give `recovered` a \
             `hold: 10m`",
        );
}

/// A pattern that only knows whose a line is, and not what it says, cannot
/// open a fault by it.
pub(super) fn fallback(
    p: &RawPattern,
    source: Source,
    findings: &mut Findings<'_>,
) {
    let counts = !matches!(
        p.count.as_ref().map(|c| &c.value),
        Some(RawCount::Number(0))
    );
    let other = p.benign || p.history || source != Source::Kmsg;
    if p.fallback && (counts || other) {
        findings
            .error_here("`fallback` is only for evidence of `kmsg`".into())
            .help("give it `source: kmsg` and `count: 0`");
    }
}

/// What says nothing in a pattern that opens no fault.
pub(super) fn idle(p: &RawPattern, findings: &mut Findings<'_>) {
    let why = match (p.benign && !p.history, p.severity) {
        (true, _) => "what is `benign` opens no fault",
        (_, Some(Severity::Info)) => "what is `info` opens no fault",
        _ => return,
    };
    let clear = p.clear.as_ref().map(|c| c.place);
    let then = p.then.as_ref().map(|t| t.place);
    let of = |text: &Option<At<String>>| text.as_ref().map(|t| t.place);
    let mut written = vec![
        ("tolerate", of(&p.tolerate)),
        ("lasting", of(&p.lasting)),
        ("clear", clear),
        ("probation", of(&p.probation)),
        ("then", then),
    ];
    if p.benign {
        let severity = p.severity.map(|_| findings.here);
        let part = p.part.as_ref().map(|part| part.place);
        written.extend([
            ("severity", severity),
            ("summary", of(&p.summary)),
            ("part", part),
            ("advice", of(&p.advice)),
        ]);
    }
    for (key, place) in written {
        if let Some(place) = place {
            findings
                .warning(place, format!("`{key}` says nothing here"))
                .help(why);
        }
    }
}

/// What a pattern of its kind cannot do without.
pub(super) fn required(
    p: &RawPattern,
    opens: bool,
    findings: &mut Findings<'_>,
) {
    let mut need = |missing: bool, field: &str, help: &str| {
        if missing {
            findings
                .error_here(format!("the field `{field}` is missing"))
                .help(help);
        }
    };
    if p.benign {
        return;
    }
    need(p.severity.is_none(), "severity", "info, warning, error or fatal");
    need(p.summary.is_none(), "summary", "one sentence for people");
    need(p.part.is_none(), "part", "what a technician pulls: kind/{capture}");
    need(
        opens && p.advice.is_none(),
        "advice",
        "say what a technician does about it",
    );
    for example in &p.examples {
        let e = &example.value;
        let empty = e.fields.is_empty() && e.observation.is_empty();
        if e.line.is_none() && e.sel.is_none() && empty {
            findings
                .error(example.place, "the example shows nothing".into())
                .help("give it a `line`, an `observation`, or `sel`");
        }
    }
    let gives = |e: &At<super::file::RawExample>| {
        matches!(e.value.gives, super::file::RawGives::Match { .. })
    };
    if findings.builtin() {
        // Examples are not compiled into the binary; a test holds the shipped
        // files to having them.
        return;
    }
    if !p.examples.iter().any(gives) {
        findings
            .warning(findings.here, "no example shows what it takes".into())
            .help("add an example with `gives: { part: … }`");
    } else if p.examples.iter().all(gives) {
        findings
            .warning(findings.here, "no example shows a near-miss".into())
            .help("add an example with `gives: nothing`");
    }
}
