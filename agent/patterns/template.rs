//! Templates: text with `{name}` holes, filled from captures and fields.

use std::collections::BTreeMap;

/// A parsed template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Hole(String),
}

impl Template {
    /// Parses `text`; `{{` and `}}` stand for braces.
    ///
    /// # Errors
    /// A lower-case fragment that says what is wrong.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let (brace, after) = rest[at..].split_at(1);
            if let Some(after) = after.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err("a lone '}'; write '}}' for a brace".into());
            }
            let Some((name, after)) = after.split_once('}') else {
                return Err("unclosed '{'; write '{{' for a brace".into());
            };
            let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(good) {
                return Err(format!("'{{{name}}}' is no capture name"));
            }
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Hole(name.to_owned()));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Template { pieces })
    }

    /// The names of its holes, in order.
    pub fn holes(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|p| match p {
            Piece::Hole(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The text before the first hole.
    pub fn prefix(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }

    /// Fills the holes; `None` when one has no value.
    pub fn fill(&self, values: &BTreeMap<String, String>) -> Option<String> {
        let mut out = String::new();
        for piece in &self.pieces {
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
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Hole(name) if name == "count" => {
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
