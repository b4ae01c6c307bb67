//! The budget: how many nodes may be out of service at once.
//!
//! It needs no controller. One Lease is a *register of grants*, not a lock:
//! an agent adds its grant by a PUT that carries the Lease's
//! `resourceVersion`, and only then patches its Node, with the
//! `resourceVersion` that the grant names. Out of service is the union of
//! the nodes seen out (one consistent list, taken after the Lease was read)
//! and the nodes granted. A grant ends when its node is gone or has another
//! uid, or is read unmarked at another version than the grant's, since the
//! patch can then never succeed; never by a clock. Everything here is pure;
//! `docs/decisions/005-a-register-of-grants.md` has the argument.

pub mod consider;
pub mod count;
pub mod explain;

pub mod limits;
mod queue;
pub mod reason;
pub mod register;
#[cfg(test)]
mod tests;
pub mod tidy;
pub mod window;
