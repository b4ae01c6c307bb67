//! Processors: which socket each logical CPU is in, and what the firmware
//! knows of the sockets.

use std::collections::{BTreeMap, BTreeSet};

use super::{BOARD, Look};
use crate::parts::census::Reading;
use crate::parts::ids::PartId;
use crate::parts::part::{Part, Realm};

/// More CPUs than Linux can be built for (NR_CPUS, arch/x86/Kconfig).
const CPUS_MAX: u32 = 8192;

/// The most of `/proc/cpuinfo` that is read: 1.5 KB a CPU of x86, and more
/// CPUs than one machine has had.
const CPUINFO_MAX: u64 = 4 << 20;

pub(super) fn read(look: &Look<'_>, reading: &mut Reading) {
    const DIR: &str = "sys/devices/system/cpu";
    let names = match look.tree.names_if_any(DIR) {
        Ok(names) => names,
        Err(error) => {
            reading.unread.insert(Realm::Cpu, format!("/{DIR}: {error}"));
            return;
        }
    };
    let mut cpus: BTreeMap<u32, u32> = BTreeMap::new();
    for name in &names {
        let number = name.strip_prefix("cpu").and_then(|n| n.parse().ok());
        let Some(number) = number.filter(|n| *n < CPUS_MAX) else { continue };
        let path = format!("{DIR}/{name}/topology/physical_package_id");
        let socket = look.tree.tidied(&path).and_then(|t| t.parse().ok());
        // One that is offline does not tell; see below.
        if let Some(socket) = socket {
            cpus.insert(number, socket);
        }
    }
    reading.sockets = ranges(&cpus);
    reading.apic_ids = apic_ids(look);
    let sockets: BTreeSet<u32> = cpus.into_values().collect();
    let model = cpu_model(look);
    let known = &look.tables.processors;
    // The firmware numbers its sockets and so does the kernel; they are the
    // same only if they are as many.
    let is_same = known.len() == sockets.len();
    // Boards that count from zero have BMCs that count from one.
    let from_one = !known.iter().any(|told| {
        told.socket.as_deref().and_then(number).is_some_and(is_zero)
    });
    for (at, socket) in sockets.iter().enumerate() {
        let told = known.get(at).filter(|_| is_same);
        let told = told.cloned().unwrap_or_default();
        let name = PartId::new(&format!("cpu/socket{socket}"));
        let number = told.socket.as_deref().and_then(number);
        let number = number.filter(|_| from_one).map(str::to_owned);
        let mut part = Part {
            serial: told.serial,
            model: told.model.or_else(|| model.clone()),
            place: told.socket,
            within: vec![PartId::new(BOARD)],
            attachment: look.own(),
            ..Part::named(name, Realm::Cpu)
        };
        if let Some(number) = number {
            part.alias(PartId::new(&format!("cpu/{number}")));
        }
        reading.parts.push(part);
    }
}

/// The number that is printed on the board, `2` of `CPU2` or `Proc 2`: a BMC
/// numbers processors by that.
fn number(socket: &str) -> Option<&str> {
    let stem = socket.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = &socket[stem.len()..];
    let plain = stem.chars().all(|c| c.is_ascii_alphabetic() || c == ' ');
    (plain && !number.is_empty()).then_some(number)
}

fn is_zero(number: &str) -> bool {
    number.chars().all(|c| c == '0')
}

/// Runs of CPUs in the same socket. A gap belongs to the run it is in: a CPU
/// that is offline is still in its socket.
fn ranges(cpus: &BTreeMap<u32, u32>) -> Vec<(u32, u32, u32)> {
    let mut ranges: Vec<(u32, u32, u32)> = Vec::new();
    for (cpu, socket) in cpus {
        match ranges.last_mut() {
            Some((_, last, of)) if of == socket => *last = *cpu,
            _ => ranges.push((*cpu, *cpu, *socket)),
        }
    }
    ranges
}

/// The APIC id of each CPU, by which firmware names it; sorted. Only x86
/// has them, and shows them here alone.
fn apic_ids(look: &Look<'_>) -> Vec<(u32, u32)> {
    let begin = ["processor", "apicid"];
    let lines = look.tree.lines_of("proc/cpuinfo", CPUINFO_MAX, &begin);
    let (mut cpu, mut ids) = (None, Vec::new());
    for line in &lines {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim().parse::<u32>().ok();
        match key.trim() {
            "processor" => cpu = value.filter(|n| *n < CPUS_MAX),
            "apicid" => ids.extend(value.zip(cpu.take())),
            _ => {}
        }
    }
    ids.truncate(CPUS_MAX as usize);
    ids.sort_unstable();
    ids
}

fn cpu_model(look: &Look<'_>) -> Option<String> {
    let lines = look.tree.lines("proc/cpuinfo", 16 * 1024);
    let line = lines.iter().find(|line| line.starts_with("model name"))?;
    crate::parts::serials::model(line.split_once(':')?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_is_numbered_on_the_board_tells_its_number() {
        assert_eq!(number("CPU2"), Some("2"));
        assert_eq!(number("Proc 1"), Some("1"));
        assert!(number("SOCKET 0").is_some_and(is_zero));
        assert_eq!(number("LGA4189-4"), None, "the socket's own name");
        assert_eq!(number("P1-CPU"), None);
    }

    #[test]
    fn a_cpu_that_is_offline_is_still_in_its_socket() {
        let cpus = BTreeMap::from([(0, 0), (1, 0), (3, 0), (4, 1), (5, 0)]);
        let expected = vec![(0, 3, 0), (4, 4, 1), (5, 5, 0)];
        assert_eq!(ranges(&cpus), expected);
    }
}
