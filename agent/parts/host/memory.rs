//! Memory modules: the firmware's slots, and the labels that memory
//! controllers print for them (drivers/edac/edac_mc_sysfs.c).

use std::collections::{BTreeMap, BTreeSet};

use super::controller::Controller;
use super::{BOARD, Labels, Look, join};
use crate::parts::census::Reading;
use crate::parts::ids::{BY_HANDLE, PartId};
use crate::parts::part::{Part, Realm};
use crate::parts::smbios::Memory;

pub(super) fn read(look: &Look<'_>, labels: &Labels, reading: &mut Reading) {
    let mut modules = modules(look);
    let has_slots = !modules.is_empty();
    let mut told = controllers(look, reading);
    name_as_checks_do(&mut told, reading);
    for module in told {
        let told_slot = module.labels.iter().find_map(|own| labels.get(own));
        let at = match told_slot {
            Some(slot) => find(&modules, slot),
            None => module.labels.iter().find_map(|l| find(&modules, l)),
        };
        match at {
            Some(at) => module.names().for_each(|own| modules[at].alias(own)),
            // Without a table they are what is known; with one, a label
            // that names no slot would be a module too many.
            None => {
                let mut part = module.part(look);
                part.watched = !has_slots;
                modules.push(part);
            }
        }
    }
    reading.parts.extend(modules);
}

/// The modules that the firmware tells of.
fn modules(look: &Look<'_>) -> Vec<Part> {
    let memory = &look.tables.memory;
    let of = |label: fn(&Memory) -> &Option<String>| {
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for module in memory {
            *names
                .entry(label(module).as_deref().unwrap_or(""))
                .or_insert(0) += 1;
        }
        names
    };
    let (locators, banks) = (of(|m| &m.locator), of(|m| &m.bank));
    let mut parts = Vec::new();
    for (at, module) in memory.iter().enumerate() {
        let locator = module.locator.as_deref().unwrap_or("");
        let alone = locators.get(locator).is_some_and(|n| *n == 1);
        let mut part = part(look, module, at, alone);
        // Some lines name the bank alone; it may hold one module.
        if let Some(bank) = &module.bank
            && banks.get(bank.as_str()) == Some(&1)
        {
            part.alias(PartId::new(&format!("dimm/{bank}")));
        }
        parts.push(part);
    }
    parts
}

fn part(look: &Look<'_>, module: &Memory, at: usize, alone: bool) -> Part {
    let locator = module.locator.clone();
    let bank = module.bank.clone();
    // Where each bank has a "DIMM 0" of its own, the label alone names none.
    let both = match (&bank, &locator) {
        (Some(bank), Some(locator)) => Some(format!("{bank} {locator}")),
        (bank, locator) => locator.clone().or_else(|| bank.clone()),
    };
    let name = match (&locator, alone) {
        (Some(locator), true) => locator.clone(),
        _ => both.clone().unwrap_or_else(|| (at + 1).to_string()),
    };
    let place = match (&locator, &bank, alone) {
        (Some(locator), Some(bank), true) => {
            Some(format!("{locator} ({bank})"))
        }
        _ => both.clone(),
    };
    let size = module.mib.filter(|mib| *mib > 0).map(|mib| match mib % 1024 {
        0 => format!("{} GiB", mib / 1024),
        _ => format!("{mib} MiB"),
    });
    let model = join(module.maker.clone(), module.model.clone());
    let model = match (model, size) {
        (Some(model), Some(size)) => Some(format!("{model}, {size}")),
        (model, size) => model.or(size),
    };
    let mut part = Part {
        serial: module.serial.clone(),
        model,
        place,
        within: vec![PartId::new(BOARD)],
        attachment: look.own(),
        ..Part::named(PartId::new(&format!("dimm/{name}")), Realm::Smbios)
    };
    // As firmware-first errors name it (drivers/edac/ghes_edac.c).
    if let Some(both) = both {
        part.alias(PartId::new(&format!("dimm/{both}")));
    }
    if let Some(handle) = module.handle {
        part.alias(PartId::new(&format!("dimm/{BY_HANDLE}{handle:04x}")));
    }
    part
}

