//! Outlives its own bugs: a panic of what talks to the API server is caught,
//! counted and followed by a new beginning. It would otherwise end every
//! request for good while all else of the agent looks well.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::sleep;

use crate::clock;
use crate::sinks::counts::Counts;

/// The pause before the first new beginning; it doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(1);

/// The longest pause; whoever worked for longer than this begins with the
/// first again.
const LONGEST: Duration = Duration::from_secs(300);

/// Does `begin` again and again until it ends by itself. Nothing of a
/// failed one goes on: what it held is made anew.
pub async fn outlive(counts: &Counts, mut begin: impl AsyncFnMut()) {
    let mut pause = FIRST;
    loop {
        let began = clock::boot();
        if Caught(Box::pin(begin())).await.is_ok() {
            return;
        }
        counts.restarted();
        counts.connected(false);
        if clock::boot().since(began) > LONGEST {
            pause = FIRST;
        }
        tracing::error!(
            pause_seconds = pause.as_secs(),
            "what talks to the API server failed and begins anew"
        );
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

/// A future whose panic is a result.
struct Caught<F>(Pin<Box<F>>);

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, ()>;

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Self::Output> {
        let inner = &mut self.0;
        // It is never polled again after a panic; what others share with it
        // is behind locks that are taken poisoned or not.
        match catch_unwind(AssertUnwindSafe(|| inner.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(_) => Poll::Ready(Err(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_counted_and_followed_by_a_new_beginning() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let counts = Counts::default();
        counts.connected(true);
        let mut begun = 0;
        runtime.block_on(outlive(&counts, async || {
            begun += 1;
            sleep(Duration::from_millis(1)).await;
            assert!(begun > 1, "a bug");
        }));
        assert_eq!(begun, 2);
        assert_eq!(counts.show().restarts, 1);
        assert!(!counts.is_connected());
    }
}
