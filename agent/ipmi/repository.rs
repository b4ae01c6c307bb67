//! The sensor data repository: every record of it, as sensors and locators.
//!
//! BMCs differ in how much of a record they give at once, in whether they pad
//! it, and in which code they refuse with; so records are asked for whole,
//! then in pieces that get smaller. What cannot be read or makes no sense is
//! skipped and counted, never taken for the end.

use std::collections::BTreeSet;
use std::time::Duration;

use super::link::Link;
use super::{Response, Target, TransportError, code, netfn};
use crate::decode::ipmi::numbering;
use crate::decode::ipmi::sdr::{
    self, Association, Body, HEADER, Located, Locator, RECORD_MAX,
};
use crate::decode::ipmi::sensor::Sensor;

/// Commands of the repository (IPMI 2.0, chapter 33), and of a controller's
/// own records (35.2 to 35.4).
const GET_INFO: u8 = 0x20;
const RESERVE: u8 = 0x22;
const GET_RECORD: u8 = 0x23;
const DEVICE_RESERVE: u8 = 0x22;
const DEVICE_GET_RECORD: u8 = 0x21;

/// The whole record.
const WHOLE: u8 = 0xFF;

/// The largest piece, and by how much pieces shrink: what fits into the
/// buffer of any BMC with its headers.
const PIECE: u8 = 32;
const PIECE_STEP: u8 = 8;

/// No record follows.
const END: u16 = 0xFFFF;

/// More records than the largest servers have, of which 1,000 are known.
const RECORDS_MAX: usize = 4096;

/// More sensors than any BMC has.
pub const SENSORS_MAX: usize = 4096;

/// How often one record is begun anew because the reservation is lost, or
/// the repository is being written.
const ATTEMPTS: u32 = 8;

/// After how long a repository that is being written is asked again.
const UPDATING_PAUSE: Duration = Duration::from_millis(500);

/// Satellite controllers that are asked for records of their own.
const CONTROLLERS_MAX: usize = 8;

/// After a record that is refused its number is counted up so often: the id
/// of the next one stands in the record that cannot be read.
const MISSES_MAX: u16 = 8;

/// By what a repository is known to be the one that was read (33.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    records: u16,
    added: u32,
    erased: u32,
}

impl Stamp {
    /// How many records there are.
    pub fn records(&self) -> u16 {
        self.records
    }
}

/// What there is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Repository {
    /// `None`: the BMC does not say when it changes.
    pub stamp: Option<Stamp>,
    /// Sensors, in the order of their records.
    pub sensors: Vec<Sensor>,
    /// FRUs, controllers and other devices.
    pub locators: Vec<Locator>,
    /// What is in what.
    pub associations: Vec<Association>,
    /// Records read.
    pub records: u32,
    /// Records that could not be read, or made no sense.
    pub skipped: u32,
    /// Why this is not all that there is, if it is not.
    pub incomplete: Option<String>,
}

impl Repository {
    /// Takes over the units that an earlier reading had, where this one ends
    /// early.
    pub fn keep_locators(&mut self, before: &Repository) {
        let known = self.locators.clone();
        let lost = before.locators.iter().filter(|l| !known.contains(l));
        self.locators.extend(lost.take(RECORDS_MAX).cloned());
    }
}

/// Why a repository could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// There was no answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The BMC refuses.
    #[error("{0}")]
    Refused(String),
}

/// When the repository last changed; `None` where it does not say.
///
/// # Errors
/// The BMC does not answer.
pub fn stamp(link: &mut Link) -> Result<Option<Stamp>, TransportError> {
    let info = link.ask(netfn::STORAGE, GET_INFO, &[])?;
    let data = info.data.as_slice();
    let four = |at: usize| data.get(at..at + 4)?.try_into().ok();
    Ok((info.code == code::OK)
        .then(|| {
            Some(Stamp {
                records: u16::from_le_bytes([*data.get(1)?, *data.get(2)?]),
                added: u32::from_le_bytes(four(5)?),
                erased: u32::from_le_bytes(four(9)?),
            })
        })
        .flatten())
}

