//! Errors of PCI Express links, reported by root ports.

use crate::beside::correct_a_link_error;
use crate::guest::{AMD, Guest};

/// The device behind the first root port, and that port.
const CARD: &str = "pci/0000:01:00.0";
const PORT: &str = "pci/0000:00:02.0";

#[test]
fn errors_of_pcie_links_are_seen_and_a_dead_port_is_well_after_a_boot() {
    let Some(mut guest) = Guest::boot("pcie", AMD, &[]) else {
        return;
    };
    guest.start_agent();
    correct_a_link_error(&mut guest);
    guest.await_true("a corrected error is tolerated, once", |guest| {
        let fault = guest.fault("pcie-corrected-counted", CARD);
        fault.is_some_and(|f| f["count"] == 1 && f["state"] == "tolerated")
    });
    // A completion that came too late. The card's driver can't recover, so
    // that is the fault; three in a day, which lie five seconds apart, would be
    // tolerated, and what is more is explained by it.
    guest.monitor("pcie_aer_inject_error virtio0 COMP_TIME");
    guest.await_opened("pcie-recovery-failed", PORT);
    for _ in 0..3 {
        guest.run("sleep 6");
        guest.monitor("pcie_aer_inject_error virtio0 COMP_TIME");
    }
    guest.await_explained("pcie-nonfatal-error", CARD);

    // Last, because the port is dead after it.
    guest.monitor("pcie_aer_inject_error virtio0 SDN");
    guest.await_explained("pcie-fatal-error", CARD);

    guest.reboot();
    guest.start_agent();
    guest.await_cleared("pcie-recovery-failed", PORT, "rebooted");
    guest.await_true("nothing is left", |guest| guest.open_faults().is_empty());
}
