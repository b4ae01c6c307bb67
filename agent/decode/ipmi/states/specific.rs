//! States that a type of sensor has for itself (table 42-3).

/// The states of a sensor type, by offset; empty ones are reserved.
pub fn of(kind: u8) -> &'static [&'static str] {
    match kind {
        0x05..=0x09 => power_and_processor(kind),
        0x0c..=0x0d => storage(kind),
        0x0f..=0x14 => system(kind),
        0x19..=0x20 => starting(kind),
        0x21..=0x25 => slots_and_watchdog(kind),
        _ => management(kind),
    }
}

fn power_and_processor(kind: u8) -> &'static [&'static str] {
    match kind {
        0x05 => &[
            "chassis-intrusion",
            "drive-bay-intrusion",
            "io-card-area-intrusion",
            "processor-area-intrusion",
            "lan-leash-lost",
            "unauthorized-dock",
            "fan-area-intrusion",
        ],
        0x06 => &[
            "secure-mode-violation",
            "user-password-violation",
            "setup-password-violation",
            "network-boot-password-violation",
            "other-password-violation",
            "out-of-band-password-violation",
        ],
        0x07 => &[
            "ierr",
            "thermal-trip",
            "frb1-bist-failure",
            "frb2-hang-in-post",
            "frb3-startup-failure",
            "configuration-error",
            "uncorrectable-cpu-complex-error",
            "presence-detected",
            "processor-disabled",
            "terminator-presence-detected",
            "throttled",
            "machine-check-exception",
            "correctable-machine-check",
        ],
        0x08 => &[
            "presence-detected",
            "failure-detected",
            "predictive-failure",
            "input-lost",
            "input-lost-or-out-of-range",
            "input-out-of-range",
            "configuration-error",
            "inactive",
        ],
        _ => &[
            "power-off",
            "power-cycle",
            "240va-power-down",
            "interlock-power-down",
            "ac-lost",
            "soft-power-control-failure",
            "failure-detected",
            "predictive-failure",
        ],
    }
}

fn storage(kind: u8) -> &'static [&'static str] {
    match kind {
        0x0c => &[
            "correctable-ecc",
            "uncorrectable-ecc",
            "parity",
            "scrub-failed",
            "device-disabled",
            "correctable-logging-limit",
            "presence-detected",
            "configuration-error",
            "spare",
            "throttled",
            "critical-overtemperature",
        ],
        _ => &[
            "presence-detected",
            "drive-fault",
            "predictive-failure",
            "hot-spare",
            "consistency-check",
            "in-critical-array",
            "in-failed-array",
            "rebuild",
            "rebuild-aborted",
        ],
    }
}

fn system(kind: u8) -> &'static [&'static str] {
    match kind {
        0x0f => &["post-error", "firmware-hang", "firmware-progress"],
        0x10 => &[
            "correctable-memory-logging-disabled",
            "event-type-logging-disabled",
            "log-cleared",
            "all-logging-disabled",
            "log-full",
            "log-almost-full",
            "correctable-machine-check-logging-disabled",
        ],
        0x11 => &[
            "bios-reset",
            "os-reset",
            "os-shutdown",
            "os-power-down",
            "os-power-cycle",
            "os-nmi",
            "os-expired",
            "os-pre-timeout",
        ],
        0x12 => &[
            "system-reconfigured",
            "oem-boot",
            "undetermined-hardware-failure",
            "auxiliary-log-entry",
            "pef-action",
            "clock-sync",
        ],
        0x13 => &[
            "front-panel-nmi",
            "bus-timeout",
            "io-channel-check",
            "software-nmi",
            "pci-perr",
            "pci-serr",
            "eisa-timeout",
            "bus-correctable-error",
            "bus-uncorrectable-error",
            "fatal-nmi",
            "bus-fatal-error",
            "bus-degraded",
        ],
        _ => &[
            "power-button",
            "sleep-button",
            "reset-button",
            "fru-latch-open",
            "fru-service-request",
        ],
    }
}

fn starting(kind: u8) -> &'static [&'static str] {
    match kind {
        0x19 => &["soft-power-control-failure", "thermal-trip"],
        0x1b => &["connected", "configuration-error"],
        0x1d => &[
            "power-up",
            "hard-reset",
            "warm-reset",
            "user-pxe-boot",
            "diagnostic-boot",
            "os-hard-reset",
            "os-warm-reset",
            "system-restart",
        ],
        0x1e => &[
            "no-bootable-media",
            "non-bootable-diskette",
            "pxe-server-not-found",
            "invalid-boot-sector",
            "boot-selection-timeout",
        ],
        0x1f => &[
            "a-boot-completed",
            "c-boot-completed",
            "pxe-boot-completed",
            "diagnostic-boot-completed",
            "cd-boot-completed",
            "rom-boot-completed",
            "boot-completed",
            "installation-started",
            "installation-completed",
            "installation-aborted",
            "installation-failed",
        ],
        0x20 => &[
            "os-stop-during-load",
            "os-critical-stop",
            "os-graceful-stop",
            "os-graceful-shutdown",
            "pef-shutdown",
            "agent-not-responding",
        ],
        _ => &[],
    }
}

fn slots_and_watchdog(kind: u8) -> &'static [&'static str] {
    match kind {
        0x21 => &[
            "slot-fault",
            "identify",
            "device-installed",
            "ready-for-installation",
            "ready-for-removal",
            "slot-power-off",
            "removal-requested",
            "interlock",
            "slot-disabled",
            "spare-device",
        ],
        0x22 => &[
            "s0-working",
            "s1-sleeping",
            "s2-sleeping",
            "s3-sleeping",
            "s4-suspended",
            "s5-soft-off",
            "s4-s5-off",
            "mechanical-off",
            "sleeping-s1-s2-s3",
            "g1-sleeping",
            "s5-override",
            "legacy-on",
            "legacy-off",
            "",
            "acpi-unknown",
        ],
        0x23 => &[
            "timer-expired",
            "hard-reset",
            "power-down",
            "power-cycle",
            "",
            "",
            "",
            "",
            "timer-interrupt",
        ],
        0x24 => &["page-alert", "lan-alert", "event-trap", "snmp-trap"],
        _ => &["entity-present", "entity-absent", "entity-disabled"],
    }
}

fn management(kind: u8) -> &'static [&'static str] {
    match kind {
        0x27 => &["heartbeat-lost", "heartbeat"],
        0x28 => &[
            "sensor-access-degraded",
            "controller-access-degraded",
            "controller-off-line",
            "controller-unavailable",
            "sensor-failure",
            "fru-failure",
        ],
        0x29 => &["battery-low", "battery-failed", "presence-detected"],
        0x2a => &[
            "session-activated",
            "session-deactivated",
            "invalid-credentials",
            "account-disabled",
        ],
        0x2b => &[
            "version-change",
            "firmware-change",
            "hardware-incompatibility",
            "firmware-incompatibility",
            "unsupported-hardware",
            "unsupported-firmware",
            "hardware-change-done",
            "firmware-change-done",
        ],
        0x2c => &[
            "fru-not-installed",
            "fru-inactive",
            "fru-activation-requested",
            "fru-activation",
            "fru-active",
            "fru-deactivation-requested",
            "fru-deactivation",
            "fru-communication-lost",
        ],
        _ => &[],
    }
}
