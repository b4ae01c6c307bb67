//! Which machine this is: what the store is bound to.
//!
//! A disk image cloned onto another machine brings its store along; the
//! faults in it belong to parts of the machine it came from. Identifiers come
//! from firmware and the operating system's own files below a root directory;
//! none of them is trusted when it is a placeholder.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::parts::serials;

/// What tells one machine from another; `None` where it is unreadable or a
/// placeholder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// SMBIOS type 1, the system's UUID (readable for root alone).
    pub system_uuid: Option<String>,
    /// SMBIOS type 2, the board's serial number (readable for root alone).
    pub board_serial: Option<String>,
    /// `/etc/machine-id`.
    pub machine_id: Option<String>,
}

/// UUIDs that AMI's examples gave to thousands of boards, as
/// [`serials::plain`] has them.
const EXAMPLES: &[&str] =
    &["03000200040005000006000700080009", "123456781234567890abcddeefaabbcc"];

impl Machine {
    /// Reads the identifiers below `root` (`/` for this machine).
    pub fn read(root: &Path) -> Machine {
        let read = |path: &str| {
            let text = fs::read_to_string(root.join(path)).ok()?;
            valid(&text)
        };
        Machine {
            system_uuid: read("sys/class/dmi/id/product_uuid"),
            board_serial: read("sys/class/dmi/id/board_serial"),
            machine_id: read("etc/machine-id"),
        }
    }

    /// Whether this and `other` are one machine. The first identifier that is
    /// valid on both sides decides; `None` when there is none.
    pub fn is_same(&self, other: &Machine) -> Option<bool> {
        let pairs = [
            (&self.system_uuid, &other.system_uuid),
            (&self.board_serial, &other.board_serial),
            (&self.machine_id, &other.machine_id),
        ];
        pairs.into_iter().find_map(|(a, b)| {
            let (a, b) = (a.as_ref()?, b.as_ref()?);
            Some(a.eq_ignore_ascii_case(b))
        })
    }

    /// This with what only `older` knows: an identifier that can't be read
    /// today must not unbind the store.
    pub fn or(self, older: Machine) -> Machine {
        Machine {
            system_uuid: self.system_uuid.or(older.system_uuid),
            board_serial: self.board_serial.or(older.board_serial),
            machine_id: self.machine_id.or(older.machine_id),
        }
    }
}

/// The text trimmed, unless it is empty or a filler.
fn valid(text: &str) -> Option<String> {
    let text = serials::serial(text.trim_matches('\0'))?;
    (!EXAMPLES.contains(&&*serials::plain(&text))).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(uuid: &str, serial: &str, id: &str) -> Machine {
        Machine {
            system_uuid: valid(uuid),
            board_serial: valid(serial),
            machine_id: valid(id),
        }
    }

    #[test]
    fn placeholders_are_no_identity() {
        for text in [
            "",
            "  \n",
            "None",
            "To be filled by O.E.M.",
            "00000000-0000-0000-0000-000000000000",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "03000200-0400-0500-0006-000700080009",
            "Default string",
            "uninitialized",
        ] {
            assert_eq!(valid(text), None, "{text:?}");
        }
        assert_eq!(valid("CN7475\n").unwrap(), "CN7475");
    }

    #[test]
    fn the_first_identifier_that_both_have_decides() {
        let a = machine("4c4c4544-0001", "S123", "aaaaab");
        let clone = machine("4c4c4544-0002", "S123", "aaaaab");
        assert_eq!(a.is_same(&clone), Some(false));
        let upper = machine("4C4C4544-0001", "S456", "bbbbba");
        assert_eq!(a.is_same(&upper), Some(true));
        let no_dmi = machine("", "None", "aaaaab");
        assert_eq!(a.is_same(&no_dmi), Some(true));
        assert_eq!(a.is_same(&Machine::default()), None);
    }

    #[test]
    fn identifiers_are_read_below_the_root() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Machine::read(root.path()), Machine::default());
        let dmi = root.path().join("sys/class/dmi/id");
        fs::create_dir_all(&dmi).unwrap();
        fs::write(dmi.join("product_uuid"), "4c4c4544-0001\n").unwrap();
        fs::write(dmi.join("board_serial"), "Default string\n").unwrap();
        let machine = Machine::read(root.path());
        assert_eq!(machine.system_uuid.as_deref(), Some("4c4c4544-0001"));
        assert_eq!(machine.board_serial, None);
    }
}
