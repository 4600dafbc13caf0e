//! A configured block written again as one line of YAML.

use serde_json::{Map, Value};
use syntrix_storage_core::{SettingsNode, SettingsValue};
use syntrix_storage_registry::{ConfiguredBlock, Route, Strategy};

/// What cases of the suite set themselves.
const OWN_KEYS: [&str; 2] = ["softDeleteRetention", "watchRetention"];

/// The block of the configurations that cases write.
const PRIMARY: &str = "main";
const SHADOW: &str = "shadow";

/// JSON is YAML in flow style, so that is what it is.
pub(crate) fn block(block: &ConfiguredBlock) -> String {
    let settings = block.settings.entries().iter();
    let settings = settings.filter(|(key, _, _)| !OWN_KEYS.contains(&key.as_str()));
    let mut members: Map<_, _> =
        settings.map(|(key, _, node)| (key.clone(), value(node))).collect();
    members.insert("kind".into(), block.kind.into());
    Value::Object(members).to_string()
}

/// A route with a shadow, over the blocks [`PRIMARY`] and [`SHADOW`].
pub(crate) fn route(route: &Route) -> String {
    let mut members = serde_json::json!({
        "strategy": route.strategy.as_str(),
        "primary": PRIMARY,
        "shadow": SHADOW,
        "reads": route.reads.as_str(),
    });
    if route.strategy == Strategy::DualWrite {
        members["mirror"] = route.mirror.as_str().into();
    }
    members.to_string()
}

/// `yaml`, if it is a case's configuration of documents in one block, with a shadow beside the block and a route over both.
pub(crate) fn routed(yaml: &str, shadow: &str, route: &str) -> String {
    let block = format!("    {PRIMARY}: ");
    let is_one_store = yaml.contains(&block) && !yaml.contains("routing:");
    if !is_one_store || yaml.contains("  user:") || yaml.contains("  revocation:") {
        return yaml.to_owned();
    }
    format!("{}\n    {SHADOW}: {shadow}\n  routing:\n    document: {route}\n", yaml.trim_end())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_of_one_store_of_documents_gets_the_route() {
        let yaml = "storage:\n  document:\n    backend: main\n    main: {kind: memory}\n";
        let routed = routed(yaml, "{kind: sqlite}", &route(&Route::single("main")));
        let config = crate::StorageConfig::from_yaml(&routed, "route.yaml");
        config.check().unwrap();
        assert!(routed.contains("    shadow: {kind: sqlite}\n  routing:\n"), "{routed}");
    }

    #[test]
    fn other_configurations_stay_as_they_are() {
        let yaml = "storage:\n  user:\n    backend: main\n    main: {kind: memory}\n";
        assert_eq!(routed(yaml, "{kind: sqlite}", "{}"), yaml);
    }
}
