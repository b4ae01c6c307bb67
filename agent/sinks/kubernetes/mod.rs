//! Kubernetes: what the API server is told about this node, and what it is
//! asked.
//!
//! `cluster` names the few requests that quarantine and budget need, and
//! `client` makes them; `node` follows the own Node, `reporter` keeps its
//! conditions (`conditions` says what they should be), `quarantine` marks it
//! within the `budget`, `teller` sends Events (`events` says what they
//! tell), `renew` keeps a host's token alive. What decides is pure and stands beside what acts. No decision here
//! trusts a clock of this machine for what several nodes share.
//!
//! Everything here runs on the network's one thread; none of it ever makes
//! the ledger wait, and an API server that is away for hours finds the latest
//! state when it returns, not a backlog. The end of the agent changes nothing
//! on the Node.

pub mod access;
pub mod answer;
pub mod budget;
pub mod client;
pub mod cluster;
pub mod conditions;
pub mod daemonsets;
pub mod events;
pub mod guard;
pub mod listed;
pub mod node;
mod outlive;
pub mod overview;
pub mod pace;
pub mod person;
pub mod quarantine;
pub mod renew;
pub mod reporter;
pub mod stream;
pub mod teller;
pub mod traces;

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use tokio::sync::watch;

use super::board::Reader;
use super::counts::Counts;
use super::record::Record;
use crate::queue::Message;
use client::Client;
use node::Held;
use outlive::outlive;
use quarantine::Rules;
use quarantine::task::{Settled, Task};
use reporter::Reporter;

/// The domain of all that the agents write: taint, label, annotations,
/// limits.
pub const DOMAIN: &str = "faultline.dev";

/// All that talks to the API server.
#[derive(Debug)]
pub struct Sink {
    /// The way there.
    pub client: Client,
    /// What the ledger's owner shows.
    pub reader: Reader,
    /// What was written, over restarts.
    pub record: Record,
    /// What is counted.
    pub counts: Arc<Counts>,
    /// How long a source may be unreadable before conditions are Unknown.
    pub grace: Duration,
    /// What quarantine may do here.
    pub rules: Rules,
    /// Whether quarantine goes on where the API server would let this agent
    /// change other Nodes.
    pub unguarded: bool,
    /// The way to the ledger's owner, for a person's orders.
    pub ledger: SyncSender<Message>,
}

impl Sink {
    /// Works until the agent ends; begins anew after a panic, which is a bug
    /// that must not leave the node untold for good.
    pub async fn run(mut self) {
        let counts = Arc::clone(&self.counts);
        outlive(&counts, async || self.work().await).await;
    }

    async fn work(&mut self) {
        let Sink { client, reader, record, counts, ledger, .. } = self;
        let (client, record): (&Client, &Record) = (client, record);
        let counts: &Arc<Counts> = counts;
        let Reader { notice } = reader;
        let (held, settled) = (Held::default(), Settled::default());
        let (done, acted) = watch::channel(Arc::default());
        let quarantine = Task {
            client,
            held: &held,
            record,
            counts,
            ledger: ledger.clone(),
            settled: &settled,
            rules: self.rules,
            unguarded: self.unguarded,
        };
        let reporter = Reporter::new(
            (client, &held, record),
            counts,
            &settled,
            self.grace,
        );
        tokio::join!(
            node::follow(client, &held, counts),
            quarantine.run(notice.clone(), held.watch(), done),
            reporter.run(notice.clone(), held.watch(), acted),
            teller::tell(client, &held, counts, record),
            renew::renew(client, counts),
        );
    }
}
