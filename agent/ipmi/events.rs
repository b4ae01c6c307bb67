//! The system event log, from where it was last read. It is never cleared,
//! and nothing is ever added to it.
//!
//! Ids alone do not tell where one was: a log that is cleared may count from
//! the beginning, or go on; a full one may overwrite its oldest records; and
//! the BMC's clock may have gone back. So a place is a record's id together
//! with the record itself, and the last of those that were read is
//! remembered with some before it, should people delete it. Where none of
//! them is there any more, everything is new.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::link::Link;
use super::standing::Standing;
use super::{Response, TransportError, code, netfn};
use crate::decode::ipmi::sel::{self, Entry, LAST, Stamp};
use crate::hash::fnv1a;

/// Commands of the log (IPMI 2.0, chapter 31).
const GET_INFO: u8 = 0x40;
const RESERVE: u8 = 0x42;
const GET_ENTRY: u8 = 0x43;
const GET_TIME: u8 = 0x48;

/// How long the answer to Get SEL Info is.
const INFO: usize = 14;

/// The whole record.
const WHOLE: u8 = 0xFF;

/// So much of it of a BMC that does not give the whole: half.
const PIECE: u8 = 8;

/// Where the log was read up to, as it is kept over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The last record, as it stood there; `None` before the first.
    pub last: Option<String>,
    /// The ids and hashes of the last records, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<(u16, u32)>,
    /// How many of the next records were there before the agent ever was.
    #[serde(default)]
    pub history: u32,
    /// The bad states that stood then.
    #[serde(default, skip_serializing_if = "Standing::is_empty")]
    pub standing: Standing,
}

/// How many records are remembered: people delete one or two, or all.
const RECENT_MAX: usize = 16;

impl Mark {
    fn read(&mut self, entry: &Entry) {
        self.last = Some(hex(&entry.raw));
        self.recent.push((entry.id, hash(entry)));
        let over = self.recent.len().saturating_sub(RECENT_MAX);
        self.recent.drain(..over);
    }

    fn entry(&self) -> Option<Entry> {
        let digits = self.last.as_ref()?;
        let pair = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> =
            (0..digits.len()).step_by(2).map(pair).collect();
        sel::parse(&bytes?).ok()
    }
}

/// What the BMC says of its log (31.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Records in it.
    pub entries: u16,
    /// Bytes that are free.
    pub free: u16,
    added: u32,
    erased: u32,
    overflowed: bool,
}

/// One record that is new.
#[derive(Clone, Debug, PartialEq)]
pub struct New {
    /// The record.
    pub entry: Entry,
    /// Whether it was logged before the agent ever ran.
    pub history: bool,
    /// Whether no bad state of its sensor stands after it.
    pub over: bool,
}

/// What one look found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// New records, in their order.
    pub new: Vec<New>,
    /// Records that make no sense.
    pub invalid: u64,
    /// Whether there are more: look again soon.
    pub more: bool,
    /// Whether the log does not have the record that was read last: it was
    /// cleared, or has overwritten it.
    pub begun_anew: bool,
}

/// Why the log could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// There was no answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The BMC has no log, or may not be asked for it.
    #[error("the BMC refuses its event log with {0:02x}h")]
    Refused(u8),
}

/// Whoever reads the log of one BMC.
#[derive(Debug)]
pub struct Log {
    mark: Option<Mark>,
    /// As of the last look that reached the end.
    seen: Option<Info>,
    /// The next record, within a log that is longer than one look.
    next: Option<u16>,
    /// Ids of records that were read since the beginning of this look, in
    /// however many pieces: a next id that was there before ends it.
    walked: BTreeSet<u16>,
    /// Whether the last look ended at a record that is not there.
    dangled: bool,
}

/// The log's size, and when it last changed.
///
/// # Errors
/// The BMC does not answer, or has none.
pub fn info(link: &mut Link) -> Result<Info, LogError> {
    let response = link.ask(netfn::STORAGE, GET_INFO, &[])?;
    if response.code != code::OK {
        return Err(LogError::Refused(response.code));
    }
    let data = response.data.as_slice();
    // An answer that is cut short is no empty log.
    if data.len() < INFO {
        return Err(LogError::Refused(code::LENGTH));
    }
    let pair = |at: usize| {
        data.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
    };
    let four = |at| u32::from(pair(at)) | u32::from(pair(at + 2)) << 16;
    Ok(Info {
        entries: pair(1),
        free: pair(3),
        added: four(5),
        erased: four(9),
        overflowed: data.get(13).is_some_and(|support| support & 0x80 != 0),
    })
}

impl Info {
    /// Whether records were lost because the log is full.
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }
}

/// The BMC's clock, seconds since 1970; `None` where it has none.
///
/// # Errors
/// The BMC does not answer.
pub fn clock(link: &mut Link) -> Result<Option<u32>, TransportError> {
    let response = link.ask(netfn::STORAGE, GET_TIME, &[])?;
    let four = response.data.get(..4).and_then(|b| b.try_into().ok());
    let time = four.map(u32::from_le_bytes).map(Stamp::of);
    Ok(match (response.code, time) {
        (code::OK, Some(Stamp::At(seconds))) => Some(seconds),
        _ => None,
    })
}

impl Log {
    /// One that goes on from `mark`; `None`: nobody ever read it.
    pub fn new(mark: Option<Mark>) -> Log {
        Log {
            mark,
            seen: None,
            next: None,
            walked: BTreeSet::new(),
            dangled: false,
        }
    }

