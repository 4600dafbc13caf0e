//! The value domain: what a document may hold, and its normal form.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{at, document, nested, path, reason};
use serde_json::{Map, Value, json};
use syntrix_storage_core::{
    Body, DEPTH_MAX, DOCUMENT_BYTES_MAX, Document, ErrorKind, KEY_BYTES_MAX, Reason, Result,
    Version, encode_data, normalize_data,
};

fn normalize(data: Value) -> Result<Map<String, Value>> {
    normalize_data(&path("c/own"), data)
}

fn normal(data: Value) -> Value {
    Value::Object(normalize(data).unwrap())
}

#[test]
fn data_not_object() {
    for data in [json!(null), json!(1), json!("{}"), json!([]), json!(true)] {
        assert_eq!(reason(normalize(data)), Reason::DataNotObject);
    }
}

#[test]
fn reserved_field_at_the_top_and_only_there() {
    let system =
        ["_id", "fullpath", "collection", "parent", "createdAt", "updatedAt", "version", "deleted"];
    for name in system {
        assert_eq!(reason(normalize(json!({ name: 1 }))), Reason::ReservedField, "{name}");
        let below = json!({"a": {name: 1}, "b": [{name: 2}]});
        assert_eq!(normal(below.clone()), below);
    }
    for name in ["ID", "Version", "created_at", "_ID", "deleted ", ""] {
        assert!(normalize(json!({ name: 1 })).is_ok(), "{name:?}");
    }
}

#[test]
fn the_own_id_is_dropped_and_any_other_is_reserved() {
    assert_eq!(normal(json!({"id": "own", "n": 1})), json!({"n": 1}));
    for id in [json!("other"), json!("c/own"), json!(1), json!(null), json!(["own"])] {
        assert_eq!(reason(normalize(json!({ "id": id }))), Reason::ReservedField);
    }
    assert_eq!(normal(json!({"a": {"id": 5}})), json!({"a": {"id": 5}}));
}

#[test]
fn number_out_of_range() {
    for number in [9_223_372_036_854_775_808u64, u64::MAX] {
        assert_eq!(reason(normalize(json!({ "n": number }))), Reason::NumberOutOfRange);
        assert_eq!(reason(normalize(json!({"n": [{"m": number}]}))), Reason::NumberOutOfRange);
    }
    for number in [i64::MAX, i64::MIN, 0] {
        assert_eq!(normal(json!({ "n": number })), json!({ "n": number }));
    }
}

#[test]
fn integral_doubles_inside_i64_become_integers_and_others_stay() {
    let becomes = [
        ("1.0", json!(1)),
        ("-0.0", json!(0)),
        ("1e17", json!(100_000_000_000_000_000i64)),
        ("-9223372036854775808.0", json!(i64::MIN)),
        ("9223372036854774784.0", json!(9_223_372_036_854_774_784i64)),
        ("9007199254740993.0", json!(9_007_199_254_740_992i64)),
        ("9223372036854775808.0", json!(9_223_372_036_854_775_808.0)),
        ("-9223372036854777856.0", json!(-9_223_372_036_854_777_856.0)),
        ("1e300", json!(1e300)),
        ("0.5", json!(0.5)),
        ("5e-324", json!(5e-324)),
    ];
    for (text, expected) in becomes {
        let data: Value = serde_json::from_str(&format!("{{\"n\":[{text}]}}")).unwrap();
        let found = normal(data)["n"][0].clone();
        assert_eq!((found.is_i64(), &found), (expected.is_i64(), &expected), "{text}");
    }
}

#[test]
fn key_nul_key_too_long_and_string_nul_at_any_depth() {
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    let wide = "é".repeat(KEY_BYTES_MAX / 2 + 1);
    let places = |key: &str, value: Value| {
        [
            json!({ key: value.clone() }),
            json!({"a": {key: value.clone()}}),
            json!({"a": [[{key: value}]]}),
        ]
    };
    for data in places("a\0b", json!(1)) {
        assert_eq!(reason(normalize(data)), Reason::KeyNul);
    }
    for data in places(&long, json!(1)).into_iter().chain(places(&wide, json!(1))) {
        assert_eq!(reason(normalize(data)), Reason::KeyTooLong);
    }
    for data in places("k", json!("a\0")) {
        assert_eq!(reason(normalize(data)), Reason::StringNul);
    }
}

