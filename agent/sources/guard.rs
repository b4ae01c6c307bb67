//! A record that makes the agent's own code panic must not stop its source:
//! read again at the restart, it would do so for ever.
//!
//! Each record is parsed and matched under guard. One that panics is skipped
//! at once, logged, and counted as one that could not be understood; whoever
//! calls makes anew what the panic may have left half done.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::escape::escape;

/// So many records are logged in a run of the agent; the metric counts all.
const TOLD_MAX: u32 = 64;

/// How much of such a record is logged, bytes: all of a kernel line.
const SHOWN_MAX: usize = 1024;

/// How many have been logged.
static TOLD: AtomicU32 = AtomicU32::new(0);

/// Lets `take` take the record; `None` when it panicked.
pub(super) fn guarded<T>(
    source: &str,
    record: &[u8],
    take: impl FnOnce() -> T,
) -> Option<T> {
    let guarded = || {
        #[cfg(test)]
        tests::panic_over(record);
        take()
    };
    // What it leaves half done is the caller's to make anew.
    let taken = catch_unwind(AssertUnwindSafe(guarded)).ok();
    if taken.is_none() {
        tell(source, record);
    }
    taken
}

#[cold]
fn tell(source: &str, record: &[u8]) {
    if TOLD.fetch_add(1, Ordering::Relaxed) < TOLD_MAX {
        let shown = &record[..record.len().min(SHOWN_MAX)];
        let record = escape(shown);
        tracing::error!(
            source,
            %record,
            "a record made the agent panic, which is a bug; it is skipped"
        );
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::mpsc::Receiver;

    use super::super::{Context, PatternsCell, Shared, Stop};
    use super::*;
    use crate::observation::Source;
    use crate::patterns::set::PatternSet;
    use crate::queue::Message;

    /// No record that is known makes the matcher panic; this one does in
    /// tests.
    pub const BAD: &str = "a record that the matcher can't bear";

    pub fn panic_over(record: &[u8]) {
        let bad = BAD.as_bytes();
        assert!(!record.windows(bad.len()).any(|w| w == bad), "{BAD}");
    }

    /// A context with no patterns, and what is sent from it.
    pub fn context(source: Source) -> (Context, Receiver<Message>) {
        let set = PatternSet {
            patterns: BTreeMap::new(),
            matcher: Default::default(),
            hash: 0,
            incomplete: false,
        };
        context_with(source, set)
    }

    /// One with these patterns.
    pub fn context_with(
        source: Source,
        set: PatternSet,
    ) -> (Context, Receiver<Message>) {
        let (queue, receiver) = crate::queue::queue();
        let shared = Shared {
            queue,
            patterns: Arc::new(PatternsCell::new(Arc::new(set))),
            stats: Default::default(),
            unexplained: Default::default(),
            stop: Stop::new().unwrap(),
            committed: None,
            once: false,
        };
        (Context::new(source, &shared, BTreeMap::new()), receiver)
    }

    #[test]
    fn a_panic_is_caught_and_what_comes_after_it_taken() {
        let take = |text: &str| guarded("kmsg", text.as_bytes(), || 7);
        assert_eq!(take("good"), Some(7));
        assert_eq!(take(BAD), None);
        assert_eq!(take("good"), Some(7));
    }
}
