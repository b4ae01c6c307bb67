//! Observations as pattern files write them in examples and scenarios: from
//! the YAML to the fields that a source would have sent.

use std::collections::BTreeMap;

use super::diagnostic::did_you_mean;
use super::file::RawMatcher;
use super::matcher::{Matcher, Scratch, Taken};
use crate::decode::ipmi::sel;
use crate::observation::bmc::Logged;
use crate::observation::{FieldKind, Observation, Source, Value};
use crate::signal::Event;
use crate::time::Timestamp;

/// The fields of an observation.
pub type Fields<'a> = Vec<(&'static str, Value<'a>)>;

/// Takes the fields as written for what `source` would send.
///
/// # Errors
/// The source has no such field, or the value is none of its kind.
pub fn fields<'a>(
    source: Source,
    written: &'a BTreeMap<String, RawMatcher>,
) -> Result<Fields<'a>, String> {
    let mut all = Fields::new();
    for (name, raw) in written {
        match raw {
            RawMatcher::List(words) => {
                for one in words {
                    let value = Written::Text(one);
                    all.push(field(source, name, value)?);
                }
            }
            RawMatcher::Text(text) => {
                all.push(field(source, name, Written::Text(text))?);
            }
            RawMatcher::Number(n) => {
                all.push(field(source, name, Written::Number(*n))?);
            }
            RawMatcher::Flag(flag) => {
                all.push(field(source, name, Written::Flag(*flag))?);
            }
        }
    }
    Ok(all)
}

/// One value as written.
enum Written<'a> {
    Text(&'a str),
    Number(f64),
    Flag(bool),
}

fn field<'a>(
    source: Source,
    name: &str,
    raw: Written<'a>,
) -> Result<(&'static str, Value<'a>), String> {
    let Some(spec) = source.field(name) else {
        let names = source.fields().iter().map(|f| f.name);
        let help = did_you_mean(name, names)
            .map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
        return Err(format!("source {source} has no field `{name}`{help}"));
    };
    let value = match (spec.kind, raw) {
        (FieldKind::Text, Written::Text(t)) => Value::Text(t.as_bytes()),
        (FieldKind::Word(words), Written::Text(word)) => {
            if !words.contains(&word) {
                return Err(format!("`{name}` is never `{word}`"));
            }
            Value::Word(word)
        }
        (FieldKind::Number, Written::Number(n)) => Value::Number(n),
        (FieldKind::Flag, Written::Flag(flag)) => Value::Flag(flag),
        (kind, _) => {
            let wants = match kind {
                FieldKind::Text => "text; put it in quotes",
                FieldKind::Word(_) => "one of its words",
                FieldKind::Number => "a number",
                FieldKind::Flag => "true or false",
            };
            return Err(format!("`{name}` is {wants}"));
        }
    };
    Ok((spec.name, value))
}

/// Reads a record of a BMC's event log as written: 16 bytes in hexadecimal,
/// with or without blanks.
///
/// # Errors
/// It is something else.
pub fn logged(written: &str) -> Result<Logged, String> {
    let digits: Vec<char> =
        written.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| {
        let text: String = pair.iter().collect();
        u8::from_str_radix(&text, 16).ok().filter(|_| pair.len() == 2)
    };
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    let entry = bytes.and_then(|bytes| sel::parse(&bytes).ok());
    let entry = entry
        .ok_or_else(|| "`sel` is 16 bytes, 32 hexadecimal digits".to_owned())?;
    Ok(Logged::new(entry, None))
}

/// The fields of a record, those that are `written` in the place of its own.
///
/// # Errors
/// The source has no such field, or the value is none of its kind.
pub fn logged_fields<'a>(
    logged: &'a Logged,
    written: &'a BTreeMap<String, RawMatcher>,
) -> Result<Fields<'a>, String> {
    let mut all = logged.fields("bmc0", false);
    all.retain(|(name, _)| !written.contains_key(*name));
    all.extend(fields(Source::IpmiSel, written)?);
    Ok(all)
}

