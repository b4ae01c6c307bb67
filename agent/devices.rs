//! Device files: opened here, or by `faultline lend` where this process may
//! not.
//!
//! The device cgroup of a container refuses device files to whoever is not
//! privileged, whatever its capabilities; a descriptor that was opened outside
//! works on. So a small privileged container opens what its arguments name
//! and passes the descriptors over a unix socket; the agent beside it needs
//! no privilege.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg,
};

use crate::clock;

/// The longest path that is asked for.
const PATH_MAX: usize = 256;

/// How long either side waits for the other: both only pass things on.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it waits before it listens again when that failed.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// Who lends devices to this process; set once, before anything is opened.
static LENDER: OnceLock<PathBuf> = OnceLock::new();

/// From now on devices are asked for at this socket.
pub fn borrow_from(socket: &Path) {
    // The configuration is read once; a second reading says the same.
    let _ = LENDER.set(socket.to_owned());
}

/// Opens a device file without waiting for it, for reading and perhaps
/// writing.
///
/// # Errors
/// What open(2) says, here or at the lender; the lender does not lend it, or
/// does not answer.
pub fn open(path: &Path, write: bool) -> io::Result<File> {
    match LENDER.get() {
        None => open_here(path, write),
        Some(socket) => borrow(socket, path, write),
    }
}

fn open_here(path: &Path, write: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(write)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
}

/// A path as the lender sees it: from its last `/dev/` on, since the host's
/// may be below a root of ours.
fn as_lent(path: &Path) -> io::Result<String> {
    let text = path.to_str().filter(|text| text.len() <= PATH_MAX);
    let at = text.and_then(|text| text.rfind("/dev/").map(|at| &text[at..]));
    at.map(str::to_owned).ok_or_else(|| {
        let what = format!("{} is no device", path.display());
        io::Error::new(ErrorKind::InvalidInput, what)
    })
}

