//! A guest with a BMC behind its `/dev/ipmi0`: QEMU's interface to a system
//! leads to the simulated one that the tests of `tests/ipmi` use as well.

use serde_json::Value;

use crate::bmc::{Bmc, have};
use crate::guest::{Guest, INTEL};
use crate::not_run::not_run;

/// Sensors of the machine.
const FAN3: u8 = 0x12;
const P12V: u8 = 0x20;
const PSU2: u8 = 0x32;
const MEMORY: u8 = 0x48;

#[test]
fn what_a_bmc_tells_over_the_kernels_device_is_seen_and_so_is_its_silence() {
    let Some(bmc) = Bmc::start("lab: management", 0) else { return };
    // Without `reconnect` QEMU ends when the BMC does.
    let socket = format!(
        "socket,id=c0,host=127.0.0.1,port={},reconnect=1",
        bmc.system_port
    );
    let arguments = [
        "-chardev",
        socket.as_str(),
        "-device",
        "ipmi-bmc-extern,id=bmc0,chardev=c0",
        "-device",
        "isa-ipmi-kcs,bmc=bmc0",
    ];
    let Some(mut guest) = Guest::boot("management", INTEL, &arguments) else {
        return;
    };
    guest.run("modprobe ipmi_si && modprobe ipmi_devintf");
    guest.await_true("the kernel has found the BMC", |guest| {
        guest.ask("test -c /dev/ipmi0").0 == 0
    });
    values_are_those_of_the_referee(&bmc, &mut guest);
    guest.start_agent();
    let said = guest.ask("faultline doctor").1;
    assert!(said.contains("bmc0: firmware"), "{said}");

    bmc.value(FAN3, 0);
    bmc.states(PSU2, &[(3, true)]);
    bmc.value(P12V, 178);
    bmc.states(MEMORY, &[(1, true)]);
    guest.await_opened("fan-failed", "fan/3");
    guest.await_opened("psu-lost", "psu/2");
    guest.await_opened("voltage-critical", "board/P12V");
    guest.await_opened("memory-state-uncorrected", "memory/Memory");

    bmc.hang();
    guest.await_opened("bmc-unreachable", "bmc/bmc0");
    for (pattern, part) in [("fan-failed", "fan/3"), ("psu-lost", "psu/2")] {
        let fault = guest.fault(pattern, part).unwrap();
        assert_eq!(fault["state"], "active", "{fault}");
    }
    bmc.go_on();
    guest.await_cleared("bmc-unreachable", "bmc/bmc0", "recovered");

    bmc.value(FAN3, 84);
    bmc.states(PSU2, &[(3, false)]);
    bmc.value(P12V, 203);
    bmc.states(MEMORY, &[(1, false)]);
    guest.await_cleared("fan-failed", "fan/3", "recovered");
    guest.await_cleared("psu-lost", "psu/2", "recovered");
    guest.await_cleared("voltage-critical", "board/P12V", "recovered");
    let memory = ("memory-state-uncorrected", "memory/Memory");
    guest.await_cleared(memory.0, memory.1, "recovered");
}

/// The referee asks the same BMC over the network.
fn values_are_those_of_the_referee(bmc: &Bmc, guest: &mut Guest) {
    let (_, text) = guest.ask("faultline sensors --json");
    let told: Value = serde_json::from_str(&text).unwrap();
    let ours = told["bmcs"][0]["sensors"].as_array().unwrap();
    assert_eq!(ours.len(), 42, "{text}");
    if !have("ipmitool") {
        return not_run("lab: management: referee", "no ipmitool");
    }
    let said = bmc.ipmitool(&["sensor"]);
    let mut compared = 0;
    for line in said.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Ok(theirs) = cells[1].parse::<f64>() else { continue };
        let same = ours.iter().any(|sensor| {
            sensor["name"] == cells[0]
                && sensor["value"]
                    .as_f64()
                    .is_some_and(|value| (value - theirs).abs() < 0.001)
        });
        assert!(same, "{line}: {text}");
        compared += 1;
    }
    assert!(compared > 20, "{said}");
}
