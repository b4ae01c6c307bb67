//! The own Node, followed: one GET (of the list that holds it alone), then one watch of the full object (a
//! watch of metadata shows neither taints nor `unschedulable`), and a GET
//! again only where the server says that the version is too old.
//!
//! Whoever needs the Node looks at the latest one seen; what a patch was
//! answered with is offered here too, so that nobody acts on what he himself
//! has changed since.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::client::Client;
use super::cluster::{ApiError, Node};
use super::pace::{Backoff, between};
use super::stream::Told;
use crate::sinks::counts::Counts;

/// How long the server is asked to hold a watch: drawn between these, so
/// that agents that started together don't stay together.
const WATCH: [Duration; 2] =
    [Duration::from_secs(1500), Duration::from_secs(3000)];

/// A watch that is silent for so long is dead: bookmarks come every minute
/// (`bookmarkFrequency` of the watch cache).
const SILENCE: Duration = Duration::from_secs(180);

/// The pause before a watch that the server ended is opened again.
const AGAIN: Duration = Duration::from_secs(1);

/// The latest Node seen; `None`: it does not exist, or was never read.
pub type Latest = Option<Arc<Node>>;

/// Where the Node is held.
#[derive(Debug)]
pub struct Held {
    node: watch::Sender<Latest>,
    /// Whether the Node is being followed.
    way: watch::Sender<bool>,
}

impl Default for Held {
    fn default() -> Held {
        Held { node: watch::Sender::new(None), way: watch::Sender::new(false) }
    }
}

impl Held {
    /// Whoever wants to know of changes.
    pub fn watch(&self) -> watch::Receiver<Latest> {
        self.node.subscribe()
    }

    /// Whoever waits for the way to the API server: it is open while the Node
    /// is being followed.
    pub fn way(&self) -> watch::Receiver<bool> {
        self.way.subscribe()
    }

    /// Whether it is open.
    pub fn is_followed(&self) -> bool {
        *self.way.borrow()
    }

    /// The latest one.
    pub fn latest(&self) -> Latest {
        self.node.borrow().clone()
    }

    /// Offers what was read; an older version of the same Node is not taken.
    pub fn offer(&self, node: Node) {
        self.node.send_if_modified(|held| {
            let newer = held.as_deref().is_none_or(|h| is_newer(&node, h));
            if newer {
                *held = Some(Arc::new(node));
            }
            newer
        });
    }

    fn gone(&self) {
        self.node.send_if_modified(|held| held.take().is_some());
    }
}

/// Notes whether the Node is being followed.
fn note_way(held: &Held, counts: &Counts, open: bool) {
    counts.connected(open);
    held.way.send_if_modified(|was| std::mem::replace(was, open) != open);
}

/// Versions are to be compared since they are promised to be numbers that
/// grow (KEP-5504); anything else is taken as it comes.
fn is_newer(new: &Node, held: &Node) -> bool {
    let version = |n: &Node| n.metadata.resource_version.parse::<u64>().ok();
    let same = new.metadata.uid == held.metadata.uid;
    match (version(new), version(held)) {
        (Some(new), Some(held)) if same => new > held,
        _ => new != held,
    }
}

/// Follows the Node for ever.
pub async fn follow(client: &Client, held: &Held, counts: &Counts) {
    let mut backoff = Backoff::default();
    let mut said = String::new();
    loop {
        let result = read_and_watch(client, held, counts, &mut backoff).await;
        note_way(held, counts, false);
        let pause = match result {
            Err(ApiError::Gone) | Ok(()) => between(AGAIN / 10, AGAIN),
            // Also where only the watch is not allowed: a server that has
            // just started denies what it will allow in a moment.
            Err(ref error) => backoff.pause(error),
        };
        if let Err(error) = &result {
            tell(&mut said, client, error);
        }
        sleep(pause).await;
    }
}

/// Says what is wrong, once for each reason.
fn tell(said: &mut String, client: &Client, error: &ApiError) {
    let text = error.to_string();
    if text != *said && *error != ApiError::Gone {
        tracing::warn!(
            node = client.node_name(),
            error = text,
            "the Node can't be followed; detection goes on"
        );
        *said = text;
    }
}

/// Reads the Node and follows it until its version is too old.
async fn read_and_watch(
    client: &Client,
    held: &Held,
    counts: &Counts,
    backoff: &mut Backoff,
) -> Result<(), ApiError> {
    let (node, mut version) = client.find_node().await?;
    match node {
        Some(node) => held.offer(node),
        None => {
            tracing::info!(
                node = client.node_name(),
                "no such Node yet; it is waited for"
            );
            held.gone();
        }
    }
    loop {
        let length = between(WATCH[0], WATCH[1]);
        let ended =
            watch_once(client, held, counts, backoff, &mut version, length)
                .await;
        note_way(held, counts, false);
        match ended {
            Ok(()) => sleep(between(AGAIN / 10, AGAIN)).await,
            Err(
                error @ (ApiError::Gone
                | ApiError::Denied(_)
                | ApiError::Unauthorized(_)),
            ) => return Err(error),
            Err(error) => {
                tracing::debug!(%error, "the watch of the Node ended");
                sleep(backoff.pause(&error)).await;
            }
        }
    }
}

/// One watch, to its end.
async fn watch_once(
    client: &Client,
    held: &Held,
    counts: &Counts,
    backoff: &mut Backoff,
    version: &mut String,
    length: Duration,
) -> Result<(), ApiError> {
    let mut watch = client.watch(version, length).await?;
    note_way(held, counts, true);
    loop {
        let next = timeout(SILENCE, watch.next()).await;
        let silent = |_| ApiError::Unreachable("the watch is silent".into());
        let Some(told) = next.map_err(silent)?? else { return Ok(()) };
        backoff.reset();
        match told {
            Told::Node(node) => {
                version.clone_from(&node.metadata.resource_version);
                held.offer(*node);
            }
            Told::Deleted => {
                tracing::warn!(node = client.node_name(), "the Node is gone");
                held.gone();
            }
            Told::Bookmark(mark) => *version = mark,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(uid: &str, version: &str) -> Node {
        let mut node = Node::default();
        node.metadata.uid = uid.into();
        node.metadata.resource_version = version.into();
        node
    }

    #[test]
    fn an_older_version_of_the_same_node_is_not_taken() {
        let held = Held::default();
        held.offer(node("a", "10"));
        held.offer(node("a", "9"));
        assert_eq!(held.latest().unwrap().metadata.resource_version, "10");
        held.offer(node("b", "3"));
        assert_eq!(held.latest().unwrap().metadata.uid, "b");
    }
}
