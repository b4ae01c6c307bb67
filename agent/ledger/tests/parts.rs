//! Faults and the census: identities, presence, replacement, moves.

use super::super::fault::Phase;
use super::super::testing::*;
use crate::parts::census::{Census, Reading};
use crate::parts::ids::PartId;
use crate::parts::part::{Attachment, Part, Realm};
use crate::patterns::set::{Proof, Quarantine, Severity};
use crate::signal::{Event, Truth};
use crate::time::BootId;
use std::sync::Arc;

/// A disk: its name, serial number and bay.
fn disk(name: &str, serial: &str, bay: u32) -> Part {
    let mut part = Part {
        serial: Some(serial.into()),
        model: Some("SEAGATE ST16000NM002G".into()),
        place: Some(format!("bay {bay}")),
        within: vec![PartId::new("pci/0000:18:00.0")],
        ..Part::named(PartId::new(&format!("disk/{name}")), Realm::Block)
    };
    part.alias(PartId::new(&format!("disk/0:0:{bay}:0")));
    part
}

/// The world, and the census that was taken last in it.
struct Place {
    world: World,
    census: Census,
}

impl Place {
    fn new(clear: Vec<Proof>) -> Place {
        let mut bad = pattern("bad");
        bad.clear = clear;
        bad.quarantine = Quarantine::Taint;
        bad.condition = "DiskFault".into();
        let mut world = World::new(vec![bad, pattern("other")]);
        world.health("inventory", true);
        Place { world, census: Census::default() }
    }

    fn look(&mut self, parts: Vec<Part>) {
        let boot = BootId(format!("boot-{}", self.world.boot));
        let reading = Reading { parts, ..Reading::default() };
        self.census = self.census.after(&boot, reading);
        let census = Event::Census(Arc::new(self.census.clone()));
        self.world.events_of("inventory", vec![census]);
    }

    fn reboot(&mut self) {
        self.world.reboot();
        self.world.health("inventory", true);
    }
}

fn two() -> Vec<Part> {
    vec![disk("sda", "ZC1A0", 0), disk("sdb", "ZC1A1", 1)]
}

#[test]
fn two_names_of_a_disk_are_one_fault_that_people_see_by_its_own() {
    let mut place = Place::new(vec![Proof::Replaced]);
    place.look(two());
    place.world.see("bad", "disk/0:0:1:0");
    place.world.see("bad", "disk/sdb1");
    let faults: Vec<_> = place.world.ledger.faults().collect();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].title(), "bad disk/sdb");
    assert_eq!(faults[0].key.part.as_str(), "disk/sn:ZC1A1");
    assert_eq!(faults[0].count, 2);
    for what in ["disk/sdb", "ZC1A1", "disk/0:0:1:0", "disk/sn:ZC1A1"] {
        let found = place.world.ledger.find(what);
        assert!(found.is_ok(), "{what}: {found:?}");
    }
}

#[test]
fn a_fault_under_a_name_is_merged_when_the_part_is_known() {
    let mut place = Place::new(vec![Proof::Replaced]);
    place.world.see("bad", "disk/0:0:1:0");
    place.world.see("bad", "disk/sdb");
    let ids: Vec<_> = place.world.ledger.faults().map(|f| f.id()).collect();
    place.look(two());
    let faults: Vec<_> = place.world.ledger.faults().collect();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].title(), "bad disk/sdb");
    assert_eq!((faults[0].count, faults[0].total), (2, 2));
    assert!(ids.contains(&faults[0].id()), "an id that people know");
    let told = place.world.told();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[2].starts_with("merged bad"), "{told:?}");
}

/// A fault on a disk that has ended by silence, and comes back under a name
/// of the next boot, before anybody knows which disk that is.
fn came_back_unknown(times: usize) -> Place {
    let mut bad = pattern("bad");
    bad.clear = vec![Proof::Quiet(time("1h"))];
    bad.probation = time("7d");
    let mut place = Place::new(vec![]);
    place.world = World::new(vec![bad]);
    place.world.health("inventory", true);
    place.look(two());
    for _ in 0..times {
        place.world.see("bad", "disk/sdb");
        place.world.pass("2h");
        place.look(two());
        place.world.pass("8d");
    }
    place.world.see("bad", "disk/sdb");
    place.world.pass("2h");
    place.reboot();
    place.world.see("bad", "disk/9:0:1:0");
    place.world.told();
    let mut moved = disk("sdb", "ZC1A1", 1);
    moved.alias(PartId::new("disk/9:0:1:0"));
    place.look(vec![disk("sda", "ZC1A0", 0), moved]);
    place
}

