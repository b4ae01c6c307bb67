//! States that do not depend on what the sensor is of (table 42-2).

/// The states of a generic event/reading type, by offset.
pub fn of(reading_type: u8) -> &'static [&'static str] {
    match reading_type {
        0x02 => &[
            "transition-to-idle",
            "transition-to-active",
            "transition-to-busy",
        ],
        0x03 => &["state-deasserted", "state-asserted"],
        0x04 => {
            &["predictive-failure-deasserted", "predictive-failure-asserted"]
        }
        0x05 => &["limit-not-exceeded", "limit-exceeded"],
        0x06 => &["performance-met", "performance-lags"],
        0x07 => &[
            "transition-to-ok",
            "non-critical-from-ok",
            "critical-from-less-severe",
            "non-recoverable-from-less-severe",
            "non-critical-from-more-severe",
            "critical-from-non-recoverable",
            "transition-to-non-recoverable",
            "monitor",
            "informational",
        ],
        0x08 => &["device-absent", "device-present"],
        0x09 => &["device-disabled", "device-enabled"],
        0x0a => &[
            "transition-to-running",
            "transition-to-in-test",
            "transition-to-power-off",
            "transition-to-on-line",
            "transition-to-off-line",
            "transition-to-off-duty",
            "transition-to-degraded",
            "transition-to-power-save",
            "install-error",
        ],
        0x0b => &[
            "fully-redundant",
            "redundancy-lost",
            "redundancy-degraded",
            "non-redundant-sufficient-from-redundant",
            "non-redundant-sufficient-from-insufficient",
            "non-redundant-insufficient",
            "redundancy-degraded-from-full",
            "redundancy-degraded-from-non-redundant",
        ],
        0x0c => &["d0", "d1", "d2", "d3"],
        _ => &[],
    }
}
