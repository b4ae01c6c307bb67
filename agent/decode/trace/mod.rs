//! The kernel's trace buffers: what an event's record holds, and the pages
//! in which records come.
//!
//! `format` reads an event's description, `page` takes a sub-buffer apart,
//! both by what the kernel itself says of the layout; `ras` knows the events
//! that tell of failing hardware.

pub mod format;
pub mod page;
pub mod ras;

pub use format::{Format, FormatError, Slot};
pub use page::{Layout, LayoutError, Missed, Page, Record};
