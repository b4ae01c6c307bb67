//! From a name to the part it is: what a pattern calls `disk/sda1`,
//! `disk/2:0:0:0`, `disk/ata4.00` or `pci/0000:3b:00.0` may be one drive.

use super::super::ids::{PartId, is_volatile, wholes};
use super::super::part::{About, Part, Realm};
use super::Census;

/// How many other names a fault keeps of its part: a drive has a handful,
/// and there may be a thousand faults.
const NAMES_MAX: usize = 8;

/// How many carriers' numbers are remembered for a part without its own.
const CARRIERS_MAX: usize = 4;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What a fault on it is filed under.
    pub identity: PartId,
    /// What is known of it.
    pub about: About,
}

impl Census {
    /// What `raw` stands for; `None` if the census knows no such part.
    pub fn resolve(&self, raw: &PartId) -> Option<Found> {
        if raw.kind() == "fs" {
            return self.filesystem(raw);
        }
        if let Some(part) = self.part_of(raw) {
            let mut about = self.about(part);
            // An address is shown as the kernel wrote it, a number is not.
            let is_number =
                *raw == part.identity() && part.address.as_ref() != Some(raw);
            // A channel that stands for its only module is not what is pulled.
            let is_own = raw.kind() == part.name.kind()
                || raw.kind() == "channel"
                || is_number;
            if !is_own {
                about.name = raw.clone();
            }
            return Some(Found { identity: part.identity(), about });
        }
        self.core(raw).or_else(|| self.channel(raw))
    }

    /// The part that goes by a name, or that a partition is on.
    fn part_of(&self, raw: &PartId) -> Option<&Part> {
        if let Some(part) = self.get(raw) {
            return Some(part);
        }
        if let Some((_, name)) = self.in_socket(raw)
            && let Some(part) = self.get(&name)
        {
            return Some(part);
        }
        match raw.kind() {
            "disk" => wholes(raw.name()).find_map(|(whole, _)| {
                self.get(&PartId::new(&format!("disk/{whole}")))
            }),
            "pci" | "gpu" | "hba" | "nic" => {
                let address = address(raw.name())?;
                self.get(&PartId::new(&format!("pci/{address}")))
            }
            "dimm" => {
                let at = (*self.labels.get(&plain(raw.name()))?)?;
                self.parts.get(at).map(|(_, part)| part)
            }
            _ => None,
        }
    }

    /// A filesystem is no part that is pulled, but it is on one: filed under
    /// the disk's identity and the partition, since the next boot may give
    /// its name to another.
    fn filesystem(&self, raw: &PartId) -> Option<Found> {
        if let Some((part, partition)) = self.named_filesystem(raw) {
            let mut about = self.about(part);
            about.within.insert(0, part.identity());
            let disk = about.name.name();
            let apart = match disk.ends_with(|c: char| c.is_ascii_digit()) {
                true if part.realm == Realm::Nvme => "n",
                true if !partition.is_empty() => "p",
                _ => "",
            };
            about.name = PartId::new(&format!("fs/{disk}{apart}{partition}"));
            return Some(Found { identity: raw.clone(), about });
        }
        let disk = |name: &str| {
            let disk = PartId::new(&format!("disk/{name}"));
            self.get(&disk).map(|part| (part, disk))
        };
        let whole = disk(raw.name()).map(|(part, _)| (part, ""));
        let (part, partition) = whole.or_else(|| {
            wholes(raw.name())
                .find_map(|(whole, n)| disk(whole).map(|(p, _)| (p, n)))
        })?;
        let mut about = self.about(part);
        about.name = raw.clone();
        about.within.insert(0, part.identity());
        let mapped = ["dm-", "md", "mapper/"];
        if mapped.iter().any(|m| raw.name().starts_with(m)) {
            return Some(Found { identity: raw.clone(), about });
        }
        // A namespace is part of the name: nvme0n2p1 is another filesystem.
        let name = part.identity();
        let namespace = raw
            .name()
            .split_once('n')
            .filter(|_| part.name.name().starts_with("nvme"));
        let namespace = namespace.and_then(|(_, rest)| rest.split_once('n'));
        let namespace = namespace.map_or("", |(_, rest)| rest);
        let within = if namespace.is_empty() { partition } else { namespace };
        let identity = format!("fs/{}:{within}", name.name());
        Some(Found { identity: PartId::new(&identity), about })
    }

