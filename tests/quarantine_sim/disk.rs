//! The store of one node: what is kept is durable two seconds later, or when
//! somebody waits for it; a crash loses what came since.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use faultline::sinks::kubernetes::quarantine::{Keep, Memory, Told};

use super::virtual_time::Sim;

/// How long the store gathers what is in no hurry.
const GATHER: Duration = Duration::from_secs(2);

/// How long a transaction takes that somebody waits for.
const FSYNC: Duration = Duration::from_millis(10);

/// The store.
pub struct Disk {
    sim: Sim,
    /// Whether waiting for it is no use; broken on purpose.
    deaf: bool,
    state: Rc<RefCell<State>>,
}

#[derive(Default)]
struct State {
    durable: Memory,
    pending: Option<Memory>,
    /// What people will be told, whatever becomes of the agent.
    told: Vec<Told>,
    untold: Vec<Told>,
    /// Lives of the agent so far.
    life: u64,
}

impl Disk {
    pub fn new(sim: &Sim, deaf: bool) -> Disk {
        Disk { sim: sim.clone(), deaf, state: Rc::default() }
    }

    /// What an agent that starts now reads.
    pub fn loaded(&self) -> Memory {
        self.state.borrow().durable.clone()
    }

    /// The agent is gone, and what it had not written with it.
    pub fn crash(&self) {
        let mut state = self.state.borrow_mut();
        state.pending = None;
        state.untold.clear();
        state.life += 1;
    }

    /// How often people are told that the node was taken out; `None` if they
    /// are not told of each return in its turn.
    pub fn told(&self) -> Option<usize> {
        let (mut out, mut marks) = (false, 0);
        for told in &self.state.borrow().told {
            match told {
                Told::Quarantined { .. } if !out => {
                    (out, marks) = (true, marks + 1);
                }
                Told::Changed { .. } if out => {}
                Told::Released(_) | Told::Overridden(_) if out => out = false,
                Told::Denied(_) | Told::Ignored { .. } | Told::Refused(_) => {}
                _ => return None,
            }
        }
        (!out).then_some(marks)
    }

    /// Writes what waits after this long, unless the agent is gone by then.
    async fn write(sim: Sim, state: Rc<RefCell<State>>, after: Duration) {
        let life = state.borrow().life;
        sim.sleep(after).await;
        let mut state = state.borrow_mut();
        if state.life == life
            && let Some(memory) = state.pending.take()
        {
            state.durable = memory;
            let told = std::mem::take(&mut state.untold);
            state.told.extend(told);
        }
    }
}

impl Keep for Disk {
    fn keep(&self, memory: &Memory, told: &[Told]) {
        self.state.borrow_mut().untold.extend_from_slice(told);
        let waited = self.state.borrow_mut().pending.replace(memory.clone());
        if waited.is_none() {
            let state = Rc::clone(&self.state);
            self.sim.spawn(Disk::write(self.sim.clone(), state, GATHER));
        }
    }

    async fn settle(&self) {
        if !self.deaf {
            let state = Rc::clone(&self.state);
            Disk::write(self.sim.clone(), state, FSYNC).await;
        }
    }
}
