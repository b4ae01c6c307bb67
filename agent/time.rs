//! Time as the agent knows it: two clocks and lengths of time.
//!
//! The wall clock says *when* something happened and is what people read; it
//! may step. The boot clock (CLOCK_BOOTTIME) only moves forward and is what
//! holds and quiet timers use. Nothing here reads a clock: `clock.rs` does,
//! and hands a [`Now`] to whoever needs one.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A wall-clock instant: microseconds since the Unix epoch, UTC.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The instant `d` later, saturating at the end of time.
    pub fn plus(self, d: Duration) -> Timestamp {
        let us = i64::try_from(d.as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_add(us))
    }

    /// The instant `d` earlier, saturating at the beginning of time.
    pub fn minus(self, d: Duration) -> Timestamp {
        let us = i64::try_from(d.as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_sub(us))
    }

    /// How long after `earlier` this is; zero when it is not later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        let us = self.0.saturating_sub(earlier.0);
        Duration::from_micros(u64::try_from(us).unwrap_or(0))
    }
}

/// RFC 3339 in UTC to the second, as people and JSON read it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(t) => write!(f, "{}", t.strftime("%Y-%m-%dT%H:%M:%SZ")),
            Err(_) => write!(f, "@{}us", self.0),
        }
    }
}

/// An instant of the boot clock: microseconds since this boot, including
/// time slept.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
)]
#[serde(transparent)]
pub struct Uptime(pub u64);

impl Uptime {
    /// The instant `d` later, saturating.
    pub fn plus(self, d: Duration) -> Uptime {
        let us = u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        Uptime(self.0.saturating_add(us))
    }

    /// How long after `earlier` this is; zero when it is not later.
    pub fn since(self, earlier: Uptime) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Both clocks, read together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The wall clock.
    pub wall: Timestamp,
    /// The boot clock.
    pub boot: Uptime,
}

impl Now {
    /// Both clocks `d` later; what replay's virtual clock does.
    pub fn plus(self, d: Duration) -> Now {
        Now { wall: self.wall.plus(d), boot: self.boot.plus(d) }
    }
}

/// One boot of the machine: the kernel's random `boot_id`.
#[derive(
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
)]
#[serde(transparent)]
pub struct BootId(pub String);

/// Reads `30s`, `5m`, `24h`, `7d`, `500ms` or a sum such as `1h30m`.
///
/// # Errors
/// A lower-case fragment that says what is wrong with the text.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("empty duration; write 30s, 5m, 24h or 7d".into());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits =
            rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| {
            format!("{text:?} is no duration; write 30s, 5m, 24h or 7d")
        })?;
        rest = &rest[digits..];
        let letters =
            rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            "d" => Duration::from_secs(86_400),
            "" => {
                return Err(format!(
                    "{text:?} has no unit; did you mean \"{text}s\"?"
                ));
            }
            other => {
                return Err(format!(
                    "{other:?} is no unit of time; use ms, s, m, h or d"
                ));
            }
        };
        rest = &rest[letters..];
        let part = u32::try_from(number)
            .ok()
            .and_then(|n| unit.checked_mul(n))
            .filter(|d| *d <= MAX_DURATION);
        let part =
            part.ok_or_else(|| format!("{text:?} is longer than ten years"))?;
        total += part;
    }
    Ok(total)
}

/// Longer than any window or hold that makes sense; keeps sums from
/// overflowing.
const MAX_DURATION: Duration = Duration::from_secs(3650 * 86_400);

/// Writes a length of time as people say it: the two largest units.
pub fn show_duration(d: Duration) -> String {
    let s = d.as_secs();
    let (days, hours, minutes, seconds) =
        (s / 86_400, s / 3600 % 24, s / 60 % 60, s % 60);
    let two = |a: u64, ua: &str, b: u64, ub: &str| {
        if b == 0 { format!("{a}{ua}") } else { format!("{a}{ua}{b}{ub}") }
    };
    if days > 0 {
        two(days, "d", hours, "h")
    } else if hours > 0 {
        two(hours, "h", minutes, "m")
    } else if minutes > 0 {
        two(minutes, "m", seconds, "s")
    } else if s > 0 || d.is_zero() {
        format!("{s}s")
    } else {
        format!("{}ms", d.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_back_as_written() {
        for text in ["30s", "5m", "24h", "7d", "1h30m", "500ms"] {
            let d = parse_duration(text).unwrap();
            assert_eq!(parse_duration(&show_duration(d)).unwrap(), d);
        }
        assert_eq!(parse_duration("1d").unwrap(), Duration::from_secs(86_400));
    }

    #[test]
    fn a_duration_without_a_unit_is_refused_with_a_suggestion() {
        assert!(parse_duration("30").unwrap_err().contains("\"30s\""));
        assert!(parse_duration("").is_err());
        assert!(parse_duration("5 parsecs").is_err());
        assert!(parse_duration("99999999999999999999d").is_err());
        assert!(parse_duration("4000d").is_err());
    }
}
