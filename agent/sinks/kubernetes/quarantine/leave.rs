//! Asking the budget for leave: the Lease first, the nodes only if the Lease
//! leaves it open, and the entry written before anything comes of it.

use super::super::budget::consider::{Ask, Denial, Verdict, consider};
use super::super::budget::limits::{LIMITS, Limits};
use super::super::budget::reason::Reason;
use super::super::budget::register::{Entry, key};
use super::super::cluster::{ApiError, Cluster, Dated, Lease};
use crate::time::Timestamp;

/// How a request for leave ended.
pub(super) enum Leave {
    Given,
    Denied(Box<Denial>, Timestamp),
    /// Somebody else was faster.
    Raced,
    /// The Node was read before its own grant was: read it again.
    Stale,
    Failed(ApiError),
}

/// Asks the budget, and enters what it says on the Lease.
pub(super) async fn leave<C: Cluster>(cluster: &C, ask: &Ask<'_>) -> Leave {
    let lease = match cluster.lease().await {
        Ok(lease) => lease,
        Err(ApiError::NotFound) => return no_lease(),
        Err(error) => return Leave::Failed(error),
    };
    let mut verdict = consider(&lease, None, ask);
    if verdict == Verdict::List {
        let label = pool_label(&lease.value);
        // After the Lease, never before: see `Count::new`.
        let rows = match cluster.nodes(label.as_deref()).await {
            Ok(rows) => rows.value,
            Err(error) => return Leave::Failed(error),
        };
        verdict = consider(&lease, Some(&rows), ask);
    }
    let date = lease.date;
    match verdict {
        Verdict::Go => Leave::Given,
        Verdict::Stale => Leave::Stale,
        Verdict::Grant(entry) => {
            match enter(cluster, lease, ask, Some(*entry)).await {
                Ok(()) => Leave::Given,
                Err(ApiError::Conflict) => Leave::Raced,
                Err(error) => Leave::Failed(error),
            }
        }
        Verdict::Deny(mut denial) => {
            if let Some(entry) = denial.enter.take() {
                match enter(cluster, lease, ask, Some(*entry)).await {
                    Ok(()) => {}
                    Err(ApiError::Conflict) => return Leave::Raced,
                    Err(error) => return Leave::Failed(error),
                }
            }
            Leave::Denied(Box::new(denial), date)
        }
        // With rows given it is never asked for again.
        Verdict::List => Leave::Raced,
    }
}

fn no_lease() -> Leave {
    let reasons = vec![Reason::NoLease];
    let denial = Denial { reasons, enter: None, entered: false };
    Leave::Denied(Box::new(denial), Timestamp::default())
}

fn pool_label(lease: &Lease) -> Option<String> {
    Limits::parse(lease.annotation(LIMITS)?).ok()?.pool_label
}

/// Writes the own entry of the register; a conflict means that somebody
/// else wrote since it was read.
async fn enter<C: Cluster>(
    cluster: &C,
    lease: Dated<Lease>,
    ask: &Ask<'_>,
    entry: Option<Entry>,
) -> Result<(), ApiError> {
    let mut lease = lease.value;
    lease.annotate(&key(ask.node), entry.map(|entry| entry.text()));
    cluster.put_lease(&lease).await.map(drop)
}
