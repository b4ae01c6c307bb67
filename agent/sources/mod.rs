//! Sources: threads that make observations, hold them against the patterns,
//! and send what came of it to the ledger.
//!
//! Each source is a function that reads until it is told to stop or fails; it
//! knows nothing of restarts. The supervisor gives each a thread, tells its
//! health, and starts it again. What crosses the queue is batches of signals,
//! gaps and positions; an observation that matches nothing crosses only as
//! part of a position.

pub mod aer;
pub mod counting;
mod cper_text;
pub mod disk;
pub mod edac;
pub mod file;
mod file_begin;
mod file_followed;
pub mod file_glob;
pub mod file_lines;
mod file_mark;
mod file_match;
mod file_rotated;
pub mod file_tail;
mod file_watch;
pub mod forward;
mod guard;
pub mod host;
pub mod hwmon;
pub mod inventory;
pub mod ipmi_sel;
pub mod ipmi_sensor;
pub mod journal;
pub mod journal_child;
pub mod journal_entry;
pub mod kmsg;
mod kmsg_chunk;
pub mod kmsg_cont;
pub mod kmsg_open;
pub mod kmsg_privilege;
pub mod kmsg_record;
pub mod looking;
pub mod machine_check;
mod mce_repeat;
pub mod mce_text;
mod mdstat;
pub mod mount;
mod mount_info;
mod nvme_log;
pub mod owned;
pub mod pci;
pub mod pcie;
mod poll;
pub mod pstore;
pub mod raid;
pub mod recent;
pub mod shared;
pub mod states;
pub mod stop;
pub mod supervisor;
pub mod tally;
pub mod text;
mod text_header;
mod text_months;
mod text_protocol;
pub mod trace;
mod trace_described;
mod trace_fields;
mod trace_instance;
mod trace_observe;
mod trace_pair;
mod uevent;
pub mod unexplained;

use std::sync::Arc;

use crate::observation::Source;
use crate::signal::SourceId;

pub use poll::Poll;
pub use shared::{Counters, Local, PatternsCell, Stats};
pub use stop::Stop;
pub use supervisor::{Closed, Context, Running, Shared, start};
pub use unexplained::Unexplained;

/// A source with its checked configuration: what the supervisor runs.
#[derive(Clone, Debug)]
pub enum Setup {
    /// The kernel's log.
    Kmsg(kmsg::Options),
    /// The systemd journal.
    Journal(journal::Options),
    /// Log files.
    File(file::Options),
    /// Mounted filesystems.
    Mount(mount::Options),
    /// Counters of memory errors.
    Edac(Poll),
    /// Counters of PCIe errors.
    Aer(Poll),
    /// Disks.
    Disk(Poll),
    /// Software RAID.
    Raid(Poll),
    /// PCIe links.
    Pcie(Poll),
    /// The node as a whole.
    Host(Poll),
    /// The sensors of a BMC.
    IpmiSensor(ipmi_sensor::Options),
    /// The event log of a BMC.
    IpmiSel(ipmi_sel::Options),
    /// Sensors of the kernel's own drivers.
    Hwmon(hwmon::Options),
    /// The census of parts.
    Inventory(inventory::Options),
    /// The kernel's tracepoints.
    Mce(trace::Options),
}

impl Setup {
    /// Which source it sets up.
    pub fn source(&self) -> Source {
        match self {
            Setup::Kmsg(_) => Source::Kmsg,
            Setup::Journal(_) => Source::Journal,
            Setup::File(_) => Source::File,
            Setup::Mount(_) => Source::Mount,
            Setup::Edac(_) => Source::Edac,
            Setup::Mce(_) => Source::Mce,
            Setup::Aer(_) => Source::Aer,
            Setup::Disk(_) => Source::Disk,
            Setup::Raid(_) => Source::Raid,
            Setup::Pcie(_) => Source::Pcie,
            Setup::Host(_) => Source::Host,
            Setup::Hwmon(_) => Source::Hwmon,
            Setup::IpmiSensor(_) => Source::IpmiSensor,
            Setup::IpmiSel(_) => Source::IpmiSel,
            Setup::Inventory(_) => Source::Inventory,
        }
    }

    /// Where whoever takes the census, if this does, is asked to forget.
    pub fn desk(&self) -> Option<inventory::Desk> {
        match self {
            Setup::Inventory(options) => Some(options.desk.clone()),
            _ => None,
        }
    }

    /// Where what is known of BMCs is seen, if this asks them.
    pub fn board(&self) -> Option<crate::ipmi::Board> {
        match self {
            Setup::IpmiSensor(options) => Some(options.way.board.clone()),
            _ => None,
        }
    }

    /// The name under which the source as a whole reports its health.
    pub fn id(&self) -> SourceId {
        match self {
            Setup::IpmiSensor(options) => options.id(),
            Setup::IpmiSel(options) => options.id(),
            _ => Arc::from(self.source().name()),
        }
    }

    /// Reads until told to stop, or until it fails.
    fn run(&self, context: &mut Context) -> Result<End, Failure> {
        match self {
            Setup::Kmsg(options) => apart(kmsg::run, options, context),
            Setup::Journal(options) => apart(journal::run, options, context),
            Setup::File(options) => apart(file::run, options, context),
            Setup::Mount(options) => apart(mount::run, options, context),
            Setup::Edac(options) => apart(edac::run, options, context),
            Setup::Aer(options) => apart(aer::run, options, context),
            Setup::Disk(options) => apart(disk::run, options, context),
            Setup::Raid(options) => apart(raid::run, options, context),
            Setup::Pcie(options) => apart(pcie::run, options, context),
            Setup::Host(options) => apart(host::run, options, context),
            Setup::Hwmon(options) => apart(hwmon::run, options, context),
            Setup::IpmiSensor(options) => {
                apart(ipmi_sensor::run, options, context)
            }
            Setup::IpmiSel(options) => apart(ipmi_sel::run, options, context),
            Setup::Inventory(options) => {
                apart(inventory::run, options, context)
            }
            Setup::Mce(options) => apart(trace::run, options, context),
        }
    }
}

/// Runs a source in a frame of its own: with all of them in one, every
/// source's stack would have the room that all of them need, 20 KiB.
#[inline(never)]
fn apart<O>(
    run: fn(&O, &mut Context) -> Result<End, Failure>,
    options: &O,
    context: &mut Context,
) -> Result<End, Failure> {
    run(options, context)
}

/// Why a source ended without failing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to, or the ledger is gone, or it had to read only once.
    Stopped,
    /// It cannot exist here; why.
    Absent(String),
}

/// Why a source failed: what it tells people, and whether it is worth trying
/// again soon is the supervisor's business.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

impl Failure {
    /// `what` failed because of `error`.
    pub fn of(what: impl std::fmt::Display, error: &std::io::Error) -> Failure {
        Failure(format!("{what}: {error}"))
    }
}
