//! The census: every part of the machine with all its names, and what is
//! remembered of those that are gone. Pure: one reading of the machine and
//! the census before it make the next.
//!
//! A part that vanished stays in the census until another has taken its
//! place, it is found elsewhere, or a person says that it was taken out; a
//! dead device can't be asked, so its names, place and serial number are
//! kept from when it could. Kernel names hold for one boot only.

mod resolve;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ids::PartId;
use super::part::{About, Part, Presence, Realm};
use super::units::{is_supply_of_bmc, is_supply_of_tables};
use crate::time::BootId;

pub use resolve::Found;

/// The most parts kept; the largest servers have some hundred, and what has
/// more is a machine full of virtual functions.
pub const PARTS_MAX: usize = 4096;

/// How many volumes and other parts that are not this machine's hardware are
/// remembered after they went; pods attach and detach them all day.
const PASSING_MAX: usize = 256;

/// One look at the machine.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// What there is.
    pub parts: Vec<Part>,
    /// The socket of each range of CPUs: first, last, socket.
    pub sockets: Vec<(u32, u32, u32)>,
    /// The CPU of each APIC id, sorted by that.
    pub apic_ids: Vec<(u32, u32)>,
    /// What could not be read, with the reason: its parts may be there.
    pub unread: BTreeMap<Realm, String>,
    /// Whether no BMC was asked for the units that it knows.
    pub asked_no_bmc: bool,
}

/// All parts of the machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Census {
    /// The boot whose kernel names these are.
    pub boot: BootId,
    /// How many looks there were.
    pub looks: u64,
    /// The parts, present ones first, each with the number of the look that
    /// last saw it.
    parts: Vec<(u64, Part)>,
    /// The socket of each range of CPUs: first, last, socket.
    sockets: Vec<(u32, u32, u32)>,
    /// The CPU of each APIC id, sorted by that.
    apic_ids: Vec<(u32, u32)>,
    /// Parts that had no room.
    pub dropped: u64,
    #[serde(skip)]
    index: BTreeMap<PartId, usize>,
    #[serde(skip)]
    labels: BTreeMap<String, Option<usize>>,
}

impl Census {
    /// The census after a look at the machine in this boot.
    pub fn after(&self, boot: &BootId, reading: Reading) -> Census {
        let mut next = Census {
            boot: boot.clone(),
            looks: self.looks + 1,
            sockets: reading.sockets,
            apic_ids: reading.apic_ids,
            ..Census::default()
        };
        if reading.unread.contains_key(&Realm::Cpu) {
            next.sockets.clone_from(&self.sockets);
            next.apic_ids.clone_from(&self.apic_ids);
        }
        let mut unread = reading.unread;
        if reading.asked_no_bmc && self.parts().any(|p| p.realm == Realm::Bmc) {
            let why = "no BMC was asked".to_owned();
            unread.entry(Realm::Bmc).or_insert(why);
        }
        let mut present = unique(reading.parts);
        self.keep_places(&mut present);
        self.keep_numbers(&mut present);
        self.keep_identities(&mut present, self.boot == *boot);
        if unread.contains_key(&Realm::Bmc)
            && self.parts().any(is_supply_of_bmc)
        {
            // The BMC knows them better, also while it is deaf.
            present.retain(|part| !is_supply_of_tables(part));
        }
        if self.boot == *boot
            && self.parts().any(is_of_tables)
            && !present.iter().any(is_of_tables)
        {
            // They can't change while the machine runs.
            let why = "the firmware's tables are not there any more";
            unread.entry(Realm::Smbios).or_insert_with(|| why.into());
        }
        let is_of_edac = |part: &Part| part.realm == Realm::Edac;
        if self.parts().any(is_of_edac) && !present.iter().any(is_of_edac) {
            // Modules do not all vanish at once, drivers do, and a boot may
            // leave one out.
            let why = "no memory controller is known to EDAC any more";
            unread.entry(Realm::Edac).or_insert_with(|| why.into());
        }
        self.remember(&mut present, &unread, &mut next);
        let looks = next.looks;
        next.parts.extend(present.into_iter().map(|p| (looks, p)));
        next.bound();
        next.bind();
        next
    }

