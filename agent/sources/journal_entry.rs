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
/// length as 64 bits little-endian, its bytes, a newline.
#[derive(Debug, Default)]
pub struct Export {
    entry: Option<Entry>,
    /// A binary field's name, and its length and bytes as far as they came.
    name: Vec<u8>,
    binary: Vec<u8>,
}

/// The longest binary field kept; longer ones are passed over.
const FIELD_MAX: usize = 64 * 1024;

impl Export {
    /// Takes a line if it belongs to an entry; the entry, when this line ends
    /// it. `None` when the line is none of the journal's.
    pub fn line(&mut self, line: &[u8]) -> Option<Option<Entry>> {
        if self.entry.is_none() && !line.starts_with(b"__CURSOR=") {
            return None;
        }
        if line.is_empty() && self.name.is_empty() {
            return Some(self.entry.take());
        }
        let another = line.starts_with(b"__CURSOR=") && self.name.is_empty();
        if another && let Some(before) = self.entry.take() {
            // No empty line stood between them.
            self.entry.get_or_insert_default().set(b"__CURSOR", &line[9..]);
            return Some(Some(before));
        }
        let entry = self.entry.get_or_insert_default();
        if !self.name.is_empty() {
            self.binary.extend_from_slice(line);
            self.binary.push(b'\n');
            if let Some((head, rest)) = self.binary.split_first_chunk() {
                let length = usize::try_from(u64::from_le_bytes(*head));
                match length.ok().filter(|n| *n <= FIELD_MAX) {
                    Some(length) if rest.len() > length => {
                        entry.set(&self.name, &rest[..length]);
                        self.name.clear();
                    }
                    Some(_) => {}
                    // No length that journald writes for what we use; what
                    // follows is taken line by line again.
                    None => self.name.clear(),
                }
            }
            return Some(None);
        }
        match line.iter().position(|b| *b == b'=') {
            Some(at) => entry.set(&line[..at], &line[at + 1..]),
            None => {
                self.name = line.to_vec();
                self.binary.clear();
            }
        }
        Some(None)
    }

    /// The input has ended.
    pub fn end(&mut self) -> Option<Entry> {
        self.name.clear();
        self.entry.take()
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

    #[test]
    fn an_export_with_a_binary_field_is_read() {
        let mut all = Export::default();
        // Ten bytes: the length itself has a newline in it.
        let mut input = b"__CURSOR=s=1\nMESSAGE\n".to_vec();
        input.extend_from_slice(&10u64.to_le_bytes());
        input.extend_from_slice(b"one\ntwo\nx\xff\nPRIORITY=4\n\n");
        let mut entries = Vec::new();
        for line in input.split(|b| *b == b'\n') {
            if let Some(Some(entry)) = all.line(line) {
                entries.push(entry);
            }
        }
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].message, b"one\ntwo\nx\xff");
        assert_eq!(entries[0].level, Some(4));
    }

    #[test]
    fn what_is_no_export_is_left_alone() {
        let mut all = Export::default();
        assert_eq!(all.line(b"KEY=value"), None);
        assert_eq!(all.line(b""), None);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_lines_never_panic(lines: Vec<Vec<u8>>) {
            let mut all = Export::default();
            all.line(b"__CURSOR=x");
            for line in &lines {
                all.line(line);
                Entry::from_json(line);
            }
            all.end();
        }
    }
}
