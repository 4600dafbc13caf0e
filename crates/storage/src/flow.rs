//! A configured block written again as one line of YAML.

use serde_json::{Map, Value};
use syntrix_storage_core::{SettingsNode, SettingsValue};
use syntrix_storage_registry::ConfiguredBlock;

/// What cases of the suite set themselves.
const OWN_KEYS: [&str; 2] = ["softDeleteRetention", "watchRetention"];

/// JSON is YAML in flow style, so that is what it is.
pub(crate) fn block(block: &ConfiguredBlock) -> String {
    let settings = block.settings.entries().iter();
    let settings = settings.filter(|(key, _, _)| !OWN_KEYS.contains(&key.as_str()));
    let mut members: Map<_, _> =
        settings.map(|(key, _, node)| (key.clone(), value(node))).collect();
    members.insert("kind".into(), block.kind.into());
    Value::Object(members).to_string()
}

fn value(node: &SettingsNode) -> Value {
    match &node.value {
        SettingsValue::Null => Value::Null,
        SettingsValue::Bool(flag) => (*flag).into(),
        SettingsValue::Integer(number) => (*number).into(),
        SettingsValue::Float(number) => (*number).into(),
        SettingsValue::Text(text) => text.as_str().into(),
        SettingsValue::List(items) => items.iter().map(value).collect(),
        SettingsValue::Map(entries) => {
            Value::Object(entries.iter().map(|(key, _, node)| (key.clone(), value(node))).collect())
        }
    }
}
