//! One entry of the systemd journal, from `journalctl -o json` or
//! `-o export`. Pure.
//!
//! Fields that begin with `_` are set by journald and cannot be forged by
//! what logs (systemd.journal-fields(7)); `_TRANSPORT=kernel` is how kernel
//! text is told from text that only says so.

use std::time::Duration;

use serde_json::Value;

use crate::time::Timestamp;

/// The fields that the agent uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// MESSAGE, as it was logged: any bytes.
    pub message: Vec<u8>,
    /// The unit that logged it.
    pub unit: String,
    /// SYSLOG_IDENTIFIER.
    pub identifier: String,
    /// PRIORITY, 0 to 7.
    pub level: Option<u8>,
    /// Whether the kernel printed it.
    pub kernel: bool,
    /// When it was logged, else when journald received it.
    pub time: Option<Timestamp>,
    /// Its place in the journal.
    pub cursor: String,
    /// The boot it was logged in.
    pub boot: String,
    /// _KERNEL_SUBSYSTEM.
    pub subsystem: String,
    /// _KERNEL_DEVICE.
    pub device: String,
    /// How long after the boot the kernel printed it.
    pub uptime: Option<Duration>,
    received: Option<Timestamp>,
    /// UNIT, until it is known who wrote it.
    about: String,
}

/// The unit of the service manager itself.
const MANAGER: &str = "init.scope";

impl Entry {
    /// Reads one line of `-o json`; `None` when it is no entry.
    pub fn from_json(line: &[u8]) -> Option<Entry> {
        let Ok(Value::Object(fields)) = serde_json::from_slice(line) else {
            return None;
        };
        let mut entry = Entry::default();
        for (name, value) in &fields {
            if let Some(value) = bytes(value) {
                entry.set(name.as_bytes(), &value);
            }
        }
        Some(entry)
    }

    /// Takes one field, from whichever format.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        let text = || String::from_utf8_lossy(value).into_owned();
        let micros = || {
            let text = std::str::from_utf8(value).ok()?;
            text.parse().ok().map(Timestamp)
        };
        match name {
            b"MESSAGE" => self.message = value.to_vec(),
            b"PRIORITY" => {
                self.level = match value {
                    [digit @ b'0'..=b'7'] => Some(digit - b'0'),
                    _ => None,
                };
            }
            // What the manager says about a unit has `UNIT`, and is logged
            // from init.scope, where nothing else runs; anybody else may
            // write any `UNIT`. The two come in any order.
            b"_SYSTEMD_UNIT" => {
                self.unit = text();
                if self.unit == MANAGER && !self.about.is_empty() {
                    self.unit = std::mem::take(&mut self.about);
                }
            }
            b"UNIT" if self.unit == MANAGER => self.unit = text(),
            b"UNIT" => self.about = text(),
            b"SYSLOG_IDENTIFIER" => self.identifier = text(),
            b"_TRANSPORT" => self.kernel = value == b"kernel",
            b"_SOURCE_REALTIME_TIMESTAMP" => self.time = micros(),
            b"_SOURCE_MONOTONIC_TIMESTAMP" => {
                let text = std::str::from_utf8(value).ok();
                let micros = text.and_then(|text| text.parse().ok());
                self.uptime = micros.map(Duration::from_micros);
            }
            b"__REALTIME_TIMESTAMP" => self.received = micros(),
            b"__CURSOR" => self.cursor = text(),
            b"_BOOT_ID" => self.boot = text(),
            b"_KERNEL_SUBSYSTEM" => self.subsystem = text(),
            b"_KERNEL_DEVICE" => self.device = text(),
            _ => {}
        }
    }

    /// When it happened, as well as the entry tells; its cursor, too, says
    /// when it was received.
    pub fn when(&self) -> Option<Timestamp> {
        let received = || {
            let mut parts = self.cursor.split(';');
            let hex = parts.find_map(|part| part.strip_prefix("t="))?;
            i64::from_str_radix(hex, 16).ok().map(Timestamp)
        };
        self.time.or(self.received).or_else(received)
    }
}

