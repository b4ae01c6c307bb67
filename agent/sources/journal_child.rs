//! journalctl as a child process: how it is called, and how it ends.

use std::io::{ErrorKind, PipeReader, PipeWriter, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::Failure;
use super::journal::Options;

/// How much of journalctl's complaints is looked at when it has failed: a
/// pipe's worth.
const SAID_MAX: u64 = 64 * 1024;

/// The fields that are asked for; the others are most of an entry.
const FIELDS: &str = "--output-fields=MESSAGE,PRIORITY,_SYSTEMD_UNIT,UNIT,\
    SYSLOG_IDENTIFIER,_TRANSPORT,_SOURCE_REALTIME_TIMESTAMP,_BOOT_ID,\
    _SOURCE_MONOTONIC_TIMESTAMP,\
    _KERNEL_SUBSYSTEM,_KERNEL_DEVICE";

/// Why there is nothing to follow, if so.
pub(super) fn no_journal(options: &Options) -> Option<String> {
    let system = ["/run/log/journal", "/var/log/journal"].map(Path::new);
    let directories = match &options.directory {
        Some(directory) => vec![directory.as_path()],
        None => system.to_vec(),
    };
    // A directory for each machine id, and journals in it; or journals at
    // once, below `-D`.
    if directories.iter().any(|path| may_hold_journals(path)) {
        return None;
    }
    let names = directories.iter().map(|p| p.display().to_string());
    let names = names.collect::<Vec<_>>().join(" and ");
    Some(format!("there is no journal in {names}"))
}

/// Whether there is something in the directory, or nobody lets us look.
pub fn may_hold_journals(path: &Path) -> bool {
    match path.read_dir() {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) => error.kind() == ErrorKind::PermissionDenied,
    }
}

/// The call of journalctl.
pub(super) fn command(
    options: &Options,
    cursor: Option<String>,
    follow: bool,
) -> Command {
    let mut command = reader(options);
    if follow {
        command.arg("--follow");
    }
    match cursor {
        Some(cursor) => {
            command.arg(format!("--after-cursor={cursor}"));
            command.arg("--no-tail")
        }
        None if !follow => command.arg("--boot"),
        // The kernel's log is read from the boot on, as from /dev/kmsg.
        None if options.kernel => command.args(["--boot", "--no-tail"]),
        None => command.arg("--lines=0"),
    };
    command
}

/// The call of journalctl that shows the last entry and ends.
pub(super) fn last(options: &Options) -> Command {
    let mut command = reader(options);
    command.arg("--lines=1");
    command
}

/// What all calls have in common.
fn reader(options: &Options) -> Command {
    let mut command = Command::new(&options.journalctl);
    command.args(["--output=json", "--no-pager", "--all", FIELDS]);
    if let Some(directory) = &options.directory {
        command.arg("--directory").arg(directory);
    }
    command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped());
    end_with_us(&mut command);
    command
}

/// Lets the kernel kill the child when the thread that started it ends, also
/// by SIGKILL: that is the source's own thread, which waits for the child as
/// long as it lives.
fn end_with_us(command: &mut Command) {
    let parent = nix::unistd::getpid();
    let before_exec = move || {
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
        // It may have died before that.
        match nix::unistd::getppid() == parent {
            true => Ok(()),
            false => Err(std::io::Error::from(ErrorKind::BrokenPipe)),
        }
    };
    #[expect(unsafe_code, reason = "no safe function does this at fork")]
    // SAFETY: between fork and exec it makes two system calls and neither
    // allocates nor locks.
    unsafe {
        use std::os::unix::process::CommandExt;
        command.pre_exec(before_exec);
    }
}

/// A pipe for what journalctl complains of. Nobody reads it while journalctl
/// runs, so what has no room is dropped: a journal on a dying disk makes
/// thousands of complaints, and must not make journalctl wait.
fn stderr() -> std::io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = std::io::pipe()?;
    let nonblocking = FcntlArg::F_SETFL(OFlag::O_NONBLOCK);
    fcntl(&writer, nonblocking)?;
    Ok((reader, writer))
}

/// A child that does not outlive its reader, and what it says on its
/// standard error.
pub(super) struct Running {
    pub(super) child: Child,
    said: PipeReader,
}

impl Running {
    /// Starts the child.
    pub(super) fn start(mut command: Command) -> std::io::Result<Running> {
        let (said, writer) = stderr()?;
        // With the command our copy of the pipe's end goes, which would keep
        // it open.
        let child = command.stderr(writer).spawn()?;
        Ok(Running { child, said })
    }

    /// Why it ended: its status, and what it last said.
    pub(super) fn ended(&mut self) -> Result<(), Failure> {
        let status = self.child.wait();
        let status = status
            .map_err(|e| Failure::of("failed to wait for journalctl", &e))?;
        if status.success() {
            return Ok(());
        }
        let mut said = Vec::new();
        // Without it the status has to say it all. A grandchild may hold the
        // other end open, hence no wait for its end.
        if fcntl(&self.said, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).is_ok() {
            let _ = (&self.said).take(SAID_MAX).read_to_end(&mut said);
        }
        let said = String::from_utf8_lossy(&said);
        let last = said.trim().lines().last().unwrap_or("it said nothing");
        Err(Failure(format!("journalctl ended with {status}: {last}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
