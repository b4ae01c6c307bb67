//! What the ledger's thread answers to the JSON API. The shapes are
//! documented in `docs/api.md`; adding a key is no change of them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use super::keeper::Keeper;
use super::patterns::Rejected;
use crate::patterns::set::{Pattern, Stage};
use crate::queue::Query;
use crate::signal::Health;
use crate::time::{Now, Timestamp};
use crate::view::FaultView;

impl Keeper {
    /// The answer to a question.
    pub(super) fn answer(&self, query: &Query, now: Now) -> Value {
        match query {
            Query::Alive => json!({ "alive": true }),
            Query::Node => self.node(now),
            Query::Faults => {
                let all = self.ledger.faults();
                let all: Vec<FaultView> =
                    all.map(|f| FaultView::of(f, now.boot)).collect();
                json!({ "faults": all })
            }
            Query::Patterns => self.patterns(),
            Query::Unexplained => self.unexplained(),
        }
    }

    fn node(&self, now: Now) -> Value {
        let raised = self.ledger.faults().filter(|f| f.phase.is_raised());
        let severities: Vec<_> = raised.map(|f| f.severity).collect();
        let worst = severities.iter().max();
        let store = self.store.status();
        let patterns = self.ledger.patterns();
        json!({
            "node": self.identity.node,
            "version": env!("CARGO_PKG_VERSION"),
            "mode": self.identity.mode.word(),
            "api_server": self.board.is_some(),
            "boot_id": self.identity.boot.0,
            "time": now.wall.to_string(),
            "started": self.identity.started.to_string(),
            "faults": {
                "raised": severities.len(),
                "worst": worst.map(|s| s.word()),
            },
            "patterns": {
                "count": patterns.patterns.len(),
                "hash": format!("{:016x}", patterns.hash),
                "rejected": self.rejected(),
            },
            "sources": self.sources(),
            "store": { "durable": store.durable, "reason": store.reason },
        })
    }

    fn rejected(&self) -> Vec<Value> {
        let one = |file: Rejected| {
            json!({
                "file": file.file,
                "reason": file.reason,
                "last_good_in_force": file.stands_in,
            })
        };
        self.rejections.all().into_iter().map(one).collect()
    }

    fn sources(&self) -> Vec<Value> {
        let time = |t: Timestamp| (t.0 > 0).then(|| t.to_string());
        let one = |(id, health): (&Arc<str>, &Option<Health>)| {
            let counters = self.stats.of(id);
            let (state, reason) = match health {
                None => ("starting", None),
                Some(Health::Up) => ("up", None),
                Some(Health::Down(why)) => ("down", Some(why)),
                Some(Health::Absent(why)) => ("absent", Some(why)),
            };
            json!({
                "source": id,
                "state": state,
                "reason": reason,
                "observations": counters.observations.load(Relaxed),
                "matches": counters.matches.load(Relaxed),
                "lost": counters.lost.load(Relaxed),
                "invalid": counters.invalid.load(Relaxed),
                "restarts": counters.restarts.load(Relaxed),
                "last_success": time(counters.last_success()),
            })
        };
        self.health.iter().map(one).collect()
    }

    fn patterns(&self) -> Value {
        let set = self.ledger.patterns();
        let all: Vec<Value> =
            set.patterns.values().map(|p| pattern(p)).collect();
        json!({ "hash": format!("{:016x}", set.hash), "patterns": all })
    }

    fn unexplained(&self) -> Value {
        let one = |shape: crate::sources::unexplained::Shape| {
            json!({
                "text": shape.text,
                "count": shape.count,
                "example": shape.example,
                "last_seen": shape.last_seen.to_string(),
            })
        };
        let shapes = self.unexplained.shapes();
        json!({
            "total": self.unexplained.total(),
            "unexplained": shapes.into_iter().map(one).collect::<Vec<_>>(),
        })
    }
}

fn pattern(pattern: &Pattern) -> Value {
    json!({
        "name": pattern.name,
        "component": pattern.component,
        "severity": pattern.severity.word(),
        "source": pattern.source.name(),
        "condition": pattern.condition,
        "quarantine": pattern.quarantine.word(),
        "stage": stage(pattern.stage),
        "rollout": pattern.rollout,
        "benign": pattern.benign,
        "history": pattern.history,
        "runbook": pattern.runbook,
        "file": pattern.file,
        "hash": format!("{:016x}", pattern.hash),
    })
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Observe => "observe",
        Stage::Report => "report",
        Stage::Enforce => "enforce",
    }
}