/// A module as its controller tells of it.
struct Module {
    /// What the kernel calls it: a label for each of its ranks.
    labels: Vec<String>,
    location: Option<String>,
    controller: String,
    mib: Option<String>,
    /// The channel and the slot in it, where they follow from the ranks.
    slot: Option<(u16, u16)>,
    /// What the driver calls the controller.
    driver: Option<String>,
    /// What machine checks call it, and its channel if it is alone there.
    checks: Vec<PartId>,
}

impl Module {
    /// All its names, the best first.
    fn names(&self) -> impl Iterator<Item = PartId> + '_ {
        let slot = self.slot.map(|(channel, slot)| {
            let mc = &self.controller;
            PartId::new(&format!("dimm/{mc}-channel{channel}-slot{slot}"))
        });
        let labels = self.labels.iter();
        let labels = labels.map(|own| PartId::new(&format!("dimm/{own}")));
        slot.into_iter().chain(labels).chain(self.checks.iter().cloned())
    }

    fn part(&self, look: &Look<'_>) -> Part {
        let location = match (self.slot, &self.location) {
            (Some((channel, slot)), _) => {
                format!("channel {channel} slot {slot}")
            }
            (None, location) => location
                .clone()
                .unwrap_or_else(|| "location unknown".to_owned()),
        };
        let size = self.mib.as_ref().map(|mib| format!("{mib} MiB"));
        let mut names = self.names();
        let name = names.next().unwrap_or_default();
        let mut part = Part {
            place: Some(format!("{} {location}", self.controller)),
            model: size,
            within: vec![PartId::new(BOARD)],
            attachment: look.own(),
            ..Part::named(name, Realm::Edac)
        };
        names.for_each(|name| part.alias(name));
        part
    }
}

/// Whether a controller's chip selects are two to a module: AMD's are, and a
/// module with one rank leaves the second unused (drivers/edac/amd64_edac.c,
/// where `dimm` is the row halved; its names are `K8…`, `F10h`, `F19h_M10h`).
pub fn has_row_pairs(mc_name: &str) -> bool {
    let family = mc_name.strip_prefix('F').and_then(|n| n.split_once('h'));
    let digits = |(family, _): (&str, &str)| {
        !family.is_empty() && family.bytes().all(|b| b.is_ascii_hexdigit())
    };
    mc_name.starts_with("K8") || family.is_some_and(digits)
}

/// Gives modules the names that machine checks have for them.
fn name_as_checks_do(modules: &mut [Module], reading: &Reading) {
    let sockets: BTreeSet<u32> =
        reading.sockets.iter().map(|(_, _, socket)| *socket).collect();
    let controllers: BTreeSet<String> =
        modules.iter().map(|module| module.controller.clone()).collect();
    let at = |module: &Module| {
        let location = module.location.as_deref().unwrap_or_default();
        Some((module.controller.clone(), module.slot.or(in_slot(location))?))
    };
    let places: Vec<_> = modules.iter().map(at).collect();
    for (module, place) in modules.iter_mut().zip(&places) {
        let Some((mc, (channel, slot))) = place else { continue };
        let number = mc.trim_start_matches("mc").parse();
        let driver = module.driver.as_deref().unwrap_or_default();
        let own = number.ok().and_then(|number| {
            Controller::of(driver, number, sockets.len(), controllers.len())
        });
        let of_channel = places
            .iter()
            .flatten()
            .filter(|(other, place)| other == mc && place.0 == *channel);
        let alone = of_channel.count() == 1;
        module.checks = own
            .map(|own| own.names((*channel, *slot), alone))
            .unwrap_or_default();
    }
}

/// `channel 1 slot 0` is channel and slot.
fn in_slot(location: &str) -> Option<(u16, u16)> {
    let words: Vec<&str> = location.split_whitespace().collect();
    let ["channel", channel, "slot", slot] = words[..] else { return None };
    Some((channel.parse().ok()?, slot.parse().ok()?))
}

