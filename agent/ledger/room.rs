//! How much memory a fault may take: what all may take together, shared out.
//!
//! An ordinary machine has a few dozen faults, and each keeps all that the
//! rules want. A pattern that takes every number for a part fills the table:
//! then each fault keeps less evidence and coarser windows, never the whole
//! more memory. A table of 1,024 faults, and 64 fatal ones more, takes some
//! 8 MiB at most.

use super::fault::{Evidence, Fault};
use super::tolerance;

/// The evidence of all faults together, bytes: all of it for up to 64
/// faults (nine texts of at most 1 KiB each).
const EVIDENCE_MAX: usize = 1 << 20;

/// The tolerance windows of all faults together, bytes: for up to 32 faults
/// as much as the fullest window takes.
const WINDOWS_MAX: usize = 2 << 20;

/// Between so few faults nothing has to be shared out.
const FEW: usize = 32;

/// What one fault may take, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Of evidence.
    pub evidence: usize,
    /// Of its tolerance window.
    pub window: usize,
}

impl Room {
    /// One fault's room among so many. It shrinks by half when the number
    /// doubles, so that others need to be looked at only then.
    pub fn among(faults: usize) -> Room {
        let shares = faults.next_power_of_two().max(FEW);
        Room { evidence: EVIDENCE_MAX / shares, window: WINDOWS_MAX / shares }
    }

    /// Whether the room of all has shrunk with the last of so many.
    pub fn has_shrunk(faults: usize) -> bool {
        faults > FEW && (faults - 1).is_power_of_two()
    }

    /// Makes a fault fit; returns how many values of its window had to go.
    pub fn fit(self, fault: &mut Fault) -> u64 {
        self.fit_evidence(fault);
        tolerance::fit(&mut fault.window, self.window)
    }

    /// Lets the oldest of the last observations go, then cuts the texts.
    pub fn fit_evidence(self, fault: &mut Fault) {
        let takes = |fault: &Fault| {
            let all = fault.last.iter().chain([&fault.first]);
            all.map(|e| size_of::<Evidence>() + e.text.len()).sum::<usize>()
        };
        while fault.last.len() > 1 && takes(fault) > self.evidence {
            fault.last.pop_front();
        }
        if takes(fault) > self.evidence {
            fault.last.shrink_to_fit();
            let text =
                (self.evidence / 2).saturating_sub(size_of::<Evidence>());
            for evidence in fault.last.iter_mut().chain([&mut fault.first]) {
                let end = evidence.text.floor_char_boundary(text);
                evidence.text.truncate(end);
                evidence.text.shrink_to_fit();
            }
        }
    }
}
