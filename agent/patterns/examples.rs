//! Runs the examples and scenarios that pattern files carry, each against
//! the whole set: what they promise is what `test` holds them to.

use super::diagnostic::{Diagnostic, Level};
use super::file::{RawExample, RawGives, RawMatcher, RawPattern};
use super::located::Place;
use super::matcher::{Scratch, Taken};
use super::observed;
use super::parse::ParsedFile;
use super::set::PatternSet;
use crate::forms::form_of;
use crate::kernel::KernelRecord;
use crate::observation::{LEVELS, Source, Value};
use crate::signal::{Effect, Event, Signal};
use crate::time::Timestamp;

/// How many examples ran, and what was wrong.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Examples and scenarios that ran.
    pub ran: usize,
    /// What was wrong.
    pub failed: Vec<Diagnostic>,
}

/// Runs every example of one file.
pub fn run(file: &ParsedFile, set: &PatternSet) -> Outcome {
    let mut outcome = Outcome::default();
    for pattern in &file.file.patterns {
        let raw = &pattern.value;
        if raw.disabled || set.get(&raw.name.value).is_none() && !raw.benign {
            continue;
        }
        for example in &raw.examples {
            outcome.ran += 1;
            if let Err(message) = one(raw, &example.value, set) {
                let at = example.place;
                let failed = finding(file, at, raw, message);
                outcome.failed.push(failed);
            }
        }
    }
    outcome
}

fn finding(
    file: &ParsedFile,
    at: Place,
    raw: &RawPattern,
    message: String,
) -> Diagnostic {
    let message = format!("{}: {message}", raw.name.value);
    Diagnostic::new(Level::Error, &file.name, &file.text, at, message)
}

/// Runs one example of `raw`.
fn one(
    raw: &RawPattern,
    example: &RawExample,
    set: &PatternSet,
) -> Result<(), String> {
    let (taken, events) = observe(raw, example, set)?;
    let signals: Vec<&Signal> = events
        .iter()
        .filter_map(|e| match e {
            Event::Match(s) => Some(s),
            Event::State(s, crate::signal::Truth::True) => Some(s),
            _ => None,
        })
        .collect();
    let name = raw.name.value.as_str();
    match &example.gives {
        RawGives::Nothing => {
            let opens = |s: &&&Signal| {
                matches!(s.effect, Effect::Open | Effect::History)
                    && s.count > 0
            };
            match signals.iter().find(opens) {
                None => Ok(()),
                Some(s) => {
                    Err(format!("should give nothing, gives {}", show(s)))
                }
            }
        }
        RawGives::Match { .. } if raw.benign => {
            if taken == Taken::Benign {
                return Ok(());
            }
            Err("is benign, but is not taken as such".into())
        }
        RawGives::Match { part, count, proof } => {
            let own = signals.iter().find(|s| {
                &*s.pattern == name
                    && matches!(s.effect, Effect::Proof(_)) == proof.is_some()
            });
            let Some(signal) = own else {
                let others: Vec<String> =
                    signals.iter().map(|s| show(s)).collect();
                let others = if others.is_empty() {
                    "nothing takes it".to_owned()
                } else {
                    format!("it gives {}", others.join(" and "))
                };
                return Err(format!("does not take its example; {others}"));
            };
            expect("part", part.as_deref(), Some(signal.part.as_str()))?;
            let counted = count.map(|_| signal.count.to_string());
            let count = count.map(|c| c.to_string());
            expect("count", count.as_deref(), counted.as_deref())?;
            expect("proof", proof.as_deref(), Some("recovered"))?;
            alone(name, &signals, set)
        }
    }
}

/// One text is one failure: no second pattern may take it, unless one of the
/// two explains the other.
fn alone(
    name: &str,
    signals: &[&Signal],
    set: &PatternSet,
) -> Result<(), String> {
    let explains = |a: &str, b: &str| {
        set.get(a).is_some_and(|p| p.suppresses.iter().any(|s| &**s == b))
    };
    for other in signals {
        let related =
            explains(name, &other.pattern) || explains(&other.pattern, name);
        if &*other.pattern != name
            && !matches!(other.effect, Effect::Proof(_))
            && !related
        {
            return Err(format!(
                "`{}` takes the line too; let one suppress the other, or \
                 tell them apart",
                other.pattern
            ));
        }
    }
    Ok(())
}

fn expect(
    what: &str,
    wanted: Option<&str>,
    got: Option<&str>,
) -> Result<(), String> {
    match (wanted, got) {
        (None, _) => Ok(()),
        (Some(w), Some(g)) if w == g => Ok(()),
        (Some(w), got) => Err(format!(
            "should give {what} `{w}`, gives `{}`",
            got.unwrap_or("none")
        )),
    }
}

fn show(signal: &Signal) -> String {
    format!("{} `{}` on {}", signal.effect.word(), signal.pattern, signal.part)
}

/// What the set makes of an example's observation.
fn observe(
    raw: &RawPattern,
    example: &RawExample,
    set: &PatternSet,
) -> Result<(Taken, Vec<Event>), String> {
    let source = raw.source.as_ref().map_or(Source::Kmsg, |s| s.value);
    let mut scratch = Scratch::default();
    let mut out = Vec::new();
    let line = example.line.as_deref().unwrap_or("");
    let text = |name: &str| match example.fields.get(name) {
        Some(RawMatcher::Text(text)) => text.as_str(),
        _ => "",
    };
    if source == Source::Kmsg {
        if !example.observation.is_empty() {
            return Err("kernel text is shown by its `line`".into());
        }
        let level = LEVELS.iter().position(|l| *l == text("level"));
        let taken = set.matcher.observe_kernel(
            &KernelRecord {
                text: line.as_bytes(),
                form: Some(form_of(line.as_bytes())),
                level: level.and_then(|l| u8::try_from(l).ok()),
                subsystem: text("subsystem").as_bytes(),
                device: text("device").as_bytes(),
                time: Timestamp::default(),
                approximate: false,
                injected: false,
            },
            &mut scratch,
            &mut out,
        );
        return Ok((taken, out));
    }
    if let Some(sel) = &example.sel {
        if source != Source::IpmiSel {
            return Err("`sel` is for the source ipmi-sel".into());
        }
        let logged = observed::logged(sel)?;
        let fields = observed::logged_fields(&logged, &example.observation)?;
        let time = Timestamp::default();
        let matcher = &set.matcher;
        return Ok(observed::observe(
            matcher,
            source,
            &fields,
            time,
            &mut scratch,
        ));
    }
    let mut fields = observed::fields(source, &example.fields)?;
    fields.extend(observed::fields(source, &example.observation)?);
    if let Some(line) = &example.line {
        fields.push(("message", Value::Text(line.as_bytes())));
    }
    let time = Timestamp::default();
    let matcher = &set.matcher;
    Ok(observed::observe(matcher, source, &fields, time, &mut scratch))
}
