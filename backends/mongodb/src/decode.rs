//! BSON to JSON text by one walk over the raw bytes, and the copy of the comparable values beside the data.

use std::io::Write as _;

use mongodb::bson::{RawArray, RawBsonRef, RawDocument};
use syntrix_storage_core::{Body, Result};

use crate::encode::{self, kind};
use crate::error::damaged;
use crate::names;

/// Longest string that can be compared.
const COMPARABLE_BYTES_MAX: usize = 512;
const I64_END: f64 = 9_223_372_036_854_775_808.0;

/// The stored data as a body.
pub(crate) fn body(data: &RawDocument) -> Result<Body> {
    // Names and numbers are about as long in text as in BSON.
    let mut json = Vec::with_capacity(data.as_bytes().len());
    push_object(&mut json, data)?;
    String::from_utf8(json).map(Body::from_canonical).map_err(|_| damaged())
}

fn push_object(json: &mut Vec<u8>, document: &RawDocument) -> Result<()> {
    json.push(b'{');
    let mut first = true;
    for element in document.iter_elements() {
        let element = element.map_err(|_| damaged())?;
        separate(json, &mut first);
        push_string(json, &names::unescape(element.key().as_str())?)?;
        json.push(b':');
        push_value(json, element.value().map_err(|_| damaged())?)?;
    }
    json.push(b'}');
    Ok(())
}

fn push_array(json: &mut Vec<u8>, items: &RawArray) -> Result<()> {
    json.push(b'[');
    let mut first = true;
    for item in items {
        separate(json, &mut first);
        push_value(json, item.map_err(|_| damaged())?)?;
    }
    json.push(b']');
    Ok(())
}

fn separate(json: &mut Vec<u8>, first: &mut bool) {
    if !std::mem::take(first) {
        json.push(b',');
    }
}

/// A type that no document of ours has was put there by somebody else.
fn push_value(json: &mut Vec<u8>, value: RawBsonRef<'_>) -> Result<()> {
    match value {
        RawBsonRef::Null => json.extend_from_slice(b"null"),
        RawBsonRef::Boolean(true) => json.extend_from_slice(b"true"),
        RawBsonRef::Boolean(false) => json.extend_from_slice(b"false"),
        RawBsonRef::Int64(integer) => push_display(json, integer)?,
        RawBsonRef::Int32(integer) => push_display(json, integer)?,
        RawBsonRef::Double(double) => push_double(json, double)?,
        RawBsonRef::String(text) => push_string(json, text)?,
        RawBsonRef::Document(document) => push_object(json, document)?,
        RawBsonRef::Array(items) => push_array(json, items)?,
        _ => return Err(damaged()),
    }
    Ok(())
}

fn push_display(json: &mut Vec<u8>, value: impl std::fmt::Display) -> Result<()> {
    write!(json, "{value}").map_err(|_| damaged())
}

/// Only a foreign writer stores integral doubles; they read as the integers they are.
fn push_double(json: &mut Vec<u8>, double: f64) -> Result<()> {
    if double.fract() == 0.0 && (-I64_END..I64_END).contains(&double) {
        return push_display(json, double as i64);
    }
    match serde_json::Number::from_f64(double) {
        Some(number) => push_display(json, number),
        None => Err(damaged()),
    }
}

fn push_string(json: &mut Vec<u8>, text: &str) -> Result<()> {
    serde_json::to_writer(json, text).map_err(|_| damaged())
}

/// Appends `data` again under `name`, without arrays and without strings that are too long to be compared. Objects stay, as
/// containers. Filters, orders and indexes use this copy, which no array can make ambiguous.
pub(crate) fn push_comparable(bytes: &mut Vec<u8>, name: &str, data: &RawDocument) -> Result<()> {
    bytes.push(kind::DOCUMENT);
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(0);
    push_members(bytes, data)
}

fn push_members(bytes: &mut Vec<u8>, document: &RawDocument) -> Result<()> {
    let start = encode::begin_document(bytes);
    for element in document.iter_elements() {
        let element = element.map_err(|_| damaged())?;
        let (name, value) = (element.key().as_str(), element.value().map_err(|_| damaged())?);
        match value {
            RawBsonRef::Array(_) => {}
            RawBsonRef::String(text) if text.len() > COMPARABLE_BYTES_MAX => {}
            RawBsonRef::Document(inner) => push_comparable(bytes, name, inner)?,
            RawBsonRef::String(text) => encode::push_text(bytes, name, text),
            RawBsonRef::Int64(integer) => encode::push_integer(bytes, name, integer),
            RawBsonRef::Boolean(flag) => encode::push_bool(bytes, name, flag),
            RawBsonRef::Null => push_bare(bytes, kind::NULL, name, &[]),
            RawBsonRef::Double(double) => {
                push_bare(bytes, kind::DOUBLE, name, &double.to_le_bytes())
            }
            _ => return Err(damaged()),
        }
    }
    encode::end_document(bytes, start);
    Ok(())
}

