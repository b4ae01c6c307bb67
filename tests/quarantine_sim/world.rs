//! The API server of the simulation: Nodes and one Lease, linearizable, with
//! resource versions as etcd gives them. After every change it checks what
//! must never happen.

use std::collections::BTreeMap;
use std::sync::Arc;

use faultline::patterns::set::Quarantine;
use faultline::sinks::kubernetes::budget::limits::{LIMITS, Limits};
use faultline::sinks::kubernetes::budget::reason::Place;
use faultline::sinks::kubernetes::cluster::{
    ApiError, Lease, Node, QUARANTINE, RETIRED, Row,
};
use faultline::sinks::kubernetes::quarantine::OVERRIDDEN;
use faultline::sinks::kubernetes::quarantine::mark::Mark;
use serde_json::{Value, json};

pub const POOL: &str = "example.com/pool";

/// What a violation is measured against, of the cluster or a pool.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    pub total: usize,
    pub out: usize,
    pub schedulable: usize,
    pub most_out: usize,
}

pub struct World {
    pub nodes: Vec<Node>,
    pub rows: Vec<Arc<Row>>,
    pub lease: Lease,
    pub limits: Limits,
    pub tallies: BTreeMap<Option<String>, Tally>,
    pub violations: Vec<String>,
    /// Patches that took a node out, and that put one back.
    pub marked: usize,
    pub released: usize,
    /// Whether a PUT of an old version is refused; broken on purpose.
    pub compares: bool,
    /// Whether others take nodes out all the time. Then nobody can keep the
    /// whole within a limit, and what the agents did is held against it.
    pub churn: bool,
    pub most_ours: usize,
    version: u64,
}

/// The taints that are not ours, in order.
fn foreign(node: &Node) -> Vec<&Value> {
    node.spec.taints.iter().filter(|t| t["key"] != QUARANTINE).collect()
}

/// Whether our taint is on the node, or it is cordoned, or not ready: the
/// truth, not what label and annotation say.
fn is_out(node: &Node) -> bool {
    let tainted = node.spec.taints.iter().any(|t| t["key"] == QUARANTINE);
    tainted || node.spec.unschedulable || !node.is_ready()
}

fn retired(node: &Node) -> bool {
    node.label(RETIRED).is_some()
}

impl World {
    pub fn new(count: usize, pools: usize, limits: &str) -> World {
        let mut world = World {
            nodes: Vec::new(),
            rows: Vec::new(),
            lease: Lease(json!({ "metadata": {
                "name": "faultline-budget", "resourceVersion": "1",
                "annotations": { LIMITS: limits },
            } })),
            limits: Limits::parse(limits).unwrap(),
            tallies: BTreeMap::new(),
            violations: Vec::new(),
            marked: 0,
            released: 0,
            compares: true,
            churn: false,
            most_ours: 0,
            version: 1,
        };
        for i in 0..count {
            world.version += 1;
            let node: Node = serde_json::from_value(json!({
                "metadata": {
                    "name": format!("node-{i}"), "uid": format!("uid-{i}"),
                    "resourceVersion": world.version.to_string(),
                    "labels": { POOL: format!("pool-{}", i % pools) },
                },
                "status": { "conditions": [
                    { "type": "Ready", "status": "True" }] },
            }))
            .unwrap();
            world.rows.push(Arc::new(node.row(Some(POOL))));
            world.nodes.push(node);
            world.count(i, 1);
        }
        world
    }

    fn count(&mut self, at: usize, by: isize) {
        let node = &self.nodes[at];
        if retired(node) {
            return;
        }
        let out = is_out(node);
        let pool = node.label(POOL).map(str::to_owned);
        for place in [None, pool] {
            let tally = self.tallies.entry(place).or_default();
            let add = |n: &mut usize| *n = n.strict_add_signed(by);
            add(&mut tally.total);
            add(if out { &mut tally.out } else { &mut tally.schedulable });
            tally.most_out = tally.most_out.max(tally.out);
        }
    }

    /// Changes a Node by any means, and counts anew.
    pub fn change(&mut self, at: usize, change: impl FnOnce(&mut Node)) {
        self.count(at, -1);
        change(&mut self.nodes[at]);
        self.version += 1;
        self.nodes[at].metadata.resource_version = self.version.to_string();
        self.rows[at] = Arc::new(self.nodes[at].row(Some(POOL)));
        self.count(at, 1);
    }

