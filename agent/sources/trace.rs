//! Machine checks and RAS events from the kernel's tracepoints, which tell
//! them whole, at once and without a rate limit, also those that the
//! collector of corrected errors keeps from everybody else.
//!
//! One thread reads the rings of all CPUs of our own instance
//! (`trace_instance`), takes their pages apart (`decode::trace`), finds what
//! is told twice (`trace_pair`) and makes observations of the sources `mce`,
//! `edac` and `aer` (`trace_observe`). The ring is the buffer: what it had
//! to overwrite is counted exactly.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::epoll::{
    Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout,
};

use super::guard::guarded;
use super::stop::{Woken, wait};
use super::trace_described::readable;
pub use super::trace_instance::Unusable;
use super::trace_instance::{Clock, Found, Instance, find};
use super::trace_observe::{Moment, Outlet};
use super::trace_pair::{Pairing, Settled, TWIN};
use super::{Context, End, Failure};
use crate::decode::trace::{Layout, Missed};

/// How often every ring is read although nothing woke us: kernels before
/// 6.1 have bugs that lose a wake-up, and a CPU may have come up.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How many pages of one ring are read before the others have their turn:
/// a whole ring of the largest size.
const PAGES_MAX: usize = 32;

/// How many rings one wake-up names; the others are named by the next.
const READY_MAX: usize = 64;

/// Where the host's files are.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory that holds `sys`.
    pub root: PathBuf,
}

impl Options {
    /// The host below `root`.
    pub fn under(root: &Path) -> Options {
        Options { root: root.to_owned() }
    }
}

/// The events that could be read on the host below `root`, as
/// `subsystem/name`. Changes nothing there.
///
/// # Errors
/// Why none can be read.
pub fn events(root: &Path) -> Result<Vec<&'static str>, Unusable> {
    readable(&find(root)?)
}

/// Reads the rings until told to stop.
///
/// # Errors
/// When tracefs cannot be used, or a ring not read.
pub fn run(options: &Options, context: &mut Context) -> Result<End, Failure> {
    let found = match find(&options.root) {
        Ok(found) => found,
        Err(unusable) => return end(unusable),
    };
    let outlet = Outlet::new(&options.root, context);
    if context.once {
        // A new ring is empty, and that of a running agent is not ours.
        outlet.tell(&found.events, context)?;
        return Ok(End::Stopped);
    }
    let instance = match Instance::open(&found) {
        Ok(instance) => instance,
        Err(unusable) => return end(unusable),
    };
    outlet.tell(&instance.events, context)?;
    if instance.kept {
        tracing::info!("the trace instance of an agent that ended is read on");
    }
    let mut reading = Reading::new(options, &found, &instance, outlet)?;
    let result = reading.follow(&instance, context);
    drop(reading);
    // After a failure it keeps what comes until the next try.
    if result.is_ok() {
        instance.remove();
    }
    result
}

fn end(unusable: Unusable) -> Result<End, Failure> {
    match unusable {
        Unusable::Absent(why) => Ok(End::Absent(why)),
        Unusable::Down(why) => Err(Failure(why)),
    }
}

/// One CPU's ring.
#[derive(Debug)]
struct Ring {
    cpu: u32,
    file: File,
    /// Whether epoll tells of it; not while its CPU has never been up.
    polled: bool,
    /// Whether anything was read since its statistics were.
    read: bool,
    /// What was told as overwritten, if all of it is known.
    overrun: Option<u64>,
    /// What was told as dropped.
    dropped: u64,
}

/// The state of one run over the rings.
struct Reading {
    rings: Vec<Ring>,
    epoll: Epoll,
    layout: Layout,
    clock: Clock,
    page: Vec<u8>,
    pairing: Pairing,
    settled: Vec<(u64, Settled)>,
    moment: Moment,
    outlet: Outlet,
}

