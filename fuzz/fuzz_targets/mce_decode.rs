//! The machine check decoder: any registers, of any processor.
#![no_main]

use faultline::decode::mce::{Registers, Severity, Vendor, decode};
use faultline::parts::ids::PART_ID_MAX;
use libfuzzer_sys::fuzz_target;

/// Takes numbers off the front of the input; zero when there are no more.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn next(&mut self) -> u64 {
        let (now, rest) = self.0.split_at(self.0.len().min(8));
        self.0 = rest;
        let mut bytes = [0; 8];
        bytes[..now.len()].copy_from_slice(now);
        u64::from_le_bytes(bytes)
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut numbers = Numbers(bytes);
    // Which registers a source tells: a bit each.
    let told = numbers.next();
    let mut n = 0;
    let mut maybe = |value: u64| {
        n += 1;
        (told >> n & 1 == 1).then_some(value)
    };
    let registers = Registers {
        status: numbers.next(),
        vendor: maybe(numbers.next()).map(|v| Vendor::of(v as u8)),
        cpuid: maybe(numbers.next()).map(|v| v as u32),
        bank: maybe(numbers.next()).map(|v| v as u8),
        addr: maybe(numbers.next()),
        misc: maybe(numbers.next()),
        synd: maybe(numbers.next()),
        ipid: maybe(numbers.next()),
        mcgstatus: maybe(numbers.next()),
        mcgcap: maybe(numbers.next()),
        cpu: maybe(numbers.next()).map(|v| v as u32),
        socket: maybe(numbers.next()).map(|v| v as u32),
        tsc: maybe(numbers.next()),
        cs: maybe(numbers.next()).map(|v| v as u16),
        ppin: maybe(numbers.next()),
        ..Registers::default()
    };
    let got = decode(&registers);
    let (valid, uncorrected, enabled) = (
        registers.status >> 63 & 1 == 1,
        registers.status >> 61 & 1 == 1,
        registers.status >> 60 & 1 == 1,
    );
    assert!(valid || got.severity == Severity::None);
    if valid && uncorrected && enabled {
        assert!(got.severity.is_uncorrected(), "{got:?}");
    }
    assert!((1..=0x7fff).contains(&got.count));
    assert!(got.summary.len() <= 160);
    assert!((1..=6).contains(&got.parts.len()));
    for part in &got.parts {
        assert!(part.len() <= PART_ID_MAX && part.is_ascii());
    }
    let slot = got.parts.iter().any(|part| part.starts_with("dimm/"));
    assert!(!slot || got.place.slot.is_some());
    got.place_in_words();
});
