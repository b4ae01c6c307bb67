//! `faultline parts`: every part of this machine, as a tree of what sits in
//! what. Looks for itself, so that it needs no agent; what is missing is
//! known from the agent's store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::json;

use super::screen::{Ink, Screen};
use super::table::{Fit, Table};
use super::{Exit, Global, escape};
use crate::config::Config;
use crate::parts::census::Census;
use crate::parts::ids::{BY_HANDLE, PartId};
use crate::parts::looker::{Looker, PATIENCE};
use crate::parts::part::{Attachment, Part, Presence, Realm};
use crate::parts::units::{self, Shelf};
use crate::store;
use crate::time::BootId;

/// Options of `parts`.
#[derive(Debug, clap::Args)]
pub struct PartsArgs {
    /// Also bridges, virtual functions and whatever no error names
    #[arg(long)]
    pub all: bool,
    /// The directory that holds the host's /proc and /sys
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

/// Names of a part beside its own that a person still reads.
const NAMES_SHOWN: usize = 4;

/// Looks and shows.
///
/// # Errors
/// The configuration makes no sense, or looking hangs.
pub fn run(
    global: &Global,
    args: &PartsArgs,
    out: &mut Screen,
) -> anyhow::Result<Exit> {
    let mut config = global.settings()?;
    let known = match &args.root {
        Some(root) => {
            config.root.clone_from(root);
            Census::default()
        }
        None => remembered(&config),
    };
    let boot = known.boot.clone();
    let (census, unread) = look(&config, known, &boot)?;
    let shown = shown(&census, args.all);
    let exit = match unread.is_empty() {
        true => Exit::Good,
        false => Exit::CannotCheck,
    };
    if global.json {
        let parts: Vec<_> = census
            .parts()
            .filter(|p| shown.contains(&p.identity()))
            .map(|p| PartView::of(&census, p))
            .collect();
        let unread: Vec<&String> = unread.values().collect();
        out.json(&json!({ "parts": parts, "unread": unread }))?;
        return Ok(exit);
    }
    show(&census, &shown, out)?;
    for why in unread.values() {
        let text = format!("unknown: {why}");
        out.ink(Ink::Yellow, escape::escape(&text))?;
        out.line("")?;
    }
    Ok(exit)
}

/// What is there now, in this boot, after what was `known`; and why what
/// can't be read can't.
///
/// # Errors
/// Looking hangs.
pub(super) fn look(
    config: &Config,
    known: Census,
    boot: &BootId,
) -> anyhow::Result<(Census, BTreeMap<Realm, String>)> {
    // The BMC is the agent's to ask: what it has read is shown.
    let shelf = Shelf::default();
    shelf.put(units::of_census(&known));
    let before = known.restored(boot);
    let labels = config.sources.inventory.labels.clone();
    let mut looker = Looker::new(&config.root, labels).with_units(shelf);
    let reading = looker.look(PATIENCE).map_err(anyhow::Error::msg)?;
    let unread = reading.unread.clone();
    Ok((before.after(boot, reading), unread))
}

/// What the agent last knew; nothing where none ever ran.
fn remembered(config: &Config) -> Census {
    let Ok(loaded) = store::read(&config.state_dir) else {
        return Census::default();
    };
    let position = loaded.positions.get("inventory");
    let census = position.and_then(|p| serde_json::from_str(&p.0).ok());
    census.unwrap_or_default()
}

/// One part, as it is written for machines.
#[derive(Debug, serde::Serialize)]
struct PartView {
    part: PartId,
    identity: PartId,
    place: Option<String>,
    model: Option<String>,
    serial: Option<String>,
    wwn: Option<String>,
    firmware: Option<String>,
    attachment: &'static str,
    presence: &'static str,
    within: Option<PartId>,
    aliases: Vec<PartId>,
}

impl PartView {
    fn of(census: &Census, part: &Part) -> PartView {
        let mut aliases = part.aliases.clone();
        aliases.extend(part.address.clone());
        aliases.retain(|alias| *alias != part.name);
        let within = part.within.iter().find_map(|id| census.get(id));
        PartView {
            part: census.shown(part),
            identity: part.identity(),
            place: part.place.clone(),
            model: part.model.clone(),
            serial: part.serial.clone(),
            wwn: part.wwn.clone(),
            firmware: part.firmware.clone(),
            attachment: part.attachment.word(),
            presence: part.presence.word(),
            within: within.map(|part| census.shown(part)),
            aliases,
        }
    }
}

/// The identities of the parts worth showing: what errors name, and what
/// that sits in.
fn shown(census: &Census, all: bool) -> BTreeSet<PartId> {
    let is_of_interest = |p: &&Part| {
        let passing = p.presence == Presence::Gone && !p.is_counted();
        let is_function = p.attachment == Attachment::Virtual
            && p.name.kind() != "disk"
            && p.name.kind() != "dimm"
            && p.name.kind() != "cpu"
            && p.name.kind() != "board"
            && p.place.is_some();
        all || (p.name.kind() != "pci" && !passing && !is_virtual_function(p))
            || (p.name.kind() == "pci" && p.is_counted() && !is_function)
    };
    let mut shown = BTreeSet::new();
    for part in census.parts().filter(is_of_interest) {
        shown.insert(part.identity());
        shown.extend(part.within.iter().cloned());
    }
    shown
}

/// A virtual function beside the real one is noise; the only interface of a
/// guest is not.
fn is_virtual_function(part: &Part) -> bool {
    let vendor = part.hardware.as_deref().unwrap_or_default();
    part.attachment == Attachment::Virtual
        && part.name.kind() == "nic"
        && part.name.name().contains(':')
        && !vendor.starts_with("1af4")
}

fn show(
    census: &Census,
    shown: &BTreeSet<PartId>,
    out: &mut Screen,
) -> anyhow::Result<()> {
    let parts: Vec<&Part> =
        census.parts().filter(|p| shown.contains(&p.identity())).collect();
    if parts.is_empty() {
        out.line("No parts found.")?;
        return Ok(());
    }
    let mut children: BTreeMap<Option<PartId>, Vec<&Part>> = BTreeMap::new();
    for part in parts {
        let parent = part
            .within
            .iter()
            .find(|id| shown.contains(id) && census.get(id).is_some());
        children.entry(parent.cloned()).or_default().push(part);
    }
    for family in children.values_mut() {
        family.sort_by_key(|p| (rank(p), natural(p.name.name())));
    }
    let mut table = Table::new(&[
        ("PART", Fit::Keep),
        ("PLACE", Fit::Wrap),
        ("MODEL", Fit::Wrap),
        ("SERIAL", Fit::Keep),
        ("ALSO", Fit::Wrap),
    ]);
    add(&mut table, census, &children, None, &mut Vec::new());
    table.show(out)?;
    Ok(())
}

/// The order in which a person goes through a machine.
fn rank(part: &Part) -> usize {
    let order = ["board", "cpu", "dimm", "psu", "hba", "disk", "nic", "gpu"];
    let kind = part.name.kind();
    order.iter().position(|k| *k == kind).unwrap_or(order.len())
}

/// A key by which `DIMM2` comes before `DIMM10`. Addresses are hexadecimal,
/// and of one length.
fn natural(name: &str) -> Vec<(bool, usize, String)> {
    let mut key: Vec<(bool, usize, String)> = Vec::new();
    if name.contains(':') {
        return vec![(false, 0, name.to_owned())];
    }
    for c in name.chars() {
        let digit = c.is_ascii_digit();
        match key.last_mut() {
            Some((is_digit, length, text)) if *is_digit == digit => {
                text.push(c);
                *length = if digit { text.len() } else { 0 };
            }
            _ => key.push((digit, usize::from(digit), c.to_string())),
        }
    }
    key
}

fn add(
    table: &mut Table,
    census: &Census,
    children: &BTreeMap<Option<PartId>, Vec<&Part>>,
    parent: Option<PartId>,
    way: &mut Vec<PartId>,
) {
    // A machine's buses are a dozen deep; garbage may go in a circle.
    if way.len() > 16 || parent.as_ref().is_some_and(|p| way.contains(p)) {
        return;
    }
    let before = way.len();
    way.extend(parent.clone());
    let deep = way.len();
    for part in children.get(&parent).into_iter().flatten() {
        let indent = "  ".repeat(deep);
        let name = format!("{indent}{}", census.shown(part));
        let ink = match part.presence {
            Presence::Present => Ink::Bold,
            _ => Ink::Red,
        };
        let serial = part.serial.as_deref().or(part.wwn.as_deref());
        let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
        table.row([
            (&name, ink),
            (&text(part.place.as_deref()), Ink::Plain),
            (&text(part.model.as_deref()), Ink::Plain),
            (&text(serial), Ink::Plain),
            (&also(part), Ink::Dim),
        ]);
        let own = Some(part.identity());
        if own != parent {
            add(table, census, children, own, way);
        }
    }
    way.truncate(before);
}

/// How it is attached, whether it is there, and what else it is called.
fn also(part: &Part) -> String {
    let mut words = Vec::new();
    match part.presence {
        Presence::Present => {}
        Presence::Gone => words.push("MISSING".to_owned()),
        Presence::Unknown => words.push("presence unknown".to_owned()),
    }
    if part.attachment != Attachment::Local {
        words.push(part.attachment.word().to_owned());
    }
    let names: Vec<&str> = part
        .aliases
        .iter()
        .chain(&part.address)
        .map(PartId::name)
        // The number of a row in the firmware's tables says people nothing.
        .filter(|name| {
            *name != part.name.name() && !name.starts_with(BY_HANDLE)
        })
        .collect();
    words.extend(names.iter().take(NAMES_SHOWN).map(|n| (*n).to_owned()));
    if names.len() > NAMES_SHOWN {
        words.push(format!("and {} more", names.len() - NAMES_SHOWN));
    }
    words.join(", ")
}
