//! The matcher: one pass over all patterns, whatever their number.

use crate::kernel::KernelRecord;
use crate::observation::Observation;
use crate::signal::Event;

/// The compiled matchers of a pattern set.
#[derive(Debug, Default)]
pub struct Matcher {}

/// Buffers that one source's thread reuses from line to line.
#[derive(Debug, Default)]
pub struct Scratch {}

/// What became of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// No pattern knows it.
    Nothing,
    /// A `benign` pattern knows it.
    Benign,
    /// At least one pattern took it; the events say which.
    Taken,
}

impl Matcher {
    /// Holds an observation of an event source against the patterns and
    /// appends what they make of it to `out`.
    pub fn observe(
        &self,
        _observation: &Observation<'_>,
        _scratch: &mut Scratch,
        _out: &mut Vec<Event>,
    ) -> Taken {
        Taken::Nothing
    }

    /// Holds a record of kernel text against the `kmsg` patterns: each of its
    /// lines, and the whole if it has several; a record with a form only
    /// against the patterns that name the form.
    pub fn observe_kernel(
        &self,
        _record: &KernelRecord<'_>,
        _scratch: &mut Scratch,
        _out: &mut Vec<Event>,
    ) -> Taken {
        Taken::Nothing
    }
}
