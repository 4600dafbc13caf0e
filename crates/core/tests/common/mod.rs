//! What the tests of the rules share.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Debug;

use serde_json::Value;
use syntrix_storage_core::{
    Body, Document, DocumentPath, ErrorKind, Query, QueryPlan, Reason, Result, Scalar, Timestamp,
};

/// The rule that was broken.
pub fn reason<T: Debug>(outcome: Result<T>) -> Reason {
    let error = outcome.expect_err("a rule is broken and nobody noticed");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    error.reason().expect("an invalid argument names its rule")
}

pub fn path(text: &str) -> DocumentPath {
    DocumentPath::parse(text).unwrap()
}

pub fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_milliseconds(milliseconds)
}

/// A live document with this data, as a backend would return it.
pub fn document(text: &str, data: &Value) -> Document {
    Document::first(path(text), at(1000), Body::from_canonical(data.to_string()))
}

pub fn plan(query: Query) -> QueryPlan {
    QueryPlan::check(query).unwrap()
}

pub fn scalar(value: &Value) -> Scalar {
    Scalar::from_value(value).unwrap()
}

/// `leaf` inside `levels` objects.
pub fn nested(levels: usize, leaf: Value) -> Value {
    (0..levels).fold(leaf, |value, _| serde_json::json!({ "a": value }))
}
