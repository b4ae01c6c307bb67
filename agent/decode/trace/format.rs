//! The `format` file of a trace event: which field stands where.
//!
//! The kernel describes each event in text (`f_show`,
//! kernel/trace/trace_events.c), and the layout differs between versions and
//! architectures. So nothing is known here but that text: a field that a
//! kernel does not have is simply not found, and lines that nobody knows yet
//! are passed over.

/// A longer file is none of the kernel's: the largest event of a whole
/// kernel describes itself in some 20 KiB, most of it the print format.
const TEXT_MAX: usize = 256 << 10;

/// More fields than this are not read: the event with the most in current
/// kernels has fewer than 60 (a CXL record).
const FIELDS_MAX: usize = 256;

/// No event is longer than a sub-buffer, whose largest order is 64 KiB.
const OFFSET_MAX: usize = 1 << 20;

/// Why a description cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// There is no `ID:` line with a number.
    #[error("no line says ID")]
    NoId,
    /// There is no field at all.
    #[error("no line describes a field")]
    NoFields,
    /// It goes on and on.
    #[error("longer than {TEXT_MAX} bytes")]
    TooLong,
}

/// Where a field's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the field itself.
    Here,
    /// Elsewhere in the record: the field is offset and length of it.
    DataLoc,
    /// The same, with the offset counted from the field's end.
    RelLoc,
}

/// One field: copied out of the description once, used for every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    offset: usize,
    size: usize,
    signed: bool,
    place: Place,
}

/// A described event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Its name without the subsystem.
    pub name: String,
    /// What `common_type` is in its records.
    pub id: u64,
    fields: Vec<(String, Slot)>,
}

impl Format {
    /// Reads a `format` file.
    ///
    /// # Errors
    /// When it describes no event.
    pub fn parse(text: &str) -> Result<Format, FormatError> {
        if text.len() > TEXT_MAX {
            return Err(FormatError::TooLong);
        }
        let (mut name, mut id) = (String::new(), None);
        for line in text.lines() {
            // What follows is a C expression, and may hold anything.
            if line.starts_with("print fmt:") {
                break;
            }
            if let Some(rest) = line.strip_prefix("name:") {
                name = rest.trim().chars().take(128).collect();
            } else if let Some(rest) = line.strip_prefix("ID:") {
                id = rest.trim().parse().ok();
            }
        }
        let fields = fields(text);
        match id {
            None => Err(FormatError::NoId),
            Some(_) if fields.is_empty() => Err(FormatError::NoFields),
            Some(id) => Ok(Format { name, id, fields }),
        }
    }

    /// The field of this name.
    pub fn slot(&self, name: &str) -> Option<Slot> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, slot)| *slot)
    }

    /// The names of all fields, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }
}

/// The fields that a description lists.
pub(super) fn fields(text: &str) -> Vec<(String, Slot)> {
    let lines = text.lines().take_while(|l| !l.starts_with("print fmt:"));
    lines.filter_map(field).take(FIELDS_MAX).collect()
}

/// `field:u64 addr;\toffset:32;\tsize:8;\tsigned:0;`; the order of what
/// follows the declaration is not relied on.
fn field(line: &str) -> Option<(String, Slot)> {
    let line = line.trim().strip_prefix("field")?;
    let mut parts = line.trim_start().strip_prefix(':')?.split(';');
    let declared = parts.next()?.trim();
    let (mut offset, mut size, mut signed) = (None, None, false);
    for part in parts {
        let Some((key, value)) = part.trim().split_once(':') else { continue };
        let value = value.trim().parse::<usize>().ok();
        match key.trim() {
            "offset" => offset = value,
            "size" => size = value,
            "signed" => signed = value == Some(1),
            _ => {}
        }
    }
    let (offset, size) = (offset?, size?);
    if offset > OFFSET_MAX || size > OFFSET_MAX {
        return None;
    }
    let (place, declared) = match declared.split_once(' ') {
        Some(("__data_loc", rest)) => (Place::DataLoc, rest),
        Some(("__rel_loc", rest)) => (Place::RelLoc, rest),
        _ => (Place::Here, declared),
    };
    let name = declared.rsplit([' ', '*']).next()?;
    let name = name.split('[').next().unwrap_or(name);
    if name.is_empty() {
        return None;
    }
    Some((name.to_owned(), Slot { offset, size, signed, place }))
}

impl Slot {
    /// Where it begins.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// How long it is.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Where it ends; both parts are bounded, so this never overflows.
    pub(super) fn end(&self) -> usize {
        self.offset + self.size
    }

    /// The number in a record; absent where the record is too short or the
    /// field is no number. Signed ones are extended, so that they may be
    /// cast to `i64`.
    pub fn number(&self, record: &[u8]) -> Option<u64> {
        if self.place != Place::Here {
            return None;
        }
        let bytes = record.get(self.offset..self.offset + self.size)?;
        Some(match (bytes, self.signed) {
            (&[a], false) => u64::from(a),
            (&[a], true) => i64::from(a as i8) as u64,
            (&[a, b], false) => u64::from(u16::from_ne_bytes([a, b])),
            (&[a, b], true) => i64::from(i16::from_ne_bytes([a, b])) as u64,
            (&[a, b, c, d], false) => {
                u64::from(u32::from_ne_bytes([a, b, c, d]))
            }
            (&[a, b, c, d], true) => {
                i64::from(i32::from_ne_bytes([a, b, c, d])) as u64
            }
            (bytes, _) => u64::from_ne_bytes(bytes.try_into().ok()?),
        })
    }