#[test]
fn one_that_comes_back_on_probation_under_another_name_has_come_back() {
    let mut place = came_back_unknown(0);
    let fault = place.world.fault("bad", "disk/sn:ZC1A1");
    assert_eq!(fault.relapses.len(), 1, "{fault:?}");
    assert!(fault.locked, "it was on probation");
    // Silence is no proof any more.
    place.world.pass("3d");
    let phase = place.world.phase("bad", "disk/sn:ZC1A1");
    assert_eq!(phase, Some(Phase::Active));
}

#[test]
fn relapses_before_and_after_a_new_name_are_counted_together() {
    let place = came_back_unknown(2);
    let fault = place.world.fault("bad", "disk/sn:ZC1A1");
    assert_eq!(fault.relapses.len(), 3, "{fault:?}");
    assert!(fault.locked);
}

#[test]
fn counts_under_two_names_spend_one_tolerance() {
    let mut bad = pattern("bad");
    bad.tolerate = tolerate(3, "1d");
    let mut place = Place::new(vec![]);
    place.world = World::new(vec![bad]);
    place.world.see("bad", "disk/sdb");
    place.world.see("bad", "disk/0:0:1:0");
    place.look(two());
    place.world.see("bad", "disk/sdb");
    let part = "disk/sn:ZC1A1";
    assert_eq!(place.world.phase("bad", part), Some(Phase::Tolerated));
    place.world.see("bad", "disk/0:0:1:0");
    assert_eq!(place.world.phase("bad", part), Some(Phase::Active));
}

#[test]
fn after_a_boot_a_fault_follows_its_disk_not_the_name() {
    let mut place = Place::new(vec![Proof::Replaced]);
    place.look(two());
    place.world.see("bad", "disk/sda");
    let id = place.world.ledger.faults().next().unwrap().id();
    place.reboot();
    // The kernel found them in another order.
    place.look(vec![disk("sdb", "ZC1A0", 0), disk("sda", "ZC1A1", 1)]);
    let fault = place.world.fault("bad", "disk/sn:ZC1A0");
    assert_eq!((fault.title(), fault.id()), ("bad disk/sdb".into(), id));
    place.world.see("bad", "disk/sda");
    assert_eq!(place.world.fault("bad", "disk/sn:ZC1A0").count, 1);
    assert_eq!(place.world.fault("bad", "disk/sn:ZC1A1").count, 1);
}

#[test]
fn a_name_of_an_earlier_boot_is_bound_to_no_part() {
    let mut place = Place::new(vec![Proof::Replaced]);
    place.world.see("bad", "disk/sda");
    place.reboot();
    place.look(two());
    let fault = place.world.fault("bad", "disk/sda");
    assert_eq!(fault.about, None, "who knows which disk that was");
}

#[test]
fn another_disk_in_the_bay_is_the_proof_replaced() {
    let mut place = Place::new(vec![Proof::Quiet(time("30d"))]);
    place.look(two());
    place.world.see("bad", "disk/sda");
    place.world.told();
    place.look(vec![disk("sdb", "ZC1A1", 1)]);
    let part = "disk/sn:ZC1A0";
    assert_eq!(place.world.phase("bad", part), Some(Phase::Active));
    place.look(vec![disk("sdc", "ZC1NEW", 0), disk("sdb", "ZC1A1", 1)]);
    let fault = place.world.fault("bad", part);
    assert_eq!(fault.phase, Phase::Cleared);
    assert_eq!(fault.proof.as_ref().unwrap().to_string(), "replaced");
    assert!(!fault.on_probation());
    assert_eq!(fault.title(), "bad disk/sda");
    // The new one may get the old one's name.
    place.look(vec![disk("sda", "ZC1NEW", 0), disk("sdb", "ZC1A1", 1)]);
    let fault = place.world.fault("bad", part);
    assert_eq!(fault.title(), "bad disk/sn:ZC1A0");
}