#[test]
fn every_other_key_is_kept_as_it_is() {
    let longest = "k".repeat(KEY_BYTES_MAX);
    let keys = [
        "", "1.0.1", "$schema", "$ref", "q\"r", "b\\s", "l\n", "a`b", "%_", "\u{1}", "\u{7f}", "é",
        "😀", &longest,
    ];
    let members: Map<String, Value> =
        keys.iter().map(|key| ((*key).to_owned(), json!(1))).collect();
    let body = encode_data(normalize(Value::Object(members.clone())).unwrap()).unwrap();
    let read: Map<String, Value> = serde_json::from_str(body.as_str()).unwrap();
    assert_eq!(read, members);
}

#[test]
fn too_deep_above_64_levels_counting_arrays_and_the_data_object() {
    assert!(normalize(nested(DEPTH_MAX, json!(1))).is_ok());
    assert_eq!(reason(normalize(nested(DEPTH_MAX + 1, json!(1)))), Reason::TooDeep);
    assert!(normalize(nested(DEPTH_MAX - 1, json!([1]))).is_ok());
    assert_eq!(reason(normalize(nested(DEPTH_MAX, json!([])))), Reason::TooDeep);
    assert_eq!(reason(normalize(nested(DEPTH_MAX, json!({})))), Reason::TooDeep);
}

#[test]
fn too_large_above_1_mib_of_canonical_json() {
    let of_bytes = |bytes: usize| json!({"s": "x".repeat(bytes - r#"{"s":""}"#.len())});
    let body = encode_data(normalize(of_bytes(DOCUMENT_BYTES_MAX)).unwrap()).unwrap();
    assert_eq!(body.as_str().len(), DOCUMENT_BYTES_MAX);
    let larger = normalize(of_bytes(DOCUMENT_BYTES_MAX + 1)).unwrap();
    assert_eq!(reason(encode_data(larger)), Reason::TooLarge);
    let mut with_id = of_bytes(DOCUMENT_BYTES_MAX);
    with_id["id"] = json!("own");
    assert!(encode_data(normalize(with_id).unwrap()).is_ok(), "the dropped id counts");
}

#[test]
fn members_are_encoded_in_byte_order() {
    let data: Value = serde_json::from_str(r#"{"b":1,"a":{"z":1,"Z":2},"é":3,"":4}"#).unwrap();
    let body = encode_data(normalize(data).unwrap()).unwrap();
    assert_eq!(body.as_str(), r#"{"":4,"a":{"Z":2,"z":1},"b":1,"é":3}"#);
}

#[test]
fn the_version_counts_over_tombstones_and_updated_at_never_goes_back() {
    let first = document("c/a", &json!({"n": 1}));
    let second = first.replaced(at(900), Body::from_canonical("{}"));
    assert_eq!((second.version(), second.updated_at()), (Version::new(2), at(1000)));
    let tombstone = second.tombstone(at(1500));
    assert_eq!((tombstone.version(), tombstone.created_at()), (Version::new(3), at(1000)));
    assert_eq!((tombstone.is_deleted(), tombstone.raw()), (true, "{}"));
    let revived = tombstone.revived(at(2000), Body::from_canonical("{}"));
    assert_eq!((revived.version(), revived.created_at()), (Version::new(4), at(2000)));
    let early = tombstone.revived(at(1), Body::from_canonical("{}"));
    assert_eq!((early.created_at(), early.updated_at()), (at(1500), at(1500)));
}

#[test]
fn a_document_outside_the_store_is_flat() {
    let document = document("rooms/lobby/messages/m1", &json!({"z": 1, "deep": {"version": 2}}));
    let expected = json!({
        "id": "m1", "collection": "rooms/lobby/messages", "z": 1, "deep": {"version": 2},
        "version": 1, "createdAt": 1000, "updatedAt": 1000,
    });
    assert_eq!(serde_json::to_value(&document).unwrap(), expected);
    let tombstone = serde_json::to_value(document.tombstone(at(1001))).unwrap();
    assert_eq!(tombstone["deleted"], json!(true));
    assert_eq!(tombstone.get("z"), None);
}

#[test]
fn errors_and_debug_output_show_no_content() {
    let secret = "hunter2";
    let document = document("c/a", &json!({ "password": secret }));
    assert!(!format!("{document:?}").contains(secret));
    let error = document.decode::<Vec<u8>>().unwrap_err();
    let shown = format!("{error} {error:?}");
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(!shown.contains(secret), "{shown}");
    let damaged = Document::first(path("c/a"), at(0), Body::from_canonical(r#"{"hunter2"#));
    let error = damaged.value().unwrap_err();
    assert!(!format!("{error} {error:?}").contains(secret));
}
