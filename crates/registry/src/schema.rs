//! JSON Schema of a configuration file.

mod loosen;

use schemars::transform::Transform;
use schemars::{Schema, schema_for};
use serde_json::{Map, Value, json};
use syntrix_storage_core::backend::{BackendFactory, StoreKind};

use crate::check::{ROUTING, STORAGE};
use crate::factories::Factories;
use crate::routing::RoutingSettings;
use crate::section::{BACKEND, KIND};
use loosen::Loosen;

const ROUTING_OF_DOCUMENTS: &str = "routing.document";
/// Of accounts and revoked tokens, which the primary alone decides.
const ROUTING_OF_IDENTITY: &str = "routing.identity";

/// JSON Schema (draft 2020-12) of a whole configuration file, for editors and pipelines.
///
/// It is made from the types that parse the file and from what every registered factory says about its block. It cannot say that
/// a route names an existing block, nor what a reference resolves to: [`check`](crate::check) does.
///
/// # Examples
///
/// ```
/// use syntrix_storage_registry::{Factories, schema};
///
/// assert_eq!(schema(&Factories::new())["required"][0], "storage");
/// ```
pub fn schema(factories: &Factories) -> Value {
    let mut definitions = Map::new();
    definitions.insert("reference".into(), loosen::reference());
    definitions.insert(ROUTING_OF_DOCUMENTS.into(), routing(true));
    definitions.insert(ROUTING_OF_IDENTITY.into(), routing(false));
    for factory in factories.iter() {
        define(factory, &mut definitions);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of syntrix-storage",
        "type": "object",
        "required": [STORAGE],
        "additionalProperties": false,
        "properties": {STORAGE: storage(factories)},
        "$defs": definitions,
    })
}

fn storage(factories: &Factories) -> Value {
    let mut properties: Map<String, Value> = StoreKind::ALL
        .into_iter()
        .map(|store| (store.section().to_owned(), section(store, factories)))
        .collect();
    properties.insert(ROUTING.into(), routings());
    let rules: Vec<Value> = StoreKind::ALL.into_iter().flat_map(rules).collect();
    json!({
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": properties,
        "allOf": rules,
    })
}

/// A section needs `backend` unless its routing has `primary`; routing needs its section.
fn rules(store: StoreKind) -> [Value; 2] {
    let section = store.section();
    let routed = |route: Value| {
        json!({"required": [ROUTING], "properties": {ROUTING: {
            "type": "object", "required": [section], "properties": {section: route}
        }}})
    };
    let has_primary = routed(json!({"type": "object", "required": ["primary"]}));
    [
        json!({
            "if": {"type": "object", "required": [section], "not": has_primary},
            "then": {"properties": {section: {"required": [BACKEND]}}},
        }),
        json!({
            "if": {"allOf": [{"type": "object"}, routed(json!({}))]},
            "then": {"required": [section]},
        }),
    ]
}

fn section(store: StoreKind, factories: &Factories) -> Value {
    let kinds = factories.kinds_for(store);
    let named: Vec<Value> = kinds.iter().map(|kind| definition(&named_block(kind))).collect();
    let named = if named.is_empty() { json!(false) } else { json!({"anyOf": named}) };
    let mut properties: Map<String, Value> = kinds
        .iter()
        .map(|kind| {
            let block = json!({
                "if": {"type": "object", "required": [KIND]},
                "then": named,
                "else": definition(&block(kind)),
            });
            ((*kind).to_owned(), block)
        })
        .collect();
    let backend = json!({
        "description": "The block to use.",
        "anyOf": [{"type": "string"}, definition("reference")],
    });
    properties.insert(BACKEND.into(), backend);
    json!({
        "description": format!("Where the {} are.", store.as_str()),
        "type": "object",
        "properties": properties,
        "additionalProperties": named,
    })
}

