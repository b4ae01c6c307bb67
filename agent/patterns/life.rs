//! Checks what a pattern says of a fault's life: tolerance, proofs,
//! escalations, and causes.

use std::sync::Arc;
use std::time::Duration;

use super::check::Findings;
use super::diagnostic::did_you_mean;
use super::fields::Where;
use super::file::{RawEscalation, RawPattern, RawProof};
use super::located::At;
use super::pattern::Known;
use super::set::{EscalateIf, Escalation, Proof, Severity, SubKey, Tolerance};
use super::values::{duration, one_template};
use crate::observation::Source;
use crate::time::parse_duration;

/// How long a symptom waits for its cause unless the pattern says otherwise.
const SETTLE: Duration = Duration::from_secs(5);

/// Kinds of part of which the census may learn a serial number, their own or
/// that of the carrier they sit on; of all others `replaced` can never be
/// seen.
const WITH_SERIAL: &[&str] = &[
    "bay", "board", "channel", "chassis", "cpu", "dimm", "disk", "fan", "gpu",
    "hba", "memory", "nic", "pci", "power", "psu", "slot", "usb",
];

pub(super) fn tolerate(
    p: &RawPattern,
    source: Source,
    findings: &mut Findings<'_>,
) -> Option<Tolerance> {
    let raw = p.tolerate.as_ref()?;
    if source.is_state() {
        findings
            .error(raw.place, format!("{source} tells states, not events"))
            .help("use `lasting: 5m` to tolerate a state for a while");
        return None;
    }
    if raw.value == "none" {
        return None;
    }
    let parsed = parse_tolerance(&raw.value);
    if parsed.is_none() {
        findings
            .error(raw.place, format!("cannot read `{}`", raw.value))
            .help(TOLERANCES);
    }
    let (tolerance, _) = parsed?;
    if !can_be_spent(tolerance) {
        findings
            .error(raw.place, "this can never be spent".into())
            .help("so many, so far apart, take longer than the time");
    }
    Some(tolerance)
}

/// Whether one more than is tolerated can fall within the window, each at
/// the least time from the one before.
fn can_be_spent(tolerance: Tolerance) -> bool {
    let apart = tolerance.once_per.unwrap_or_default();
    let count = u32::try_from(tolerance.count).unwrap_or(u32::MAX);
    apart.saturating_mul(count) < tolerance.window
}

/// The forms that a tolerance can be written in.
const TOLERANCES: &str = "write `none`, `24 in 24h`, `3 in 24h, once per 1m` \
     or, in quotes, '3 in 24h, same: {page}'";

/// What a tolerance counts apart: the key's name and its template.
type Apart<'a> = Option<(&'a str, &'a str)>;

/// Reads `N in T`, then `once per T`, then `same: TEMPLATE` or `distinct:
/// TEMPLATE`, each where it is there. The template is the rest of the text,
/// for it may hold commas.
fn parse_tolerance(text: &str) -> Option<(Tolerance, Apart<'_>)> {
    let (limit, mut more) = halves(text);
    let mut once_per = None;
    if let Some(once) = more.and_then(|m| m.strip_prefix("once per ")) {
        let (once, rest) = halves(once);
        once_per = Some(parse_duration(once).ok()?);
        more = rest;
    }
    let apart = match more {
        None => None,
        Some(more) => {
            let (key, value) = more.split_once(':')?;
            let known = matches!(key, "same" | "distinct");
            let value = value.trim().trim_matches('"');
            Some((known && !value.is_empty()).then_some((key, value))?)
        }
    };
    let (count, window) = limit.split_once(" in ")?;
    let tolerance = Tolerance {
        count: count.trim().parse().ok()?,
        window: parse_duration(window).ok()?,
        once_per,
    };
    (!tolerance.window.is_zero()).then_some((tolerance, apart))
}

/// What stands before the first comma, and what after it.
fn halves(text: &str) -> (&str, Option<&str>) {
    text.split_once(',').map_or((text, None), |(a, b)| (a, Some(b.trim())))
}