    /// The census as it was written down, for this boot: nothing is known to
    /// be there until it has been looked for, and names of another boot are
    /// no names.
    pub fn restored(mut self, boot: &BootId) -> Census {
        let same_boot = self.boot == *boot;
        self.parts.truncate(PARTS_MAX);
        for (_, part) in &mut self.parts {
            part.aliases.truncate(super::part::ALIASES_MAX);
            if part.presence == Presence::Present {
                part.presence = Presence::Unknown;
            }
            if !same_boot {
                part.unbind();
            }
        }
        self.bind();
        self
    }

    /// Whether it says the same as another, whenever they were taken.
    pub fn is_same(&self, other: &Census) -> bool {
        self.boot == other.boot
            && self.sockets == other.sockets
            && self.apic_ids == other.apic_ids
            && self.parts().eq(other.parts())
    }

    /// Forgets a part that is gone, since a person said that it was taken
    /// out; whether it was known and gone.
    pub fn forget(&mut self, identity: &PartId) -> bool {
        let before = self.parts.len();
        self.parts.retain(|(_, part)| {
            part.presence == Presence::Present || part.identity() != *identity
        });
        let forgot = self.parts.len() != before;
        if forgot {
            self.bind();
        }
        forgot
    }

    /// Every part, those that are gone too.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().map(|(_, part)| part)
    }

    /// The part with this identity or name.
    pub fn get(&self, name: &PartId) -> Option<&Part> {
        let at = *self.index.get(name)?;
        self.parts.get(at).map(|(_, part)| part)
    }

    /// What people should call a part: its name, unless another part goes by
    /// that name now.
    pub fn shown(&self, part: &Part) -> PartId {
        let own = self.get(&part.name).is_some_and(|p| p == part);
        if own { part.name.clone() } else { part.identity() }
    }

    /// How many parts of a sort (`dimm`, `nvme`, `disk`, …) are there.
    pub fn count(&self, what: &str) -> usize {
        let there = |p: &&Part| {
            p.presence == Presence::Present
                && p.is_counted()
                && p.counts_as(what)
        };
        self.parts().filter(there).count()
    }

    /// Whether another part has taken the place of this one, which is
    /// nowhere else in the machine.
    pub fn is_replaced(&self, about: &About) -> bool {
        let is_here = |number: &str| {
            self.parts().any(|p| {
                p.presence != Presence::Gone && p.number() == Some(number)
            })
        };
        let Some(number) = &about.number else {
            // A part without a number goes with what carries it.
            return about.carriers.iter().any(|(carrier, number)| {
                let now = self.get(carrier).filter(|p| is_present(p));
                let now = now.and_then(Part::number);
                now.is_some_and(|now| now != number) && !is_here(number)
            });
        };
        about.place.is_some()
            && !is_here(number)
            && self.taker(about.place.as_deref(), number).is_some()
    }

    /// A part that hangs where it hung is in the bay where it was, also while
    /// the enclosure's driver is not there.
    fn keep_places(&self, present: &mut [Part]) {
        for part in present.iter_mut().filter(|p| p.place == p.port) {
            let before = self.get(&part.identity());
            let same = before.filter(|b| {
                part.number().is_some()
                    && b.number() == part.number()
                    && b.port == part.port
            });
            if let Some(before) = same {
                part.place.clone_from(&before.place);
            }
        }
    }

    /// A unit of a BMC that is there while its inventory can't be read is the
    /// one that was there: nothing says that it is another.
    fn keep_numbers(&self, present: &mut [Part]) {
        let unknown =
            |p: &&mut Part| p.realm == Realm::Bmc && p.number().is_none();
        for part in present.iter_mut().filter(unknown) {
            let before = self.parts().find(|b| {
                b.realm == Realm::Bmc
                    && b.name == part.name
                    && b.number().is_some()
            });
            if let Some(before) = before {
                part.serial.clone_from(&before.serial);
                part.model.clone_from(&before.model);
                part.place.clone_from(&before.place);
            }
        }
    }

    /// A part whose number can't be read now is the one that was there: what
    /// can't be asked is not another.
    fn keep_identities(&self, present: &mut [Part], same_boot: bool) {
        let numberless = |part: &&mut Part| part.number().is_none();
        for part in present.iter_mut().filter(numberless) {
            let before = self.get(&part.name).filter(|before| {
                same_boot
                    && before.presence != Presence::Gone
                    && is_same_spot(before, part)
            });
            if let Some(before) = before {
                part.serial.clone_from(&before.serial);
                part.wwn.clone_from(&before.wwn);
                part.model = before.model.clone().or(part.model.take());
            }
        }
    }

    /// The part that is now in `place`, if it is another than `number`.
    fn taker(&self, place: Option<&str>, number: &str) -> Option<&Part> {
        let mut here = self
            .parts()
            .filter(|p| is_present(p) && p.place.as_deref() == place);
        let first = here.next()?;
        // A place that two parts share tells nothing.
        let alone = here.next().is_none();
        (alone && first.number().is_some_and(|n| n != number)).then_some(first)
    }

    /// Takes over what is not there any more.
    fn remember(
        &self,
        present: &mut Vec<Part>,
        unread: &BTreeMap<Realm, String>,
        next: &mut Census,
    ) {
        let same_boot = self.boot == next.boot;
        let found: BTreeSet<PartId> =
            present.iter().map(Part::identity).collect();
        let superseded = present.iter().any(is_supply_of_bmc);
        for (seen, part) in &self.parts {
            if found.contains(&part.identity())
                || superseded && is_supply_of_tables(part)
            {
                continue;
            }
            let mut part = part.clone();
            let (mut seen, is_unread) = (*seen, unread.get(&part.realm));
            let may_be = present.iter().any(|now| may_be_the_same(now, &part));
            part.presence = match is_unread {
                Some(_) => Presence::Unknown,
                None if may_be => Presence::Unknown,
                None => Presence::Gone,
            };
            if is_unread.is_none() && fold(&mut part, present) {
                seen = next.looks;
            }
            let number = part.number().unwrap_or_default().to_owned();
            let place = part.place.as_deref();
            let is_taken = !number.is_empty()
                && part.presence == Presence::Gone
                && place.is_some()
                && taken(present, place, &number);
            // It had none when it was first seen, and could not be asked.
            let is_known_now = number.is_empty()
                && same_boot
                && present.iter().any(|now| {
                    now.number().is_some()
                        && now.name == part.name
                        && is_same_spot(now, &part)
                });
            if is_taken || is_known_now || (!same_boot && !part.is_counted()) {
                continue;
            }
            if !same_boot && part.presence != Presence::Present {
                part.unbind();
            }
            next.parts.push((seen, part));
        }
    }

    /// Keeps within the bounds: what is there before what is gone.
    fn bound(&mut self) {
        self.parts.sort_by(|(a_seen, a), (b_seen, b)| {
            let rank = |p: &Part| (p.presence, !p.is_counted());
            rank(a)
                .cmp(&rank(b))
                .then_with(|| b_seen.cmp(a_seen))
                .then_with(|| a.name.cmp(&b.name))
        });
        let mut passing = 0;
        self.parts.retain(|(_, part)| {
            let passes = part.presence == Presence::Gone && !part.is_counted();
            passing += usize::from(passes);
            !passes || passing <= PASSING_MAX
        });
        let over = self.parts.len().saturating_sub(PARTS_MAX);
        self.dropped = over as u64;
        self.parts.truncate(PARTS_MAX);
    }

    /// Binds names to parts; those that are there come first, and so win.
    fn bind(&mut self) {
        self.index.clear();
        self.labels.clear();
        for at in 0..self.parts.len() {
            let part = &self.parts[at].1;
            let mut names = vec![part.identity()];
            if !part.unbound {
                names.push(part.name.clone());
            }
            names.extend(part.address.clone());
            names.extend(part.aliases.iter().cloned());
            for name in names {
                if name.kind() == "dimm" {
                    let label = resolve::plain(name.name());
                    let entry = self.labels.entry(label).or_insert(Some(at));
                    if *entry != Some(at) {
                        *entry = None;
                    }
                }
                self.index.entry(name).or_insert(at);
            }
        }
        self.bind_carriers();
    }

    /// Names what parts sit in by identity.
    fn bind_carriers(&mut self) {
        let identity: BTreeMap<PartId, PartId> = self
            .index
            .iter()
            .map(|(name, at)| (name.clone(), self.parts[*at].1.identity()))
            .collect();
        for (_, part) in &mut self.parts {
            for carrier in &mut part.within {
                if let Some(known) = identity.get(carrier) {
                    carrier.clone_from(known);
                }
            }
        }
    }
}

