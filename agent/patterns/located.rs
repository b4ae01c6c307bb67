//! Values that remember where in their file they stand, so that a mistake
//! found long after parsing still points at its line and column.

use serde::{Deserialize, Deserializer, Serialize};
use serde_saphyr::Spanned;

/// A place in a file: line and column from 1; 0:0 when it is not known.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize,
)]
pub struct Place {
    /// The line, from 1.
    pub line: u64,
    /// The column in characters, from 1.
    pub column: u64,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<T>::deserialize(d)?;
        let place = Place {
            line: spanned.referenced.line(),
            column: spanned.referenced.column(),
        };
        Ok(At { value: spanned.value, place })
    }
}
