//! The JSON API has the shapes that `docs/api.md` shows.

use std::fs;

use serde_json::Value;

use crate::life::{KMSG, kernel_says, unique, write_pattern};
use crate::support::Agent;

/// The JSON sample under a heading of the documentation.
fn sample(path: &str) -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md");
    let text = fs::read_to_string(file).unwrap();
    let heading = format!("## `{path}`");
    let (_, section) = text.split_once(&heading).expect(path);
    let (_, code) = section.split_once("```json\n").expect(path);
    let (code, _) = code.split_once("```").expect(path);
    serde_json::from_str(code).unwrap()
}

/// Whether two values have the same keys all the way down; lists are
/// compared by their first element, and null has any shape.
fn same_shape(told: &Value, shown: &Value, place: &str) {
    match (told, shown) {
        (Value::Object(told), Value::Object(shown)) => {
            let keys = |map: &serde_json::Map<String, Value>| {
                map.keys().cloned().collect::<Vec<_>>()
            };
            // Left out when false.
            let optional = |key: &String| key == "approximate";
            let mut shown_keys = keys(shown);
            shown_keys.retain(|k| told.contains_key(k) || !optional(k));
            assert_eq!(keys(told), shown_keys, "{place}");
            for (key, value) in told {
                same_shape(value, &shown[key], &format!("{place}.{key}"));
            }
        }
        (Value::Array(told), Value::Array(shown)) => {
            if let (Some(told), Some(shown)) = (told.first(), shown.first()) {
                same_shape(told, shown, &format!("{place}[0]"));
            }
        }
        (Value::Null, _) | (_, Value::Null) => {}
        (told, shown) => assert_eq!(
            std::mem::discriminant(told),
            std::mem::discriminant(shown),
            "{place}: {told} for {shown}"
        ),
    }
}

#[test]
fn answers_have_the_documented_shapes() {
    let directory = tempfile::tempdir().unwrap();
    write_pattern(directory.path());
    let dev = unique("api");
    if !kernel_says(&[format!("<3>faultline drill: {dev} failed")]) {
        return;
    }
    let agent = Agent::start(directory.path(), KMSG);
    agent.log_line("faultline runs");
    agent.until(|a| a.count_of(&dev) == Some(1));
    for path in [
        "/api/v1/node",
        "/api/v1/faults",
        "/api/v1/patterns",
        "/api/v1/history",
        "/api/v1/unexplained",
    ] {
        let told = serde_json::from_str(&agent.get(path).1).unwrap();
        same_shape(&told, &sample(path), path);
    }
    let mut wish = sample("POST /v1/clear");
    wish["fault"] = format!("disk/{dev}").into();
    let (status, answer) = agent.post("/v1/clear", &wish.to_string());
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert!(answer["message"].is_string(), "{answer}");
}
