//! Kernel text as the matcher takes it: one record, whatever brought it.

use crate::forms::form_of;
use crate::time::Timestamp;

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
        // Most have none, and ten comparisons with nothing are dear.
        Some(4) => !subsystem.is_empty() && HARDWARE.contains(&subsystem),
        _ => false,
    }
}

/// One record of kernel text, unescaped, without its transport's prefix.
#[derive(Clone, Copy, Debug)]
pub struct KernelRecord<'a> {
    /// The text; several lines if the kernel printed it so.
    pub text: &'a [u8],
    /// The form that carries user text, one of `forms::NAMES`, found on the
    /// whole record before it was unescaped; `None` where nobody has looked
    /// for it and nothing in the text was escaped.
    pub form: Option<&'static str>,
    /// The log level 0 to 7, if the transport tells.
    pub level: Option<u8>,
    /// SUBSYSTEM=, empty if the record has none.
    pub subsystem: &'a [u8],
    /// DEVICE=, empty if the record has none.
    pub device: &'a [u8],
    /// When it was printed.
    pub time: Timestamp,
    /// Whether `time` is a reconstruction.
    pub approximate: bool,
    /// Whether a drill put it in.
    pub injected: bool,
}

impl KernelRecord<'_> {
    /// Whether it is trouble that a pattern should explain, by what is known
    /// of it.
    pub fn looks_like_trouble(&self) -> bool {
        looks_like_trouble(self.level, self.subsystem)
    }

    /// The form, looked for if that was not done yet.
    pub fn form(&self) -> &'static str {
        self.form.unwrap_or_else(|| form_of(self.text))
    }
}
