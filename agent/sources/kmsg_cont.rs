//! Continuation fragments: `c` records that belong to an earlier one.
//!
//! A record is matched at once, never held back for a fragment that may not
//! come; when one does, the joined text is matched again and only what is new
//! in it counts. So the texts of the last few records are remembered, by
//! caller where the kernel tells it, since other records may stand between.
//! Pure.

use std::sync::Arc;

use super::kmsg_record::{Record, parse};
use crate::parts::ids::PartId;
use crate::signal::Event;

/// How many callers' last records are remembered: a fragment is separated
/// from its record by what other CPUs print meanwhile, which is little.
const SLOTS: usize = 8;

/// The longest joined text, as it would be escaped in one record
/// (CONSOLE_EXT_LOG_MAX); what is beyond is left out.
const JOINED_MAX: usize = 8192;

/// One caller's last record, as far as it has come.
#[derive(Debug, Default)]
pub struct Joined {
    caller: Vec<u8>,
    used: bool,
    /// The record as it was read; the fields below are of it only once it
    /// was continued, which is seldom.
    raw: Vec<u8>,
    continued: bool,
    /// The text so far, escaped.
    pub text: Vec<u8>,
    /// Its SUBSYSTEM=.
    pub subsystem: Vec<u8>,
    /// Its DEVICE=.
    pub device: Vec<u8>,
    /// Its log level; a fragment has none of its own.
    pub level: u8,
    /// Whether user space wrote it.
    pub injected: bool,
    /// What its matches have given so far.
    given: Vec<(Arc<str>, PartId)>,
}

/// The last records, by caller.
#[derive(Debug, Default)]
pub struct Fragments {
    slots: [Joined; SLOTS],
    next: usize,
}

impl Fragments {
    /// Remembers a record, parsed from `raw`, that may be continued, and what
    /// it gave.
    pub fn remember(
        &mut self,
        raw: &[u8],
        record: &Record<'_>,
        events: &[Event],
    ) {
        let slot = match self.find(record.caller) {
            Some(slot) => slot,
            None => {
                let slot = self.next;
                self.next = (self.next + 1) % SLOTS;
                slot
            }
        };
        let slot = &mut self.slots[slot];
        slot.used = true;
        slot.continued = false;
        if !slot.is_of(record.caller) {
            set(&mut slot.caller, record.caller);
        }
        set(&mut slot.raw, raw);
        slot.injected = record.facility != 0;
        slot.given.clear();
        slot.note_given(events);
    }

    /// Appends a fragment to the record of its caller. `None` when that isn't
    /// known, or user space continues what the kernel began: a fragment alone
    /// is no line, since what it begins with may be anyone's text.
    pub fn join(&mut self, fragment: &Record<'_>) -> Option<&mut Joined> {
        let slot = self.find(fragment.caller)?;
        let slot = &mut self.slots[slot];
        slot.begin();
        let room = JOINED_MAX.saturating_sub(slot.text.len());
        let same = slot.injected == (fragment.facility != 0);
        if !same || room < fragment.text.len() {
            return None;
        }
        slot.text.extend_from_slice(fragment.text);
        Some(slot)
    }

    /// Forgets all: what comes next cannot belong to what came before.
    pub fn clear(&mut self) {
        for slot in &mut self.slots {
            slot.used = false;
        }
    }

    fn find(&self, caller: &[u8]) -> Option<usize> {
        self.slots.iter().position(|s| s.used && s.is_of(caller))
    }
}

impl Joined {
    /// Whether this caller's record is here. Most kernels tell no caller, and
    /// to compare nothing with nothing is dear: memcmp(3) looks, under a mask
    /// that hides what it finds, at an address where no memory is, which
    /// takes some processors longer than all else that a record costs.
    fn is_of(&self, caller: &[u8]) -> bool {
        match caller {
            [] => self.caller.is_empty(),
            caller => self.caller == caller,
        }
    }

    /// Takes the fields of the record that is now continued.
    fn begin(&mut self) {
        if self.continued {
            return;
        }
        self.continued = true;
        // It was parsed before, so it parses.
        if let Ok(record) = parse(&self.raw) {
            set(&mut self.text, record.text);
            set(&mut self.subsystem, record.subsystem);
            set(&mut self.device, record.device);
            self.level = record.level;
        }
    }

    /// The record as it is with this fragment.
    pub fn whole<'a>(&'a self, fragment: &Record<'a>) -> Record<'a> {
        Record {
            level: self.level,
            text: &self.text,
            subsystem: &self.subsystem,
            device: &self.device,
            escaped: self.text.contains(&b'\\'),
            ..*fragment
        }
    }

    /// Takes out of `events`, from index `from`, what the record has given
    /// already.
    pub fn keep_new(&mut self, events: &mut Vec<Event>, from: usize) {
        let mut at = 0;
        events.retain(|event| {
            at += 1;
            at <= from || !self.has_given(event)
        });
        self.note_given(&events[from..]);
    }

    fn has_given(&self, event: &Event) -> bool {
        match event {
            Event::Match(signal) | Event::State(signal, _) => {
                let same = |(pattern, part): &(Arc<str>, PartId)| {
                    *pattern == signal.pattern && *part == signal.part
                };
                self.given.iter().any(same)
            }
            Event::Suppressed { .. }
            | Event::Notes { .. }
            | Event::Gap { .. }
            | Event::Census(_) => false,
        }
    }

    fn note_given(&mut self, events: &[Event]) {
        for event in events {
            if let Event::Match(signal) = event {
                let pattern = Arc::clone(&signal.pattern);
                self.given.push((pattern, signal.part.clone()));
            }
        }
    }
}

fn set(buffer: &mut Vec<u8>, text: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(raw: &str) -> Record<'_> {
        parse(raw.as_bytes()).unwrap()
    }

    fn remember(all: &mut Fragments, raw: &str) {
        all.remember(raw.as_bytes(), &record(raw), &[]);
    }

    #[test]
    fn a_fragment_joins_the_record_of_its_caller() {
        let mut all = Fragments::default();
        remember(&mut all, "3,1,0,-,caller=T1;one");
        remember(&mut all, "4,2,0,-,caller=C2;two");
        let joined = all.join(&record("6,3,0,c,caller=T1; more")).unwrap();
        assert_eq!((&joined.text[..], joined.level), (&b"one more"[..], 3));
        let joined = all.join(&record("6,4,0,c,caller=T1;!")).unwrap();
        assert_eq!(joined.text, b"one more!");
    }

    #[test]
    fn a_fragment_of_nobody_known_joins_nothing() {
        let mut all = Fragments::default();
        assert!(all.join(&record("6,3,0,c; more")).is_none());
        remember(&mut all, "3,1,0,-,caller=T1;one");
        assert!(all.join(&record("6,3,0,c,caller=T2; more")).is_none());
        all.clear();
        assert!(all.join(&record("6,3,0,c,caller=T1; more")).is_none());
    }

    #[test]
    fn user_space_cannot_continue_what_the_kernel_began() {
        let mut all = Fragments::default();
        remember(&mut all, "3,1,0,-;EDAC MC0: ");
        assert!(all.join(&record("14,2,0,c;1 UE")).is_none());
    }

    #[test]
    fn a_joined_text_is_bounded() {
        let mut all = Fragments::default();
        remember(&mut all, "3,1,0,-;one");
        let long = format!("3,1,0,c;{}", "x".repeat(5000));
        assert!(all.join(&record(&long)).is_some());
        assert!(all.join(&record(&long)).is_none());
    }
}
