//! What transports put before a line of kernel text: recognised and stripped.
//! Pure.

use jiff::civil::DateTime;

use super::text_months::month;
use super::text_protocol::protocol;
use crate::time::Timestamp;

/// A time as a header gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    /// With its offset from UTC.
    Instant(Timestamp),
    /// Local time.
    Civil(DateTime),
    /// Local time without a year; the year here is a leap year.
    Yearless(DateTime),
}

/// A line without its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub text: &'a [u8],
    pub level: Option<u8>,
    pub wall: Option<Stamp>,
    /// Microseconds since the boot.
    pub monotonic: Option<u64>,
    /// Whether the kernel printed it; a line without any header is taken for
    /// the kernel's.
    pub kernel: bool,
    pub identifier: &'a [u8],
    /// The task or CPU that printed it, such as `T10`; empty if not told.
    pub caller: &'a [u8],
}

const FACILITIES: [&[u8]; 20] = [
    b"kern",
    b"user",
    b"mail",
    b"daemon",
    b"auth",
    b"syslog",
    b"lpr",
    b"news",
    b"uucp",
    b"cron",
    b"authpriv",
    b"ftp",
    b"local0",
    b"local1",
    b"local2",
    b"local3",
    b"local4",
    b"local5",
    b"local6",
    b"local7",
];

/// As `dmesg -x` writes them.
const LEVELS: [&[u8]; 8] = [
    b"emerg", b"alert", b"crit", b"err", b"warn", b"notice", b"info", b"debug",
];

/// Any leap year: 29 February is a date.
const LEAP: i16 = 2000;

/// Strips what stands before the message.
pub(super) fn strip(line: &[u8]) -> Header<'_> {
    let mut header = Header {
        text: line,
        level: None,
        wall: None,
        monotonic: None,
        kernel: true,
        identifier: b"",
        caller: b"",
    };
    priority(&mut header);
    if header.level.is_some() && protocol(&mut header).is_some() {
        return header;
    }
    decoded(&mut header);
    if bracket(&mut header) {
        // journalctl -o short-monotonic: `[ 12.3] host kernel: text`, and
        // without the host under --no-hostname.
        let text = header.text;
        if let Some(text) =
            after_kernel(text).or_else(|| after_host_kernel(text))
        {
            header.text = text;
        }
        return header;
    }
    // Without printk.time there is the caller alone.
    if caller(&mut header) {
        return header;
    }
    if console(&mut header) {
        return header;
    }
    if let Some((stamp, rest, then)) = wall(header.text) {
        header.wall = Some(stamp);
        header.text = rest;
        if then == Then::Syslog {
            syslog(&mut header);
        }
        if header.kernel {
            // rsyslog's imklog keeps the kernel's own time stamp.
            bracket(&mut header);
        }
    } else if let Some(text) = after_kernel(header.text) {
        // A log as reports quote it, its time cut off.
        header.text = text;
        bracket(&mut header);
    }
    header
}

/// `<3>`: facility and level.
fn priority(header: &mut Header<'_>) {
    let Some(rest) = header.text.strip_prefix(b"<") else { return };
    let Some((number, rest)) = digits(rest) else { return };
    let (true, Some(rest)) = (number < 192, rest.strip_prefix(b">")) else {
        return;
    };
    header.level = Some((number & 7) as u8);
    header.kernel = number >> 3 == 0;
    header.text = rest;
}

/// `kern  :err   : `, of `dmesg -x`.
fn decoded(header: &mut Header<'_>) {
    let Some((facility, rest)) = word_before_colon(header.text) else {
        return;
    };
    if !FACILITIES.contains(&facility) {
        return;
    }
    let Some((level, rest)) = word_before_colon(rest) else { return };
    let Some(level) = LEVELS.iter().position(|l| *l == level) else { return };
    header.level = Some(level as u8);
    header.kernel = facility == b"kern";
    header.text = rest.strip_prefix(b" ").unwrap_or(rest);
}

fn word_before_colon(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().take(12).position(|b| *b == b':')?;
    Some((text[..colon].trim_ascii_end(), &text[colon + 1..]))
}

