//! Parts of a large server: names, places, numbers, and the census over time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod largest;
mod modules;
#[path = "../server_tree/mod.rs"]
mod server_tree;

use std::path::Path;

use faultline::parts::census::{Census, Reading};
use faultline::parts::host::{Labels, look};
use faultline::parts::ids::PartId;
use faultline::parts::part::{Attachment, Part, Presence};
use faultline::time::BootId;
use faultline::tree::{Progress, Tree};
use server_tree::Server;

fn boot(name: &str) -> BootId {
    BootId(name.into())
}

fn read(root: &Path) -> Reading {
    look(&Tree::new(root, Progress::default()), &Labels::new())
}

/// The census of a server, after `before`.
fn census(server: &Server, before: &Census, at: &str) -> Census {
    let dir = tempfile::tempdir().unwrap();
    server.write(dir.path());
    before.after(&boot(at), read(dir.path()))
}

fn first(server: &Server) -> Census {
    census(server, &Census::default(), "one")
}

fn part<'a>(census: &'a Census, name: &str) -> &'a Part {
    let found = census.get(&PartId::new(name));
    found.unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn every_name_of_a_drive_is_the_drive() {
    let census = first(&Server::large());
    let of = |name: &str| {
        let found = census.resolve(&PartId::new(name));
        let found = found.unwrap_or_else(|| panic!("nothing is {name}"));
        (found.identity.to_string(), found.about.name.to_string())
    };
    let drive = of("disk/nvme1");
    assert_eq!(drive.1, "disk/nvme1");
    for name in ["disk/nvme1n1", "disk/nvme1n1p1", "disk/sn:S64GNE0R711"] {
        assert_eq!(of(name), drive, "{name}");
    }
    // The bus address is a name, too, and shown as the kernel wrote it.
    let (identity, shown) = of("pci/0000:60:00.0");
    assert_eq!((identity, &*shown), (drive.0, "pci/0000:60:00.0"));
    let disk = of("disk/sdc");
    for name in ["disk/0:0:2:0", "disk/sdc1"] {
        assert_eq!(of(name), disk, "{name}");
    }
    let disk = of("disk/sdg");
    for name in ["disk/4:0:0:0", "disk/ata3.00", "disk/ata3", "disk/sdg2"] {
        assert_eq!(of(name), disk, "{name}");
    }
}

#[test]
fn two_paths_to_a_volume_and_the_map_over_them_are_one_remote_part() {
    let census = first(&Server::large());
    let volume = part(&census, "disk/sdy");
    assert_eq!(volume.attachment, Attachment::Remote);
    assert!(!volume.is_counted());
    for name in ["disk/sdz", "disk/dm-0", "disk/mapper/mpatha"] {
        assert_eq!(part(&census, name), volume, "{name}");
    }
}

#[test]
fn places_are_slots_bays_ports_and_labels() {
    let census = first(&Server::large());
    for (name, place) in [
        ("disk/nvme0", "slot 1, 0000:5f:00.0"),
        ("disk/sdb", "enclosure 0x500304801f1e2a3f bay 1"),
        ("disk/sdh", "0000:00:17.0 SATA port 2"),
        ("dimm/P2-DIMMC1", "P2-DIMMC1 (P1_Node0_Channel2_Dimm0)"),
        ("cpu/socket1", "CPU2"),
        ("psu/2", "PSU2"),
        ("nic/ens7f1np1", "slot 7, 0000:3b:00.1"),
    ] {
        let found = part(&census, name).place.as_deref();
        assert_eq!(found, Some(place), "{name}");
    }
}

#[test]
fn a_memory_error_finds_its_slot_by_any_of_its_labels() {
    let census = first(&Server::large());
    let label = |text: &str| {
        let found = census.resolve(&PartId::new(&format!("dimm/{text}")));
        found.map(|found| found.about.serial.unwrap())
    };
    let serial = Some("36A1B24A".to_owned());
    assert_eq!(label("P2-DIMMC1"), serial);
    assert_eq!(label("P1_Node0_Channel2_Dimm0 P2-DIMMC1"), serial);
    assert_eq!(label("p2_dimmc1"), serial);
    assert_eq!(label("CPU_SrcID#1_MC#0_Chan#2_DIMM#0"), None, "no guess");
    // What the board's maker does not tell, an SRE can.
    let dir = tempfile::tempdir().unwrap();
    Server::large().write(dir.path());
    let path = "sys/devices/system/edac/mc/mc1/dimm2/dimm_label";
    let driver = "CPU_SrcID#1_MC#0_Chan#2_DIMM#0";
    std::fs::write(dir.path().join(path), driver).unwrap();
    let labels = [(driver.to_owned(), "P2-DIMMC1".to_owned())].into();
    let tree = Tree::new(dir.path(), Progress::default());
    let told = look(&tree, &labels);
    let census = Census::default().after(&boot("one"), told);
    let found = census.resolve(&PartId::new(&format!("dimm/{driver}")));
    assert_eq!(found.unwrap().about.serial, serial);
}

