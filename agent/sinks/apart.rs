//! What the network's thread asks of the disk: on a thread of its own, waited
//! for only so long, one question at a time.
//!
//! A system disk that dies leaves whoever reads from it hanging for ever. On
//! the network's one thread that would be health, metrics and everything the
//! API server is to be told; among the runtime's few blocking threads, from
//! which names are resolved, it would be every new connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

/// The stack of such a thread: certificates and JSON are parsed on it. Only
/// pages that were touched take memory.
const STACK: usize = 1 << 20;

/// Who asks; a question that hangs stays the only one.
#[derive(Clone, Debug)]
pub struct Apart {
    place: Arc<Semaphore>,
}

impl Default for Apart {
    fn default() -> Apart {
        Apart { place: Arc::new(Semaphore::new(1)) }
    }
}

impl Apart {
    /// Asks; `None` if there is no answer within `patience`, in which
    /// questions asked before are waited for, too.
    pub async fn ask<T: Send + 'static>(
        &self,
        patience: Duration,
        question: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let ask = async {
            let place = Arc::clone(&self.place).acquire_owned().await.ok()?;
            let (reply, answer) = oneshot::channel();
            let thread = std::thread::Builder::new().name("apart".into());
            let asked = thread.stack_size(STACK).spawn(move || {
                let said = question();
                drop(place);
                // Whoever asked may have gone.
                let _ = reply.send(said);
            });
            asked.ok()?;
            answer.await.ok()
        };
        tokio::time::timeout(patience, ask).await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_question_that_hangs_stays_the_only_one_and_keeps_nobody() {
        let apart = Apart::default();
        let soon = Duration::from_millis(20);
        let (release, hang) = mpsc::channel();
        let first = apart.ask(soon, move || hang.recv().unwrap()).await;
        assert_eq!(first, None);
        let second = apart.ask(soon, || panic!("asked twice"));
        assert_eq!(second.await, None::<u8>);
        release.send(7).unwrap();
        let long = Duration::from_secs(20);
        assert_eq!(apart.ask(long, || 8).await, Some(8));
    }

    #[tokio::test]
    async fn a_question_that_panics_is_no_answer() {
        let apart = Apart::default();
        let long = Duration::from_secs(20);
        assert_eq!(apart.ask(long, || panic!("no")).await, None::<u8>);
        assert_eq!(apart.ask(long, || 8).await, Some(8));
    }
}