/// What the patterns make of an observation that came at `time`.
pub fn observe(
    matcher: &Matcher,
    source: Source,
    fields: &[(&'static str, Value<'_>)],
    time: Timestamp,
    scratch: &mut Scratch,
) -> (Taken, Vec<Event>) {
    let observation = Observation {
        patterns: source,
        time,
        approximate: false,
        injected: false,
        fields,
    };
    let mut out = Vec::new();
    if source.is_state() {
        matcher.observe_state(&observation, &mut out);
        return (Taken::Taken, out);
    }
    let taken = matcher.observe(&observation, scratch, &mut out);
    (taken, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(name: &str, raw: RawMatcher) -> Result<(), String> {
        let written = BTreeMap::from([(name.to_owned(), raw)]);
        fields(Source::Mce, &written).map(|_| ())
    }

    #[test]
    fn a_value_must_be_of_its_fields_kind() {
        assert_eq!(take("cpu", RawMatcher::Number(3.0)), Ok(()));
        assert_eq!(take("severity", RawMatcher::Text("srar".into())), Ok(()));
        assert_eq!(
            take("sverity", RawMatcher::Text("srar".into())).unwrap_err(),
            "source mce has no field `sverity`; did you mean `severity`?"
        );
        assert_eq!(
            take("severity", RawMatcher::Text("bad".into())).unwrap_err(),
            "`severity` is never `bad`"
        );
        assert_eq!(
            take("page", RawMatcher::Number(4096.0)).unwrap_err(),
            "`page` is text; put it in quotes"
        );
        assert_eq!(
            take("yellow", RawMatcher::Text("yes".into())).unwrap_err(),
            "`yellow` is true or false"
        );
    }

    use super::super::compile::compile;
    use super::super::examples;
    use super::super::parse::{ParsedFile, SourceFile, parse};
    use super::super::set::PatternSet;
    use crate::signal::Truth;

    fn load(text: &str) -> (ParsedFile, PatternSet) {
        let file = parse(&SourceFile {
            name: "decoded.yaml".into(),
            text: text.as_bytes().to_vec(),
            builtin: false,
        })
        .unwrap();
        let (set, _) = compile(std::slice::from_ref(&file)).unwrap();
        (file, set)
    }

    #[test]
    fn a_record_of_the_log_is_read_as_sixteen_bytes() {
        let raw = "0500 02 3f41026b 2000 04 0831 6f 03ffff";
        let told = logged(raw).unwrap();
        assert_eq!(told.part, "power/sensor 31h");
        let own = BTreeMap::from([(
            "part".to_owned(),
            RawMatcher::Text("psu/1".into()),
        )]);
        let fields = logged_fields(&told, &own).unwrap();
        let parts = fields.iter().filter(|(name, _)| *name == "part");
        let parts: Vec<_> = parts.map(|(_, value)| *value).collect();
        assert_eq!(parts, [Value::Text(b"psu/1")]);
        for bad in ["", "05", &raw[1..], "zz00 02 3f41026b 2000 04 0831 6f 03"]
        {
            assert!(logged(bad).is_err(), "{bad}");
        }
    }

    const DECODED: &str =
        include_str!("../../fixtures/patterns-good/decoded.yaml");

    #[test]
    fn examples_and_scenarios_of_observations_are_held_to_what_they_give() {
        let (file, set) = load(DECODED);
        let outcome = examples::run(&file, &set);
        assert_eq!((outcome.ran, outcome.failed.len()), (6, 0));
        let outcome = crate::scenario::run(&file, &set.into());
        let failed: Vec<String> =
            outcome.failed.iter().map(|d| d.to_string()).collect();
        assert_eq!((outcome.ran, failed), (1, vec![]));
        let wrong = DECODED.replace("level: generic", "level: l1");
        let (file, set) = load(&wrong);
        assert_eq!(examples::run(&file, &set).failed.len(), 1);
        let mistyped = DECODED.replace("cpu: 9, online", "cpu: 9, onlin");
        let (file, set) = load(&mistyped);
        let failed = examples::run(&file, &set).failed;
        assert!(failed[0].to_string().contains("did you mean `online`?"));
        let outcome = crate::scenario::run(&file, &set.into());
        assert_eq!(outcome.failed.len(), 1);
    }

    fn states(fields: &[(&'static str, Value<'_>)]) -> Vec<Truth> {
        let (_, set) = load(DECODED);
        let (time, mut scratch) = (Timestamp(0), Scratch::default());
        let (_, events) =
            observe(&set.matcher, Source::Host, fields, time, &mut scratch);
        let truth = |event: &Event| match event {
            Event::State(_, truth) => *truth,
            other => panic!("{other:?}"),
        };
        events.iter().map(truth).collect()
    }

    #[test]
    fn a_field_that_could_not_be_read_makes_a_state_unknown() {
        let kind = ("kind", Value::Word("cpu"));
        let cpu = ("cpu", Value::Number(1.0));
        let online = |flag| ("online", Value::Flag(flag));
        assert_eq!(states(&[kind, cpu, online(false)]), [Truth::True]);
        assert_eq!(states(&[kind, cpu, online(true)]), [Truth::False]);
        assert_eq!(states(&[kind, cpu]), [Truth::Unknown]);
    }

    #[test]
    fn a_state_of_another_kind_says_nothing() {
        let kind = ("kind", Value::Word("memory"));
        assert_eq!(states(&[kind, ("corrupted", Value::Number(1.0))]), []);
    }

    #[test]
    fn what_happened_before_this_boot_is_history() {
        let (_, set) = load(DECODED);
        let take = |history| {
            let fields = [
                ("severity", Value::Word("corrected")),
                ("kind", Value::Word("cache")),
                ("level", Value::Word("l1")),
                ("cpu", Value::Number(1.0)),
                ("history", Value::Flag(history)),
            ];
            let (time, mut scratch) = (Timestamp(0), Scratch::default());
            let seen =
                observe(&set.matcher, Source::Mce, &fields, time, &mut scratch);
            match &seen.1[..] {
                [Event::Match(signal)] => {
                    assert!(signal.text.starts_with("cpu=1 "));
                    signal.effect
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(take(true), crate::signal::Effect::History);
        assert_eq!(take(false), crate::signal::Effect::Open);
    }
}