/// `csrow 3 channel 1` is in the second slot of that channel.
fn slot_of(location: &str) -> Option<(u16, u16)> {
    let words: Vec<&str> = location.split_whitespace().collect();
    let ["csrow", row, "channel", channel] = words[..] else { return None };
    let row: u16 = row.parse().ok()?;
    Some((channel.parse().ok()?, row / 2))
}

/// The modules that memory controllers tell of.
fn controllers(look: &Look<'_>, reading: &mut Reading) -> Vec<Module> {
    const DIR: &str = "sys/devices/system/edac/mc";
    let tree = look.tree;
    let controllers = match tree.names_if_any(DIR) {
        Ok(names) => names,
        Err(error) => {
            reading.unread.insert(Realm::Edac, format!("/{DIR}: {error}"));
            return Vec::new();
        }
    };
    let mut modules = Vec::new();
    for mc in controllers.iter().filter(|name| is_numbered(name, "mc")) {
        let driver = tree.tidied(&format!("{DIR}/{mc}/mc_name"));
        let in_pairs = driver.as_deref().is_some_and(has_row_pairs);
        for name in tree.names_or_none(&format!("{DIR}/{mc}")) {
            if !is_numbered(&name, "dimm") && !is_numbered(&name, "rank") {
                continue;
            }
            let dir = format!("{DIR}/{mc}/{name}");
            let Some(label) = tree.tidied(&format!("{dir}/dimm_label")) else {
                continue;
            };
            let location = tree.tidied(&format!("{dir}/dimm_location"));
            let slot = location.as_deref().filter(|_| in_pairs);
            let module = Module {
                labels: vec![label],
                slot: slot.and_then(slot_of),
                location,
                controller: mc.clone(),
                mib: tree.tidied(&format!("{dir}/size")),
                driver: driver.clone(),
                checks: Vec::new(),
            };
            add(&mut modules, module);
        }
    }
    modules
}

/// Adds a module, or what is another rank of one.
fn add(modules: &mut Vec<Module>, module: Module) {
    let mut all = modules.iter_mut();
    let same = all.find(|other| {
        module.slot.is_some()
            && other.slot == module.slot
            && other.controller == module.controller
    });
    let Some(same) = same else { return modules.push(module) };
    let mib = |m: &Module| m.mib.as_ref()?.parse::<u64>().ok();
    let both = mib(same).zip(mib(&module)).map(|(a, b)| a + b);
    same.mib = both.map(|mib| mib.to_string()).or(same.mib.take());
    same.labels.extend(module.labels);
}

fn is_numbered(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())
    })
}

/// The one module that a label names; a label that could be two is neither.
fn find(modules: &[Part], label: &str) -> Option<usize> {
    let wanted = PartId::new(&format!("dimm/{label}"));
    let plain = |id: &PartId| -> String {
        let letters = id.name().chars().filter(char::is_ascii_alphanumeric);
        letters.map(|c| c.to_ascii_uppercase()).collect()
    };
    let sought = plain(&wanted);
    let mut found = modules.iter().enumerate().filter(|(_, part)| {
        plain(&part.name) == sought
            || part.aliases.iter().any(|alias| plain(alias) == sought)
    });
    let (at, _) = found.next()?;
    found.next().is_none().then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amds_controllers_have_two_rows_to_a_module_and_others_have_not() {
        let own = ["K8 revF or later", "F10h", "F17h_M30h", "F1Ah_M40h"];
        assert!(own.into_iter().all(has_row_pairs));
        let others = ["MI200", "Skylake Socket#0 IMC#0", "Fh", "i5000", "F"];
        assert!(!others.into_iter().any(has_row_pairs));
        assert_eq!(slot_of("csrow 3 channel 1"), Some((1, 1)));
        assert_eq!(slot_of("channel 1 slot 0"), None);
    }
}
