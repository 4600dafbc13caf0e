//! YAML text to a settings tree with the place of every key and value.

use std::collections::HashSet;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{AliasLimits, DuplicateKeyPolicy, Options};
use serde_saphyr::{Budget, Error, Spanned};
use syntrix_storage_core::{Location, SettingsNode, SettingsValue};

use crate::finding::Finding;

/// Most bytes of a configuration file.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Deepest nesting; the deepest key we know is at 5.
const DEPTH_MAX: usize = 32;

/// Parses one YAML document.
///
/// Booleans are `true` and `false` only, so that `no` is text; a plain scalar is otherwise typed as YAML 1.2 types it, a quoted
/// one is text. Keys must be unique.
pub(crate) fn parse(text: &str) -> Result<SettingsNode, Finding> {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file has more than {FILE_BYTES_MAX} bytes");
        return Err(Finding::new(Location::default(), message));
    }
    let node: Result<Node, Error> = serde_saphyr::from_str_with_options(text, options());
    node.map(|node| node.0).map_err(|error| explain(finding(error.without_snippet()), text))
}

/// A fault of syntax in a line with `${` is probably a plain reference in flow style, where its braces are syntax.
fn explain(finding: Finding, text: &str) -> Finding {
    let index = usize::try_from(finding.location.line).unwrap_or(0).wrapping_sub(1);
    match text.lines().nth(index) {
        Some(line) if finding.message == SYNTAX && line.contains("${") => {
            finding.with_remedy("between { } or [ ] a reference needs quotes: \"${NAME}\"")
        }
        _ => finding,
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        strict_booleans: true,
        duplicate_keys: DuplicateKeyPolicy::Error,
        reject_unsupported_tags: true,
        with_snippet: false,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        alias_limits: alias_limits(),
        budget: budget(),
    }
}

fn alias_limits() -> AliasLimits {
    serde_saphyr::alias_limits! {
        max_total_replayed_events: 10_000,
        max_replay_stack_depth: 8,
        max_alias_expansions_per_anchor: 100,
    }
}

fn budget() -> Option<Budget> {
    serde_saphyr::budget! {
        max_documents: 1,
        max_depth: DEPTH_MAX,
        flow_nesting_limit: DEPTH_MAX,
        max_events: 100_000,
        max_nodes: 50_000,
        max_aliases: 1_000,
        max_anchors: 1_000,
        max_merge_keys: 1_000,
    }
}

/// Phrases of our own: the parser's may quote the file, and with it a secret.
fn finding(error: &Error) -> Finding {
    let message = match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{key}` appears twice")
        }
        Error::DuplicateMappingKey { .. } => "a key appears twice".into(),
        Error::MultipleDocuments { .. } => "the file holds more than one YAML document".into(),
        Error::Eof { .. } => "the file ends in the middle of a value".into(),
        Error::UnknownAnchor { .. } => "the alias names no anchor before it".into(),
        Error::NonFiniteFloat { .. } => "a number must be finite; text belongs in quotes".into(),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "aliases repeat too much of the file".into()
        }
        Error::Budget { .. } => {
            format!("the file is nested deeper than {DEPTH_MAX} levels or has too many entries")
        }
        Error::Message { msg, .. } if msg == NUMBER_TOO_LARGE => NUMBER_TOO_LARGE.into(),
        Error::AliasError { error, .. } => return finding(error),
        _ => SYNTAX.into(),
    };
    Finding::new(error.location().map(location).unwrap_or_default(), message)
}

const SYNTAX: &str =
    "this is not valid YAML (indentation, a missing quote or an unclosed bracket?)";

const NUMBER_TOO_LARGE: &str = "the number is too large; text belongs in quotes";

fn location(location: serde_saphyr::Location) -> Location {
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Location::new(narrow(location.line()), narrow(location.column()))
}

struct Node(SettingsNode);

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self(SettingsNode::new(spanned.value.0, location(spanned.referenced))))
    }
}

struct Value(SettingsValue);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor).map(Self)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = SettingsValue;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<SettingsValue, E> {
        Ok(SettingsValue::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<SettingsValue, E> {
        Ok(SettingsValue::Bool(flag))
    }

    fn visit_i64<E>(self, integer: i64) -> Result<SettingsValue, E> {
        Ok(SettingsValue::Integer(integer))
    }

    fn visit_u64<E: serde::de::Error>(self, integer: u64) -> Result<SettingsValue, E> {
        let integer = i64::try_from(integer).map_err(|_| E::custom(NUMBER_TOO_LARGE))?;
        Ok(SettingsValue::Integer(integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<SettingsValue, E> {
        Ok(SettingsValue::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<SettingsValue, E> {
        Ok(SettingsValue::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<SettingsValue, E> {
        Ok(SettingsValue::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<SettingsValue, A::Error> {
        let mut items = Vec::new();
        while let Some(Node(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(SettingsValue::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<SettingsValue, A::Error> {
        let mut entries: Vec<(String, Location, SettingsNode)> = Vec::new();
        let mut known = HashSet::new();
        while let Some(key) = access.next_key::<Spanned<String>>()? {
            if !known.insert(key.value.clone()) {
                return Err(A::Error::custom("a key appears twice"));
            }
            let Node(node) = access.next_value()?;
            entries.push((key.value, location(key.referenced), node));
        }
        Ok(SettingsValue::Map(entries))
    }
}

#[cfg(test)]
mod tests;
