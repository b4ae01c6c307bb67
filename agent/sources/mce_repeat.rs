//! One machine check that several CPUs report.
//!
//! A machine check exception goes to all CPUs of an Intel machine, and each
//! reads the banks: one that the CPUs of a socket share, or the threads of a
//! core, is then reported once by each of them. Kernels since 4.3 leave out
//! of a panic's text what bank, status and registers show to be the same
//! (is_duplicate_mce_record, arch/x86/kernel/cpu/mce/genpool.c); older ones,
//! and the tracepoint, tell all. Old kernels for AMD also print what stops
//! them in two forms. Pure.

use std::time::Duration;

use crate::decode::mce::{Decoded, Registers, Severity};
use crate::time::Timestamp;

/// How far apart the reports may lie: a serial console takes some 15 ms a
/// block, and an exception waits a second at most for all CPUs to come in
/// (monarch_timeout, mce/core.c).
const WITHIN: Duration = Duration::from_secs(2);

/// How many are remembered: more banks than one exception ever fills.
const KEPT_MAX: usize = 32;

/// A machine check that was told.
#[derive(Debug)]
struct Told {
    at: Timestamp,
    registers: Registers,
    /// Only the threads of one core share its bank.
    cores_own: bool,
    /// Whether it was told in both forms.
    both: bool,
}

/// The machine checks that one source told of late.
#[derive(Debug, Default)]
pub struct Repeats {
    told: Vec<Told>,
}

impl Repeats {
    /// Whether another CPU has told this one already; if not, it is
    /// remembered.
    pub fn is_told(
        &mut self,
        registers: &Registers,
        decoded: &Decoded,
        at: Timestamp,
    ) -> bool {
        let fatal = decoded.severity == Severity::Fatal;
        if !decoded.exception && !fatal {
            return false; // nearly always
        }
        self.told.retain(|told| {
            at.since(told.at) <= WITHIN && told.at.since(at) <= WITHIN
        });
        let mut all = self.told.iter_mut();
        if all.any(|told| told.takes(registers, fatal)) {
            return true;
        }
        if self.told.len() == KEPT_MAX {
            self.told.remove(0);
        }
        let (registers, cores_own) =
            (registers.clone(), decoded.place.is_cpus_own);
        self.told.push(Told { at, registers, cores_own, both: false });
        false
    }
}

impl Told {
    fn takes(&mut self, other: &Registers, fatal: bool) -> bool {
        let told = &self.registers;
        let same = told.status == other.status
            && told.bank == other.bank
            && fits(told.addr, other.addr)
            && fits(told.misc, other.misc);
        if !same {
            return false;
        }
        // What a CPU reports once more is another error, but for one that
        // stops it and is told in both forms: AMD's has no MCG_STATUS.
        if told.cpu == other.cpu {
            let form = |registers: &Registers| registers.mcgstatus.is_some();
            let same = fatal && fits(told.socket, other.socket);
            self.both |= same && form(told) != form(other);
            return same && self.both;
        }
        // Where a block was cut off, its values must do.
        let values = told.addr.is_some() && told.addr == other.addr
            || told.misc.is_some() && told.misc == other.misc;
        // Threads of a core differ in the lowest bit of their APIC ids.
        let core = |registers: &Registers| registers.apicid.map(|id| id >> 1);
        agree(told.socket, other.socket).unwrap_or(values)
            && (!self.cores_own
                || agree(core(told), core(other)).unwrap_or(values))
    }
}

