use std::sync::{Arc, Mutex};

use super::super::link::testing::{answer, link};
use super::*;

/// A compact sensor record with this number and name.
fn record(id: u16, number: u8, name: &str) -> Vec<u8> {
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.extend([0x51, 0x02, 0]);
    bytes.extend([0x20, 0, number, 10, 1, 0x67, 0x40, 0x08, 0x6F]);
    bytes.extend([0x7F, 0, 0x7F, 0, 0x7F, 0, 0xC0, 0, 0, 1, 0]);
    bytes.extend([0; 6]);
    bytes.push(0xC0 | name.len() as u8);
    bytes.extend(name.as_bytes());
    bytes[4] = (bytes.len() - HEADER) as u8;
    bytes
}

/// How a BMC of a test gives its records.
struct Bmc {
    records: Vec<Vec<u8>>,
    /// Longer pieces are refused with this code.
    most: (usize, u8),
    /// A piece longer than what is left is refused with this code.
    beyond: Option<u8>,
    padding: usize,
    /// The reservation is lost at these requests.
    lost_at: Vec<u32>,
    device_only: bool,
}

impl Default for Bmc {
    fn default() -> Bmc {
        let records =
            (0..5).map(|n| record(n + 1, n as u8, "a sensor")).collect();
        Bmc {
            records,
            most: (usize::MAX, 0),
            beyond: None,
            padding: 0,
            lost_at: Vec::new(),
            device_only: false,
        }
    }
}

impl Bmc {
    fn link(self, requests: &Arc<Mutex<u32>>) -> Link {
        let requests = Arc::clone(requests);
        let mut reservation = 0;
        link(Box::new(move |_, netfn, command, data| {
            if netfn == netfn::STORAGE && self.device_only {
                return answer(0xC1, &[]);
            }
            match (netfn, command) {
                (netfn::STORAGE, GET_INFO) => {
                    let mut data = vec![0x51, 5, 0, 0, 0, 1, 2, 3, 4, 5, 6];
                    data.extend([7, 8, 0]);
                    answer(0, &data)
                }
                (netfn::STORAGE, RESERVE) | (netfn::SENSOR, DEVICE_RESERVE) => {
                    reservation += 1;
                    answer(0, &[reservation, 0])
                }
                (netfn::STORAGE, GET_RECORD)
                | (netfn::SENSOR, DEVICE_GET_RECORD) => {
                    let mut requests = requests.lock().unwrap();
                    *requests += 1;
                    if self.lost_at.contains(&requests) {
                        reservation += 1;
                    }
                    if data[0] != reservation {
                        return answer(0xC5, &[]);
                    }
                    self.give(data)
                }
                _ => answer(0xC1, &[]),
            }
        }))
    }

    fn give(&self, data: &[u8]) -> Result<Response, TransportError> {
        let id = u16::from_le_bytes([data[2], data[3]]).max(1);
        let at = usize::from(id) - 1;
        let next = if at + 1 == self.records.len() { END } else { id + 1 };
        let (offset, wanted) = (usize::from(data[4]), usize::from(data[5]));
        let rest = &self.records[at][offset..];
        let whole = offset == 0 && wanted == 0xFF;
        if wanted > self.most.0 {
            return answer(self.most.1, &[]);
        }
        if let Some(code) = self.beyond
            && wanted > rest.len()
            && !whole
        {
            return answer(code, &[]);
        }
        let mut out = next.to_le_bytes().to_vec();
        out.extend(&rest[..wanted.min(rest.len())]);
        out.extend(vec![0xEE; self.padding]);
        answer(0, &out)
    }
}

fn names(found: &Repository) -> Vec<&str> {
    found.sensors.iter().map(|s| s.name.as_str()).collect()
}

#[test]
fn a_bmc_that_gives_whole_records_is_asked_once_for_each() {
    let requests = Arc::default();
    let found = walk(&mut Bmc::default().link(&requests)).unwrap();
    assert_eq!(names(&found), ["a sensor"; 5]);
    assert_eq!((found.records, found.skipped), (5, 0));
    assert_eq!(*requests.lock().unwrap(), 5);
    assert!(found.stamp.is_some());
}

