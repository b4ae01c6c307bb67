//! Whether the API server holds this agent to its own Node. An agent that
//! could change others' is one stolen token away from a cluster that is
//! down, so where it could, it quarantines nothing. Tried by a patch of
//! another Node that the server checks and does not carry out
//! (`dryRun=All`), at the start and every hour.
//!
//! Only a refusal of that patch itself says that others are guarded: an
//! agent that may not list, whose token is over, or whom the server sends
//! away has tried nothing.

use std::time::Duration;

use hyper::Method;
use serde_json::Value;

use super::client::{Ask, Client, JSON, MANAGER, MERGE, TABLE};
use super::cluster::{ApiError, Dated, Table};
use super::pace::{Backoff, between};
use crate::clock;
use crate::time::Uptime;

/// How often it is tried: policies are changed by people. Spread by a tenth
/// to both sides, so that the agents of one rollout do not stay in step.
const EVERY: Duration = Duration::from_secs(3_600);

/// The patch that is tried. It changes nothing that anybody reads, should a
/// server ever carry it out.
const TRIAL: &[u8] =
    br#"{"metadata":{"annotations":{"faultline.dev/tried":"x"}}}"#;

/// What came of trying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was refused, or there is no other Node.
    Guarded,
    /// It would have been done, to this Node.
    Open(String),
    /// It can't be tried, for this reason, which does not pass by itself.
    Untried(String),
}

/// How a try ended.
#[derive(Debug, PartialEq, Eq)]
enum Tried {
    /// There is no other Node.
    NoOther,
    /// The server refused the patch.
    Refused,
    /// It would have been done, to this Node.
    WouldDo(String),
}

/// What is known of it.
#[derive(Debug, Default)]
pub struct Guard {
    /// Whether a person said to go on without.
    needless: bool,
    verdict: Option<Verdict>,
    /// When it is to be tried next; at once, if it never was.
    due: Uptime,
    backoff: Backoff,
}

impl Guard {
    /// Nothing was tried yet. `needless`: whatever comes of it, go on.
    pub fn new(needless: bool) -> Guard {
        Guard { needless, ..Guard::default() }
    }

    /// How long until it is to be tried again.
    pub fn due_in(&self, now: Uptime) -> Duration {
        self.due.since(now)
    }

    /// Whether a node may be taken out: not before it is known that others
    /// are guarded, unless a person said so.
    pub fn allows(&self) -> bool {
        self.needless || self.is_guarded()
    }

    /// Whether the API server is known to hold this agent to its own Node.
    pub fn is_guarded(&self) -> bool {
        self.verdict == Some(Verdict::Guarded)
    }

    /// Tries it; the verdict, if it is another than before.
    pub async fn check(&mut self, client: &Client) -> Option<Verdict> {
        let tried = try_other_node(client).await;
        self.learn(tried, clock::boot())
    }

    /// Takes note of a try. One that failed leaves what is known as it was:
    /// a server that does not answer says nothing about its policies.
    fn learn(
        &mut self,
        tried: Result<Tried, ApiError>,
        now: Uptime,
    ) -> Option<Verdict> {
        let verdict = match tried {
            Ok(tried) => {
                self.backoff.reset();
                self.due = now.plus(between(EVERY * 9 / 10, EVERY * 11 / 10));
                match tried {
                    Tried::NoOther | Tried::Refused => Verdict::Guarded,
                    Tried::WouldDo(node) => Verdict::Open(node),
                }
            }
            Err(error) => {
                self.due = now.plus(self.backoff.pause(&error));
                let known = matches!(
                    self.verdict,
                    Some(Verdict::Guarded | Verdict::Open(_))
                );
                if known || !error.is_refusal() {
                    return None;
                }
                Verdict::Untried(error.to_string())
            }
        };
        let new = self.verdict.as_ref() != Some(&verdict);
        self.verdict = Some(verdict.clone());
        new.then_some(verdict)
    }
}