/// Reads everything: the repository, and the records that controllers keep
/// for themselves where it has none of them.
///
/// # Errors
/// The BMC does not answer, or has no records.
pub fn walk(link: &mut Link) -> Result<Repository, WalkError> {
    let mut found = Repository { stamp: stamp(link)?, ..Default::default() };
    let main = Reader::new(Target::BMC, Kind::Repository);
    let mut read = main.walk(link, &mut found);
    if let Err(WalkError::Transport(_)) = read {
        return Err(read.expect_err("it is an error"));
    }
    if found.sensors.is_empty() {
        let own = Reader::new(Target::BMC, Kind::Device).walk(link, &mut found);
        match own {
            Err(WalkError::Refused(_)) => read?,
            other => other?,
        }
        read = Ok(());
    }
    let told = found.stamp.map_or(0, |stamp| u32::from(stamp.records));
    let short = found.records < told;
    found.incomplete = match read {
        Err(error) => Some(error.to_string()),
        Ok(()) if short => Some("its records end early".to_owned()),
        Ok(()) => None,
    };
    if let Some(why) = &mut found.incomplete {
        let of = match told {
            0 => String::new(),
            told => format!(" of {told}"),
        };
        *why = format!("{}{of} records could be read: {why}", found.records);
        found.skipped += told.saturating_sub(found.records + found.skipped);
    }
    satellites(link, &mut found)?;
    found.sensors.truncate(SENSORS_MAX);
    numbering::count_on(&mut found.sensors);
    Ok(found)
}

/// Controllers that have sensors (bit 0 of their capabilities, table 43-10)
/// of which the repository tells nothing.
fn satellites(
    link: &mut Link,
    found: &mut Repository,
) -> Result<(), WalkError> {
    let has_none = |l: &&Locator| {
        let sensors = &found.sensors;
        l.located == Located::Controller
            && l.device.0 & 1 != 0
            && l.owner != super::BMC_ADDRESS
            && sensors.iter().all(|s| s.key.owner != l.owner)
    };
    let targets: Vec<Target> = found
        .locators
        .iter()
        .filter(has_none)
        .map(|l| Target { address: l.owner, channel: l.channel, lun: 0 })
        .take(CONTROLLERS_MAX)
        .collect();
    for target in targets {
        let read = Reader::new(target, Kind::Device).walk(link, found);
        match read {
            Err(WalkError::Transport(TransportError::Stopped)) => read?,
            // Whoever does not answer has none that could be read; that the
            // BMC itself is silent shows at once.
            Err(WalkError::Transport(_)) if !link.is_alive() => read?,
            _ => link.wake(),
        }
    }
    Ok(())
}

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Repository,
    Device,
}

/// One record, as far as it was read.
struct Piece {
    bytes: Vec<u8>,
    next: Option<u16>,
}

/// How the next piece is to be asked for.
enum Then {
    Go,
    Anew,
    GiveUp(String),
}

/// Whoever reads one store, and what it has learned about it.
struct Reader {
    target: Target,
    kind: Kind,
    reservation: [u8; 2],
    /// The largest piece that worked, or [`WHOLE`].
    piece: u8,
    /// Whether pieces longer than the record are refused.
    header_first: bool,
    attempts: u32,
}

impl Reader {
    fn new(target: Target, kind: Kind) -> Reader {
        Reader {
            target,
            kind,
            reservation: [0; 2],
            piece: WHOLE,
            header_first: false,
            attempts: 0,
        }
    }

    fn walk(
        mut self,
        link: &mut Link,
        found: &mut Repository,
    ) -> Result<(), WalkError> {
        self.reserve(link)?;
        let (mut id, mut seen) = (0, BTreeSet::new());
        let (mut refused, mut misses) = (None, 0);
        while seen.len() < RECORDS_MAX && seen.insert(id) {
            match self.record(link, id)? {
                Ok(piece) => {
                    found.records += 1;
                    misses = 0;
                    take(&piece.bytes, found);
                    id = piece.next.unwrap_or(END);
                }
                Err((Some(next), _)) => {
                    found.records += 1;
                    found.skipped += 1;
                    id = next;
                }
                Err((None, why)) => {
                    // Of an empty store nothing is missed.
                    refused.get_or_insert(why);
                    misses += 1;
                    let next = id.saturating_add(1);
                    id = if misses > MISSES_MAX { END } else { next };
                }
            }
            if id == END {
                break;
            }
        }
        refused.map_or(Ok(()), |why| Err(WalkError::Refused(why)))
    }

    fn reserve(&mut self, link: &mut Link) -> Result<(), TransportError> {
        let (netfn, command) = match self.kind {
            Kind::Repository => (netfn::STORAGE, RESERVE),
            Kind::Device => (netfn::SENSOR, DEVICE_RESERVE),
        };
        let response = link.call(self.target, netfn, command, &[])?;
        // A BMC that has no reservations wants none.
        self.reservation = match response.data.as_slice() {
            [low, high, ..] if response.code == code::OK => [*low, *high],
            _ => [0; 2],
        };
        Ok(())
    }

