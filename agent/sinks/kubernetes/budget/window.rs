//! Change windows: when a node may be taken out at all. The time is the API
//! server's, the zone is the window's.

use std::fmt;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp as Instant, ToSpan, Zoned};

use crate::time::Timestamp;

/// How far ahead the next opening is looked for: a week and a day, so that a
/// window of one weekday is found from any time of that day.
const DAYS_AHEAD: i64 = 8;

/// The days of the week as they are written.
const DAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];

/// `Mon-Fri 01:00-05:00 Europe/Berlin`: on these days from, and up to but
/// without, these times. One that ends at or before its start ends the next
/// day, and belongs to the day on which it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    days: [bool; 7],
    start: Time,
    end: Time,
    zone: TimeZone,
    text: String,
}

impl Window {
    /// Reads `[DAYS ]HH:MM-HH:MM ZONE`.
    ///
    /// # Errors
    /// What is wrong, and how it is written.
    pub fn parse(text: &str) -> Result<Window, String> {
        let wrong = |what: String| {
            format!(
                "window {text:?}: {what}; write \"01:00-05:00 Europe/Berlin\" \
                 or \"Mon-Fri 22:00-04:00 UTC\""
            )
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let (days, hours, zone) = match words.as_slice() {
            [hours, zone] => ([true; 7], hours, zone),
            [days, hours, zone] => {
                (parse_days(days).map_err(wrong)?, hours, zone)
            }
            _ => return Err(wrong("days, hours and a time zone".into())),
        };
        let (start, end) = hours
            .split_once('-')
            .ok_or_else(|| wrong(format!("{hours:?} is no span of hours")))?;
        let zone = match *zone {
            "UTC" => TimeZone::UTC,
            name => TimeZone::get(name).map_err(|_| {
                wrong(format!("no time zone {name:?} is known"))
            })?,
        };
        Ok(Window {
            days,
            start: parse_time(start).map_err(wrong)?,
            end: parse_time(end).map_err(wrong)?,
            zone,
            text: words.join(" "),
        })
    }

    /// Whether it is open.
    pub fn is_open(&self, now: Timestamp) -> bool {
        let Some(local) = self.local(now) else { return false };
        let (time, today) = (local.time(), local.weekday());
        if self.start < self.end {
            return self.on(today) && self.start <= time && time < self.end;
        }
        (self.on(today) && self.start <= time)
            || (self.on(today.previous()) && time < self.end)
    }

    /// When it opens next, if it is closed.
    pub fn opens(&self, now: Timestamp) -> Option<Timestamp> {
        let local = self.local(now)?;
        (0..=DAYS_AHEAD)
            .filter_map(|ahead| local.date().checked_add(ahead.days()).ok())
            .filter(|date| self.on(date.weekday()))
            .filter_map(|date| self.start_on(date))
            .find(|start| *start > now)
    }

    fn on(&self, day: Weekday) -> bool {
        self.days[usize::from(day.to_monday_zero_offset().unsigned_abs())]
    }

    fn local(&self, now: Timestamp) -> Option<Zoned> {
        let instant = Instant::from_microsecond(now.0).ok()?;
        Some(instant.to_zoned(self.zone.clone()))
    }

    /// A start that the clocks skip in spring is taken after the gap.
    fn start_on(&self, date: Date) -> Option<Timestamp> {
        let start = date.to_datetime(self.start);
        let start = start.to_zoned(self.zone.clone()).ok()?;
        Some(Timestamp(start.timestamp().as_microsecond()))
    }
}

/// As it was written.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `Mon-Fri`, `Sat,Sun` or `Mon,Wed-Fri`; a span may go over the weekend.
fn parse_days(text: &str) -> Result<[bool; 7], String> {
    let day = |word: &str| {
        let at = DAYS.iter().position(|(d, _)| d.eq_ignore_ascii_case(word));
        at.ok_or_else(|| format!("{word:?} is no day; write Mon to Sun"))
    };
    let mut days = [false; 7];
    for span in text.split(',') {
        let (from, to) = span.split_once('-').unwrap_or((span, span));
        let (from, to) = (day(from)?, day(to)?);
        let length = (to + 7 - from) % 7;
        (0..=length).for_each(|i| days[(from + i) % 7] = true);
    }
    Ok(days)
}

fn parse_time(text: &str) -> Result<Time, String> {
    let read = || {
        let (hour, minute) = text.split_once(':')?;
        let digits = |s: &str| (s.len() == 2).then(|| s.parse::<i8>().ok())?;
        Time::new(digits(hour)?, digits(minute)?, 0, 0).ok()
    };
    read().ok_or_else(|| format!("{text:?} is no time of day"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<Instant>().unwrap().as_microsecond())
    }

    #[test]
    fn a_window_is_open_from_its_start_to_just_before_its_end() {
        let w = Window::parse("01:00-05:00 UTC").unwrap();
        assert!(!w.is_open(at("2026-11-22T00:59:59Z")));
        assert!(w.is_open(at("2026-11-22T01:00:00Z")));
        assert!(w.is_open(at("2026-11-22T04:59:59Z")));
        assert!(!w.is_open(at("2026-11-22T05:00:00Z")));
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_starts_on() {
        let w = Window::parse("Fri 22:00-04:00 UTC").unwrap();
        assert!(w.is_open(at("2026-11-20T22:00:00Z"))); // a Friday
        assert!(w.is_open(at("2026-11-21T03:59:00Z")));
        assert!(!w.is_open(at("2026-11-20T03:00:00Z")));
        assert!(!w.is_open(at("2026-11-21T22:00:00Z")));
        let over = Window::parse("Sat-Mon 10:00-11:00 UTC").unwrap();
        assert!(over.is_open(at("2026-11-22T10:30:00Z")));
        assert!(!over.is_open(at("2026-11-24T10:30:00Z")));
    }

    #[test]
    fn the_next_opening_is_known() {
        let w = Window::parse("Mon 01:00-05:00 UTC").unwrap();
        let opens = w.opens(at("2026-11-22T12:00:00Z")).unwrap();
        assert_eq!(opens, at("2026-11-23T01:00:00Z"));
        let later = w.opens(at("2026-11-23T06:00:00Z")).unwrap();
        assert_eq!(later, at("2026-11-30T01:00:00Z"));
    }

    #[test]
    fn a_zone_has_its_summer_time() {
        let w = Window::parse("01:00-05:00 Europe/Berlin").unwrap();
        assert!(!w.is_open(at("2026-11-21T23:59:59Z")));
        assert!(w.is_open(at("2026-11-22T00:00:00Z")));
        assert!(w.is_open(at("2026-07-22T02:59:59Z")));
        assert!(!w.is_open(at("2026-07-22T03:00:00Z")));
        // 02:30 does not exist in Berlin on 28 March 2027.
        let gap = Window::parse("Sun 02:30-05:00 Europe/Berlin").unwrap();
        let opens = gap.opens(at("2027-03-27T12:00:00Z")).unwrap();
        assert_eq!(opens, at("2027-03-28T01:30:00Z"));
    }

    #[test]
    fn what_is_wrong_with_a_window_is_said() {
        for (text, word) in [
            ("01:00-05:00", "zone"),
            ("25:00-05:00 UTC", "25:00"),
            ("1:00-05:00 UTC", "1:00"),
            ("Foo 01:00-05:00 UTC", "Foo"),
            ("01:00 UTC", "span"),
            ("01:00-05:00 Europe/Atlantis", "Atlantis"),
        ] {
            let error = Window::parse(text).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
