//! What a person should do about a decoded machine check. One record alone:
//! how many corrected errors are too many is for the patterns to say.

use crate::decode::mce::{Decoded, Severity, Tracking, Unit};

/// What to do.
pub fn advice(decoded: &Decoded) -> &'static str {
    if decoded.contradicts {
        return "Do not act on this record alone: update kernel and firmware, \
            and see whether others follow.";
    }
    if decoded.left_over {
        return "Nothing, unless the machine also hangs or resets by itself: \
            then update the firmware first.";
    }
    if decoded.tracking == Some(Tracking::Yellow) {
        return "The processor itself says that corrected errors pass its \
            threshold: plan to replace it.";
    }
    match (decoded.severity, decoded.unit) {
        (Severity::None, _) => "Nothing: there is no error here.",
        (Severity::Corrected, Unit::Memory) => {
            "Nothing for one of them. If they keep coming from the same \
             place, replace that DIMM; if from several DIMMs of a channel, \
             suspect the channel."
        }
        (_, Unit::Request) => {
            "Nothing for one of them. See which device, driver or program \
             complains at the same time (a GPU, the IOMMU); update its \
             driver and the firmware. The processor is not the first to \
             replace."
        }
        (Severity::Corrected, _) => {
            "Nothing for one of them. If they keep coming, update firmware \
             and microcode, then replace the part."
        }
        (Severity::Srar, Unit::Memory) if decoded.place.channel.is_none() => {
            "Drain the node: a program was ended. Replace the DIMM that the \
             memory errors beside this one name; without any, reboot it cold \
             and watch."
        }
        (_, Unit::Memory) => {
            "Drain the node. Reboot it cold, so that the firmware can repair \
             the row; replace the DIMM if it comes again."
        }
        (Severity::Deferred | Severity::Ucna | Severity::Srao, _) => {
            "Drain the node when convenient: data is lost, though nothing \
             has used it. Look for the memory error behind it."
        }
        (Severity::Srar, _) => {
            "Drain the node: a program was ended. If a memory error stands \
             beside this one, that is the cause; else suspect this processor."
        }
        (_, Unit::Io) => {
            "Drain the node. Look for PCIe errors of the port and of what is \
             behind it; reseat or replace that device first."
        }
        (_, Unit::Timer) => {
            "Drain the node. A core got no answer: update firmware, look for \
             PCIe and memory errors before it, then suspect the processor."
        }
        (_, Unit::Interconnect) => {
            "Drain the node. Reseat the processors, update firmware; if it \
             follows the socket, replace the board, else the processor."
        }
        _ => {
            "Drain the node. Update firmware and microcode, reseat the \
             processor; replace it if it comes again."
        }
    }
}
