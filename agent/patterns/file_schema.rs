//! The published JSON Schema, made from the types of a pattern file.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::*;

/// Schemas of the hand-written shapes above.
macro_rules! schema {
    ($type:ty, $name:literal, $schema:tt) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

schema!(OneOrMany, "OneOrMany", {
    "oneOf": [
        { "type": "string" },
        { "type": "array", "items": { "type": "string" } }
    ]
});
schema!(RawMatcher, "Matcher", {
    "oneOf": [
        { "type": ["string", "boolean", "number"] },
        { "type": "array", "items": { "type": "string" } }
    ]
});
schema!(RawCount, "Count", { "type": ["string", "integer"], "minimum": 0 });
schema!(RawGives, "Gives", {
    "oneOf": [
        { "const": "nothing" },
        {
            "type": "object",
            "properties": {
                "part": { "type": "string" },
                "count": { "type": "integer", "minimum": 0 },
                "proof": { "const": "recovered" }
            },
            "additionalProperties": false
        }
    ]
});

impl<T: JsonSchema> JsonSchema for At<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    let mut schema = schemars::schema_for!(PatternFile).to_value();
    schema["title"] = "Faultline pattern file".into();
    let made = format!("{schema:#}\n");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        let dir = env!("CARGO_MANIFEST_DIR");
        std::fs::write(format!("{dir}/patterns/schema.json"), &made).unwrap();
    } else {
        assert_eq!(SCHEMA, made, "UPDATE_SCHEMA=1 cargo test --lib schema");
    }
}
