//! Drives that are pulled, and others that take their place.

use crate::guest::{Guest, INTEL};

#[test]
fn a_pulled_drive_is_missing_until_another_takes_its_place() {
    let spare = "driver=null-co,read-zeroes=on,size=67108864,if=none,id=flash2";
    let Some(mut guest) = Guest::boot("census", INTEL, &["-drive", spare])
    else {
        return;
    };
    guest.start_agent();
    guest.await_true("the census has the drive", |guest| {
        guest.ask("faultline parts").1.contains("LAB-NVME-1")
    });
    // Nothing is printed: only the census can see it. It is told of two
    // minutes later, for drives vanish for a moment when they are reset.
    guest.monitor("device_del nvme1");
    let missing = guest.await_opened_on("disk-missing", "LAB-NVME-1");
    let part = missing["part"].as_str().unwrap().to_owned();
    let fault = guest.fault("disk-missing", &part).unwrap();
    assert_eq!(fault["serial"], "LAB-NVME-1", "{fault}");
    assert!(fault["place"].is_string(), "{fault}");

    guest.monitor(
        "device_add nvme,id=nvme2,drive=flash2,serial=LAB-NVME-2,bus=port1",
    );
    guest.await_cleared("disk-missing", &part, "replaced");
    let parts = guest.run("faultline parts");
    assert!(parts.contains("LAB-NVME-2"), "{parts}");
    assert!(!parts.contains("LAB-NVME-1"), "{parts}");
    assert_eq!(guest.open_faults(), [""; 0]);
}
