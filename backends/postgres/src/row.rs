//! Rows to documents and back.

use std::borrow::Cow;
use std::error::Error as StdError;

use serde_json::{Number, Value};
use syntrix_storage_core::{
    Body, Document, DocumentId, DocumentPath, Error, Metadata, Result, Timestamp, Version,
};
use tokio_postgres::Row;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::error::damaged;

/// What [`document`] reads, in its order.
pub(crate) const COLUMNS: &str = "id,fullpath,version,created_at,updated_at,deleted,data";

/// The only version of the binary form of `jsonb` there is.
const JSONB_VERSION: u8 = 1;
/// A run of as many digits may be a number that i64 cannot hold; `jsonb` writes every number without an exponent.
const DIGITS_LONG: usize = 19;

/// JSON text as `jsonb` sends and takes it: a version byte, then text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Json<'text>(pub(crate) &'text str);

impl<'row> FromSql<'row> for Json<'row> {
    fn from_sql(_: &Type, raw: &'row [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        match raw.split_first() {
            Some((&JSONB_VERSION, text)) => Ok(Self(std::str::from_utf8(text)?)),
            _ => Err("an unknown form of jsonb".into()),
        }
    }

    fn accepts(of_type: &Type) -> bool {
        *of_type == Type::JSONB
    }
}

impl ToSql for Json<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.extend_from_slice(&[JSONB_VERSION]);
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(of_type: &Type) -> bool {
        *of_type == Type::JSONB
    }

    to_sql_checked!();
}

/// A value of a row; a type or null that is not expected is damage.
pub(crate) fn value<'row, T: FromSql<'row>>(row: &'row Row, column: usize) -> Result<T> {
    row.try_get(column).map_err(|_| damaged())
}

/// The document in a row of [`COLUMNS`], the first of which is `column`.
pub(crate) fn document(row: &Row, column: usize) -> Result<Document> {
    let path = path(row, column)?;
    let (metadata, body) = (metadata(row, column + 2)?, body(row, column + 6)?);
    Ok(Document::from_parts(path, metadata, body))
}

pub(crate) fn documents(rows: &[Row]) -> Result<Vec<Document>> {
    rows.iter().map(|row| document(row, 0)).collect()
}

fn path(row: &Row, column: usize) -> Result<DocumentPath> {
    let key: &[u8] = value(row, column)?;
    let key = key.try_into().map_err(|_| damaged())?;
    DocumentPath::from_stored(value(row, column + 1)?, DocumentId::from_bytes(key))
}

/// Version, times and tombstone mark in four columns.
pub(crate) fn metadata(row: &Row, column: usize) -> Result<Metadata> {
    Ok(Metadata {
        version: Version::new(value(row, column)?),
        created_at: timestamp(row, column + 1)?,
        updated_at: timestamp(row, column + 2)?,
        deleted: value(row, column + 3)?,
    })
}

pub(crate) fn timestamp(row: &Row, column: usize) -> Result<Timestamp> {
    value(row, column).map(Timestamp::from_milliseconds)
}

pub(crate) fn body(row: &Row, column: usize) -> Result<Body> {
    let Json(text) = value(row, column)?;
    match canonical_numbers(text)? {
        Cow::Borrowed(text) => Ok(Body::from_canonical(text)),
        Cow::Owned(text) => Ok(Body::from_canonical(text)),
    }
}

/// `jsonb` keeps numbers as decimals: 1e19 comes back as an integer of 20 digits, which is none of ours.
pub(crate) fn canonical_numbers(text: &str) -> Result<Cow<'_, str>> {
    if !has_long_digits(text.as_bytes()) {
        return Ok(Cow::Borrowed(text));
    }
    let mut tree: Value = serde_json::from_str(text).map_err(|_| damaged())?;
    make_canonical(&mut tree);
    Ok(Cow::Owned(tree.to_string()))
}

/// A run of [`DIGITS_LONG`] covers one place in as many, so the others need no look.
fn has_long_digits(text: &[u8]) -> bool {
    let mut probe = DIGITS_LONG - 1;
    while probe < text.len() {
        if text[probe].is_ascii_digit() {
            let before = text[..probe].iter().rev().take_while(|byte| byte.is_ascii_digit());
            let behind = text[probe..].iter().take_while(|byte| byte.is_ascii_digit());
            if before.count() + behind.count() >= DIGITS_LONG {
                return true;
            }
        }
        probe += DIGITS_LONG;
    }
    false
}

fn make_canonical(value: &mut Value) {
    match value {
        Value::Number(number) if number.as_i64().is_none() => {
            let double = number.as_f64().and_then(Number::from_f64);
            double.into_iter().for_each(|double| *number = double);
        }
        Value::Array(items) => items.iter_mut().for_each(make_canonical),
        Value::Object(members) => members.values_mut().for_each(make_canonical),
        _ => {}
    }
}

/// A stored count or time that must not be negative.
pub(crate) fn unsigned(number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_i64_come_back_as_the_doubles_they_were() {
        for (stored, expected) in [
            ("10000000000000000000", 1e19),
            ("-10000000000000000000", -1e19),
            ("9223372036854775808", 9_223_372_036_854_775_808.0),
        ] {
            let text = format!("{{\"a\": [{stored}]}}");
            let value: Value =
                serde_json::from_str(&canonical_numbers(&text).expect("text")).expect("json");
            assert_eq!(value["a"][0], Value::from(expected));
        }
    }

    #[test]
    fn integers_and_digits_in_text_stay_as_they_are() {
        let text =
            r#"{"a": 9223372036854775807, "b": -9223372036854775808, "c": "12345678901234567890"}"#;
        let read: Value =
            serde_json::from_str(&canonical_numbers(text).expect("text")).expect("json");
        assert_eq!(read, serde_json::from_str::<Value>(text).expect("json"));
    }

    #[test]
    fn every_run_of_nineteen_digits_is_noticed_wherever_it_stands() {
        for before in 0..60 {
            for behind in 0..40 {
                let text = |digits: usize| {
                    format!("{}{}{}", "x".repeat(before), "7".repeat(digits), "x".repeat(behind))
                };
                assert!(has_long_digits(text(19).as_bytes()), "{before} {behind}");
                assert!(!has_long_digits(text(18).as_bytes()), "{before} {behind}");
            }
        }
    }
}