    /// The field's bytes, wherever they are; absent where the record does
    /// not hold them.
    pub fn bytes<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        let here = record.get(self.offset..self.offset + self.size)?;
        if self.place == Place::Here {
            return Some(here);
        }
        // Length and offset in the two halves of a u32
        // (include/trace/stages/stage2_data_offsets.h).
        let word = u32::from_ne_bytes(here.get(..4)?.try_into().ok()?);
        let (length, mut at) = ((word >> 16) as usize, word as usize & 0xffff);
        if self.place == Place::RelLoc {
            at += self.offset + self.size;
        }
        record.get(at..at + length)
    }

    /// The field as C text: up to its first NUL.
    pub fn text<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        let bytes = self.bytes(record)?;
        bytes.split(|b| *b == 0).next()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AER: &str = include_str!(
        "../../../fixtures/trace/debian-6.1/events/ras/aer_event/format"
    );

    const ODD: &str = "name: odd\nID: 7\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\n\
        \tfield:s8 layer;\toffset:2;\tsize:1;\tsigned:1;\n\
        \tfield:__rel_loc char[] text;\toffset:4;\tsize:4;\tsigned:1;\n\
        \tfield:struct foo *ptr;\toffset:8;\tsize:8;\tsigned:0;\n\
        \tfield:u32 words[2];\tsize:8;\toffset:16;\tnew:3;\tsigned:0;\n\
        \tfield:nothing;\n\
        \tunheard of\n\
        print fmt: \"field:u64 forged;\toffset:0;\tsize:8;\", REC->x\n\
        \tfield:u64 forged;\toffset:0;\tsize:8;\tsigned:0;\n";

    #[test]
    fn what_a_kernel_describes_is_found_by_name() {
        let format = Format::parse(AER).unwrap();
        assert_eq!((format.name.as_str(), format.id), ("aer_event", 1224));
        assert!(format.slot("tlp_header").is_some());
        assert_eq!(format.slot("no_such_field"), None);
        let mut record = vec![0; 24];
        record[12..16].copy_from_slice(&0x4000u32.to_ne_bytes());
        let status = format.slot("status").unwrap();
        assert_eq!(status.number(&record), Some(0x4000));
        assert_eq!(status.number(&record[..15]), None);
    }

    #[test]
    fn dynamic_text_is_read_through_its_location() {
        let name = Format::parse(AER).unwrap().slot("dev_name").unwrap();
        let mut record = vec![0; 36];
        record.extend(b"0000:3b:00.0\0\0\0\0");
        let location = 13u32 << 16 | 36;
        record[8..12].copy_from_slice(&location.to_ne_bytes());
        assert_eq!(name.text(&record), Some(&b"0000:3b:00.0"[..]));
        assert_eq!(name.text(&record[..40]), None);
        assert_eq!(name.number(&record), None, "a location is no number");
    }

    #[test]
    fn odd_lines_are_passed_over_and_the_print_format_describes_nothing() {
        let format = Format::parse(ODD).unwrap();
        let names: Vec<&str> = format.names().collect();
        assert_eq!(names, ["common_type", "layer", "text", "ptr", "words"]);
        let mut record = vec![0u8; 24];
        record[2] = 0xff;
        let layer = format.slot("layer").unwrap().number(&record);
        assert_eq!(layer.map(|n| n as i64), Some(-1));
        // A relative location counts from behind its field, at 8.
        let location = 3u32 << 16 | 16;
        record[4..8].copy_from_slice(&location.to_ne_bytes());
        record.extend(b"ab\0");
        let text = format.slot("text").unwrap().text(&record);
        assert_eq!(text, Some(&b"ab"[..]));
        let words = format.slot("words").unwrap();
        assert_eq!(words.bytes(&record).map(<[u8]>::len), Some(8));
    }

    #[test]
    fn a_text_without_id_or_fields_is_no_description() {
        assert_eq!(Format::parse("").unwrap_err(), FormatError::NoId);
        let bare = Format::parse("name: x\nID: 3\n");
        assert_eq!(bare.unwrap_err(), FormatError::NoFields);
        let long = "x".repeat(TEXT_MAX + 1);
        assert_eq!(Format::parse(&long).unwrap_err(), FormatError::TooLong);
    }

    proptest! {
        #[test]
        fn any_description_of_any_record_is_read_or_refused(
            offset in 0usize..70_000, size in 0usize..70_000,
            location in 0usize..3, record in prop::collection::vec(
                any::<u8>(), 0..200),
        ) {
            let kind = ["u8 x", "__data_loc u8[] x", "__rel_loc u8[] x"];
            let text = format!(
                "ID: 1\n field:{};offset:{offset};size:{size};signed:1;",
                kind[location]
            );
            let slot = Format::parse(&text).unwrap().slot("x").unwrap();
            slot.number(&record);
            slot.text(&record);
        }

        #[test]
        fn any_text_is_a_description_or_is_refused(text in ".{0,300}") {
            let _ = Format::parse(&text);
        }
    }
}
