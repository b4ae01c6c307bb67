//! Memory modules: numbers, drivers, ranks, and the places of machine checks.

use super::*;

#[test]
fn a_number_that_became_a_placeholder_leaves_open_which_module_it_is() {
    let mut server = Server::large();
    let before = first(&server);
    let failed = about(&before, "dimm/P1-DIMMA1");
    server.dimms[0].serial = "00000000".into();
    for at in ["one", "two"] {
        let after = census(&server, &before, at);
        let owner = after.get(&failed.owner).unwrap();
        let expected = match at {
            "one" => Presence::Present,
            _ => Presence::Unknown,
        };
        assert_eq!(owner.presence, expected, "boot {at}");
        assert!(!after.is_replaced(&failed), "boot {at}");
        assert_eq!(after.count("dimm"), 16, "boot {at}");
        let gone = |p: &&Part| p.presence == Presence::Gone;
        assert_eq!(after.parts().filter(gone).count(), 0, "boot {at}");
    }
    // A module of another model is another.
    let mut server = Server::large();
    server.dimms.remove(0);
    let after = census(&server, &before, "two");
    let owner = after.get(&failed.owner).unwrap();
    assert_eq!(owner.presence, Presence::Gone);
}

#[test]
fn modules_are_not_missing_when_their_driver_is_unloaded() {
    let dir = tempfile::tempdir().unwrap();
    Server::large().write(dir.path());
    // Where there are no tables, they are known from EDAC alone.
    std::fs::remove_dir_all(dir.path().join("sys/firmware")).unwrap();
    let before = Census::default().after(&boot("one"), read(dir.path()));
    assert_eq!(before.count("dimm"), 16);
    let edac = dir.path().join("sys/devices/system/edac");
    std::fs::rename(&edac, dir.path().join("away")).unwrap();
    for at in ["one", "two"] {
        let after = before.after(&boot(at), read(dir.path()));
        let gone = |p: &&Part| p.presence == Presence::Gone;
        assert_eq!(after.parts().filter(gone).count(), 0, "boot {at}");
        let unknown = |p: &&Part| p.presence == Presence::Unknown;
        assert_eq!(after.parts().filter(unknown).count(), 16, "boot {at}");
    }
    std::fs::rename(dir.path().join("away"), &edac).unwrap();
    let after = before.after(&boot("one"), read(dir.path()));
    assert_eq!(after.count("dimm"), 16);
}

/// AMD's memory controller: four rows of two channels, as ranks.
fn ranks(root: &Path) {
    let dir = root.join("sys/devices/system/edac/mc/mc0");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("mc_name"), "F19h_M10h\n").unwrap();
    for rank in 0..8 {
        let (row, channel) = (rank / 2, rank % 2);
        let dir = dir.join(format!("rank{rank}"));
        std::fs::create_dir(&dir).unwrap();
        let text = |file: &str, text: String| {
            std::fs::write(dir.join(file), text).unwrap();
        };
        text("dimm_label", format!("mc#0csrow#{row}channel#{channel}\n"));
        text("dimm_location", format!("csrow {row} channel {channel} \n"));
        text("size", "16384\n".into());
        let errors = if rank % 2 == 0 && row < 2 { 15 } else { 0 };
        text("dimm_ce_count", format!("{errors}\n"));
        text("dimm_ue_count", "0\n".into());
    }
}

