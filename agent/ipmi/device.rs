//! The kernel's IPMI device (`include/uapi/linux/ipmi.h`): a command goes out
//! with an ioctl, its answer comes in with another when poll(2) says so.
//!
//! The kernel gives each answer the number that its command was sent with. An
//! answer with another number is a late one to a command that was given up,
//! and is thrown away. Bridging to satellite controllers is the kernel's.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;

use super::{ANSWER_MAX, Response, Target, Transport, TransportError};
use crate::clock;
use crate::devices;
use crate::sources::Stop;
use crate::sources::stop::{Woken, wait};
use crate::time::{Uptime, show_duration};

/// `_IOR('i', 13, struct ipmi_req)`.
const SEND_COMMAND: u32 = 0x8028_690D;

/// `_IOWR('i', 11, struct ipmi_recv)`: cuts what is too long.
const RECEIVE_TRUNCATED: u32 = 0xC030_690B;

/// IPMI_SYSTEM_INTERFACE_ADDR_TYPE, on channel IPMI_BMC_CHANNEL.
const SYSTEM_INTERFACE: i32 = 0x0C;
const BMC_CHANNEL: i16 = 0x0F;

/// IPMI_IPMB_ADDR_TYPE.
const MANAGEMENT_BUS: i32 = 0x01;

/// IPMI_RESPONSE_RECV_TYPE: an answer, not an event or a command.
const ANSWER: i32 = 1;

/// Answers to commands that were given up, and events, at most: a device
/// that has more of them than this is out of order.
const STRAY_MAX: u32 = 256;

/// `struct ipmi_system_interface_addr` and `struct ipmi_ipmb_addr` in one:
/// the first has the unit where the second has the address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct WireAddress {
    kind: i32,
    channel: i16,
    bytes: [u8; 2],
}

/// `struct ipmi_msg`.
#[repr(C)]
#[derive(Debug)]
struct WireMessage {
    netfn: u8,
    command: u8,
    length: u16,
    data: *mut u8,
}

/// `struct ipmi_req`.
#[repr(C)]
#[derive(Debug)]
struct WireRequest {
    address: *mut WireAddress,
    address_length: u32,
    id: libc::c_long,
    message: WireMessage,
}

/// `struct ipmi_recv`.
#[repr(C)]
#[derive(Debug)]
struct WireAnswer {
    kind: i32,
    address: *mut WireAddress,
    address_length: u32,
    id: libc::c_long,
    message: WireMessage,
}

/// An open device.
#[derive(Debug)]
pub struct Device {
    file: File,
    name: String,
    stop: Stop,
    id: libc::c_long,
}

/// What was received.
struct Received {
    id: libc::c_long,
    kind: i32,
    netfn: u8,
    command: u8,
    bytes: Vec<u8>,
}

impl Device {
    /// Opens it.
    ///
    /// # Errors
    /// There is none, or it may not be opened.
    pub fn open(path: &Path, stop: &Stop) -> Result<Device, TransportError> {
        let name = path.display().to_string();
        let file = devices::open(path, true).map_err(|e| match e.kind() {
            ErrorKind::NotFound => {
                TransportError::Absent(format!("there is no {name}"))
            }
            ErrorKind::PermissionDenied => TransportError::Denied(format!(
                "{name}: permission denied; only root may open it"
            )),
            // ENODEV, ENXIO: a device file without a driver behind it.
            _ if matches!(
                e.raw_os_error(),
                Some(libc::ENODEV | libc::ENXIO)
            ) =>
            {
                TransportError::Absent(format!("{name}: no BMC behind it"))
            }
            _ => TransportError::Io(format!("{name}: {e}")),
        })?;
        Ok(Device { file, name, stop: stop.clone(), id: 0 })
    }

    fn failed(&self, errno: Errno) -> TransportError {
        if errno == Errno::ENOTTY {
            return TransportError::Denied(format!(
                "{} is no device of a BMC; name one like /dev/ipmi0",
                self.name
            ));
        }
        TransportError::Io(format!("{}: {}", self.name, errno.desc()))
    }

