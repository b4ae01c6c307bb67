//! The task that keeps the own Node quarantined as its faults ask and the
//! budget allows. It wakes when the Node, the faults or the time change;
//! where none does, it asks the API server nothing.

use std::collections::BTreeSet;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::sleep;

use super::driver::{Driver, Turn};
use super::mark::Mark;
use super::tale::{event, tale};
use super::{Keep, Memory, Order, Rules, Standing, Told, Want};
use crate::clock;
use crate::hash::fnv1a;
use crate::ledger::Command;
use crate::queue::Message;
use crate::sinks::board::Notice;
use crate::sinks::counts::Counts;
use crate::sinks::kubernetes::client::Client;
use crate::sinks::kubernetes::conditions::is_valid;
use crate::sinks::kubernetes::events::Tale;
use crate::sinks::kubernetes::guard::{Guard, Verdict};
use crate::sinks::kubernetes::node::{Held, Latest};
use crate::sinks::kubernetes::teller::hand;
use crate::sinks::record::Record;
use crate::time::{Now, Timestamp, Uptime};

/// The key under which the store keeps the memory.
const KEY: &str = "quarantine";

/// How often is looked how long the API server has been away.
const AWAY: Duration = Duration::from_secs(2);

/// After so long without the Node its standing is unknown.
const AWAY_LONG: Duration = Duration::from_secs(20);

/// How soon the ledger is asked again when its queue is full.
const LEDGER_PAUSE: Duration = Duration::from_secs(1);

/// How long the ledger may take to carry out an order.
const LEDGER_PATIENCE: Duration = Duration::from_secs(10);

/// Who asks, as the history says it: the annotation does not tell more.
const BY_ANNOTATION: &str = "the Node's annotation";

/// How long a write on the Node waits for what the store has to know first.
const DISK_PATIENCE: Duration = Duration::from_secs(1);

/// The memory in the store.
struct Stored<'a> {
    record: &'a Record,
    counts: &'a Counts,
    want: Option<&'a Want>,
    now: Timestamp,
}

impl Stored<'_> {
    fn keep_told(&self, memory: &Memory, tales: &[Tale]) {
        for tale in tales {
            match tale.warning {
                true => tracing::warn!(action = tale.action, "{}", tale.note),
                false => tracing::info!(action = tale.action, "{}", tale.note),
            }
        }
        let lost = self.record.keep_told(KEY, memory, tales);
        if lost > 0 {
            self.counts.events_dropped(lost);
        }
    }
}

impl Keep for Stored<'_> {
    fn keep(&self, memory: &Memory, told: &[Told]) {
        let tales = told.iter().map(|told| tale(told, self.want, self.now));
        self.keep_told(memory, &tales.collect::<Vec<Tale>>());
    }

    async fn settle(&self) {
        self.record.settle(DISK_PATIENCE).await;
    }
}

/// The task.
#[derive(Debug)]
pub struct Task<'a> {
    /// The way to the API server.
    pub client: &'a Client,
    /// The own Node, followed.
    pub held: &'a Held,
    /// What is remembered, and what is to be told.
    pub record: &'a Record,
    /// What is counted.
    pub counts: &'a Arc<Counts>,
    /// The way to the ledger's owner.
    pub ledger: SyncSender<Message>,
    /// What a person has settled.
    pub settled: &'a Settled,
    /// What may be done here.
    pub rules: Rules,
    /// Whether it is done also where the API server would let this agent
    /// change other Nodes.
    pub unguarded: bool,
}

/// Conditions whose lost state a person has settled, by type.
pub type Settled = Mutex<BTreeSet<String>>;

