//! `replay --matches`: which lines matched which patterns, with what effect.

use std::sync::Arc;

use serde::Serialize;

use super::Sink;
use super::machine::observe;
use crate::cli::escape::escape;
use crate::cli::screen::{Ink, Screen};
use crate::patterns::matcher::Scratch;
use crate::patterns::set::PatternSet;
use crate::signal::Event;
use crate::sources::text::{Line, Time};
use crate::time::Timestamp;

/// One line that matched.
#[derive(Debug, Serialize)]
struct Matched<'a> {
    /// Its number in the input, from 1.
    n: u64,
    /// The line as it stands in the input; bytes that are no UTF-8 are
    /// replaced.
    line: &'a str,
    /// What the patterns make of it.
    matches: Vec<Match>,
}

/// What one pattern makes of a line.
#[derive(Debug, PartialEq, Serialize)]
struct Match {
    pattern: Arc<str>,
    component: Arc<str>,
    /// Not there where the line speaks of no part.
    part: Option<String>,
    severity: &'static str,
    count: u64,
    /// open, proof, history, evidence or note.
    effect: &'static str,
}

/// Shows the matches of each line.
pub struct Matches<'a> {
    set: &'a PatternSet,
    json: bool,
    out: &'a mut Screen,
    scratch: Scratch,
}

impl<'a> Matches<'a> {
    /// Shows them on `out`.
    pub fn new(
        set: &'a PatternSet,
        json: bool,
        out: &'a mut Screen,
    ) -> Matches<'a> {
        Matches { set, json, out, scratch: Scratch::default() }
    }

    fn of(&self, event: Event) -> Option<Match> {
        let (name, part, count, effect) = match event {
            Event::Match(s) => {
                (s.pattern, Some(s.part.to_string()), s.count, s.effect.word())
            }
            // It counts for what was seen last of all these patterns.
            Event::Suppressed { patterns, count, .. } => {
                (patterns.first()?.clone(), None, count, "evidence")
            }
            Event::State(..)
            | Event::Notes { .. }
            | Event::Gap { .. }
            | Event::Census(_) => {
                return None;
            }
        };
        let pattern = self.set.get(&name)?;
        Some(Match {
            component: Arc::clone(&pattern.component),
            severity: pattern.severity.word(),
            pattern: name,
            part,
            count,
            effect,
        })
    }
}

impl Sink for Matches<'_> {
    fn screen(&mut self) -> &mut Screen {
        self.out
    }

    fn line(&mut self, line: &Line) -> anyhow::Result<bool> {
        let time = match line.time {
            Time::Wall(time) => time,
            Time::None | Time::Monotonic(_) => Timestamp::default(),
        };
        let mut events = Vec::new();
        let scratch = &mut self.scratch;
        observe(self.set, line, time, scratch, &mut events);
        let matches: Vec<_> =
            events.into_iter().filter_map(|e| self.of(e)).collect();
        if matches.is_empty() {
            return Ok(false);
        }
        let text = String::from_utf8_lossy(&line.raw);
        let n = line.number;
        if self.json {
            let matched = Matched { n, line: &text, matches };
            self.out.json_line(&matched)?;
            return Ok(true);
        }
        self.out.ink(Ink::Dim, format!("{n:>7}  "))?;
        self.out.line(escape(&text))?;
        for m in matches {
            self.out.spaces(9)?;
            self.out.ink(Ink::of_severity(m.severity), m.severity)?;
            let part = m.part.as_deref().unwrap_or("-");
            self.out.line(format!(
                " {} {}, count {}, {}",
                m.pattern,
                escape(part),
                m.count,
                m.effect
            ))?;
        }
        Ok(true)
    }
}
