//! From bytes to a [`PatternFile`]: what YAML and the shape demand.

use std::sync::Arc;

use serde_saphyr::budget::BudgetBreach;

use super::diagnostic::{Diagnostic, Level, did_you_mean};
use super::file::PatternFile;
use super::located::Place;

/// The largest pattern file taken, bytes. The largest shipped one has about
/// 100 KB; a ConfigMap cannot exceed 1 MiB (kubernetes api/core/validation).
pub const FILE_MAX: usize = 1 << 20;

/// The deepest nesting: a scenario's line is six levels down.
const DEPTH_MAX: usize = 24;

/// Keys and values of a file; a pattern has some thirty.
const NODES_MAX: usize = 100_000;

/// A file's name, text and where it came from.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Its name as shown to people.
    pub name: String,
    /// Its bytes.
    pub text: Vec<u8>,
    /// Whether it is compiled into the binary.
    pub builtin: bool,
}

/// A file whose shape is right; copies share what it says.
#[derive(Clone, Debug)]
pub struct ParsedFile {
    /// Its name as shown to people.
    pub name: String,
    /// Its text, for findings and hashes.
    pub text: Arc<str>,
    /// Whether it is compiled into the binary.
    pub builtin: bool,
    /// What it says.
    pub file: Arc<PatternFile>,
}

/// Parses one file.
///
/// # Errors
/// The first thing that YAML or the shape refuses, with its place.
pub fn parse(source: &SourceFile) -> Result<ParsedFile, Diagnostic> {
    let name = &source.name;
    let whole = |message: String| {
        Diagnostic::new(Level::Error, name, "", Place::default(), message)
    };
    if source.text.len() > FILE_MAX {
        return Err(whole(format!(
            "the file has {} bytes; at most {FILE_MAX} are taken",
            source.text.len()
        ))
        .help("split it; one file a component"));
    }
    let text = match std::str::from_utf8(&source.text) {
        Ok(text) => text,
        Err(e) => {
            let byte = source.text[e.valid_up_to()];
            let message = format!("the file is not UTF-8: byte 0x{byte:02x}");
            let cause = match source.text.first_chunk() {
                Some([0xff, 0xfe] | [0xfe, 0xff]) => "it is UTF-16",
                _ => "Latin-1 is the usual cause",
            };
            return Err(at_byte(source, e.valid_up_to(), message)
                .help(format!("save it as UTF-8; {cause}")));
        }
    };
    if let Some(at) = text.find('\0') {
        let message = "a NUL byte stands here".to_owned();
        return Err(at_byte(source, at, message)
            .help("text has none; UTF-16 is the usual cause"));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_events: 3 * NODES_MAX,
            max_aliases: 100,
            max_anchors: 100,
        },
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<PatternFile>(text, options) {
        Ok(file) => Ok(ParsedFile {
            name: name.clone(),
            text: text.into(),
            builtin: source.builtin,
            file: Arc::new(file),
        }),
        Err(error) => Err(explain(name, text, &error)),
    }
}

/// A finding at a byte of a file that need not be text.
fn at_byte(source: &SourceFile, at: usize, message: String) -> Diagnostic {
    let before = String::from_utf8_lossy(&source.text[..at]);
    let last = before.rsplit('\n').next().unwrap_or_default();
    let place = Place {
        line: before.split('\n').count() as u64,
        column: last.chars().count() as u64 + 1,
    };
    let text = String::from_utf8_lossy(&source.text);
    Diagnostic::new(Level::Error, &source.name, &text, place, message)
}