impl Task<'_> {
    /// Works for ever; each notice that was acted on goes into `done`. What
    /// could not be acted on for want of an API server does not.
    pub async fn run(
        self,
        mut notices: watch::Receiver<Arc<Notice>>,
        mut nodes: watch::Receiver<Latest>,
        done: watch::Sender<Arc<Notice>>,
    ) {
        let mut driver = None;
        let mut guard = Guard::new(self.unguarded);
        let mut away = None;
        let mut way = self.held.way();
        loop {
            let notice = notices.borrow_and_update().clone();
            let node = nodes.borrow_and_update().clone();
            let open = *way.borrow_and_update();
            let here = node.is_some() && open;
            self.note_away(here, &mut away, &notice);
            let again = match node {
                // Whoever follows the Node finds the way back for all.
                Some(_) if !open => Some(AWAY),
                Some(_) => {
                    let (allowed, due) = self.allows(&mut guard).await;
                    let turn = self.turn(&mut driver, allowed, &notice, node);
                    let (again, answered) = turn.await;
                    if answered {
                        done.send_replace(notice);
                    }
                    Some(again.unwrap_or(Duration::MAX).min(due))
                }
                None => Some(AWAY),
            };
            tokio::select! {
                changed = notices.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                // Their senders live as long as this task.
                _ = nodes.changed() => {}
                _ = way.changed() => {}
                () = sleep(again.unwrap_or(Duration::MAX)) => {}
            }
        }
    }

    /// Where nobody can look at the Node, nobody knows how it stands; a watch
    /// that is opened anew is no such case.
    fn note_away(
        &self,
        here: bool,
        away: &mut Option<Uptime>,
        notice: &Notice,
    ) {
        if here {
            *away = None;
            return;
        }
        let now = clock::now();
        if now.boot.since(*away.get_or_insert(now.boot)) >= AWAY_LONG {
            let severity = notice.want.as_ref().map(|want| want.severity);
            self.counts.standing("unknown", severity, now.wall);
        }
    }

    /// Whether a node may be taken out here, and how soon to ask again.
    async fn allows(&self, guard: &mut Guard) -> (bool, Duration) {
        if !self.rules.enforce {
            return (true, Duration::MAX);
        }
        if guard.due_in(clock::boot()).is_zero()
            && let Some(verdict) = guard.check(self.client).await
        {
            self.tell_unguarded(&verdict);
        }
        self.counts.guarded(guard.is_guarded());
        (guard.allows(), guard.due_in(clock::boot()))
    }

    /// Tells people where other Nodes are not known to be guarded.
    fn tell_unguarded(&self, verdict: &Verdict) {
        let effect = match self.unguarded {
            true => "`unguarded: true` says to quarantine all the same",
            false => {
                "no further quarantine is made; apply RBAC and policy of the \
                 manifests"
            }
        };
        let note = match verdict {
            Verdict::Guarded => return,
            Verdict::Open(other) => format!(
                "the API server would let this agent change other Nodes \
                 (tried on {other}): {effect}"
            ),
            Verdict::Untried(why) => format!(
                "whether the API server lets this agent change other Nodes \
                 can't be tried ({why}): {effect}"
            ),
        };
        tracing::error!("{note}");
        let key = "unguarded".to_owned();
        let now = clock::now().wall;
        let tale = event("Unguarded", note, true, key, now);
        hand(self.record, self.counts, &tale);
    }

    /// Does what is due; when to look again, and whether the API server
    /// answered.
    async fn turn(
        &self,
        driver: &mut Option<Driver>,
        allowed: bool,
        notice: &Notice,
        node: Latest,
    ) -> (Option<Duration>, bool) {
        // Before the stored faults are known, none means nothing.
        if notice.want.is_none() && !notice.complete {
            return (None, true);
        }
        let driver = driver.get_or_insert_with(|| {
            let memory = self.record.read(KEY).unwrap_or_default();
            let seed =
                format!("{} {:?}", self.client.node_name(), clock::now());
            Driver::new(self.rules, memory, fnv1a(seed.as_bytes()))
        });
        driver.guarded(allowed);
        let now = clock::now();
        let want = notice.want.as_ref();
        let seen = node.map(|node| (*node).clone());
        let stored = self.stored(want, now);
        let turn = driver.turn(self.client, seen, want, now, &stored).await;
        self.note_standing(&turn, want, now);
        let answered = !matches!(turn.standing, Standing::Unknown(_));
        let mark = turn.node.as_ref().and_then(Mark::read);
        if let Some(node) = turn.node {
            self.held.offer(node);
        }
        let again = match turn.order {
            Some(order) => {
                let left = mark.filter(|_| driver.memory().orphaned);
                let settles =
                    left.is_some_and(|mark| mark.is_named_by(&order.what));
                let order = (&order, settles);
                Some(self.carry_out(driver, notice, order, now).await)
            }
            None => turn.again,
        };
        (again, answered)
    }

    fn stored<'a>(&'a self, want: Option<&'a Want>, now: Now) -> Stored<'a> {
        let (record, counts, now) = (self.record, &**self.counts, now.wall);
        Stored { record, counts, want, now }
    }

    fn note_standing(&self, turn: &Turn, want: Option<&Want>, now: Now) {
        let severity = want.map(|want| want.severity);
        self.counts.standing(turn.standing.word(), severity, now.wall);
        if let Standing::Unknown(error) = &turn.standing {
            tracing::debug!(error, "quarantine can't be looked after");
        }
    }

    /// Has the ledger clear a fault; `None`: it has no time.
    async fn clear(
        &self,
        fault: String,
        why: &str,
    ) -> Option<Result<String, String>> {
        let (by, why) = (BY_ANNOTATION.to_owned(), why.to_owned());
        let (replaced, force) = (false, false);
        let command = Command::Clear { fault, by, why, replaced, force };
        let (reply, answer) = oneshot::channel();
        // The network's thread never waits for a full queue.
        self.ledger.try_send(Message::Command(command, reply)).ok()?;
        let answer = tokio::time::timeout(LEDGER_PATIENCE, answer).await;
        answer.ok()?.ok()
    }

    /// Has the ledger clear what a person named on the Node, and tells.
    /// `settles`: it names what a lost state left there.
    async fn carry_out(
        &self,
        driver: &mut Driver,
        notice: &Notice,
        (order, settles): (&Order, bool),
        now: Now,
    ) -> Duration {
        if is_valid(&order.what) {
            let settled = self.settled.lock();
            let mut settled = settled.unwrap_or_else(PoisonError::into_inner);
            settled.insert(order.what.clone());
        }
        let why = match order.reason.is_empty() {
            true => "no reason was given".to_owned(),
            false => order.reason.clone(),
        };
        let stored = self.stored(None, now);
        let again = driver.begins(order);
        stored.keep(driver.memory(), &[]);
        stored.settle().await;
        let (mut said, mut good) = (Vec::new(), true);
        for fault in meant(notice, &order.what) {
            let gone = again && !holds(notice, &fault);
            match self.clear(fault, &why).await {
                Some(Ok(done)) => said.push(done),
                // The agent ended when it had cleared it.
                Some(Err(_)) if gone => {}
                Some(Err(refused)) => {
                    said.push(refused);
                    good = false;
                }
                None => return LEDGER_PAUSE,
            }
        }
        if settles {
            // The ledger knows nothing of it.
            said = vec!["what a lost state left of it is settled".to_owned()];
            good = true;
        }
        if said.is_empty() {
            said.push("no fault of it holds".to_owned());
        }
        let text = said.join("; ");
        driver.answered(order, settles);
        let note = format!("clear {:?}: {text}", order.what);
        let action = if good { "Cleared" } else { "NotCleared" };
        let key = format!("clear {} {}", order.text, now.wall.0);
        let tale = event(action, note, !good, key, now.wall);
        stored.keep_told(driver.memory(), &[tale]);
        stored.settle().await;
        // At once: the annotation goes next.
        Duration::ZERO
    }
}

/// The faults that a person means: one, or all of a component or condition.
fn meant(notice: &Notice, what: &str) -> Vec<String> {
    let named = notice
        .faults
        .iter()
        .filter(|f| *f.component == *what || *f.condition == *what);
    let named: Vec<String> = named.map(|fault| fault.id.clone()).collect();
    if named.is_empty() && !is_valid(what) {
        return vec![what.to_owned()];
    }
    named
}

/// Whether a fault holds that is called so.
fn holds(notice: &Notice, what: &str) -> bool {
    notice.faults.iter().any(|f| {
        f.id == what
            || *f.pattern == *what
            || f.part == what
            || what.strip_prefix(&*f.pattern).map(str::trim) == Some(&f.part)
    })
}
