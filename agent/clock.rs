//! The only place that reads a clock.

use crate::time::{Now, Timestamp, Uptime};

/// Both clocks, now.
pub fn now() -> Now {
    Now {
        wall: Timestamp(micros(nix::time::ClockId::CLOCK_REALTIME)),
        boot: boot(),
    }
}

/// The boot clock, which does not stop in suspend.
pub fn boot() -> Uptime {
    let us = micros(nix::time::ClockId::CLOCK_BOOTTIME);
    Uptime(u64::try_from(us).unwrap_or(0))
}

/// CLOCK_MONOTONIC in microseconds: what kmsg time stamps are close to.
pub fn monotonic() -> u64 {
    let us = micros(nix::time::ClockId::CLOCK_MONOTONIC);
    u64::try_from(us).unwrap_or(0)
}

fn micros(id: nix::time::ClockId) -> i64 {
    use nix::sys::time::TimeValLike;
    // These clocks exist on every kernel we run on (clock_gettime(2)); a
    // failure would be a bug of ours, and 0 makes timers wait, not fire.
    nix::time::clock_gettime(id).map_or(0, |t| t.num_microseconds())
}
