//! How bad the states of a sensor are, as one number: what dashboards and
//! alerts of others expect (`ipmi_*_state`), and what colours a table.
//!
//! Patterns do not use it: they name the states they mean. Where the states
//! of the specification say nothing of good or bad (a button, a progress), it
//! is good; what a maker's own states say is not known.

use super::monitor::View;
use crate::decode::ipmi::kinds;
use crate::decode::ipmi::sensor::{SPECIFIC, Sensor};

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

/// How bad a sensor's states are; `None` where that is unknown. `is_gone`:
/// its part was there, and is not.
pub fn of(view: &View, is_gone: bool) -> Option<Grade> {
    let reading = view.reading.as_ref().ok()?;
    let sensor = &view.sensor;
    if sensor.has_thresholds() {
        return Some(match reading.level() {
            0 => Grade::Nominal,
            1 => Grade::Warning,
            _ => Grade::Critical,
        });
    }
    if is_makers(sensor) {
        return None;
    }
    // What was pulled has no state at all, and that is not good. A bay that
    // was never filled looks the same; so it is said only of what was there,
    // and of supplies, whose bays are all filled where it matters.
    let matters = is_gone || sensor.part().starts_with("psu/");
    if matters && sensor.presence(reading) == Some(false) {
        return Some(Grade::Critical);
    }
    let states = reading.states.iter().map(|s| of_state(sensor.kind, s));
    Some(states.max().unwrap_or(Grade::Nominal))
}

/// Whether its states are its maker's: event/reading types 70h to 7Fh, and
/// the states of types from C0h on (IPMI 2.0 tables 42-1 and 42-3).
fn is_makers(sensor: &Sensor) -> bool {
    matches!(sensor.reading_type, 0x70..=0x7F)
        || sensor.reading_type == SPECIFIC && sensor.kind >= 0xC0
}

/// How bad one state is, of a sensor of this type: as FreeIPMI has it by
/// default (freeipmi_interpret_sensor.conf(5)), whose grades the exporter
/// shows. Not so: a place that was always empty is no failure, and an
/// operating system that has booted is no warning.
pub fn of_state(kind: u8, state: &str) -> Grade {
    match (state, kind) {
        ("state-asserted", kind) => of_asserted(kind),
        ("state-deasserted", kinds::DRIVE_SLOT) => Grade::Warning,
        ("device-disabled", kinds::MEMORY) => Grade::Critical,
        ("hard-reset" | "power-down" | "power-cycle", kinds::WATCHDOG) => {
            Grade::Critical
        }
        ("device-absent", kinds::FAN | kinds::POWER_UNIT | MODULE) => {
            Grade::Critical
        }
        _ if CRITICAL.contains(&state) => Grade::Critical,
        _ if WARNING.contains(&state) => Grade::Warning,
        _ => Grade::Nominal,
    }
}

/// Types of sensors that have no name elsewhere (table 42-3).
const MODULE: u8 = 0x15;
const POST_MEMORY_RESIZE: u8 = 0x0E;
const VOLTAGE: u8 = 0x02;
const BOOT_ERROR: u8 = 0x1E;
const OS_STOP: u8 = 0x20;
const PLATFORM_ALERT: u8 = 0x24;

/// A state without a name that is asserted: what it means is the sensor's.
fn of_asserted(kind: u8) -> Grade {
    match kind {
        kinds::PROCESSOR | kinds::MEMORY | MODULE => Grade::Critical,
        BOOT_ERROR | OS_STOP | PLATFORM_ALERT => Grade::Critical,
        kinds::TEMPERATURE | VOLTAGE | kinds::FAN => Grade::Warning,
        kinds::POWER_SUPPLY | kinds::POWER_UNIT => Grade::Warning,
        POST_MEMORY_RESIZE | kinds::FIRMWARE_PROGRESS | kinds::SYSTEM_EVENT => {
            Grade::Warning
        }
        _ => Grade::Nominal,
    }
}

/// What has failed or will: it does not do its work, data were lost, or
/// nobody would be told.
const CRITICAL: &[&str] = &[
    "ac-lost",
    "account-disabled",
    "acpi-unknown",
    "all-logging-disabled",
    "battery-failed",
    "bus-fatal-error",
    "bus-timeout",
    "bus-uncorrectable-error",
    "chassis-intrusion",
    "configuration-error",
    "controller-access-degraded",
    "controller-off-line",
    "controller-unavailable",
    "correctable-machine-check-logging-disabled",
    "correctable-memory-logging-disabled",
    "critical-from-less-severe",
    "critical-from-non-recoverable",
    "critical-overtemperature",
    "drive-bay-intrusion",
    "drive-fault",
    "eisa-timeout",
    "entity-disabled",
    "event-type-logging-disabled",
    "failure-detected",
    "fan-area-intrusion",
    "fatal-nmi",
    "firmware-hang",
    "firmware-incompatibility",
    "frb1-bist-failure",
    "frb2-hang-in-post",
    "frb3-startup-failure",
    "front-panel-nmi",
    "fru-communication-lost",
    "fru-failure",
    "fru-inactive",
    "fru-not-installed",
    "hardware-incompatibility",
    "ierr",
    "in-critical-array",
    "in-failed-array",
    "input-lost",
    "input-lost-or-out-of-range",
    "input-out-of-range",
    "install-error",
    "installation-failed",
    "invalid-boot-sector",
    "io-card-area-intrusion",
    "io-channel-check",
    "lan-leash-lost",
    "limit-exceeded",
    "log-full",
    "machine-check-exception",
    "network-boot-password-violation",
    "no-bootable-media",
    "non-bootable-diskette",
    "non-recoverable-from-less-severe",
    "non-redundant-insufficient",
    "non-redundant-sufficient-from-insufficient",
    "non-redundant-sufficient-from-redundant",
    "os-critical-stop",
    "os-stop-during-load",
    "other-password-violation",
    "out-of-band-password-violation",
    "parity",
    "pci-perr",
    "pci-serr",
    "performance-lags",
    "post-error",
    "predictive-failure",
    "predictive-failure-asserted",
    "processor-area-intrusion",
    "processor-disabled",
    "pxe-server-not-found",
    "rebuild-aborted",
    "redundancy-lost",
    "scrub-failed",
    "secure-mode-violation",
    "sensor-access-degraded",
    "sensor-failure",
    "setup-password-violation",
    "slot-fault",
    "soft-power-control-failure",
    "terminator-presence-detected",
    "thermal-trip",
    "transition-to-degraded",
    "transition-to-non-recoverable",
    "unauthorized-dock",
    "uncorrectable-cpu-complex-error",
    "uncorrectable-ecc",
    "undetermined-hardware-failure",
    "unsupported-firmware",
    "unsupported-hardware",
    "user-password-violation",
];

