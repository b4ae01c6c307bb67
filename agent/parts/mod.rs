//! Parts: what a technician pulls.
//!
//! `ids` has the names and what they tell by themselves; `part` is what is
//! known of one part, `serials` which serial numbers are none, `census` all
//! parts of a machine with every name they go by, and the resolution of a
//! name to an identity; `units` what a BMC adds to them. Those are pure. `smbios` reads the firmware's tables
//! (pure, on bytes); `tree` and `host` are the only places that read sysfs,
//! on the thread that `looker` keeps for it, which may hang.

pub mod census;
pub mod host;
pub mod ids;
pub mod looker;
pub mod part;
pub mod serials;
pub mod smbios;
pub mod units;