/// Defines a factory's block twice, whose `kind` is its name or must be said, and what both refer to.
fn define(factory: &dyn BackendFactory, definitions: &mut Map<String, Value>) {
    let kind = factory.kind();
    let mut settings = factory.settings_schema();
    prefix_references(&mut settings, kind);
    if let Ok(settings) = <&mut Schema>::try_from(&mut settings) {
        Loosen.transform(settings);
    }
    let Value::Object(mut settings) = settings else {
        return;
    };
    settings.remove("$schema");
    settings.remove("title");
    if let Some(Value::Object(own)) = settings.remove("$defs") {
        definitions
            .extend(own.into_iter().map(|(name, schema)| (format!("{kind}.{name}"), schema)));
    }
    let properties = settings.entry("properties").or_insert_with(|| json!({}));
    properties[KIND] = json!({"const": kind, "description": "The kind of backend."});
    definitions.insert(named_block(kind), requiring_kind(settings.clone()));
    definitions.insert(block(kind), or_null(settings));
}

fn requiring_kind(mut settings: Map<String, Value>) -> Value {
    let required = settings.entry("required").or_insert_with(|| json!([]));
    if let Value::Array(required) = required {
        required.push(json!(KIND));
    }
    Value::Object(settings)
}

/// A block that needs no setting may be left empty.
fn or_null(mut settings: Map<String, Value>) -> Value {
    let needs_nothing =
        settings.get("required").and_then(Value::as_array).is_none_or(Vec::is_empty);
    if needs_nothing && settings.get("type") == Some(&json!("object")) {
        settings.insert("type".into(), json!(["object", "null"]));
    }
    Value::Object(settings)
}

/// `#/$defs/Name` of a factory's schema becomes `#/$defs/kind.Name`.
fn prefix_references(value: &mut Value, kind: &str) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(target)) = members.get_mut("$ref")
                && let Some(name) = target.strip_prefix("#/$defs/")
            {
                *target = format!("#/$defs/{kind}.{name}");
            }
            members.values_mut().for_each(|member| prefix_references(member, kind));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| prefix_references(item, kind)),
        _ => {}
    }
}

fn routings() -> Value {
    let properties: Map<String, Value> = StoreKind::ALL
        .into_iter()
        .map(|store| (store.section().to_owned(), definition(routing_name(store))))
        .collect();
    json!({
        "description": "How the operations of each store are routed.",
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": properties,
    })
}

fn routing_name(store: StoreKind) -> &'static str {
    match store {
        StoreKind::Documents => ROUTING_OF_DOCUMENTS,
        StoreKind::Users | StoreKind::Revocations => ROUTING_OF_IDENTITY,
    }
}

/// The schema of the type, and the pairs that the rules allow.
fn routing(of_documents: bool) -> Value {
    let mut schema = schema_for!(RoutingSettings);
    Loosen.transform(&mut schema);
    schema.remove("$schema");
    schema.remove("title");
    schema.insert("type".into(), json!(["object", "null"]));
    let single =
        json!({"reads": words(&["primary"]), "writes": words(&["primary"]), "mirror": false});
    let mut absent_or_single = strategy("single");
    absent_or_single["required"] = json!([]);
    let mut dual_write = json!({"writes": words(&["both"])});
    let mut read_replica = json!({
        "reads": words(&["shadow", "both"]), "writes": words(&["primary"]), "mirror": false
    });
    if !of_documents {
        dual_write["reads"] = words(&["primary"]);
        read_replica = json!({"strategy": false});
    }
    schema.insert(
        "allOf".into(),
        json!([
            {"if": absent_or_single, "then": {"properties": single}},
            {"if": strategy("dual-write"), "then": {"required": ["shadow"], "properties": dual_write}},
            {"if": strategy("read-replica"), "then": {"required": ["shadow"], "properties": read_replica}},
        ]),
    );
    schema.to_value()
}

fn strategy(name: &str) -> Value {
    json!({"type": "object", "required": ["strategy"], "properties": {"strategy": {"const": name}}})
}

fn words(words: &[&str]) -> Value {
    json!({"anyOf": [{"enum": words}, definition("reference")]})
}

fn definition(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

fn block(kind: &str) -> String {
    format!("block.{kind}")
}

fn named_block(kind: &str) -> String {
    format!("block.{kind}.named")
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod validator;
