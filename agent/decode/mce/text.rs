//! The sentence that says what happened, and the notes beside it.

use super::bits::{Abilities, EN, OVER, PCC, UC, VAL};
use super::decoded::{BankName, Code, Decoded, Kind, Place};
use super::place::is_firmwares;
use super::registers::{Registers, Vendor};
use super::severity::{is_consumed_poison, is_smca};
use super::words::{Level, Operation, Severity, Transaction, Unit};

/// What happened, without its place.
pub fn summary(
    severity: Severity,
    what: String,
    code: &Code,
    bank: Option<&BankName>,
) -> String {
    let how = match severity {
        Severity::None => return "no error".into(),
        Severity::Corrected => "corrected",
        Severity::Deferred => "deferred (uncorrected, not yet used)",
        Severity::Ucna => "uncorrected (not yet used)",
        Severity::Srao | Severity::Srar | Severity::Uncorrected => {
            "uncorrected"
        }
        Severity::Fatal => "fatal",
    };
    let mut text = format!("{how} {what}");
    if let Some(bank) = bank {
        text.push_str(&format!(" ({}: {})", bank.short, bank.long));
    }
    if let Some(model) = code.model_text {
        text.push_str(&format!(": {model}"));
    }
    text
}

/// What failed.
pub fn what(registers: &Registers, unit: Unit, code: &Code) -> String {
    if is_consumed_poison(registers) && !is_firmwares(registers) {
        let used = "memory error: marked data was used";
        // AMD's bank, which is told too, says as much.
        let doing = code.operation.filter(|_| !is_smca(registers));
        return match doing.map(operation) {
            Some("") | None => used.into(),
            Some(doing) => format!("{used} ({doing})"),
        };
    }
    let doing = code.operation.map(operation);
    let level = code.level.map_or("", level);
    match code.kind {
        Kind::MemoryController => match doing {
            Some("") | None => "memory error".into(),
            Some(doing) => format!("memory {doing} error"),
        },
        Kind::MemoryCache => "error of memory used as a cache".into(),
        _ if unit == Unit::Memory => "memory error".into(),
        _ if unit == Unit::Request => "refused request".into(),
        _ if unit == Unit::Timer => {
            "internal timer error: a core made no progress".into()
        }
        Kind::Cache | Kind::Hierarchy if unit == Unit::Cache => {
            let side = transaction(code.transaction);
            let text = format!("error in the {level} {side} cache");
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            match doing {
                Some("") | None => text,
                Some(doing) => format!("{text} ({doing})"),
            }
        }
        Kind::Tlb => {
            let side = transaction(code.transaction);
            let text = format!("error in the {level} {side} TLB");
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        }
        Kind::Bus if code.timeout == Some(true) => {
            "bus or interconnect timeout".into()
        }
        Kind::Bus => "bus or interconnect error".into(),
        Kind::Io => "I/O error seen by the processor".into(),
        Kind::Internal => "internal error of the processor".into(),
        Kind::InternalParity => "internal parity error".into(),
        Kind::MicrocodeRom => "parity error in the microcode ROM".into(),
        Kind::External => "error signalled by another processor".into(),
        Kind::Redundancy => "functional redundancy check error".into(),
        Kind::SmmCode => "code access outside SMM's memory".into(),
        Kind::Unclassified => "unclassified error".into(),
        Kind::Cache | Kind::Hierarchy | Kind::Timer => {
            "error of a processor core".into()
        }
        Kind::None | Kind::Unknown => match unit {
            Unit::Unknown => "error of unknown kind".into(),
            unit => format!("{} error", unit.word()),
        },
    }
}

fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Generic => "",
        Operation::Read => "read",
        Operation::Write => "write",
        Operation::DataRead => "data read",
        Operation::DataWrite => "data write",
        Operation::InstructionFetch => "instruction fetch",
        Operation::Prefetch => "prefetch",
        Operation::Eviction => "eviction",
        Operation::Snoop => "snoop",
        Operation::AddressCommand => "address or command",
        Operation::Scrub => "scrub",
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::L0 => "L0",
        Level::L1 => "L1",
        Level::L2 => "L2",
        Level::Generic | Level::Reserved => "",
    }
}

fn transaction(side: Option<Transaction>) -> &'static str {
    match side {
        Some(Transaction::Instruction) => "instruction",
        Some(Transaction::Data) => "data",
        Some(Transaction::Generic) | None => "",
    }
}