    #[expect(unsafe_code, reason = "no safe crate of ours has this ioctl")]
    fn dispatch(
        &self,
        target: Target,
        netfn: u8,
        command: u8,
        data: &[u8],
    ) -> Result<(), Errno> {
        const { assert!(size_of::<WireRequest>() == 40) };
        const { assert!(size_of::<WireAddress>() == 8) };
        let mut address = match target.is_bmc() {
            true => WireAddress {
                kind: SYSTEM_INTERFACE,
                channel: BMC_CHANNEL,
                bytes: [target.lun, 0],
            },
            false => WireAddress {
                kind: MANAGEMENT_BUS,
                channel: i16::from(target.channel),
                bytes: [target.address, target.lun],
            },
        };
        let mut data = data.to_vec();
        let length = u16::try_from(data.len()).map_err(|_| Errno::EMSGSIZE)?;
        let mut request = WireRequest {
            address: &raw mut address,
            address_length: size_of::<WireAddress>() as u32,
            id: self.id,
            message: WireMessage {
                netfn,
                command,
                length,
                data: data.as_mut_ptr(),
            },
        };
        // SAFETY: the request has the kernel's layout; the kernel only reads
        // it, its address and its data, which all outlive the call.
        let status = unsafe {
            libc::ioctl(
                self.file.as_raw_fd(),
                SEND_COMMAND as _,
                &raw mut request,
            )
        };
        Errno::result(status).map(drop)
    }

    #[expect(unsafe_code, reason = "no safe crate of ours has this ioctl")]
    fn receive(&self) -> Result<Received, Errno> {
        const { assert!(size_of::<WireAnswer>() == 48) };
        // The kernel writes a `struct ipmi_addr`, of at most 40 bytes.
        let mut address = [WireAddress::default(); 8];
        let mut data = vec![0; ANSWER_MAX];
        let mut answer = WireAnswer {
            kind: 0,
            address: address.as_mut_ptr(),
            address_length: size_of_val(&address) as u32,
            id: 0,
            message: WireMessage {
                netfn: 0,
                command: 0,
                length: ANSWER_MAX as u16,
                data: data.as_mut_ptr(),
            },
        };
        // SAFETY: the answer has the kernel's layout; the kernel writes at
        // most as much as the two lengths say to what outlives the call.
        let status = unsafe {
            libc::ioctl(
                self.file.as_raw_fd(),
                RECEIVE_TRUNCATED as _,
                &raw mut answer,
            )
        };
        match Errno::result(status) {
            // EMSGSIZE: it was cut, and is taken nevertheless.
            Ok(_) | Err(Errno::EMSGSIZE) => {}
            Err(errno) => return Err(errno),
        }
        data.truncate(usize::from(answer.message.length));
        Ok(Received {
            id: answer.id,
            kind: answer.kind,
            netfn: answer.message.netfn,
            command: answer.message.command,
            bytes: data,
        })
    }
}

impl Transport for Device {
    fn send(
        &mut self,
        target: Target,
        netfn: u8,
        command: u8,
        data: &[u8],
        deadline: Uptime,
    ) -> Result<Response, TransportError> {
        let began = clock::boot();
        self.id += 1;
        self.dispatch(target, netfn, command, data)
            .map_err(|e| self.failed(e))?;
        for _ in 0..STRAY_MAX {
            let left = deadline.since(clock::boot());
            let fd = Some((self.file.as_fd(), PollFlags::POLLIN));
            match wait(&self.stop, fd, Some(left)) {
                Woken::Stop => return Err(TransportError::Stopped),
                Woken::Timeout => return Err(timeout(began, deadline)),
                Woken::Ready => {}
            }
            let received = match self.receive() {
                Ok(received) => received,
                Err(Errno::EAGAIN | Errno::EINTR) if !left.is_zero() => {
                    continue;
                }
                Err(Errno::EAGAIN | Errno::EINTR) => {
                    return Err(timeout(began, deadline));
                }
                Err(errno) => return Err(self.failed(errno)),
            };
            let is_it = received.kind == ANSWER
                && received.id == self.id
                && received.netfn == netfn | 1
                && received.command == command;
            if is_it {
                let [code, data @ ..] = received.bytes.as_slice() else {
                    let why = format!("{}: an empty answer", self.name);
                    return Err(TransportError::Garbled(why));
                };
                return Ok(Response { code: *code, data: data.to_vec() });
            }
        }
        let why = format!("{}: only answers to other commands", self.name);
        Err(TransportError::Garbled(why))
    }
}

/// What is said when the time is up.
pub(super) fn timeout(began: Uptime, deadline: Uptime) -> TransportError {
    let time = deadline.since(began);
    let rounded = Duration::from_millis(time.as_millis() as u64);
    TransportError::Timeout(show_duration(rounded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_and_one_that_is_none_are_told_apart() {
        let stop = Stop::new().unwrap();
        let absent = Device::open(Path::new("/nonexistent/ipmi0"), &stop);
        assert!(matches!(absent, Err(TransportError::Absent(_))));
        let mut other = Device::open(Path::new("/dev/null"), &stop).unwrap();
        let deadline = clock::boot().plus(Duration::from_secs(1));
        let sent = other.send(Target::BMC, 6, 1, &[], deadline);
        let why = sent.unwrap_err();
        assert!(why.is_ours(), "{why:?}");
        assert!(why.to_string().contains("no device of a BMC"), "{why}");
    }
}
