//! What is wrong with a configuration, so that it can be put right: the
//! place, the line, and what was perhaps meant.

use super::Error;

/// The parser's error with its place, its line and a suggestion.
pub(super) fn explain(
    error: &serde_saphyr::Error,
    text: &str,
    file: &str,
) -> Error {
    let error = error.without_snippet();
    let place = error
        .location()
        .map_or((1, 1), |l| (l.line().max(1), l.column().max(1)));
    use serde_saphyr::Error::{SerdeUnknownField, SerdeUnknownVariant};
    let (what, word, known) = match error {
        SerdeUnknownField { field, expected, .. } => {
            ("unknown key", field, expected)
        }
        SerdeUnknownVariant { variant, expected, .. } => {
            ("unknown word", variant, expected)
        }
        other => {
            let shape = crate::patterns::parse::shape(other);
            let mut message = shape.unwrap_or_else(|| other.to_string());
            if line_at(text, place.0).trim_end().ends_with(':') {
                message.push_str("; nothing stands below it");
            }
            return wrong(file, text, place, message);
        }
    };
    let word = crate::escape::escape(word.as_bytes());
    let hint = match nearest(&word, known) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("use one of {}", known.join(", ")),
    };
    wrong(file, text, place, format!("{what} `{word}`; {hint}"))
}

fn wrong(
    file: &str,
    text: &str,
    (line, column): (u64, u64),
    message: String,
) -> Error {
    let shown = without_secret(line_at(text, line));
    let shown: String = shown.chars().take(200).collect();
    let shown = crate::escape::escape(shown.as_bytes()).into_owned();
    Error::Wrong {
        place: format!("{file}:{line}:{column}"),
        message: format!("{message}\n  | {shown}"),
    }
}

/// A line of the text, counted from 1.
fn line_at(text: &str, line: u64) -> &str {
    let index = usize::try_from(line).unwrap_or(1) - 1;
    text.lines().nth(index).unwrap_or_default()
}

/// The line up to a password that stands where none belongs: what is said
/// here is logged.
fn without_secret(line: &str) -> &str {
    /// What a BMC's credentials are called in the file that is theirs.
    const SECRETS: [&str; 2] = ["password", "bmc_key"];
    let lower = line.to_ascii_lowercase();
    let ends = SECRETS.iter().filter_map(|key| {
        let end = lower.find(key)? + key.len();
        lower[end..].find(':').map(|colon| end + colon + 1)
    });
    ends.min().map_or(line, |end| &line[..end])
}

/// Where `key:` first stands in the text.
pub(super) fn find_key(text: &str, key: &str) -> (usize, usize) {
    let with_colon = format!("{key}:");
    let place = text.lines().enumerate().find_map(|(number, line)| {
        let code = line.split('#').next().unwrap_or_default();
        code.find(&with_colon).map(|column| (number + 1, column + 1))
    });
    place.unwrap_or((1, 1))
}

/// The known word that is nearest to a mistyped one, if one is near.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let allowed = word.len().div_ceil(3).min(3);
    known
        .iter()
        .map(|k| (distance(&word.to_lowercase(), k), *k))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, k)| k)
}

/// The number of letters to change, add or leave out (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
