//! Lets every scalar of a schema be written as a reference too.

use schemars::Schema;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::{Map, Value, json};

/// What moves to the outside when a scalar is wrapped.
const ANNOTATIONS: [&str; 3] = ["description", "default", "title"];

/// After it, each scalar accepts `${NAME}` and `{file: …}` as well; integers also get the bounds that their format implies.
#[derive(Clone, Debug)]
pub(super) struct Loosen;

impl Transform for Loosen {
    fn transform(&mut self, schema: &mut Schema) {
        // References make alternatives overlap.
        if let Some(alternatives) = schema.remove("oneOf") {
            schema.insert("anyOf".into(), alternatives);
        }
        bound(schema);
        if is_scalar(schema.as_value()) {
            wrap(schema);
        } else {
            transform_subschemas(self, schema);
        }
    }
}

/// The two forms of a reference.
pub(super) fn reference() -> Value {
    json!({
        "description": "A value from the environment or from a file.",
        "anyOf": [
            {"type": "string", "pattern": "\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}"},
            {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string"}},
                "additionalProperties": false,
            },
        ],
    })
}

fn is_scalar(schema: &Value) -> bool {
    let scalar = |name: &Value| {
        matches!(name.as_str(), Some("string" | "integer" | "number" | "boolean" | "null"))
    };
    match &schema["type"] {
        Value::Array(names) => {
            return names.iter().all(scalar) && schema["type"] != json!(["null"]);
        }
        name @ Value::String(_) => return scalar(name) && name != "null",
        _ => {}
    }
    schema.get("enum").is_some()
        || schema.get("const").is_some()
        || schema["anyOf"].as_array().is_some_and(|members| members.iter().all(is_scalar))
}

fn wrap(schema: &mut Schema) {
    let mut outer = Map::new();
    for name in ANNOTATIONS {
        if let Some(annotation) = schema.remove(name) {
            outer.insert(name.into(), annotation);
        }
    }
    let inner = schema.clone().to_value();
    outer.insert("anyOf".into(), json!([inner, {"$ref": "#/$defs/reference"}]));
    *schema = outer.into();
}

fn bound(schema: &mut Schema) {
    let bounds = match schema.get("format").and_then(Value::as_str) {
        Some("uint32") => (0, i64::from(u32::MAX)),
        Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => return,
    };
    for (name, bound) in [("minimum", bounds.0), ("maximum", bounds.1)] {
        if schema.get(name).is_none() {
            schema.insert(name.into(), json!(bound));
        }
    }
}
