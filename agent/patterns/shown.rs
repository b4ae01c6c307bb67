//! What a signal keeps of its observation for people: captures, fields and
//! the text, bounded and printable. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use regex_automata::util::captures::Captures;

use super::names::Names;
use crate::observation::{Observation, Value};
use crate::signal::TEXT_MAX;

/// The longest capture kept, bytes; part names and numbers are shorter.
const CAPTURE_MAX: usize = 128;

/// The named captures that took part and are wanted, bounded and printable.
pub(super) fn keep(
    captures: &Captures,
    text: &[u8],
    names: &Names,
    values: &mut BTreeMap<String, String>,
) {
    let Some(id) = captures.pattern() else { return };
    for (i, name) in captures.group_info().pattern_names(id).enumerate() {
        if let (Some(name), Some(span)) = (name, captures.get_group(i))
            && names.contains(name)
        {
            let bytes = &text[span.range()];
            let bytes = &bytes[..bytes.len().min(CAPTURE_MAX)];
            let value = crate::escape::escape(bytes).into_owned();
            values.insert(name.to_owned(), value);
        }
    }
}

/// The wanted fields that are words or short names, for templates.
pub(super) fn word_values(
    observation: &Observation<'_>,
    wanted: impl Fn(&str) -> bool,
) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (name, value) in observation.fields {
        if !wanted(name) {
            continue;
        }
        let mut shown = String::new();
        show(name, value, &mut shown);
        if shown.is_empty() {
            continue;
        }
        values
            .entry((*name).to_owned())
            .and_modify(|all: &mut String| {
                if all.len() + shown.len() < CAPTURE_MAX {
                    all.push_str(", ");
                    all.push_str(&shown);
                }
            })
            .or_insert(shown);
    }
    values
}

/// Appends a field's value as people read it; nothing for a message.
fn show(name: &str, value: &Value<'_>, out: &mut String) {
    let written = match value {
        Value::Word(word) => write!(out, "{word}"),
        Value::Text(_) if name == "message" => Ok(()),
        Value::Text(text) => {
            let text = &text[..text.len().min(CAPTURE_MAX)];
            write!(out, "{}", crate::escape::escape(text))
        }
        Value::Flag(flag) => write!(out, "{flag}"),
        Value::Number(number) => {
            // Nearly all are whole, and those are written ten times faster.
            let whole = *number as i64;
            match whole as f64 == *number {
                true => write!(out, "{whole}"),
                false => write!(out, "{number}"),
            }
        }
    };
    written.expect("writing to a String cannot fail");
}

/// An observation without text as one line of evidence: its fields by name.
pub(super) fn describe(observation: &Observation<'_>) -> String {
    let mut fields: Vec<_> = observation.fields.iter().collect();
    fields.sort_by_key(|(name, _)| *name);
    let mut text = String::with_capacity(256);
    let mut last = "";
    for (name, value) in fields {
        let before = text.len();
        if *name == last {
            text.push_str(", ");
        } else {
            text.push_str(if before > 0 { " " } else { "" });
            text.push_str(name);
            text.push('=');
        }
        let begin = text.len();
        show(name, value, &mut text);
        match text.len() == begin {
            true => text.truncate(before),
            false => last = name,
        }
    }
    text
}

/// The text as evidence: bounded, lossy UTF-8.
pub(super) fn clip(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(TEXT_MAX)]).into_owned()
}