/// Has the server check a change of another Node, which it does not carry
/// out.
async fn try_other_node(client: &Client) -> Result<Tried, ApiError> {
    let path = "/api/v1/nodes?limit=2&includeObject=Metadata";
    let ask = Ask { accept: TABLE, ..Ask::get("list", path) };
    let table: Dated<Table> = client.object(ask).await?;
    let (rows, _) = table.value.rows(None)?;
    let mut names = rows.iter().map(|row| &*row.name);
    let Some(other) = names.find(|name| *name != client.node_name()) else {
        return Ok(Tried::NoOther);
    };
    // Two endpoints, and a policy may have been written for one alone.
    for side in ["", "/status"] {
        let path = format!("/api/v1/nodes/{other}{side}?dryRun=All&{MANAGER}");
        let ask = Ask {
            verb: "dry-run",
            method: Method::PATCH,
            path: &path,
            accept: JSON,
            body: Some((MERGE, TRIAL.to_vec())),
        };
        match client.object::<Value>(ask).await {
            Ok(_) => return Ok(Tried::WouldDo(format!("{other}{side}"))),
            Err(error) if error.is_refusal() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Tried::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Uptime {
        Uptime::default().plus(Duration::from_secs(seconds))
    }

    fn denied() -> ApiError {
        ApiError::Denied("nodes is forbidden".into())
    }

    #[test]
    fn only_what_is_known_to_be_guarded_allows_unless_a_person_says_so() {
        let after = |tried, needless| {
            let mut guard = Guard::new(needless);
            guard.learn(tried, at(0));
            guard.allows()
        };
        let open = || Ok(Tried::WouldDo("n2".into()));
        assert!(after(Ok(Tried::Refused), false));
        assert!(after(Ok(Tried::NoOther), false));
        assert!(!after(open(), false));
        assert!(after(open(), true));
        assert!(!Guard::new(false).allows());
        assert!(after(Err(denied()), true));
    }

    #[test]
    fn a_try_that_did_not_come_to_the_patch_guards_nothing() {
        let mut guard = Guard::new(false);
        let said = guard.learn(Err(denied()), at(0));
        let untried = Verdict::Untried(denied().to_string());
        assert_eq!(said, Some(untried));
        // Once; and a server that fails is no reason that lasts.
        assert_eq!(guard.learn(Err(denied()), at(60)), None);
        let failed = ApiError::Failed { status: 500, message: "x".into() };
        assert_eq!(guard.learn(Err(failed), at(120)), None);
        let unknown = ApiError::Unauthorized("x".into());
        assert_eq!(guard.learn(Err(unknown), at(180)), None);
        assert!(!guard.allows());
        guard.learn(Ok(Tried::Refused), at(240));
        assert!(guard.allows());
        // Nor does a failure take away what is known.
        assert_eq!(guard.learn(Err(denied()), at(4_000)), None);
        assert!(guard.allows());
    }

    #[test]
    fn it_is_tried_at_once_and_then_every_hour_each_agent_at_its_own_time() {
        let mut pauses: Vec<Duration> = (0..50)
            .map(|_| {
                let mut guard = Guard::new(false);
                assert_eq!(guard.due_in(at(5)), Duration::ZERO);
                guard.learn(Ok(Tried::Refused), at(5));
                guard.due_in(at(5))
            })
            .collect();
        pauses.sort();
        assert!(pauses[0] >= EVERY * 9 / 10, "{pauses:?}");
        assert!(pauses[49] <= EVERY * 11 / 10, "{pauses:?}");
        assert!(pauses[49] - pauses[0] > EVERY / 20, "{pauses:?}");
    }

    #[test]
    fn a_try_that_fails_is_not_repeated_at_once() {
        let mut guard = Guard::new(false);
        guard.learn(Ok(Tried::Refused), at(0));
        let asked = Duration::from_secs(30);
        let throttled = || ApiError::Throttled {
            retry_after: Some(Duration::from_secs(30)),
        };
        let mut now = at(4_000);
        assert_eq!(guard.due_in(now), Duration::ZERO);
        for _ in 0..5 {
            guard.learn(Err(throttled()), now);
            assert!(guard.due_in(now) > asked);
            now = now.plus(guard.due_in(now));
        }
        // Nor by a server that names no time.
        for error in [denied(), ApiError::NotFound] {
            guard.learn(Err(error), now);
            assert!(guard.due_in(now) >= Duration::from_millis(100));
        }
    }
}
