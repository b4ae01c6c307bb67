//! Observations that outlive what they were read from: made on the thread
//! that reads, held against the patterns on the source's own.

use crate::observation::Value;

/// A field's value, owned.
#[derive(Clone, Debug, PartialEq)]
pub enum Owned {
    /// Text.
    Text(String),
    /// One of the field's words.
    Word(&'static str),
    /// A number.
    Number(f64),
    /// True or false.
    Flag(bool),
}

/// The fields of one observation.
pub type Fields = Vec<(&'static str, Owned)>;

impl Owned {
    fn value(&self) -> Value<'_> {
        match self {
            Owned::Text(text) => Value::Text(text.as_bytes()),
            Owned::Word(word) => Value::Word(word),
            Owned::Number(number) => Value::Number(*number),
            Owned::Flag(flag) => Value::Flag(*flag),
        }
    }
}

/// The fields as an observation has them.
pub fn borrow(fields: &Fields) -> Vec<(&'static str, Value<'_>)> {
    fields.iter().map(|(name, owned)| (*name, owned.value())).collect()
}
