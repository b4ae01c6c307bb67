//! Matchers of single fields: expressions, words, numbers and flags.

use std::sync::OnceLock;

use regex_automata::Input;
use regex_automata::meta::Regex;

use crate::observation::{Observation, Value};

/// A comparison of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Compare {
    /// `>= x`
    AtLeast(f64),
    /// `> x`
    Above(f64),
    /// `<= x`
    AtMost(f64),
    /// `< x`
    Below(f64),
    /// `= x`
    Is(f64),
}

/// One field's matcher, checked.
#[derive(Debug)]
pub enum FieldMatcher {
    /// A regular expression on bytes.
    Expression(&'static str, Expression),
    /// One of these words.
    Words(&'static str, Vec<String>),
    /// A number.
    Number(&'static str, Compare),
    /// True or false.
    Flag(&'static str, bool),
}

/// A regular expression that is compiled when its literal is first met:
/// most patterns never are on most nodes, and memory counts.
#[derive(Debug)]
pub struct Expression {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Expression {
    /// Takes an expression that `compile` has checked.
    pub fn new(text: String) -> Expression {
        Expression { text, compiled: OnceLock::new() }
    }

    /// Compiles it: bytes, no Unicode, no tables that cost memory to be fast
    /// on long texts.
    ///
    /// # Errors
    /// The reason why it is too large.
    pub fn compile(text: &str) -> Result<Regex, String> {
        /// An expression of 1 KiB with bounded repetitions stays far below.
        const NFA_MAX: usize = 256 << 10;
        let config = Regex::config()
            .hybrid(false)
            .nfa_size_limit(Some(NFA_MAX))
            .onepass_size_limit(Some(32 << 10));
        let syntax = regex_automata::util::syntax::Config::new()
            .unicode(false)
            .utf8(false)
            .nest_limit(64);
        Regex::builder().configure(config).syntax(syntax).build(text).map_err(
            |e| match e.size_limit() {
                Some(_) => "the expression is too large; bound its \
                            repetitions"
                    .to_owned(),
                None => e.to_string(),
            },
        )
    }

    pub(super) fn matches(&self, text: &[u8]) -> bool {
        // `is_match` would take the slowest engine for more than 128 bytes.
        let input = Input::new(text);
        self.regex().is_some_and(|regex| regex.search_half(&input).is_some())
    }

    pub(super) fn regex(&self) -> Option<&Regex> {
        self.compiled
            .get_or_init(|| Expression::compile(&self.text).ok())
            .as_ref()
    }
}

impl FieldMatcher {
    /// The field it looks at.
    pub(super) fn field(&self) -> &'static str {
        match self {
            FieldMatcher::Expression(field, _)
            | FieldMatcher::Words(field, _)
            | FieldMatcher::Number(field, _)
            | FieldMatcher::Flag(field, _) => field,
        }
    }

    pub(super) fn holds(&self, observation: &Observation<'_>) -> bool {
        match self {
            FieldMatcher::Expression(field, expression) => {
                matches!(observation.get(field), Some(Value::Text(text))
                    if expression.matches(text))
            }
            FieldMatcher::Words(field, words) => {
                observation.fields.iter().any(|(name, value)| {
                    name == field
                        && matches!(value, Value::Word(w)
                            if words.iter().any(|x| x == w))
                })
            }
            FieldMatcher::Number(field, compare) => {
                matches!(observation.get(field), Some(Value::Number(x))
                    if compare.holds(x))
            }
            FieldMatcher::Flag(field, flag) => {
                matches!(observation.get(field), Some(Value::Flag(f))
                    if f == *flag)
            }
        }
    }
}

impl Compare {
    pub(super) fn holds(self, x: f64) -> bool {
        match self {
            Compare::AtLeast(y) => x >= y,
            Compare::Above(y) => x > y,
            Compare::AtMost(y) => x <= y,
            Compare::Below(y) => x < y,
            Compare::Is(y) => x == y,
        }
    }
}
