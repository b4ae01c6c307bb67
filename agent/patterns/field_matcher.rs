//! Matchers of single fields: expressions, words, numbers and flags.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

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
    Words(&'static str, Vec<&'static str>),
    /// A number.
    Number(&'static str, Compare),
    /// True or false.
    Flag(&'static str, bool),
}

/// A regular expression that is compiled when its literal is met, and let go
/// of when that was long ago: compiled and with what it needs to search it
/// takes some 18 KiB, most are never needed on most nodes, and memory counts.
#[derive(Debug)]
pub struct Expression {
    text: Box<str>,
    compiled: RwLock<Option<Regex>>,
    /// Whether it was needed since [`Expression::forget`] last asked.
    used: AtomicBool,
}

impl Expression {
    /// Takes an expression that `compile` has checked.
    pub fn new(text: String) -> Expression {
        let (compiled, used) = (RwLock::default(), AtomicBool::new(false));
        Expression { text: text.into(), compiled, used }
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
        self.with(|regex| regex.search_half(&input).is_some()).unwrap_or(false)
    }

    /// Does something with the compiled expression; `None` if it can't be
    /// compiled, which was checked.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Regex) -> T) -> Option<T> {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        let compiled = self.compiled.read();
        let compiled = compiled.unwrap_or_else(PoisonError::into_inner);
        if let Some(regex) = &*compiled {
            return Some(work(regex)); // nearly always
        }
        drop(compiled);
        let regex = Expression::compile(&self.text).ok()?;
        let compiled = self.compiled.write();
        let mut compiled = compiled.unwrap_or_else(PoisonError::into_inner);
        Some(work(compiled.get_or_insert(regex)))
    }

    /// Lets go of what is compiled, unless it was needed since the last call
    /// or is just now; whether there was something.
    pub(super) fn forget(&self) -> bool {
        if self.used.swap(false, Ordering::Relaxed) {
            return false;
        }
        let compiled = self.compiled.try_write();
        compiled.is_ok_and(|mut compiled| compiled.take().is_some())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_that_rests_is_forgotten_and_works_again_when_needed() {
        let expression = Expression::new("^disk (?<d>sd[a-z])".into());
        assert!(!expression.forget(), "it was never compiled");
        assert!(expression.matches(b"disk sda"));
        assert!(!expression.forget(), "it was needed since");
        assert!(expression.forget());
        assert!(!expression.forget());
        assert!(expression.matches(b"disk sdb"));
        assert!(!expression.matches(b"disk 7"));
        assert_eq!(expression.with(Regex::captures_len), Some(2));
    }
}
