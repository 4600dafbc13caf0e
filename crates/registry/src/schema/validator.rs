//! As much of a JSON Schema validator as our schemas need. It panics on a keyword it does not know, so that none is ignored.

use serde_json::Value;

pub(super) fn accepts(root: &Value, value: &Value) -> bool {
    valid(root, root, value)
}

fn valid(root: &Value, schema: &Value, value: &Value) -> bool {
    match schema {
        Value::Bool(flag) => *flag,
        Value::Object(keywords) => {
            keywords.iter().all(|(name, keyword)| holds(root, schema, name, keyword, value))
        }
        _ => panic!("no schema: {schema}"),
    }
}

fn holds(root: &Value, schema: &Value, name: &str, keyword: &Value, value: &Value) -> bool {
    let all = |check: &dyn Fn(&Value) -> bool| keyword.as_array().unwrap().iter().all(check);
    match name {
        "$schema" | "$defs" | "title" | "description" | "default" | "format" | "writeOnly"
        | "then" | "else" => true,
        "$ref" => {
            let pointer = keyword.as_str().unwrap().strip_prefix('#').unwrap();
            valid(root, root.pointer(pointer).expect("dangling reference"), value)
        }
        "type" => match keyword {
            Value::Array(names) => names.iter().any(|name| has_type(name.as_str().unwrap(), value)),
            name => has_type(name.as_str().unwrap(), value),
        },
        "const" => keyword == value,
        "enum" => keyword.as_array().unwrap().contains(value),
        "anyOf" => keyword.as_array().unwrap().iter().any(|schema| valid(root, schema, value)),
        "allOf" => all(&|schema| valid(root, schema, value)),
        "not" => !valid(root, keyword, value),
        "if" => {
            let branch = if valid(root, keyword, value) { "then" } else { "else" };
            schema.get(branch).is_none_or(|schema| valid(root, schema, value))
        }
        "required" => value
            .as_object()
            .is_none_or(|members| all(&|key| members.contains_key(key.as_str().unwrap()))),
        "properties" => value.as_object().is_none_or(|members| {
            members.iter().all(|(key, value)| {
                keyword.get(key).is_none_or(|schema| valid(root, schema, value))
            })
        }),
        "additionalProperties" => value.as_object().is_none_or(|members| {
            members
                .iter()
                .filter(|(key, _)| schema["properties"].get(key).is_none())
                .all(|(_, value)| valid(root, keyword, value))
        }),
        "minimum" => value.as_f64().is_none_or(|number| number >= keyword.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|number| number <= keyword.as_f64().unwrap()),
        "pattern" => value.as_str().is_none_or(|text| matches(keyword.as_str().unwrap(), text)),
        _ => panic!("unknown keyword {name}"),
    }
}

fn has_type(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => panic!("unknown type {name}"),
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    match pattern {
        "\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}" => {
            text.split("${").skip(1).any(|rest| rest.contains('}'))
        }
        "^[0-9]+(d|h|m|s|ms)$" => text.parse::<syntrix_storage_core::HumanDuration>().is_ok(),
        _ => panic!("unknown pattern {pattern}"),
    }
}