pub(super) fn sub_key(
    p: &RawPattern,
    taken: &Where,
    findings: &mut Findings<'_>,
) -> SubKey {
    let inline = p.tolerate.as_ref().and_then(|raw| {
        let (key, value) = parse_tolerance(&raw.value)?.1?;
        Some((key, At { value: value.to_owned(), place: raw.place }))
    });
    let mut written = Vec::new();
    for (key, own) in [("same", &p.same), ("distinct", &p.distinct)] {
        let inline = inline.as_ref().filter(|(k, _)| *k == key);
        written.extend(inline.map(|(_, value)| (key, value)));
        written.extend(own.iter().map(|value| (key, value)));
    }
    if let [_, (_, second), ..] = written[..] {
        findings.error(
            second.place,
            "`same` and `distinct` exclude each other".into(),
        );
    }
    let Some((key, text)) = written.first() else { return SubKey::None };
    if p.tolerate.as_ref().is_none_or(|t| t.value == "none") {
        findings
            .error(text.place, "this counts within a tolerance".into())
            .help("add `tolerate: N in T`");
    }
    let template = one_template(&text.value, text.place, taken, findings);
    match *key {
        "same" => SubKey::Same(template),
        _ => SubKey::Distinct(template),
    }
}

pub(super) fn lasting(
    p: &RawPattern,
    source: Source,
    findings: &mut Findings<'_>,
) -> Duration {
    if let Some(raw) = &p.lasting
        && !source.is_state()
    {
        findings
            .error(raw.place, format!("{source} tells events, not states"))
            .help("use `tolerate: N in T` to tolerate events");
    }
    duration(p.lasting.as_ref(), Duration::ZERO, findings)
}

pub(super) fn proofs(
    p: &RawPattern,
    source: Source,
    opens: bool,
    findings: &mut Findings<'_>,
) -> Vec<Proof> {
    let Some(raw) = &p.clear else {
        if opens {
            findings
                .error_here("the field `clear` is missing".into())
                .help("say what proves that the fault is gone");
        }
        return Vec::new();
    };
    let mut all = Vec::new();
    for proof in &raw.value {
        let mut time = |text: &str| {
            parse_duration(text).unwrap_or_else(|message| {
                findings.error(proof.place, message);
                Duration::ZERO
            })
        };
        all.push(match &proof.value {
            RawProof::Replaced => Proof::Replaced,
            RawProof::Quiet(t) => {
                let quiet = time(t);
                if parse_duration(t) == Ok(Duration::ZERO) {
                    findings
                        .error(proof.place, "it would end at once".into())
                        .help("how long must it be quiet? `quiet: 24h`");
                }
                Proof::Quiet(quiet)
            }
            RawProof::Reboot(t) => Proof::Reboot(time(t)),
            RawProof::Normal(t) => {
                let t = time(t);
                if !source.is_state() {
                    findings
                        .error(
                            proof.place,
                            format!("{source} tells events, not states"),
                        )
                        .help("use `quiet` or `recovered`");
                }
                Proof::Normal(t)
            }
            RawProof::Recovered(r) => Proof::Recovered {
                hold: duration(r.hold.as_ref(), Duration::ZERO, findings),
            },
        });
    }
    let kinds = p.part.iter().flat_map(|p| &p.value.0);
    // A part that the source names may be of any kind.
    let serial = kinds
        .map(|t| t.split_once('/'))
        .any(|t| t.is_none_or(|(kind, _)| WITH_SERIAL.contains(&kind)));
    if opens && all.is_empty() {
        findings
            .error(raw.place, "the list of proofs is empty".into())
            .help("say what proves that the fault is gone");
    } else if opens && !serial && all.iter().all(|p| *p == Proof::Replaced) {
        findings
            .error(raw.place, "none of its proofs can ever complete".into())
            .help(
                "no serial number is known of parts of this kind; add \
                 `quiet`, `reboot` or `recovered`",
            );
    }
    if all.len() > 16 {
        findings.error(raw.place, "more than 16 proofs".into());
    }
    all.shrink_to_fit();
    all
}

