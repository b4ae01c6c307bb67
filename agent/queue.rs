//! The one bounded queue between the sources and the ledger's thread.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::ledger::Command;
use crate::patterns::set::PatternSet;
use crate::signal::{Batch, Health, SourceId};

/// How many messages may wait. A batch holds up to some hundred events of
/// about a kilobyte, so that a full queue takes some megabytes; the ledger
/// steps an event in microseconds. A full queue means a flood or a ledger
/// that stands still, and then event sources wait (the kernel's ring is the
/// buffer behind kmsg).
pub const QUEUE_SIZE: usize = 64;

/// What the ledger's thread is told.
#[derive(Debug)]
pub enum Message {
    /// What a source saw.
    Batch(Batch),
    /// Whether a source can do its work.
    Health(SourceId, Health),
    /// An instance of a source is gone, as a log file that was removed: the
    /// source as a whole stands in for it.
    Gone(SourceId),
    /// A new pattern set is in force.
    Patterns(Arc<PatternSet>),
    /// A person's command; the answer goes back over the channel.
    Command(Command, tokio::sync::oneshot::Sender<Result<String, String>>),
    /// A question that only the ledger's owner can answer.
    Query(Query, tokio::sync::oneshot::Sender<serde_json::Value>),
    /// The store was opened late, or anew, and has something to tell.
    Store,
    /// Write everything and end.
    Shutdown,
}

/// What can be asked over the JSON API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Whether the ledger's thread makes progress.
    Alive,
    /// The node as a whole: identity, sources, patterns, desired state.
    Node,
    /// The faults.
    Faults,
    /// The patterns in force.
    Patterns,
    /// Unexplained kernel lines.
    Unexplained,
}

/// Makes the queue.
pub fn queue() -> (SyncSender<Message>, Receiver<Message>) {
    sync_channel(QUEUE_SIZE)
}
