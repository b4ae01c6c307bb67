//! Between an agent and the server: latency, errors, lost answers, requests
//! that arrive an hour late, and a process that stops or dies around them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use faultline::sinks::kubernetes::budget::register;
use faultline::sinks::kubernetes::cluster::{
    Answer, ApiError, Cluster, Dated, Lease, Node, Row,
};
use faultline::time::Timestamp;
use serde_json::Value;

use super::virtual_time::{Dice, Signal, Sim};
use super::world::World;

/// When the simulation begins: 22 November 2026, 10:00 UTC.
pub const EPOCH: i64 = 1_795_341_600_000_000;

/// How long a request waits for its answer, as the real client does.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longer than any pause in the code under test.
const LONG: Duration = Duration::from_secs(3600);

/// How much goes wrong, as chances in a million of each request.
#[derive(Clone, Copy, Default)]
pub struct Chaos {
    pub refused: u64,
    pub lost_answer: u64,
    pub late: u64,
    pub stall: u64,
    pub crash: u64,
}

/// What the code under test is broken by, to see that it shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    Nothing,
    /// The patch carries no version.
    NoFence,
    /// Nobody waits until the store holds what a patch depends on.
    Unsettled,
    /// A grant is forgotten a minute after it was made.
    GrantsExpire,
}

/// Requests of all agents, by second.
#[derive(Default)]
pub struct Traffic {
    pub requests: Vec<u32>,
    pub gets: u64,
    pub lists: u64,
    pub puts: u64,
    pub patches: u64,
}

#[derive(Clone)]
pub struct Wire {
    pub sim: Sim,
    pub world: Rc<RefCell<World>>,
    pub traffic: Rc<RefCell<Traffic>>,
    pub dice: Rc<RefCell<Dice>>,
    /// One for each node: it changed, or its faults did.
    pub changed: Rc<Vec<Signal>>,
    pub crash: Signal,
    pub node: usize,
    pub chaos: Chaos,
    pub broken: Broken,
}

impl Wire {
    /// Carries one request there and back.
    async fn carry<T: 'static>(
        &self,
        request: impl FnOnce(&mut World) -> Result<T, ApiError> + 'static,
    ) -> Answer<T> {
        self.record();
        self.mishap().await;
        let (latency, back, fate) = {
            let mut dice = self.dice.borrow_mut();
            let up_to = Duration::from_millis(40);
            (dice.time(up_to), dice.time(up_to), dice.below(1_000_000))
        };
        let chaos = self.chaos;
        let late = chaos.refused + chaos.late;
        if fate < chaos.refused {
            self.sim.sleep(latency).await;
            return Err(match fate % 3 {
                0 => ApiError::Throttled {
                    retry_after: Some(Duration::from_secs(fate % 20)),
                },
                1 => ApiError::Failed { status: 500, message: "no".into() },
                _ => ApiError::Unreachable("reset".into()),
            });
        }
        if fate < late {
            // On its way past any patience; it arrives all the same.
            let delay = self.dice.borrow_mut().time(LONG * 2);
            let this = self.clone();
            self.sim.spawn(async move {
                this.sim.sleep(delay).await;
                let _ = this.serve(request);
            });
            self.sim.sleep(TIMEOUT).await;
            return Err(ApiError::Unreachable("timed out".into()));
        }
        self.sim.sleep(latency).await;
        let answer = self.serve(request);
        let date = self.date();
        if fate < late + chaos.lost_answer {
            self.sim.sleep(TIMEOUT).await;
            return Err(ApiError::Unreachable("cut off".into()));
        }
        self.sim.sleep(back).await;
        self.mishap().await;
        answer.map(|value| Dated { date, value })
    }

    fn serve<T>(
        &self,
        request: impl FnOnce(&mut World) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut world = self.world.borrow_mut();
        let before = world.nodes[self.node].metadata.resource_version.clone();
        let answer = request(&mut world);
        if world.nodes[self.node].metadata.resource_version != before {
            self.changed[self.node].raise();
        }
        answer
    }

    /// The process stops for up to an hour, or dies.
    async fn mishap(&self) {
        let (fate, stop) = {
            let mut dice = self.dice.borrow_mut();
            (dice.below(1_000_000), dice.time(LONG))
        };
        if fate < self.chaos.crash {
            self.crash.raise();
            std::future::pending::<()>().await;
        }
        if fate < self.chaos.crash + self.chaos.stall {
            self.sim.sleep(stop).await;
        }
    }

    fn record(&self) {
        let second = (self.sim.now() / 1_000_000) as usize;
        let mut traffic = self.traffic.borrow_mut();
        if traffic.requests.len() <= second {
            traffic.requests.resize(second + 1, 0);
        }
        traffic.requests[second] += 1;
    }

    /// The server's clock, in whole seconds.
    fn date(&self) -> Timestamp {
        let seconds = self.sim.now() / 1_000_000;
        Timestamp(EPOCH + seconds as i64 * 1_000_000)
    }
}

impl Cluster for Wire {
    async fn own_node(&self) -> Answer<Node> {
        self.traffic.borrow_mut().gets += 1;
        let at = self.node;
        self.carry(move |world| Ok(world.nodes[at].clone())).await
    }

    async fn patch_node(&self, body: &Value) -> Answer<Node> {
        self.traffic.borrow_mut().patches += 1;
        let (at, mut body) = (self.node, body.clone());
        if self.broken == Broken::NoFence {
            let meta = body["metadata"].as_object_mut().unwrap();
            meta.remove("resourceVersion");
        }
        self.carry(move |world| world.patch_node(at, &body)).await
    }

    async fn lease(&self) -> Answer<Lease> {
        self.traffic.borrow_mut().gets += 1;
        let mut read = self.carry(|world| Ok(world.lease.clone())).await?;
        if self.broken == Broken::GrantsExpire {
            let from = read.date.minus(Duration::from_secs(60));
            for record in register::records(&read.value) {
                let old = record.entry().is_some_and(|e| e.at.0 < from);
                if old {
                    let key = register::key(record.node());
                    read.value.annotate(&key, None);
                }
            }
        }
        Ok(read)
    }

    async fn put_lease(&self, lease: &Lease) -> Answer<Lease> {
        self.traffic.borrow_mut().puts += 1;
        let lease = lease.clone();
        self.carry(move |world| world.put_lease(&lease)).await
    }

    async fn nodes(&self, _: Option<&str>) -> Answer<Vec<Arc<Row>>> {
        self.traffic.borrow_mut().lists += 1;
        self.carry(|world| Ok(world.rows.clone())).await
    }
}
