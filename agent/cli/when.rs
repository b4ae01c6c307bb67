//! Times as people read them.

use std::time::Duration;

use crate::time::{Timestamp, show_duration};

/// Reads what [`Timestamp`] shows, as the JSON API sends it.
pub fn parse(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp(time.as_microsecond()))
}

/// How long ago: `5m ago`, `just now`. A time that lies ahead is a clock that
/// was set, and is told as the bare time.
pub fn ago(time: Timestamp, now: Timestamp) -> String {
    if time.0 > now.0.saturating_add(1_000_000) {
        return time.to_string();
    }
    match now.since(time) {
        d if d < Duration::from_secs(1) => "just now".to_owned(),
        d => format!("{} ago", show_duration(d)),
    }
}

/// The time with how long ago it was, of a time the API sent.
pub fn with_age(text: &str, now: Timestamp) -> String {
    match parse(text) {
        Some(time) if time.0 <= now.0 => {
            format!("{text} ({})", ago(time, now))
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back_as_they_are_shown() {
        let time = Timestamp(1_700_000_000_000_000);
        assert_eq!(parse(&time.to_string()), Some(time));
        assert_eq!(parse("yesterday"), None);
    }

    #[test]
    fn ages_are_told_in_words_and_the_future_as_a_time() {
        let at = |s: i64| Timestamp(1_700_000_000_000_000 + s * 1_000_000);
        assert_eq!(ago(at(0), at(300)), "5m ago");
        assert_eq!(ago(at(0), at(0)), "just now");
        assert_eq!(ago(at(900), at(0)), "2023-11-14T22:28:20Z");
        let text = at(0).to_string();
        assert_eq!(with_age(&text, at(7200)), format!("{text} (2h ago)"));
        assert_eq!(with_age("soon", at(0)), "soon");
    }
}
