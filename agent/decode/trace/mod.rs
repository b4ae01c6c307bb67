//! The kernel's trace buffers: what an event's record holds, and the pages
//! in which records come.
//!
//! `format` reads an event's description, `page` takes a sub-buffer apart,
//! both by what the kernel itself says of the layout. Which events are read
//! and what they mean is not known here.

pub mod format;
pub mod page;

pub use format::{Format, FormatError, Slot};
pub use page::{Layout, LayoutError, Missed, Page, Record};
