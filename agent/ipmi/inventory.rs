//! Field-replaceable units: reads the inventory that a BMC keeps of each, so
//! that a power supply has a model and a serial number.

use super::link::Link;
use super::{Target, TransportError, code, netfn};
use crate::decode::ipmi::entity::Entity;
use crate::decode::ipmi::fru::{self, BadFru, Fru};
use crate::decode::ipmi::part;
use crate::decode::ipmi::sdr::{Located, Locator};
use crate::parts::host::BOARD;

/// Commands of inventories (IPMI 2.0, chapter 34).
const GET_AREA: u8 = 0x10;
const READ: u8 = 0x11;

/// Bytes asked for at once; what a BMC refuses is halved.
const PIECE: u8 = 32;
const PIECE_MIN: u8 = 4;

/// More than any inventory that is looked at: common ones have 256 bytes to
/// two kilobytes.
const SIZE_MAX: u16 = 4096;

/// More units than any chassis has.
const ITEMS_MAX: usize = 128;

/// One unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its name in the repository.
    pub name: String,
    /// What it is, and which.
    pub entity: Entity,
    /// The part it is: `psu/2`.
    pub part: String,
    /// What its inventory says, or why that is unknown.
    pub fru: Result<Fru, Unread>,
}

/// Why an inventory is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// There is no such unit: it was never put in, or was taken out.
    #[error("it is not there")]
    Absent,
    /// The BMC does not give it.
    #[error("the BMC refuses its inventory with {0:02x}h")]
    Refused(u8),
    /// Its bytes are no inventory.
    #[error("{0}")]
    Senseless(BadFru),
}

/// Where an inventory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    target: Target,
    id: u8,
    name: String,
    entity: Entity,
}

/// The inventories that the repository tells of, and that of the system,
/// which is the BMC's first unit whether a record tells of it or not (34.1).
/// Those in memory chips of their own, which no controller reads for us, are
/// not among them.
pub fn places(locators: &[Locator]) -> Vec<Place> {
    let place = |l: &Locator| match l.located {
        Located::LogicalFru(id) => Some(Place {
            target: Target { address: l.owner, channel: l.channel, lun: l.lun },
            id,
            name: l.name.clone(),
            entity: l.entity,
        }),
        _ => None,
    };
    let mut places: Vec<Place> =
        locators.iter().filter_map(place).take(ITEMS_MAX).collect();
    if !places.iter().any(Place::is_system) {
        places.push(Place {
            target: Target::BMC,
            id: SYSTEM,
            name: "System".to_owned(),
            entity: Entity::of(SYSTEM_BOARD, 1),
        });
    }
    places
}

/// The BMC's first unit, and what it is of.
const SYSTEM: u8 = 0;
const SYSTEM_BOARD: u8 = 0x07;

impl Place {
    /// What it is of.
    pub fn entity(&self) -> Entity {
        self.entity
    }

    /// Whether it is of the system as a whole.
    fn is_system(&self) -> bool {
        self.target == Target::BMC && self.id == SYSTEM
    }

    /// Reads it.
    ///
    /// # Errors
    /// The BMC does not answer.
    pub fn read(&self, link: &mut Link) -> Result<Item, TransportError> {
        let fru = self
            .bytes(link)?
            .and_then(|bytes| fru::parse(&bytes).map_err(Unread::Senseless));
        let fru = match fru {
            // Not every BMC has one, and none needs to.
            Err(Unread::Refused(_)) if self.is_system() => Err(Unread::Absent),
            other => other,
        };
        let part = match self.is_system() {
            true => BOARD.to_owned(),
            false => part::of(self.entity, 0, 0, &self.name),
        };
        let (name, entity) = (self.name.clone(), self.entity);
        Ok(Item { name, entity, part, fru })
    }

    fn bytes(
        &self,
        link: &mut Link,
    ) -> Result<Result<Vec<u8>, Unread>, TransportError> {
        let refused = |code: u8| {
            Err(match code {
                // No such unit, or no such id.
                code::ABSENT | 0xCC => Unread::Absent,
                code => Unread::Refused(code),
            })
        };
        let area =
            link.call(self.target, netfn::STORAGE, GET_AREA, &[self.id])?;
        let (size, by_words) = match (area.code, area.data.as_slice()) {
            (code::OK, [low, high, access, ..]) => {
                (u16::from_le_bytes([*low, *high]), access & 1 != 0)
            }
            (code::OK, _) => return Ok(refused(code::LENGTH)),
            (code, _) => return Ok(refused(code)),
        };
        let size = usize::from(size.min(SIZE_MAX));
        let (mut bytes, mut piece) = (Vec::new(), PIECE);
        while bytes.len() < size {
            let left = size - bytes.len();
            let wanted = u8::try_from(left).map_or(piece, |l| l.min(piece));
            // Offset and count are in words where the device is.
            let unit = if by_words { 2 } else { 1 };
            let [low, high] = ((bytes.len() / unit) as u16).to_le_bytes();
            let count = wanted.div_ceil(unit as u8);
            let data = [self.id, low, high, count];
            let read = link.call(self.target, netfn::STORAGE, READ, &data)?;
            match (read.code, read.data.as_slice()) {
                (code::OK, [_, found @ ..]) if !found.is_empty() => {
                    let most = usize::from(count) * unit;
                    bytes.extend(&found[..found.len().min(most).min(left)]);
                    // An odd number of bytes is the end of what has words.
                    if by_words && bytes.len() % 2 != 0 {
                        break;
                    }
                }
                (code::OK, _)
                | (code::LENGTH | code::FIELD_LENGTH | 0xC9 | 0xCA, _)
                    if piece > PIECE_MIN =>
                {
                    piece /= 2;
                }
                // What is there already may hold all that matters.
                (code::OK | 0xC9, _) if bytes.len() > 8 => break,
                (code, _) => return Ok(refused(code)),
            }
        }
        Ok(Ok(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::link::testing::{answer, link};
    use super::*;

    fn place() -> Place {
        Place {
            target: Target::BMC,
            id: 0x12,
            name: "PSU2 FRU".into(),
            entity: Entity::of(10, 2),
        }
    }

    #[test]
    fn bytes_are_read_in_pieces_that_the_bmc_gives() {
        for by_words in [false, true] {
            for most in [4, 5, 16, 32] {
                let content: Vec<u8> = (0..100).collect();
                let expected = content.clone();
                let mut link = link(Box::new(move |_, _, command, data| {
                    assert_eq!(data[0], 0x12);
                    if command == GET_AREA {
                        return answer(0, &[100, 0, u8::from(by_words)]);
                    }
                    let unit = if by_words { 2 } else { 1 };
                    let at = usize::from(data[1]) * unit;
                    let count = usize::from(data[3]) * unit;
                    if count > most {
                        return answer(0xCA, &[]);
                    }
                    let end = (at + count).min(content.len());
                    let mut out = vec![((end - at) / unit) as u8];
                    out.extend(&content[at..end]);
                    answer(0, &out)
                }));
                let bytes = place().bytes(&mut link).unwrap();
                assert_eq!(bytes.unwrap(), expected, "{by_words} {most}");
            }
        }
    }

    #[test]
    fn a_unit_that_is_not_there_is_told_and_is_the_part_of_its_entity() {
        let mut link = link(Box::new(|_, _, _, _| answer(0xCB, &[])));
        let item = place().read(&mut link).unwrap();
        assert_eq!(item.part, "psu/2");
        assert_eq!(item.fru, Err(Unread::Absent));
    }
}