/// `[   12.345678] `, `[   12.3 <    0.1>] `, `[Mon Jan  2 15:04:05 2026] `,
/// `[Jan 2 15:04] `, `[  +0.1] `, each perhaps with `[   T10] ` after it.
pub(super) fn bracket(header: &mut Header<'_>) -> bool {
    let Some(rest) = header.text.strip_prefix(b"[") else { return false };
    // The longest is 40 bytes; a `]` further on belongs to the text.
    let Some(end) = rest.iter().take(48).position(|b| *b == b']') else {
        return false;
    };
    let inner = rest[..end].trim_ascii();
    let number = inner.strip_prefix(b"+").unwrap_or(inner);
    // Always with a fraction: `[ 12] Timeout` and `[  123] 1000 …` are text.
    let fraction = number.contains(&b'.');
    if let Some((micros, more)) = seconds(number).filter(|_| fraction) {
        let delta = more.trim_ascii_start().starts_with(b"<");
        // `@3`: kernels of boards that tell the CPU so.
        let cpu = more.strip_prefix(b"@").and_then(digits);
        let cpu = cpu.is_some_and(|(_, rest)| rest.is_empty());
        if !(more.is_empty() || delta || cpu) {
            return false;
        }
        if number.len() == inner.len() {
            header.monotonic = Some(micros);
        }
    } else if let Some(stamp) = ctime(inner) {
        header.wall = Some(stamp);
    } else if !is_minute(inner) {
        return false;
    }
    // One blank follows, and the caller where the kernel tells it.
    let rest = &rest[end + 1..];
    header.text = rest.strip_prefix(b" ").unwrap_or(rest);
    if !caller(header)
        && let Some((cpu, text)) = real_time(header.text)
    {
        (header.caller, header.text) = (cpu, text);
    }
    true
}

/// `[   T10] ` or `[    C2] `: the task or the CPU that printed it
/// (CONFIG_PRINTK_CALLER, print_caller in kernel/printk/printk.c).
fn caller(header: &mut Header<'_>) -> bool {
    let Some((caller, text)) = after_caller(header.text) else { return false };
    (header.caller, header.text) = (caller, text);
    true
}

/// `003: `: the CPU, as kernels 5.0 to 5.10 with the real-time patches put it
/// behind the time.
fn real_time(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (cpu, text) = text.split_at_checked(3)?;
    let number = cpu.iter().all(u8::is_ascii_digit);
    Some((cpu, text.strip_prefix(b": ").filter(|_| number)?))
}

fn after_caller(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = text.strip_prefix(b"[")?.trim_ascii_start();
    let number =
        inner.strip_prefix(b"T").or_else(|| inner.strip_prefix(b"C"))?;
    let (_, after) = digits(number)?;
    let caller = &inner[..inner.len() - after.len()];
    let after = after.strip_prefix(b"]")?;
    Some((caller, after.strip_prefix(b" ").unwrap_or(after)))
}

/// `2016-12-03 19:08:52    [   12.3] text`: what a console server puts before
/// what it read from a serial line.
fn console(header: &mut Header<'_>) -> bool {
    let Some((stamp, rest)) = date_and_time(header.text) else { return false };
    let whole = header.text;
    header.text = rest.trim_ascii_start();
    let monotonic = bracket(header) && header.monotonic.is_some();
    if monotonic {
        header.wall = Some(stamp);
    } else {
        header.text = whole;
    }
    monotonic
}

fn date_and_time(text: &[u8]) -> Option<(Stamp, &[u8])> {
    let (date, rest) = token(text)?;
    if date.len() != 10 || date[4] != b'-' {
        return None;
    }
    let (time, rest) = token(rest)?;
    let date = std::str::from_utf8(date).ok()?;
    let date: jiff::civil::Date = date.parse().ok()?;
    let (hour, minute, second, nanos) = clock_time(time)?;
    let time = jiff::civil::Time::new(hour, minute, second, nanos).ok()?;
    Some((Stamp::Civil(date.to_datetime(time)), rest))
}

/// What a wall-clock time is followed by.
#[derive(PartialEq)]
enum Then {
    /// `host tag: text`.
    Syslog,
    /// The text (`dmesg --time-format iso`).
    Text,
}

