//! One line of the kernel's text about a machine check.
//!
//! Printed by print_mce (arch/x86/kernel/cpu/mce/core.c) and by mce_amd
//! (drivers/edac/mce_amd.c); the wordings from 4.18 to 6.x, and the older
//! ones that long-lived distributions still print.

use crate::decode::mce::{Model, Vendor};

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// `CPU 0: Machine Check: 0 Bank 5: 8c…`, which begins a block.
    Head(Head),
    /// `TSC 0 ADDR … MISC …`, `Error Addr: 0x…`, `IPID: …, Syndrome: …`.
    Values(Values),
    /// `PROCESSOR 0:50654 TIME … SOCKET 0 APIC 0 microcode …`.
    Processor(Processor),
    /// `RIP 10:<ffffffff…> {symbol}`.
    Rip {
        /// Code segment.
        cs: u16,
        /// The address.
        ip: u64,
    },
    /// `Corrected error, no action required.`: a block of AMD's decoder
    /// follows.
    Grade,
    /// Words of a block without a register.
    Words,
    /// The last line of a block of AMD's decoder.
    AmdEnd,
    /// `EDAC MC0: 1 CE …`: the driver tells the same error with its DIMM.
    Edac,
    /// `sbridge: HANDLING MCE MEMORY ERROR`: the driver's own block follows,
    /// and then its report.
    Handled,
}

/// The first line of a block.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// The CPU that read the bank.
    pub cpu: u32,
    /// MCG_STATUS.
    pub mcgstatus: Option<u64>,
    /// The bank.
    pub bank: u8,
    /// MCi_STATUS.
    pub status: u64,
    /// Family, model and stepping, in AMD's blocks.
    pub model: Option<Model>,
    /// Whether AMD's decoder printed it.
    pub amd: bool,
    /// Whether it does not say that it is a hardware error, as kernels
    /// before 2.6.33 and the older EDAC drivers print it.
    pub bare: bool,
}

/// Registers of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Values {
    /// TSC.
    pub tsc: Option<u64>,
    /// MCi_ADDR.
    pub addr: Option<u64>,
    /// MCi_MISC.
    pub misc: Option<u64>,
    /// PPIN.
    pub ppin: Option<u64>,
    /// MCA_SYND.
    pub synd: Option<u64>,
    /// MCA_IPID.
    pub ipid: Option<u64>,
}

/// The processor's line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Processor {
    /// Its maker.
    pub vendor: Vendor,
    /// CPUID(1).EAX.
    pub cpuid: Option<u32>,
    /// Unix time.
    pub time: Option<u64>,
    /// The socket.
    pub socket: Option<u32>,
    /// APIC id.
    pub apicid: Option<u32>,
    /// Microcode revision.
    pub microcode: Option<u32>,
}

/// No line of a block is longer; the rest is not looked at.
const LINE_MAX: usize = 512;

/// How a panic says that it is for a machine check (mce_panic).
const PANICS: [&[u8]; 5] = [
    b"Kernel panic - not syncing: Fatal machine check",
    b"Kernel panic - not syncing: Fatal Machine check",
    b"Kernel panic - not syncing: Uncorrected machine check",
    b"Kernel panic - not syncing: Fatal local machine check",
    b"Kernel panic - not syncing: Machine check",
];

/// Whether a line may be of a machine check: cheap, and nearly always no.
pub fn may_be(text: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 4] =
        [b"mce: [Hardware", b"[Hardware Error]", b"core: [Hardware", HANDLED];
    let begins = |beginning: &&[u8]| text.starts_with(beginning);
    matches!(text.first(), Some(b'm' | b'[' | b'c' | b'K' | b'C' | b's'))
        && (BEGINNINGS.iter().any(begins)
            || PANICS.iter().any(begins)
            || is_bare(text))
}

/// What the driver sb_edac prints before a block of its own, as that of
/// kernels before 4.3 does without a prefix.
const HANDLED: &[u8] = b"sbridge: HANDLING MCE MEMORY ERROR";

/// `CPU 0: Machine Check …`, which is all that old kernels say.
fn is_bare(text: &[u8]) -> bool {
    text.strip_prefix(b"CPU ").is_some_and(|cpu| {
        let digits = cpu.iter().take_while(|b| b.is_ascii_digit()).count();
        digits > 0 && cpu[digits..].starts_with(b": Machine Check Exception")
    })
}

/// Whether the line grades the block that follows it (mce_amd.c).
pub fn is_grade(text: &[u8]) -> bool {
    parse(text, false) == Some(Line::Grade)
}

/// Whether the line tells why the kernel stops, after the blocks themselves
/// (mce_panic): the reason, and the panic.
pub fn is_reason(text: &[u8]) -> bool {
    const REASON: &[u8] = b"[Hardware Error]: Machine check: ";
    if PANICS.iter().any(|panic| text.starts_with(panic)) {
        return true;
    }
    // The file's name, before 4.20 core.c's.
    let rest = text.strip_prefix(b"mce: ");
    let rest = rest.or_else(|| text.strip_prefix(b"core: "));
    rest.unwrap_or(text).starts_with(REASON)
}

