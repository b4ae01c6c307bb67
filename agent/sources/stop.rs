//! Stopping: a flag that a thread can ask, and a descriptor that wakes its
//! poll(2) at once.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Told once; heard by every thread that holds a clone.
#[derive(Clone, Debug)]
pub struct Stop {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    told: AtomicBool,
    reader: PipeReader,
    // Dropping the only writer makes the reader ready for everyone, for ever:
    // no byte has to be written, and none can be taken by the wrong thread.
    writer: Mutex<Option<PipeWriter>>,
}

impl Stop {
    /// A stop that has not been told.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn new() -> std::io::Result<Stop> {
        let (reader, writer) = std::io::pipe()?;
        let writer = Mutex::new(Some(writer));
        let told = AtomicBool::new(false);
        Ok(Stop { shared: Arc::new(Shared { told, reader, writer }) })
    }

    /// Tells every holder to end.
    pub fn tell(&self) {
        self.shared.told.store(true, Ordering::Release);
        let mut writer = match self.shared.writer.lock() {
            Ok(writer) => writer,
            Err(poisoned) => poisoned.into_inner(),
        };
        *writer = None;
    }

    /// Whether it has been told.
    pub fn is_told(&self) -> bool {
        self.shared.told.load(Ordering::Acquire)
    }

    /// Sleeps for `time`, less if told; says whether it was told.
    pub fn sleep(&self, time: Duration) -> bool {
        wait(self, None, Some(time)) == Woken::Stop
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.shared.reader.as_fd()
    }
}

/// What ended a [`wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The stop was told.
    Stop,
    /// The descriptor is ready: for reading, or because of an error or
    /// hang-up, which the next read tells.
    Ready,
    /// The time is up.
    Timeout,
}

/// Waits for `fd` (with the events to wait for), the stop or the time,
/// whichever comes first.
pub fn wait(
    stop: &Stop,
    fd: Option<(BorrowedFd<'_>, PollFlags)>,
    time: Option<Duration>,
) -> Woken {
    let mut fds = [
        PollFd::new(stop.fd(), PollFlags::POLLIN),
        PollFd::new(stop.fd(), PollFlags::POLLIN),
    ];
    let mut used = 1;
    if let Some((fd, flags)) = fd {
        fds[1] = PollFd::new(fd, flags);
        used = 2;
    }
    loop {
        if stop.is_told() {
            return Woken::Stop;
        }
        match poll(&mut fds[..used], timeout(time)) {
            Ok(0) => return Woken::Timeout,
            Ok(_) if stop.is_told() => return Woken::Stop,
            Ok(_) => return Woken::Ready,
            // A signal: only the waiting starts anew, which is at worst a
            // little longer.
            Err(Errno::EINTR) => {}
            // ENOMEM or EINVAL; the caller's read says more than we could,
            // and the pause keeps it from spinning.
            Err(_) => {
                std::thread::sleep(Duration::from_millis(100));
                return Woken::Ready;
            }
        }
    }
}

fn timeout(time: Option<Duration>) -> PollTimeout {
    match time {
        None => PollTimeout::NONE,
        // Rounded up: 0 ms for the last 0.4 ms would spin.
        Some(time) => {
            let ms = time.as_micros().div_ceil(1000);
            PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_told_stop_wakes_a_thread_that_waits_without_end() {
        let stop = Stop::new().unwrap();
        let other = stop.clone();
        let thread = std::thread::spawn(move || wait(&other, None, None));
        stop.tell();
        assert_eq!(thread.join().unwrap(), Woken::Stop);
        assert!(stop.sleep(Duration::from_secs(3600)));
    }

    #[test]
    fn a_ready_descriptor_is_told_from_a_timeout() {
        use std::io::Write;
        let stop = Stop::new().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let fd = Some((reader.as_fd(), PollFlags::POLLIN));
        let soon = Some(Duration::from_millis(1));
        assert_eq!(wait(&stop, fd, soon), Woken::Timeout);
        writer.write_all(b"x").unwrap();
        assert_eq!(wait(&stop, fd, None), Woken::Ready);
    }
}
