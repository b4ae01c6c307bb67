//! The inventory of a field-replaceable unit: who made it, which model and
//! serial number it has (Platform Management FRU Information Storage
//! Definition 1.0).
//!
//! An area whose checksum is wrong is not believed.

use super::le16;
use super::text::{self, Zero};

#[cfg(test)]
mod tests;

/// The most that a FRU can hold: offsets are bytes that count eights, and
/// the last record may be 255 bytes behind its header of five.
pub const FRU_MAX: usize = 64 << 10;

/// Areas of custom fields and lists of records are cut here; none has so
/// many.
const FIELDS_MAX: usize = 32;

/// What is wrong with a FRU, or an area of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFru {
    /// Shorter than its eight bytes of header.
    #[error("{0} bytes are no inventory")]
    NoHeader(usize),
    /// Nothing was ever written: all bytes are 00h or FFh.
    #[error("the inventory is blank")]
    Blank,
    /// Another version of the format.
    #[error("format version {0} of the {1} is not known")]
    Version(u8, Area),
    /// The sum of its bytes is not zero.
    #[error("the checksum of the {0} is wrong")]
    Checksum(Area),
    /// It ends behind the end of the bytes.
    #[error("the {0} is cut off")]
    Cut(Area),
}

/// The areas of a FRU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// The header that tells where the others are.
    Header,
    /// The chassis.
    Chassis,
    /// The board.
    Board,
    /// The product.
    Product,
    /// Records of several kinds.
    Records,
}

impl std::fmt::Display for Area {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Area::Header => "header",
            Area::Chassis => "chassis area",
            Area::Board => "board area",
            Area::Product => "product area",
            Area::Records => "multi-record area",
        })
    }
}

/// What a FRU tells. Fields that are empty are not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fru {
    /// The chassis, where it says.
    pub chassis: Option<Chassis>,
    /// The board.
    pub board: Option<Board>,
    /// The product.
    pub product: Option<Product>,
    /// What it says of itself as a power supply.
    pub supply: Option<Supply>,
    /// Areas that could not be read.
    pub problems: Vec<BadFru>,
}

/// The chassis area.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chassis {
    /// Its type, as SMBIOS numbers them.
    pub kind: u8,
    /// Part number.
    pub part_number: String,
    /// Serial number.
    pub serial: String,
    /// Fields that the maker added.
    pub custom: Vec<String>,
}

/// The board area.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Board {
    /// Minutes from the start of 1996 to when it was made; 0 is unknown.
    pub made: u32,
    /// Who made it.
    pub manufacturer: String,
    /// What it is called.
    pub product: String,
    /// Serial number.
    pub serial: String,
    /// Part number.
    pub part_number: String,
    /// Fields that the maker added.
    pub custom: Vec<String>,
}

/// The product area.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Product {
    /// Who made it.
    pub manufacturer: String,
    /// What it is called.
    pub name: String,
    /// Part or model number.
    pub part_number: String,
    /// Version.
    pub version: String,
    /// Serial number.
    pub serial: String,
    /// Asset tag.
    pub asset: String,
    /// Fields that the maker added.
    pub custom: Vec<String>,
}

/// Multi-record type 00h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Supply {
    /// What it can give for ever, watts.
    pub watts: u16,
    /// What it can give for some seconds, watts.
    pub peak_watts: u16,
    /// Lowest and highest input voltage, millivolts.
    pub input: (u32, u32),
    /// Whether it can be changed while the node runs.
    pub hot_swap: bool,
    /// Whether it can predict its failure.
    pub predicts_failure: bool,
}

/// What a technician reads on the label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// Who made it and what it is called.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Part number, to order another.
    pub part_number: Option<String>,
}

impl Fru {
    /// The label: of the product, else of the board, else of the chassis.
    pub fn label(&self) -> Label {
        let field = |of: [Option<&String>; 3]| {
            let mut all = of.into_iter().flatten();
            all.find(|text| !text.is_empty()).cloned()
        };
        let (product, board, chassis) =
            (self.product.as_ref(), self.board.as_ref(), self.chassis.as_ref());
        let maker = field([
            product.map(|p| &p.manufacturer),
            board.map(|b| &b.manufacturer),
            None,
        ]);
        let part_number = field([
            product.map(|p| &p.part_number),
            board.map(|b| &b.part_number),
            chassis.map(|c| &c.part_number),
        ]);
        let name =
            field([product.map(|p| &p.name), board.map(|b| &b.product), None]);
        let words = [maker, name.or_else(|| part_number.clone())];
        let words: Vec<String> = words.into_iter().flatten().collect();
        Label {
            model: (!words.is_empty()).then(|| words.join(" ")),
            serial: field([
                product.map(|p| &p.serial),
                board.map(|b| &b.serial),
                chassis.map(|c| &c.serial),
            ]),
            part_number,
        }
    }
}

