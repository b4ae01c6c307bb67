//! The node as a whole: memory that was taken out of use, CPUs that do not
//! run, and throttling, from /proc and /sys.

use std::collections::BTreeSet;

use super::looking::{Look, run as look_at};
use super::owned::{Fields, Owned};
use super::recent::Recent;
use super::tally::Tally;
use super::{Context, End, Failure, Poll};
use crate::clock;
use crate::observation::Source;
use crate::signal::SourceId;
use crate::time::{Timestamp, Uptime};
use crate::tree::Tree;
use std::time::Duration;

const CPUS: &str = "sys/devices/system/cpu";

/// Far above any machine (CONFIG_NR_CPUS is at most 8192).
const CPUS_MAX: usize = 8192;

/// The field that carries a counter until its growth is known.
const COUNTER: &str = "events_hour";

/// The field that carries milliseconds until their growth is known.
const TIME: &str = "share";

/// Looks until told to stop.
///
/// # Errors
/// When the ledger is gone, or this boot has no id.
pub fn run(options: &Poll, context: &mut Context) -> Result<End, Failure> {
    let boot = options.boot_id()?;
    let id = SourceId::from("host");
    let kept = context.positions.get(&id);
    let mut throttled = Throttled {
        recent: Recent::resume(kept, &boot, Duration::from_secs(3600)),
        time: Tally::resume(None, &boot),
        last: None,
    };
    look_at(Source::Host, options, None, context, look, |seen, now| {
        // Of a rate the wall clock, which may be set, says nothing.
        let boot = clock::boot();
        let amend = |fields| throttled.amend(fields, now, boot);
        seen.iter_mut().for_each(amend);
        throttled.time.done(now);
        throttled.last = Some(boot);
        throttled.recent.done(now)
    })
}

/// What the node is like.
///
/// # Errors
/// Never: every host has memory and CPUs.
pub fn look(tree: &Tree) -> Look {
    let mut seen = Vec::new();
    seen.extend(memory(tree));
    let present = cpus(tree, "present");
    let online = cpus(tree, "online");
    let parked = parked(tree);
    for cpu in &present {
        let mut fields = vec![
            ("kind", Owned::Word("cpu")),
            ("cpu", Owned::Number(f64::from(*cpu))),
            ("parked", Owned::Flag(parked)),
        ];
        // Without the list of what runs, nothing is known to be off.
        if !online.is_empty() {
            fields.push(("online", Owned::Flag(online.contains(cpu))));
        }
        seen.push(fields);
    }
    throttling(tree, &online, &mut seen);
    Ok(seen)
}

/// `HardwareCorrupted:     4 kB` (fs/proc/meminfo.c).
fn memory(tree: &Tree) -> Option<Fields> {
    const FILE: &str = "proc/meminfo";
    let text = tree.text(FILE).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("HardwareCorrupted:"));
    let kib = line?.trim().strip_suffix("kB").unwrap_or_default().trim();
    let Ok(kib) = kib.parse::<u32>() else {
        tree.garbled(FILE, line?);
        return None;
    };
    Some(vec![
        ("kind", Owned::Word("memory")),
        ("corrupted", Owned::Number(f64::from(kib))),
    ])
}

/// A list such as `0-3,8` (lib/bitmap.c).
fn cpus(tree: &Tree, file: &str) -> BTreeSet<u16> {
    let path = format!("{CPUS}/{file}");
    let Ok(text) = tree.text(&path) else { return BTreeSet::new() };
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (u16, u16) = (from.parse().ok()?, to.parse().ok()?);
        (from <= to).then_some(from..=to)
    };
    let parts = text.trim().split(',');
    if parts.clone().any(|part| range(part).is_none()) {
        tree.garbled(&path, &text);
        return BTreeSet::new();
    }
    let ranges = parts.filter_map(range);
    ranges.flatten().take(CPUS_MAX).collect()
}

/// Whether people said that not all CPUs shall run: then one that does not is
/// no fault.
fn parked(tree: &Tree) -> bool {
    let smt = tree.text(&format!("{CPUS}/smt/control")).unwrap_or_default();
    let cmdline = tree.text("proc/cmdline").unwrap_or_default();
    let told = |word: &str| {
        ["maxcpus=", "nosmt", "nr_cpus="].iter().any(|w| word.starts_with(w))
            || word.starts_with("mitigations=") && word.contains("nosmt")
    };
    smt.ends_with("off") || cmdline.split(' ').any(told)
}