/// A time stamp that is not in brackets.
fn wall(text: &[u8]) -> Option<(Stamp, &[u8], Then)> {
    let (first, rest) = token(text)?;
    if first.len() >= 19 && first[4] == b'-' && first[10] == b'T' {
        let written = std::str::from_utf8(first).ok()?;
        let stamp = match written.parse::<jiff::Timestamp>() {
            Ok(t) => Stamp::Instant(Timestamp(t.as_microsecond())),
            Err(_) => Stamp::Civil(written.parse().ok()?),
        };
        let dmesg = first.contains(&b',');
        let then = if dmesg { Then::Text } else { Then::Syslog };
        return Some((stamp, rest, then));
    }
    if let Some((stamp, rest)) =
        yearless(first, rest).or_else(|| full(first, rest))
    {
        return Some((stamp, rest, Then::Syslog));
    }
    // journalctl -o short-unix: `1735830245.123456 host kernel: text`. Ten
    // digits: years 2001 to 2286.
    if first.len() == 17 && first[10] == b'.' {
        let (micros, rest_of_it) = seconds(first)?;
        let stamp = Timestamp(i64::try_from(micros).ok()?);
        let whole = rest_of_it.is_empty();
        return whole.then_some((Stamp::Instant(stamp), rest, Then::Syslog));
    }
    None
}

/// `Jan  2 15:04:05`.
fn yearless<'a>(first: &[u8], rest: &'a [u8]) -> Option<(Stamp, &'a [u8])> {
    let (day, rest) = token(rest)?;
    let (time, rest) = token(rest).filter(|(time, _)| time.contains(&b':'))?;
    let stamp = date_time(LEAP, month(first)?, day, time)?;
    Some((Stamp::Yearless(stamp), rest))
}

/// `Fri 2026-01-02 15:04:05 UTC`, of `journalctl -o short-full`.
fn full<'a>(first: &[u8], rest: &'a [u8]) -> Option<(Stamp, &'a [u8])> {
    let weekday = std::str::from_utf8(first).ok()?;
    let weekday = weekday.strip_suffix('.').unwrap_or(weekday);
    if weekday.len() > 12 || !weekday.chars().all(char::is_alphabetic) {
        return None;
    }
    let (stamp, rest) = date_and_time(rest)?;
    let (zone, rest) = token(rest)?;
    match (stamp, zone) {
        (Stamp::Civil(civil), b"UTC" | b"GMT") => {
            let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
            let time = Timestamp(zoned.timestamp().as_microsecond());
            Some((Stamp::Instant(time), rest))
        }
        _ => Some((stamp, rest)),
    }
}

/// The level of `kern.err`; of the kernel's facility alone, since that is
/// whose lines are wanted.
fn facility_and_level(word: &[u8]) -> Option<u8> {
    let level = word.strip_prefix(b"kern.")?;
    let levels = LEVELS.iter().zip(0u8..);
    let long = level == b"warning";
    let mut found = levels.filter(|(name, _)| **name == level);
    found.next().map(|(_, n)| n).or(long.then_some(4))
}

/// `host tag[1]: text`, the host may be missing.
fn syslog(header: &mut Header<'_>) {
    let text = header.text;
    // What a priority says of the facility stands.
    let may_be = std::mem::replace(&mut header.kernel, false);
    let Some((first, rest)) = token(text) else { return };
    let (tag, rest) = match first.strip_suffix(b":") {
        Some(tag) => (tag, after_token(text, first)),
        None => {
            let Some((second, behind)) = token(rest) else {
                // A host, and an empty message of nobody.
                header.text = rest;
                return;
            };
            // BusyBox: `host kern.err kernel: text`.
            let (rest, second) =
                match (facility_and_level(second), token(behind)) {
                    (Some(level), Some((tag, _))) => {
                        header.level = header.level.or(Some(level));
                        (behind, tag)
                    }
                    _ => (rest, second),
                };
            let Some(tag) = second.strip_suffix(b":") else {
                header.text = rest;
                return;
            };
            (tag, after_token(rest, second))
        }
    };
    let pid = tag.iter().position(|b| *b == b'[');
    header.identifier = &tag[..pid.unwrap_or(tag.len())];
    // Some forwarders give the kernel a pid, which is 0.
    header.kernel = may_be && matches!(tag, b"kernel" | b"kernel[0]");
    header.text = rest;
}

