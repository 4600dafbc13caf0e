//! Whether two databases hold the same document, however each of them writes JSON down.

use serde_json::{Number, Value};
use syntrix_storage_core::Document;

/// Whether version, times, tombstone mark and data are equal. Order of members and form of numbers are each database's own.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::{Body, Document, DocumentPath, Timestamp};
/// use syntrix_storage_routing::same_content;
///
/// let path = DocumentPath::parse("rooms/lobby")?;
/// let with = |text| Document::first(path.clone(), Timestamp::default(), Body::from_canonical(text));
/// assert!(same_content(&with(r#"{"a":1,"b":2.0}"#), &with(r#"{"b":2,"a":1}"#)));
/// assert!(!same_content(&with(r#"{"a":1}"#), &with(r#"{"a":2}"#)));
/// # Ok::<(), syntrix_storage_core::Error>(())
/// ```
pub fn same_content(left: &Document, right: &Document) -> bool {
    if left.path() != right.path() || left.metadata() != right.metadata() {
        return false;
    }
    left.raw() == right.raw()
        || match (left.value(), right.value()) {
            (Ok(left), Ok(right)) => same_value(&left, &right),
            _ => false,
        }
}

fn same_value(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => same_number(left, right),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| same_value(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| {
                    right.get(key).is_some_and(|other| same_value(value, other))
                })
        }
        _ => left == right,
    }
}

/// Integers are compared as such: beyond 2^53 two of them may have one float.
fn same_number(left: &Number, right: &Number) -> bool {
    match (left.as_i64(), right.as_i64()) {
        (Some(left), Some(right)) => left == right,
        _ => left.as_f64() == right.as_f64(),
    }
}
