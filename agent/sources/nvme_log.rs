//! The health log of an NVMe controller (NVM Express Base Specification,
//! "SMART / Health Information", log page 02h), by the admin command ioctl.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// The log's length, bytes.
const LENGTH: usize = 512;

/// Get Log Page.
const GET_LOG_PAGE: u8 = 0x02;

/// `_IOWR('N', 0x41, struct nvme_admin_cmd)` (linux/nvme_ioctl.h).
const NVME_IOCTL_ADMIN_CMD: u32 = 0xC048_4E41;

/// The log is the controller's, not a namespace's.
const ALL_NAMESPACES: u32 = 0xffff_ffff;

/// Page 02h, and the number of its double words less one.
const HEALTH: u32 = 0x02 | ((LENGTH as u32 / 4 - 1) << 16);

/// What the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Spare blocks are fewer than the threshold.
    pub spare_low: bool,
    /// A temperature is outside its limits.
    pub overheated: bool,
    /// Too many errors: the medium or the controller is unreliable.
    pub unreliable: bool,
    /// The medium accepts no writes.
    pub readonly: bool,
    /// The backup of the volatile memory has failed.
    pub backup_failed: bool,
    /// Degrees Celsius, where it has a sensor.
    pub temperature: Option<i32>,
    /// Spare blocks left, percent.
    pub spare: u8,
    /// Share of its life used up, percent; may pass 100.
    pub wear: u8,
    /// Errors of the medium that could not be recovered.
    pub media_errors: u64,
}

/// Asks the controller. Blocks until it answers, up to the kernel's limit
/// for admin commands; a limit of ours would have the kernel reset the
/// controller when it is reached.
///
/// # Errors
/// It can't be asked, or gives no log.
pub fn read(device: &File) -> io::Result<Health> {
    let mut log = [0; LENGTH];
    command(device, &mut log)?;
    parse(&log).ok_or_else(|| io::Error::other("its health log is no log"))
}

/// `struct nvme_admin_cmd` (linux/nvme_ioctl.h).
#[repr(C)]
#[derive(Debug, Default)]
struct AdminCommand {
    opcode: u8,
    flags: u8,
    reserved: u16,
    namespace: u32,
    words_2_3: [u32; 2],
    metadata: u64,
    address: u64,
    metadata_length: u32,
    length: u32,
    words_10_15: [u32; 6],
    timeout_ms: u32,
    result: u32,
}

#[expect(unsafe_code, reason = "no safe crate of ours has this ioctl")]
fn command(device: &File, log: &mut [u8; LENGTH]) -> io::Result<()> {
    const { assert!(size_of::<AdminCommand>() == 72) };
    let mut command = AdminCommand {
        opcode: GET_LOG_PAGE,
        namespace: ALL_NAMESPACES,
        address: log.as_mut_ptr() as u64,
        length: LENGTH as u32,
        words_10_15: [HEALTH, 0, 0, 0, 0, 0],
        ..AdminCommand::default()
    };
    // SAFETY: the command has the layout the kernel expects, and the kernel
    // writes at most `length` bytes to `address`, which both outlive the call.
    let status = unsafe {
        libc::ioctl(
            device.as_raw_fd(),
            NVME_IOCTL_ADMIN_CMD as _,
            &raw mut command,
        )
    };
    match status {
        0 => Ok(()),
        -1 => Err(io::Error::last_os_error()),
        status => {
            Err(io::Error::other(format!("it refuses: status {status:#x}")))
        }
    }
}

/// Reads the log; `None` if it is all ones, as a controller that has fallen
/// off the bus reads, or all zeros.
fn parse(log: &[u8; LENGTH]) -> Option<Health> {
    if log.iter().all(|b| *b == log[0]) {
        return None;
    }
    let warning = log[0];
    let kelvin = i32::from(u16::from_le_bytes([log[1], log[2]]));
    let errors: [u8; 16] = log[160..176].try_into().ok()?;
    Some(Health {
        spare_low: warning & 1 != 0,
        overheated: warning & 1 << 1 != 0,
        unreliable: warning & 1 << 2 != 0,
        readonly: warning & 1 << 3 != 0,
        backup_failed: warning & 1 << 4 != 0,
        temperature: (kelvin > 0).then_some(kelvin - 273),
        spare: log[3],
        wear: log[5],
        media_errors: u64::try_from(u128::from_le_bytes(errors))
            .unwrap_or(u64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_read_by_its_layout() {
        let mut log = [0; LENGTH];
        log[0] = 0b0000_1001;
        log[1..3].copy_from_slice(&311u16.to_le_bytes());
        (log[3], log[4], log[5]) = (4, 10, 103);
        log[160] = 7;
        let health = parse(&log).unwrap();
        assert!(health.spare_low && health.readonly);
        assert!(!health.overheated && !health.unreliable);
        assert_eq!(health.temperature, Some(38));
        assert_eq!((health.spare, health.wear), (4, 103));
        assert_eq!(health.media_errors, 7);
    }

    #[test]
    fn a_controller_that_is_gone_has_no_log() {
        assert_eq!(parse(&[0xff; LENGTH]), None);
        assert_eq!(parse(&[0; LENGTH]), None);
    }

    #[test]
    fn what_is_no_nvme_controller_refuses() {
        let file = File::open("/dev/null").unwrap();
        assert!(read(&file).is_err());
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_logs_never_panic(log in proptest::array::uniform32(0u8..)) {
            let mut whole = [0; LENGTH];
            whole[..32].copy_from_slice(&log);
            whole[160..192].copy_from_slice(&log);
            parse(&whole);
        }
    }
}
