//! What is wrong with a pattern file, said so that the line can be mended:
//! file, line, column, the text, and a suggestion.

use std::fmt;

use serde::Serialize;

use super::located::Place;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The file loads, but something is unwise.
    Warning,
    /// The file is refused whole.
    Error,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad.
    pub level: Level,
    /// The file as people know it.
    pub file: String,
    /// Where in it.
    pub place: Place,
    /// The line of the file that it is about, if there is one.
    pub text: Option<String>,
    /// What is wrong; a lower-case fragment.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// The longest piece of an offending line that is shown.
const SHOWN: usize = 160;

impl Diagnostic {
    /// A finding in `file`, whose text is at hand.
    pub fn new(
        level: Level,
        file: &str,
        source: &str,
        place: Place,
        message: impl Into<String>,
    ) -> Diagnostic {
        let line = usize::try_from(place.line).ok().filter(|l| *l > 0);
        let text = line.and_then(|l| source.lines().nth(l - 1));
        Diagnostic {
            level,
            file: file.to_owned(),
            place,
            text: text.map(|t| t.chars().take(SHOWN).collect()),
            message: message.into(),
            help: None,
        }
    }

    /// With advice.
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Warning => "warning",
            Level::Error => "error",
        };
        writeln!(f, "{level}: {}", show(&self.message))?;
        let Place { line, column } = self.place;
        write!(f, "  --> {}", show(&self.file))?;
        if line > 0 {
            write!(f, ":{line}:{column}")?;
        }
        if let (Some(text), true) = (&self.text, line > 0) {
            let number = line.to_string();
            let pad = " ".repeat(number.len());
            let indent = usize::try_from(column).unwrap_or(1).max(1) - 1;
            writeln!(f, "\n {pad} |\n {number} | {}", show(text))?;
            write!(f, " {pad} | {}^", " ".repeat(indent.min(SHOWN)))?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  = help: {}", show(help))?;
        }
        Ok(())
    }
}

fn show(text: &str) -> std::borrow::Cow<'_, str> {
    crate::escape::escape(text.as_bytes())
}

/// The candidate that a mistyped word most likely meant, if one is near.
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // A third of the letters may be wrong, and words far longer than any
    // name of ours are not worth the quadratic comparison.
    if word.len() > 64 {
        return None;
    }
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|c| (distance(word, c), c))
        .filter(|(d, _)| *d <= limit)
        .min()
        .map(|(_, c)| c)
}

/// Optimal string alignment distance: insertions, deletions, substitutions
/// and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1)
                .min(rows[i][j - 1] + 1)
                .min(rows[i - 1][j - 1] + same);
            let swapped =
                i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if swapped {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_suggested_and_a_far_one_is_not() {
        let names = ["tolerate", "severity", "source", "clear"];
        assert_eq!(did_you_mean("tollerate", names), Some("tolerate"));
        assert_eq!(did_you_mean("serverity", names), Some("severity"));
        assert_eq!(did_you_mean("claer", names), Some("clear"));
        assert_eq!(did_you_mean("quarantine", names), None);
    }

    #[test]
    fn a_finding_points_at_the_text_and_escapes_it() {
        let place = Place { line: 2, column: 3 };
        let text = "a: 1\n  b\u{1b}[2J: 2\n";
        let shown =
            Diagnostic::new(Level::Error, "x.yaml", text, place, "bad key")
                .help("did you mean `c`?")
                .to_string();
        assert_eq!(
            shown,
            "error: bad key\n  --> x.yaml:2:3\n   |\n 2 |   \
             b\\x1b[2J: 2\n   |   ^\n  = help: did you mean `c`?"
        );
    }
}
