//! The commented sample configuration, made from the fields' doc comments
//! and their defaults, so that it can't fall behind the code.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::Config;

/// The width at which comments wrap.
const WIDTH: usize = 78;

/// The sample: every key with its default, commented out.
pub fn sample() -> String {
    let schema = schemars::schema_for!(Config).to_value();
    let defaults = serde_json::to_value(Config::default())
        .expect("a configuration has only text keys");
    let mut out = String::from(
        "# Faultline's configuration. Every key is optional; what is\n\
         # commented out is the default. A flag of `faultline run` wins over\n\
         # the key of the same name.\n",
    );
    // In the order of the struct, which neither map keeps.
    for key in [
        "node",
        "mode",
        "state_dir",
        "socket",
        "socket_group",
        "listen",
        "patterns",
        "sources",
        "kubernetes",
        "log",
        "devices",
        "root",
    ] {
        out.push('\n');
        write_key(&mut out, &schema, &schema, key, &defaults[key], 0);
    }
    out
}

/// Writes one key below its comment; `of` is the schema of its struct.
fn write_key(
    out: &mut String,
    schema: &Value,
    of: &Value,
    key: &str,
    value: &Value,
    depth: usize,
) {
    let property = &of["properties"][key];
    let indent = "  ".repeat(depth);
    let doc = property["description"].as_str().unwrap_or_default();
    for line in wrap(doc, WIDTH - 2 - indent.len()) {
        // Writing to a String cannot fail, here and below.
        let _ = match depth {
            0 => writeln!(out, "# {line}"),
            _ => writeln!(out, "#{indent}# {line}"),
        };
    }
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let _ = writeln!(out, "#{indent}{key}:");
            let inner = resolve(schema, property);
            for (key, value) in ordered(fields) {
                write_key(out, schema, inner, key, value, depth + 1);
            }
        }
        value => {
            let _ = writeln!(out, "#{indent}{key}: {}", scalar(value));
        }
    }
}

/// The definition that a property refers to.
fn resolve<'a>(schema: &'a Value, property: &'a Value) -> &'a Value {
    let name = property["$ref"].as_str().and_then(|r| r.rsplit('/').next());
    name.map_or(property, |name| &schema["$defs"][name])
}

/// `enabled` first, else by name.
fn ordered(fields: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|(key, _)| (key.as_str() != "enabled", *key));
    fields
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(scalar).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = "systemd/config.yaml";

    #[test]
    fn the_shipped_sample_is_what_the_code_says() {
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(SHIPPED);
        let shipped = std::fs::read_to_string(&path).unwrap_or_default();
        if std::env::var_os("UPDATE_SAMPLES").is_some() {
            std::fs::write(&path, sample()).unwrap();
        } else {
            assert_eq!(
                shipped,
                sample(),
                "{SHIPPED} is behind the code; run the tests once with \
                 UPDATE_SAMPLES=1"
            );
        }
    }

    #[test]
    fn the_sample_taken_at_its_word_is_the_default() {
        // Prose stands one space behind the mark, keys at their indent.
        let prose = |line: &&str| {
            line.strip_prefix("# ").is_some_and(|l| !l.starts_with(' '))
        };
        let plain: String = sample()
            .lines()
            .filter(|line| !prose(line))
            .map(|line| format!("{}\n", line.trim_start_matches('#')))
            .collect();
        assert!(plain.contains("\n    accept_userspace: false\n"));
        let config = Config::parse(&plain, "sample").unwrap();
        assert_eq!(config, Config::default(), "{plain}");
        let every_key = Config::parse(&sample(), "sample").unwrap();
        assert_eq!(every_key, Config::default());
    }

    #[test]
    fn no_key_is_missing_from_the_sample() {
        let value = serde_json::to_value(Config::default()).unwrap();
        for key in value.as_object().unwrap().keys() {
            assert!(sample().contains(&format!("\n#{key}:")), "{key}");
        }
    }
}