#[test]
fn a_server_has_what_was_paid_for() {
    let census = first(&Server::large());
    for (what, count) in [
        ("dimm", 16),
        ("cpu", 2),
        ("psu", 2),
        ("nvme", 4),
        ("disk", 12),
        ("nic", 2),
        ("gpu", 2),
        ("hba", 2),
    ] {
        assert_eq!(census.count(what), count, "{what}");
    }
    let lent = part(&census, "gpu/0000:d8:00.0");
    assert_eq!(lent.attachment, Attachment::Borrowed);
    let function = part(&census, "nic/ens7f0v0");
    assert_eq!(function.attachment, Attachment::Virtual);
}

#[test]
fn a_logical_cpu_sits_in_its_socket() {
    let census = first(&Server::large());
    let found = census.resolve(&PartId::new("cpu/cpu12")).unwrap();
    assert_eq!(found.identity.as_str(), "cpu/cpu12");
    assert_eq!(found.about.place.as_deref(), Some("CPU2"));
    assert_eq!(found.about.within[0].as_str(), "cpu/socket1");
    assert!(census.resolve(&PartId::new("cpu/cpu99")).is_none());
    // The second socket's label is CPU2; that is no logical CPU's name.
    let found = census.resolve(&PartId::new("cpu/cpu2")).unwrap();
    assert_eq!(found.about.within[0].as_str(), "cpu/socket0");
}

/// What is known of the part with this name, as a fault would keep it.
fn about(census: &Census, name: &str) -> faultline::parts::part::About {
    census.resolve(&PartId::new(name)).unwrap().about
}

#[test]
fn another_serial_number_in_the_place_is_a_replacement() {
    let old = Server::large();
    for name in
        ["dimm/P1-DIMMB1", "disk/nvme2", "disk/sdd", "disk/sdg", "psu/1"]
    {
        let before = first(&old);
        let failed = about(&before, name);
        assert!(!before.is_replaced(&failed), "{name}");
        let mut new = old.clone();
        match name {
            "dimm/P1-DIMMB1" => new.dimms[1].serial = "4F00AA17".into(),
            "disk/nvme2" => new.nvme[2].serial = "S64GNE0W99999".into(),
            "disk/sdd" => new.sas[3].serial = "ZC1NEW0000".into(),
            "disk/sdg" => new.sata[0].serial = "PHYF777240AB".into(),
            _ => new.supplies[0].serial = "P2K4NEW".into(),
        }
        for at in ["one", "two"] {
            let after = census(&new, &before, at);
            assert!(after.is_replaced(&failed), "{name} in boot {at}");
            let gone = after.get(&failed.owner);
            assert!(gone.is_none(), "another has the place of {name}");
            let parts = after.parts();
            let counted = parts.filter(|p| p.presence == Presence::Gone);
            assert_eq!(counted.count(), 0, "{name}");
        }
    }
}

#[test]
fn swapped_disks_are_found_in_their_new_places() {
    let old = Server::large();
    let before = first(&old);
    let failed = about(&before, "disk/sdb");
    let mut new = old.clone();
    new.sas.swap(1, 4);
    (new.sas[1].place, new.sas[4].place) = ("1".into(), "4".into());
    let after = census(&new, &before, "two");
    assert!(!after.is_replaced(&failed));
    let found = after.get(&failed.owner).unwrap();
    assert_eq!(found.presence, Presence::Present);
    assert_eq!(found.name.as_str(), "disk/sde");
    assert!(found.place.as_deref().unwrap().ends_with("bay 4"));
}

#[test]
fn what_is_gone_is_remembered_and_its_name_is_not_another_disks() {
    let old = Server::large();
    let before = first(&old);
    let failed = about(&before, "disk/nvme0");
    let mut new = old.clone();
    new.nvme.remove(0); // the others are nvme0 to nvme2 now
    let after = census(&new, &before, "two");
    let gone = after.get(&failed.owner).unwrap();
    assert_eq!(gone.presence, Presence::Gone);
    assert_eq!(after.shown(gone), failed.owner);
    let now = about(&after, "disk/nvme0");
    assert_eq!(now.serial.as_deref(), Some("S64GNE0R711"));
    assert!(!after.is_replaced(&failed), "an empty slot proves nothing");
    // A person says that it was taken out.
    let mut after = after;
    assert!(!after.forget(&now.owner), "what is there is not forgotten");
    assert!(after.forget(&failed.owner));
    assert!(after.get(&failed.owner).is_none());
}

