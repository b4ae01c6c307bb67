//! Kernel text as the matcher takes it: one record, whatever brought it.

use crate::forms::form_of;
use crate::time::Timestamp;

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
    /// The form, looked for if that was not done yet.
    pub fn form(&self) -> &'static str {
        self.form.unwrap_or_else(|| form_of(self.text))
    }
}