/// Whether two values may be of one error: a text may leave them out.
fn fits<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// Whether two values are the same, where both are known.
fn agree<T: PartialEq>(one: Option<T>, other: Option<T>) -> Option<bool> {
    Some(one? == other?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::mce::{Vendor, decode};

    /// As a server printed it: MCACOD 0xe0b, the port in MCi_MISC.
    fn io(cpu: u32, socket: u32, apicid: u32) -> Registers {
        Registers {
            status: 0xbb80_0000_0000_0e0b,
            bank: Some(6),
            misc: Some(0x1100_0000),
            mcgstatus: Some(5),
            cpu: Some(cpu),
            socket: Some(socket),
            apicid: Some(apicid),
            vendor: Some(Vendor::Intel),
            cpuid: Some(0x50654),
            ..Registers::default()
        }
    }

    fn told(all: &[(i64, Registers)]) -> Vec<bool> {
        let mut repeats = Repeats::default();
        let told = all.iter().map(|(millis, registers)| {
            let at = Timestamp(1_000_000_000 + millis * 1000);
            repeats.is_told(registers, &decode(registers), at)
        });
        told.collect()
    }

    #[test]
    fn what_the_cpus_of_a_socket_report_of_a_shared_bank_is_one() {
        let all = [
            (0, io(15, 0, 0x26)),
            (15, io(55, 0, 0x27)),
            (30, io(0, 0, 0)),
            // The other socket's port is another one, the same later too.
            (31, io(20, 1, 0x40)),
            (5000, io(15, 0, 0x26)),
        ];
        assert_eq!(told(&all), [false, true, true, false, false]);
    }

    #[test]
    fn threads_of_a_core_share_its_banks_and_cores_do_not() {
        let timer = |cpu, apicid| Registers {
            status: 0xbe00_0000_0080_0400,
            bank: Some(5),
            addr: Some(0x157_9aa6),
            ..io(cpu, 0, apicid)
        };
        let all = [(0, timer(19, 0x11)), (8, timer(7, 0x10))];
        assert_eq!(told(&all), [false, true]);
        let all = [(0, timer(19, 0x11)), (8, timer(8, 0x12))];
        assert_eq!(told(&all), [false, false]);
        // Of a block that was cut off no more than its values is known.
        let cut = |addr| Registers {
            addr,
            misc: None,
            socket: None,
            apicid: None,
            ..timer(7, 0)
        };
        let whole = timer(19, 0x11);
        let all = [(0, whole.clone()), (8, cut(Some(0x157_9aa6)))];
        assert_eq!(told(&all), [false, true]);
        assert_eq!(told(&[(0, whole), (8, cut(None))]), [false, false]);
    }

    #[test]
    fn what_a_poll_finds_and_what_differs_are_errors_of_their_own() {
        let polled = |cpu| Registers {
            status: 0x8c00_0040_0001_0090,
            bank: Some(13),
            mcgstatus: Some(0),
            ..io(cpu, 0, cpu)
        };
        let all = [(0, polled(1)), (1, polled(2)), (2, polled(2))];
        assert_eq!(told(&all), [false; 3]);
        let other = Registers { misc: Some(0x1200_0000), ..io(1, 0, 1) };
        assert_eq!(told(&[(0, io(0, 0, 0)), (1, other)]), [false; 2]);
        // Recoverable: the same CPU may use lost data twice.
        let used = |cpu| Registers {
            status: 0xbd80_0000_0010_0134,
            bank: Some(1),
            addr: Some(0x1000),
            misc: Some(0x86),
            mcgstatus: Some(0xf),
            mcgcap: Some(1 << 24),
            cs: Some(0x33),
            ..io(cpu, 0, cpu)
        };
        assert_eq!(told(&[(0, used(1)), (1, used(1))]), [false; 2]);
    }

    #[test]
    fn what_stops_a_cpu_and_is_told_in_two_forms_is_one() {
        let raw = Registers {
            status: 0xb200_0000_0000_0000,
            bank: Some(0),
            mcgstatus: Some(0),
            cpu: Some(0),
            socket: Some(0),
            vendor: Some(Vendor::Amd),
            ..Registers::default()
        };
        let amds = Registers { mcgstatus: None, socket: None, ..raw.clone() };
        let all = [(0, amds.clone()), (1, raw.clone()), (2, amds.clone())];
        assert_eq!(told(&all), [false, true, true]);
        assert_eq!(told(&[(0, amds.clone()), (1, amds)]), [false, false]);
        assert_eq!(told(&[(0, raw.clone()), (1, raw)]), [false, false]);
    }

    #[test]
    fn a_flood_of_different_ones_is_kept_in_bounded_memory() {
        let mut repeats = Repeats::default();
        for n in 0..10_000 {
            let registers = Registers { misc: Some(n), ..io(0, 0, 0) };
            let at = Timestamp(1_000_000_000);
            assert!(!repeats.is_told(&registers, &decode(&registers), at));
        }
        assert_eq!(repeats.told.len(), KEPT_MAX);
    }
}