#[test]
fn swapped_disks_take_their_faults_along() {
    let mut place = Place::new(vec![Proof::Replaced]);
    place.look(two());
    place.world.see("bad", "disk/sda");
    place.world.told();
    place.look(vec![disk("sda", "ZC1A1", 0), disk("sdb", "ZC1A0", 1)]);
    let fault = place.world.fault("bad", "disk/sn:ZC1A0");
    assert_eq!(fault.phase, Phase::Active);
    assert_eq!(fault.title(), "bad disk/sdb");
    let place_now = fault.about.as_ref().unwrap().place.as_deref();
    assert_eq!(place_now, Some("bay 1"));
    assert_eq!(place.world.told(), ["moved bad disk/sn:ZC1A0"]);
}

#[test]
fn gone_is_not_well_whatever_the_proof() {
    for proof in [
        Proof::Quiet(time("1h")),
        Proof::Reboot(time("1h")),
        Proof::Normal(time("1h")),
    ] {
        let state = matches!(proof, Proof::Normal(_));
        let mut place = Place::new(vec![proof.clone()]);
        if state {
            let mut bad = pattern("bad");
            bad.source = crate::observation::Source::Mount;
            bad.clear = vec![proof.clone()];
            place.world.reload(vec![bad]);
        }
        place.look(two());
        match state {
            true => place.world.state("bad", "disk/sda", Truth::True),
            false => place.world.see("bad", "disk/sda"),
        }
        place.reboot();
        place.look(vec![disk("sdb", "ZC1A1", 1)]);
        if state {
            let part = "disk/sn:ZC1A0";
            place.world.state("bad", part, Truth::False);
        }
        place.world.pass("90d");
        let fault = place.world.fault("bad", "disk/sn:ZC1A0");
        assert!(fault.phase.is_raised(), "{proof:?}");
        let presence = fault.presence().unwrap().word();
        assert_eq!(presence, "missing", "{proof:?}");
        place.look(two());
        place.world.pass("2h");
        let phase = place.world.phase("bad", "disk/sn:ZC1A0");
        assert_eq!(phase, Some(Phase::Cleared), "{proof:?}");
    }
}

#[test]
fn while_nobody_can_look_no_silence_counts() {
    let mut place = Place::new(vec![Proof::Quiet(time("1h"))]);
    place.look(two());
    place.world.see("bad", "disk/sda");
    place.world.health("inventory", false);
    place.world.pass("3h");
    let part = "disk/sn:ZC1A0";
    assert_eq!(place.world.phase("bad", part), Some(Phase::Active));
    place.world.health("inventory", true);
    place.world.pass("61m");
    assert_eq!(place.world.phase("bad", part), Some(Phase::Cleared));
}

#[test]
fn a_person_cannot_have_replaced_what_is_still_there() {
    let mut place = Place::new(vec![Proof::Replaced]);
    place.look(two());
    place.world.see("bad", "disk/sda");
    let answer = place.world.clear("disk/sda", true);
    assert!(answer.starts_with("error: "), "{answer}");
    assert!(answer.contains("S/N ZC1A0 is still in bay 0"), "{answer}");
    let command = super::super::Command::Clear {
        fault: "disk/sda".into(),
        by: "alice".into(),
        why: "the label lies".into(),
        replaced: true,
        force: true,
    };
    let now = place.world.now;
    place.world.ledger.clear(now, command).unwrap();
    let fault = place.world.fault("bad", "disk/sn:ZC1A0");
    let why = fault.proof.as_ref().unwrap().why().unwrap();
    assert!(why.ends_with("(said by alice, against the census)"), "{why}");
    // Of a part that is gone nobody knows better than a person.
    place.world.see("bad", "disk/sdb");
    place.look(vec![disk("sda", "ZC1A0", 0)]);
    let answer = place.world.clear("ZC1A1", true);
    assert!(answer.starts_with("cleared bad disk/sdb"), "{answer}");
}

#[test]
fn what_is_remote_or_lent_quarantines_nothing() {
    for attachment in
        [Attachment::Remote, Attachment::Virtual, Attachment::Borrowed]
    {
        let mut place = Place::new(vec![Proof::Replaced]);
        let mut parts = two();
        parts[0].attachment = attachment;
        place.look(parts);
        place.world.see("bad", "disk/sda");
        let faults = || place.world.ledger.faults();
        let desired = super::super::desired::desired(faults());
        assert_eq!(desired.quarantine, Quarantine::None, "{attachment:?}");
        assert_eq!(desired.conditions.len(), 1);
    }
}

