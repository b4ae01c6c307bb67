//! `faultline decode`: what the registers of a machine check mean, told to a
//! person. Registers come as arguments, or as the kernel printed them, on
//! standard input.

mod advice;
mod registers;

use std::path::Path;

use anyhow::{Context, bail};
use jiff::tz::TimeZone;
use serde::Serialize;

use super::escape::escape;
use super::replay::input::Input;
use super::screen::{Ink, Screen};
use super::{Exit, Global};
use crate::decode::block::{Assembler, line};
use crate::decode::mce::{Address, Decoded, Registers, Severity, decode};
use crate::decode::mce_log;
use crate::sources::text::{Line, Reader, Time};
use crate::time::Timestamp;
use registers::{Given, given};

/// Blocks of one input that are decoded: more is a log, for `replay`.
const BLOCKS_MAX: usize = 10_000;

/// Options of `decode`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Registers are named as the kernel and the manuals \
    name them: status (or a bare number), addr, misc, mcgstatus, mcgcap, \
    synd, ipid, ppin, cpuid, tsc, microcode, in hexadecimal; bank, cpu, \
    socket, family, model, stepping, in decimal or with 0x; vendor: intel, \
    amd, hygon, zhaoxin or centaur. `MCi_STATUS=0x…`, `MC7_STATUS=…` and \
    `--status 0x…` all do. Without any, the kernel's lines are read from \
    standard input: dmesg's output, a journal, or the bare lines.")]
pub struct DecodeArgs {
    /// Registers as NAME=VALUE; a bare number is the status
    #[arg(value_name = "NAME=VALUE", value_parser = given)]
    pub given: Vec<Given>,
    #[command(flatten)]
    flags: registers::Flags,
}

/// One machine check, as it was given and what it means.
#[derive(Debug, Serialize)]
struct View<'a> {
    registers: registers::Shown,
    decoded: &'a Decoded,
    place: String,
    /// Whether the kernel's block was whole; not there for arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole: Option<bool>,
    advice: &'static str,
}

/// Decodes what was given.
///
/// # Errors
/// Nothing was given, or it cannot be read.
pub fn run(
    global: &Global,
    args: &DecodeArgs,
    out: &mut Screen,
) -> anyhow::Result<Exit> {
    let all: Vec<(Registers, Option<bool>)> =
        match registers::of(&args.given, &args.flags)? {
            Some(registers) => vec![(registers, None)],
            None => pasted()?,
        };
    if all.is_empty() {
        bail!(
            "no machine check in the input: it has none of the kernel's \
             lines `CPU n: Machine Check…` or `MCn_STATUS[…]`"
        );
    }
    let decoded: Vec<Decoded> = all.iter().map(|(r, _)| decode(r)).collect();
    if global.json {
        let views: Vec<View<'_>> = all
            .iter()
            .zip(&decoded)
            .map(|((registers, whole), decoded)| View {
                registers: registers::Shown::of(registers),
                decoded,
                place: decoded.place_in_words(),
                whole: *whole,
                advice: advice::advice(decoded),
            })
            .collect();
        out.json(&serde_json::json!({ "machine_checks": views }))?;
        return Ok(Exit::Good);
    }
    for (i, ((registers, whole), decoded)) in
        all.iter().zip(&decoded).enumerate()
    {
        if i > 0 {
            out.line("")?;
        }
        show(registers, *whole, decoded, out)?;
    }
    Ok(Exit::Good)
}

/// The machine checks in the kernel's lines on standard input.
fn pasted() -> anyhow::Result<Vec<(Registers, Option<bool>)>> {
    let mut input = Input::open(Path::new("-")).context("standard input")?;
    let mut reader = Reader::new(Timestamp(i64::MAX), TimeZone::UTC);
    let mut assembler = Assembler::default();
    let (mut blocks, mut logged) = (Vec::new(), Vec::new());
    let (mut raw, mut forged) = (Vec::new(), 0);
    let mut logs = mce_log::Reader::default();
    while input.next(&mut raw).context("standard input")? {
        let (raw, length) = match reader.is_in_value() {
            true => (&raw[..], input.length),
            false => {
                let raw = raw.strip_suffix(b"\r").unwrap_or(&raw);
                let raw = unindented(raw);
                (raw, raw.len())
            }
        };
        logged.extend(logs.line(raw));
        if let Some(line) = reader.line_of(raw, length) {
            feed(&mut assembler, line, &mut blocks, &mut forged);
        }
        if blocks.len() + logged.len() > BLOCKS_MAX {
            bail!("more than {BLOCKS_MAX} machine checks: use `replay`");
        }
    }
    while let Some(line) = reader.end() {
        feed(&mut assembler, line, &mut blocks, &mut forged);
    }
    if forged > 0 {
        eprintln!(
            "faultline: {forged} line(s) were written by programs, not by the \
             kernel: left out"
        );
    }
    assembler.end(&mut blocks);
    logged.extend(logs.end());
    let blocks = blocks.into_iter().map(|b| (b.registers, Some(b.whole)));
    let logged = logged.into_iter().map(|registers| (registers, None));
    Ok(blocks.chain(logged).collect())
}

/// Without the blanks that a mail, a report, or syslogd's broadcast to
/// terminals (` kernel:[Hardware Error]…`) puts before a line. Those before
/// the properties of a record of `/dev/kmsg` say what they are.
fn unindented(raw: &[u8]) -> &[u8] {
    let is_property = |name: &&[u8]| raw.starts_with(name);
    let properties: [&[u8]; 2] = [b" SUBSYSTEM=", b" DEVICE="];
    match properties.iter().any(is_property) {
        true => raw,
        false => raw.trim_ascii_start(),
    }
}