#[test]
fn a_dead_drive_is_still_known_by_its_names_in_the_same_boot() {
    let before = first(&Server::large());
    let mut new = Server::large();
    new.nvme.remove(3);
    let after = census(&new, &before, "one");
    for name in ["disk/nvme3n1", "pci/0000:62:00.0"] {
        let found = about(&after, name);
        assert_eq!(found.serial.as_deref(), Some("S64GNE0R731"), "{name}");
        assert_eq!(found.presence, Presence::Gone);
    }
}

#[test]
fn a_drive_without_its_driver_is_gone_and_a_lent_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    Server::large().write(dir.path());
    let before = Census::default().after(&boot("one"), read(dir.path()));
    let device =
        dir.path().join("sys/devices/pci0000:5d/0000:5d:01.0/0000:5f:00.0");
    std::fs::remove_dir_all(device.join("nvme")).unwrap();
    for entry in ["nvme/nvme0", "block/nvme0n1", "block/nvme0n1p1"] {
        let link = dir.path().join("sys/class").join(entry);
        std::fs::remove_file(link).unwrap();
    }
    std::fs::remove_file(device.join("driver")).unwrap();
    let after = before.after(&boot("one"), read(dir.path()));
    let drive = part(&after, "disk/nvme0");
    assert_eq!(drive.presence, Presence::Gone, "the kernel gave up on it");
    assert_eq!(drive.serial.as_deref(), Some("S64GNE0R701"));
    // The address is still that of the drive.
    assert_eq!(part(&after, "pci/0000:5f:00.0"), drive);
    let driver = dir.path().join("sys/bus/pci/drivers/vfio-pci");
    std::os::unix::fs::symlink(driver, device.join("driver")).unwrap();
    let after = after.after(&boot("one"), read(dir.path()));
    let drive = part(&after, "disk/nvme0");
    assert_eq!(drive.presence, Presence::Present);
    assert_eq!(drive.attachment, Attachment::Borrowed);
}

#[test]
fn an_interface_in_another_namespace_is_lent_and_not_missing() {
    let before = first(&Server::large());
    let mut new = Server::large();
    new.second_port = false;
    for at in ["one", "two"] {
        let after = census(&new, &before, at);
        let port = part(&after, "nic/wwn:0c:42:a1:5e:10:01");
        assert_eq!(port.attachment, Attachment::Borrowed);
        assert_eq!(port.presence, Presence::Present);
        assert_eq!(after.count("nic"), 2);
    }
}

#[test]
fn a_table_that_ends_early_leaves_its_parts_unknown_not_missing() {
    let before = first(&Server::large());
    let mut new = Server::large();
    new.table_complete = false;
    new.dimms.truncate(3);
    let after = census(&new, &before, "two");
    let unknown = part(&after, "dimm/P2-DIMMA1");
    assert_eq!(unknown.presence, Presence::Unknown);
    let failed = about(&before, "dimm/P2-DIMMA1");
    assert!(!after.is_replaced(&failed));
}

#[test]
fn a_part_without_a_number_goes_with_the_board_that_carries_it() {
    let mut server = Server::large();
    server.dimms[5].serial = "NO DIMM".into();
    let before = first(&server);
    let failed = about(&before, "dimm/P1-DIMMF1");
    assert_eq!(failed.number, None);
    assert!(!census(&server, &before, "two").is_replaced(&failed));
    server.board = "ZM99NEW0001".into();
    assert!(census(&server, &before, "two").is_replaced(&failed));
}

#[test]
fn numbers_that_several_parts_have_are_none() {
    let mut server = Server::large();
    for dimm in &mut server.dimms {
        dimm.serial = "12ABCDEF".into();
    }
    let census = first(&server);
    let dimm = part(&census, "dimm/P1-DIMMA1");
    assert_eq!(dimm.serial, None);
    assert_eq!(dimm.identity().as_str(), "dimm/P1-DIMMA1");
    assert_eq!(census.count("dimm"), 16);
}

#[test]
fn the_census_survives_being_written_down_and_a_restart() {
    let before = first(&Server::large());
    let text = serde_json::to_string(&before).unwrap();
    assert!(text.len() < 64 * 1024, "{} bytes", text.len());
    let stored: Census = serde_json::from_str(&text).unwrap();
    let same = stored.clone().restored(&boot("one"));
    let drive = about(&same, "disk/nvme1n1");
    assert_eq!(drive.presence, Presence::Unknown, "nobody has looked yet");
    let other = stored.restored(&boot("two"));
    assert!(other.resolve(&PartId::new("disk/nvme1n1")).is_none());
    assert!(other.resolve(&PartId::new("dimm/P1-DIMMA1")).is_some());
    assert!(other.resolve(&PartId::new("pci/0000:60:00.0")).is_some());
    let after = census(&Server::large(), &other, "two");
    assert_eq!(after.parts().count(), before.parts().count());
    let unknown = |p: &&Part| p.presence != Presence::Present;
    assert_eq!(after.parts().filter(unknown).count(), 0);
}

