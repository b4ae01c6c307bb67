//! The agents of a simulation, and what is done to their nodes.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use faultline::patterns::set::{Quarantine, Severity};
use faultline::sinks::kubernetes::budget::register;
use faultline::sinks::kubernetes::cluster::Node;
use faultline::sinks::kubernetes::quarantine::driver::Driver;
use faultline::sinks::kubernetes::quarantine::mark::Mark;
use faultline::sinks::kubernetes::quarantine::{Rules, Want};
use faultline::time::{Now, Timestamp, Uptime};
use serde_json::json;

use super::disk::Disk;
use super::virtual_time::{Dice, Signal, Sim, first};
use super::wire::{Broken, Chaos, EPOCH, Traffic, Wire};
use super::world::World;

/// How long nodes go on failing, at most.
const FAILING: Duration = Duration::from_secs(4 * 3600);

/// When everything must have returned: after the last fault, the longest
/// stall and the hold time, three times over.
const END: u64 = 14 * 3600;

/// From when on nothing may be asked of the server any more.
const REST: u64 = 12 * 3600;

/// What happens in a simulation.
#[derive(Clone, Copy)]
pub struct Story {
    pub nodes: usize,
    pub pools: usize,
    /// Percent of the nodes that fail within a minute.
    pub failing: u64,
    /// The time within which they fail.
    pub within: Duration,
    /// Nodes that are not ready from the beginning on.
    pub others_out: usize,
    pub limits: &'static str,
    pub chaos: Chaos,
    pub broken: Broken,
    pub compares: bool,
    /// How often others touch a Node, on average.
    pub touched: Duration,
    /// Whether nodes stop being ready and people cordon, and the contrary.
    pub churn: bool,
    pub seed: u64,
}

impl Default for Story {
    fn default() -> Story {
        Story {
            nodes: 100,
            pools: 5,
            failing: 30,
            within: Duration::from_secs(60),
            others_out: 0,
            limits: "",
            chaos: Chaos::default(),
            broken: Broken::Nothing,
            compares: true,
            touched: Duration::from_secs(300),
            churn: false,
            seed: 1,
        }
    }
}

/// A simulation that was played.
pub struct Play {
    story: Story,
    sim: Sim,
    world: Rc<RefCell<World>>,
    traffic: Rc<RefCell<Traffic>>,
    disks: Vec<Rc<Disk>>,
    took: Duration,
}

impl Play {
    pub fn act(story: Story) -> Play {
        let began = faultline::clock::monotonic();
        let sim = Sim::default();
        let mut world = World::new(story.nodes, story.pools, story.limits);
        world.compares = story.compares;
        world.churn = story.churn;
        for i in 0..story.others_out {
            world.change(i * story.nodes / story.others_out, |node| {
                node.status.conditions[0]["status"] = json!("False");
            });
        }
        let signals = || (0..story.nodes).map(|_| Signal::default()).collect();
        let wire = Wire {
            sim: sim.clone(),
            world: Rc::new(RefCell::new(world)),
            traffic: Rc::default(),
            dice: Rc::new(RefCell::new(Dice(story.seed))),
            changed: Rc::new(signals()),
            crash: Signal::default(),
            node: 0,
            chaos: story.chaos,
            broken: story.broken,
        };
        let mut disks = Vec::new();
        for node in 0..story.nodes {
            let crash = Signal::default();
            let disk = Disk::new(&sim, story.broken == Broken::Unsettled);
            disks.push(Rc::new(disk));
            let disk = Rc::clone(&disks[node]);
            start(Wire { node, crash, ..wire.clone() }, story, disk);
        }
        sim.spawn(others(wire.clone(), story.touched));
        if story.churn {
            sim.spawn(churn(wire.clone(), story.touched));
        }
        sim.run_until(END);
        let took = faultline::clock::monotonic() - began;
        let took = Duration::from_micros(took);
        let (world, traffic) = (wire.world, wire.traffic);
        Play { story, sim, world, traffic, disks, took }
    }

    pub fn violations(&self) -> Vec<String> {
        self.world.borrow().violations.clone()
    }

    pub fn most_out(&self) -> usize {
        self.world.borrow().tallies[&None].most_out
    }