    /// Where it was read up to.
    pub fn mark(&self) -> Mark {
        self.mark.clone().unwrap_or_default()
    }

    /// Reads what is new, at most `most` records.
    ///
    /// # Errors
    /// The BMC does not answer or refuses; what was read until then is read
    /// again.
    pub fn look(
        &mut self,
        link: &mut Link,
        most: usize,
    ) -> Result<(Info, Found), LogError> {
        let info = info(link)?;
        let mut found = Found::default();
        // A full log may have overwritten a record within one second.
        let is_full = usize::from(info.free) < sel::RECORD;
        if self.next.is_none() && self.seen == Some(info) && !is_full {
            return Ok((info, found));
        }
        let mut mark = self.mark.clone().unwrap_or_else(|| Mark {
            history: u32::from(info.entries),
            ..Mark::default()
        });
        let mut next = match self.next {
            Some(next) => next,
            None if info.entries == 0 => LAST,
            None => self.begin(link, &mark, &mut found)?,
        };
        while next != LAST && found.new.len() < most {
            let Some((after, entry)) = get(link, next)? else {
                // It was cleared or deleted meanwhile; or the log is broken.
                found.more = !std::mem::replace(&mut self.dangled, true);
                next = LAST;
                break;
            };
            self.walked.insert(next);
            next = self.after(after);
            let Ok(entry) = entry else {
                found.invalid += 1;
                continue;
            };
            mark.read(&entry);
            let history = mark.history > 0;
            mark.history = mark.history.saturating_sub(1);
            let over = match &entry.body {
                sel::Body::Event(event) => mark.standing.take(event),
                sel::Body::Oem { .. } => false,
            };
            found.new.push(New { entry, history, over });
        }
        let ended = next == LAST;
        if ended {
            mark.history = 0;
            self.walked.clear();
            self.dangled &= found.more || found.new.is_empty();
        }
        self.seen = (ended && !found.more).then_some(info);
        self.next = (!ended).then_some(next);
        found.more |= !ended;
        self.mark = Some(mark);
        Ok((info, found))
    }

    /// The first record that is new, or perhaps is.
    fn begin(
        &mut self,
        link: &mut Link,
        mark: &Mark,
        found: &mut Found,
    ) -> Result<u16, LogError> {
        let Some(last) = mark.entry() else { return Ok(sel::FIRST) };
        let mut recent = mark.recent.clone();
        if recent.is_empty() {
            recent.push((last.id, hash(&last)));
        }
        self.walked.extend(recent.iter().map(|(id, _)| *id));
        for (id, hash_of) in recent.into_iter().rev() {
            if let Some((next, Ok(entry))) = get(link, id)?
                && hash(&entry) == hash_of
            {
                return Ok(self.after(next));
            }
            found.begun_anew = true;
        }
        self.walked.clear();
        Ok(sel::FIRST)
    }

    /// Where to go on; nowhere, if the log would lead back to where it was.
    fn after(&self, next: u16) -> u16 {
        let is_again = next == sel::FIRST || self.walked.contains(&next);
        if is_again { LAST } else { next }
    }
}

fn hash(entry: &Entry) -> u32 {
    let hash = fnv1a(&entry.raw);
    (hash ^ hash >> 32) as u32
}

/// The record with this id and the next one's; `None` if there is none.
#[expect(clippy::type_complexity, reason = "what the decoder gives")]
fn get(
    link: &mut Link,
    id: u16,
) -> Result<Option<(u16, Result<Entry, sel::BadEntry>)>, LogError> {
    let [low, high] = id.to_le_bytes();
    let data = [0, 0, low, high, 0, WHOLE];
    let mut response = link.ask(netfn::STORAGE, GET_ENTRY, &data)?;
    if matches!(response.code, code::TOO_MANY_BYTES | code::FIELD_LENGTH) {
        response = in_pieces(link, id)?;
    }
    match (response.code, response.data.as_slice()) {
        (code::OK, [low, high, record @ ..]) => {
            let next = u16::from_le_bytes([*low, *high]);
            // Some pad.
            let record = record.get(..sel::RECORD).unwrap_or(record);
            Ok(Some((next, sel::parse(record))))
        }
        (code::OK, _) => Err(LogError::Refused(code::LENGTH)),
        (code::ABSENT, _) => Ok(None),
        (other, _) => Err(LogError::Refused(other)),
    }
}

/// The same answer from a BMC that does not give a whole record at once. A
/// part of one wants a reservation (IPMI 2.0, 31.4).
fn in_pieces(link: &mut Link, id: u16) -> Result<Response, TransportError> {
    let [low, high] = id.to_le_bytes();
    let reserved = link.ask(netfn::STORAGE, RESERVE, &[])?;
    let [first, second, ..] = reserved.data[..] else { return Ok(reserved) };
    let mut whole = Vec::new();
    for offset in (0..sel::RECORD).step_by(usize::from(PIECE)) {
        let data = [first, second, low, high, offset as u8, PIECE];
        let response = link.ask(netfn::STORAGE, GET_ENTRY, &data)?;
        let (code::OK, Some((next, piece))) =
            (response.code, response.data.split_at_checked(2))
        else {
            return Ok(response);
        };
        if whole.is_empty() {
            whole.extend_from_slice(next);
        }
        let length = piece.len().min(usize::from(PIECE));
        whole.extend_from_slice(&piece[..length]);
        if length < usize::from(PIECE) {
            break;
        }
    }
    Ok(Response { code: code::OK, data: whole })
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
