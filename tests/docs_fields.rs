//! The table of fields in docs/patterns.md is the one in the code. With
//! UPDATE_DOCS=1 in the environment it is written anew.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fmt::Write;

use faultline::observation::{FieldKind, Source};

const PAGE: &str = "docs/patterns.md";

/// Kernel text comes first and is described by hand.
const BEGIN: &str = "| `journal` | `message` |";
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

#[test]
fn the_page_has_the_fields_of_every_source() {
    let path = harness::root().join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let begin = page.find(BEGIN).expect("the page has the table");
    let end = begin + page[begin..].find(END).expect("the table ends");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let page = format!("{}{}{}", &page[..begin], table(), &page[end..]);
        std::fs::write(path, page).unwrap();
        return;
    }
    assert!(
        page[begin..end] == table(),
        "{PAGE} is behind the code; run: UPDATE_DOCS=1 cargo test --test \
         docs_fields"
    );
}
