//! A tracefs instance of our own: a ring that only we read, with only the
//! events switched on that tell of failing hardware
//! (Documentation/trace/ftrace.rst, "Instances").
//!
//! Nothing of it is shared with other readers of the trace. One that a
//! killed agent left behind is taken over with what its ring kept; the one
//! of a running agent is locked, and left alone.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::{AccessFlags, access};

use super::trace_described::{layout, reader};
use crate::decode::trace::Layout;
use crate::decode::trace::ras::{EVENTS, Reader};

/// The instance's name.
const NAME: &str = "faultline";

/// Where tracefs is mounted, below the root; the second is where it was
/// before 4.1, and is still mounted on first use.
const MOUNTS: [&str; 2] = ["sys/kernel/tracing", "sys/kernel/debug/tracing"];

/// What all rings together may take of the kernel's memory, KiB: on a
/// machine of 256 CPUs each has 32.
const RINGS_KIB: u64 = 8 * 1024;

/// What a ring has at most: 128 KiB hold a thousand machine checks, and the
/// kernel's own pool of them holds eighty (MCE_POOLSZ, mce/genpool.c).
const RING_MAX_KIB: u64 = 128;

/// What a ring has at least: the kernel needs two pages.
const RING_MIN_KIB: u64 = 16;

/// Clocks that count nanoseconds, best first: the boot clock is ours, the
/// monotonic one lacks the time slept.
const CLOCKS: [Clock; 2] = [Clock::Boot, Clock::Mono];

/// By which clock the ring stamps its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// CLOCK_BOOTTIME.
    Boot,
    /// CLOCK_MONOTONIC.
    Mono,
    /// Another, that says nothing of the time of day.
    Other,
}

impl Clock {
    fn name(self) -> &'static str {
        match self {
            Clock::Boot => "boot",
            Clock::Mono => "mono",
            Clock::Other => "",
        }
    }
}

/// Why there is no instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It cannot exist here; why.
    Absent(String),
    /// It should be usable and is not; why, and what to do.
    Down(String),
}

/// Where tracefs is, and which of our events this kernel has.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its mount point.
    pub tracefs: PathBuf,
    /// The events, as `subsystem/name`.
    pub events: Vec<&'static str>,
}

/// Looks for tracefs below `root`, without changing anything.
///
/// # Errors
/// Why machine checks cannot be read from it.
pub fn find(root: &Path) -> Result<Found, Unusable> {
    let mounts = MOUNTS.map(|mount| root.join(mount));
    let mounted = mounts.iter().find(|m| m.join("events").is_dir());
    let Some(tracefs) = mounted else { return Err(not_mounted(root)) };
    let has = |event: &&&str| {
        tracefs.join("events").join(event).join("format").exists()
    };
    let events: Vec<&str> = EVENTS.iter().filter(has).copied().collect();
    if events.is_empty() {
        return Err(Unusable::Absent(
            "this kernel has no tracepoints for machine checks and RAS \
             events"
                .into(),
        ));
    }
    let instances = tracefs.join("instances");
    let usable = AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK;
    access(&instances, usable).map_err(|e| refused(&instances, &e.into()))?;
    if locked_down(root) {
        return Err(Unusable::Down(
            "the kernel is locked down for confidentiality, which forbids \
             tracing; lockdown=integrity allows it"
                .into(),
        ));
    }
    Ok(Found { tracefs: tracefs.clone(), events })
}

/// Lockdown refuses tracefs from this level on (LOCKDOWN_TRACEFS,
/// include/linux/security.h).
fn locked_down(root: &Path) -> bool {
    let path = root.join("sys/kernel/security/lockdown");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.contains("[confidentiality]")
}

fn not_mounted(root: &Path) -> Unusable {
    let hardware =
        ["sys/devices/system/machinecheck", "sys/devices/system/edac/mc"];
    if !hardware.iter().any(|path| root.join(path).exists()) {
        return Unusable::Absent(
            "this kernel tells no machine checks, and tracefs is not mounted"
                .into(),
        );
    }
    Unusable::Down(
        "tracefs is not mounted; run `mount -t tracefs tracefs \
         /sys/kernel/tracing` on the host, and give a container \
         /sys/kernel/tracing of it"
            .into(),
    )
}

/// Our instance, locked; the events are on.
#[derive(Debug)]
pub struct Instance {
    dir: PathBuf,
    _lock: Flock<File>,
    /// Whether a killed agent left it, with what came since.
    pub kept: bool,
    /// By which clock it stamps its events.
    pub clock: Clock,
    /// How its pages are laid out.
    pub layout: Layout,
    /// The events that are on.
    pub readers: Vec<Reader>,
    /// Their names.
    pub events: Vec<&'static str>,
}