/// A field's value: a string, or an array of bytes where it is no UTF-8 (or
/// of several values, of which the first counts). Null is a field too long
/// to show.
fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Array(items) => match items.first() {
            Some(Value::Number(_)) | None => items
                .iter()
                .map(|n| n.as_u64().and_then(|n| u8::try_from(n).ok()))
                .collect(),
            Some(first @ (Value::String(_) | Value::Array(_))) => {
                if let Value::Array(inner) = first
                    && inner.first().is_some_and(Value::is_array)
                {
                    return None; // deeper than journald writes
                }
                bytes(first)
            }
            Some(_) => None,
        },
        _ => None,
    }
}

/// Collects the lines of `-o export` into entries. A field is `NAME=value`,
/// or, where the value has newlines or is no UTF-8, `NAME`, a newline, its
/// length as 64 bits little-endian, its bytes, a newline
/// (systemd.io/JOURNAL_EXPORT_FORMATS). A value is whatever somebody logged:
/// none of its bytes is ever taken for a field.
#[derive(Debug, Default)]
pub struct Export {
    entry: Option<Entry>,
    binary: Option<Binary>,
    /// An entry that can't be followed is passed over, up to the next.
    lost: bool,
    /// How many lines were passed over so.
    passed: u64,
}

/// A field that says how long it is.
#[derive(Debug, Default)]
struct Binary {
    name: Vec<u8>,
    /// Its length and its value, as far as they are kept.
    kept: Vec<u8>,
    /// Whether nothing was left out of `kept` so far.
    whole: bool,
    /// How many bytes came, newlines counted.
    came: u64,
    /// In how many lines.
    lines: u64,
}

/// The longest value kept; of a longer one, its beginning.
const FIELD_MAX: usize = 64 * 1024;

/// The longest field that journald takes (DATA_SIZE_MAX,
/// src/libsystemd/sd-journal/journal-importer.h): 768 MiB.
const LENGTH_MAX: u64 = 768 << 20;

/// The length's own bytes.
const HEAD: usize = size_of::<u64>();

impl Binary {
    fn take(&mut self, line: &[u8], length: usize) {
        if self.whole {
            let room = (HEAD + FIELD_MAX).saturating_sub(self.kept.len());
            self.kept.extend_from_slice(&line[..line.len().min(room)]);
            self.whole = line.len() == length && length < room;
            if self.whole {
                self.kept.push(b'\n');
            }
        }
        self.came += length as u64 + 1;
        self.lines += 1;
    }

    /// How many bytes still come, its last newline with them; `None` while
    /// its length has not come.
    fn misses(&self) -> Option<i64> {
        let head = self.kept.first_chunk()?;
        let whole = u64::from_le_bytes(*head).min(LENGTH_MAX + 1);
        (whole + HEAD as u64 + 1).checked_signed_diff(self.came)
    }

    fn value(&self) -> &[u8] {
        let head = self.kept.first_chunk().copied().unwrap_or_default();
        let length = usize::try_from(u64::from_le_bytes(head));
        let value = &self.kept[HEAD.min(self.kept.len())..];
        &value[..value.len().min(length.unwrap_or(usize::MAX))]
    }

    fn is_possible(&self) -> bool {
        let head = self.kept.first_chunk().copied();
        head.is_none_or(|head| u64::from_le_bytes(head) <= LENGTH_MAX)
    }
}

