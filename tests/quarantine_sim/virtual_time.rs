//! Tasks on virtual time: when nobody can go on, the clock jumps to the next
//! timer. One thread; the interleavings come from latencies.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Wakes one task.
struct Awake {
    task: usize,
    ready: Arc<Mutex<VecDeque<usize>>>,
}

impl Wake for Awake {
    fn wake(self: Arc<Self>) {
        self.ready.lock().unwrap().push_back(self.task);
    }
}

/// A timer: when, its number, and whom to wake.
struct Timer(u64, u64, Waker);

impl PartialEq for Timer {
    fn eq(&self, other: &Timer) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Timer) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Timer) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// The clock and the tasks.
#[derive(Clone, Default)]
pub struct Sim(Rc<Inner>);

#[derive(Default)]
struct Inner {
    now: Cell<u64>,
    timers: RefCell<BinaryHeap<Reverse<Timer>>>,
    count: Cell<u64>,
    tasks: RefCell<Vec<Option<Task>>>,
    ready: Arc<Mutex<VecDeque<usize>>>,
}

impl Sim {
    /// Microseconds since the beginning.
    pub fn now(&self) -> u64 {
        self.0.now.get()
    }

    /// Starts a task.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let mut tasks = self.0.tasks.borrow_mut();
        self.0.ready.lock().unwrap().push_back(tasks.len());
        tasks.push(Some(Box::pin(task)));
    }

    /// Lets time pass for the task that awaits it.
    pub fn sleep(&self, time: Duration) -> impl Future<Output = ()> + use<> {
        let until = self.now() + time.as_micros() as u64;
        let (inner, mut armed) = (Rc::clone(&self.0), false);
        std::future::poll_fn(move |context| {
            if inner.now.get() >= until {
                return Poll::Ready(());
            }
            if !armed {
                armed = true;
                inner.count.set(inner.count.get() + 1);
                let waker = context.waker().clone();
                let timer = Timer(until, inner.count.get(), waker);
                inner.timers.borrow_mut().push(Reverse(timer));
            }
            Poll::Pending
        })
    }

    /// Runs everything until the clock shows `until` seconds.
    pub fn run_until(&self, until: u64) {
        let until = until * 1_000_000;
        loop {
            let next = self.0.ready.lock().unwrap().pop_front();
            if let Some(task) = next {
                self.poll(task);
                continue;
            }
            let mut timers = self.0.timers.borrow_mut();
            match timers.peek() {
                Some(Reverse(timer)) if timer.0 <= until => {
                    let Reverse(timer) = timers.pop().unwrap();
                    drop(timers);
                    self.0.now.set(timer.0.max(self.now()));
                    timer.2.wake();
                }
                _ => {
                    self.0.now.set(until);
                    return;
                }
            }
        }
    }

    fn poll(&self, number: usize) {
        let task = self.0.tasks.borrow_mut()[number].take();
        let Some(mut task) = task else { return };
        let ready = Arc::clone(&self.0.ready);
        let waker = Waker::from(Arc::new(Awake { task: number, ready }));
        let mut context = Context::from_waker(&waker);
        if task.as_mut().poll(&mut context).is_pending() {
            self.0.tasks.borrow_mut()[number] = Some(task);
        }
    }
}

/// Something that a task waits for, with a memory of one signal.
#[derive(Clone, Default)]
pub struct Signal(Rc<RefCell<(bool, Option<Waker>)>>);

impl Signal {
    /// Wakes who waits, or who waits next.
    pub fn raise(&self) {
        let waker = {
            let mut state = self.0.borrow_mut();
            state.0 = true;
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits for the signal, or at most this long.
    pub async fn wait(&self, sim: &Sim, at_most: Option<Duration>) {
        let mut sleep = at_most.map(|time| Box::pin(sim.sleep(time)));
        std::future::poll_fn(|context| {
            let mut state = self.0.borrow_mut();
            if std::mem::take(&mut state.0) {
                return Poll::Ready(());
            }
            state.1 = Some(context.waker().clone());
            drop(state);
            match &mut sleep {
                Some(sleep) => sleep.as_mut().poll(context),
                None => Poll::Pending,
            }
        })
        .await;
    }
}

/// The first of two to end; the other is dropped where it stands.
pub async fn first<T>(
    one: impl Future<Output = T>,
    other: impl Future<Output = ()>,
) -> Option<T> {
    let (mut one, mut other) = (Box::pin(one), Box::pin(other));
    std::future::poll_fn(|context| {
        if let Poll::Ready(value) = one.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        other.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// Numbers that are the same in each run (splitmix64, Steele 2014).
pub struct Dice(pub u64);

impl Dice {
    /// The next number below `below`.
    pub fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }

    /// Whether something of this chance in a million happens.
    pub fn falls(&mut self, chance: u64) -> bool {
        self.below(1_000_000) < chance
    }

    /// A time up to this long.
    pub fn time(&mut self, up_to: Duration) -> Duration {
        Duration::from_micros(self.below(up_to.as_micros() as u64))
    }
}
