//! Talking to a BMC: how a command gets there and its answer back.
//!
//! One small trait is all that the rest knows of a transport: target, network
//! function, command, data, deadline. `device` is the kernel's `/dev/ipmi*`,
//! `lan` is RMCP+ over UDP; `link` opens either, drops it at the first error
//! and opens another one. Above it `repository`, `monitor`, `events`,
//! `inventory` and `vitals` ask which sensors there are, how they are, what
//! was logged, which parts there are and how the whole is; `board` is where
//! others see what came of it. What bytes mean is told by `decode::ipmi`.
//!
//! Nothing here ever writes to a BMC: no threshold, no watchdog, no log is
//! set or cleared.

pub mod access;
pub mod address;
pub mod board;
pub mod credentials;
mod device;
pub mod events;
pub mod grade;
pub mod inventory;
pub mod lan;
pub mod link;
pub mod monitor;
pub mod presence;
pub mod repository;
pub mod shelves;
pub mod standing;
pub mod vitals;
pub mod way;

use crate::time::Uptime;

pub use address::Address;
pub use board::Board;
pub use credentials::Credentials;
pub use link::Link;
pub use way::Way;

/// Network functions (IPMI 2.0, table 5-1); an answer's is one more.
pub mod netfn {
    /// Sensors and events.
    pub const SENSOR: u8 = 0x04;
    /// The application: identity, sessions, messages.
    pub const APP: u8 = 0x06;
    /// What is stored: SDRs, SEL, FRU inventories.
    pub const STORAGE: u8 = 0x0A;
}

/// Completion codes that somebody here acts on (IPMI 2.0, table 5-2).
pub mod code {
    /// Done.
    pub const OK: u8 = 0x00;
    /// Busy: ask again.
    pub const BUSY: u8 = 0xC0;
    /// The command is not known, or not for this.
    pub const INVALID_COMMAND: u8 = 0xC1;
    /// Not known on this logical unit.
    pub const INVALID_FOR_LUN: u8 = 0xC2;
    /// It took too long.
    pub const TIMEOUT: u8 = 0xC3;
    /// The reservation is gone.
    pub const RESERVATION: u8 = 0xC5;
    /// The length of the request makes no sense.
    pub const LENGTH: u8 = 0xC7;
    /// A field's length exceeds its limit.
    pub const FIELD_LENGTH: u8 = 0xC8;
    /// So many bytes cannot be given.
    pub const TOO_MANY_BYTES: u8 = 0xCA;
    /// There is no such sensor, record or data.
    pub const ABSENT: u8 = 0xCB;
    /// The repository is being updated.
    pub const UPDATING: u8 = 0xCF;
    /// Starting up.
    pub const STARTING: u8 = 0xD2;
    /// The destination cannot be reached.
    pub const UNREACHABLE: u8 = 0xD3;
    /// Unspecified.
    pub const UNSPECIFIED: u8 = 0xFF;
}

/// The BMC's own address on its management bus.
pub const BMC_ADDRESS: u8 = 0x20;

/// More than any answer has: the kernel's limit is 272 (IPMI_MAX_MSG_LENGTH,
/// include/uapi/linux/ipmi_msgdefs.h).
const ANSWER_MAX: usize = 272;

/// Who is to carry out a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The address on the management bus; 20h is the BMC itself.
    pub address: u8,
    /// The channel on which it is; 0 is the primary management bus.
    pub channel: u8,
    /// The logical unit.
    pub lun: u8,
}

impl Target {
    /// The BMC.
    pub const BMC: Target = Target { address: BMC_ADDRESS, channel: 0, lun: 0 };

    /// Whether it is the BMC itself, on whichever unit: nobody has to pass
    /// the command on.
    pub fn is_bmc(self) -> bool {
        self.address == BMC_ADDRESS && self.channel == 0
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The completion code.
    pub code: u8,
    /// What follows it.
    pub data: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// None came in time.
    #[error("no answer within {0}")]
    Timeout(String),
    /// There is nothing to talk to, and cannot be.
    #[error("{0}")]
    Absent(String),
    /// It may not be talked to.
    #[error("{0}")]
    Denied(String),
    /// It does not let us log in.
    #[error("{0}")]
    Refused(String),
    /// The kernel or the network says no.
    #[error("{0}")]
    Io(String),
    /// What came back makes no sense.
    #[error("{0}")]
    Garbled(String),
    /// It did not answer a moment ago, and is left alone for a while.
    #[error("{0}")]
    Resting(Box<TransportError>),
    /// The agent ends.
    #[error("told to stop")]
    Stopped,
}

impl TransportError {
    /// The kinds, as metrics have them.
    pub const KINDS: [&str; 6] =
        ["timeout", "absent", "denied", "refused", "io", "garbled"];

    /// Which kind of them it is; `None` for what is no error of its own.
    pub fn kind(&self) -> Option<&'static str> {
        match self {
            TransportError::Timeout(_) => Some("timeout"),
            TransportError::Absent(_) => Some("absent"),
            TransportError::Denied(_) => Some("denied"),
            TransportError::Refused(_) => Some("refused"),
            TransportError::Io(_) => Some("io"),
            TransportError::Garbled(_) => Some("garbled"),
            TransportError::Resting(_) | TransportError::Stopped => None,
        }
    }

    /// The kind of what went wrong, also while it is left alone for that.
    pub fn kind_of_cause(&self) -> Option<&'static str> {
        match self {
            TransportError::Resting(why) => why.kind_of_cause(),
            other => other.kind(),
        }
    }

    /// Whether it is for people to set right (a permission, a password), and
    /// says nothing of the BMC.
    pub fn is_ours(&self) -> bool {
        match self {
            TransportError::Resting(why) => why.is_ours(),
            TransportError::Denied(_) | TransportError::Refused(_) => true,
            _ => false,
        }
    }
}

/// A way to a BMC, with one command under way at a time.
pub trait Transport: Send {
    /// Has `target` carry out a command, and waits for the answer to it and
    /// to no other.
    ///
    /// # Errors
    /// There is no answer by the deadline, or the way is broken. Whoever
    /// holds the transport drops it then.
    fn send(
        &mut self,
        target: Target,
        netfn: u8,
        command: u8,
        data: &[u8],
        deadline: Uptime,
    ) -> Result<Response, TransportError>;

    /// Whether it had better be opened anew before the next command.
    fn is_worn(&self) -> bool {
        false
    }
}
