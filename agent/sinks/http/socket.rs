//! The unix socket: how it is made, and who may use it.
//!
//! The file's mode keeps strangers out; the peer's credentials are checked
//! besides, in case somebody changes the mode. Names come from the host's
//! own files: a static binary can't ask NSS.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{
    DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt,
};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, socket,
};

use crate::sinks::apart::Apart;

/// How long the file of users may take: a page or two that are nearly always
/// in memory.
const USERS_PATIENCE: Duration = Duration::from_millis(500);

/// How much of the files of users and groups is read: some ten thousand.
const USERS_BYTES: u64 = 1 << 20;

/// What a connection may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read.
    ReadOnly,
    /// Read and clear, as this user.
    Full(String),
    /// Nothing; who it is.
    Refused(String),
}

/// Who may use the socket: root, the agent's own user, and a group.
#[derive(Clone, Debug)]
pub struct Gate {
    root: PathBuf,
    own: u32,
    /// The group's name.
    group: String,
    /// Users and groups as they were last read.
    names: Arc<Mutex<Names>>,
    reading: Apart,
}

/// The files of users and groups.
#[derive(Debug)]
struct Names {
    users: String,
    groups: String,
}

#[derive(Clone, Debug)]
struct Group {
    gid: u32,
    members: Vec<String>,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another agent answers on it.
    #[error("{}: another agent answers on this socket", path.display())]
    Taken {
        /// Which.
        path: PathBuf,
    },
    /// It can't be made.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Makes the socket at `path` for root and `group`, in place of one that a
/// dead agent left. `root` is where the host's `/etc` is.
///
/// # Errors
/// It can't be made, or an agent that lives has it.
pub fn bind(
    path: &Path,
    group: &str,
    root: &Path,
) -> Result<(UnixListener, Gate), Error> {
    let failed = |source| Error::Io { path: path.to_owned(), source };
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .map_err(failed)?;
    }
    make_way(path)?;
    let listener = UnixListener::bind(path).map_err(failed)?;
    let gate = Gate::new(group, root);
    match gate.group() {
        Some(group) => {
            // Without CAP_CHOWN the socket stays with our own group, which
            // lets fewer in, not more.
            if let Err(error) =
                std::os::unix::fs::chown(path, None, Some(group.gid))
            {
                tracing::warn!(%error, "can't give the socket to its group");
            }
        }
        None => tracing::warn!(group, "the socket's group does not exist"),
    }
    fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok((listener, gate))
}

/// The file of a socket that is ours.
#[derive(Clone, Debug)]
pub struct Bound {
    path: PathBuf,
    /// Its device and inode.
    identity: Option<(u64, u64)>,
}

impl Bound {
    /// The socket that was just bound at `path`.
    pub fn of(path: &Path) -> Bound {
        let path = path.to_owned();
        Bound { identity: identity(&path), path }
    }

    /// Removes it, unless it is another's by now.
    pub fn remove(&self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // Whoever starts next replaces what can't be removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let meta = fs::symlink_metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}

/// Removes a socket that nobody listens on.
fn make_way(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(e)),
        Ok(meta) if !meta.file_type().is_socket() => {
            let source = std::io::Error::other(
                "there is a file that is no socket; remove it",
            );
            return Err(failed(source));
        }
        Ok(_) => {}
    }
    match knock(path) {
        Ok(()) | Err(Errno::EAGAIN | Errno::EINPROGRESS) => {
            Err(Error::Taken { path: path.to_owned() })
        }
        // Nobody listens.
        Err(Errno::ECONNREFUSED) => fs::remove_file(path).map_err(failed),
        Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(failed(error.into())),
    }
}

/// Connects, without waiting for one that is too busy or stopped.
fn knock(path: &Path) -> Result<(), Errno> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)
}

impl Gate {
    fn new(group: &str, root: &Path) -> Gate {
        let own = nix::unistd::geteuid().as_raw();
        let names = Arc::new(Mutex::new(Names::read(root)));
        let reading = Apart::default();
        let (root, group) = (root.to_owned(), group.to_owned());
        Gate { root, own, group, names, reading }
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The group, if the host has it.
    fn group(&self) -> Option<Group> {
        self.names().groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let gid: u32 = fields.nth(1)?.parse().ok()?;
            if name != self.group {
                return None;
            }
            let members = fields.next().unwrap_or_default().split(',');
            let members = members.map(|m| m.trim().to_owned()).collect();
            Some(Group { gid, members })
        })
    }

    /// What the peer of this connection may do.
    pub(super) async fn admit(
        &self,
        stream: &tokio::net::UnixStream,
    ) -> Access {
        match stream.peer_cred() {
            Ok(peer) => {
                self.read_names().await;
                self.judge(peer.uid(), peer.gid())
            }
            Err(e) => Access::Refused(format!("somebody unknown ({e})")),
        }
    }

    /// Reads users and groups anew: somebody may have come or gone since the
    /// start. Where the disk does not answer, those of before have to do.
    async fn read_names(&self) {
        let root = self.root.clone();
        let read = move || Names::read(&root);
        let now = self.reading.ask(USERS_PATIENCE, read).await;
        let is_whole = |n: &Names| !n.users.is_empty() && !n.groups.is_empty();
        if let Some(names) = now.filter(is_whole) {
            *self.names() = names;
        }
    }

    fn judge(&self, uid: u32, gid: u32) -> Access {
        let name = self.name_of(uid);
        let in_group = self.group().is_some_and(|group| {
            group.gid == gid
                || name.as_ref().is_some_and(|n| group.members.contains(n))
        });
        let shown = name.unwrap_or_else(|| format!("uid {uid}"));
        if uid == 0 || uid == self.own || in_group {
            Access::Full(shown)
        } else {
            Access::Refused(shown)
        }
    }

    /// The user's name in the host's own file.
    fn name_of(&self, uid: u32) -> Option<String> {
        let names = self.names();
        let uid = uid.to_string();
        let mut lines = names.users.lines();
        let line = lines.find(|l| l.split(':').nth(2) == Some(&uid))?;
        let name = line.split(':').next()?;
        Some(crate::escape::escape(name.as_bytes()).into_owned())
    }
}

