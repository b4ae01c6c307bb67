//! What a machine check left behind, as a source found it.
//!
//! Linux keeps these in `struct mce` (arch/x86/include/uapi/asm/mce.h); the
//! tracepoint `mce:mce_record` carries nearly all of them, the kernel's text
//! some. What a source does not tell is `None`, and never zero: whether a
//! machine check is history hangs on a TSC that *is* zero.

use serde::Serialize;

use super::bits::MCIP;

/// The maker of a processor, as `struct mce` numbers them (`X86_VENDOR_*`,
/// arch/x86/include/asm/processor.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vendor {
    /// 0.
    Intel,
    /// 2.
    Amd,
    /// 5. Its machine checks are laid out as Intel's.
    Centaur,
    /// 9. A licensed Zen: all as AMD's.
    Hygon,
    /// 10. Its machine checks are laid out as Intel's.
    Zhaoxin,
    /// Any other: only the bits that all have in common mean something.
    #[serde(untagged)]
    Other(u8),
}

impl Vendor {
    /// The vendor with the kernel's number.
    pub fn of(number: u8) -> Vendor {
        match number {
            0 => Vendor::Intel,
            2 => Vendor::Amd,
            5 => Vendor::Centaur,
            9 => Vendor::Hygon,
            10 => Vendor::Zhaoxin,
            other => Vendor::Other(other),
        }
    }

    /// Whether its registers are laid out as AMD's.
    pub fn is_like_amd(self) -> bool {
        matches!(self, Vendor::Amd | Vendor::Hygon)
    }

    /// Whether its registers are laid out as Intel's, as the kernel takes
    /// them (mce_zhaoxin_feature_init, mce/core.c).
    pub fn is_like_intel(self) -> bool {
        matches!(self, Vendor::Intel | Vendor::Zhaoxin | Vendor::Centaur)
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Vendor::Intel => "Intel",
            Vendor::Amd => "AMD",
            Vendor::Centaur => "Centaur",
            Vendor::Hygon => "Hygon",
            Vendor::Zhaoxin => "Zhaoxin",
            Vendor::Other(_) => "unknown vendor",
        }
    }
}

/// Family, model and stepping, as people and the kernel write them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Model {
    /// Extended family added, as the kernel prints it.
    pub family: u8,
    /// Extended model included.
    pub model: u8,
    /// Stepping.
    pub stepping: u8,
}

impl Model {
    /// From CPUID(1).EAX (x86_family, x86_model: arch/x86/lib/cpu.c).
    pub fn of_cpuid(eax: u32) -> Model {
        let field =
            |low: u32, bits: u32| (eax >> low & ((1 << bits) - 1)) as u8;
        let (base, extended) = (field(8, 4), field(20, 8));
        let family =
            if base == 0xf { base.wrapping_add(extended) } else { base };
        let low = field(4, 4);
        let model = if family >= 6 { field(16, 4) << 4 | low } else { low };
        Model { family, model, stepping: field(0, 4) }
    }

    /// The CPUID(1).EAX that reads back as this, for sources that tell only
    /// family and model (`faultline decode`, the kernel's AMD text).
    pub fn to_cpuid(self) -> u32 {
        let extended = self.family.saturating_sub(0xf);
        let base = self.family.min(0xf);
        u32::from(extended) << 20
            | u32::from(self.model >> 4) << 16
            | u32::from(base) << 8
            | u32::from(self.model & 0xf) << 4
            | u32::from(self.stepping & 0xf)
    }
}

/// One machine check's registers and where they were read.
///
/// To fill it from the tracepoint: every field there is `Some`, also where
/// it is zero. The socket is what the record says; where a record has none
/// (the kernel's AMD text), it may be set from the CPU's
/// `topology/physical_package_id` before decoding, which makes the part a
/// place in a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// MCi_STATUS. Without it there is no machine check.
    pub status: u64,
    /// The bank's number; 255 and -1 are firmware's (apei_mce).
    pub bank: Option<u8>,
    /// MCi_ADDR.
    pub addr: Option<u64>,
    /// MCi_MISC.
    pub misc: Option<u64>,
    /// MCA_SYND (AMD).
    pub synd: Option<u64>,
    /// MCA_IPID (AMD): what kind of unit the bank belongs to.
    pub ipid: Option<u64>,
    /// MCG_STATUS; bit 2 (MCIP) tells a machine check exception.
    pub mcgstatus: Option<u64>,
    /// MCG_CAP: what this processor's registers can tell.
    pub mcgcap: Option<u64>,
    /// The Linux CPU that read the bank.
    pub cpu: Option<u32>,
    /// The socket of that CPU.
    pub socket: Option<u32>,
    /// The local APIC's id.
    pub apicid: Option<u32>,
    /// Time stamp counter; 0 when the bank was found by a poll.
    pub tsc: Option<u64>,
    /// Unix time, in seconds.
    pub time: Option<u64>,
    /// Instruction pointer.
    pub ip: Option<u64>,
    /// Code segment; its low two bits are the privilege level.
    pub cs: Option<u16>,
    /// The processor's maker.
    pub vendor: Option<Vendor>,
    /// CPUID(1).EAX.
    pub cpuid: Option<u32>,
    /// Microcode revision.
    pub microcode: Option<u32>,
    /// Protected processor inventory number: the processor's serial number.
    pub ppin: Option<u64>,
}

impl Registers {
    /// Family, model and stepping, if known.
    pub fn model(&self) -> Option<Model> {
        // Old decoders leave it 0, which no processor has.
        self.cpuid.filter(|eax| *eax != 0).map(Model::of_cpuid)
    }

    /// Whether it is an exception (MCG_STATUS.MCIP) and no poll or interrupt.
    pub fn is_exception(&self) -> bool {
        self.mcgstatus.is_some_and(|status| status & MCIP != 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn family_and_model_are_those_the_kernel_prints() {
        let of = |eax| {
            let m = Model::of_cpuid(eax);
            (m.family, m.model, m.stepping)
        };
        assert_eq!(of(0x50654), (6, 0x55, 4)); // Skylake-SP
        assert_eq!(of(0x506c9), (6, 0x5c, 9)); // Goldmont
        assert_eq!(of(0x870f10), (0x17, 0x71, 0)); // Zen 2
        assert_eq!(of(0xa20f10), (0x19, 0x21, 0)); // Zen 3
        assert_eq!(of(0x60fb1), (0xf, 0x6b, 1)); // QEMU's qemu64
    }

    proptest! {
        #[test]
        fn a_model_survives_being_written_as_cpuid(
            family in 6u8..=0xff, model: u8, stepping in 0u8..16,
        ) {
            let model = Model { family, model, stepping };
            prop_assert_eq!(Model::of_cpuid(model.to_cpuid()), model);
        }

        #[test]
        fn any_cpuid_reads_as_some_model(eax: u32) {
            Model::of_cpuid(eax);
        }
    }
}