#[test]
fn a_condition_tells_where_the_part_is() {
    let mut place = Place::new(vec![Proof::Replaced]);
    place.look(two());
    place.world.see("bad", "disk/sda");
    let faults = place.world.ledger.faults();
    let desired = super::super::desired::desired(faults);
    let message = &desired.conditions["DiskFault"].message;
    assert_eq!(message, "1 errors (disk/sda, bay 0, S/N ZC1A0)");
    place.look(vec![disk("sdb", "ZC1A1", 1)]);
    let faults = place.world.ledger.faults();
    let desired = super::super::desired::desired(faults);
    let message = &desired.conditions["DiskFault"].message;
    assert!(message.ends_with("S/N ZC1A0), not present"), "{message}");
}

#[test]
fn a_slot_that_lost_power_explains_the_drive_in_it() {
    let mut slot = pattern("slot-off");
    slot.suppresses = vec!["bad".into()];
    slot.severity = Severity::Fatal;
    let mut place = Place::new(vec![]);
    place.world = World::new(vec![slot, pattern("bad")]);
    let adapter = Part {
        address: Some(PartId::new("pci/0000:18:00.0")),
        ..Part::named(PartId::new("hba/0000:18:00.0"), Realm::Pci)
    };
    let mut parts = two();
    parts.push(adapter);
    place.look(parts);
    place.world.see("bad", "disk/sdb");
    place.world.see("slot-off", "pci/0000:18:00.0");
    let part = "disk/sn:ZC1A1";
    assert_eq!(place.world.phase("bad", part), Some(Phase::Explained));
    let fault = place.world.fault("bad", part);
    assert_eq!(fault.cause().as_deref(), Some("slot-off pci/0000:18:00.0"));
}

#[test]
fn a_filesystem_keeps_its_fault_when_its_disk_gets_another_name() {
    let mut place = Place::new(vec![Proof::Replaced]);
    place.look(two());
    place.world.see("bad", "fs/sda2");
    place.reboot();
    place.look(vec![disk("sdf", "ZC1A0", 0), disk("sda", "ZC1A1", 1)]);
    let fault = place.world.fault("bad", "fs/sn:ZC1A0:2");
    assert_eq!(fault.title(), "bad fs/sdf2");
    place.world.see("bad", "fs/sdf2");
    assert_eq!(place.world.fault("bad", "fs/sn:ZC1A0:2").count, 2);
}

#[test]
fn a_restart_of_the_agent_changes_nothing_about_parts() {
    let mut place = Place::new(vec![Proof::Quiet(time("1h"))]);
    place.look(two());
    place.world.see("bad", "disk/sda");
    place.look(vec![disk("sdb", "ZC1A1", 1)]);
    let before = place.world.fault("bad", "disk/sn:ZC1A0").clone();
    place.world.restart();
    let boot = BootId("boot-1".into());
    let stored = Arc::new(place.census.clone().restored(&boot));
    place.world.input(super::super::Input::Census(stored));
    place.world.health("kmsg", true);
    let after = place.world.fault("bad", "disk/sn:ZC1A0");
    assert_eq!(after.about, before.about);
    place.world.pass("3h");
    let phase = place.world.phase("bad", "disk/sn:ZC1A0");
    assert_eq!(phase, Some(Phase::Active), "nobody has looked yet");
}

#[test]
fn what_a_person_says_was_taken_out_is_not_missing() {
    for replaced in [false, true] {
        let mut missing = pattern("missing");
        missing.source = crate::observation::Source::Inventory;
        missing.clear = vec![Proof::Normal(time("2m")), Proof::Replaced];
        let mut place = Place::new(vec![]);
        place.world = World::new(vec![missing, pattern("bad")]);
        place.world.health("inventory", true);
        place.look(two());
        place.world.see("bad", "disk/sda");
        place.look(vec![disk("sdb", "ZC1A1", 1)]);
        let part = "disk/sn:ZC1A0";
        let signal = place.world.signal("missing", part);
        let gone = Event::State(signal, Truth::True);
        place.world.events_of("inventory", vec![gone]);
        // Only the census's own fault, or the claim of a replacement, says
        // that it was taken out.
        let what = if replaced { "bad disk/sda" } else { "missing disk/sda" };
        let answer = place.world.clear(what, replaced);
        assert!(answer.starts_with("cleared"), "{answer}");
        place.census.forget(&PartId::new(part));
        place.look(vec![disk("sdb", "ZC1A1", 1)]);
        place.world.pass("1h");
        let phase = place.world.phase("missing", part);
        assert_eq!(phase, Some(Phase::Cleared), "replaced: {replaced}");
    }
}
