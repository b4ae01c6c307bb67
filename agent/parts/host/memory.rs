//! Memory modules: the firmware's slots, and the labels that memory
//! controllers print for them (drivers/edac/edac_mc_sysfs.c).

use std::collections::BTreeMap;

use super::{BOARD, Labels, Look, join};
use crate::parts::census::Reading;
use crate::parts::ids::PartId;
use crate::parts::part::{Part, Realm};
use crate::parts::smbios::Memory;

pub(super) fn read(look: &Look<'_>, labels: &Labels, reading: &mut Reading) {
    let mut modules = modules(look);
    let has_slots = !modules.is_empty();
    for module in controllers(look, reading) {
        let known = labels.get(&module.label).unwrap_or(&module.label);
        match find(&modules, known) {
            Some(at) => {
                let label = PartId::new(&format!("dimm/{}", module.label));
                modules[at].alias(label);
            }
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
    part
}

/// A module as its controller tells of it.
struct Module {
    label: String,
    location: Option<String>,
    controller: String,
    mib: Option<String>,
}

impl Module {
    fn part(&self, look: &Look<'_>) -> Part {
        let location = self.location.as_deref().unwrap_or("location unknown");
        let size = self.mib.as_ref().map(|mib| format!("{mib} MiB"));
        Part {
            place: Some(format!("{} {location}", self.controller)),
            model: size,
            within: vec![PartId::new(BOARD)],
            attachment: look.own(),
            ..Part::named(
                PartId::new(&format!("dimm/{}", self.label)),
                Realm::Edac,
            )
        }
    }
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
        for name in tree.names_or_none(&format!("{DIR}/{mc}")) {
            if !is_numbered(&name, "dimm") && !is_numbered(&name, "rank") {
                continue;
            }
            let dir = format!("{DIR}/{mc}/{name}");
            let Some(label) = tree.tidied(&format!("{dir}/dimm_label")) else {
                continue;
            };
            modules.push(Module {
                label,
                location: tree.tidied(&format!("{dir}/dimm_location")),
                controller: mc.clone(),
                mib: tree.tidied(&format!("{dir}/size")),
            });
        }
    }
    modules
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
