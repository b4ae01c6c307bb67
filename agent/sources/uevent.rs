//! The kernel's news of devices that come and go
//! (lib/kobject_uevent.c, netlink multicast group 1).

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType,
    bind, recv, socket,
};

/// The group in which the kernel speaks; udev repeats it in group 2.
const KERNEL: u32 = 1;

/// The longest message (UEVENT_BUFFER_SIZE, include/linux/kobject.h).
const MESSAGE_MAX: usize = 2048;

/// Messages taken at once; a storm of them says no more than the first.
const MESSAGES_MAX: usize = 4096;

/// Subsystems whose devices are parts, or are names of parts.
const SUBSYSTEMS: &[&[u8]] = &[
    b"block",
    b"pci",
    b"nvme",
    b"scsi",
    b"net",
    b"cpu",
    b"edac",
    b"memory",
    b"infiniband",
    b"enclosure",
];

/// Listens; `None` where that is not allowed, and then the census is taken
/// at its intervals only.
pub fn open() -> Option<OwnedFd> {
    let fd = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::NetlinkKObjectUEvent,
    )
    .ok()?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, KERNEL)).ok()?;
    Some(fd)
}

/// Takes what there is; whether a device of interest came or went.
pub fn is_of_interest(fd: &OwnedFd) -> bool {
    let mut message = [0; MESSAGE_MAX];
    let mut found = false;
    for _ in 0..MESSAGES_MAX {
        match recv(fd.as_raw_fd(), &mut message, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => found |= is_change_of_parts(&message[..length]),
            // More than fits came, and was dropped.
            Err(Errno::ENOBUFS) => found = true,
            Err(Errno::EINTR) => {}
            Err(_) => break,
        }
    }
    found
}

/// Whether a message tells that a device came, went, or got another name or
/// driver. `change` is not among them: disks say it for every tray.
fn is_change_of_parts(message: &[u8]) -> bool {
    const CHANGES: [&[u8]; 5] =
        [b"add", b"remove", b"move", b"bind", b"unbind"];
    let (mut came, mut ours) = (false, false);
    for field in message.split(|b| *b == 0) {
        if let Some(action) = field.strip_prefix(b"ACTION=") {
            came = CHANGES.contains(&action);
        } else if let Some(subsystem) = field.strip_prefix(b"SUBSYSTEM=") {
            ours = SUBSYSTEMS.contains(&subsystem);
        }
    }
    came && ours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_comes_is_of_interest_and_a_tray_or_a_timer_is_not() {
        let message = |action: &str, subsystem: &str| {
            format!(
                "{action}@/devices/x\0ACTION={action}\0DEVPATH=/devices/x\0\
                 SUBSYSTEM={subsystem}\0SEQNUM=4\0"
            )
        };
        let of = |action, subsystem| {
            is_change_of_parts(message(action, subsystem).as_bytes())
        };
        assert!(of("add", "block") && of("remove", "pci"));
        assert!(of("move", "net") && of("bind", "pci"));
        assert!(!of("change", "block"));
        assert!(!of("add", "bdi") && !of("add", "queues"));
        assert!(!is_change_of_parts(b"libudev\0\xfe\xed\xca\xfe"));
        assert!(!is_change_of_parts(b""));
    }
}