fn is_of_tables(part: &Part) -> bool {
    part.realm == Realm::Smbios && part.name.kind() == "dimm"
}

/// Whether a part whose number nobody can read sits where one with a number
/// sat, and is of its model: which of the two it is can't be told.
fn may_be_the_same(now: &Part, before: &Part) -> bool {
    now.number().is_none()
        && before.number().is_some()
        && before.place.is_some()
        && now.name.kind() == before.name.kind()
        && now.place == before.place
        && now.model == before.model
}

/// Whether two parts hang in the same place.
fn is_same_spot(one: &Part, other: &Part) -> bool {
    one.realm == other.realm
        && one.port == other.port
        && one.address == other.address
        && one.hardware == other.hardware
}

fn is_present(part: &Part) -> bool {
    part.presence == Presence::Present
}

fn taken(present: &[Part], place: Option<&str>, number: &str) -> bool {
    let mut here = present.iter().filter(|p| p.place.as_deref() == place);
    let first = here.next();
    first.and_then(Part::number).is_some_and(|n| n != number)
        && here.next().is_none()
}

/// A function that lost its driver has lost what only the driver can tell:
/// it is the part that was known at its address, if the hardware is the
/// same. A disk that the kernel gave up on is gone for the machine, one that
/// is lent is not. Whether it was found.
fn fold(part: &mut Part, present: &mut Vec<Part>) -> bool {
    let Some(address) = part.address.clone() else { return false };
    let same = |p: &Part| {
        p.address.as_ref() == Some(&address)
            && p.number().is_none()
            && p.hardware == part.hardware
    };
    let Some(at) = present.iter().position(same) else { return false };
    let bare = &present[at];
    let is_lent = bare.attachment == super::part::Attachment::Borrowed;
    if part.realm == Realm::Nvme && !is_lent {
        present.remove(at);
        return false;
    }
    let bare = present.remove(at);
    part.attachment = bare.attachment;
    part.place = bare.place.or(part.place.take());
    part.within = bare.within;
    part.presence = Presence::Present;
    true
}

