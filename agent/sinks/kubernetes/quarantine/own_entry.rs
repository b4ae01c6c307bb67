//! The own entry of the register while nothing is to be done on the Node: it
//! goes when it is no more needed, at leisure.

use std::time::Duration;

use super::super::budget::register::key;
use super::super::budget::tidy::{Tidy, tidy};
use super::super::cluster::{ApiError, Cluster};
use super::Standing;
use super::driver::{Driver, Turn, sooner};
use crate::time::{Now, Uptime};

/// How soon the own entry of the register is looked at again after a lost
/// race; nothing waits for it.
const TIDY_PAUSE: Duration = Duration::from_secs(20);

/// About how long after the start the own entry is looked at: two GETs for
/// each agent, and a new release starts ten thousand of them.
const LOOK_ONCE: Duration = Duration::from_secs(300);

/// When the own entry of the register is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Once, some time after the start: an earlier life may have left it.
    Once,
    /// Then.
    At(Uptime),
    /// There is nothing to see.
    Never,
}

impl Driver {
    /// Nothing to do on the Node; but perhaps on the own entry of the
    /// register.
    pub(super) async fn rest<C: Cluster>(
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
}