impl Reading {
    fn new(
        options: &Options,
        found: &Found,
        instance: &Instance,
        outlet: Outlet,
    ) -> Result<Reading, Failure> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC);
        let epoll = epoll.map_err(|e| Failure(format!("epoll: {e}")))?;
        let mut rings = Vec::new();
        for cpu in instance.cpus() {
            let file = instance.ring(cpu).map_err(|e| {
                Failure::of(format_args!("the trace of CPU {cpu}"), &e)
            })?;
            // What was lost of a ring that was taken over is not known to
            // have been told.
            let lost = instance.lost(cpu).unwrap_or_default();
            let overrun = (!instance.kept).then_some(lost.overrun);
            let dropped = lost.dropped;
            let (polled, read) = (false, false);
            rings.push(Ring { cpu, file, polled, read, overrun, dropped });
        }
        if rings.is_empty() {
            let tracefs = found.tracefs.display();
            return Err(Failure(format!("{tracefs} has no ring of a CPU")));
        }
        let edac = options.root.join("sys/devices/system/edac/mc/mc0");
        let extlog = options.root.join("sys/module/acpi_extlog");
        Ok(Reading {
            rings,
            epoll,
            layout: instance.layout,
            clock: instance.clock,
            page: vec![0; instance.layout.page_size()],
            pairing: Pairing::new(edac.exists() || extlog.exists()),
            settled: Vec::new(),
            moment: Moment::now(instance.clock, None),
            outlet,
        })
    }

    fn follow(
        &mut self,
        instance: &Instance,
        context: &mut Context,
    ) -> Result<End, Failure> {
        let mut ready: Vec<usize> = (0..self.rings.len()).collect();
        self.poll_all()?;
        loop {
            context.patterns.refresh();
            self.moment = Moment::now(self.clock, Some(self.moment));
            let mut more = Vec::new();
            for ring in ready {
                if self.drain(ring, instance)? {
                    more.push(ring);
                }
            }
            let stop = context.stop.is_told();
            let until = if stop { u64::MAX } else { self.moment.clock };
            self.pairing.settle(until, &mut self.settled);
            self.outlet.take(&mut self.settled, self.moment, context);
            self.outlet.flush(context)?;
            if stop {
                return Ok(End::Stopped);
            }
            ready = more;
            if ready.is_empty() {
                self.outlet.succeeded(self.moment);
                match self.wait(instance, context)? {
                    Some(woken) => ready = woken,
                    // Once more: what came since is not lost.
                    None => ready = (0..self.rings.len()).collect(),
                }
            }
        }
    }

    /// The rings that have something, or all when it is time to look at
    /// them; none when told to stop.
    fn wait(
        &mut self,
        instance: &Instance,
        context: &Context,
    ) -> Result<Option<Vec<usize>>, Failure> {
        let patience =
            if self.pairing.is_waiting() { TWIN } else { LOOK_EVERY };
        let fd = Some((self.epoll.0.as_fd(), PollFlags::POLLIN));
        match wait(&context.stop, fd, Some(patience)) {
            Woken::Stop => Ok(None),
            Woken::Timeout => {
                self.poll_all()?;
                self.look_for_drops(instance);
                Ok(Some((0..self.rings.len()).collect()))
            }
            Woken::Ready => self.ready().map(Some),
        }
    }

    fn ready(&mut self) -> Result<Vec<usize>, Failure> {
        let mut events = [EpollEvent::empty(); READY_MAX];
        let n = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            Ok(n) => n,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(Failure(format!("epoll: {errno}"))),
        };
        let mut ready = Vec::new();
        for event in &events[..n] {
            let i = event.data() as usize;
            let Some(ring) = self.rings.get_mut(i) else { continue };
            if event.events().contains(EpollFlags::EPOLLIN) {
                ready.push(i);
            } else {
                // The ring of a CPU that was never up is always in error
                // (ring_buffer_poll_wait): asked again at the next look.
                let _ = self.epoll.delete(&ring.file);
                ring.polled = false;
            }
        }
        Ok(ready)
    }

    fn poll_all(&mut self) -> Result<(), Failure> {
        for (i, ring) in self.rings.iter_mut().enumerate() {
            if !ring.polled {
                let event = EpollEvent::new(EpollFlags::EPOLLIN, i as u64);
                let added = self.epoll.add(&ring.file, event);
                added.map_err(|e| Failure(format!("epoll: {e}")))?;
                ring.polled = true;
            }
        }
        Ok(())
    }

    /// Reads one ring; says whether it may have more.
    fn drain(
        &mut self,
        i: usize,
        instance: &Instance,
    ) -> Result<bool, Failure> {
        for _ in 0..PAGES_MAX {
            let ring = &mut self.rings[i];
            let error = match ring.file.read(&mut self.page) {
                Ok(0) => return Ok(false),
                Ok(n) => {
                    ring.read = true;
                    self.take_page(i, n, instance);
                    continue;
                }
                Err(error) => error,
            };
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EAGAIN) => return Ok(false),
                Some(Errno::EINTR) => {}
                _ => {
                    let what = format!("the trace of CPU {}", ring.cpu);
                    return Err(Failure::of(what, &error));
                }
            }
        }
        Ok(true)
    }

    fn take_page(&mut self, i: usize, length: usize, instance: &Instance) {
        let bytes = &self.page[..length];
        let Some(mut page) = self.layout.page(bytes) else {
            self.outlet.invalid(1);
            return;
        };
        let ring = &mut self.rings[i];
        match page.missed() {
            Missed::Nothing => {}
            Missed::Exactly(n) => {
                ring.overrun = ring.overrun.map(|told| told + n);
                self.outlet.lost(n);
            }
            Missed::Some => {
                let told = ring.overrun;
                let lost = instance.lost(ring.cpu).unwrap_or_default();
                let n =
                    told.map_or(1, |told| lost.overrun.saturating_sub(told));
                ring.overrun = told.map(|told| told + n);
                self.outlet.lost(n.max(1));
            }
        }
        let cpu = ring.cpu;
        for record in page.by_ref() {
            let (pairing, settled) = (&mut self.pairing, &mut self.settled);
            let read = guarded("mce", record.data, || {
                // struct trace_entry begins with the event's id.
                let id = record.data.first_chunk().copied();
                let id = u64::from(u16::from_ne_bytes(id?));
                let mut all = instance.readers.iter();
                let told = all.find(|r| r.id == id)?.read(record.data)?;
                pairing.take(cpu, record.time, told, settled);
                Some(())
            });
            if read.is_none() {
                self.outlet.invalid(1);
            }
        }
        self.outlet.invalid(page.is_damaged().into());
    }

    /// What the kernel dropped for want of room stands in no page.
    fn look_for_drops(&mut self, instance: &Instance) {
        for ring in self.rings.iter_mut().filter(|ring| ring.read) {
            ring.read = false;
            let lost = instance.lost(ring.cpu).unwrap_or_default();
            self.outlet.lost(lost.dropped.saturating_sub(ring.dropped));
            ring.dropped = ring.dropped.max(lost.dropped);
        }
    }
}