/// How often and how long cores and packages were too hot, since the boot
/// (Documentation/admin-guide/thermal/; drivers/thermal/intel/therm_throt.c).
/// Threads of a core, and cores of a package, show the same.
fn throttling(tree: &Tree, online: &BTreeSet<u16>, seen: &mut Vec<Fields>) {
    let mut known = BTreeSet::new();
    for cpu in online {
        let at = |file: &str| format!("{CPUS}/cpu{cpu}/{file}");
        let Ok(core_count) =
            tree.number(&at("thermal_throttle/core_throttle_count"))
        else {
            continue;
        };
        let socket = tree.number(&at("topology/physical_package_id")).ok();
        let core = tree.number(&at("topology/core_id")).ok();
        let mut add = |scope: &'static str, count: u64| {
            let time =
                format!("thermal_throttle/{scope}_throttle_total_time_ms");
            let mut fields = vec![
                ("kind", Owned::Word("throttle")),
                ("scope", Owned::Word(scope)),
                ("cpu", Owned::Number(f64::from(*cpu))),
                (COUNTER, Owned::Number(count as f64)),
            ];
            let number = |n: u64| Owned::Number(n as f64);
            fields.extend(socket.map(|s| ("socket", number(s))));
            let time = tree.number(&at(&time)).ok();
            fields.extend(time.map(|ms| (TIME, number(ms))));
            seen.push(fields);
        };
        if known.insert((socket, core.or(Some(u64::from(*cpu))))) {
            add("core", core_count);
        }
        let package = at("thermal_throttle/package_throttle_count");
        if known.insert((socket, None))
            && let Ok(count) = tree.number(&package)
        {
            add("package", count);
        }
    }
}

/// What makes rates of counters.
struct Throttled {
    recent: Recent,
    time: Tally,
    last: Option<Uptime>,
}

impl Throttled {
    /// Puts the growth in the counters' places.
    fn amend(&mut self, fields: &mut Fields, now: Timestamp, boot: Uptime) {
        let number = |fields: &Fields, name| {
            fields.iter().find_map(|(n, value)| match value {
                Owned::Number(x) if *n == name => Some(*x),
                _ => None,
            })
        };
        let Some(count) = number(fields, COUNTER) else { return };
        // A name that is stored: it is to outlive this code's own words.
        let scope = fields.iter().find_map(|(name, value)| match value {
            Owned::Word(scope) if *name == "scope" => Some(*scope),
            _ => None,
        });
        let cpu = number(fields, "cpu").unwrap_or(-1.0);
        let name = format!("{} {cpu}", scope.unwrap_or("cpu"));
        let hour = self.recent.read(&name, count as u64, now);
        let share = number(fields, TIME).and_then(|ms| {
            let grown = self.time.read(&name, ms as u64, now);
            let passed = boot.since(self.last?).as_millis().max(1) as f64;
            let grown = grown.map_or(0, |grown| grown.by) as f64;
            Some((grown / passed * 100.0).min(100.0).round())
        });
        fields.retain(|(name, _)| ![COUNTER, TIME].contains(name));
        fields.push((COUNTER, Owned::Number(hour as f64)));
        fields.extend(share.map(|share| (TIME, Owned::Number(share))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::tree as host;

    #[test]
    fn a_cpu_that_is_present_and_not_online_is_off() {
        let (_dir, tree) = host(&[
            ("sys/devices/system/cpu/present", "0-3,8\n"),
            ("sys/devices/system/cpu/online", "0-1,3,8\n"),
        ]);
        let off =
            |fields: &&Fields| fields.contains(&("online", Owned::Flag(false)));
        let seen = look(&tree).unwrap();
        assert_eq!(seen.len(), 5);
        let off: Vec<_> = seen.iter().filter(off).collect();
        assert_eq!(off.len(), 1);
        assert!(off[0].contains(&("cpu", Owned::Number(2.0))));
        assert!(off[0].contains(&("parked", Owned::Flag(false))));
    }

    #[test]
    fn what_people_turned_off_is_parked() {
        let (_dir, tree) =
            host(&[("proc/cmdline", "ro mitigations=auto,nosmt\n")]);
        assert!(parked(&tree));
        let smt = "sys/devices/system/cpu/smt/control";
        assert!(parked(&host(&[(smt, "forceoff\n")]).1));
        assert!(!parked(&host(&[(smt, "on\n")]).1));
    }

    #[test]
    fn lists_of_cpus_are_bounded_and_garbage_is_none() {
        let list = "sys/devices/system/cpu/online";
        let (_dir, tree) = host(&[(list, "0-65535\n")]);
        assert_eq!(cpus(&tree, "online").len(), CPUS_MAX);
        for junk in ["0-3,x", "5-2", "0,,1", "9-", ""] {
            let (_dir, tree) = host(&[(list, junk)]);
            assert_eq!(cpus(&tree, "online").len(), 0, "{junk}");
            assert!(tree.progress().refused().is_some(), "{junk}");
        }
    }
}
