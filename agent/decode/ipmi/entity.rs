//! What a sensor or a FRU belongs to: entity id and instance (IPMI 2.0
//! table 43-13), and which part of ours that is.

use std::fmt;

/// The entity ids below 38h, in the words of patterns.
const WORDS: [&str; 0x38] = [
    "unspecified",
    "other",
    "unknown",
    "processor",
    "disk",
    "peripheral-bay",
    "management-module",
    "system-board",
    "memory-module",
    "processor-module",
    "power-supply",
    "add-in-card",
    "front-panel",
    "back-panel",
    "power-board",
    "drive-backplane",
    "expansion-board",
    "other-system-board",
    "processor-board",
    "power-unit",
    "power-module",
    "power-management",
    "chassis-back-panel",
    "chassis",
    "sub-chassis",
    "other-chassis-board",
    "drive-bay",
    "other-bay",
    "device-bay",
    "fan",
    "cooling-unit",
    "cable",
    "memory-device",
    "management-software",
    "firmware",
    "operating-system",
    "system-bus",
    "group",
    "remote-management",
    "external-environment",
    "battery",
    "processing-blade",
    "switch",
    "processor-memory-module",
    "io-module",
    "processor-io-module",
    "bmc-firmware",
    "ipmi-channel",
    "pci-bus",
    "pcie-bus",
    "scsi-bus",
    "sata-bus",
    "front-side-bus",
    "clock",
    "reserved",
    "air-inlet",
];

/// Entity ids that the chassis, the board or the maker gave a meaning.
pub const OEM: &str = "oem";

/// Every word that [`Entity::word`] may say.
pub const ALL: [&str; 0x39] = {
    let mut all = [OEM; 0x39];
    let mut i = 0;
    while i < WORDS.len() {
        all[i] = WORDS[i];
        i += 1;
    }
    all
};

/// Entity id and instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity {
    /// What it is.
    pub id: u8,
    /// Which of them: 60h and up count from the management controller that
    /// owns the sensor; the top bit, which says that a container is meant,
    /// is not part of it.
    pub instance: u8,
}

impl Entity {
    /// Of the two bytes of a record.
    pub fn of(id: u8, instance: u8) -> Entity {
        Entity { id, instance: instance & 0x7f }
    }

    /// What it is, as a word.
    pub fn word(self) -> &'static str {
        let same = match self.id {
            // DCMI 1.5 has ids of its own for three kinds of temperature.
            0x40 => 0x37,
            0x41 => 0x03,
            0x42 => 0x07,
            id => id,
        };
        match WORDS.get(usize::from(same)) {
            Some(word) => word,
            None if self.id >= 0x90 => OEM,
            None => "reserved",
        }
    }
}

impl fmt::Display for Entity {
    /// `10.2`, as `ipmitool` writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.id, self.instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_stand_at_their_id() {
        let word = |id| Entity::of(id, 1).word();
        assert_eq!(word(0x03), "processor");
        assert_eq!(word(0x0a), "power-supply");
        assert_eq!(word(0x13), "power-unit");
        assert_eq!(word(0x17), "chassis");
        assert_eq!(word(0x1d), "fan");
        assert_eq!(word(0x20), "memory-device");
        assert_eq!(word(0x28), "battery");
        assert_eq!(word(0x2e), "bmc-firmware");
        assert_eq!(word(0x37), "air-inlet");
        assert_eq!(word(0x42), "system-board");
        assert_eq!(word(0x60), "reserved");
        assert_eq!(word(0xd0), "oem");
    }

    #[test]
    fn the_bit_of_a_container_is_not_of_the_instance() {
        assert_eq!(Entity::of(10, 0x82).to_string(), "10.2");
    }
}
