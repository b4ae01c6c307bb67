//! Asking something that may hang: on a thread of its own, waited for only
//! so long, at most one at a time.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::tree::Progress;

/// How long reading sysfs may take. A server with a thousand functions takes
/// a tenth of a second; what takes longer than this hangs.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Whoever asks; a question that hangs stays the only one.
#[derive(Debug)]
pub struct Probe<T> {
    under_way: Option<(Receiver<T>, Progress)>,
}

impl<T> Default for Probe<T> {
    fn default() -> Probe<T> {
        Probe { under_way: None }
    }
}

impl<T: Send + 'static> Probe<T> {
    /// Asks, and waits up to `patience` for the answer. If the last question
    /// still hangs, that one is waited for instead.
    ///
    /// # Errors
    /// There is no answer yet; a fragment says why.
    pub fn ask(
        &mut self,
        patience: Duration,
        question: impl FnOnce(Progress) -> T + Send + 'static,
    ) -> Result<T, String> {
        if self.under_way.is_none() {
            self.under_way = Some(begin(question)?);
        }
        self.answer(patience)
    }

    /// Begins to ask, unless the last question still hangs; the answer is
    /// fetched later.
    ///
    /// # Errors
    /// No thread could be made.
    pub fn begin(
        &mut self,
        question: impl FnOnce(Progress) -> T + Send + 'static,
    ) -> Result<(), String> {
        if self.under_way.is_none() {
            self.under_way = Some(begin(question)?);
        }
        Ok(())
    }

    /// Whether no question hangs.
    pub fn is_free(&self) -> bool {
        self.under_way.is_none()
    }

    /// Waits up to `patience` for the answer to what was begun.
    ///
    /// # Errors
    /// There is no answer yet; a fragment says why.
    pub fn answer(&mut self, patience: Duration) -> Result<T, String> {
        let Some((receiver, progress)) = self.under_way.take() else {
            return Err("nothing was asked".into());
        };
        match receiver.recv_timeout(patience) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Timeout) => {
                let path = progress.path();
                self.under_way = Some((receiver, progress));
                Err(format!("reading {} hangs", path.display()))
            }
            Err(RecvTimeoutError::Disconnected) => Err(format!(
                "reading {} panicked, which is a bug",
                progress.path().display()
            )),
        }
    }
}

fn begin<T: Send + 'static>(
    question: impl FnOnce(Progress) -> T + Send + 'static,
) -> Result<(Receiver<T>, Progress), String> {
    let progress = Progress::default();
    let (sender, receiver) = sync_channel(1);
    let own = progress.clone();
    let ask = move || {
        // Whoever waited may have gone.
        let _ = sender.send(question(own));
    };
    let thread = std::thread::Builder::new().name("probe".into());
    let thread = thread.spawn(ask);
    thread.map_err(|e| format!("no thread to read with: {e}"))?;
    Ok((receiver, progress))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_hangs_stays_the_only_one_until_it_is_answered() {
        let mut probe = Probe::default();
        let (answer, hang) = sync_channel(1);
        let soon = Duration::from_millis(5);
        let first = probe.ask(soon, move |_| hang.recv().unwrap_or(0));
        assert!(first.unwrap_err().contains("hangs"));
        let second = probe.ask(soon, |_| panic!("asked twice"));
        assert!(second.is_err());
        answer.send(7).unwrap();
        assert_eq!(probe.answer(PATIENCE), Ok(7));
        assert_eq!(probe.ask(PATIENCE, |_| 8), Ok(8));
    }

    #[test]
    fn a_question_that_panics_is_no_answer() {
        let mut probe = Probe::<u8>::default();
        let answer = probe.ask(PATIENCE, |_| panic!("no"));
        assert!(answer.unwrap_err().contains("bug"));
        assert_eq!(probe.ask(PATIENCE, |_| 8), Ok(8));
    }
}
