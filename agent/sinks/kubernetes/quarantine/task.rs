//! The task that keeps the own Node quarantined as its faults ask and the
//! budget allows. It wakes when the Node, the faults or the time change;
//! where none does, it asks the API server nothing.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::sleep;

use super::driver::{Driver, Turn};
use super::{Memory, Order, Rules, Standing, Told, Want};
use crate::clock;
use crate::hash::fnv1a;
use crate::ledger::Command;
use crate::queue::Message;
use crate::sinks::board::Notice;
use crate::sinks::counts::Counts;
use crate::sinks::kubernetes::client::Client;
use crate::sinks::kubernetes::events::Tale;
use crate::sinks::kubernetes::node::{Held, Latest};
use crate::sinks::kubernetes::teller::{Tales, hand};
use crate::sinks::record::Record;
use crate::time::{Now, Timestamp};

/// The key under which the store keeps the memory.
const KEY: &str = "quarantine";

/// How soon the ledger is asked again when its queue is full.
const LEDGER_PAUSE: Duration = Duration::from_secs(1);

/// How long the ledger may take to carry out an order.
const LEDGER_PATIENCE: Duration = Duration::from_secs(10);

/// Who asks, as the history says it: the annotation does not tell more.
const BY_ANNOTATION: &str = "the Node's annotation";

/// The task.
#[derive(Debug)]
pub struct Task<'a> {
    /// The way to the API server.
    pub client: &'a Client,
    /// The own Node, followed.
    pub held: &'a Held,
    /// What is remembered.
    pub record: &'a Record,
    /// What is counted.
    pub counts: &'a Arc<Counts>,
    /// Where Events are told.
    pub tales: Tales,
    /// The way to the ledger's owner.
    pub ledger: SyncSender<Message>,
    /// What may be done here.
    pub rules: Rules,
}

impl Task<'_> {
    /// Works for ever.
    pub async fn run(
        self,
        mut notices: watch::Receiver<Arc<Notice>>,
        mut nodes: watch::Receiver<Latest>,
    ) {
        let mut driver = None;
        loop {
            let notice = notices.borrow_and_update().clone();
            let node = nodes.borrow_and_update().clone();
            let again = match node {
                Some(_) => self.turn(&mut driver, &notice, node).await,
                None => None,
            };
            tokio::select! {
                changed = notices.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                // Its sender lives as long as this task.
                _ = nodes.changed() => {}
                () = sleep(again.unwrap_or(Duration::MAX)) => {}
            }
        }
    }

    /// Does what is due; when to look again.
    async fn turn(
        &self,
        driver: &mut Option<Driver>,
        notice: &Notice,
        node: Latest,
    ) -> Option<Duration> {
        // Before the stored faults are known, none means nothing.
        if notice.want.is_none() && !notice.complete {
            return None;
        }
        let driver = driver.get_or_insert_with(|| {
            let memory = self.record.read(KEY).unwrap_or_default();
            let seed =
                format!("{} {:?}", self.client.node_name(), clock::now());
            Driver::new(self.rules, memory, fnv1a(seed.as_bytes()))
        });
        let now = clock::now();
        let want = notice.want.as_ref();
        let seen = node.map(|node| (*node).clone());
        let mut save = |memory: &Memory| self.record.keep(KEY, memory);
        let turn = driver.turn(self.client, seen, want, now, &mut save).await;
        self.tell(&turn, want, now);
        if let Some(node) = turn.node {
            self.held.offer(node);
        }
        match turn.order {
            Some(order) => Some(self.carry_out(driver, &order, now).await),
            None => turn.again,
        }
    }

    fn tell(&self, turn: &Turn, want: Option<&Want>, now: Now) {
        let severity = want.map(|want| want.severity);
        self.counts.standing(turn.standing.word(), severity, now.wall);
        for told in &turn.told {
            let tale = tale(told, want, now.wall);
            match tale.warning {
                true => tracing::warn!(action = tale.action, "{}", tale.note),
                false => tracing::info!(action = tale.action, "{}", tale.note),
            }
            hand(&self.tales, self.counts, tale);
        }
        if let Standing::Unknown(error) = &turn.standing {
            tracing::debug!(error, "quarantine can't be looked after");
        }
    }

    /// Has the ledger clear what a person named on the Node, and tells.
    async fn carry_out(
        &self,
        driver: &mut Driver,
        order: &Order,
        now: Now,
    ) -> Duration {
        let why = match order.reason.is_empty() {
            true => "no reason was given".to_owned(),
            false => order.reason.clone(),
        };
        let command = Command::Clear {
            fault: order.what.clone(),
            by: BY_ANNOTATION.into(),
            why,
            replaced: false,
            force: false,
        };
        let (reply, answer) = oneshot::channel();
        // The network's thread never waits for a full queue.
        match self.ledger.try_send(Message::Command(command, reply)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                return LEDGER_PAUSE;
            }
        }
        let answer = tokio::time::timeout(LEDGER_PATIENCE, answer).await;
        let (text, good) = match answer {
            Ok(Ok(Ok(done))) => (done, true),
            Ok(Ok(Err(refused))) => (refused, false),
            _ => return LEDGER_PAUSE,
        };
        driver.answered(order);
        self.record.keep(KEY, driver.memory());
        let note = format!("clear {:?}: {text}", order.what);
        tracing::info!("{note}");
        let action = if good { "Cleared" } else { "NotCleared" };
        let key = format!("clear {} {}", order.text, now.wall.0);
        hand(
            &self.tales,
            self.counts,
            event(action, note, !good, key, now.wall),
        );
        // At once: the annotation goes next.
        Duration::ZERO
    }
}

/// What is told of it.
fn tale(told: &Told, want: Option<&Want>, now: Timestamp) -> Tale {
    let asked = |words: &[String]| words.join(", ");
    let pattern = want.map_or("", |want| want.pattern.as_str());
    let (action, note, warning) = match told {
        Told::Quarantined { how, words } => (
            "Quarantined",
            format!("quarantined ({}) for {}", how.word(), asked(words)),
            true,
        ),
        Told::Changed { how, words } => (
            "QuarantineChanged",
            format!("quarantined ({}) for {}", how.word(), asked(words)),
            true,
        ),
        Told::Denied(reasons) => {
            let why: Vec<String> =
                reasons.iter().map(ToString::to_string).collect();
            let why = why.join("; ");
            let note = format!("{pattern} asks for quarantine; denied: {why}");
            ("QuarantineDenied", note, true)
        }
        Told::Released => {
            ("Released", "the quarantine is taken off".to_owned(), false)
        }
        Told::Overridden(until) => (
            "QuarantineOverridden",
            format!(
                "somebody took the quarantine off; respected until {until}, \
                 or until a fatal fault is seen again"
            ),
            true,
        ),
        Told::Refused(why) => (
            "QuarantineRefused",
            format!("the API server refuses the quarantine: {why}"),
            true,
        ),
    };
    let key = format!("quarantine {action} {pattern}");
    event(action, note, warning, key, now)
}

fn event(
    action: &str,
    note: String,
    warning: bool,
    key: String,
    time: Timestamp,
) -> Tale {
    let (reason, action) = ("Quarantine".to_owned(), action.to_owned());
    Tale { time, reason, action, note, warning, key }
}
