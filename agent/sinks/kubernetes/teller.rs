//! The task that sends Events. It never makes anybody wait: while the API
//! server can't be reached, what there is to tell gathers in the record, over
//! restarts too, and is told as one.

use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use super::client::{Client, MERGE};
use super::cluster::{Answer, ApiError};
use super::events::{Tale, Teller, Telling, Waiting, What, name_of};
use super::node::Held;
use super::pace::Backoff;
use crate::clock;
use crate::sinks::counts::Counts;
use crate::sinks::record::Record;

/// The key under which the store keeps what one request tells together, so
/// that it is told together again if nobody knows whether it was.
const KEY: &str = "telling";

/// How long a request waits until the store holds what it tells together.
const DISK_PATIENCE: Duration = Duration::from_secs(1);

/// Events are told once nothing has been added for so long, so that what
/// happens together is told together.
const QUIET: Duration = Duration::from_secs(3);

/// Nobody is kept waiting for longer by a stream of changes.
const LONGEST: Duration = Duration::from_secs(30);

/// Where Events about Nodes live: the API server refuses them in most other
/// namespaces, since a Node is in none.
const PATH: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

/// Sends what the record holds, for ever.
pub async fn tell(
    client: &Client,
    held: &Held,
    counts: &Counts,
    record: &Record,
) {
    let mut waiting = Waiting::default();
    let mut kept = Vec::new();
    let mut backoff = Backoff::default();
    let mut said = false;
    loop {
        gather(record, &mut waiting).await;
        let Some(node) = held.latest().filter(|_| counts.is_connected()) else {
            // Whoever follows the Node finds the way back for all.
            rest(record, &mut waiting, QUIET).await;
            continue;
        };
        let teller = Teller {
            node: node.metadata.name.clone(),
            uid: node.metadata.uid.clone(),
        };
        let Some(telling) = waiting.next(&teller, clock::boot()) else {
            continue;
        };
        if telling.numbers.len() > 1 && kept != telling.numbers {
            kept.clone_from(&telling.numbers);
            record.keep(KEY, &kept);
            record.settle(DISK_PATIENCE).await;
        }
        match send(client, &telling).await {
            Ok(anew) => {
                record.told(&telling.numbers);
                waiting.told(&telling, anew.as_deref(), clock::boot());
                counts.events(telling.numbers.len());
                backoff.reset();
                said = false;
            }
            // It would be refused again; why, is worth a line.
            Err(ApiError::Invalid(why)) => {
                tracing::error!(why, "an Event was refused");
                record.told(&telling.numbers);
                waiting.told(&telling, None, clock::boot());
                counts.events_dropped(telling.numbers.len());
            }
            Err(error) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(%error, "an Event can't be written");
                }
                let pause = backoff.pause(&error);
                rest(record, &mut waiting, pause).await;
            }
        }
    }
}

/// Takes tales until it is time to tell.
async fn gather(record: &Record, waiting: &mut Waiting) {
    take(record, waiting);
    loop {
        let now = clock::boot();
        let due = waiting.due(QUIET, LONGEST).map(|due| due.since(now));
        match due {
            Some(Duration::ZERO) => return,
            Some(left) => rest(record, waiting, left).await,
            None => rest(record, waiting, Duration::MAX).await,
        }
    }
}

/// Takes tales for so long, or until there is a first one.
async fn rest(record: &Record, waiting: &mut Waiting, pause: Duration) {
    let until = clock::boot().plus(pause);
    loop {
        let left = until.since(clock::boot());
        let first = waiting.is_empty();
        tokio::select! {
            () = record.more() => {
                take(record, waiting);
                if first && !waiting.is_empty() {
                    return;
                }
            }
            () = sleep(left) => return,
        }
    }
}

/// Takes what the record holds and does not wait yet.
fn take(record: &Record, waiting: &mut Waiting) {
    let first = waiting.is_empty();
    let more = record.untold::<Tale>(|number| waiting.holds(number));
    for (number, tale) in more {
        waiting.add(number, tale, clock::boot());
    }
    if first && let Some(numbers) = record.read::<Vec<u64>>(KEY) {
        waiting.resend(&numbers);
    }
}

/// Makes the request; the name of the new Event if a series had to begin
/// anew.
async fn send(
    client: &Client,
    telling: &Telling,
) -> Result<Option<String>, ApiError> {
    match &telling.what {
        What::New(event) => create(client, event).await.map(|()| None),
        What::Series(patch, new) => {
            let path = format!("{PATH}/{}", telling.name);
            let answer: Answer<Value> = client.patch(&path, MERGE, patch).await;
            match answer {
                Ok(_) => Ok(None),
                // Its time was up, or it is no series of ours any more.
                Err(ApiError::NotFound | ApiError::Invalid(_)) => {
                    create(client, new).await?;
                    Ok(Some(name_of(new).to_owned()))
                }
                Err(error) => Err(error),
            }
        }
    }
}

async fn create(client: &Client, event: &Value) -> Result<(), ApiError> {
    match client.create(PATH, event).await {
        // It was sent before, and only the answer was lost.
        Ok(_) | Err(ApiError::Conflict) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Has a tale told; one that another had to go for is counted.
pub fn hand(record: &Record, counts: &Counts, tale: &Tale) {
    if record.tell(tale) {
        counts.events_dropped(1);
    }
}
