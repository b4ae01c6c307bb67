//! The system event log, from where it was last read. It is never cleared,
//! and nothing is ever added to it.
//!
//! Ids alone do not tell where one was: a log that is cleared may count from
//! the beginning, or go on; a full one may overwrite its oldest records. So a
//! place is a record's id together with the record itself. Where that is no
//! longer there, everything is new but what both its id and its time say to
//! be older.

use serde::{Deserialize, Serialize};

use super::link::Link;
use super::{TransportError, code, netfn};
use crate::decode::ipmi::sel::{self, Entry, LAST, Stamp};

/// Commands of the log (IPMI 2.0, chapter 31).
const GET_INFO: u8 = 0x40;
const GET_ENTRY: u8 = 0x43;
const GET_TIME: u8 = 0x48;

/// The whole record.
const WHOLE: u8 = 0xFF;

/// Where the log was read up to, as it is kept over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The last record, as it stood there; `None` before the first.
    pub last: Option<String>,
    /// How many of the next records were there before the agent ever was.
    #[serde(default)]
    pub history: u32,
}

impl Mark {
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
    /// What records are held against that may be older than the mark.
    older_than: Option<(u16, u32)>,
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
        Log { mark, seen: None, next: None, older_than: None }
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
        if self.next.is_none() && self.seen == Some(info) {
            return Ok((info, found));
        }
        let mut mark = self.mark.clone().unwrap_or_else(|| Mark {
            last: None,
            history: u32::from(info.entries),
        });
        let mut next = match self.next {
            Some(next) => next,
            None if info.entries == 0 => LAST,
            None => self.begin(link, &mark, &mut found)?,
        };
        let older_than = self.older_than;
        while next != LAST && found.new.len() < most {
            let Some((after, entry)) = get(link, next)? else {
                // It was cleared or deleted meanwhile.
                found.more = true;
                next = LAST;
                break;
            };
            let at = next;
            next = if after == at { LAST } else { after };
            let Ok(entry) = entry else {
                found.invalid += 1;
                continue;
            };
            if older_than.is_some_and(|mark| is_older(&entry, mark)) {
                continue;
            }
            mark.last = Some(hex(&entry.raw));
            let history = mark.history > 0;
            mark.history = mark.history.saturating_sub(1);
            found.new.push(New { entry, history });
        }
        let ended = next == LAST;
        if ended {
            mark.history = 0;
            self.older_than = None;
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
        if let Some((next, Ok(entry))) = get(link, last.id)?
            && entry.raw == last.raw
        {
            return Ok(next);
        }
        found.begun_anew = true;
        self.older_than = match last.time {
            Stamp::At(time) => Some((last.id, time)),
            _ => None,
        };
        Ok(sel::FIRST)
    }
}

fn is_older(entry: &Entry, (id, time): (u16, u32)) -> bool {
    let older = matches!(entry.time, Stamp::At(at) if at < time);
    older && entry.id < id
}

