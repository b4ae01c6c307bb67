//! Carries out what was decided, one request after the other.
//!
//! Between any two requests the process may end, or stop for an hour, and a
//! request that got no answer may be carried out later. Nothing here relies
//! on the contrary: each turn begins with what the Node says, each write
//! carries the version it was decided at, and a grant stands on the Lease
//! before the patch that it allows is sent.

use std::time::Duration;

use serde_json::Value;

use super::super::budget::consider::{Ask, Denial};
use super::super::budget::reason::Reason;
use super::super::cluster::{ApiError, Cluster, Node};
use super::decide::{Action, decide};
use super::leave::{Leave, leave};
use super::mark::{Mark, unmark};
use super::own_entry::Look;
use super::pauses::Pauses;
use super::{Keep, Memory, Order, Rules, Standing, Told, Want, Why};
use crate::patterns::set::Quarantine;
use crate::time::{Now, Timestamp, Uptime};

/// Steps of one turn; each is a write that succeeded or a conflict. Others
/// that edit the Node all the time must not keep a turn going for ever.
const STEPS_MAX: u32 = 8;

/// What was to be told so long ago is on the disk, if there is one that works.
const HASTY: Duration = Duration::from_secs(5);

/// One node's quarantine.
#[derive(Debug)]
pub struct Driver {
    rules: Rules,
    memory: Memory,
    /// The memory as it was last handed over to be kept.
    kept: Memory,
    /// How much of what this turn tells was handed over with it.
    handed: usize,
    /// When something to be told was handed over that may not be durable.
    hasty: Option<Uptime>,
    pub(super) pauses: Pauses,
    /// Whether the last grant is known to have come to nothing.
    unused: bool,
    /// When the own entry of the register is to be looked at.
    pub(super) look: Look,
    /// What denials and refusals people were told of.
    told: Vec<String>,
    /// Whether people were told that eviction is denied.
    told_evict: bool,
}

/// A patch that is about to be sent.
struct Step {
    body: Value,
    /// Whether it is a release.
    release: bool,
    /// Whether a grant was entered for it alone.
    grant: bool,
}

/// What a turn came to.
#[derive(Debug, Default)]
pub struct Turn {
    /// How the node stands.
    pub standing: Standing,
    /// When to take the next turn, if nothing changes before.
    pub again: Option<Duration>,
    /// What happened.
    pub told: Vec<Told>,
    /// A person's order, to be carried out and then handed to
    /// [`Driver::answered`].
    pub order: Option<Order>,
    /// The Node as it was last read or written.
    pub node: Option<Node>,
}

impl Driver {
    /// A driver that goes on with what is remembered. `seed` spreads the
    /// pauses of many agents; the node's name hashed with the time will do.
    pub fn new(rules: Rules, memory: Memory, seed: u64) -> Driver {
        Driver {
            rules,
            kept: memory.clone(),
            memory,
            handed: 0,
            hasty: None,
            pauses: Pauses::new(seed),
            unused: false,
            look: match rules.enforce {
                true => Look::Once,
                false => Look::Never,
            },
            told: Vec::new(),
            told_evict: false,
        }
    }

    /// Whether the API server holds this agent to its own Node.
    pub fn guarded(&mut self, guarded: bool) {
        self.rules.guarded = guarded;
    }

    /// What is to be remembered over a restart.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// A person's order was carried out: its annotation goes. `settles`: it
    /// names what a lost state left.
    pub fn answered(&mut self, order: &Order, settles: bool) {
        self.memory.answered = Some(order.text.clone());
        self.memory.obeying = None;
        self.memory.orphaned &= !settles;
    }

    /// A person's order is about to be carried out; whether that was begun
    /// before, perhaps in an earlier life of this agent.
    pub fn begins(&mut self, order: &Order) -> bool {
        let text = Some(order.text.clone());
        std::mem::replace(&mut self.memory.obeying, text.clone()) == text
    }

