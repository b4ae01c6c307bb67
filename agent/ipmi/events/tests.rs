//! A log that is cleared, overwritten, cut short and led in circles.

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
    free: u16,
    reads: usize,
    /// What the last record leads to, if not to the end.
    back: Option<u16>,
    /// How many bytes of a record it gives at once, if not all.
    most: Option<u8>,
    /// The latest reservation.
    reserved: u8,
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
            out.extend(store.free.to_le_bytes());
            let last = store.records.last();
            let added = last.map_or([0; 4], |r| [r[3], r[4], r[5], r[6]]);
            out.extend(added);
            out.extend(store.erased.to_le_bytes());
            out.push(0x02);
            return answer(0, &out);
        }
        if command == RESERVE {
            store.reserved += 1;
            return answer(0, &[store.reserved, 0]);
        }
        store.reads += 1;
        if store.most.is_some_and(|most| data[5] > most) {
            return answer(code::TOO_MANY_BYTES, &[]);
        }
        // A part of a record wants the latest reservation.
        if data[4] > 0 && data[..2] != [store.reserved, 0] {
            return answer(code::RESERVATION, &[]);
        }
        let id = [data[2], data[3]];
        let at = match id {
            [0, 0] => Some(0),
            id => store.records.iter().position(|r| r[..2] == id),
        };
        let Some(found) = at.and_then(|at| store.records.get(at)) else {
            return answer(0xCB, &[]);
        };
        let next = at.and_then(|at| store.records.get(at + 1));
        let mut out = next.map_or_else(
            || store.back.unwrap_or(0xFFFF).to_le_bytes().to_vec(),
            |r| r[..2].to_vec(),
        );
        let from = usize::from(data[4]);
        let to = from.saturating_add(data[5].into()).min(found.len());
        out.extend(&found[from..to]);
        answer(0, &out)
    }))
}

fn store(ids: &[u16]) -> Arc<Mutex<Store>> {
    let of = |id: &u16| record(*id, NOON + u32::from(*id));
    let records = ids.iter().map(of).collect();
    let free = 0xFFFF;
    Arc::new(Mutex::new(Store { records, free, ..Store::default() }))
}

fn leading_back(store: &Arc<Mutex<Store>>, to: u16) -> Link {
    store.lock().unwrap().back = Some(to);
    bmc(store)
}

fn ids(found: &Found) -> Vec<u16> {
    found.new.iter().map(|new| new.entry.id).collect()
}

#[test]
fn a_bmc_that_gives_no_whole_record_is_asked_for_its_halves() {
    let store = store(&[1, 2, 3]);
    store.lock().unwrap().most = Some(15);
    let (mut link, mut log) = (bmc(&store), Log::new(None));
    let (_, found) = log.look(&mut link, 9).unwrap();
    assert_eq!((ids(&found), found.invalid), (vec![1, 2, 3], 0));
    let raw = &found.new[2].entry.raw;
    assert_eq!(raw[..], record(3, NOON + 3)[..]);
    // One that gives less is refused with its own code, and nothing hangs.
    store.lock().unwrap().most = Some(7);
    store.lock().unwrap().records.push(record(4, NOON + 4));
    let refused = log.look(&mut link, 9).unwrap_err();
    assert_eq!(refused, LogError::Refused(code::TOO_MANY_BYTES));
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

#[test]
fn a_clock_that_went_back_loses_nothing_of_a_log_that_was_cleared() {
    let store = store(&[9, 10, 11]);
    let (mut link, mut log) = (bmc(&store), Log::new(None));
    log.look(&mut link, 10).unwrap();
    // Reset to defaults: ids and years begin anew.
    store.lock().unwrap().records = vec![record(1, 946_684_800)];
    store.lock().unwrap().erased = 946_684_799;
    let mut log = Log::new(Some(log.mark()));
    let (_, found) = log.look(&mut link, 10).unwrap();
    assert_eq!((ids(&found), found.begun_anew), (vec![1], true));
}

#[test]
fn ids_that_lead_back_end_the_log() {
    for back in [0, 1, 2, 4] {
        let store = store(&[1, 2, 3, 4]);
        let mut link = leading_back(&store, back);
        let mut log = Log::new(None);
        let mut all = Vec::new();
        for _ in 0..6 {
            let (_, found) = log.look(&mut link, 3).unwrap();
            all.extend(ids(&found));
            log = Log::new(Some(log.mark()));
        }
        assert_eq!(all, [1, 2, 3, 4], "the last leads to {back}");
    }
}

#[test]
fn a_record_that_a_full_log_overwrites_within_a_second_is_seen() {
    let store = store(&[1, 2, 3]);
    store.lock().unwrap().free = 0;
    let (mut link, mut log) = (bmc(&store), Log::new(None));
    log.look(&mut link, 10).unwrap();
    {
        let mut store = store.lock().unwrap();
        store.records.remove(0);
        let last = record(4, NOON + 3);
        store.records.push(last);
    }
    let (_, found) = log.look(&mut link, 10).unwrap();
    assert_eq!(ids(&found), [4]);
}