impl Instance {
    /// Makes the instance, or takes over the one that was left, and switches
    /// the events on.
    ///
    /// # Errors
    /// Why it cannot be used, with what to do.
    pub fn open(found: &Found) -> Result<Instance, Unusable> {
        let tracefs = &found.tracefs;
        let dir = tracefs.join("instances").join(NAME);
        let kept = match fs::create_dir(&dir) {
            Ok(()) => false,
            Err(e) if e.kind() == ErrorKind::AlreadyExists => true,
            Err(e) => return Err(refused(&dir, &e)),
        };
        let instance = Instance::begin(found, &dir, kept);
        if instance.is_err() && !kept {
            // Nobody is to find what could not be used.
            let _ = fs::remove_dir(&dir);
        }
        instance
    }

    fn begin(
        found: &Found,
        dir: &Path,
        kept: bool,
    ) -> Result<Instance, Unusable> {
        let (tracefs, dir) = (&found.tracefs, dir.to_owned());
        let file = File::open(&dir).map_err(|e| refused(&dir, &e))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| taken(&dir, errno))?;
        let own = fs::read_to_string(dir.join("buffer_subbuf_size_kb"));
        let own = own.ok().and_then(|t| t.trim().parse::<usize>().ok());
        let mut instance = Instance {
            layout: layout(tracefs, own.map(|kib| kib * 1024))?,
            clock: set_clock(&dir),
            kept,
            dir,
            _lock: lock,
            readers: Vec::new(),
            events: Vec::new(),
        };
        instance.prepare();
        for event in &found.events {
            instance.enable(tracefs, event)?;
        }
        if instance.readers.is_empty() {
            return Err(Unusable::Down(
                "no tracepoint could be switched on".into(),
            ));
        }
        Ok(instance)
    }

    /// What only makes it better: a kernel without one of these files works
    /// too.
    fn prepare(&self) {
        // Changing the size of a ring that holds events may lose some.
        if !self.kept {
            let cpus = self.cpus().len().max(1) as u64;
            let each = RINGS_KIB / cpus;
            let each = each.clamp(RING_MIN_KIB, RING_MAX_KIB);
            let _ = self.write("buffer_size_kb", &each.to_string());
        }
        // Without it a reader sleeps until half of the ring is full
        // (ring_buffer_wait, kernel/trace/ring_buffer.c).
        let _ = self.write("buffer_percent", "0");
        let _ = self.write("tracing_on", "1");
    }

    fn enable(
        &mut self,
        tracefs: &Path,
        event: &'static str,
    ) -> Result<(), Unusable> {
        let Some(reader) = reader(tracefs, event)? else {
            return Ok(()); // none that we know how to read
        };
        let switch = self.dir.join("events").join(event).join("enable");
        fs::write(&switch, "1").map_err(|e| refused(&switch, &e))?;
        self.readers.push(reader);
        self.events.push(event);
        Ok(())
    }

    fn write(&self, file: &str, text: &str) -> std::io::Result<()> {
        fs::write(self.dir.join(file), text)
    }

    /// The numbers of the CPUs that have a ring.
    pub fn cpus(&self) -> Vec<u32> {
        let entries = fs::read_dir(self.dir.join("per_cpu"));
        let entries = entries.into_iter().flatten().flatten();
        let number = |name: std::ffi::OsString| {
            name.to_str()?.strip_prefix("cpu")?.parse().ok()
        };
        let mut cpus: Vec<u32> =
            entries.filter_map(|e| number(e.file_name())).collect();
        cpus.sort_unstable();
        cpus
    }

    /// The raw ring of one CPU; reading takes what is read out of it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn ring(&self, cpu: u32) -> std::io::Result<File> {
        let path = format!("per_cpu/cpu{cpu}/trace_pipe_raw");
        let flags = OFlag::O_NONBLOCK.bits();
        let path = self.dir.join(path);
        File::options().read(true).custom_flags(flags).open(path)
    }

    /// What the kernel says was lost of one CPU's ring: overwritten, and
    /// dropped for other reasons.
    pub fn lost(&self, cpu: u32) -> Option<Lost> {
        let path = self.dir.join(format!("per_cpu/cpu{cpu}/stats"));
        Some(Lost::parse(&fs::read_to_string(path).ok()?))
    }

    /// Switches the events off and removes the instance; its rings must be
    /// closed by then.
    pub fn remove(self) {
        for event in &self.events {
            let _ = self.write(&format!("events/{event}/enable"), "0");
        }
        // A directory that is open is busy.
        let Instance { dir, _lock, .. } = self;
        drop(_lock);
        if let Err(error) = fs::remove_dir(&dir) {
            tracing::warn!(%error, "the trace instance could not be removed");
        }
    }
}

/// What a ring has lost since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Overwritten before they were read.
    pub overrun: u64,
    /// Dropped for want of room while another was being written, or
    /// because the ring was full.
    pub dropped: u64,
}