    /// The most that the agents themselves kept out at once, by the budget.
    pub fn most_ours(&self) -> usize {
        self.world.borrow().most_ours
    }

    pub fn assert_safe(&self) {
        let violations = self.violations();
        let shown = &violations[..violations.len().min(10)];
        assert!(violations.is_empty(), "{}: {shown:#?}", violations.len());
    }

    /// No node carries anything of ours, and none is out because of us.
    pub fn assert_left_nothing(&self) {
        let world = self.world.borrow();
        assert_eq!(world.left_behind(), 0, "nodes still carry our signs");
        assert_eq!(world.tallies[&None].out, self.story.others_out);
        // Under churn a node may be out for another reason at its release.
        let counted = world.churn || world.released >= world.marked;
        assert!(counted, "counted wrongly");
    }

    /// People are told of each mark and of each return, once, whenever an
    /// agent ended.
    pub fn assert_told(&self) {
        let told: Vec<_> = self.disks.iter().map(|disk| disk.told()).collect();
        let odd = told.iter().filter(|told| told.is_none()).count();
        assert_eq!(odd, 0, "nodes of which something else is told than was");
        let marks: usize = told.into_iter().flatten().sum();
        assert_eq!(marks, self.world.borrow().marked, "marks told and made");
    }

    /// The same, nothing is left on the Lease, and the server is left alone.
    pub fn assert_returned(&self) {
        self.assert_left_nothing();
        let world = self.world.borrow();
        let left = register::records(&world.lease);
        assert!(left.is_empty(), "left on the Lease: {left:?}");
        let traffic = self.traffic.borrow();
        let late = traffic.requests.iter().skip(REST as usize);
        assert_eq!(late.sum::<u32>(), 0, "requests at rest");
    }

    pub fn print(&self, title: &str) {
        let traffic = self.traffic.borrow();
        let world = self.world.borrow();
        let most = traffic.requests.iter().max().copied().unwrap_or(0);
        let minute = traffic.requests.chunks(60);
        let minute = minute.map(|m| m.iter().sum::<u32>()).max().unwrap_or(0);
        println!(
            "{title}: {} marked, {} released, most out {}, violations {}; \
             requests/s: most {most}, most in a minute {:.1}, mean of the \
             first 4 h {:.2}; {} GETs, {} lists, {} PUTs, {} PATCHes; {} h \
             in {:.1} s",
            world.marked,
            world.released,
            world.tallies[&None].most_out,
            world.violations.len(),
            f64::from(minute) / 60.0,
            f64::from(traffic.requests.iter().take(14_400).sum::<u32>())
                / 14_400.0,
            traffic.gets,
            traffic.lists,
            traffic.puts,
            traffic.patches,
            self.sim.now() / 3_600_000_000,
            self.took.as_secs_f64(),
        );
    }
}

fn want(node: usize, dice: &mut Dice) -> Want {
    let severities = [Severity::Error, Severity::Fatal];
    let how = [Quarantine::Taint, Quarantine::Taint, Quarantine::Cordon];
    Want {
        how: how[dice.below(3) as usize],
        component: "memory".into(),
        severity: severities[dice.below(2) as usize],
        pattern: format!("pattern-{}", dice.below(40)),
        faults: vec![format!("{node:08x}")],
        words: vec![format!("memory-uncorrected dimm/{node}")],
        fatal_seen: None,
    }
}

/// One agent: its faults come and go, its process dies and starts again.
fn start(wire: Wire, story: Story, disk: Rc<Disk>) {
    let faults: Rc<RefCell<Option<Want>>> = Rc::default();
    let (seed, skew, fails, begins, lasts) = {
        let mut dice = wire.dice.borrow_mut();
        let skew = dice.below(600_000_000) as i64 - 300_000_000;
        let fails = dice.below(100) < story.failing;
        let begins = dice.time(story.within);
        (dice.below(u64::MAX), skew, fails, begins, dice.time(FAILING))
    };
    if fails {
        let (wire, faults) = (wire.clone(), Rc::clone(&faults));
        wire.sim.clone().spawn(async move {
            wire.sim.sleep(begins).await;
            let asked = want(wire.node, &mut wire.dice.borrow_mut());
            *faults.borrow_mut() = Some(asked);
            wire.changed[wire.node].raise();
            wire.sim.sleep(lasts).await;
            *faults.borrow_mut() = None;
            wire.changed[wire.node].raise();
        });
    }
    wire.sim.clone().spawn(async move {
        for life in 0.. {
            let memory = disk.loaded();
            let driver = Driver::new(Rules::default(), memory, seed + life);
            let crash = wire.crash.clone();
            let live = live(&wire, driver, &faults, skew, &disk);
            first(live, crash.wait(&wire.sim, None)).await;
            disk.crash();
            wire.sim.sleep(Duration::from_secs(5)).await;
        }
    });
}