/// What has less in reserve, or should not be.
const WARNING: &[&str] = &[
    "240va-power-down",
    "battery-low",
    "boot-selection-timeout",
    "bus-correctable-error",
    "bus-degraded",
    "clock-sync",
    "correctable-ecc",
    "correctable-logging-limit",
    "correctable-machine-check",
    "firmware-change",
    "fru-activation",
    "fru-activation-requested",
    "fru-deactivation",
    "fru-deactivation-requested",
    "fru-latch-open",
    "fru-service-request",
    "heartbeat-lost",
    "identify",
    "inactive",
    "installation-aborted",
    "interlock",
    "interlock-power-down",
    "invalid-credentials",
    "log-almost-full",
    "monitor",
    "non-critical-from-more-severe",
    "non-critical-from-ok",
    "redundancy-degraded",
    "redundancy-degraded-from-full",
    "redundancy-degraded-from-non-redundant",
    "removal-requested",
    "slot-disabled",
    "software-nmi",
    "system-reconfigured",
    "throttled",
    "timer-expired",
    "timer-interrupt",
    "transition-to-in-test",
    "transition-to-off-duty",
    "transition-to-off-line",
    "transition-to-on-line",
    "transition-to-power-off",
    "transition-to-power-save",
    "version-change",
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
    fn what_was_pulled_is_not_well_and_a_bay_that_was_always_empty_is() {
        use crate::decode::ipmi::entity::Entity;
        use crate::decode::ipmi::reading::Reading;
        use crate::decode::ipmi::sensor::Sensor;
        let grade = |kind, reading_type, entity, bits, is_gone| {
            let sensor = Sensor {
                kind,
                reading_type,
                mask: 0x7F,
                entity: Entity::of(entity, 1),
                ..Sensor::default()
            };
            let view = View {
                limits: sensor.thresholds,
                sensor: sensor.into(),
                reading: Ok(Reading { bits, ..Reading::default() }),
                read: None,
            };
            of(&view, is_gone).unwrap()
        };
        let supply = |bits| grade(kinds::POWER_SUPPLY, 0x6F, 10, bits, false);
        assert_eq!(supply(0), Grade::Critical);
        assert_eq!(supply(1), Grade::Nominal);
        // Told by a sensor of presence alone, and of all of them together.
        assert_eq!(grade(0x25, 0x08, 10, 1, false), Grade::Critical);
        let redundancy = grade(kinds::POWER_SUPPLY, 0x0B, 10, 0, false);
        assert_eq!(redundancy, Grade::Nominal);
        let bay = |bits, gone| grade(kinds::DRIVE_SLOT, 0x6F, 4, bits, gone);
        assert_eq!(bay(0, false), Grade::Nominal);
        assert_eq!(bay(0, true), Grade::Critical);
        assert_eq!(bay(1, true), Grade::Nominal, "another is in it");
    }

    #[test]
    fn what_the_states_of_a_maker_say_is_not_known() {
        let of = |kind, reading_type| {
            is_makers(&Sensor { kind, reading_type, ..Sensor::default() })
        };
        assert!(of(0xDE, 0x70) && of(kinds::POWER_SUPPLY, 0x70));
        assert!(of(0xC1, SPECIFIC));
        assert!(!of(0xC1, 0x03), "asserted and deasserted are known");
        assert!(!of(kinds::POWER_SUPPLY, SPECIFIC));
    }

    #[test]
    fn the_same_word_is_graded_by_what_the_sensor_is_of() {
        let of = |kind, state| of_state(kind, state).number();
        assert_eq!(of(kinds::POWER_SUPPLY, "input-lost"), 2.0);
        assert_eq!(of(kinds::POWER_SUPPLY, "presence-detected"), 0.0);
        assert_eq!(of(kinds::WATCHDOG, "power-cycle"), 2.0);
        assert_eq!(of(kinds::POWER_UNIT, "power-cycle"), 0.0);
        assert_eq!(of(kinds::PROCESSOR, "state-asserted"), 2.0);
        assert_eq!(of(kinds::FAN, "state-asserted"), 1.0);
        assert_eq!(of(kinds::MEMORY, "device-disabled"), 2.0);
        assert_eq!(of(kinds::PROCESSOR, "processor-disabled"), 2.0);
        assert_eq!(of(kinds::MEMORY, "correctable-logging-limit"), 1.0);
    }
}
