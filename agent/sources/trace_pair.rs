//! One error that several tracepoints tell is one error.
//!
//! The kernel hands a machine check along a chain: first `mce_record` tells
//! it, then the extended log or an EDAC driver tells the same error once
//! more and knows the DIMM (arch/x86/kernel/cpu/mce/core.c, enum
//! mce_notifier_prios). All of that happens in one worker on one CPU, so
//! what follows a machine check of memory in the same ring, at once, is its
//! twin. Where the kernel's collector of corrected errors has eaten it, or
//! no driver is loaded, nothing follows, and the machine check stands for
//! itself. Pure: times are those of the events.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::decode::mce::{Decoded, FIRMWARE_BANK, Registers, Unit, decode};
use crate::decode::trace::ras::{Grade, Memory, Told};

/// How long a twin takes at most: the notifiers run one after the other,
/// and a machine that prints to a serial line does so in between.
pub const TWIN: Duration = Duration::from_millis(250);

/// Firmware's record and the machine check made of it come from different
/// workers; a page that fails is dealt with at leisure.
const LATE: Duration = Duration::from_secs(10);

/// How many pages with errors are remembered for that.
const PAGES_MAX: usize = 64;

/// What is to be told to the patterns.
#[derive(Clone, Debug, PartialEq)]
pub enum Settled {
    /// A machine check, decoded.
    MachineCheck(Box<(Registers, Decoded)>),
    /// Anything else, as it was told.
    Other(Told),
}

/// An error that may still have a twin.
#[derive(Clone, Debug)]
struct Waiting {
    time: u64,
    what: Settled,
}

/// An error that was told, for what comes late.
#[derive(Clone, Copy, Debug)]
struct Page {
    time: u64,
    page: Option<u64>,
    uncorrected: bool,
    firmware: bool,
}

/// The errors of one machine.
#[derive(Debug, Default)]
pub struct Pairing {
    /// Whether anybody may tell machine checks of memory a second time.
    twins: bool,
    waiting: BTreeMap<u32, Waiting>,
    pages: VecDeque<Page>,
    /// How many were found to be told twice.
    pub paired: u64,
}

impl Pairing {
    /// `twins`: an EDAC driver or the extended log tells errors too.
    pub fn new(twins: bool) -> Pairing {
        Pairing { twins, ..Pairing::default() }
    }

    /// Takes an event of this CPU's ring; what is certain now goes to `out`
    /// with the time of its event.
    pub fn take(
        &mut self,
        cpu: u32,
        time: u64,
        told: Told,
        out: &mut Vec<(u64, Settled)>,
    ) {
        match told {
            Told::MachineCheck(registers) => {
                self.machine_check(cpu, time, *registers, out);
            }
            Told::Memory(memory) => self.memory(cpu, time, memory, out),
            Told::PageFailed { pfn, .. } if self.is_known(pfn, time) => {
                self.paired += 1;
            }
            other => {
                self.release(cpu, out);
                out.push((time, Settled::Other(other)));
            }
        }
    }

    /// Gives up waiting for twins of what happened before `now`, by the
    /// events' clock.
    pub fn settle(&mut self, now: u64, out: &mut Vec<(u64, Settled)>) {
        let due = |w: &Waiting| apart(w.time, now) >= TWIN;
        let cpus: Vec<u32> = self
            .waiting
            .iter()
            .filter(|(_, w)| due(w))
            .map(|(cpu, _)| *cpu)
            .collect();
        for cpu in cpus {
            self.release(cpu, out);
        }
        // The rings are read one after the other, perhaps hours of each: in
        // that order the windows of tolerances would see what never was.
        out.sort_by_key(|(time, _)| *time);
    }