async fn live(
    wire: &Wire,
    mut driver: Driver,
    faults: &RefCell<Option<Want>>,
    skew: i64,
    disk: &Disk,
) {
    let mut seen = None;
    loop {
        let boot = wire.sim.now();
        let wall = Timestamp(EPOCH + boot as i64 + skew);
        let now = Now { wall, boot: Uptime(boot) };
        let want = faults.borrow().clone();
        // The watch shows the Node as it is, or lags behind.
        let fresh = wire.world.borrow().nodes[wire.node].clone();
        let lags = wire.dice.borrow_mut().falls(100_000);
        let late = seen.take().filter(|_| lags);
        let shown = Some(late.unwrap_or_else(|| fresh.clone()));
        let turn = driver.turn(wire, shown, want.as_ref(), now, disk).await;
        // But nobody goes back behind what it has read or written itself.
        seen = turn.node.filter(|node| is_newer(node, &fresh)).or(Some(fresh));
        wire.changed[wire.node].wait(&wire.sim, turn.again).await;
    }
}

fn is_newer(node: &Node, than: &Node) -> bool {
    let version = |node: &Node| -> u64 {
        node.metadata.resource_version.parse().unwrap()
    };
    version(node) > version(than)
}

/// Kubelets and other controllers: they touch Nodes, and edit the taints.
async fn others(wire: Wire, touched: Duration) {
    let nodes = wire.world.borrow().nodes.len();
    for round in 0.. {
        let pause = touched / nodes as u32;
        wire.sim.sleep(pause).await;
        if wire.sim.now() > REST * 1_000_000 {
            return;
        }
        let at = wire.dice.borrow_mut().below(nodes as u64) as usize;
        wire.world.borrow_mut().change(at, |node| {
            let other = "example.com/other";
            let taints = &mut node.spec.taints;
            match taints.iter().position(|t| t["key"] == other) {
                Some(at) => drop(taints.remove(at)),
                None if round % 4 == 0 => taints.insert(
                    0,
                    json!({ "key": other, "effect": "PreferNoSchedule",
                            "odd": round }),
                ),
                None => {}
            }
        });
        wire.changed[at].raise();
    }
}

/// Kubelets that fall silent and come back, and people who cordon nodes and
/// uncordon them. Afterwards all is as it was.
async fn churn(wire: Wire, touched: Duration) {
    let nodes = wire.world.borrow().nodes.len();
    let ready = |node: &mut Node, so: bool| {
        let word = if so { "True" } else { "Unknown" };
        node.status.conditions[0]["status"] = json!(word);
    };
    while wire.sim.now() < REST * 1_000_000 {
        wire.sim.sleep(touched / nodes as u32).await;
        let mut dice = wire.dice.borrow_mut();
        let (at, fate) = (dice.below(nodes as u64) as usize, dice.below(100));
        drop(dice);
        wire.world.borrow_mut().change(at, |node| {
            let ours = Mark::read(node);
            let ours = ours.is_some_and(|m| m.how == Quarantine::Cordon);
            match fate {
                0..10 => ready(node, false),
                10..60 => ready(node, true),
                60..66 => node.spec.unschedulable = true,
                66..99 if !ours => node.spec.unschedulable = false,
                _ => {}
            }
        });
        wire.changed[at].raise();
    }
    for at in 0..nodes {
        wire.world.borrow_mut().change(at, |node| {
            ready(node, true);
            if Mark::read(node).is_none() {
                node.spec.unschedulable = false;
            }
        });
        wire.changed[at].raise();
    }
}