#[test]
fn every_way_to_refuse_long_pieces_ends_in_all_records() {
    for code in [0xC7, 0xC8, 0xC9, 0xCA, 0xFF] {
        for most in [8, 16, 24, 33] {
            for beyond in [None, Some(0xC8), Some(0xC9), Some(0xCA)] {
                for padding in [0, 3] {
                    let most = (most, code);
                    let bmc = Bmc { most, beyond, padding, ..Bmc::default() };
                    let found = walk(&mut bmc.link(&Arc::default())).unwrap();
                    let what = format!("{code:x} {most:?} {beyond:?}");
                    assert_eq!(names(&found), ["a sensor"; 5], "{what}");
                    assert_eq!(found.skipped, 0);
                }
            }
        }
    }
}

#[test]
fn a_lost_reservation_begins_the_record_anew() {
    let most = (16, 0xCA);
    let lost_at = vec![3, 7, 8];
    let bmc = Bmc { most, lost_at, ..Bmc::default() };
    let found = walk(&mut bmc.link(&Arc::default())).unwrap();
    assert_eq!(names(&found), ["a sensor"; 5]);
}

#[test]
fn a_record_without_sense_is_skipped_and_counted() {
    let mut bmc = Bmc::default();
    bmc.records[2][2] = 0x77; // the version
    let found = walk(&mut bmc.link(&Arc::default())).unwrap();
    assert_eq!(found.sensors.len(), 4);
    assert_eq!((found.records, found.skipped), (5, 1));
}

#[test]
fn a_bmc_without_a_repository_gives_its_own_records() {
    let bmc = Bmc { device_only: true, ..Bmc::default() };
    let found = walk(&mut bmc.link(&Arc::default())).unwrap();
    assert_eq!(found.sensors.len(), 5);
    assert_eq!(found.stamp, None);
}

#[test]
fn records_that_go_in_a_circle_end() {
    let bmc = Bmc::default();
    let mut circle =
        link(Box::new(move |_, netfn, command, data| match (netfn, command) {
            (netfn::STORAGE, GET_RECORD) => {
                let mut response = bmc.give(data)?;
                if response.data[0] == 5 {
                    response.data[0] = 2;
                }
                Ok(response)
            }
            _ => answer(0xC1, &[]),
        }));
    let found = walk(&mut circle).unwrap();
    assert!(found.sensors.len() <= 6);
}

#[test]
fn a_bmc_that_refuses_everything_is_no_empty_success() {
    let mut link = link(Box::new(|_, _, _, _| answer(0xD4, &[])));
    let refused = walk(&mut link).unwrap_err();
    assert!(matches!(refused, WalkError::Refused(_)), "{refused}");
}

#[test]
fn a_record_that_is_refused_ends_nothing_and_is_told() {
    for refusal in [0xFF, 0xCB, 0xCE, 0xD3] {
        let records: Vec<Vec<u8>> =
            (1..=7).map(|n| record(n.into(), n, &format!("T{n}"))).collect();
        let mut link = link(Box::new(move |_, netfn, command, data| {
            match (netfn, command) {
                (netfn::STORAGE, GET_INFO) => {
                    let mut info = [0; 14];
                    info[1] = 7;
                    answer(0, &info)
                }
                (netfn::STORAGE, GET_RECORD) if data[2] == 3 => {
                    answer(refusal, &[])
                }
                (netfn::STORAGE, GET_RECORD) => {
                    let at = usize::from(data[2]).max(1) - 1;
                    let Some(record) = records.get(at) else {
                        return answer(code::ABSENT, &[]);
                    };
                    let next = match at + 1 < records.len() {
                        true => [at as u8 + 2, 0],
                        false => [0xFF, 0xFF],
                    };
                    let from = record.len().min(data[4].into());
                    let rest = &record[from..];
                    let piece = &rest[..rest.len().min(data[5].into())];
                    answer(0, &[&next, piece].concat())
                }
                _ => answer(code::INVALID_COMMAND, &[]),
            }
        }));
        let found = walk(&mut link).unwrap();
        let names: Vec<&str> =
            found.sensors.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["T1", "T2", "T4", "T5", "T6", "T7"]);
        assert_eq!((found.records, found.skipped), (6, 1));
        let why = found.incomplete.unwrap();
        assert!(why.starts_with("6 of 7 records could be read: "), "{why}");
    }
}