impl Names {
    fn read(root: &Path) -> Names {
        let users = read(&root.join("etc/passwd"));
        Names { users, groups: read(&root.join("etc/group")) }
    }
}

/// A file that can't be read names nobody.
fn read(path: &Path) -> String {
    let mut text = String::new();
    let file = fs::File::open(path).map(|file| file.take(USERS_BYTES));
    match file.and_then(|mut file| file.read_to_string(&mut text)) {
        Ok(_) => text,
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_group_are_let_in_and_nobody_else() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        let etc = root.path().join("etc");
        fs::write(
            etc.join("passwd"),
            "root:x:0:0::/root:/bin/sh\nann:x:1001:1001::/:/bin/sh\n\
             bob:x:1002:1002::/:/bin/sh\n",
        )
        .unwrap();
        fs::write(etc.join("group"), "root:x:0:\nsre:x:77:ann,eve\n").unwrap();
        let mut gate = Gate::new("sre", root.path());
        gate.own = 0;
        assert_eq!(gate.judge(0, 0), Access::Full("root".into()));
        assert_eq!(gate.judge(1001, 1001), Access::Full("ann".into()));
        assert_eq!(gate.judge(1002, 77), Access::Full("bob".into()));
        assert_eq!(gate.judge(1002, 1002), Access::Refused("bob".into()));
        assert_eq!(gate.judge(9, 9), Access::Refused("uid 9".into()));
        let gate = Gate { own: 0, ..Gate::new("none", root.path()) };
        assert_eq!(gate.judge(1001, 1001), Access::Refused("ann".into()));
    }

    #[tokio::test]
    async fn who_leaves_the_group_or_joins_it_needs_no_restart() {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc");
        fs::create_dir(&etc).unwrap();
        let own = nix::unistd::geteuid();
        fs::write(etc.join("passwd"), format!("ann:x:{own}:1::/:/bin/sh\n"))
            .unwrap();
        let other = own.as_raw() + 1;
        let gate = Gate { own: other, ..Gate::new("sre", root.path()) };
        let (stream, _peer) = tokio::net::UnixStream::pair().unwrap();
        for (members, is_in) in [("bob", false), ("ann,bob", true), ("", false)]
        {
            let group = format!("sre:x:4242:{members}\n");
            fs::write(etc.join("group"), group).unwrap();
            gate.admit(&stream).await;
            let access = gate.judge(other + 1, 1);
            assert_eq!(access, Access::Refused(format!("uid {}", other + 1)));
            let ann = gate.group().unwrap().members.contains(&"ann".into());
            assert_eq!(ann, is_in);
        }
    }

    #[tokio::test]
    async fn on_a_disk_that_hangs_root_is_let_in_by_the_name_of_before() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        let passwd = root.path().join("etc/passwd");
        let own = nix::unistd::geteuid();
        let line = format!("ann:x:{own}:1::/:/bin/sh\n");
        fs::write(&passwd, line).unwrap();
        let gate = Gate::new("sre", root.path());
        fs::remove_file(&passwd).unwrap();
        // Opening it waits until somebody writes.
        nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (stream, _peer) = tokio::net::UnixStream::pair().unwrap();
        let full = Access::Full("ann".into());
        assert_eq!(gate.admit(&stream).await, full);
        assert_eq!(gate.admit(&stream).await, full);
        drop(fs::write(&passwd, "bob:x:1:1::/:/bin/sh\n"));
    }

    #[test]
    fn a_dead_agents_socket_is_replaced_and_a_living_ones_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/faultline.sock");
        let root = Path::new("/");
        let (first, _) = bind(&path, "root", root).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let taken = bind(&path, "root", root).unwrap_err();
        assert!(matches!(taken, Error::Taken { .. }));
        drop(first);
        bind(&path, "root", root).unwrap();
    }

    #[test]
    fn a_file_in_the_sockets_place_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("faultline.sock");
        fs::write(&path, "precious").unwrap();
        assert!(bind(&path, "root", Path::new("/")).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
