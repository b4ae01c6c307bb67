//! The header that RFC 5424 puts before a line. Pure.

use super::text_header::{Header, Stamp, bracket, token};
use crate::time::Timestamp;

/// `1 TIME HOST APP PROCID MSGID DATA text` behind the priority (RFC 5424,
/// 6).
pub(super) fn protocol(header: &mut Header<'_>) -> Option<()> {
    let rest = header.text.strip_prefix(b"1 ")?;
    let (time, rest) = token(rest)?;
    let (_host, rest) = token(rest)?;
    let (app, rest) = token(rest)?;
    let (_process, rest) = token(rest)?;
    let (_message, rest) = token(rest)?;
    let stamp = match time {
        b"-" => None,
        time => {
            let time = std::str::from_utf8(time).ok()?;
            let time: jiff::Timestamp = time.parse().ok()?;
            Some(Stamp::Instant(Timestamp(time.as_microsecond())))
        }
    };
    let text = after_data(rest)?;
    let text = text.strip_prefix(b" ").unwrap_or(text);
    header.wall = stamp;
    header.text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    header.identifier = app;
    header.kernel &= app == b"kernel";
    if header.kernel {
        bracket(header);
    }
    Some(())
}

/// What follows structured data: `-`, or `[id name="value"]`, one after
/// another, a `]` within a value behind a backslash.
fn after_data(mut text: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = text.strip_prefix(b"-") {
        return (rest.is_empty() || rest.starts_with(b" ")).then_some(rest);
    }
    if !text.starts_with(b"[") {
        return None;
    }
    while let Some(inner) = text.strip_prefix(b"[") {
        let mut escaped = false;
        let end = inner.iter().position(|b| {
            let ends = *b == b']' && !escaped;
            escaped = *b == b'\\' && !escaped;
            ends
        })?;
        text = &inner[end + 1..];
    }
    (text.is_empty() || text.starts_with(b" ")).then_some(text)
}
