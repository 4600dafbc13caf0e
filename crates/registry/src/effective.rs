//! A checked configuration written out: every default of routing filled in, every secret left out.

use std::fmt::Write as _;

use serde_json::{Value, json};
use syntrix_storage_core::backend::StoreKind;
use syntrix_storage_core::{SettingsNode, SettingsValue};

use crate::check::{ROUTING, STORAGE};
use crate::factories::Factories;
use crate::plan::{StoragePlan, StorePlan, Strategy};
use crate::section::{BACKEND, KIND};

const REDACTED: &str = "[redacted]";

/// The text. `written` is the tree before references were resolved, so that a reference is written as a reference.
pub(crate) fn effective(
    written: &SettingsNode,
    plan: &StoragePlan,
    factories: &Factories,
) -> String {
    let mut writer =
        Writer { written: written.get(STORAGE), factories, text: format!("{STORAGE}:\n") };
    let stores =
        || StoreKind::ALL.into_iter().filter_map(|store| Some((store, plan.store(store)?)));
    stores().for_each(|(store, plan)| writer.section(store, plan));
    if stores().next().is_some() {
        writer.line(1, ROUTING, "");
    }
    stores().for_each(|(store, plan)| writer.route(store, plan));
    writer.text
}

struct Writer<'check> {
    written: Option<&'check SettingsNode>,
    factories: &'check Factories,
    text: String,
}

impl Writer<'_> {
    fn section(&mut self, store: StoreKind, plan: &StorePlan) {
        self.line(1, store.section(), "");
        self.line(2, BACKEND, &name(&plan.route.primary));
        for block in &plan.blocks {
            self.line(2, &block.name, "");
            self.line(3, KIND, block.kind);
            let schema = self.factories.get(block.kind).map(|factory| factory.settings_schema());
            let node = self.written.and_then(|node| node.get(store.section())?.get(&block.name));
            for (key, _, value) in node.map_or(&[][..], SettingsNode::entries) {
                if key != KIND {
                    let value = setting(key, value, schema.as_ref());
                    self.line(3, key, &value.to_string());
                }
            }
        }
    }

    fn route(&mut self, store: StoreKind, plan: &StorePlan) {
        let route = &plan.route;
        self.line(2, store.section(), "");
        self.line(3, "strategy", route.strategy.as_str());
        self.line(3, "primary", &name(&route.primary));
        if let Some(shadow) = &route.shadow {
            self.line(3, "shadow", &name(shadow));
        }
        self.line(3, "reads", route.reads.as_str());
        self.line(3, "writes", route.writes.as_str());
        if route.strategy == Strategy::DualWrite {
            self.line(3, "mirror", route.mirror.as_str());
        }
    }

    fn line(&mut self, level: usize, key: &str, value: &str) {
        let key = if is_plain(key) { key.to_owned() } else { json!(key).to_string() };
        let indent = "  ".repeat(level);
        let space = if value.is_empty() { "" } else { " " };
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{indent}{key}:{space}{value}");
    }
}

/// The name of a block: a key of its section, so it stands in the file and is no secret.
fn name(name: &str) -> String {
    json!(name).to_string()
}

fn is_plain(key: &str) -> bool {
    key.starts_with(|first: char| first.is_ascii_alphabetic())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && !matches!(key.to_ascii_lowercase().as_str(), "null" | "true" | "false")
}

/// A setting as JSON, which is YAML too. A secret that stands in the file itself is left out, a reference to one is not.
fn setting(key: &str, value: &SettingsNode, schema: Option<&Value>) -> Value {
    if is_reference(value) || !may_be_secret(key, schema) {
        to_json(value)
    } else {
        json!(REDACTED)
    }
}

fn is_reference(value: &SettingsNode) -> bool {
    match value.as_text() {
        Some(text) => {
            text.starts_with("${") && text.ends_with('}') && text.matches('}').count() == 1
        }
        None => {
            matches!(value.entries(), [(key, _, path)] if key == "file" && path.as_text().is_some())
        }
    }
}

/// Whether the schema marks the setting, or anything in it, as a secret.
fn may_be_secret(key: &str, schema: Option<&Value>) -> bool {
    let Some(schema) = schema else {
        return true;
    };
    let setting = schema["properties"][key].to_string();
    let elsewhere =
        setting.contains("\"$ref\"") && schema["$defs"].to_string().contains("\"writeOnly\"");
    setting == "null" || setting.contains("\"writeOnly\"") || elsewhere
}

fn to_json(node: &SettingsNode) -> Value {
    match &node.value {
        SettingsValue::Null => Value::Null,
        SettingsValue::Bool(flag) => json!(flag),
        SettingsValue::Integer(integer) => json!(integer),
        SettingsValue::Float(number) => json!(number),
        SettingsValue::Text(text) => json!(text),
        SettingsValue::List(items) => items.iter().map(to_json).collect(),
        SettingsValue::Map(entries) => {
            entries.iter().map(|(key, _, node)| (key.clone(), to_json(node))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus;
    use crate::testing::{CANARY, TestEnvironment, factories};

    fn plan(text: &str) -> StoragePlan {
        let environment = TestEnvironment::new()
            .with("DSN", CANARY)
            .with("PASSWORD", CANARY)
            .with("NUMBER", "7")
            .with("FLAG", "true")
            .with("DURATION", "5s")
            .with("STRATEGY", "dual-write");
        environment.write("secret", CANARY);
        crate::check(text, "f.yaml", &factories(), &environment)
            .unwrap_or_else(|errors| panic!("{text}\n{errors}"))
    }

    /// REG-14.
    #[test]
    fn the_effective_configuration_means_the_same_and_is_its_own_effective_configuration() {
        for text in corpus::accepted() {
            let first = plan(&text);
            let second = plan(&first.effective);
            assert_eq!(first.effective, second.effective);
            for store in StoreKind::ALL {
                let (first, second) = (first.store(store), second.store(store));
                assert_eq!(first.map(|plan| &plan.route), second.map(|plan| &plan.route));
                let blocks = |plan: Option<&StorePlan>| -> Vec<(String, &'static str)> {
                    let blocks = plan.map_or(&[][..], |plan| &plan.blocks);
                    blocks.iter().map(|block| (block.name.clone(), block.kind)).collect()
                };
                assert_eq!(blocks(first), blocks(second), "{text}");
            }
        }
    }

    #[test]
    fn secrets_are_left_out_and_references_are_not() {
        for (dsn, shown) in [
            ("canary-hunter2", "dsn: \"[redacted]\""),
            ("\"x${PASSWORD}canary-hunter2\"", "dsn: \"[redacted]\""),
            ("\"${DSN}\"", "dsn: \"${DSN}\""),
            ("{file: secret}", "dsn: {\"file\":\"secret\"}"),
        ] {
            let effective = plan(&corpus::postgres(&format!("dsn: {dsn}, tls: true"))).effective;
            assert!(effective.contains(shown) && !effective.contains(CANARY), "{effective}");
            assert!(effective.contains("      tls: true\n"), "{effective}");
        }
    }
}