    /// One record; where it can't be read, the next one's id if that is
    /// known, and why.
    fn record(
        &mut self,
        link: &mut Link,
        id: u16,
    ) -> Result<Result<Piece, (Option<u16>, String)>, TransportError> {
        self.attempts = 0;
        let before = (self.piece, self.header_first);
        let mut piece = Piece { bytes: Vec::new(), next: None };
        loop {
            if let Some(whole) = length(&piece.bytes)
                && piece.bytes.len() >= whole
            {
                piece.bytes.truncate(whole); // some pad
                return Ok(Ok(piece));
            }
            let wanted = self.wanted(&piece);
            let mut response = self.ask(link, id, &piece, wanted)?;
            // Some give more than they are asked for.
            response.data.truncate(2 + usize::from(wanted));
            match self.judge(link, &response, &mut piece)? {
                Then::Go => {}
                Then::Anew => piece.bytes.clear(),
                Then::GiveUp(why) => {
                    // That it gives nothing of this one says nothing of how
                    // much it gives of others.
                    (self.piece, self.header_first) = before;
                    return Ok(Err((piece.next, why)));
                }
            }
        }
    }

    /// How many bytes are asked for next.
    fn wanted(&self, piece: &Piece) -> u8 {
        let there = piece.bytes.len();
        let left = match length(&piece.bytes) {
            None if self.header_first => HEADER - there,
            None => return self.piece,
            Some(whole) => whole - there,
        };
        u8::try_from(left).map_or(self.piece, |left| left.min(self.piece))
    }

    fn ask(
        &self,
        link: &mut Link,
        id: u16,
        piece: &Piece,
        wanted: u8,
    ) -> Result<Response, TransportError> {
        let [low, high] = id.to_le_bytes();
        let [first, second] = self.reservation;
        let offset = u8::try_from(piece.bytes.len()).unwrap_or(u8::MAX);
        let data = [first, second, low, high, offset, wanted];
        let (netfn, command) = match self.kind {
            Kind::Repository => (netfn::STORAGE, GET_RECORD),
            Kind::Device => (netfn::SENSOR, DEVICE_GET_RECORD),
        };
        link.call(self.target, netfn, command, &data)
    }

    fn judge(
        &mut self,
        link: &mut Link,
        response: &Response,
        piece: &mut Piece,
    ) -> Result<Then, TransportError> {
        match (response.code, response.data.as_slice()) {
            (code::OK, [low, high, bytes @ ..]) if !bytes.is_empty() => {
                piece.next = Some(u16::from_le_bytes([*low, *high]));
                let room = RECORD_MAX.saturating_sub(piece.bytes.len());
                piece.bytes.extend(&bytes[..bytes.len().min(room)]);
                return Ok(Then::Go);
            }
            (code::RESERVATION | code::UPDATING, _)
                if self.attempts < ATTEMPTS =>
            {
                self.attempts += 1;
                if response.code == code::UPDATING
                    && link.stop().sleep(UPDATING_PAUSE)
                {
                    return Err(TransportError::Stopped);
                }
                self.reserve(link)?;
                return Ok(Then::Anew);
            }
            (
                code::OK
                | code::LENGTH
                | code::FIELD_LENGTH
                | 0xC9
                | code::TOO_MANY_BYTES
                | code::UNSPECIFIED,
                _,
            ) => {}
            (other, _) => {
                return Ok(Then::GiveUp(format!(
                    "the BMC refuses a record with {other:02x}h"
                )));
            }
        }
        // It wants to give less at once.
        let within = length(&piece.bytes).is_some();
        match self.piece {
            WHOLE => self.piece = PIECE,
            _ if !within && !self.header_first => self.header_first = true,
            piece if piece > PIECE_STEP => self.piece -= PIECE_STEP,
            _ => {
                return Ok(Then::GiveUp(format!(
                    "the BMC refuses {PIECE_STEP} bytes of a record with \
                     {:02x}h",
                    response.code
                )));
            }
        }
        Ok(Then::Go)
    }
}

/// How long a record is, once its header is there.
fn length(bytes: &[u8]) -> Option<usize> {
    bytes.get(HEADER - 1).map(|length| HEADER + usize::from(*length))
}

fn take(bytes: &[u8], found: &mut Repository) {
    match sdr::parse(bytes) {
        Ok(record) => match record.body {
            Body::Sensors(sensors) => found.sensors.extend(sensors),
            Body::Locator(locator) => found.locators.push(locator),
            Body::Entities(entities) => found.associations.push(entities),
            Body::Controller { .. } | Body::Oem { .. } | Body::Other(_) => {}
        },
        Err(error) => {
            tracing::debug!(%error, "an SDR that makes no sense");
            found.skipped += 1;
        }
    }
}

#[cfg(test)]
mod tests;
