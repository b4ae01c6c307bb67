//! A server of 32 modules and 24 drives.

use super::*;

/// A source's way of looking at a tree.
type Look = fn(&Tree);

/// What one look of each source costs on the largest server there is among
/// the trees; `docs/performance.md` has the figures of a release build.
#[test]
fn a_look_at_a_server_of_32_modules_and_24_drives_is_cheap() {
    use faultline::sources::{aer, counting, disk, edac, host, pcie, raid};
    let dir = tempfile::tempdir().unwrap();
    Server::largest().write_with_health(dir.path());
    let looks: [(&str, Look); 7] = [
        ("edac", |tree| {
            let look = edac::look(tree, &counting::Known::default());
            assert_eq!(look.unwrap().devices, 4);
        }),
        ("aer", |tree| {
            let look = aer::look(tree, &counting::Known::default());
            assert_eq!(look.unwrap().devices, 48);
        }),
        ("pcie", |tree| assert!(pcie::look(tree).unwrap().len() >= 24)),
        ("raid", |tree| assert_eq!(raid::look(tree).unwrap().len(), 3)),
        ("host", |tree| assert!(host::look(tree).unwrap().len() > 16)),
        ("disk", |tree| {
            let disks = disk::disks(tree).unwrap();
            assert_eq!(disks.len(), 24 + 8);
            for own in &disks {
                assert_eq!(disk::read(tree, own).refused, None);
            }
        }),
        ("inventory", |tree| {
            let reading = look(tree, &Labels::new());
            assert!(reading.parts.len() > 60, "{}", reading.parts.len());
        }),
    ];
    for (source, once) in looks {
        let tree = Tree::new(dir.path(), Progress::default());
        once(&tree);
        const TURNS: u32 = 20;
        let began = cpu_time();
        (0..TURNS).for_each(|_| once(&tree));
        let each = (cpu_time() - began) / TURNS;
        eprintln!("{source}: {} us", each.as_micros());
        // A debug build on a busy machine takes ten times as long.
        assert!(each.as_millis() < 500, "{source}: {each:?}");
    }
}

/// The processor time of this thread.
fn cpu_time() -> std::time::Duration {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

#[test]
fn in_a_server_of_32_modules_and_24_drives_each_has_its_place_and_number() {
    let server = Server::largest();
    let before = first(&server);
    for (what, count) in [("dimm", 32), ("cpu", 2), ("psu", 2), ("nvme", 24)] {
        assert_eq!(before.count(what), count, "{what}");
    }
    let mut new = server.clone();
    new.dimms[31].serial = "4F00AA17".into();
    new.nvme[23].serial = "S64GNE0W99999".into();
    let after = census(&new, &before, "one");
    for name in ["dimm/P2-DIMMH2", "disk/nvme23"] {
        let failed = about(&before, name);
        assert!(after.is_replaced(&failed), "{name}");
    }
    assert_eq!(after.parts().count(), before.parts().count());
}