pub(super) fn escalation(
    raw: &At<RawEscalation>,
    base: Option<Severity>,
    taken: &Where,
    findings: &mut Findings<'_>,
) -> Escalation {
    let e = &raw.value;
    let when = EscalateIf {
        parts: e.when.parts,
        under: e
            .when
            .under
            .as_ref()
            .map(|u| one_template(&u.value, u.place, taken, findings)),
        count: e.when.count,
        lasting: e
            .when
            .lasting
            .as_ref()
            .map(|t| duration(Some(t), Duration::ZERO, findings)),
        relapses: e.when.relapses,
    };
    if when == EscalateIf::default() {
        findings
            .error(raw.place, "`if` names no condition".into())
            .help("parts, count, lasting or relapses");
    }
    // Each of them holds of every fault that is open.
    let nothing = [
        ("parts", when.parts.is_some_and(|n| n == 0)),
        ("count", when.count.is_some_and(|n| n == 0)),
        ("relapses", when.relapses.is_some_and(|n| n == 0)),
        ("lasting", when.lasting.is_some_and(|t| t.is_zero())),
    ];
    for (name, _) in nothing.iter().filter(|(_, is_zero)| *is_zero) {
        findings
            .error(raw.place, format!("`{name}: 0` always holds"))
            .help("write what the pattern itself should say, or a number");
    }
    if when.under.is_some() && when.parts.is_none() {
        findings.error(raw.place, "`under` goes with `parts`".into());
    }
    if let Some(part) = &e.part
        && (part.value != "{parent}" || when.under.is_none())
    {
        findings
            .error(part.place, "the part of an escalation is the parent".into())
            .help("write part: \"{parent}\", and `under` in its `if`");
    }
    let quarantine = e.then.as_ref().and_then(|t| t.value.quarantine);
    if e.severity.is_none() && quarantine.is_none() && e.part.is_none() {
        findings
            .error(raw.place, "the escalation changes nothing".into())
            .help("give it a severity, a part or a quarantine");
    }
    if let (Some(to), Some(base)) = (e.severity, base)
        && to < base
    {
        findings
            .error(
                raw.place,
                format!("{} is less than {}", to.word(), base.word()),
            )
            .help("an escalation raises; the highest severity counts");
    }
    Escalation {
        when,
        severity: e.severity,
        quarantine,
        on_parent: e.part.is_some(),
    }
}

pub(super) fn settle(p: &RawPattern, findings: &mut Findings<'_>) -> Duration {
    let fatal = p.severity == Some(Severity::Fatal);
    let default = if fatal { Duration::ZERO } else { SETTLE };
    duration(p.settle.as_ref(), default, findings)
}

pub(super) fn yields(
    p: &RawPattern,
    source: Source,
    findings: &mut Findings<'_>,
) -> Vec<Source> {
    for other in &p.yields {
        if other.value == source {
            findings
                .error(other.place, format!("it is of source {source} itself"))
                .help("errors of one source are never told twice by it");
        } else if source.is_state() {
            findings
                .error(other.place, format!("{source} tells states"))
                .help("only what is counted can count twice");
        }
    }
    p.yields.iter().map(|s| s.value).collect()
}

pub(super) fn suppresses(
    p: &RawPattern,
    known: &Known<'_>,
    findings: &mut Findings<'_>,
) -> Vec<Arc<str>> {
    for name in &p.suppresses {
        if known.names.contains(name.value.as_str()) {
            continue;
        }
        let near = did_you_mean(&name.value, known.names.iter().copied());
        let help = near.map_or_else(
            || "name a pattern of any file".to_owned(),
            |n| format!("did you mean `{n}`?"),
        );
        findings
            .error(name.place, format!("no pattern is named `{}`", name.value))
            .help(help);
    }
    p.suppresses.iter().map(|s| known.shared(&s.value)).collect()
}
