//! Errors of PCI Express links, reported by root ports.

use crate::beside::correct_a_link_error;
use crate::guest::{AMD, Guest};

/// The device behind the first root port, and that port.
const CARD: &str = "pci/0000:01:00.0";
const PORT: &str = "pci/0000:00:02.0";

#[test]
#[ignore = "not brought up to the names of the census; ./test says so"]
fn errors_of_pcie_links_are_seen_and_a_dead_port_is_well_after_a_boot() {
    let Some(mut guest) = Guest::boot("pcie", AMD, &[]) else {
        return;
    };
    guest.start_agent();
    correct_a_link_error(&mut guest);
    guest.await_true("a corrected error is tolerated", |guest| {
        let fault = guest.fault("pcie-corrected-error", CARD);
        fault.is_some_and(|fault| fault["state"] == "tolerated")
    });
    // A completion that came too late; three in a day are tolerated, and
    // occasions lie ten seconds apart.
    for _ in 0..4 {
        guest.monitor("pcie_aer_inject_error virtio0 COMP_TIME");
        guest.run("sleep 11");
    }
    guest.await_opened("pcie-nonfatal-error", CARD);
    guest.await_cleared("pcie-nonfatal-error", CARD, "quiet");

    // Last, because the port is dead after it.
    guest.monitor("pcie_aer_inject_error virtio0 SDN");
    guest.await_opened("pcie-fatal-error", CARD);
    guest.monitor("pcie_aer_inject_error port0 SDN");
    guest.await_opened("pcie-recovery-failed", PORT);

    guest.reboot();
    guest.start_agent();
    guest.await_cleared("pcie-fatal-error", CARD, "rebooted");
    guest.await_cleared("pcie-recovery-failed", PORT, "rebooted");
    assert_eq!(guest.open_faults(), [""; 0]);
}
