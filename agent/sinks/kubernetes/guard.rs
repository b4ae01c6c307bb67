//! Whether the API server holds this agent to its own Node. An agent that
//! could change others' is one stolen token away from a cluster that is
//! down, so where it could, it quarantines nothing. Tried by a patch of
//! another Node that the server checks and does not carry out
//! (`dryRun=All`), at the start and every hour.

use std::time::Duration;

use super::client::Client;
use super::cluster::ApiError;
use crate::time::Uptime;

/// How often it is tried: policies are changed by people.
const EVERY: Duration = Duration::from_secs(3_600);

/// What came of trying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was refused, or there is no other Node.
    Guarded,
    /// It would have been done, to this Node.
    Open(String),
}

/// What is known of it.
#[derive(Debug, Default)]
pub struct Guard {
    /// Whether a person said to go on without.
    needless: bool,
    verdict: Option<Verdict>,
    tried: Option<Uptime>,
}

impl Guard {
    /// Nothing was tried yet. `needless`: whatever comes of it, go on.
    pub fn new(needless: bool) -> Guard {
        Guard { needless, ..Guard::default() }
    }

    /// How long until it is to be tried again.
    pub fn due_in(&self, now: Uptime) -> Duration {
        let passed = self.tried.map(|tried| now.since(tried));
        passed.map_or(Duration::ZERO, |passed| EVERY.saturating_sub(passed))
    }

    /// Whether quarantine is allowed; `None`: not known yet.
    pub fn allows(&self) -> Option<bool> {
        let verdict = self.verdict.as_ref()?;
        Some(self.needless || *verdict == Verdict::Guarded)
    }

    /// Whether the API server is known to hold this agent to its own Node.
    pub fn is_guarded(&self) -> bool {
        self.verdict == Some(Verdict::Guarded)
    }

    /// Tries it; the verdict, if it is another than before. A server that
    /// does not answer says nothing about its policies.
    pub async fn check(
        &mut self,
        client: &Client,
        now: Uptime,
    ) -> Option<Verdict> {
        let verdict = match client.try_other_node().await {
            Ok(None) | Err(ApiError::Denied(_) | ApiError::Invalid(_)) => {
                Verdict::Guarded
            }
            Ok(Some(node)) => Verdict::Open(node),
            Err(_) => return None,
        };
        self.tried = Some(now);
        let new = self.verdict.as_ref() != Some(&verdict);
        self.verdict = Some(verdict.clone());
        new.then_some(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_be_guarded_allows_unless_a_person_says_so() {
        let known =
            |verdict, needless| Guard { needless, verdict, tried: None };
        let open = || Some(Verdict::Open("n2".into()));
        assert_eq!(known(None, true).allows(), None);
        assert_eq!(known(Some(Verdict::Guarded), false).allows(), Some(true));
        assert_eq!(known(open(), false).allows(), Some(false));
        assert_eq!(known(open(), true).allows(), Some(true));
    }

    #[test]
    fn it_is_tried_at_once_and_then_every_hour() {
        let at = |s| Uptime::default().plus(Duration::from_secs(s));
        let mut guard = Guard::new(false);
        assert_eq!(guard.due_in(at(5)), Duration::ZERO);
        guard.tried = Some(at(5));
        assert_eq!(guard.due_in(at(65)), Duration::from_secs(3_540));
        assert_eq!(guard.due_in(at(3_700)), Duration::ZERO);
    }
}
