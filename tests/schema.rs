//! The published JSON Schema says what the loader takes: it is in step with
//! the code, accepts every shipped file, and refuses misshapen ones.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn schema() -> Value {
    let path = harness::root().join("patterns/schema.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn yaml(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    serde_saphyr::from_str(&text)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn files(dir: &str) -> Vec<PathBuf> {
    let dir = harness::root().join(dir);
    let mut all: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
        .collect();
    all.sort();
    all
}

#[test]
fn the_copy_in_patterns_is_what_the_command_prints() {
    let (status, printed) = harness::run(&["schema"]);
    assert_eq!(status, 0);
    let path = harness::root().join("patterns/schema.json");
    let copy = fs::read_to_string(path).unwrap();
    assert_eq!(copy, printed);
}

#[test]
fn every_shipped_file_fits_the_schema() {
    let schema = schema();
    let files = [files("patterns"), files("fixtures/patterns-good")].concat();
    assert!(files.len() > 10);
    for file in files {
        if let Err(why) = fits(&yaml(&file), &schema, &schema) {
            panic!("{}: {why}", file.display());
        }
    }
}

#[test]
fn misshapen_files_do_not_fit_the_schema() {
    let schema = schema();
    for name in [
        "unknown-field",
        "unknown-field-in-then",
        "unknown-field-in-gives",
        "unknown-key-of-file",
        "unknown-severity",
        "unknown-source",
        "unknown-proof",
        "missing-version",
        "name-missing",
        "patterns-not-a-list",
        "list-for-a-sentence",
        "gives-something",
        "negative-count",
    ] {
        let path = format!("fixtures/patterns-bad/{name}.yaml");
        let value = yaml(&harness::root().join(path));
        assert!(fits(&value, &schema, &schema).is_err(), "{name} fits");
    }
}

/// The part of JSON Schema that the published schema uses. An unknown
/// keyword is an error, so that a new one cannot pass unseen.
fn fits(value: &Value, schema: &Value, root: &Value) -> Result<(), String> {
    let Some(schema) = schema.as_object() else {
        return match schema {
            Value::Bool(true) => Ok(()),
            other => Err(format!("{other} takes nothing")),
        };
    };
    for (keyword, rule) in schema {
        let good = match keyword.as_str() {
            "$schema" | "title" | "description" | "$defs" | "default"
            | "format" => true,
            "$ref" => {
                let path = rule.as_str().unwrap().trim_start_matches('#');
                let target = root.pointer(path).expect("it is defined");
                return fits(value, target, root);
            }
            "type" => has_type(value, rule),
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|v| {
                v >= rule.as_f64().expect("a minimum is a number")
            }),
            "maximum" => value.as_f64().is_none_or(|v| {
                v <= rule.as_f64().expect("a maximum is a number")
            }),
            "oneOf" | "anyOf" => {
                let all = rule.as_array().unwrap();
                let fitting =
                    all.iter().filter(|s| fits(value, s, root).is_ok());
                let count = fitting.count();
                count == 1 || (keyword == "anyOf" && count > 1)
            }
            "items" => {
                for one in value.as_array().into_iter().flatten() {
                    fits(one, rule, root)?;
                }
                true
            }
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        fits(value, rule, root)
                            .map_err(|e| format!("{name}: {e}"))?;
                    }
                }
                true
            }
            "required" => {
                let all = rule.as_array().unwrap();
                all.iter().all(|n| value.get(n.as_str().unwrap()).is_some())
            }
            "additionalProperties" => {
                let known = schema.get("properties");
                let names = value.as_object().into_iter().flatten();
                for (name, value) in names {
                    if known.is_none_or(|k| k.get(name).is_none()) {
                        fits(value, rule, root)
                            .map_err(|e| format!("{name}: {e}"))?;
                    }
                }
                true
            }
            other => panic!("this test does not know `{other}`"),
        };
        if !good {
            return Err(format!("{value} breaks {keyword}: {rule}"));
        }
    }
    Ok(())
}

fn has_type(value: &Value, rule: &Value) -> bool {
    if let Some(all) = rule.as_array() {
        return all.iter().any(|one| has_type(value, one));
    }
    match rule.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("this test does not know the type `{other}`"),
    }
}