impl Export {
    /// Takes a line if it belongs to an entry; the entry, when this line ends
    /// it. `None` when the line is none of the journal's. `length` is how
    /// long the line is in the log, if only its beginning is here.
    pub fn line(
        &mut self,
        line: &[u8],
        length: usize,
    ) -> Option<Option<Entry>> {
        if self.binary.is_some() {
            self.value(line, length);
            return Some(None);
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let cursor = line.strip_prefix(b"__CURSOR=");
        if self.entry.is_none() && cursor.is_none() {
            self.passed += u64::from(self.lost);
            return self.lost.then_some(None);
        }
        if line.is_empty() {
            return Some(self.entry.take());
        }
        if let Some(cursor) = cursor {
            self.lost = false;
            // No empty line may stand between two.
            let before = self.entry.take();
            self.entry.get_or_insert_default().set(b"__CURSOR", cursor);
            return Some(before);
        }
        match line.iter().position(|b| *b == b'=') {
            Some(at) => {
                let entry = self.entry.get_or_insert_default();
                entry.set(&line[..at], &line[at + 1..]);
            }
            None => {
                let name = line.to_vec();
                let whole = true;
                self.binary = Some(Binary { name, whole, ..Binary::default() });
            }
        }
        Some(None)
    }

    /// Whether the next line is part of a binary field's value.
    pub fn is_in_value(&self) -> bool {
        self.binary.is_some()
    }

    /// Takes a line of a binary field's value.
    fn value(&mut self, line: &[u8], length: usize) {
        let Some(binary) = &mut self.binary else { return };
        binary.take(line, length);
        match binary.misses() {
            _ if !binary.is_possible() => self.lose(),
            None | Some(1..) => {}
            Some(0) => {
                let entry = self.entry.get_or_insert_default();
                entry.set(&binary.name, binary.value());
                self.binary = None;
            }
            // It ends within a line, which journald never writes.
            Some(_) => self.lose(),
        }
    }

    fn lose(&mut self) {
        let lines = self.binary.as_ref().map_or(0, |binary| binary.lines);
        let passed = self.passed + lines;
        *self = Export { lost: true, passed, ..Export::default() };
    }

    /// The input has ended.
    pub fn end(&mut self) -> Option<Entry> {
        // Its length was wrong, or it was cut off.
        if let Some(binary) = self.binary.take() {
            self.passed += binary.lines;
        }
        self.entry.take()
    }

    /// How many lines nobody could make sense of: an export that was cut off,
    /// or went through what changes bytes.
    pub fn passed_over(&self) -> u64 {
        self.passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_its_fields() {
        let line = br#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1700000001",
            "_SOURCE_REALTIME_TIMESTAMP":"1700000000","PRIORITY":"3",
            "_SYSTEMD_UNIT":"a.service","SYSLOG_IDENTIFIER":"a",
            "MESSAGE":"hello","_TRANSPORT":"stdout"}"#;
        let entry = Entry::from_json(line).unwrap();
        assert_eq!(entry.message, b"hello");
        assert_eq!(entry.level, Some(3));
        assert_eq!(&entry.unit, "a.service");
        assert_eq!(entry.when(), Some(Timestamp(1_700_000_000)));
        assert!(!entry.kernel);
    }

    #[test]
    fn a_message_may_be_bytes_or_null_or_several() {
        let message = |json: &str| {
            let line = format!("{{\"MESSAGE\":{json}}}");
            Entry::from_json(line.as_bytes()).unwrap().message
        };
        assert_eq!(message("[104,105,255]"), b"hi\xff");
        assert_eq!(message("null"), b"");
        assert_eq!(message("[\"one\",\"two\"]"), b"one");
        assert_eq!(message("[[104,105],\"two\"]"), b"hi");
        assert_eq!(message("[1000]"), b"");
        assert_eq!(message("7"), b"");
        assert!(Entry::from_json(b"no json").is_none());
    }

    #[test]
    fn only_the_manager_speaks_for_another_unit() {
        let unit = |json: &str| Entry::from_json(json.as_bytes()).unwrap().unit;
        let both = r#"{"UNIT":"a.service","_SYSTEMD_UNIT":"init.scope"}"#;
        assert_eq!(unit(both), "a.service");
        let forged = r#"{"UNIT":"a.service","_SYSTEMD_UNIT":"evil.service"}"#;
        assert_eq!(unit(forged), "evil.service");
        assert_eq!(unit(r#"{"UNIT":"a.service"}"#), "");
        let mut export = Entry::default();
        export.set(b"_SYSTEMD_UNIT", b"init.scope");
        export.set(b"UNIT", b"a.service");
        assert_eq!(export.unit, "a.service");
    }

    fn binary(name: &str, value: &[u8]) -> Vec<u8> {
        let length = (value.len() as u64).to_le_bytes();
        [name.as_bytes(), b"\n", &length, value, b"\n"].concat()
    }

    /// The entries of an export of which lines are cut after `most` bytes.
    fn entries(input: &[u8], most: usize) -> Vec<Entry> {
        let mut all = Export::default();
        let lines = input.split(|b| *b == b'\n');
        let of = |line: &[u8]| {
            all.line(&line[..line.len().min(most)], line.len()).flatten()
        };
        let mut entries: Vec<Entry> = lines.filter_map(of).collect();
        entries.extend(all.end());
        entries
    }

    #[test]
    fn an_export_with_a_binary_field_is_read() {
        let mut input = b"__CURSOR=s=1\n".to_vec();
        // Ten bytes: the length itself has a newline in it.
        input.extend(binary("MESSAGE", b"one\r\ntwo\n\xff"));
        input.extend_from_slice(b"PRIORITY=4\r\n\n");
        let entries = entries(&input, usize::MAX);
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].message, b"one\r\ntwo\n\xff");
        assert_eq!(entries[0].level, Some(4));
    }

    #[test]
    fn a_long_value_is_no_field_and_swallows_none() {
        let forged = b"\n_TRANSPORT=kernel\n\n__CURSOR=s=9\nPRIORITY=0\n\n";
        for size in [FIELD_MAX - 9, FIELD_MAX, 2 * FIELD_MAX] {
            let mut input = b"__CURSOR=s=1\n_TRANSPORT=journal\n".to_vec();
            let message = [&vec![b'x'; size][..], forged].concat();
            input.extend(binary("MESSAGE", &message));
            input.extend_from_slice(b"\n__CURSOR=s=2\n_TRANSPORT=kernel\n\n");
            for most in [1000, FIELD_MAX + 8, usize::MAX] {
                let kernel = entries(&input, most);
                let kernel: Vec<bool> =
                    kernel.iter().map(|entry| entry.kernel).collect();
                assert_eq!(kernel, [false, true], "{size} {most}");
            }
        }
    }

    #[test]
    fn an_entry_whose_value_ends_within_a_line_is_passed_over() {
        let mut input = b"__CURSOR=s=1\n".to_vec();
        input.extend(binary("MESSAGE", b"one"));
        input.pop();
        input.extend_from_slice(b"and more\n_TRANSPORT=kernel\n\n");
        input.extend_from_slice(b"__CURSOR=s=2\nPRIORITY=4\n\n");
        let entries = entries(&input, usize::MAX);
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].cursor, "s=2");
    }

    #[test]
    fn a_length_that_no_field_has_loses_one_entry() {
        let mut input = b"__CURSOR=s=1\nMESSAGE\n".to_vec();
        input.extend_from_slice(&u64::MAX.to_le_bytes());
        input.extend_from_slice(b"x\n\n__CURSOR=s=2\nPRIORITY=4\n\n");
        let entries = entries(&input, usize::MAX);
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].level, Some(4));
    }

    #[test]
    fn what_is_no_export_is_left_alone() {
        let mut all = Export::default();
        assert_eq!(all.line(b"KEY=value", 9), None);
        assert_eq!(all.line(b"", 0), None);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_lines_never_panic(lines: Vec<Vec<u8>>) {
            let mut all = Export::default();
            all.line(b"__CURSOR=x", 10);
            for line in &lines {
                all.line(line, line.len());
                Entry::from_json(line);
            }
            all.end();
        }

        #[test]
        fn as_many_entries_come_out_as_went_in(
            messages: Vec<Vec<u8>>, most in 30..200usize,
        ) {
            let mut input = Vec::new();
            for message in &messages {
                input.extend_from_slice(b"__CURSOR=s=1\n");
                input.extend(binary("MESSAGE", message));
                input.extend_from_slice(b"_TRANSPORT=journal\n\n");
            }
            let entries = entries(&input, most);
            let given: Vec<&[u8]> =
                entries.iter().map(|e| e.message.as_slice()).collect();
            proptest::prop_assert_eq!(given.len(), messages.len());
            for (given, message) in given.iter().zip(&messages) {
                proptest::prop_assert!(message.starts_with(given));
            }
        }
    }
}
