//! AMD's scalable machine checks: what a bank is, by MCA_IPID.
//!
//! HWID (bits 43:32) and McaType (63:48) name the unit; bank numbers move
//! from one CPU to the next (smca_hwid_mcatypes, arch/x86/kernel/cpu/mce/
//! amd.c). The words of the extended codes that matter here are ours.

use super::decoded::BankName;
use super::registers::Registers;
use super::words::Unit;

/// One kind of bank.
#[derive(Debug)]
pub struct Bank {
    hwid: u16,
    mca_type: u16,
    /// Its name.
    pub name: BankName,
    /// What kind of thing it is.
    pub unit: Unit,
    /// Whether each core has one of its own; the others belong to the
    /// socket, and any CPU of it may have read them.
    pub per_core: bool,
}

const fn bank(
    (hwid, mca_type): (u16, u16),
    short: &'static str,
    long: &'static str,
    unit: Unit,
) -> Bank {
    let name = BankName { short, long };
    Bank { hwid, mca_type, name, unit, per_core: false }
}

const fn core(
    mca_type: u16,
    short: &'static str,
    long: &'static str,
    unit: Unit,
) -> Bank {
    let name = BankName { short, long };
    Bank { hwid: 0xb0, mca_type, name, unit, per_core: true }
}

/// Every bank that Linux or rasdaemon names.
const BANKS: &[Bank] = &[
    core(0x00, "LS", "load/store unit", Unit::Core),
    core(0x10, "LS", "load/store unit", Unit::Core),
    core(0x01, "IF", "instruction fetch unit", Unit::Core),
    core(0x02, "L2", "L2 cache", Unit::Cache),
    core(0x03, "DE", "decode unit", Unit::Core),
    core(0x05, "EX", "execution unit", Unit::Core),
    core(0x06, "FP", "floating point unit", Unit::Core),
    // One for each core complex.
    bank((0xb0, 0x07), "L3", "L3 cache", Unit::Cache),
    bank((0x2e, 0x00), "CS", "coherent slave", Unit::Interconnect),
    bank((0x2e, 0x02), "CS", "coherent slave", Unit::Interconnect),
    bank(
        (0x2e, 0x01),
        "PIE",
        "power, interrupts and links",
        Unit::Interconnect,
    ),
    bank((0x2e, 0x04), "MALL", "memory-side cache", Unit::Cache),
    bank((0x96, 0x00), "UMC", "memory controller", Unit::Memory),
    bank((0x96, 0x01), "UMC_V2", "memory controller (HBM)", Unit::Memory),
    bank((0x05, 0x00), "PB", "parameter block", Unit::Controller),
    bank((0xff, 0x00), "PSP", "platform security processor", Unit::Controller),
    bank((0xff, 0x01), "PSP", "platform security processor", Unit::Controller),
    bank((0x01, 0x00), "SMU", "system management unit", Unit::Controller),
    bank((0x01, 0x01), "SMU", "system management unit", Unit::Controller),
    bank((0x01, 0x02), "MP5", "microprocessor 5", Unit::Controller),
    bank((0x01, 0x03), "MPDMA", "DMA processor", Unit::Controller),
    bank((0x18, 0x00), "NBIO", "north bridge I/O", Unit::Io),
    bank((0x46, 0x00), "PCIE", "PCI Express unit", Unit::Io),
    bank((0x46, 0x01), "PCIE", "PCI Express unit", Unit::Io),
    bank((0x50, 0x00), "XGMI", "link between sockets", Unit::Interconnect),
    bank((0x6c, 0x00), "NBIF", "north bridge interface", Unit::Io),
    bank((0x80, 0x00), "SHUB", "system hub", Unit::Io),
    bank((0xa8, 0x00), "SATA", "SATA unit", Unit::Io),
    bank((0xaa, 0x00), "USB", "USB unit", Unit::Io),
    bank((0x170, 0), "USR_DP", "link between dies, data", Unit::Interconnect),
    bank(
        (0x180, 0),
        "USR_CP",
        "link between dies, control",
        Unit::Interconnect,
    ),
    bank((0x241, 0), "GMI", "link between dies", Unit::Interconnect),
    bank((0x259, 0), "XGMI_PHY", "link between sockets", Unit::Interconnect),
    bank((0x267, 0), "WAFL_PHY", "link between sockets", Unit::Interconnect),
    bank((0x269, 0), "GMI_PHY", "link between dies", Unit::Interconnect),
];

/// The kind of bank that the registers are of.
pub fn of(registers: &Registers) -> Option<&'static Bank> {
    let ipid = registers.ipid.filter(|ipid| *ipid != 0)?;
    let hwid = (ipid >> 32 & 0xfff) as u16;
    let mca_type = (ipid >> 48) as u16;
    BANKS.iter().find(|b| b.hwid == hwid && b.mca_type == mca_type)
}

/// The channel of a memory controller bank: the instance's number
/// (find_umc_channel, drivers/edac/amd64_edac.c).
pub fn umc_channel(ipid: u64) -> u8 {
    // 12 bits; more than 255 channels do not exist, and wrapping would name
    // a wrong one.
    u8::try_from((ipid & 0xffff_ffff) >> 20).unwrap_or(u8::MAX)
}