/// What a person should know to judge the record.
pub fn notes(registers: &Registers, decoded: &Decoded) -> Vec<&'static str> {
    let status = registers.status;
    let mut notes = Vec::new();
    let mut note = |is: bool, text: &'static str| {
        if is {
            notes.push(text);
        }
    };
    if status & VAL == 0 {
        return vec!["bit 63 (VAL) is 0: these registers hold no error"];
    }
    note(
        decoded.contradicts,
        "the bits contradict each other (context corrupt, but not \
         uncorrected): rather a fault of the kernel or the firmware than of \
         the hardware",
    );
    note(
        status & EN == 0 && decoded.severity == Severity::Fatal,
        "its reporting was not enabled (EN is 0): left over from before, or \
         from the firmware",
    );
    note(
        decoded.left_over && is_atoms(registers),
        "Atom processors keep this record of an earlier reset; machines with \
         it run without trouble",
    );
    note(
        decoded.polled,
        "found by a poll (TSC is 0): it may be from before this boot",
    );
    note(
        status & OVER != 0,
        "further errors came before this one was read: the count is a lower \
         bound",
    );
    note(
        decoded.code.kind == Kind::MemoryController
            && decoded.place.channel.is_none(),
        "the memory controller does not say which channel",
    );
    note(
        is_firmwares(registers),
        "told by the firmware: its CPU, socket and bank say nothing",
    );
    note(
        is_consumed_poison(registers) && !is_firmwares(registers),
        "the data was lost elsewhere in memory, before: this CPU only used it",
    );
    note(
        decoded.unit == Unit::Memory
            && !is_consumed_poison(registers)
            && is_smca(registers)
            && registers.ipid.is_none(),
        "taken for memory by its code; the register that says it (IPID) is \
         missing",
    );
    note(
        decoded.architectural,
        "this model, or what this bank is on it, is not known here: only \
         what all processors share was decoded",
    );
    note(
        !Abilities::of(registers).told
            && decoded.vendor.is_some_and(|vendor| vendor.is_like_intel())
            && status & (UC | PCC) == UC,
        "MCG_CAP is not told: taken for a processor that can recover",
    );
    notes
}

/// Atom systems on chip show this internal error at each boot. Without a
/// model it is not excused. And what an Intel processor was not told to
/// report (EN is 0), and a poll found, is the firmware's or of an earlier
/// reset: an error that stops or harms this kernel is enabled.
pub fn is_left_over(registers: &Registers) -> bool {
    const NOT_ENABLED: u64 = VAL | UC;
    let intel = registers.vendor.is_some_and(Vendor::is_like_intel);
    registers.tsc == Some(0)
        && intel
        && registers.status & (VAL | UC | EN) == NOT_ENABLED
        || is_atoms(registers)
}

fn is_atoms(registers: &Registers) -> bool {
    /// Bay Trail to Gemini Lake (asm/intel-family.h).
    const ATOMS: [u8; 6] = [0x37, 0x4c, 0x4d, 0x5c, 0x5f, 0x7a];
    let atom = registers
        .model()
        .is_some_and(|m| m.family == 6 && ATOMS.contains(&m.model));
    let polled = registers.tsc == Some(0);
    // MSCOD 2, MCACOD 0x408.
    polled && atom && registers.status as u32 == 0x0002_0408
}

/// The place in words: `socket 0, controller 1, channel 2`.
pub fn place(place: &Place, amd: bool) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut add = |name: &str, number: Option<u32>| {
        words.extend(number.map(|number| format!("{name} {number}")));
    };
    add("socket", place.socket);
    match (place.is_cpus_own, place.socket) {
        (true, _) => add("CPU", place.cpu),
        (false, None) => add("the socket of CPU", place.cpu),
        (false, Some(_)) => {}
    }
    add("memory controller", place.controller.map(u32::from));
    let channel = if amd { "UMC" } else { "channel" };
    add(channel, place.channel.map(u32::from));
    add("slot", place.slot.map(u32::from));
    let rank = if amd { "chip select row" } else { "rank" };
    add(rank, place.rank.map(u32::from));
    words.extend(place.pci.iter().map(|pci| format!("PCI {pci}")));
    if words.is_empty() {
        return "unknown".into();
    }
    words.join(", ")
}
