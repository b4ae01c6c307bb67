//! Templates: text with `{name}` holes, filled from captures and fields.

use std::collections::BTreeMap;

/// A template that can be filled. It is kept as written and read piece by
/// piece each time: a list of its pieces takes several times as much memory,
/// and most templates are never filled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(Box<str>);

enum Piece<'a> {
    Text(&'a str),
    Hole(&'a str),
}

impl Template {
    /// Parses `text`; `{{` and `}}` stand for braces.
    ///
    /// # Errors
    /// A lower-case fragment that says what is wrong.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut rest = text;
        while let Some((_, behind)) = split(rest)? {
            rest = behind;
        }
        Ok(Template(text.into()))
    }

    fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            // Mistakes were found when it was parsed.
            let (piece, behind) = split(rest).ok().flatten()?;
            rest = behind;
            Some(piece)
        })
    }

    /// The names of its holes, in order.
    pub fn holes(&self) -> impl Iterator<Item = &str> {
        self.pieces().filter_map(|p| match p {
            Piece::Hole(name) => Some(name),
            Piece::Text(_) => None,
        })
    }

    /// The text before the first brace.
    pub fn prefix(&self) -> &str {
        match self.pieces().next() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }

    /// Fills the holes; `None` when one has no value.
    pub fn fill(&self, values: &BTreeMap<String, String>) -> Option<String> {
        let mut out = String::new();
        for piece in self.pieces() {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Hole(name) => out.push_str(values.get(name)?),
            }
        }
        Some(out)
    }

    /// Fills the holes for people: a hole without a value is `?`, and
    /// `{count}` is `count`.
    pub fn show(
        &self,
        values: &BTreeMap<String, String>,
        count: u64,
    ) -> String {
        let mut out = String::new();
        for piece in self.pieces() {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Hole("count") => {
                    out.push_str(&count.to_string());
                }
                Piece::Hole(name) => {
                    out.push_str(values.get(name).map_or("?", |v| v));
                }
            }
        }
        out
    }
}

/// The first piece of a text and what stands behind it; `None` of none.
fn split(text: &str) -> Result<Option<(Piece<'_>, &str)>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let at = text.find(['{', '}']).unwrap_or(text.len());
    if at > 0 {
        let (literal, rest) = text.split_at(at);
        return Ok(Some((Piece::Text(literal), rest)));
    }
    let (brace, after) = text.split_at(1);
    if let Some(rest) = after.strip_prefix(brace) {
        return Ok(Some((Piece::Text(brace), rest)));
    }
    if brace == "}" {
        return Err("a lone '}'; write '}}' for a brace".into());
    }
    let Some((name, rest)) = after.split_once('}') else {
        return Err("unclosed '{'; write '{{' for a brace".into());
    };
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(good) {
        return Err(format!("'{{{name}}}' is no capture name"));
    }
    Ok(Some((Piece::Hole(name), rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled_and_braces_escaped() {
        let t = Template::parse("disk/{dev} {{x}}").unwrap();
        let values = BTreeMap::from([("dev".into(), "sda".into())]);
        assert_eq!(t.fill(&values).unwrap(), "disk/sda {x}");
        assert_eq!(t.fill(&BTreeMap::new()), None);
        assert_eq!(t.show(&BTreeMap::new(), 1), "disk/? {x}");
        assert_eq!(t.holes().collect::<Vec<_>>(), ["dev"]);
    }

    #[test]
    fn broken_templates_are_refused_with_the_reason() {
        for text in ["{", "}", "{a b}", "{}", "a{x"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
