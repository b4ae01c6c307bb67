//! Processors: which socket each logical CPU is in, and what the firmware
//! knows of the sockets.

use std::collections::{BTreeMap, BTreeSet};

use super::{BOARD, Look};
use crate::parts::census::Reading;
use crate::parts::ids::PartId;
use crate::parts::part::{Part, Realm};

/// More CPUs than Linux can be built for (NR_CPUS, arch/x86/Kconfig).
const CPUS_MAX: u32 = 8192;

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
    let sockets: BTreeSet<u32> = cpus.into_values().collect();
    let model = cpu_model(look);
    let known = &look.tables.processors;
    // The firmware numbers its sockets and so does the kernel; they are the
    // same only if they are as many.
    let is_same = known.len() == sockets.len();
    for (at, socket) in sockets.iter().enumerate() {
        let told = known.get(at).filter(|_| is_same);
        let told = told.cloned().unwrap_or_default();
        reading.parts.push(Part {
            serial: told.serial,
            model: told.model.or_else(|| model.clone()),
            place: told.socket,
            within: vec![PartId::new(BOARD)],
            attachment: look.own(),
            ..Part::named(
                PartId::new(&format!("cpu/socket{socket}")),
                Realm::Cpu,
            )
        });
    }
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

fn cpu_model(look: &Look<'_>) -> Option<String> {
    let lines = look.tree.lines("proc/cpuinfo", 16 * 1024);
    let line = lines.iter().find(|line| line.starts_with("model name"))?;
    crate::parts::serials::model(line.split_once(':')?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_that_is_offline_is_still_in_its_socket() {
        let cpus = BTreeMap::from([(0, 0), (1, 0), (3, 0), (4, 1), (5, 0)]);
        let expected = vec![(0, 3, 0), (4, 4, 1), (5, 5, 0)];
        assert_eq!(ranges(&cpus), expected);
    }
}