    /// Takes a turn: brings the Node to what the faults ask for, as far as
    /// it is allowed. `seen` is the Node from the watch, if it is fresh.
    /// Must not be called before the stored faults are known: no fault
    /// looks like all faults being over.
    pub async fn turn<C: Cluster, K: Keep>(
        &mut self,
        cluster: &C,
        seen: Option<Node>,
        want: Option<&Want>,
        now: Now,
        keep: &K,
    ) -> Turn {
        self.handed = 0;
        let turn = self.steps(cluster, seen, want, now, keep).await;
        self.keep(keep, &turn, now);
        turn
    }

    async fn steps<C: Cluster, K: Keep>(
        &mut self,
        cluster: &C,
        seen: Option<Node>,
        want: Option<&Want>,
        now: Now,
        keep: &K,
    ) -> Turn {
        let mut turn = Turn::default();
        let mut next = seen;
        let mut rules = self.rules;
        for _ in 0..STEPS_MAX {
            let node = match next.take() {
                Some(node) => node,
                None => match cluster.own_node().await {
                    Ok(read) => read.value,
                    Err(error) => return self.failed(turn, error),
                },
            };
            let (memory, news) = (&mut self.memory, &mut turn.told);
            let action = decide(&node, want, memory, now, &rules, news);
            turn.node = Some(node.clone());
            self.keep(keep, &turn, now);
            let step = match action {
                Action::Patch { body, release } => {
                    Step { body, release, grant: false }
                }
                Action::Obey(order) => {
                    turn.order = Some(order);
                    return turn;
                }
                Action::Rest { standing, again } => {
                    turn.again = sooner(turn.again, again);
                    return self.rest(cluster, turn, standing, now).await;
                }
                Action::Mark { mark, old, free } => {
                    let Some(want) = want else { return turn };
                    self.look = Look::At(now.boot);
                    let ask = ask(&node, want, &mark, free, self.unused);
                    match leave(cluster, &ask).await {
                        Leave::Given => {
                            self.given(&node, &mark, old.as_ref(), free)
                        }
                        Leave::Stale => continue,
                        Leave::Denied(..) if is_given_up(&old, free) => {
                            self.give_up(&node, old.as_ref())
                        }
                        Leave::Denied(denial, _) if old.is_some() => {
                            // But what is there is kept right.
                            rules.evict = false;
                            self.not_stronger(&mut turn, &denial);
                            next = Some(node);
                            continue;
                        }
                        no => return self.not_given(turn, no),
                    }
                }
            };
            self.keep(keep, &turn, now);
            match self.write(cluster, step, now, keep).await {
                Ok(read) => next = read,
                Err(error) => return self.failed(turn, error),
            }
        }
        turn.again = Some(self.pauses.race());
        turn
    }

    /// Has the memory kept, where it is another than before, and with it
    /// what the turn tells and was not handed over yet.
    fn keep<K: Keep>(&mut self, keep: &K, turn: &Turn, now: Now) {
        let told = turn.told.get(self.handed..).unwrap_or_default();
        if self.memory != self.kept || !told.is_empty() {
            keep.keep(&self.memory, told);
            if !told.is_empty() {
                self.hasty = Some(now.boot);
            }
            self.kept.clone_from(&self.memory);
            self.handed = turn.told.len();
        }
    }

    /// Leave was given: the mark is written.
    fn given(
        &mut self,
        node: &Node,
        mark: &Mark,
        old: Option<&Mark>,
        free: bool,
    ) -> Step {
        // What is free needs no grant, unless it evicts.
        let grant = !free || mark.how == Quarantine::Evict;
        self.unused &= !grant;
        self.told_evict = false;
        Step { body: mark.patch(node, old), release: false, grant }
    }

