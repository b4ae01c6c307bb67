//! How bad the states of a sensor are, as one number: what dashboards and
//! alerts of others expect (`ipmi_*_state`), and what colours a table.
//!
//! Patterns do not use it: they name the states they mean. Where the states
//! of the specification say nothing of good or bad (a maker's own, a button,
//! a progress), it is good.

use super::monitor::{View, Why};
use crate::decode::ipmi::kinds;

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As it should be.
    Nominal,
    /// Worth a look.
    Warning,
    /// It has failed, or is about to.
    Critical,
}

impl Grade {
    /// The number that `ipmi_exporter` gives it.
    pub fn number(self) -> f64 {
        match self {
            Grade::Nominal => 0.0,
            Grade::Warning => 1.0,
            Grade::Critical => 2.0,
        }
    }

    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Grade::Nominal => "nominal",
            Grade::Warning => "warning",
            Grade::Critical => "critical",
        }
    }
}

/// How bad a sensor's states are, or why that is unknown.
///
/// # Errors
/// It is unknown.
pub fn of(view: &View) -> Result<Grade, Why> {
    let reading = view.reading.as_ref().map_err(|why| *why)?;
    let sensor = &view.sensor;
    if sensor.has_thresholds() {
        return Ok(match reading.level() {
            0 => Grade::Nominal,
            1 => Grade::Warning,
            _ => Grade::Critical,
        });
    }
    let states = reading.states.iter().map(|state| of_state(state));
    let worst = states.max().unwrap_or(Grade::Nominal);
    let missing = is_missing(sensor.kind, sensor.mask, reading.bits);
    Ok(if missing { Grade::Critical } else { worst })
}

/// Whether what the sensor is of is not there although it can tell that it
/// is: a power supply or a drive that was pulled has no state at all, and
/// that is not good. A slot that was never filled looks the same; so it is
/// only said of supplies, whose bays are all filled where it matters.
fn is_missing(kind: u8, mask: u16, bits: u16) -> bool {
    kind == kinds::POWER_SUPPLY && mask & 1 != 0 && bits & 1 == 0
}

/// How bad one state is.
pub fn of_state(state: &str) -> Grade {
    if CRITICAL.contains(&state) {
        Grade::Critical
    } else if WARNING.contains(&state) {
        Grade::Warning
    } else {
        Grade::Nominal
    }
}

/// What has failed: it does not do its work, or data were lost.
const CRITICAL: &[&str] = &[
    "ac-lost",
    "battery-failed",
    "bus-fatal-error",
    "bus-timeout",
    "bus-uncorrectable-error",
    "configuration-error",
    "controller-off-line",
    "controller-unavailable",
    "critical-from-less-severe",
    "critical-from-non-recoverable",
    "critical-overtemperature",
    "drive-fault",
    "failure-detected",
    "fatal-nmi",
    "firmware-hang",
    "frb1-bist-failure",
    "frb2-hang-in-post",
    "frb3-startup-failure",
    "fru-communication-lost",
    "fru-failure",
    "hardware-incompatibility",
    "ierr",
    "in-failed-array",
    "input-lost",
    "input-lost-or-out-of-range",
    "input-out-of-range",
    "install-error",
    "interlock-power-down",
    "io-channel-check",
    "machine-check-exception",
    "240va-power-down",
    "non-recoverable-from-less-severe",
    "non-redundant-insufficient",
    "os-critical-stop",
    "os-stop-during-load",
    "parity",
    "pci-perr",
    "pci-serr",
    "post-error",
    "rebuild-aborted",
    "redundancy-lost",
    "slot-fault",
    "soft-power-control-failure",
    "thermal-trip",
    "transition-to-non-recoverable",
    "uncorrectable-cpu-complex-error",
    "uncorrectable-ecc",
    "undetermined-hardware-failure",
    "correctable-logging-limit",
];

/// What will fail, has less in reserve, or should not be.
const WARNING: &[&str] = &[
    "battery-low",
    "bus-correctable-error",
    "bus-degraded",
    "chassis-intrusion",
    "controller-access-degraded",
    "correctable-ecc",
    "correctable-machine-check",
    "drive-bay-intrusion",
    "fan-area-intrusion",
    "heartbeat-lost",
    "in-critical-array",
    "io-card-area-intrusion",
    "lan-leash-lost",
    "limit-exceeded",
    "log-almost-full",
    "log-full",
    "non-critical-from-more-severe",
    "non-critical-from-ok",
    "non-redundant-sufficient-from-insufficient",
    "non-redundant-sufficient-from-redundant",
    "performance-lags",
    "predictive-failure",
    "predictive-failure-asserted",
    "processor-area-intrusion",
    "redundancy-degraded",
    "redundancy-degraded-from-full",
    "redundancy-degraded-from-non-redundant",
    "scrub-failed",
    "sensor-access-degraded",
    "sensor-failure",
    "throttled",
    "timer-expired",
    "transition-to-degraded",
    "unauthorized-dock",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::ipmi::states;

    #[test]
    fn every_graded_state_is_one_of_the_specification() {
        for state in CRITICAL.iter().chain(WARNING) {
            assert!(states::ALL.contains(state), "{state}");
        }
        assert!(CRITICAL.iter().all(|state| !WARNING.contains(state)));
    }

    #[test]
    fn a_supply_that_was_pulled_is_not_well() {
        let psu = |bits| is_missing(kinds::POWER_SUPPLY, 0x7F, bits);
        assert!(psu(0));
        assert!(!psu(1));
        assert!(!psu(0b11));
        assert_eq!(of_state("input-lost"), Grade::Critical);
        assert_eq!(of_state("presence-detected"), Grade::Nominal);
    }
}