/// The record with this id and the next one's; `None` if there is none.
#[expect(clippy::type_complexity, reason = "what the decoder gives")]
fn get(
    link: &mut Link,
    id: u16,
) -> Result<Option<(u16, Result<Entry, sel::BadEntry>)>, LogError> {
    let [low, high] = id.to_le_bytes();
    let data = [0, 0, low, high, 0, WHOLE];
    let response = link.ask(netfn::STORAGE, GET_ENTRY, &data)?;
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

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::link::testing::{answer, link};
    use super::*;

    fn record(id: u16, time: u32) -> Vec<u8> {
        let mut raw = id.to_le_bytes().to_vec();
        raw.push(0x02);
        raw.extend(time.to_le_bytes());
        raw.extend([0x20, 0, 4, 0x0C, 0x48, 0x6F, 0x00, 0xFF, 0xFF]);
        raw
    }

    /// A log that a test changes while it is read.
    #[derive(Default)]
    struct Store {
        records: Vec<Vec<u8>>,
        erased: u32,
        reads: usize,
    }

    const NOON: u32 = 0x6000_0000;

    fn bmc(store: &Arc<Mutex<Store>>) -> Link {
        let store = Arc::clone(store);
        link(Box::new(move |_, _, command, data| {
            let mut store = store.lock().unwrap();
            if command == GET_INFO {
                let count = store.records.len() as u16;
                let mut out = vec![0x51];
                out.extend(count.to_le_bytes());
                out.extend([0xFF, 0xFF]);
                let last = store.records.last();
                let added = last.map_or([0; 4], |r| [r[3], r[4], r[5], r[6]]);
                out.extend(added);
                out.extend(store.erased.to_le_bytes());
                out.push(0x02);
                return answer(0, &out);
            }
            store.reads += 1;
            let id = [data[2], data[3]];
            let at = match id {
                [0, 0] => Some(0),
                id => store.records.iter().position(|r| r[..2] == id),
            };
            let Some(found) = at.and_then(|at| store.records.get(at)) else {
                return answer(0xCB, &[]);
            };
            let next = at.and_then(|at| store.records.get(at + 1));
            let mut out = next.map_or(vec![0xFF, 0xFF], |r| r[..2].to_vec());
            out.extend(found);
            answer(0, &out)
        }))
    }

    fn store(ids: &[u16]) -> Arc<Mutex<Store>> {
        let of = |id: &u16| record(*id, NOON + u32::from(*id));
        let records = ids.iter().map(of).collect();
        Arc::new(Mutex::new(Store { records, ..Store::default() }))
    }

    fn ids(found: &Found) -> Vec<u16> {
        found.new.iter().map(|new| new.entry.id).collect()
    }

    #[test]
    fn what_was_there_before_the_agent_is_history_and_what_comes_is_not() {
        let store = store(&[1, 2, 3]);
        let (mut link, mut log) = (bmc(&store), Log::new(None));
        let (_, found) = log.look(&mut link, 2).unwrap();
        assert_eq!(ids(&found), [1, 2]);
        assert!(found.more);
        // A restart in between, and a new record.
        let kept = serde_json::to_string(&log.mark()).unwrap();
        store.lock().unwrap().records.push(record(4, NOON + 9));
        let mut log = Log::new(serde_json::from_str(&kept).unwrap());
        let (_, found) = log.look(&mut link, 10).unwrap();
        assert_eq!(ids(&found), [3, 4]);
        let history: Vec<_> = found.new.iter().map(|n| n.history).collect();
        assert_eq!(history, [true, false]);
        assert!(!found.more && !found.begun_anew);
    }

    #[test]
    fn a_log_that_has_not_changed_is_not_read() {
        let store = store(&[1, 2]);
        let (mut link, mut log) = (bmc(&store), Log::new(None));
        log.look(&mut link, 10).unwrap();
        let reads = store.lock().unwrap().reads;
        for _ in 0..3 {
            assert!(log.look(&mut link, 10).unwrap().1.new.is_empty());
        }
        assert_eq!(store.lock().unwrap().reads, reads);
    }

    #[test]
    fn an_empty_log_makes_nothing_history() {
        let store = store(&[]);
        let (mut link, mut log) = (bmc(&store), Log::new(None));
        log.look(&mut link, 10).unwrap();
        let mut log = Log::new(Some(log.mark()));
        store.lock().unwrap().records.push(record(1, NOON));
        let (_, found) = log.look(&mut link, 10).unwrap();
        assert_eq!(ids(&found), [1]);
        assert!(!found.new[0].history);
    }

    #[test]
    fn a_clear_loses_and_repeats_nothing_however_ids_go_on() {
        for after in [vec![1, 2], vec![4, 5], vec![3, 4]] {
            let store = store(&[1, 2, 3]);
            let (mut link, mut log) = (bmc(&store), Log::new(None));
            log.look(&mut link, 10).unwrap();
            {
                let mut store = store.lock().unwrap();
                store.erased = NOON + 50;
                let of = |id: &u16| record(*id, NOON + 60 + u32::from(*id));
                store.records = after.iter().map(of).collect();
            }
            let mut log = Log::new(Some(log.mark()));
            let (_, found) = log.look(&mut link, 10).unwrap();
            assert_eq!(ids(&found), after);
            assert!(found.begun_anew);
            assert!(log.look(&mut link, 10).unwrap().1.new.is_empty());
        }
    }

    #[test]
    fn deleting_the_last_record_repeats_none_of_the_others() {
        let store = store(&[1, 2, 3]);
        let (mut link, mut log) = (bmc(&store), Log::new(None));
        log.look(&mut link, 10).unwrap();
        store.lock().unwrap().records.pop();
        let mut log = Log::new(Some(log.mark()));
        let (_, found) = log.look(&mut link, 10).unwrap();
        assert_eq!(ids(&found), Vec::<u16>::new());
    }

    #[test]
    fn a_record_without_sense_is_counted_and_the_next_is_read() {
        let store = store(&[1, 2, 3]);
        store.lock().unwrap().records[1].truncate(9);
        let (mut link, mut log) = (bmc(&store), Log::new(None));
        let (_, found) = log.look(&mut link, 10).unwrap();
        assert_eq!((ids(&found), found.invalid), (vec![1, 3], 1));
    }
}