/// A linear congruential generator (Knuth, MMIX): damage that can be made
/// again.
fn damage(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

fn files(dir: &Path, all: &mut Vec<std::path::PathBuf>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        match path.symlink_metadata().unwrap().is_dir() {
            true => files(&path, all),
            false => all.push(path),
        }
    }
}

#[test]
fn a_tree_with_half_its_files_missing_or_garbage_harms_nothing() {
    let whole = first(&Server::large());
    for mut seed in 1..=8_u64 {
        let dir = tempfile::tempdir().unwrap();
        Server::large().write(dir.path());
        let mut all = Vec::new();
        files(dir.path(), &mut all);
        for path in all {
            match damage(&mut seed) % 4 {
                0 => std::fs::remove_file(&path).unwrap(),
                1 => {
                    std::fs::remove_file(&path).unwrap();
                    let junk: Vec<u8> =
                        (0..97).map(|_| damage(&mut seed) as u8).collect();
                    std::fs::write(&path, junk).unwrap();
                }
                _ => {}
            }
        }
        let census = whole.after(&boot("two"), read(dir.path()));
        for part in census.parts() {
            let text = format!("{part:?}");
            assert!(text.len() < 8192);
            assert!(!part.name.as_str().contains(char::is_control));
        }
        // What can still be told is told of the right part.
        let drive = about(&census, "disk/sn:S64GNE0R711");
        assert_eq!(drive.number.as_deref(), Some("S64GNE0R711"));
    }
}

/// Every file and link of a tree, with what it holds.
fn contents(root: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut all = Vec::new();
    for dir in ["sys", "proc"] {
        files(&root.join(dir), &mut all);
    }
    let read = |path: std::path::PathBuf| {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let bytes = match std::fs::read_link(&path) {
            Ok(target) => target.display().to_string().into_bytes(),
            Err(_) => std::fs::read(&path).unwrap(),
        };
        (name, bytes)
    };
    all.into_iter().map(read).collect()
}

#[test]
fn the_large_server_among_the_fixtures_is_this_one() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/hosts/large-server");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        Server::large().write(&fixture);
    }
    let dir = tempfile::tempdir().unwrap();
    Server::large().write(dir.path());
    assert!(
        contents(dir.path()) == contents(&fixture),
        "fixtures/hosts/large-server is another server; write it anew with \
         UPDATE_DOCS=1 cargo test --test parts"
    );
}

#[test]
fn a_disk_keeps_its_bay_while_the_enclosure_cannot_be_asked() {
    let dir = tempfile::tempdir().unwrap();
    Server::large().write(dir.path());
    let before = Census::default().after(&boot("one"), read(dir.path()));
    let place = part(&before, "disk/sdb").place.clone();
    std::fs::remove_dir_all(dir.path().join("sys/class/enclosure")).unwrap();
    std::fs::remove_dir_all(dir.path().join("sys/firmware")).unwrap();
    let after = before.after(&boot("one"), read(dir.path()));
    assert_eq!(part(&after, "disk/sdb").place, place);
    // Nor do the firmware's tables change while the machine runs.
    let module = part(&after, "dimm/P1-DIMMA1");
    assert_eq!(module.presence, Presence::Unknown);
}

#[test]
fn a_number_that_refuses_to_be_read_makes_no_part_missing() {
    use faultline::parts::part::Realm;
    let dir = tempfile::tempdir().unwrap();
    Server::large().write(dir.path());
    let unread = || {
        let mut reading = read(dir.path());
        let drive = reading.parts.iter_mut();
        let mut drive = drive.filter(|p| p.name.as_str() == "disk/nvme1");
        drive.next().unwrap().serial = None;
        reading.unread.insert(Realm::Nvme, "serial: error 5".into());
        reading
    };
    let one = boot("one");
    let gone = |census: &Census| {
        let parts = census.parts();
        parts.filter(|p| p.presence != Presence::Present).count()
    };
    let whole = Census::default().after(&one, read(dir.path()));
    let blind = whole.after(&one, unread());
    assert_eq!(
        part(&blind, "disk/nvme1").serial.as_deref(),
        Some("S64GNE0R711")
    );
    assert_eq!(gone(&blind), 0);
    // The number that was learned late is that of the part that was there.
    let blind = Census::default().after(&one, unread());
    assert_eq!(part(&blind, "disk/nvme1").serial, None);
    let whole = blind.after(&one, read(dir.path()));
    assert_eq!(
        part(&whole, "disk/nvme1").serial.as_deref(),
        Some("S64GNE0R711")
    );
    assert_eq!(gone(&whole), 0);
}