/// What the line says, if it is of a machine check. `within` a block, the
/// pieces of a line that was torn apart are taken too.
pub fn parse(text: &[u8], within: bool) -> Option<Line> {
    let text = &text[..text.len().min(LINE_MAX)];
    let text = std::str::from_utf8(text).ok()?.trim_end();
    if let Some(rest) = text.strip_prefix("EDAC MC") {
        return is_edac_report(rest).then_some(Line::Edac);
    }
    let text = text
        .strip_prefix("mce: ")
        .or_else(|| text.strip_prefix("core: "))
        .unwrap_or(text);
    let Some(text) = text.strip_prefix("[Hardware Error]: ") else {
        return bare(text, within);
    };
    None.or_else(|| head(text).map(Line::Head))
        .or_else(|| amd_head(text).map(Line::Head))
        .or_else(|| processor(text).map(Line::Processor))
        .or_else(|| rip(text))
        .or_else(|| values(text).map(Line::Values))
        .or_else(|| amd_values(text).map(Line::Values))
        .or_else(|| words(text))
}

/// The lines that old kernels print as one: the values and the processor.
pub fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let values: [&[u8]; 2] = [b"TSC ", b"[Hardware Error]: TSC "];
    let begins = values.iter().any(|v| text.starts_with(v));
    let at = begins.then(|| memchr::memmem::find(text, b" PROCESSOR "));
    let (values, processor) = match at.flatten() {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    std::iter::once(values).chain(processor)
}

/// What a line says that does not say that it is a hardware error.
fn bare(text: &str, within: bool) -> Option<Line> {
    if text.as_bytes().starts_with(HANDLED) {
        return Some(Line::Handled);
    }
    if is_bare(text.as_bytes()) {
        return head(text).map(|h| Line::Head(Head { bare: true, ..h }));
    }
    if !within {
        return None;
    }
    None.or_else(|| processor(text).map(Line::Processor))
        .or_else(|| rip(text))
        .or_else(|| values(text).map(Line::Values))
}

/// `0: 1 CE …` or `0: 1 UE …`, and the old `0: CE page …`.
fn is_edac_report(rest: &str) -> bool {
    let Some((number, report)) = rest.split_once(": ") else { return false };
    let digits =
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let mut words = report.split(' ');
    let first = words.next().unwrap_or("");
    let kind = if first.bytes().all(|b| b.is_ascii_digit()) {
        words.next().unwrap_or("")
    } else {
        first
    };
    digits && matches!(kind, "CE" | "UE")
}

fn number(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    // Only what fits: nothing is guessed of a longer one.
    if digits.is_empty() || digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

/// A status of all its 16 digits; a valid one has no fewer, and a cut one
/// would say something else.
fn status(text: &str) -> Option<u64> {
    let text = text.split_whitespace().next()?;
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.len() == 16 { number(digits) } else { None }
}

/// The bank as eight bits; firmware's is printed as -1 by some kernels.
fn bank(text: &str) -> Option<u8> {
    match text {
        "-1" => Some(u8::MAX),
        text => text.parse().ok(),
    }
}

/// `CPU 0: Machine Check Exception: 5 Bank 3: be00…`
fn head(text: &str) -> Option<Head> {
    let (cpu, text) =
        text.strip_prefix("CPU ")?.split_once(": Machine Check")?;
    let (kind, text) = text.split_once(':')?;
    if !matches!(kind, "" | " Exception" | " Event") {
        return None;
    }
    let (mcgstatus, text) = text.trim_start().split_once(" Bank ")?;
    let (number_of_bank, text) = text.split_once(": ")?;
    Some(Head {
        cpu: cpu.parse().ok()?,
        mcgstatus: number(mcgstatus.trim()),
        bank: bank(number_of_bank)?,
        status: status(text)?,
        model: None,
        amd: false,
        bare: false,
    })
}

/// `CPU:2 (17:31:0) MC0_STATUS[Over|CE|…]: 0xdc…`
fn amd_head(text: &str) -> Option<Head> {
    let text = text.strip_prefix("CPU:")?;
    let (cpu, text) = text.split_once([' ', '\t'])?;
    let (model, text) = match text.strip_prefix('(') {
        Some(text) => {
            let (model, text) = text.split_once(") ")?;
            (Some(model_of(model)?), text)
        }
        None => (None, text),
    };
    let (bank, text) = text.strip_prefix("MC")?.split_once("_STATUS[")?;
    // The fields in the brackets vary; the number has them all.
    let (_, text) = text.split_once("]: ")?;
    Some(Head {
        cpu: cpu.parse().ok()?,
        mcgstatus: None,
        bank: bank.parse().ok()?,
        status: status(text)?,
        model,
        amd: true,
        bare: false,
    })
}

fn model_of(text: &str) -> Option<Model> {
    let mut numbers = text.split(':').map(|n| u8::from_str_radix(n, 16));
    let mut next = || numbers.next()?.ok();
    Some(Model { family: next()?, model: next()?, stepping: next()? })
}

/// `PROCESSOR 0:50654 TIME 1589934366 SOCKET 0 APIC 0 microcode 2000065`
///
/// A line that was cut off ends within a number, so each counts only if
/// another word follows. All up to APIC are in every kernel since 2.6.35
/// (__print_mce); the last two say nothing of the place.
fn processor(text: &str) -> Option<Processor> {
    let mut words = text.strip_prefix("PROCESSOR ")?.split_whitespace();
    let (vendor, cpuid) = words.next()?.split_once(':')?;
    let mut processor = Processor {
        vendor: Vendor::of(vendor.parse().ok()?),
        cpuid: None,
        time: None,
        socket: None,
        apicid: None,
        microcode: None,
    };
    let cpuid = u32::try_from(number(cpuid)?).ok()?;
    let (mut time, mut socket) = (None, None);
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        let hex = || u32::try_from(number(value)?).ok();
        match key {
            "TIME" => {
                processor.cpuid = Some(cpuid);
                time = value.parse().ok();
            }
            "SOCKET" => {
                processor.time = time;
                socket = value.parse().ok();
            }
            "APIC" => {
                processor.socket = socket;
                processor.apicid = hex();
            }
            "microcode" => processor.microcode = hex(),
            _ => {}
        }
    }
    Some(processor)
}