impl Lost {
    /// From `per_cpu/cpuN/stats` (tracing_stats_read, kernel/trace/trace.c).
    pub fn parse(text: &str) -> Lost {
        let number = |name: &str| -> u64 {
            let line = text.lines().find_map(|l| l.strip_prefix(name));
            line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
        };
        Lost {
            overrun: number("overrun:"),
            dropped: number("commit overrun:")
                .saturating_add(number("dropped events:")),
        }
    }
}

/// Chooses a clock. Writing the one that is chosen already would empty the
/// ring (tracing_set_clock).
fn set_clock(dir: &Path) -> Clock {
    let path = dir.join("trace_clock");
    let chosen = || fs::read_to_string(&path).unwrap_or_default();
    let is = |clock: Clock| chosen().contains(&format!("[{}]", clock.name()));
    for clock in CLOCKS {
        if is(clock) {
            return clock;
        }
        // A clock that the kernel does not have is refused.
        if fs::write(&path, clock.name()).is_ok() && is(clock) {
            return clock;
        }
    }
    Clock::Other
}

fn taken(dir: &Path, errno: Errno) -> Unusable {
    let dir = dir.display();
    Unusable::Down(match errno {
        Errno::EAGAIN => format!("another process reads {dir}"),
        other => format!("failed to lock {dir}: {other}"),
    })
}

/// An error of the filesystem, with what is known of its cause.
pub(super) fn refused(path: &Path, error: &std::io::Error) -> Unusable {
    let what = format!("{}: {error}", path.display());
    let hint = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EROFS) => {
            "; tracefs is mounted read-only: mount it writable"
        }
        Some(Errno::EPERM) => {
            "; the kernel may be locked down, see \
             /sys/kernel/security/lockdown"
        }
        Some(Errno::EACCES) => "; the agent must be root to use tracefs",
        _ => "",
    };
    Unusable::Down(format!("{what}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(dirs: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for dir in dirs {
            fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        root
    }

    #[test]
    fn without_machine_checks_nobody_misses_tracefs() {
        let why = find(root(&["sys"]).path()).unwrap_err();
        assert!(matches!(why, Unusable::Absent(_)), "{why:?}");
        let host = root(&["sys/devices/system/machinecheck"]);
        let Unusable::Down(why) = find(host.path()).unwrap_err() else {
            panic!("it should be readable");
        };
        assert!(why.contains("mount -t tracefs"), "{why}");
    }

    #[test]
    fn a_kernel_without_the_events_has_no_source() {
        let host = root(&["sys/kernel/tracing/events/sched/sched_switch"]);
        let why = find(host.path()).unwrap_err();
        assert!(matches!(why, Unusable::Absent(_)), "{why:?}");
    }

    #[test]
    fn the_older_place_of_tracefs_is_found() {
        let event = "sys/kernel/debug/tracing/events/mce/mce_record";
        let host = root(&[event, "sys/kernel/debug/tracing/instances"]);
        fs::write(host.path().join(event).join("format"), "").unwrap();
        let found = find(host.path()).unwrap();
        assert_eq!(found.events, ["mce/mce_record"]);
    }

    #[test]
    fn lockdown_is_told_as_the_reason() {
        let event = "sys/kernel/tracing/events/mce/mce_record";
        let host = root(&[
            event,
            "sys/kernel/tracing/instances",
            "sys/kernel/security",
        ]);
        let path = |path: &str| host.path().join(path);
        fs::write(path(event).join("format"), "").unwrap();
        let lockdown = path("sys/kernel/security/lockdown");
        fs::write(&lockdown, "none [integrity] confidentiality\n").unwrap();
        assert!(find(host.path()).is_ok());
        fs::write(&lockdown, "none integrity [confidentiality]\n").unwrap();
        let Unusable::Down(why) = find(host.path()).unwrap_err() else {
            panic!("it should be usable");
        };
        assert!(why.contains("locked down"), "{why}");
    }

    #[test]
    fn what_was_lost_is_read_from_the_kernels_statistics() {
        let text = "entries: 2\noverrun: 525\ncommit overrun: 1\n\
                    bytes: 240\ndropped events: 2\nread events: 178\n";
        let lost = Lost { overrun: 525, dropped: 3 };
        assert_eq!(Lost::parse(text), lost);
        assert_eq!(Lost::parse("nothing"), Lost::default());
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let why = |errno: Errno| {
            let error = std::io::Error::from_raw_os_error(errno as i32);
            match refused(Path::new("/x"), &error) {
                Unusable::Down(why) | Unusable::Absent(why) => why,
            }
        };
        assert!(why(Errno::EROFS).contains("read-only"));
        assert!(why(Errno::EPERM).contains("locked down"));
        assert!(why(Errno::EACCES).contains("root"));
    }
}