/// Reads the bytes of a FRU. Areas that are broken are left out and told.
///
/// # Errors
/// When its header is.
pub fn parse(bytes: &[u8]) -> Result<Fru, BadFru> {
    let bytes = &bytes[..bytes.len().min(FRU_MAX)];
    let Some(header) = bytes.first_chunk::<8>() else {
        return Err(BadFru::NoHeader(bytes.len()));
    };
    if header.iter().all(|b| *b == 0) || header.iter().all(|b| *b == 0xff) {
        return Err(BadFru::Blank);
    }
    if header[0] & 0xf != 1 {
        return Err(BadFru::Version(header[0], Area::Header));
    }
    if !adds_up(header) {
        return Err(BadFru::Checksum(Area::Header));
    }
    let mut fru = Fru::default();
    let mut problems = Vec::new();
    let mut area = |which, at: u8| match self::area(bytes, which, at) {
        Ok(area) => area,
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    fru.chassis = area(Area::Chassis, header[2]).map(chassis);
    fru.board = area(Area::Board, header[3]).map(board);
    fru.product = area(Area::Product, header[4]).map(product);
    if header[5] != 0 {
        fru.supply = supply(bytes, usize::from(header[5]) * 8, &mut problems);
    }
    fru.problems = problems;
    Ok(fru)
}

fn adds_up(bytes: &[u8]) -> bool {
    bytes.iter().fold(0u8, |sum, b| sum.wrapping_add(*b)) == 0
}

/// The bytes of an area without version, length and checksum; offset 0
/// means that there is none.
fn area(bytes: &[u8], which: Area, at: u8) -> Result<Option<&[u8]>, BadFru> {
    if at == 0 {
        return Ok(None);
    }
    let rest = bytes.get(usize::from(at) * 8..).unwrap_or(&[]);
    let [version, eights, ..] = *rest else {
        return Err(BadFru::Cut(which));
    };
    if version & 0xf != 1 {
        return Err(BadFru::Version(version, which));
    }
    let whole = rest.get(..usize::from(eights) * 8);
    let whole = whole.filter(|w| !w.is_empty()).ok_or(BadFru::Cut(which))?;
    if !adds_up(whole) {
        return Err(BadFru::Checksum(which));
    }
    Ok(Some(&whole[2..whole.len() - 1]))
}

/// The fields of an area, until the byte that ends them.
struct Fields<'a> {
    bytes: &'a [u8],
    /// Whether type 11b is letters of one byte: the languages 0 and 25.
    english: bool,
}

impl Iterator for Fields<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        /// Ends the fields.
        const END: u8 = 0xc1;
        let (head, rest) = self.bytes.split_first()?;
        if *head == END {
            self.bytes = &[];
            return None;
        }
        let length = usize::from(head & 0x3f).min(rest.len());
        let (field, rest) = rest.split_at(length);
        self.bytes = rest;
        let code = head >> 6;
        Some(if code == 3 && !self.english {
            text::decode(0, Zero::Unicode, field)
        } else {
            text::decode(code, Zero::Binary, field)
        })
    }
}

fn fields(bytes: &[u8], language: u8) -> Fields<'_> {
    Fields { bytes, english: matches!(language, 0 | 25) }
}

fn chassis(area: &[u8]) -> Chassis {
    let [kind, rest @ ..] = area else { return Chassis::default() };
    let mut fields = fields(rest, 0);
    Chassis {
        kind: *kind,
        part_number: fields.next().unwrap_or_default(),
        serial: fields.next().unwrap_or_default(),
        custom: fields.take(FIELDS_MAX).collect(),
    }
}

fn board(area: &[u8]) -> Board {
    let [language, low, middle, high, rest @ ..] = area else {
        return Board::default();
    };
    let mut fields = fields(rest, *language);
    let mut next = || fields.next().unwrap_or_default();
    let (manufacturer, product, serial, part_number) =
        (next(), next(), next(), next());
    let _file_id = next();
    Board {
        made: u32::from_le_bytes([*low, *middle, *high, 0]),
        manufacturer,
        product,
        serial,
        part_number,
        custom: fields.take(FIELDS_MAX).collect(),
    }
}

fn product(area: &[u8]) -> Product {
    let [language, rest @ ..] = area else { return Product::default() };
    let mut fields = fields(rest, *language);
    let mut next = || fields.next().unwrap_or_default();
    let (manufacturer, name, part_number) = (next(), next(), next());
    let (version, serial, asset) = (next(), next(), next());
    let _file_id = next();
    Product {
        manufacturer,
        name,
        part_number,
        version,
        serial,
        asset,
        custom: fields.take(FIELDS_MAX).collect(),
    }
}

/// The power supply record among those that begin at `at`.
fn supply(
    bytes: &[u8],
    mut at: usize,
    problems: &mut Vec<BadFru>,
) -> Option<Supply> {
    for _ in 0..FIELDS_MAX {
        let header = bytes.get(at..at + 5);
        let Some(&[kind, list, length, sum, _]) = header else {
            problems.push(BadFru::Cut(Area::Records));
            return None;
        };
        let start = at + 5;
        let end = start + usize::from(length);
        if !adds_up(&bytes[at..start]) {
            problems.push(BadFru::Checksum(Area::Records));
            return None;
        }
        let Some(body) = bytes.get(start..end) else {
            problems.push(BadFru::Cut(Area::Records));
            return None;
        };
        let total = body.iter().fold(sum, |all, b| all.wrapping_add(*b));
        if total != 0 {
            problems.push(BadFru::Checksum(Area::Records));
        } else if kind == 0 && body.len() >= 24 {
            return Some(power(body));
        }
        // Bit 7: the last one.
        if list & 0x80 != 0 {
            return None;
        }
        at = end;
    }
    None
}

/// Record type 00h (18.1): the numbers are of two bytes, voltages count ten
/// millivolts.
fn power(body: &[u8]) -> Supply {
    let number = |at| le16(body, at).unwrap_or(0);
    let volts = |at| u32::from(number(at)) * 10;
    Supply {
        watts: number(0) & 0xfff,
        peak_watts: number(18) & 0xfff,
        input: (volts(6), volts(8)),
        hot_swap: body[17] & 0x08 != 0,
        predicts_failure: body[17] & 0x01 != 0,
    }
}