#[test]
fn two_ranks_are_one_module_by_any_of_their_labels() {
    let dir = tempfile::tempdir().unwrap();
    ranks(dir.path());
    let census = Census::default().after(&boot("one"), read(dir.path()));
    assert_eq!(census.count("dimm"), 4);
    let first = about(&census, "dimm/mc#0csrow#0channel#0");
    assert_eq!(first, about(&census, "dimm/mc#0csrow#1channel#0"));
    assert_eq!(first.name.as_str(), "dimm/mc0-channel0-slot0");
    assert_eq!(first.place.as_deref(), Some("mc0 channel 0 slot 0"));
    assert_eq!(first.model.as_deref(), Some("32768 MiB"));
    let second = about(&census, "dimm/mc#0csrow#2channel#0");
    assert_eq!(second.name.as_str(), "dimm/mc0-channel0-slot1");
    // As machine checks call them, where sockets and controllers agree.
    let topology = dir.path().join("sys/devices/system/cpu/cpu0/topology");
    std::fs::create_dir_all(&topology).unwrap();
    std::fs::write(topology.join("physical_package_id"), "0\n").unwrap();
    let census = Census::default().after(&boot("one"), read(dir.path()));
    assert_eq!(
        about(&census, "dimm/socket0-umc0-slot1"),
        about(&census, "dimm/mc#0csrow#3channel#0")
    );
    // Their errors are told with the channel that they share.
    use faultline::sources::{counting, edac};
    let tree = Tree::new(dir.path(), Progress::default());
    let look = edac::look(&tree, &counting::Known::default()).unwrap();
    let told = format!("{look:?}");
    assert_eq!(told.matches("mc0-channel0").count(), 2, "{told}");
}

#[test]
fn a_processor_that_firmware_names_by_its_apic_id_is_the_cpu() {
    let dir = tempfile::tempdir().unwrap();
    Server::large().write(dir.path());
    let census = Census::default().after(&boot("one"), read(dir.path()));
    let found = about(&census, "cpu/apic65");
    assert_eq!(found.name.as_str(), "cpu/cpu9");
    assert_eq!(found.place.as_deref(), Some("CPU2"));
    assert_eq!(census.resolve(&PartId::new("cpu/apic9")), None);
    assert_eq!(census.resolve(&PartId::new("cpu/apicx")), None);
}

#[test]
fn a_machine_checks_place_is_the_module_that_edac_knows_there() {
    let dir = tempfile::tempdir().unwrap();
    Server::large().write(dir.path());
    let mc = dir.path().join("sys/devices/system/edac/mc/mc1");
    std::fs::write(mc.join("mc_name"), "Intel_10nm Socket#1 IMC#0\n").unwrap();
    for (n, channel, slot) in [(0, 0, 0), (1, 0, 1), (2, 1, 0)] {
        let location = format!("channel {channel} slot {slot} \n");
        let file = mc.join(format!("dimm{n}/dimm_location"));
        std::fs::write(file, location).unwrap();
    }
    let census = Census::default().after(&boot("one"), read(dir.path()));
    for (raw, name) in [
        ("dimm/socket1-mc0-ch0-slot1", "dimm/P2-DIMMB1"),
        ("dimm/socket1-mc0-ch1-slot0", "dimm/P2-DIMMC1"),
        // The only one in its channel; by the CPU, which is in that socket.
        ("channel/socket1-mc0-ch1", "dimm/P2-DIMMC1"),
        ("channel/cpu9-mc0-ch1", "dimm/P2-DIMMC1"),
        ("dimm/cpu9-mc0-ch0-slot1", "dimm/P2-DIMMB1"),
    ] {
        let found = about(&census, raw);
        assert_eq!(found.name.as_str(), name, "{raw}");
        assert!(found.serial.is_some(), "{raw}");
    }
    // Of two in a channel it is neither, but it is at that socket.
    for raw in ["channel/socket1-mc0-ch0", "channel/cpu12-mc0-ch0"] {
        let found = census.resolve(&PartId::new(raw)).unwrap();
        assert_eq!(found.identity.as_str(), "channel/socket1-mc0-ch0");
        assert_eq!(found.about.place.as_deref(), Some("CPU2"));
        assert_eq!((found.about.serial, found.about.model), (None, None));
        assert_eq!(found.about.within[0].as_str(), "cpu/socket1");
    }
    assert!(census.resolve(&PartId::new("channel/cpu99-umc1")).is_none());
    assert!(census.resolve(&PartId::new("memory/system")).is_none());
}
