//! Which part of ours a sensor or an event is about: what a technician
//! pulls.
//!
//! Supplies, fans and processors are numbered by their entity's instance,
//! `psu/2`, also where a controller counts its own or begins with nought.
//! Modules, bays and cards are labelled on the board, and their
//! sensors are named after the label: `dimm/DIMM_A1`; the census finds them
//! by it. What is no part is a place on the board: `board/P12V`.

use super::entity::Entity;
use super::kinds;
use super::sel::{Detail, Event, SlotKind};

/// Instances from here on count within a controller (IPMI 2.0, 39.1). Most
/// use them for what stands for all of a kind, `Fan Redundancy`; some number
/// everything like that, `PS1` from here on.
const OF_CONTROLLER: u8 = 0x60;

/// Event/reading type of the sensors that tell of redundancy: they are of
/// all of a kind, whatever their instance (`Power Supplies` is the third
/// supply of a server with two).
const REDUNDANCY: u8 = 0x0B;

/// The part of an entity, of a sensor's type and event/reading type, and its
/// name.
pub fn of(entity: Entity, kind: u8, reading_type: u8, name: &str) -> String {
    let stem = stem(name);
    let is_labelled = stem.contains(|c: char| c.is_ascii_digit());
    if let Some((part, by_label)) = pulled(entity.id)
        && let Some(number) = number(entity, stem, part)
        && reading_type != REDUNDANCY
    {
        return match by_label && is_labelled {
            true if part == "dimm" => format!("{part}/{}", joined(stem)),
            true => format!("{part}/{stem}"),
            false => format!("{part}/{number}"),
        };
    }
    let name = if stem.is_empty() { "unnamed" } else { stem };
    format!("{}/{name}", place(kind))
}

/// Which of its kind an entity is; `None` where it is all of them.
fn number(entity: Entity, stem: &str, part: &str) -> Option<u8> {
    let is_labelled = || stem.contains(|c: char| c.is_ascii_digit());
    match entity.instance {
        own @ 1..OF_CONTROLLER => Some(own),
        // One sensor may be of all modules of a socket: `CPU1 ECC`.
        _ if part == "dimm" && !stem.to_lowercase().contains("dimm") => None,
        0 if is_labelled() => Some(0),
        // A zone of fans is counted beside the fans, and is none.
        own @ OF_CONTROLLER.. if part != "fan" && is_labelled() => {
            Some(own - OF_CONTROLLER + 1)
        }
        _ => None,
    }
}

/// The part of an event: its sensor's, unless its data say more.
pub fn of_event(
    entity: Entity,
    event: &Event,
    name: &str,
    detail: &Detail,
) -> String {
    let stem = stem(name);
    // A sensor of one module, named after it, has no other to tell of.
    let is_module = pulled(entity.id).is_some_and(|(part, _)| part == "dimm")
        && (1..OF_CONTROLLER).contains(&entity.instance)
        && stem.contains(|c: char| c.is_ascii_digit());
    match (detail.dimm, detail.slot) {
        (Some(dimm), _) if !is_module => {
            let stem = if stem.is_empty() { "memory" } else { stem };
            format!("dimm/{stem} #{dimm}")
        }
        (_, Some((SlotKind::Dimm, slot))) => format!("dimm/slot {slot}"),
        (_, Some((SlotKind::Drive, slot))) => format!("bay/{slot}"),
        (_, Some((SlotKind::Fan, slot))) => format!("fan/{slot}"),
        (_, Some((SlotKind::Pci | SlotKind::Pcie, slot))) => {
            format!("slot/{slot}")
        }
        _ => of(entity, event.kind, event.reading_type, name),
    }
}

/// `A1` of `A 1`: modules that share a record get their number behind a
/// blank that the board does not print, and the firmware's tables neither.
fn joined(label: &str) -> String {
    let is_one =
        |c: &str| c.len() == 1 && c.as_bytes()[0].is_ascii_alphabetic();
    match label.split_once(' ') {
        Some((channel, slot))
            if is_one(channel) && slot.bytes().all(|c| c.is_ascii_digit()) =>
        {
            format!("{channel}{slot}")
        }
        _ => label.to_owned(),
    }
}

/// The kind of part that an entity is, if people pull it, and whether it is
/// known by a label rather than a number.
fn pulled(entity: u8) -> Option<(&'static str, bool)> {
    Some(match entity {
        0x03 | 0x41 => ("cpu", false),
        0x04 | 0x1a => ("bay", true),
        0x08 | 0x20 => ("dimm", true),
        0x0a | 0x14 => ("psu", false),
        0x0b => ("card", true),
        0x1d => ("fan", false),
        _ => return None,
    })
}

/// Where something is filed that is no part by itself.
fn place(kind: u8) -> &'static str {
    match kind {
        kinds::FAN => "fan",
        kinds::POWER_SUPPLY | kinds::POWER_UNIT => "power",
        kinds::MEMORY => "memory",
        kinds::PROCESSOR => "cpu",
        kinds::DRIVE_SLOT => "bay",
        kinds::SLOT => "slot",
        _ => "board",
    }
}