fn feed(
    assembler: &mut Assembler,
    line: &Line,
    blocks: &mut Vec<crate::decode::block::Block>,
    forged: &mut u64,
) {
    // A record of the kernel's ring that says whose it is; a log's header
    // is of whoever forwarded the line.
    if !line.kernel && line.identifier.is_empty() {
        *forged += u64::from(line::may_be(&line.text));
        return;
    }
    let time = match line.time {
        Time::Wall(time) => time,
        Time::Monotonic(micros) => {
            Timestamp(i64::try_from(micros).unwrap_or(i64::MAX))
        }
        Time::None => Timestamp(0),
    };
    for text in line.text.split(|b| *b == b'\n') {
        let text = bare(text);
        // Old drivers print all of it in one line.
        let at = memchr::memmem::find(&text, b" PROCESSOR ");
        let (values, processor) = text.split_at(at.unwrap_or(text.len()));
        assembler.feed(time, &line.caller, values, blocks);
        if !processor.is_empty() {
            let processor = bare(&processor[1..]);
            assembler.feed(time, &line.caller, &processor, blocks);
        }
    }
}

/// A line as the kernel's own machine check lines begin: whoever asks for
/// the meaning of one has vouched for it, so the prefix of an EDAC driver, or
/// none, does too.
fn bare(text: &[u8]) -> Vec<u8> {
    const PREFIX: &[u8] = b"[Hardware Error]: ";
    if text.windows(PREFIX.len()).any(|w| w == PREFIX)
        || text.starts_with(b"EDAC MC")
    {
        return text.to_vec();
    }
    let after = |word: &[u8]| {
        let at = text.windows(word.len()).position(|w| w == word)?;
        Some(&text[at..])
    };
    let edac = text.starts_with(b"EDAC ").then(|| after(b": ")).flatten();
    let rest = edac.map_or(text, |rest| &rest[2..]);
    [PREFIX, rest].concat()
}

fn show(
    registers: &Registers,
    whole: Option<bool>,
    decoded: &Decoded,
    out: &mut Screen,
) -> anyhow::Result<()> {
    let word = match decoded.severity {
        Severity::None => "info",
        Severity::Corrected => "warning",
        _ => "fatal",
    };
    out.ink(Ink::of_severity(word), sentence(&decoded.summary))?;
    out.line("")?;
    let mut row = |name: &str, text: String| {
        out.line(format!("  {name:<10} {}", escape(&text)))
    };
    let severity = decoded.severity.word();
    row("severity", format!("{severity}: {}", decoded.graded))?;
    row("part", decoded.parts[0].clone())?;
    row("place", decoded.place_in_words())?;
    if decoded.severity == Severity::Corrected {
        let more = if decoded.overflow { " or more" } else { "" };
        row("count", format!("{}{more}", decoded.count))?;
    }
    if let Some(address) = &decoded.address {
        row("address", address_in_words(address))?;
    }
    if let Some(bank) = bank_in_words(registers, decoded) {
        row("bank", bank)?;
    }
    row("code", code_in_words(decoded))?;
    if let Some(tracking) = decoded.tracking {
        row("threshold", tracking.word().into())?;
    }
    row("processor", processor_in_words(registers, decoded))?;
    row("flags", registers::flags(registers, decoded))?;
    if whole == Some(false) {
        row("note", "the kernel's block is cut off: more may be known".into())?;
    }
    for note in &decoded.notes {
        row("note", (*note).into())?;
    }
    row("to do", advice::advice(decoded).into())?;
    Ok(())
}

/// With a capital letter.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

fn address_in_words(address: &Address) -> String {
    let mut text = format!("0x{:x}", address.value);
    if let Ok(serde_json::Value::String(mode)) =
        serde_json::to_value(address.mode)
    {
        text.push_str(&format!(", {}", mode.replace('-', " ")));
    }
    if let Some(page) = address.page() {
        text.push_str(&format!(", page 0x{page:x}"));
    }
    text
}

fn bank_in_words(registers: &Registers, decoded: &Decoded) -> Option<String> {
    let name = decoded.bank.as_ref();
    let name = name.map(|name| format!("{} ({})", name.short, name.long));
    match (registers.bank, name) {
        (Some(bank), Some(name)) => Some(format!("{bank}: {name}")),
        (Some(bank), None) => Some(format!("{bank}: not known here")),
        (None, name) => name,
    }
}

fn code_in_words(decoded: &Decoded) -> String {
    let code = &decoded.code;
    let kind = serde_json::to_value(code.kind).ok();
    let kind = kind.and_then(|k| k.as_str().map(|k| k.replace('-', " ")));
    let mut words = vec![kind.unwrap_or_default()];
    words.extend(code.operation.map(|o| o.word().replace('-', " ")));
    words.extend(code.level.map(|level| format!("level {}", level.word())));
    if code.filtered {
        words.push("filtered: not every error is told".into());
    }
    let model = match code.model_text {
        Some(text) => format!("0x{:x} ({text})", code.model),
        None => format!("0x{:x}", code.model),
    };
    format!("0x{:04x} {}; of the model {model}", code.mca, words.join(", "))
}

fn processor_in_words(registers: &Registers, decoded: &Decoded) -> String {
    let vendor = decoded.vendor.map_or("unknown maker", |v| v.name());
    let mut text = vendor.to_owned();
    match decoded.model {
        Some(m) => text.push_str(&format!(
            " family 0x{:x} model 0x{:x} stepping {}",
            m.family, m.model, m.stepping
        )),
        None => text.push_str(", unknown model"),
    }
    if let Some(microcode) = registers.microcode {
        text.push_str(&format!(", microcode 0x{microcode:x}"));
    }
    if let Some(ppin) = decoded.place.ppin {
        text.push_str(&format!(", number (PPIN) 0x{ppin:x}"));
    }
    text
}