/// `RIP !INEXACT! 10:<ffffffffba4592eb> {native_safe_halt+0xb/0x10}`
fn rip(text: &str) -> Option<Line> {
    let text = text.strip_prefix("RIP")?;
    let text = text.strip_prefix(" !INEXACT!").unwrap_or(text).trim_start();
    let Some((cs, text)) = text.split_once(":<") else {
        return Some(Line::Words);
    };
    let (ip, _) = text.split_once('>')?;
    let cs = u16::from_str_radix(cs, 16).ok()?;
    Some(Line::Rip { cs, ip: number(ip)? })
}

/// `TSC 0 ADDR 12345000 MISC 8c SYND … IPID …`
fn values(text: &str) -> Option<Values> {
    let mut values = Values::default();
    let mut words = text.split_whitespace();
    let mut any = false;
    while let Some(key) = words.next() {
        let slot = match key {
            "TSC" => &mut values.tsc,
            "ADDR" => &mut values.addr,
            "MISC" => &mut values.misc,
            "PPIN" => &mut values.ppin,
            "SYND" => &mut values.synd,
            "IPID" => &mut values.ipid,
            // 6.13 and later; they hold no place.
            "SYND1" | "SYND2" => {
                words.next();
                continue;
            }
            _ => break,
        };
        // A cut number would be a wrong one: the line ends where it does.
        *slot = Some(words.next().and_then(number)?);
        any = true;
    }
    any.then_some(values)
}

/// `Error Addr: 0x…`, `MC4_ADDR: 0x…`, `PPIN: 0x…`, `TSC: 123`,
/// `IPID: 0x…, Syndrome: 0x…`
fn amd_values(text: &str) -> Option<Values> {
    let mut values = Values::default();
    for piece in text.split(", ") {
        let (key, value) = piece.split_once(": ")?;
        let bank = key.strip_prefix("MC").unwrap_or("");
        let value = value.trim();
        match key {
            "Error Addr" => values.addr = Some(number(value)?),
            _ if bank.ends_with("_ADDR")
                || bank.ends_with(" Error Address") =>
            {
                values.addr = Some(number(value)?);
            }
            "PPIN" => values.ppin = Some(number(value)?),
            "IPID" => values.ipid = Some(number(value)?),
            "Syndrome" => values.synd = Some(number(value)?),
            // The one number in decimal.
            "TSC" => values.tsc = Some(value.parse().ok()?),
            _ => return None,
        }
    }
    Some(values)
}

fn words(text: &str) -> Option<Line> {
    const GRADES: [&str; 5] = [
        "Corrected error, no action required",
        "Deferred error, no action required",
        "Uncorrected, software restartable error",
        "Uncorrected, software containable error",
        "System Fatal error",
    ];
    const ENDS: [&str; 3] = ["cache level: ", "internal: ", "Internal: "];
    const WORDS: [&str; 3] = ["FRU Text: ", "Corrupted MC", "Bank "];
    let begins = |with: &[&str]| with.iter().any(|w| text.starts_with(w));
    if begins(&GRADES) {
        Some(Line::Grade)
    } else if begins(&ENDS) {
        Some(Line::AmdEnd)
    } else if begins(&WORDS)
        || text.contains(" Ext. Error Code: ")
        || text.starts_with("MC") && text.contains(" Error")
    {
        Some(Line::Words)
    } else {
        None
    }
}
