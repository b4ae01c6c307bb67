//! The table of fields in docs/patterns.md is the one in the code. With
//! UPDATE_DOCS=1 in the environment it is written anew.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fmt::Write;

use faultline::decode::ipmi::sensor::SPECIFIC;
use faultline::decode::ipmi::{kinds, states};
use faultline::observation::{FieldKind, Source};

const PAGE: &str = "docs/patterns.md";

/// Kernel text comes first and is described by hand.
const BEGIN: &str = "| `journal` | `message` |";
/// Longer lists of words stand on a page of their own.
const WORDS_MAX: usize = 64;
const STATES: &str = "ipmi.md#states";
const END: &str = "\n\nA matcher on a field";

fn table() -> String {
    let mut out = String::new();
    for source in Source::ALL.into_iter().filter(|s| *s != Source::Kmsg) {
        for (i, field) in source.fields().iter().enumerate() {
            let first = match i {
                0 => format!("`{source}`"),
                _ => String::new(),
            };
            let kind = match field.kind {
                FieldKind::Text => "text".to_owned(),
                FieldKind::Number => "number".to_owned(),
                FieldKind::Flag => "flag".to_owned(),
                FieldKind::Word(words) if words.len() > WORDS_MAX => {
                    format!("one of [these]({STATES})")
                }
                FieldKind::Word(words) => {
                    let words = words.iter().map(|word| format!("`{word}`"));
                    words.collect::<Vec<_>>().join(" ")
                }
            };
            let (name, doc) = (field.name, field.doc);
            writeln!(out, "| {first} | `{name}` | {kind}: {doc} |").unwrap();
        }
    }
    out.trim_end().to_owned()
}

/// The states of a BMC's sensors, by the sensor's type or by the generic
/// event/reading type.
fn states_table() -> String {
    let mut out = String::new();
    let specific = (0..=0xff).map(|kind| {
        let name = format!("`{}`", kinds::word(kind));
        (name, states::named(kind, SPECIFIC))
    });
    let generic = (2..=0x0c).map(|reading_type| {
        let name = format!("any, event/reading type {reading_type:02x}h");
        (name, states::named(0, reading_type))
    });
    for (name, words) in specific.chain(generic) {
        if !words.is_empty() {
            let words = words.iter().map(|word| format!("`{word}`"));
            let words = words.collect::<Vec<_>>().join(" ");
            writeln!(out, "| {name} | {words} |").unwrap();
        }
    }
    out.trim_end().to_owned()
}

/// Holds a page to having `table` between two texts, or puts it there.
fn holds(page: &str, begin: &str, end: &str, table: &str) {
    let path = harness::root().join(page);
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = text.find(begin).expect("the page has the table");
    let end = begin + text[begin..].find(end).expect("the table ends");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = format!("{}{table}{}", &text[..begin], &text[end..]);
        std::fs::write(path, text).unwrap();
        return;
    }
    assert!(
        &text[begin..end] == table,
        "{page} is behind the code; run: UPDATE_DOCS=1 cargo test --test \
         docs_fields"
    );
}

#[test]
fn the_page_has_the_fields_of_every_source() {
    holds(PAGE, BEGIN, END, &table());
}

#[test]
fn the_page_has_every_state_of_a_sensor() {
    let begin = "| `physical-security` |";
    holds("docs/ipmi.md", begin, "\n\nStates without", &states_table());
}
