//! What a sensor is of: its type (IPMI 2.0 table 42-3).

/// The types by their code, in the words of patterns; 00h is reserved.
pub const WORDS: [&str; 0x2d] = [
    "reserved",
    "temperature",
    "voltage",
    "current",
    "fan",
    "physical-security",
    "platform-security",
    "processor",
    "power-supply",
    "power-unit",
    "cooling-device",
    "other-units",
    "memory",
    "drive-slot",
    "post-memory-resize",
    "firmware-progress",
    "event-logging",
    "watchdog-1",
    "system-event",
    "critical-interrupt",
    "button",
    "module-board",
    "microcontroller",
    "add-in-card",
    "chassis",
    "chip-set",
    "other-fru",
    "cable",
    "terminator",
    "system-boot",
    "boot-error",
    "os-boot",
    "os-stop",
    "slot",
    "acpi-power-state",
    "watchdog",
    "platform-alert",
    "entity-presence",
    "monitor-asic",
    "lan",
    "management-health",
    "battery",
    "session-audit",
    "version-change",
    "fru-state",
];

/// What a type above the table is called: C0h and up are the maker's.
pub const OEM: &str = "oem";

/// Every word that [`word`] may say.
pub const ALL: [&str; 0x2e] = {
    let mut all = [OEM; 0x2e];
    let mut i = 0;
    while i < WORDS.len() {
        all[i] = WORDS[i];
        i += 1;
    }
    all
};

/// Temperature.
pub const TEMPERATURE: u8 = 0x01;
/// Fan.
pub const FAN: u8 = 0x04;
/// Processor.
pub const PROCESSOR: u8 = 0x07;
/// Power supply.
pub const POWER_SUPPLY: u8 = 0x08;
/// Power unit: all supplies together.
pub const POWER_UNIT: u8 = 0x09;
/// Memory.
pub const MEMORY: u8 = 0x0c;
/// Drive slot.
pub const DRIVE_SLOT: u8 = 0x0d;
/// Firmware progress and POST errors.
pub const FIRMWARE_PROGRESS: u8 = 0x0f;
/// Event logging disabled.
pub const EVENT_LOGGING: u8 = 0x10;
/// Watchdog of IPMI 1.0.
pub const WATCHDOG_1: u8 = 0x11;
/// System event.
pub const SYSTEM_EVENT: u8 = 0x12;
/// Critical interrupt: NMI, PCI and bus errors.
pub const CRITICAL_INTERRUPT: u8 = 0x13;
/// Chip set.
pub const CHIP_SET: u8 = 0x19;
/// Slot or connector.
pub const SLOT: u8 = 0x21;
/// Watchdog.
pub const WATCHDOG: u8 = 0x23;

/// Battery.
pub const BATTERY: u8 = 0x29;

/// The word for a type.
pub fn word(kind: u8) -> &'static str {
    match WORDS.get(usize::from(kind)) {
        Some(word) => word,
        None if kind >= 0xc0 => OEM,
        None => WORDS[0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_stand_at_their_code() {
        assert_eq!(word(TEMPERATURE), "temperature");
        assert_eq!(word(POWER_SUPPLY), "power-supply");
        assert_eq!(word(DRIVE_SLOT), "drive-slot");
        assert_eq!(word(CRITICAL_INTERRUPT), "critical-interrupt");
        assert_eq!(word(SLOT), "slot");
        assert_eq!(word(WATCHDOG), "watchdog");
        assert_eq!(word(0x29), "battery");
        assert_eq!(word(0x2c), "fru-state");
        assert_eq!(word(0x2d), "reserved");
        assert_eq!(word(0xc1), "oem");
    }
}