/// What follows `token` in `text`: one blank is the transport's, more are
/// the message's.
fn after_token<'a>(text: &'a [u8], token: &[u8]) -> &'a [u8] {
    let text = text.trim_ascii_start();
    let rest = &text[token.len()..];
    rest.strip_prefix(b" ").unwrap_or(rest)
}

/// `host kernel: text`. The first word must be a host's name: kernel text has
/// no such beginning.
fn after_host_kernel(text: &[u8]) -> Option<&[u8]> {
    let (host, rest) = token(text)?;
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
    let text = after_kernel(rest)?;
    host.iter().all(plain).then_some(text)
}

/// `kernel: text`; the text keeps its own indentation.
fn after_kernel(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(b"kernel:")?;
    Some(rest.strip_prefix(b" ").unwrap_or(rest))
}

/// The next word and what follows it and its blanks.
pub(super) fn token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii_start();
    let end = text.iter().position(|b| *b == b' ').unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (!word.is_empty()).then(|| (word, rest.trim_ascii_start()))
}

/// `Mon Jan  2 15:04:05 2026`.
fn ctime(text: &[u8]) -> Option<Stamp> {
    let (_weekday, rest) = token(text)?;
    let (name, rest) = token(rest)?;
    let (day, rest) = token(rest)?;
    let (time, rest) = token(rest)?;
    let (year, rest) = digits(rest)?;
    if !rest.is_empty() {
        return None;
    }
    let year = i16::try_from(year).ok()?;
    date_time(year, month(name)?, day, time).map(Stamp::Civil)
}

/// `Jan 2 15:04` or `Jan02 15:04`, of `dmesg -e` and `-H`; it is too coarse to
/// be used.
fn is_minute(text: &[u8]) -> bool {
    let parts = || {
        let (name, rest) = text.split_at_checked(3)?;
        month(name)?;
        let (day, rest) = token(rest)?;
        digits(day)?;
        let (_hour, rest) = digits(rest)?;
        digits(rest.strip_prefix(b":")?)
    };
    parts().is_some_and(|(_, rest)| rest.is_empty())
}

fn date_time(
    year: i16,
    month: i8,
    day: &[u8],
    time: &[u8],
) -> Option<DateTime> {
    let (day, rest) = digits(day)?;
    let (hour, minute, second, nanos) = clock_time(time)?;
    let day = i8::try_from(day).ok().filter(|_| rest.is_empty())?;
    DateTime::new(year, month, day, hour, minute, second, nanos).ok()
}

/// `15:04:05`, `15:04:05.123456`.
fn clock_time(text: &[u8]) -> Option<(i8, i8, i8, i32)> {
    let (hour, rest) = digits(text)?;
    let (minute, rest) = digits(rest.strip_prefix(b":")?)?;
    let (micros, rest) = seconds(rest.strip_prefix(b":")?)?;
    // A leap second is the last of its minute.
    let second = (micros / 1_000_000).min(59);
    let nanos = i32::try_from(micros % 1_000_000 * 1000).ok()?;
    rest.is_empty().then_some((
        i8::try_from(hour).ok()?,
        i8::try_from(minute).ok()?,
        i8::try_from(second).ok()?,
        nanos,
    ))
}

/// `12.345678` as microseconds, or `12`; and what follows.
fn seconds(text: &[u8]) -> Option<(u64, &[u8])> {
    let (whole, rest) = digits(text)?;
    let whole = whole.checked_mul(1_000_000)?;
    let Some(fraction) = rest.strip_prefix(b".") else {
        return Some((whole, rest));
    };
    let length = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
    let (mut micros, mut scale) = (0, 100_000);
    for digit in &fraction[..length] {
        micros += u64::from(digit - b'0') * scale;
        scale /= 10;
    }
    Some((whole.checked_add(micros)?, &fraction[length..]))
}

/// A decimal number and what follows it.
fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let length = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let number = std::str::from_utf8(&text[..length]).ok()?.parse().ok()?;
    Some((number, &text[length..]))
}
