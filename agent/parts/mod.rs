//! Parts: what a technician pulls. Ids and their relations are pure; the
//! resolution of names through sysfs belongs beside them.

pub mod ids;