/// The chip select row of a DRAM ECC error, in the syndrome's low bits.
pub fn csrow(synd: u64) -> u8 {
    (synd & 7) as u8
}

/// Whether it is a controller of DIMMs: others number their channels and
/// their errors otherwise (SMCA_UMC_V2).
pub fn is_dram_controller(bank: &Bank) -> bool {
    (bank.hwid, bank.mca_type) == (0x96, 0)
}

/// DRAM ECC error, of a memory controller bank.
pub const DRAM_ECC: u16 = 0;

/// Whether it is the execution unit's watchdog: a core made no progress.
pub fn is_watchdog(bank: &Bank, code: u16) -> bool {
    bank.name.short == "EX" && code == 0
}

/// Whether the fabric turned down what was asked of it (a coherent slave's
/// codes 0 to 2): the fault is the asker's, a device with a bad address more
/// often than a processor.
pub fn is_refused(bank: &Bank, code: u16) -> bool {
    bank.name.short == "CS" && code <= 2
}

/// What an extended code says, where it helps a person to judge.
pub fn extended(short: &str, code: u16) -> Option<&'static str> {
    let words: &[&str] = match short {
        "UMC" => &[
            "DRAM ECC error",
            "poisoned data",
            "parity error on the data port",
            "error on the peripheral bus",
            "address or command parity error",
            "CRC error in written data",
            "ECC error in the command queue",
            "ECC error in the encryption engine",
        ],
        "CS" => &[
            "illegal request",
            "address violation",
            "security violation",
            "illegal response",
            "unexpected response",
            "parity error in a request or probe",
            "parity error in a read's response",
            "parity error in an atomic request",
        ],
        "PIE" => &[
            "hardware assertion",
            "register security violation",
            "link error",
            "poisoned data used",
            "deferred error in the fabric",
        ],
        "L3" => &[
            "ECC error in the shadow tags",
            "several hits in the shadow tags",
            "ECC error in the tags",
            "several hits in the tags",
            "ECC error in the data",
            "parity or read data error on the data port",
            "parity error in the victim queue",
            "hardware assertion",
        ],
        "L2" => &[
            "several hits in the tags",
            "ECC error in the tags or states",
            "ECC error in the data",
            "hardware assertion",
        ],
        "EX" => &["watchdog timeout"],
        "NBIO" => &[
            "ECC or parity error",
            "PCIe error",
            "error event on the data port",
            "poisoned data going out",
            "poisoned data inside",
        ],
        _ => return None,
    };
    words.get(usize::from(code)).copied()
}

/// What the extended code of the old north bridge bank (MC4) says, families
/// 0Fh to 16h (BIOS and Kernel Developer's Guides, "NB error descriptions").
pub fn north_bridge(code: u16) -> Option<&'static str> {
    Some(match code {
        0x00 | 0x08 => "DRAM ECC error",
        0x01 => "CRC error on a HyperTransport link",
        0x02 => "sync error on a HyperTransport link",
        0x03 | 0x04 => "aborted HyperTransport request",
        0x05 => "invalid entry of the GART",
        0x06 => "unsupported atomic request of a device",
        0x07 => "watchdog timeout: something did not answer",
        0x0a => "data error on a HyperTransport link",
        0x0b => "protocol error",
        0x0c => "parity error in the north bridge",
        0x0d => "parity error of DRAM address or command",
        0x0e => "transmission error on a link",
        0x1c => "ECC error in the L3 data",
        0x1d => "error in the L3 tags",
        0x1e => "parity error in the L3 replacement bits",
        0x1f => "ECC error in the probe filter",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(ipid: u64) -> Option<&'static str> {
        let registers = Registers { ipid: Some(ipid), ..Registers::default() };
        of(&registers).map(|bank| bank.name.short)
    }

    #[test]
    fn a_bank_is_named_by_its_hardware_id_and_type() {
        assert_eq!(short(0x0000_0096_0005_0f00), Some("UMC"));
        assert_eq!(short(0x0010_00b0_0000_0000), Some("LS"));
        assert_eq!(short(0x0007_00b0_0000_0000), Some("L3"));
        assert_eq!(short(0x0001_002e_0000_0000), Some("PIE"));
        assert_eq!(short(0x0000_0fff_0000_0000), None);
        assert_eq!(short(0), None);
    }

    #[test]
    fn no_two_banks_have_the_same_id() {
        for (i, a) in BANKS.iter().enumerate() {
            let again = |b: &Bank| (b.hwid, b.mca_type) == (a.hwid, a.mca_type);
            assert!(!BANKS[i + 1..].iter().any(again), "{a:?}");
        }
    }

    #[test]
    fn channel_and_row_are_those_the_edac_driver_printed() {
        // Three records whose EDAC line gives both.
        for (ipid, synd, channel, row) in [
            (0x9600050f00, 0x1000, 0, 0),
            (0x9600150f00, 0x1103, 1, 3),
            (0x9600050f00, 0x0101, 0, 1),
        ] {
            assert_eq!((umc_channel(ipid), csrow(synd)), (channel, row));
        }
    }
}