    /// A mark that took no room goes, since there is none now.
    fn give_up(&mut self, node: &Node, old: Option<&Mark>) -> Step {
        // So that it is known as ours when it is gone.
        let version = &node.metadata.resource_version;
        self.memory.releasing = Some(version.clone());
        self.memory.why = Some(Why::NoRoom);
        let body = unmark(node, old, None);
        Step { body, release: true, grant: false }
    }

    /// Sends a patch; the Node as written, or `None` if it has changed since
    /// it was read.
    async fn write<C: Cluster, K: Keep>(
        &mut self,
        cluster: &C,
        step: Step,
        now: Now,
        keep: &K,
    ) -> Result<Option<Node>, ApiError> {
        let lately = self.hasty.filter(|at| now.boot.since(*at) < HASTY);
        if step.release || lately.is_some() {
            // An agent that ends after the patch and does not know of it
            // takes its own release for somebody else's and respects it; and
            // nobody would be told of what this write follows on.
            keep.settle().await;
            self.hasty = None;
        }
        match cluster.patch_node(&step.body).await {
            Ok(written) => {
                self.succeeded();
                if step.release {
                    self.look = Look::At(now.boot);
                }
                Ok(Some(written.value))
            }
            Err(ApiError::Conflict) => {
                // The version is past: what this grant was for can't be.
                self.unused |= step.grant;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// More than what is there was denied.
    fn not_stronger(&mut self, turn: &mut Turn, denial: &Denial) {
        turn.again = Some(self.pauses.denied(denial, None));
        if !self.told_evict {
            self.told_evict = true;
            turn.told.push(Told::Denied(denial.reasons.clone()));
        }
    }

    /// Leave was not given.
    fn not_given(&mut self, mut turn: Turn, no: Leave) -> Turn {
        match no {
            Leave::Denied(denial, date) => self.denied(turn, *denial, date),
            Leave::Failed(error) => self.failed(turn, error),
            Leave::Raced | Leave::Given | Leave::Stale => {
                turn.again = Some(self.pauses.race());
                turn
            }
        }
    }

    fn denied(
        &mut self,
        mut turn: Turn,
        denial: Denial,
        date: Timestamp,
    ) -> Turn {
        turn.again = Some(self.pauses.denied(&denial, Some(date)));
        let mut tags: Vec<String> =
            denial.reasons.iter().map(Reason::tag).collect();
        tags.dedup();
        // Once for each kind of reason: waiting in a queue is not news.
        if !tags.iter().all(|tag| self.told.contains(tag)) {
            self.told.extend(tags);
            turn.told.push(Told::Denied(denial.reasons.clone()));
        }
        turn.standing = Standing::Waiting(denial.reasons);
        turn
    }

    pub(super) fn succeeded(&mut self) {
        self.pauses.reset();
        self.told.clear();
    }

    fn failed(&mut self, mut turn: Turn, error: ApiError) -> Turn {
        turn.again = Some(self.pauses.failed(&error));
        let text = error.to_string();
        if error.is_refusal() && !self.told.contains(&text) {
            self.told.push(text.clone());
            turn.told.push(Told::Refused(text.clone()));
        }
        turn.standing = Standing::Unknown(text);
        turn
    }
}

pub(super) fn sooner(
    one: Option<Duration>,
    other: Option<Duration>,
) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

fn ask<'a>(
    node: &'a Node,
    want: &'a Want,
    mark: &Mark,
    free: bool,
    unused: bool,
) -> Ask<'a> {
    Ask {
        node: &node.metadata.name,
        uid: &node.metadata.uid,
        resource_version: &node.metadata.resource_version,
        how: mark.how,
        severity: want.severity,
        pattern: &want.pattern,
        faults: &want.faults,
        free,
        control_plane: node.row(None).control_plane,
        unused,
    }
}

/// Whether a mark that took no room, and is denied room, goes.
fn is_given_up(old: &Option<Mark>, free: bool) -> bool {
    !free && old.as_ref().is_some_and(|old| old.free)
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