    /// The disk and the partition of a filesystem's identity, as made below.
    fn named_filesystem<'a>(
        &self,
        raw: &'a PartId,
    ) -> Option<(&Part, &'a str)> {
        let (disk, partition) = raw.name().rsplit_once(':')?;
        let disk = PartId::new(&format!("disk/{disk}"));
        let part = self.get(&disk)?;
        (part.identity() == disk).then_some((part, partition))
    }

    /// A logical CPU is filed under its own name, and sits in its socket;
    /// firmware names it by its APIC id.
    fn core(&self, raw: &PartId) -> Option<Found> {
        if raw.kind() != "cpu" {
            return None;
        }
        if let Some(id) = raw.name().strip_prefix("apic") {
            let id: u32 = id.parse().ok()?;
            let at = self.apic_ids.binary_search_by_key(&id, |(id, _)| *id);
            let (_, cpu) = self.apic_ids[at.ok()?];
            return self.core(&PartId::new(&format!("cpu/cpu{cpu}")));
        }
        let number: u32 = raw.name().strip_prefix("cpu")?.parse().ok()?;
        let socket = self.socket_of(number)?;
        let socket = PartId::new(&format!("cpu/socket{socket}"));
        let part = self.get(&socket)?;
        let mut about = self.about(part);
        about.name = raw.clone();
        about.within.insert(0, part.identity());
        about.aliases.clear();
        Some(Found { identity: raw.clone(), about })
    }

    /// A channel or controller of a socket's memory, or a module of which
    /// nothing else is known, sits at its socket.
    fn channel(&self, raw: &PartId) -> Option<Found> {
        let (socket, name) = self.in_socket(raw)?;
        let part = self.get(&PartId::new(&format!("cpu/socket{socket}")))?;
        let mut about = self.about(part);
        about.name = name.clone();
        about.within.insert(0, part.identity());
        about.aliases.clear();
        // Its own model and number nobody knows; the socket's are not its.
        (about.model, about.serial, about.number) = (None, None, None);
        about.carriers.clear();
        Some(Found { identity: name, about })
    }

    /// The socket of a piece of memory that a machine check names, and the
    /// name by the socket: `channel/cpu9-umc1`, as it is called where the
    /// text tells only the CPU, is that of the CPU's socket.
    fn in_socket(&self, raw: &PartId) -> Option<(u32, PartId)> {
        if !["dimm", "channel", "memory"].contains(&raw.kind()) {
            return None;
        }
        let (first, rest) = raw.name().split_once('-').unzip();
        let first = first.unwrap_or(raw.name());
        let socket = match first.strip_prefix("cpu") {
            Some(cpu) => self.socket_of(cpu.parse().ok()?)?,
            None => first.strip_prefix("socket")?.parse().ok()?,
        };
        let rest = rest.map(|rest| format!("-{rest}")).unwrap_or_default();
        let name = format!("{}/socket{socket}{rest}", raw.kind());
        Some((socket, PartId::new(&name)))
    }

    fn socket_of(&self, cpu: u32) -> Option<u32> {
        let mut all = self.sockets.iter();
        let of = |(first, last, _): &&(u32, u32, u32)| {
            (*first..=*last).contains(&cpu)
        };
        all.find(of).map(|(_, _, socket)| *socket)
    }

    /// What is known of a part.
    fn about(&self, part: &Part) -> About {
        let carriers = match part.number() {
            Some(_) => Vec::new(),
            None => self.carriers(part),
        };
        let name = self.shown(part);
        let mut aliases = part.aliases.clone();
        aliases.extend(part.address.clone());
        aliases.retain(|alias| *alias != name);
        aliases.truncate(NAMES_MAX);
        About {
            name,
            owner: part.identity(),
            place: part.place.clone(),
            model: part.model.clone(),
            serial: part.serial.clone().or_else(|| part.wwn.clone()),
            attachment: part.attachment,
            within: part.within.clone(),
            aliases,
            counted: part.is_counted(),
            presence: part.presence,
            number: part.number().map(str::to_owned),
            carriers,
        }
    }

    /// What carries a part, with its number, under names that stay.
    fn carriers(&self, part: &Part) -> Vec<(PartId, String)> {
        let numbered = part.within.iter().filter_map(|carrier| {
            let carrier = self.get(carrier)?;
            let number = carrier.number()?.to_owned();
            let name = carrier.address.as_ref().unwrap_or(&carrier.name);
            Some((name.clone(), number))
        });
        numbered
            .filter(|(name, _)| !is_volatile(name))
            .take(CARRIERS_MAX)
            .collect()
    }
}

/// A PCI address as sysfs writes it, from what drivers print: without a
/// domain, without a function.
fn address(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let colons = text.matches(':').count();
    let full = if colons == 1 { format!("0000:{text}") } else { text };
    let full = if full.contains('.') { full } else { format!("{full}.0") };
    let is_address = full.matches(':').count() == 2
        && full
            .bytes()
            .all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.');
    is_address.then_some(full)
}

/// A label without what people and firmware write differently.
pub(super) fn plain(label: &str) -> String {
    label
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_uppercase())
        .collect()
}
