//! What the banks of Intel's servers belong to, by model.
//!
//! From Intel SDM 3B chapter 17 and the EDAC drivers (sb_edac, skx_edac,
//! i10nm_edac). A model that is not here is decoded by the architectural
//! code alone.

use super::bits::{ADDRV, MISCV};
use super::code;
use super::decoded::{BankName, Code, Kind, Place};
use super::registers::{Model, Registers};

/// The families of servers that number their banks alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Sandy Bridge-EP: one memory controller.
    Sandy,
    /// Ivy Bridge, Haswell and Broadwell servers: two home agents.
    Haswell,
    /// Skylake, Cascade Lake and Cooper Lake servers: two controllers of
    /// three channels.
    Skylake,
    /// Ice Lake servers, Snow Ridge: four controllers of two channels.
    IceLake,
    /// Sapphire and Emerald Rapids: the same, with banks in a row.
    Sapphire,
}

fn layout(model: Model) -> Option<Layout> {
    if model.family != 6 {
        return None;
    }
    match model.model {
        0x2d => Some(Layout::Sandy),
        0x3e | 0x3f | 0x4f | 0x56 => Some(Layout::Haswell),
        0x55 => Some(Layout::Skylake),
        0x6a | 0x6c | 0x86 => Some(Layout::IceLake),
        0x8f | 0xcf => Some(Layout::Sapphire),
        _ => None,
    }
}

/// What is known of a bank.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Its name.
    pub name: Option<BankName>,
    /// Whether each core has one.
    pub per_core: Option<bool>,
    /// Memory controller of the socket.
    pub controller: Option<u8>,
    /// Channel of the controller.
    pub channel: Option<u8>,
}

/// What is known of the registers' bank.
pub fn bank(registers: &Registers) -> Known {
    let layout = registers.model().and_then(layout);
    let (Some(layout), Some(bank)) = (layout, registers.bank) else {
        return Known::default();
    };
    let named = |short, long, per_core| Known {
        name: Some(BankName { short, long }),
        per_core: Some(per_core),
        ..Known::default()
    };
    match bank {
        // All cores since Nehalem have these four first.
        0 => named("IFU", "instruction fetch unit", true),
        1 => named("DCU", "L1 data cache", true),
        2 => named("DTLB", "data TLB", true),
        3 => named("MLC", "L2 cache", true),
        4 => named("PCU", "power control unit", false),
        _ => memory_bank(bank, layout).unwrap_or_default(),
    }
}

/// A bank of the memory controllers, or of the agent before them.
fn memory_bank(bank: u8, layout: Layout) -> Option<Known> {
    let of = |short, long, controller: u8, channel: Option<u8>| Known {
        name: Some(BankName { short, long }),
        per_core: Some(false),
        controller: Some(controller),
        channel,
    };
    let imc = |controller, channel| {
        of("iMC", "memory controller", controller, channel)
    };
    let agent = |short, long, controller| of(short, long, controller, None);
    Some(match (layout, bank) {
        (Layout::Sandy, 5) => agent("HA", "home agent", 0),
        (Layout::Sandy, 8..=11) => imc(0, None),
        (Layout::Haswell, 7 | 8) => agent("HA", "home agent", bank - 7),
        // ibridge_get_ha: four banks for each controller.
        (Layout::Haswell, 9..=16) => imc((bank - 9) / 4, None),
        (Layout::Skylake, 7 | 8) => agent("M2M", "mesh to memory", bank - 7),
        (Layout::Skylake, 13 | 14) => imc(0, Some(bank - 13)),
        (Layout::Skylake, 15 | 16) => imc(1, Some(bank - 15)),
        (Layout::Skylake, 17 | 18) => imc(bank - 17, Some(2)),
        (Layout::IceLake, 12 | 16 | 20 | 24) => {
            agent("M2M", "mesh to memory", (bank - 12) / 4)
        }
        // i10nm_mc_decode: of four banks the first two are channels.
        (Layout::IceLake, 13..=26) if (bank - 13) % 4 < 2 => {
            imc((bank - 13) / 4, Some((bank - 13) % 4))
        }
        (Layout::Sapphire, 13..=20) => {
            imc((bank - 13) / 2, Some((bank - 13) % 2))
        }
        _ => return None,
    })
}

/// Adds controller, channel and slot of a memory error.
pub fn place(registers: &Registers, code: &Code, place: &mut Place) {
    let known = bank(registers);
    place.controller = known.controller;
    // Where each channel has a bank, the bank says it; the code counts
    // differently from model to model.
    place.channel = known.channel.or_else(|| code::channel(code));
    if let (Some(_), Some(layout)) =
        (known.channel, registers.model().and_then(layout))
    {
        let module = module(registers, code, layout);
        place.slot = module.map(|(slot, _)| slot);
        place.rank = module.map(|(_, rank)| rank);
    }
}

/// Slot and rank, from MCi_MISC of a channel's own bank. Not for memory used
/// as a cache, where it may be either of two modules.
fn module(
    registers: &Registers,
    code: &Code,
    layout: Layout,
) -> Option<(u8, u8)> {
    /// MCi_MISC bits 62:59 on persistent memory (skx_common.h).
    const PERSISTENT: u64 = 8;
    let valid = ADDRV | MISCV;
    if code.kind != Kind::MemoryController || registers.status & valid != valid
    {
        return None;
    }
    let misc = registers.misc?;
    let field = |low: u32, bits: u32| misc >> low & ((1 << bits) - 1);
    if field(59, 4) == PERSISTENT || is_persistent(code.model) {
        return None;
    }
    match layout {
        Layout::IceLake => {
            let rank = field(56, 3) as u8;
            Some((rank >> 2, rank & 3))
        }
        Layout::Sapphire => Some((field(58, 1) as u8, field(57, 1) as u8)),
        _ => None,
    }
}

/// MSCODs of persistent memory, whose place the registers do not tell
/// (SDM 3B 17.11.3 and 17.13.2).
fn is_persistent(mscod: u16) -> bool {
    matches!(
        mscod,
        0x0106 | 0x0107 | 0x0800 | 0x0804 | 0x0806..=0x0808
            | 0x080a..=0x080e | 0x0810 | 0x0811 | 0x0816 | 0x081e | 0x081f
    )
}