    /// Whether something waits for its twin.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn machine_check(
        &mut self,
        cpu: u32,
        time: u64,
        registers: Registers,
        out: &mut Vec<(u64, Settled)>,
    ) {
        self.release(cpu, out);
        let decoded = decode(&registers);
        let page = registers.addr.map(|addr| addr >> 12);
        let is_memory = decoded.unit == Unit::Memory;
        // Made by the kernel of a record that firmware gave it, after EDAC
        // was told the same.
        let firmware = registers.bank == Some(FIRMWARE_BANK);
        if firmware && self.was_told(page, time) {
            self.paired += 1;
            return;
        }
        if decoded.severity.is_uncorrected() {
            self.remember(
                time,
                decoded.address.as_ref().map(|a| a.value >> 12),
            );
        }
        let what = Settled::MachineCheck(Box::new((registers, decoded)));
        if is_memory && self.twins {
            self.waiting.insert(cpu, Waiting { time, what });
        } else {
            out.push((time, what));
        }
    }

    fn memory(
        &mut self,
        cpu: u32,
        time: u64,
        memory: Memory,
        out: &mut Vec<(u64, Settled)>,
    ) {
        if self.waiting.get(&cpu).is_some_and(|w| is_twin(w, time, &memory)) {
            self.waiting.remove(&cpu);
            self.paired += 1;
        } else {
            self.release(cpu, out);
        }
        let page = memory.address.map(|address| address >> 12);
        push(
            &mut self.pages,
            Page {
                time,
                page,
                uncorrected: memory.grade != Grade::Corrected,
                firmware: true,
            },
        );
        let waits = memory.firmware && self.twins;
        let what = Settled::Other(Told::Memory(memory));
        if waits {
            self.waiting.insert(cpu, Waiting { time, what });
        } else {
            out.push((time, what));
        }
    }

    fn remember(&mut self, time: u64, page: Option<u64>) {
        push(
            &mut self.pages,
            Page { time, page, uncorrected: true, firmware: false },
        );
    }

    /// Whether the kernel deals with a page whose error was told.
    fn is_known(&self, pfn: u64, time: u64) -> bool {
        self.pages.iter().any(|p| {
            let same = p.page.is_none_or(|page| page == pfn);
            p.uncorrected && same && apart(p.time, time) <= LATE
        })
    }

    /// Whether EDAC told an error of this page: once for each that it told.
    fn was_told(&mut self, page: Option<u64>, time: u64) -> bool {
        let found = self.pages.iter_mut().find(|p| {
            p.firmware && p.page == page && apart(p.time, time) <= LATE
        });
        let Some(found) = found else { return false };
        found.firmware = false;
        true
    }

    fn release(&mut self, cpu: u32, out: &mut Vec<(u64, Settled)>) {
        if let Some(waiting) = self.waiting.remove(&cpu) {
            out.push((waiting.time, waiting.what));
        }
    }
}

/// An EDAC driver after a machine check or after the extended log; the
/// extended log after a machine check.
fn is_twin(waiting: &Waiting, time: u64, memory: &Memory) -> bool {
    let before = match &waiting.what {
        Settled::MachineCheck(_) => true,
        Settled::Other(_) => !memory.firmware,
    };
    before && apart(waiting.time, time) <= TWIN
}

fn apart(a: u64, b: u64) -> Duration {
    Duration::from_nanos(a.abs_diff(b))
}

