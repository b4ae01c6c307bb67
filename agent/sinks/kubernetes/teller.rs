//! The task that sends Events. It never makes anybody wait: while the API
//! server can't be reached, what there is to tell gathers, and is told as one.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::client::{Client, MERGE};
use super::cluster::{Answer, ApiError};
use super::events::{Tale, Teller, Telling, Waiting, What, name_of};
use super::node::Held;
use super::pace::Backoff;
use crate::clock;
use crate::sinks::counts::Counts;

/// Events are told once nothing has been added for so long, so that what
/// happens together is told together.
const QUIET: Duration = Duration::from_secs(3);

/// Nobody is kept waiting for longer by a stream of changes.
const LONGEST: Duration = Duration::from_secs(30);

/// Where Events about Nodes live: the API server refuses them in most other
/// namespaces, since a Node is in none.
const PATH: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

/// Sends what comes over `tales`, for ever.
pub async fn tell(
    client: &Client,
    held: &Held,
    counts: &Counts,
    mut tales: mpsc::Receiver<Tale>,
) {
    let mut waiting = Waiting::default();
    let mut backoff = Backoff::default();
    let mut said = false;
    loop {
        gather(&mut tales, &mut waiting, counts).await;
        let Some(node) = held.latest().filter(|_| counts.is_connected()) else {
            // Whoever follows the Node finds the way back for all.
            rest(&mut tales, &mut waiting, counts, QUIET).await;
            continue;
        };
        let teller = Teller {
            node: node.metadata.name.clone(),
            uid: node.metadata.uid.clone(),
        };
        let Some(telling) = waiting.next(&teller, clock::boot()) else {
            continue;
        };
        match send(client, &telling).await {
            Ok(anew) => {
                waiting.told(&telling, anew.as_deref(), clock::boot());
                counts.events(telling.changes);
                backoff.reset();
                said = false;
            }
            // It would be refused again; why, is worth a line.
            Err(ApiError::Invalid(why)) => {
                tracing::error!(why, "an Event was refused");
                waiting.told(&telling, None, clock::boot());
                counts.events_dropped(telling.changes);
            }
            Err(error) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(%error, "an Event can't be written");
                }
                let pause = backoff.pause(&error);
                rest(&mut tales, &mut waiting, counts, pause).await;
            }
        }
    }
}

/// Takes tales until it is time to tell.
async fn gather(
    tales: &mut mpsc::Receiver<Tale>,
    waiting: &mut Waiting,
    counts: &Counts,
) {
    loop {
        let now = clock::boot();
        let due = waiting.due(QUIET, LONGEST).map(|due| due.since(now));
        match due {
            Some(Duration::ZERO) => return,
            Some(left) => rest(tales, waiting, counts, left).await,
            None => rest(tales, waiting, counts, Duration::MAX).await,
        }
    }
}

/// Takes a tale, or waits for so long.
async fn rest(
    tales: &mut mpsc::Receiver<Tale>,
    waiting: &mut Waiting,
    counts: &Counts,
    pause: Duration,
) {
    let until = clock::boot().plus(pause);
    loop {
        let left = until.since(clock::boot());
        let first = waiting.is_empty();
        tokio::select! {
            tale = tales.recv() => {
                // The senders live as long as the agent.
                let Some(tale) = tale else {
                    return std::future::pending().await;
                };
                let dropped = waiting.add(tale, clock::boot());
                counts.events_dropped(dropped);
                if first {
                    return;
                }
            }
            () = sleep(left) => return,
        }
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

/// The senders' end.
pub type Tales = mpsc::Sender<Tale>;

/// Hands a tale over; one that has no room is counted.
pub fn hand(tales: &Tales, counts: &Arc<Counts>, tale: Tale) {
    if tales.try_send(tale).is_err() {
        counts.events_dropped(1);
    }
}
