//! Connections at once, bounded; where none is free, the client that has kept
//! its own idle for longest gives way. So clients that send slowly, or don't
//! read, never keep a probe waiting.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock;

/// How soon places are looked at again while none is free.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    all: BTreeMap<u64, Arc<Seat>>,
}

/// One connection, as those who may want its place see it.
#[derive(Debug, Default)]
pub(super) struct Seat {
    /// Since when the client has the word, by the boot clock, microseconds.
    idle_since: AtomicU64,
    /// Whether an answer is being made: then it is our turn, not its.
    busy: AtomicBool,
    /// Whether it has had an answer, or a part of one.
    served: AtomicBool,
    /// Its place is wanted.
    wanted: Notify,
}

impl Seat {
    /// A request is complete; its answer is made.
    pub fn answering(&self) {
        self.busy.store(true, Ordering::Relaxed);
    }

    /// The client's turn to read, or to ask again.
    pub fn answered(&self) {
        self.served.store(true, Ordering::Relaxed);
        self.sit();
    }

    /// Whether a last word can't fall into the middle of an answer.
    pub fn may_be_told(&self) -> bool {
        !self.served.load(Ordering::Relaxed)
    }

    fn sit(&self) {
        self.idle_since.store(clock::boot().0, Ordering::Relaxed);
        self.busy.store(false, Ordering::Relaxed);
    }

    /// Waits until another connection is to have its place.
    pub async fn wanted(&self) {
        loop {
            self.wanted.notified().await;
            if !self.busy.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// A place that is held until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    /// The connection's seat.
    pub seat: Arc<Seat>,
}

impl Places {
    /// So many places.
    pub fn new(max: usize) -> Arc<Places> {
        let (taken, freed) = (Mutex::default(), Notify::new());
        Arc::new(Places { max, taken, freed })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, somebody's if none is free.
    pub async fn take(self: &Arc<Places>) -> Place {
        loop {
            if let Some(place) = self.try_take() {
                return place;
            }
            // Whoever was asked for its place may have had its answer made
            // just then, and none may have been idle: they are asked again.
            let freed = self.freed.notified();
            let _ = tokio::time::timeout(ASK_AGAIN, freed).await;
        }
    }

    fn try_take(self: &Arc<Places>) -> Option<Place> {
        let mut taken = self.lock();
        if taken.all.len() >= self.max {
            let idle = taken.all.values();
            let idle = idle.filter(|s| !s.busy.load(Ordering::Relaxed));
            let since = |s: &&Arc<Seat>| s.idle_since.load(Ordering::Relaxed);
            if let Some(oldest) = idle.min_by_key(since) {
                oldest.wanted.notify_one();
            }
            return None;
        }
        let seat = Arc::new(Seat::default());
        seat.sit();
        taken.next += 1;
        let number = taken.next;
        taken.all.insert(number, Arc::clone(&seat));
        Some(Place { places: Arc::clone(self), number, seat })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().all.remove(&self.number);
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_gives_way_and_one_being_answered_does_not() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(async {
            let places = Places::new(3);
            let busy = places.take().await;
            busy.seat.answering();
            let oldest = places.take().await;
            std::thread::sleep(std::time::Duration::from_millis(2));
            let _newer = places.take().await;
            assert!(places.try_take().is_none());
            oldest.seat.wanted().await;
            drop(oldest);
            let _last = places.take().await;
            // Asked for a place while it answers, it keeps it.
            busy.seat.wanted.notify_one();
            let wanted = busy.seat.wanted();
            tokio::pin!(wanted);
            let now = std::future::poll_fn(|cx| {
                std::task::Poll::Ready(wanted.as_mut().poll(cx).is_pending())
            });
            assert!(now.await);
        });
    }
}