/// What a sensor's name says of where it is, without what it measures:
/// `DIMM_A1` of `DIMM_A1 Temp`.
pub fn stem(name: &str) -> &str {
    const MEASURED: [&str; 9] = [
        "temperature",
        "temp",
        "status",
        "state",
        "presence",
        "present",
        "health",
        "fru",
        "ecc",
    ];
    let mut stem = name.trim();
    loop {
        let at = stem.rfind([' ', '_']).map_or(0, |at| at + 1);
        let last = &stem[at..];
        let is = |word: &&str| last.eq_ignore_ascii_case(word);
        let shorter = stem[..at].trim_end_matches([' ', '_']);
        if shorter.is_empty() || !MEASURED.iter().any(is) {
            return stem;
        }
        stem = shorter;
    }
}

#[cfg(test)]
mod tests {
    use super::super::sensor::Key;
    use super::*;

    fn part(id: u8, instance: u8, kind: u8, name: &str) -> String {
        of(Entity::of(id, instance), kind, 0x6F, name)
    }

    #[test]
    fn a_supply_a_fan_and_a_processor_are_numbered() {
        assert_eq!(part(10, 2, 8, "PSU2 Status"), "psu/2");
        assert_eq!(part(10, 1, 0x0b, "PSU1 Input"), "psu/1");
        assert_eq!(part(29, 3, 4, "FAN3"), "fan/3");
        assert_eq!(part(3, 1, 1, "Temp"), "cpu/1");
    }

    #[test]
    fn what_stands_for_all_of_a_kind_is_none_of_them() {
        assert_eq!(part(29, 0x60, 4, "Fan Redundancy"), "fan/Fan Redundancy");
        assert_eq!(part(10, 0x60, 8, "PS Redundancy"), "power/PS Redundancy");
        assert_eq!(part(32, 0x60, 12, "Memory ECC"), "memory/Memory");
    }

    #[test]
    fn a_sensor_of_redundancy_is_of_no_single_supply() {
        let all = of(Entity::of(10, 3), 8, 0x0B, "Power Supplies");
        assert_eq!(all, "power/Power Supplies");
        let all = of(Entity::of(10, 0x62), 8, 0x0B, "PS1/2 Redundancy");
        assert_eq!(all, "power/PS1/2 Redundancy");
    }

    #[test]
    fn parts_that_a_controller_counts_are_numbered_from_its_first() {
        assert_eq!(part(10, 0x60, 8, "PS1 Status"), "psu/1");
        assert_eq!(part(10, 0x60, 0x0B, "Power1"), "psu/1");
        assert_eq!(part(10, 0x61, 4, "PS2 Fan Status"), "psu/2");
        assert_eq!(part(3, 0x61, 1, "CPU2 Core Rem"), "cpu/2");
        assert_eq!(part(32, 0x60, 12, "DIMM000"), "dimm/DIMM000");
        assert_eq!(part(32, 0x60, 12, "CPU1 ECC"), "memory/CPU1");
        // And those that begin with nought.
        assert_eq!(part(10, 0, 8, "PSU0_Status"), "psu/0");
        assert_eq!(part(10, 1, 8, "PSU1_Status"), "psu/1");
    }

    #[test]
    fn modules_bays_and_cards_are_called_by_their_label() {
        assert_eq!(part(32, 1, 12, "DIMM_A1"), "dimm/DIMM_A1");
        assert_eq!(part(8, 1, 1, "P1-DIMMA1 TEMP"), "dimm/P1-DIMMA1");
        assert_eq!(part(32, 7, 1, "DIMM Temp"), "dimm/7");
        assert_eq!(part(32, 1, 12, "A 12"), "dimm/A12");
        assert_eq!(part(4, 1, 13, "Drive 0"), "bay/Drive 0");
        assert_eq!(part(11, 1, 1, "GPU1 Temp"), "card/GPU1");
    }

    #[test]
    fn what_is_no_part_is_a_place_on_the_board() {
        assert_eq!(part(7, 1, 4, "FAN1"), "fan/FAN1");
        assert_eq!(part(7, 1, 2, "P12V"), "board/P12V");
        assert_eq!(part(7, 1, 2, ""), "board/unnamed");
        assert_eq!(part(0x37, 1, 1, "Inlet Temp"), "board/Inlet");
        assert_eq!(part(10, 0, 8, "Temp"), "power/Temp");
    }

    #[test]
    fn an_event_that_names_its_module_is_filed_there() {
        let memory = Event {
            key: Key::default(),
            kind: 12,
            reading_type: 0x6F,
            asserted: true,
            data: [0; 3],
        };
        let event = |detail: Detail, name| {
            of_event(Entity::of(32, 0x60), &memory, name, &detail)
        };
        let dimm = Detail { dimm: Some(3), ..Detail::default() };
        assert_eq!(event(dimm.clone(), "Memory ECC"), "dimm/Memory #3");
        assert_eq!(event(dimm.clone(), ""), "dimm/memory #3");
        // One sensor for all modules of a socket.
        assert_eq!(event(dimm.clone(), "CPU1 ECC"), "dimm/CPU1 #3");
        let own = of_event(Entity::of(32, 1), &memory, "DIMM_A1", &dimm);
        assert_eq!(own, "dimm/DIMM_A1");
        let slot = Some((SlotKind::Pcie, 7));
        let slot = Detail { slot, ..Detail::default() };
        assert_eq!(event(slot, "Slot"), "slot/7");
        assert_eq!(event(Detail::default(), "Memory ECC"), "memory/Memory");
    }

    #[test]
    fn hostile_names_leave_a_stem() {
        assert_eq!(stem("Temp"), "Temp");
        assert_eq!(stem("_ temp temp"), "_ temp");
        assert_eq!(stem(""), "");
        assert_eq!(stem("°é temp"), "°é");
    }
}
