//! The value domain: what a document may hold, and its one normal form.

use serde_json::{Map, Number, Value};

use crate::document::Body;
use crate::error::{Error, Reason, Result};
use crate::field::SystemField;
use crate::path::DocumentPath;

/// Most bytes of a document's canonical JSON.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// Most levels of nesting; the data object is level 1 and arrays count.
pub const DEPTH_MAX: usize = 64;
/// Most bytes of one key.
pub const KEY_BYTES_MAX: usize = 512;
/// Most bytes of a string that filters and orders compare.
pub const COMPARABLE_BYTES_MAX: usize = 512;

/// 2^63 as a double: the first one above every i64.
pub(crate) const I64_END: f64 = 9_223_372_036_854_775_808.0;

/// Checks `data` for the document at `path` and brings it into normal form: integral doubles become integers,
/// `-0.0` becomes `0`, a top-level `id` equal to the document's own is dropped.
///
/// # Errors
///
/// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) with the broken rule.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use syntrix_storage_core::{DocumentPath, normalize_data};
///
/// # fn main() -> syntrix_storage_core::Result<()> {
/// let path = DocumentPath::parse("rooms/lobby")?;
/// let data = normalize_data(&path, json!({"id": "lobby", "seats": 12.0}))?;
/// assert_eq!(data, *json!({"seats": 12}).as_object().unwrap());
/// # Ok(())
/// # }
/// ```
pub fn normalize_data(path: &DocumentPath, data: Value) -> Result<Map<String, Value>> {
    let Value::Object(mut members) = data else {
        return Err(Error::invalid(
            "data",
            Reason::DataNotObject,
            "document data is a JSON object",
        )
        .with_fact("value", kind_of(&data)));
    };
    drop_own_id(path, &mut members)?;
    if let Some(name) = members.keys().find(|key| SystemField::is_reserved(key)) {
        return Err(reserved(name));
    }
    normalize_members(&mut members, 1)?;
    Ok(members)
}

/// Encodes normal data as the canonical JSON a backend stores.
///
/// # Errors
///
/// [`Reason::TooLarge`] above 1 MiB.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use syntrix_storage_core::{DocumentPath, encode_data, normalize_data};
///
/// let data = normalize_data(&DocumentPath::parse("c/a")?, json!({"b": 1.0, "a": 2}))?;
/// assert_eq!(encode_data(data)?.as_str(), r#"{"a":2,"b":1}"#);
/// # Ok::<(), syntrix_storage_core::Error>(())
/// ```
pub fn encode_data(members: Map<String, Value>) -> Result<Body> {
    let text = Value::Object(members).to_string();
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(Error::invalid(
            "data",
            Reason::TooLarge,
            "a document has at most 1 MiB of JSON",
        )
        .with_fact("bytes", text.len())
        .with_fact("limit", DOCUMENT_BYTES_MAX));
    }
    Ok(Body::from_canonical(text))
}

pub(crate) fn reserved(name: &str) -> Error {
    Error::invalid(name, Reason::ReservedField, "this name belongs to the store; use another one")
}

fn drop_own_id(path: &DocumentPath, members: &mut Map<String, Value>) -> Result<()> {
    match members.get("id") {
        None => Ok(()),
        Some(Value::String(id)) if id == path.id() => {
            members.remove("id");
            Ok(())
        }
        Some(_) => Err(Error::invalid(
            "id",
            Reason::ReservedField,
            "a top-level id must be the string that ends the document's path, or be left out",
        )),
    }
}

/// Brings one value that will lie at `level` into normal form.
pub(crate) fn normalize_value(value: &mut Value, level: usize) -> Result<()> {
    match value {
        Value::Null | Value::Bool(_) => Ok(()),
        Value::Number(number) => {
            *number = normalize_number(number)?;
            Ok(())
        }
        Value::String(text) => check_string(text),
        Value::Array(items) => {
            check_level(level)?;
            items.iter_mut().try_for_each(|item| normalize_value(item, level + 1))
        }
        Value::Object(members) => normalize_members(members, level),
    }
}

fn normalize_members(members: &mut Map<String, Value>, level: usize) -> Result<()> {
    check_level(level)?;
    for (key, value) in members.iter_mut() {
        check_key(key)?;
        normalize_value(value, level + 1)?;
    }
    Ok(())
}

/// Integers stay, integral doubles inside i64 become integers, other doubles stay.
pub(crate) fn normalize_number(number: &Number) -> Result<Number> {
    if number.is_i64() {
        return Ok(number.clone());
    }
    if number.is_u64() {
        return Err(out_of_range());
    }
    let double = number.as_f64().filter(|double| double.is_finite()).ok_or_else(out_of_range)?;
    if double.fract() == 0.0 && (-I64_END..I64_END).contains(&double) {
        return Ok(Number::from(double as i64));
    }
    Number::from_f64(double).ok_or_else(out_of_range)
}

fn out_of_range() -> Error {
    Error::invalid(
        "number",
        Reason::NumberOutOfRange,
        "integers are at most 64 bits signed and doubles are finite; send larger numbers as strings",
    )
}

pub(crate) fn check_key(key: &str) -> Result<()> {
    if key.len() > KEY_BYTES_MAX {
        return Err(Error::invalid("key", Reason::KeyTooLong, "a key has at most 512 bytes")
            .with_fact("bytes", key.len())
            .with_fact("limit", KEY_BYTES_MAX));
    }
    if key.contains('\0') {
        return Err(Error::invalid("key", Reason::KeyNul, "a key must not contain U+0000"));
    }
    Ok(())
}

fn check_string(text: &str) -> Result<()> {
    if text.contains('\0') {
        return Err(Error::invalid(
            "string",
            Reason::StringNul,
            "a string must not contain U+0000; encode binary data as base64",
        ));
    }
    Ok(())
}

fn check_level(level: usize) -> Result<()> {
    if level > DEPTH_MAX {
        return Err(Error::invalid("data", Reason::TooDeep, "data has at most 64 levels")
            .with_fact("limit", DEPTH_MAX));
    }
    Ok(())
}

/// The JSON name of a value's type, for messages that must not show the value.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
