//! What a BMC tells as observations: the fields of the sources
//! `ipmi-sensor` and `ipmi-sel`.

use super::{HISTORY, Value};
use crate::decode::ipmi::reading::{Reading, Unknown};
use crate::decode::ipmi::sel::{Body, Detail, Entry, Event};
use crate::decode::ipmi::sensor::{Key, Sensor};
use crate::decode::ipmi::thresholds::{Threshold, Thresholds};
use crate::decode::ipmi::{entity::Entity, kinds, part};

/// The fields of an observation.
pub type Fields<'a> = Vec<(&'static str, Value<'a>)>;

/// A sensor, with the texts that its observations borrow.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// As its record describes it.
    pub sensor: Sensor,
    /// Its key as text.
    pub id: String,
    /// The part it belongs to.
    pub part: String,
    /// What its value is measured in.
    pub unit: String,
}

impl Described {
    /// Makes the texts.
    pub fn new(sensor: Sensor) -> Described {
        Described {
            id: sensor.key.to_string(),
            part: sensor.part(),
            unit: sensor.units.to_string(),
            sensor,
        }
    }

    /// The observation of a reading. Where there is none, value and state
    /// are missing, so that patterns find them unknown.
    pub fn fields<'a>(
        &'a self,
        bmc: &'a str,
        reading: &'a Result<Reading, Unknown>,
        limits: &Thresholds<u8>,
    ) -> Fields<'a> {
        let sensor = &self.sensor;
        let mut fields = vec![("bmc", Value::Text(bmc.as_bytes()))];
        key(&mut fields, sensor.key, &self.id);
        fields.extend([
            ("name", Value::Text(sensor.name.as_bytes())),
            ("type", Value::Word(sensor.kind_word())),
            ("part", Value::Text(self.part.as_bytes())),
        ]);
        entity(&mut fields, sensor.entity);
        thresholds(&mut fields, &sensor.values_of(limits));
        match reading {
            Err(unknown) => {
                fields.push(("unknown", Value::Word(unknown.word())));
            }
            Ok(reading) => {
                if let Some(value) = reading.value {
                    fields.push(("value", Value::Number(value)));
                    fields.push(("unit", Value::Text(self.unit.as_bytes())));
                }
                self.states(reading, &mut fields);
            }
        }
        fields
    }

    /// The states that hold. What is not there has none: that a part was
    /// pulled does not say that it is well.
    fn states(&self, reading: &Reading, fields: &mut Fields<'_>) {
        let present = self.sensor.presence(reading);
        if let Some(present) = present {
            fields.push(("present", Value::Flag(present)));
        }
        let states = reading.states.iter();
        fields.extend(states.map(|s| ("state", Value::Word(s))));
        let well = match self.sensor.has_thresholds() {
            true => "ok",
            false => "none",
        };
        match (reading.states.is_empty(), present) {
            (true, Some(false)) => {
                let absent = Unknown::Absent.word();
                fields.push(("unknown", Value::Word(absent)));
            }
            (true, _) => fields.push(("state", Value::Word(well))),
            (false, _) => {}
        }
    }
}

fn key<'a>(fields: &mut Fields<'a>, key: Key, id: &'a str) {
    fields.extend([
        ("id", Value::Text(id.as_bytes())),
        ("owner", Value::Number(key.owner.into())),
        ("channel", Value::Number(key.channel.into())),
        ("lun", Value::Number(key.lun.into())),
        ("number", Value::Number(key.number.into())),
    ]);
}

fn entity(fields: &mut Fields<'_>, entity: Entity) {
    fields.push(("entity", Value::Word(entity.word())));
    fields.push(("instance", Value::Number(entity.instance.into())));
}

/// The fields of the thresholds that there are.
pub fn thresholds(fields: &mut Fields<'_>, values: &Thresholds<f64>) {
    for (threshold, value) in values.iter() {
        let name = match threshold {
            Threshold::LowerNonCritical => "lower_non_critical",
            Threshold::LowerCritical => "lower_critical",
            Threshold::LowerNonRecoverable => "lower_non_recoverable",
            Threshold::UpperNonCritical => "upper_non_critical",
            Threshold::UpperCritical => "upper_critical",
            Threshold::UpperNonRecoverable => "upper_non_recoverable",
        };
        fields.push((name, Value::Number(value)));
    }
}

