//! Kernel text that came through the journal or a file, on its way to the
//! matcher: the form is found here, since these transports don't escape.

use crate::forms;
use crate::kernel::KernelRecord;
use crate::patterns::matcher::{Scratch, Taken};
use crate::signal::Event;
use crate::time::Timestamp;

use super::Context;

/// The subsystems whose warnings are hardware's.
const HARDWARE: [&[u8]; 10] = [
    b"pci",
    b"scsi",
    b"nvme",
    b"ata_port",
    b"mmc",
    b"net",
    b"block",
    b"usb",
    b"pcieport",
    b"pci_express",
];

/// Whether an untaken record of this level and subsystem is trouble that a
/// pattern should explain.
pub fn looks_like_trouble(level: Option<u8>, subsystem: &[u8]) -> bool {
    match level {
        Some(0..=3) => true,
        Some(4) => HARDWARE.contains(&subsystem),
        _ => false,
    }
}

/// One record's level and time.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// The log level, if the transport tells.
    pub level: Option<u8>,
    /// When it was printed.
    pub time: Timestamp,
    /// Whether that is a reconstruction.
    pub approximate: bool,
}

/// Holds one line of kernel text against the patterns and says whether any
/// took it.
pub fn kernel_line(
    context: &Context,
    text: &[u8],
    stamp: Stamp,
    scratch: &mut Scratch,
    events: &mut Vec<Event>,
) -> bool {
    let form = forms::form_of(text);
    let record = KernelRecord {
        text,
        form,
        level: stamp.level,
        subsystem: b"",
        device: b"",
        time: stamp.time,
        approximate: stamp.approximate,
        injected: false,
    };
    let matcher = &context.patterns.set().matcher;
    let taken = matcher.observe_kernel(&record, scratch, events);
    if taken == Taken::Nothing && looks_like_trouble(stamp.level, b"") {
        context.unexplained.note(text, form == "none", stamp.time);
    }
    taken == Taken::Taken
}