/// Takes away what tells nothing: numbers that several parts have, and
/// second entries of the same part.
fn unique(parts: Vec<Part>) -> Vec<Part> {
    let mut serials: BTreeMap<(String, String), usize> = BTreeMap::new();
    let key = |part: &Part, serial: &str| {
        (part.name.kind().to_owned(), serial.to_owned())
    };
    for part in &parts {
        if let (Some(serial), None) = (&part.serial, &part.wwn) {
            *serials.entry(key(part, serial)).or_insert(0) += 1;
        }
    }
    let mut all: Vec<Part> = Vec::new();
    let mut known: BTreeMap<PartId, usize> = BTreeMap::new();
    for mut part in parts.into_iter().take(PARTS_MAX * 2) {
        let repeated = part.serial.as_ref().is_some_and(|serial| {
            serials.get(&key(&part, serial)).is_some_and(|n| *n > 1)
        });
        if repeated && part.wwn.is_none() {
            part.serial = None;
        }
        match known.get(&part.identity()) {
            // Two paths to one disk.
            Some(at) => {
                let first = &mut all[*at];
                first.alias(part.name);
                for alias in part.aliases {
                    first.alias(alias);
                }
            }
            None => {
                known.insert(part.identity(), all.len());
                all.push(part);
            }
        }
    }
    all
}