/// A record of the log, with the texts that its observation borrows.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// The record.
    pub entry: Entry,
    /// The part that it is about.
    pub part: String,
    /// Whether no bad state of its sensor stands after it, as far as the log
    /// tells; of a record alone, whether its own ended.
    pub over: bool,
    id: String,
    raw: String,
    data: String,
    detail: Detail,
    /// Of the sensor, if its record is known.
    name: Option<String>,
    entity: Option<Entity>,
    unit: String,
    values: (Option<f64>, Option<f64>),
}

impl Logged {
    /// Makes the texts; `sensor` is the one with the event's key, if its
    /// record is known.
    pub fn new(entry: Entry, sensor: Option<&Sensor>) -> Logged {
        let mut logged = Logged {
            part: "board/maker's event".to_owned(),
            over: false,
            id: String::new(),
            raw: hex(&entry.raw),
            data: String::new(),
            detail: Detail::default(),
            name: sensor.map(|s| s.name.clone()),
            entity: sensor.map(|s| s.entity),
            unit: sensor.map_or_else(String::new, |s| s.units.to_string()),
            values: (None, None),
            entry,
        };
        if let Body::Event(event) = &logged.entry.body {
            let detail = event.detail();
            let entity = logged.entity.unwrap_or_default();
            let unknown = unknown_sensor(event.key);
            let name = logged.name.get_or_insert(unknown);
            // A number in a name is a label, unless we made the name.
            let names_it = sensor.is_some()
                || detail.dimm.is_none() && detail.slot.is_none();
            let label = if names_it { name.as_str() } else { "" };
            let part = part::of_event(entity, event, label, &detail);
            logged.part = part;
            logged.over = !event.holds();
            logged.id = event.key.to_string();
            logged.data = hex(&event.data);
            logged.detail = detail;
            logged.values =
                sensor.map_or((None, None), |sensor| event.values(sensor));
        }
        logged
    }

    /// The observation; `is_history` says that it was logged before the
    /// agent ever looked.
    pub fn fields<'a>(&'a self, bmc: &'a str, is_history: bool) -> Fields<'a> {
        let text = |text: &'a str| Value::Text(text.as_bytes());
        let mut fields = vec![
            ("bmc", text(bmc)),
            ("record", Value::Number(self.entry.id.into())),
            ("raw", text(&self.raw)),
            ("part", text(&self.part)),
            ("code", Value::Number(self.entry.raw[2].into())),
            (HISTORY, Value::Flag(is_history)),
        ];
        match &self.entry.body {
            Body::Event(event) => self.event(event, &mut fields),
            Body::Oem { manufacturer, .. } => {
                fields.push(("kind", Value::Word("oem")));
                if let Some(maker) = manufacturer {
                    let maker = Value::Number((*maker).into());
                    fields.push(("manufacturer", maker));
                }
            }
        }
        fields
    }

    fn event<'a>(&'a self, event: &Event, fields: &mut Fields<'a>) {
        key(fields, event.key, &self.id);
        fields.extend([
            ("kind", Value::Word("event")),
            ("software", Value::Flag(event.key.is_software())),
            ("type", Value::Word(kinds::word(event.kind))),
            ("state", Value::Word(event.state())),
            ("asserted", Value::Flag(event.holds())),
            ("over", Value::Flag(self.over)),
            ("data", Value::Text(self.data.as_bytes())),
        ]);
        if let Some(name) = &self.name {
            fields.push(("name", Value::Text(name.as_bytes())));
        }
        if let Some(of) = self.entity {
            entity(fields, of);
        }
        let (value, threshold) = self.values;
        if let Some(value) = value {
            fields.push(("value", Value::Number(value)));
            fields.push(("unit", Value::Text(self.unit.as_bytes())));
        }
        if let Some(threshold) = threshold {
            fields.push(("threshold", Value::Number(threshold)));
        }
        if let Some(dimm) = self.detail.dimm {
            fields.push(("dimm", Value::Number(dimm.into())));
        }
        if let Some((kind, slot)) = self.detail.slot {
            fields.push(("slot", Value::Number(slot.into())));
            fields.push(("slot_type", Value::Word(kind.word())));
        }
        if let Some(words) = self.detail.words.filter(|w| !w.is_empty()) {
            fields.push(("detail", Value::Text(words.as_bytes())));
        }
    }
}