fn push_bare(bytes: &mut Vec<u8>, kind: u8, name: &str, value: &[u8]) {
    bytes.push(kind);
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{RawDocumentBuf, rawdoc};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// `{"data": …, "s": …}` as a record has them.
    fn stored(text: &str) -> RawDocumentBuf {
        let mut bytes = Vec::new();
        let start = encode::begin_document(&mut bytes);
        encode::push_json(&mut bytes, "data", text).unwrap();
        encode::end_document(&mut bytes, start);
        let whole = RawDocumentBuf::from_bytes(bytes).unwrap();
        let mut bytes = Vec::new();
        let start = encode::begin_document(&mut bytes);
        encode::push_json(&mut bytes, "data", text).unwrap();
        push_comparable(&mut bytes, "s", whole.get_document("data").unwrap()).unwrap();
        encode::end_document(&mut bytes, start);
        RawDocumentBuf::from_bytes(bytes).unwrap()
    }

    fn read_back(text: &str) -> String {
        body(stored(text).get_document("data").unwrap()).unwrap().as_str().to_owned()
    }

    #[test]
    fn canonical_text_comes_back_byte_by_byte() {
        for text in [
            "{}",
            r#"{"":{"":[]},"$ref":1,"1.0.1":{"a.b":null},"%":"%","q\"r\\s\n":[[1],{}]}"#,
            r#"{"big":9223372036854775807,"small":-9223372036854775808,"zero":0}"#,
            r#"{"a":1e+19,"b":-1.5e+300,"c":5e-324,"d":0.1,"e":9.223372036854776e+18}"#,
            r#"{"t":[true,false,null,"é\u0001😀"]}"#,
            r#"{"$oid":"not an id","$date":{"$numberLong":"1"}}"#,
        ] {
            assert_eq!(read_back(text), text);
        }
    }

    #[test]
    fn an_integer_beyond_i64_is_a_double() {
        assert_eq!(read_back(r#"{"n":9223372036854775808}"#), r#"{"n":9.223372036854776e+18}"#);
        assert_eq!(read_back(r#"{"n":2.0,"z":-0.0}"#), r#"{"n":2,"z":0}"#);
    }

    #[test]
    fn the_copy_has_what_can_be_compared() {
        let long = "x".repeat(513);
        let short = "x".repeat(512);
        let text =
            json!({"a": [1], "long": long, "short": short, "o": {"a": [], "n": null, "x": 1.5}});
        let record = stored(&text.to_string());
        let copy = body(record.get_document("s").unwrap()).unwrap();
        let expected = json!({"short": short, "o": {"n": null, "x": 1.5}});
        assert_eq!(serde_json::from_str::<Value>(copy.as_str()).unwrap(), expected);
    }

    #[test]
    fn foreign_types_are_damage_and_never_a_guess() {
        let foreign = rawdoc! { "at": mongodb::bson::DateTime::from_millis(1) };
        assert!(body(&foreign).is_err());
        let small = rawdoc! { "n": 7_i32, "d": 2.0_f64 };
        assert_eq!(body(&small).unwrap().as_str(), r#"{"n":7,"d":2}"#);
    }

    #[test]
    fn text_that_is_no_json_is_refused() {
        for text in ["{", "{} {}", "", r#"{"a":1e400}"#] {
            let mut bytes = Vec::new();
            assert!(encode::push_json(&mut bytes, "data", text).is_err(), "{text}");
        }
    }

    fn number() -> impl Strategy<Value = Value> {
        let integral = |double: &f64| double.fract() == 0.0 && (-I64_END..I64_END).contains(double);
        let double = any::<f64>()
            .prop_filter("normal form", move |double| double.is_finite() && !integral(double));
        prop_oneof![any::<i64>().prop_map(Value::from), double.prop_map(Value::from)]
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            number(),
            "[^\0]{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[^\0]{0,8}|[%.$_2E]{0,5}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_comes_back(members in prop::collection::btree_map("[^\0]{0,8}", value(), 0..6)) {
            let text = Value::Object(members.into_iter().collect()).to_string();
            prop_assert_eq!(read_back(&text), text);
        }
    }
}