/// Turns the parser's error into a finding in our words.
fn explain(name: &str, text: &str, error: &serde_saphyr::Error) -> Diagnostic {
    use serde_saphyr::Error as E;
    let error = error.without_snippet();
    let place = error.location().map_or(Place::default(), |l| Place {
        line: l.line(),
        column: l.column(),
    });
    let finding = |message: String| {
        Diagnostic::new(Level::Error, name, text, place, message)
    };
    let choose = |word: &str, expected: &[&'static str]| {
        did_you_mean(word, expected.iter().copied()).map_or_else(
            || format!("one of: {}", expected.join(", ")),
            |w| format!("did you mean `{w}`?"),
        )
    };
    match error {
        E::SerdeUnknownField { field, expected, .. } => {
            finding(format!("unknown field `{field}`"))
                .help(choose(field, expected))
        }
        E::SerdeUnknownVariant { variant, expected, .. } => {
            finding(format!("unknown value `{variant}`"))
                .help(choose(variant, expected))
        }
        E::SerdeMissingField { field, .. } => {
            finding(format!("the field `{field}` is missing"))
        }
        E::SerdeInvalidType { unexpected, expected, .. }
        | E::SerdeInvalidValue { unexpected, expected, .. } => {
            finding(format!("expected {expected}, found {unexpected}"))
        }
        E::Eof { .. } => finding("the file is empty or ends early".into())
            .help("a pattern file begins with `version: 1`"),
        E::InvalidBooleanStrict { .. } => {
            finding("expected true or false".into())
        }
        E::UnexpectedValueForUnitEnumVariant { .. } => {
            finding("this word takes no value".into())
                .help("write it alone, without a colon")
        }
        E::MultipleDocuments { .. } => {
            finding("a second document begins here".into())
                .help("take out the line `---`, or split the file")
        }
        E::UnknownAnchor { .. } => {
            finding("this alias stands for nothing".into())
                .help("text that begins with `*` needs quotes")
        }
        E::Budget {
            breach: BudgetBreach::Events { .. } | BudgetBreach::Nodes { .. },
            ..
        } => finding(format!(
            "the file has more than {NODES_MAX} keys and values"
        ))
        .help("split it; one file a component"),
        E::Budget { .. }
        | E::AliasReplayLimitExceeded { .. }
        | E::AliasExpansionLimitExceeded { .. } => {
            finding("the file is nested or repeated beyond all need".into())
                .help("write it out, without anchors and aliases")
        }
        other => {
            let words = shape(other);
            let words = words.unwrap_or_else(|| of_yaml(&other.to_string()));
            let help = if words.starts_with("mapping values") {
                Some(quoted(text, place))
            } else {
                let escape = words.contains("double quotes");
                escape.then(|| "write expressions in single quotes".into())
            };
            let finding = finding(words);
            match help {
                Some(help) => finding.help(help),
                None => finding,
            }
        }
    }
}

/// What the parser says of a shape that is not the one wanted, in our words.
pub fn shape(error: &serde_saphyr::Error) -> Option<String> {
    use serde_saphyr::Error as E;
    match error {
        E::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("?");
            Some(format!("the key `{key}` stands here twice"))
        }
        E::Unexpected { expected, .. } => {
            Some(format!("expected {}", in_our_words(expected)))
        }
        E::InvalidScalar { ty, .. } => {
            Some(format!("expected {}", in_our_words(ty)))
        }
        E::ExternallyTaggedEnumExpectedScalarOrMapping { .. } => {
            Some("expected one word".into())
        }
        _ => None,
    }
}

/// What to do about a colon in text without quotes, which YAML takes for the
/// end of a key.
fn quoted(text: &str, place: Place) -> String {
    let at = usize::try_from(place.line).unwrap_or(usize::MAX);
    let line = text.lines().nth(at.saturating_sub(1)).unwrap_or_default();
    let value = line.split_once(": ").map_or("", |(_, v)| v.trim());
    if line.trim_start().starts_with("tolerate: ") {
        let value = value.replace(['"', '\''], "");
        return format!("put it into quotes: tolerate: '{value}'");
    }
    "text that has a colon and a blank in it needs quotes".into()
}

/// What the parser calls a shape, as people know it.
fn in_our_words(shape: &str) -> &str {
    match shape {
        "sequence start" => "a list",
        "mapping start" => "fields, each `name: value`",
        "string scalar" => "text",
        "bool" | "boolean" => "true or false",
        "u32" | "u64" | "usize" => "a whole number",
        other => other,
    }
}

/// The YAML parser's own words: one line, without the place, which is shown
/// anyway.
fn of_yaml(words: &str) -> String {
    let first = words.lines().next().unwrap_or("not valid YAML");
    let end = first.rfind(" at line ").unwrap_or(first.len());
    let said = &first[..end];
    if said.contains("found a tab") {
        return "a tab stands where YAML wants spaces".into();
    }
    if said.contains("unknown escape character") {
        return "in double quotes a backslash is YAML's own".into();
    }
    if said.contains("recursion limit") {
        return "the file is nested or repeated beyond all need".into();
    }
    said.to_owned()
}