/// What a sensor without a record is called: by its number, and by who has
/// logged it where that was software (IPMI 2.0 table 5-4, system software
/// ids). Firmware numbers its sensors itself, and has records of none.
fn unknown_sensor(key: Key) -> String {
    let who = match key.owner {
        owner if owner & 1 == 0 => "",
        0x00..=0x1F => "BIOS ",
        0x20..=0x3F => "SMI handler ",
        0x40..=0x5F => "management software ",
        0x60..=0x7F => "OEM software ",
        _ => "console ",
    };
    format!("{who}sensor {:02x}h", key.number)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::ipmi::sel;
    use crate::observation::{FieldKind, Source};

    /// Whether every field is one of the source's, with a value of its kind.
    fn fit(source: Source, fields: &Fields<'_>) {
        for (name, value) in fields {
            let spec = source.field(name).expect(name);
            let fits = match (spec.kind, value) {
                (FieldKind::Text, Value::Text(_))
                | (FieldKind::Number, Value::Number(_))
                | (FieldKind::Flag, Value::Flag(_)) => true,
                (FieldKind::Word(words), Value::Word(w)) => words.contains(w),
                _ => false,
            };
            assert!(fits, "{source} {name}: {value:?}");
        }
    }

    #[test]
    fn whatever_is_logged_fits_the_fields_of_its_source() {
        for kind in 0..=255u8 {
            for (code, data) in [(0x6f, 0x35), (0x01, 0x59), (0x0b, 0xff)] {
                let mut raw = [kind; 16];
                raw[2] = if kind == 0xc1 { kind } else { 2 };
                raw[12] = code;
                raw[13] = data;
                let entry = sel::parse(&raw).expect("sixteen bytes");
                fit(
                    Source::IpmiSel,
                    &Logged::new(entry, None).fields("b", true),
                );
            }
        }
    }

    #[test]
    fn a_reading_fits_the_fields_of_its_source() {
        let sensor = Sensor {
            key: Key { owner: 0x20, channel: 0, lun: 1, number: 0x31 },
            record: 1,
            name: "PSU1 Status".into(),
            kind: kinds::POWER_SUPPLY,
            reading_type: 0x6f,
            entity: Entity::of(10, 1),
            units: Default::default(),
            conversion: None,
            thresholds: Thresholds::default(),
            thresholds_readable: false,
            mask: 0x7fff,
            hysteresis_upper: 0,
            hysteresis_lower: 0,
            hysteresis: Default::default(),
            sets_hysteresis: false,
            direction: Default::default(),
            event_only: false,
            optional: false,
        };
        let limits = sensor.thresholds;
        let told = Described::new(sensor);
        for answer in [&[0u8, 0xc0, 9, 0x80][..], &[0, 0xc0, 2, 0x80], &[0, 0]]
        {
            let reading = told.sensor.reading(0, answer, &limits);
            let fields = told.fields("bmc0", &reading, &limits);
            fit(Source::IpmiSensor, &fields);
            let states = fields.iter().filter(|(n, _)| *n == "state").count();
            let expected = match answer[..] {
                [_, _, 9, _] => 2,
                [_, _, 2, _] => 1,
                _ => 0,
            };
            assert_eq!(states, expected);
            assert_eq!(told.id, "20.0.1.31");
        }
        let pulled = told.sensor.reading(0, &[0, 0xc0, 0, 0x80], &limits);
        let fields = told.fields("bmc0", &pulled, &limits);
        fit(Source::IpmiSensor, &fields);
        let has = |name| fields.iter().any(|(n, _)| *n == name);
        assert!(!has("state"), "a supply that was pulled is not well");
        assert!(fields.contains(&("present", Value::Flag(false))));
    }
}
