//! One look at the machine: everything in it, from `/sys` and the firmware's
//! tables. Whatever is missing or makes no sense is left out; a whole realm
//! that can't be read is reported, so that its parts are not taken for gone.

mod block;
mod controller;
mod cpu;
mod memory;
mod nvme;
mod pci;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::census::Reading;
use super::ids::PartId;
use super::part::{Attachment, Part, Realm};
use super::smbios::{self, Tables};
use crate::tree::Tree;

pub use block::known_by;
pub use memory::has_row_pairs;

/// The longest firmware table read; a large server's has some 20 KiB.
const TABLE_MAX: u64 = 1 << 20;

/// The part that everything sits on.
pub const BOARD: &str = "board/system";

/// What an SRE knows better than the machine: the slot of a memory
/// controller's label.
pub type Labels = BTreeMap<String, String>;

/// What several readers of a look share.
struct Look<'a> {
    tree: &'a Tree,
    tables: Tables,
    /// Whether this is a hypervisor's machine.
    is_guest: bool,
    slots: pci::Slots,
}

/// Looks at the machine below the tree's root.
pub fn look(tree: &Tree, labels: &Labels) -> Reading {
    let mut reading = Reading::default();
    let tables = tables(tree, &mut reading);
    let look = Look {
        is_guest: is_guest(tree),
        slots: pci::Slots::read(tree, &tables),
        tables,
        tree,
    };
    board(&look, &mut reading);
    cpu::read(&look, &mut reading);
    memory::read(&look, labels, &mut reading);
    supplies(&look, &mut reading);
    let mut functions = pci::read(&look, &mut reading);
    nvme::read(&look, &mut functions, &mut reading);
    block::read(&look, &mut functions, &mut reading);
    reading.parts.extend(functions.into_values());
    for (path, why) in tree.progress().refusals() {
        let realm = realm(&path);
        let why = format!("{}: {why}", path.display());
        reading.unread.entry(realm).or_insert(why);
    }
    reading
}

/// Whose parts a file tells of.
fn realm(path: &Path) -> Realm {
    let has = |word: &str| {
        path.components().any(|c| c.as_os_str().as_bytes() == word.as_bytes())
    };
    match () {
        () if has("dmi") => Realm::Smbios,
        () if has("edac") => Realm::Edac,
        () if has("cpu") || has("cpuinfo") => Realm::Cpu,
        () if has("nvme") || has("nvme-subsystem") => Realm::Nvme,
        () if has("pci") || has("net") || has("scsi_host") => Realm::Pci,
        () => Realm::Block,
    }
}

/// Reads the firmware's tables. A machine without them (a board with a
/// device tree) simply has none.
fn tables(tree: &Tree, reading: &mut Reading) -> Tables {
    const DIR: &str = "sys/firmware/dmi/tables";
    if !tree.has(DIR) {
        return Tables { complete: true, ..Tables::default() };
    }
    let entry = tree.bytes(&format!("{DIR}/smbios_entry_point"), 64);
    let table = match tree.bytes(&format!("{DIR}/DMI"), TABLE_MAX) {
        Ok(table) => table,
        Err(error) => {
            let why = format!("/{DIR}/DMI: {error}");
            reading.unread.insert(Realm::Smbios, why);
            return Tables::default();
        }
    };
    let tables = smbios::parse(&entry.unwrap_or_default(), &table);
    if !tables.complete {
        let why = format!("/{DIR}/DMI ends early");
        reading.unread.insert(Realm::Smbios, why);
    }
    tables
}

/// Whether a hypervisor runs this machine: the CPU says so (CPUID 1, ECX bit
/// 31, shown as a flag).
fn is_guest(tree: &Tree) -> bool {
    let lines = tree.lines("proc/cpuinfo", 16 * 1024);
    let mut flags = lines.iter().filter(|line| line.starts_with("flags"));
    flags.next().is_some_and(|line| {
        line.split_whitespace().any(|flag| flag == "hypervisor")
    })
}

fn board(look: &Look<'_>, reading: &mut Reading) {
    let (board, system) = (&look.tables.board, &look.tables.system);
    let own = |name: &str| {
        let text = look.tree.tidied(&format!("sys/class/dmi/id/{name}"))?;
        super::serials::model(&text)
    };
    let maker = system.maker.clone().or_else(|| own("sys_vendor"));
    let product = system.product.clone().or_else(|| own("product_name"));
    let serial = board.serial.clone().or_else(|| system.serial.clone());
    if maker.is_none() && product.is_none() && serial.is_none() {
        return;
    }
    reading.parts.push(Part {
        serial,
        model: join(maker, product),
        attachment: look.own(),
        watched: false,
        ..Part::named(PartId::new(BOARD), Realm::Smbios)
    });
}

/// Power supplies that the firmware tells of.
fn supplies(look: &Look<'_>, reading: &mut Reading) {
    for (at, supply) in look.tables.supplies.iter().enumerate() {
        let place = supply.location.clone().or_else(|| supply.name.clone());
        let number = (at + 1).to_string();
        let name = place.clone().unwrap_or_else(|| number.clone());
        let mut part = Part {
            serial: supply.serial.clone(),
            model: join(supply.maker.clone(), supply.model.clone()),
            place,
            within: vec![PartId::new(BOARD)],
            attachment: look.own(),
            ..Part::named(PartId::new(&format!("psu/{name}")), Realm::Smbios)
        };
        part.alias(PartId::new(&format!("psu/{number}")));
        reading.parts.push(part);
    }
}

impl Look<'_> {
    /// How what the firmware tells of belongs to this machine: a
    /// hypervisor's memory and processors are made up.
    fn own(&self) -> Attachment {
        match self.is_guest {
            true => Attachment::Virtual,
            false => Attachment::Local,
        }
    }
}

/// Maker and model, unless the model names the maker.
fn join(maker: Option<String>, model: Option<String>) -> Option<String> {
    match (maker, model) {
        (Some(maker), Some(model)) => {
            let first = maker.split(' ').next().unwrap_or_default();
            let named = model
                .to_ascii_lowercase()
                .starts_with(&first.to_ascii_lowercase());
            Some(if named { model } else { format!("{maker} {model}") })
        }
        (maker, model) => model.or(maker),
    }
}