fn push(pages: &mut VecDeque<Page>, page: Page) {
    if pages.len() >= PAGES_MAX {
        pages.pop_front();
    }
    pages.push_back(page);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn check(addr: u64) -> Told {
        Told::MachineCheck(Box::new(Registers {
            status: 0x8c00_0040_0001_0090,
            bank: Some(7),
            addr: Some(addr),
            ..Registers::default()
        }))
    }

    fn edac(address: u64) -> Memory {
        Memory {
            grade: Grade::Corrected,
            firmware: false,
            count: 1,
            mc: Some(0),
            label: "DIMM_A1".into(),
            layers: None,
            message: String::new(),
            address: Some(address),
            syndrome: None,
        }
    }

    fn told(events: &[(u32, u64, Told)], twins: bool) -> Vec<&'static str> {
        let (mut pairing, mut out) = (Pairing::new(twins), Vec::new());
        let mut last = 0;
        for (cpu, time, told) in events {
            pairing.take(*cpu, *time, told.clone(), &mut out);
            last = *time;
        }
        pairing.settle(last + 1000 * MS, &mut out);
        assert!(!pairing.is_waiting());
        let name = |(_, settled): &(u64, Settled)| match settled {
            Settled::MachineCheck(_) => "check",
            Settled::Other(Told::Memory(m)) if m.firmware => "extlog",
            Settled::Other(Told::Memory(_)) => "edac",
            Settled::Other(Told::PageFailed { .. }) => "page",
            Settled::Other(_) => "other",
        };
        out.iter().map(name).collect()
    }

    #[test]
    fn a_machine_check_that_edac_tells_too_is_edacs() {
        let twice =
            [(0, MS, check(0x5000)), (0, 2 * MS, Told::Memory(edac(0x5000)))];
        assert_eq!(told(&twice, true), ["edac"]);
        let thrice = [
            (0, MS, check(0x5000)),
            (0, 2 * MS, Told::Memory(Memory { firmware: true, ..edac(1) })),
            (0, 3 * MS, Told::Memory(edac(0x5000))),
        ];
        assert_eq!(told(&thrice, true), ["edac"]);
    }

    #[test]
    fn a_machine_check_that_was_eaten_stands_for_itself() {
        let eaten = [(0, MS, check(0x5000)), (0, 2 * MS, check(0x5000))];
        assert_eq!(told(&eaten, true), ["check", "check"]);
        // The second was eaten, the third was not.
        let mixed = [
            (0, MS, check(0x5000)),
            (0, 2 * MS, check(0x6000)),
            (0, 3 * MS, Told::Memory(edac(0x6000))),
        ];
        assert_eq!(told(&mixed, true), ["check", "edac"]);
    }

    #[test]
    fn identical_errors_are_as_many_as_were_told() {
        let pair = |n: u64| {
            [
                (0, n * MS, check(0x5000)),
                (0, n * MS + 1, Told::Memory(edac(0x5000))),
            ]
        };
        let five: Vec<_> = (1..=5).flat_map(pair).collect();
        assert_eq!(told(&five, true), ["edac"; 5]);
    }

    #[test]
    fn what_another_cpu_tells_or_what_comes_later_is_no_twin() {
        let other =
            [(0, MS, check(0x5000)), (1, 2 * MS, Told::Memory(edac(0x5000)))];
        assert_eq!(told(&other, true), ["check", "edac"]);
        let late =
            [(0, MS, check(0x5000)), (0, 900 * MS, Told::Memory(edac(0x5000)))];
        assert_eq!(told(&late, true), ["check", "edac"]);
    }

    #[test]
    fn what_the_rings_of_several_cpus_kept_comes_out_by_its_time() {
        let (mut pairing, mut out) = (Pairing::new(true), Vec::new());
        for cpu in [0, 1] {
            for n in 0..50 {
                let time = (1 + 2 * n + u64::from(cpu)) * 1000 * MS;
                pairing.take(cpu, time, check(0x5000), &mut out);
            }
        }
        pairing.settle(u64::MAX, &mut out);
        assert_eq!(out.len(), 100);
        assert!(out.is_sorted_by_key(|(time, _)| *time));
    }

    #[test]
    fn without_anyone_who_tells_twice_nothing_waits() {
        let (mut pairing, mut out) = (Pairing::new(false), Vec::new());
        pairing.take(0, MS, check(0x5000), &mut out);
        assert!(!pairing.is_waiting());
        assert_eq!(out.len(), 1);
    }

    #[test]
    fn a_check_that_the_kernel_makes_of_firmwares_record_is_no_second_error() {
        let faked = || {
            let Told::MachineCheck(mut registers) = check(0x5040) else {
                panic!("a check");
            };
            registers.bank = Some(FIRMWARE_BANK);
            Told::MachineCheck(registers)
        };
        let twice = [(3, MS, Told::Memory(edac(0x5000))), (0, 5 * MS, faked())];
        assert_eq!(told(&twice, true), ["edac"]);
        let two = [
            (3, MS, Told::Memory(edac(0x5000))),
            (0, 5 * MS, faked()),
            (0, 6 * MS, faked()),
        ];
        assert_eq!(told(&two, true), ["edac", "check"]);
    }

    #[test]
    fn a_page_that_fails_belongs_to_the_error_told_before() {
        let failed = |pfn| Told::PageFailed { pfn, result: "recovered" };
        let lost = Memory { grade: Grade::Uncorrected, ..edac(0x7000) };
        let known = [(0, MS, Told::Memory(lost)), (2, 900 * MS, failed(7))];
        assert_eq!(told(&known, true), ["edac"]);
        assert_eq!(told(&[(0, MS, failed(7))], true), ["page"]);
        let corrected =
            [(0, MS, Told::Memory(edac(0x7000))), (2, 2 * MS, failed(7))];
        assert_eq!(told(&corrected, true), ["edac", "page"]);
    }

    #[test]
    fn pages_remembered_are_bounded() {
        let (mut pairing, mut out) = (Pairing::new(true), Vec::new());
        for n in 0..PAGES_MAX as u64 * 3 {
            pairing.take(0, n, Told::Memory(edac(n << 12)), &mut out);
        }
        assert_eq!(pairing.pages.len(), PAGES_MAX);
    }
}
