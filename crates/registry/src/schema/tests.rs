use syntrix_storage_core::{SettingsNode, SettingsValue};

use super::validator::accepts;
use super::*;
use crate::corpus::{self, REQUIREMENT};
use crate::testing::factories;
use crate::yaml;

fn to_json(node: &SettingsNode) -> Value {
    match &node.value {
        SettingsValue::Null => Value::Null,
        SettingsValue::Bool(flag) => json!(flag),
        SettingsValue::Integer(integer) => json!(integer),
        SettingsValue::Float(number) => json!(number),
        SettingsValue::Text(text) => json!(text),
        SettingsValue::List(items) => items.iter().map(to_json).collect(),
        SettingsValue::Map(entries) => {
            let members = entries.iter().map(|(key, _, node)| (key.clone(), to_json(node)));
            Value::Object(members.collect())
        }
    }
}

fn instance(text: &str) -> Value {
    to_json(&yaml::parse(text).unwrap())
}

/// REG-13.
#[test]
fn the_schema_accepts_what_the_parser_accepts() {
    let schema = schema(&factories());
    for text in corpus::accepted() {
        assert!(accepts(&schema, &instance(&text)), "{text}");
    }
    let filled_in = REQUIREMENT.replace("softDeleteRetention: ...", "softDeleteRetention: 30d");
    assert!(accepts(&schema, &instance(&filled_in)));
}

/// REG-13.
#[test]
fn the_schema_rejects_what_the_parser_refuses() {
    let schema = schema(&factories());
    for text in corpus::refused() {
        assert!(!accepts(&schema, &instance(&text)), "{text}");
    }
}

/// Guards against a file in `corpus` that sits in the wrong list: what only the parser sees is fine for the schema.
#[test]
fn names_and_resolved_values_are_left_to_the_parser() {
    let schema = schema(&factories());
    for text in corpus::refused_by_parser_only() {
        if let Ok(root) = yaml::parse(&text) {
            assert!(accepts(&schema, &to_json(&root)), "{text}");
        }
    }
}

#[test]
fn every_reference_inside_the_schema_resolves() {
    fn visit(root: &Value, value: &Value) {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(root.pointer(pointer).is_some(), "{target}");
        }
        match value {
            Value::Object(members) => members.values().for_each(|member| visit(root, member)),
            Value::Array(items) => items.iter().for_each(|item| visit(root, item)),
            _ => {}
        }
    }
    let schema = schema(&factories());
    visit(&schema, &schema);
}

#[test]
fn descriptions_stay_on_the_outside() {
    let schema = schema(&factories());
    let strategy = &schema["$defs"]["routing.document"]["properties"]["strategy"];
    assert_eq!(strategy["default"], json!("single"), "{strategy:#}");
    assert!(strategy["description"].is_string());
}
