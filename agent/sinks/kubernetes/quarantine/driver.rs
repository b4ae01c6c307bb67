//! Carries out what was decided, one request after the other.
//!
//! Between any two requests the process may end, or stop for an hour, and a
//! request that got no answer may be carried out later. Nothing here relies
//! on the contrary: each turn begins with what the Node says, each write
//! carries the version it was decided at, and a grant stands on the Lease
//! before the patch that it allows is sent.

use std::time::Duration;

use super::super::budget::consider::{Ask, Denial};
use super::super::budget::reason::Reason;
use super::super::budget::register::key;
use super::super::budget::tidy::{Tidy, tidy};
use super::super::cluster::{ApiError, Cluster, Node};
use super::decide::{Action, decide, ignored};
use super::leave::{Leave, leave};
use super::mark::{Mark, unmark};
use super::pauses::Pauses;
use super::{Memory, Order, Rules, Standing, Told, Want, Why};
use crate::time::{Now, Timestamp, Uptime};

/// Steps of one turn; each is a write that succeeded or a conflict. Others
/// that edit the Node all the time must not keep a turn going for ever.
const STEPS_MAX: u32 = 8;

/// How soon the own entry of the register is looked at again after a lost
/// race; nothing waits for it.
const TIDY_PAUSE: Duration = Duration::from_secs(20);

/// About how long after the start the own entry is looked at: two GETs for
/// each agent, and a new release starts ten thousand of them.
const LOOK_ONCE: Duration = Duration::from_secs(300);

/// One node's quarantine.
#[derive(Debug)]
pub struct Driver {
    rules: Rules,
    memory: Memory,
    pauses: Pauses,
    /// Whether the last grant is known to have come to nothing.
    unused: bool,
    /// When the own entry of the register is to be looked at.
    look: Look,
    /// What denials and refusals people were told of.
    told: Vec<String>,
    /// Whether people were told that eviction is denied.
    told_evict: bool,
}

/// When the own entry of the register is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Once, some time after the start: an earlier life may have left it.
    Once,
    /// Then.
    At(Uptime),
    /// There is nothing to see.
    Never,
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
            memory,
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
        self.memory.orphaned &= !settles;
    }

    /// Takes a turn: brings the Node to what the faults ask for, as far as
    /// it is allowed. `seen` is the Node from the watch, if it is fresh.
    /// Must not be called before the stored faults are known: no fault
    /// looks like all faults being over. `save` keeps the memory.
    pub async fn turn<C: Cluster>(
        &mut self,
        cluster: &C,
        seen: Option<Node>,
        want: Option<&Want>,
        now: Now,
        save: &mut impl FnMut(&Memory),
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
            let before = self.memory.clone();
            let action = decide(&node, want, &mut self.memory, now, &rules);
            if self.memory != before {
                save(&self.memory);
            }
            if self.memory.ignored != before.ignored {
                let text = self.memory.ignored.clone();
                let until = ignored(&node, now.wall).flatten();
                turn.told
                    .extend(text.map(|text| Told::Ignored { until, text }));
            }
            turn.node = Some(node.clone());
            let (body, told, release) = match action {
                Action::Patch { body, told, release } => (body, told, release),
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
                            self.unused = false;
                            self.told_evict = false;
                            let told = quarantined(&mark, old.as_ref());
                            let body = mark.patch(&node, old.as_ref());
                            (body, Some(told), false)
                        }
                        Leave::Stale => continue,
                        Leave::Denied(..) if is_given_up(&old, free) => {
                            // So that it is known as ours when it is gone.
                            let version = &node.metadata.resource_version;
                            self.memory.releasing = Some(version.clone());
                            save(&self.memory);
                            let body = unmark(&node, old.as_ref(), None);
                            (body, Some(Told::Released(Why::NoRoom)), true)
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
            match cluster.patch_node(&body).await {
                Ok(written) => {
                    self.succeeded();
                    turn.told.extend(told);
                    next = Some(written.value);
                    if release {
                        self.look = Look::At(now.boot);
                    }
                }
                // The version is past: what this grant was for can't be.
                Err(ApiError::Conflict) => self.unused = true,
                Err(error) => return self.failed(turn, error),
            }
        }
        turn.again = Some(self.pauses.race());
        turn
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
        self.pauses.reset();
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

    /// Nothing to do on the Node; but perhaps on the own entry of the
    /// register.
    async fn rest<C: Cluster>(
        &mut self,
        cluster: &C,
        mut turn: Turn,
        standing: Standing,
        now: Now,
    ) -> Turn {
        self.succeeded();
        let marked = matches!(
            standing,
            Standing::Quarantined(_)
                | Standing::Releasing
                | Standing::Held
                | Standing::Orphaned
        );
        turn.standing = standing;
        if marked {
            return turn;
        }
        let due = match self.look {
            Look::Never => return turn,
            Look::At(due) => due,
            Look::Once => {
                let due = now.boot.plus(self.pauses.spread(LOOK_ONCE));
                self.look = Look::At(due);
                due
            }
        };
        let mut wait = due.since(now.boot);
        if wait.is_zero() {
            match self.tidy(cluster).await {
                None => {
                    self.look = Look::Never;
                    return turn;
                }
                Some(pause) => {
                    wait = pause;
                    self.look = Look::At(now.boot.plus(pause));
                }
            }
        }
        turn.again = sooner(turn.again, Some(wait));
        turn
    }

    /// Brings the own entry up to date; when to look again, if ever.
    async fn tidy<C: Cluster>(&mut self, cluster: &C) -> Option<Duration> {
        let later = |driver: &mut Driver| {
            Some(TIDY_PAUSE + driver.pauses.spread(TIDY_PAUSE))
        };
        let lease = match cluster.lease().await {
            Ok(lease) => lease,
            // What may not be read can't be put right either.
            Err(ApiError::NotFound | ApiError::Denied(_)) => return None,
            Err(error) => return Some(self.pauses.failed(&error)),
        };
        // After the Lease, so that it is read at its grant's version or a
        // later one.
        let Ok(node) = cluster.own_node().await else { return later(self) };
        let row = node.value.row(None);
        let now = lease.date;
        let written = match tidy(&lease, &row) {
            Tidy::Keep(until) => {
                let wait = until?.since(now);
                return Some(wait + self.pauses.spread(TIDY_PAUSE));
            }
            Tidy::Remove => None,
            Tidy::Write(entry) => Some(entry.text()),
        };
        let mut lease = lease.value;
        let again = written.is_some();
        lease.annotate(&key(&row.name), written);
        match cluster.put_lease(&lease).await {
            Ok(_) if !again => None,
            _ => later(self),
        }
    }

    fn succeeded(&mut self) {
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

fn sooner(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
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

fn quarantined(mark: &Mark, old: Option<&Mark>) -> Told {
    let (how, words) = (mark.how, mark.faults.clone());
    match old {
        None => Told::Quarantined { how, words },
        Some(_) => Told::Changed { how, words },
    }
}