    pub fn patch_node(
        &mut self,
        at: usize,
        body: &Value,
    ) -> Result<Node, ApiError> {
        let meta = &body["metadata"];
        let old = self.nodes[at].clone();
        let version = meta.get("resourceVersion").and_then(Value::as_str);
        if version.is_some_and(|v| v != old.metadata.resource_version) {
            return Err(ApiError::Conflict);
        }
        if meta["uid"] != old.metadata.uid.as_str() {
            return Err(ApiError::Conflict);
        }
        self.change(at, |node| merge(node, body));
        let new = self.nodes[at].clone();
        if foreign(&old) != foreign(&new) {
            self.violations.push(format!("{at}: lost another's taint"));
        }
        let overridden = |node: &Node| node.annotation(OVERRIDDEN).is_some();
        if !overridden(&old) && overridden(&new) {
            // Nobody in a simulation takes a mark off.
            self.violations.push(format!("{at}: took itself for another"));
        }
        if self.churn {
            self.check_ours(at);
        }
        match (is_out(&old), is_out(&new)) {
            (false, true) => {
                self.marked += 1;
                if !retired(&new) && !self.churn {
                    self.check(at);
                }
            }
            (true, false) => self.released += 1,
            _ => {}
        }
        Ok(new)
    }

    /// What the agents keep out of service in the room of the budget is
    /// within it, whoever else is out.
    fn check_ours(&mut self, at: usize) {
        let pool = self.nodes[at].label(POOL).map(str::to_owned);
        for place in [None, pool] {
            let inside = |node: &&Node| {
                let pool = node.label(POOL).map(str::to_owned);
                place.is_none() || place == pool
            };
            let ours = self.nodes.iter().filter(inside);
            let ours = ours.filter_map(Mark::read).filter(|m| !m.free).count();
            let total = self.tallies[&place].total;
            let scope = match &place {
                None => Some(&self.limits.cluster),
                Some(name) => self.limits.pool(name),
            };
            if place.is_none() {
                self.most_ours = self.most_ours.max(ours);
            }
            if scope.is_some_and(|scope| ours > scope.limit(total)) {
                self.violations.push(format!("{place:?}: {ours} of ours"));
            }
        }
    }

    /// A node was taken out just now: was there room?
    fn check(&mut self, at: usize) {
        let pool = self.nodes[at].label(POOL).map(str::to_owned);
        for place in [None, pool] {
            let tally = self.tallies[&place];
            let scope = match &place {
                None => Some(&self.limits.cluster),
                Some(name) => self.limits.pool(name),
            };
            let limit = scope.map_or(tally.total, |s| s.limit(tally.total));
            let name = match &place {
                None => Place::Cluster,
                Some(name) => Place::Pool(name.clone()),
            };
            if tally.out > limit {
                self.violations
                    .push(format!("{name}: {} out of {limit}", tally.out));
            }
            if tally.schedulable == 0 {
                self.violations.push(format!("{name}: nothing left"));
            }
        }
    }

    pub fn put_lease(&mut self, lease: &Lease) -> Result<Lease, ApiError> {
        let stale = lease.resource_version() != self.lease.resource_version();
        if stale && self.compares {
            return Err(ApiError::Conflict);
        }
        self.version += 1;
        self.lease = lease.clone();
        let version = self.version.to_string();
        self.lease.0["metadata"]["resourceVersion"] = version.into();
        Ok(self.lease.clone())
    }

    /// Nodes that carry anything that the agents write.
    pub fn left_behind(&self) -> usize {
        let ours = |node: &&Node| {
            node.spec.taints.iter().any(|t| t["key"] == QUARANTINE)
                || node.row(None).marked != Quarantine::None
                || node
                    .metadata
                    .annotations
                    .keys()
                    .any(|k| k.starts_with("faultline.dev/"))
        };
        self.nodes.iter().filter(ours).count()
    }
}

/// A merge patch of the fields that a Node here has.
fn merge(node: &mut Node, body: &Value) {
    let maps = [
        (&mut node.metadata.labels, &body["metadata"]["labels"]),
        (&mut node.metadata.annotations, &body["metadata"]["annotations"]),
    ];
    for (map, changes) in maps {
        for (key, value) in changes.as_object().into_iter().flatten() {
            match value.as_str() {
                Some(text) => map.insert(key.clone(), text.to_owned()),
                None => map.remove(key),
            };
        }
    }
    if let Some(taints) = body["spec"]["taints"].as_array() {
        node.spec.taints.clone_from(taints);
    }
    if let Some(cordoned) = body["spec"]["unschedulable"].as_bool() {
        node.spec.unschedulable = cordoned;
    }
}