fn borrow(socket: &Path, path: &Path, write: bool) -> io::Result<File> {
    let name = as_lent(path)?;
    let explain = |e: io::Error| {
        let at = socket.display();
        let text = format!("the lender of devices at {at}: {e}");
        // A socket that is not there yet is no device that is not there.
        let kind = match e.kind() {
            ErrorKind::NotFound => ErrorKind::NotConnected,
            kind => kind,
        };
        io::Error::new(kind, text)
    };
    let mut stream = UnixStream::connect(socket).map_err(explain)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(explain)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(explain)?;
    let mode = if write { 'w' } else { 'r' };
    stream.write_all(format!("{mode}{name}\n").as_bytes()).map_err(explain)?;
    let (errno, descriptor) = receive(&stream).map_err(explain)?;
    match (errno, descriptor) {
        (0, Some(descriptor)) => Ok(File::from(descriptor)),
        (0, None) => Err(explain(ErrorKind::UnexpectedEof.into())),
        (NOT_LENT, _) => {
            let text = format!(
                "{name} is not lent: add it to the arguments of `faultline \
                 lend`"
            );
            Err(io::Error::new(ErrorKind::PermissionDenied, text))
        }
        // The lender's own, so that the caller knows it by its number.
        (errno, _) => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// The answer for what is not among the lender's arguments; no errno.
const NOT_LENT: i32 = -1;

#[expect(unsafe_code, reason = "a received descriptor is a bare number")]
fn receive(stream: &UnixStream) -> io::Result<(i32, Option<OwnedFd>)> {
    let mut bytes = [0; 4];
    let mut space = nix::cmsg_space!(RawFd);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message =
        recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let length = message.bytes;
    let mut descriptor = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            for fd in received {
                // SAFETY: the kernel has just made it for us, and nobody else
                // knows its number.
                descriptor = Some(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
    if length != bytes.len() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok((i32::from_ne_bytes(bytes), descriptor))
}

/// A device that is lent: a path whose last component may end in `*` for
/// digits, and `:rw` behind it if it is lent for writing too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lent {
    path: String,
    any_number: bool,
    write: bool,
}

impl std::str::FromStr for Lent {
    type Err = String;

    fn from_str(text: &str) -> Result<Lent, String> {
        let (path, write) = match text.strip_suffix(":rw") {
            Some(path) => (path, true),
            None => (text, false),
        };
        let (path, any_number) = match path.strip_suffix('*') {
            Some(path) => (path, true),
            None => (path, false),
        };
        let plain = path.starts_with("/dev/")
            && !path.ends_with('/')
            && !path.contains(['*', '?', ':'])
            && path.split('/').all(|part| part != ".." && part != ".");
        match plain {
            true => Ok(Lent { path: path.to_owned(), any_number, write }),
            false => Err(format!(
                "{text:?} is no device: write /dev/NAME, /dev/NAME* for any \
                 number behind it, and :rw if it is to be written"
            )),
        }
    }
}

impl Lent {
    fn is(&self, path: &str, write: bool) -> bool {
        let rest = path.strip_prefix(self.path.as_str());
        let named = rest.is_some_and(|rest| {
            let digits = rest.bytes().all(|b| b.is_ascii_digit());
            if self.any_number {
                !rest.is_empty() && digits
            } else {
                rest.is_empty()
            }
        });
        named && (self.write || !write)
    }
}

/// Leaves the network, which lending needs nothing of: a socket in the
/// filesystem is reached all the same.
///
/// # Errors
/// It is not allowed (CAP_SYS_ADMIN).
pub fn leave_network() -> io::Result<()> {
    let network = nix::sched::CloneFlags::CLONE_NEWNET;
    Ok(nix::sched::unshare(network)?)
}

/// Lends the devices until the process ends.
///
/// # Errors
/// The socket can't be made.
pub fn lend(socket: &Path, devices: &[Lent]) -> io::Result<()> {
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket)?;
    // Root's alone: nobody else in the pod is to be lent anything.
    std::fs::set_permissions(socket, PermissionsExt::from_mode(0o600))?;
    for stream in listener.incoming() {
        match stream {
            // Whoever went away asks again.
            Ok(stream) => _ = answer(stream, devices),
            // No descriptor is left, perhaps: it would fail at once again.
            Err(_) => std::thread::sleep(ACCEPT_AGAIN),
        }
    }
    Ok(())
}

fn answer(mut stream: UnixStream, devices: &[Lent]) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let asked = request(&mut stream)?;
    let asked = String::from_utf8_lossy(&asked);
    let (write, path) = match asked.split_at_checked(1) {
        Some(("r", path)) => (false, path),
        Some(("w", path)) => (true, path),
        _ => return send(&stream, NOT_LENT, None),
    };
    if !devices.iter().any(|device| device.is(path, write)) {
        return send(&stream, NOT_LENT, None);
    }
    match open_device(Path::new(path), write) {
        Ok(file) => send(&stream, 0, Some(&file)),
        Err(e) => send(&stream, e.raw_os_error().unwrap_or(libc::EIO), None),
    }
}

/// Reads a request, all of it within [`PATIENCE`]: whoever sends a byte now
/// and then must not keep others from being lent anything.
fn request(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let end = clock::boot().plus(PATIENCE);
    let mut asked = Vec::new();
    let mut piece = [0; PATH_MAX];
    while asked.len() <= PATH_MAX {
        let left = end.since(clock::boot());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let read = stream.read(&mut piece)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        asked.extend_from_slice(&piece[..read]);
        if let Some(line) = asked.iter().position(|byte| *byte == b'\n') {
            asked.truncate(line);
            break;
        }
    }
    Ok(asked)
}

/// Only what is a device itself: no link leads elsewhere.
fn open_device(path: &Path, write: bool) -> io::Result<File> {
    if !path.symlink_metadata()?.file_type().is_char_device() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    open_here(path, write)
}

fn send(
    stream: &UnixStream,
    errno: i32,
    file: Option<&File>,
) -> io::Result<()> {
    let bytes = errno.to_ne_bytes();
    let descriptors: Vec<RawFd> = file.iter().map(|f| f.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let control = if descriptors.is_empty() { &[][..] } else { &rights };
    let parts = [IoSlice::new(&bytes)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(stream.as_raw_fd(), &parts, control, flags, None)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lender(devices: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("devices.sock");
        let devices: Vec<Lent> =
            devices.iter().map(|d| d.parse().unwrap()).collect();
        let own = socket.clone();
        std::thread::spawn(move || lend(&own, &devices));
        while UnixStream::connect(&socket).is_err() {
            std::thread::yield_now();
        }
        (dir, socket)
    }

    #[test]
    fn what_is_lent_is_opened_elsewhere_and_works_here() {
        let (_dir, socket) = lender(&["/dev/zero", "/dev/null:rw"]);
        // The agent's root may be anywhere.
        let path = Path::new("/host/dev/zero");
        let mut zero = borrow(&socket, path, false).unwrap();
        let mut bytes = [1; 4];
        zero.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, [0; 4]);
        assert!(zero.write(&[1]).is_err(), "it was lent for reading");
        let null = borrow(&socket, Path::new("/dev/null"), true);
        assert_eq!(null.unwrap().write(&[1]).unwrap(), 1);
    }

    #[test]
    fn nothing_else_is_lent_and_the_reason_is_told() {
        let (_dir, socket) = lender(&["/dev/zero", "/dev/nothing", "/dev/fd*"]);
        let refused = |path: &str, write| {
            borrow(&socket, Path::new(path), write).unwrap_err().to_string()
        };
        for (path, write) in
            [("/dev/null", false), ("/dev/zero", true), ("/dev/zero1", false)]
        {
            let error = refused(path, write);
            assert!(error.contains("is not lent: add it"), "{error}");
        }
        assert!(refused("/dev/nothing", false).contains("No such file"));
        assert!(refused("/etc/shadow", false).contains("is no device"));
        let gone =
            borrow(Path::new("/nonexistent"), Path::new("/dev/a"), false);
        let error = gone.unwrap_err();
        // Nobody is told to mount a device that only the lender can open.
        assert_ne!(error.kind(), ErrorKind::NotFound);
        let error = error.to_string();
        assert!(error.contains("lender of devices at /nonexistent"), "{error}");
    }

    #[test]
    fn what_may_be_lent_is_one_device_or_numbers_of_it() {
        let lent = |text: &str| text.parse::<Lent>().unwrap();
        assert!(lent("/dev/ipmi*:rw").is("/dev/ipmi12", true));
        assert!(!lent("/dev/ipmi*").is("/dev/ipmi12", true));
        assert!(!lent("/dev/ipmi*").is("/dev/ipmi", false));
        assert!(!lent("/dev/nvme*").is("/dev/nvme0n1", false));
        for bad in ["/etc/shadow", "/dev/", "/dev/*/x", "/dev/../etc/a", "kmsg"]
        {
            assert!(bad.parse::<Lent>().is_err(), "{bad}");
        }
    }

    #[test]
    fn whoever_sends_byte_by_byte_is_cut_off_and_others_are_served() {
        let (_dir, socket) = lender(&["/dev/zero"]);
        let began = clock::boot();
        let mut slow = UnixStream::connect(&socket).unwrap();
        let trickle = std::thread::spawn(move || {
            // Longer than both sides' patience together, if it were let.
            for _ in 0..40 {
                std::thread::sleep(PATIENCE / 10);
                if slow.write_all(b"r").is_err() {
                    return;
                }
            }
        });
        std::thread::sleep(PATIENCE / 10);
        // It waits for its turn no longer than its own patience, twice.
        let zero = || borrow(&socket, Path::new("/dev/zero"), false);
        assert!(zero().or_else(|_| zero()).is_ok());
        assert!(clock::boot().since(began) < PATIENCE * 3);
        trickle.join().unwrap();
    }

    #[test]
    fn whoever_says_nothing_or_nonsense_holds_up_nobody_for_long() {
        let (_dir, socket) = lender(&["/dev/zero"]);
        let mut nonsense = UnixStream::connect(&socket).unwrap();
        nonsense.write_all(&[0xff; 400]).ok();
        drop(nonsense);
        drop(UnixStream::connect(&socket).unwrap());
        assert!(borrow(&socket, Path::new("/dev/zero"), false).is_ok());
    }
}
