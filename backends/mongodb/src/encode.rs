//! JSON text to BSON bytes, without a tree in between.
//!
//! Integers are Int64 and everything else that is a number is Double, so that reads are uniform. `serde_json` parses;
//! this module only places bytes.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use syntrix_storage_core::Result;

use crate::error::damaged;
use crate::names;

/// Type bytes of BSON, as far as they occur in data.
pub(crate) mod kind {
    pub(crate) const DOUBLE: u8 = 0x01;
    pub(crate) const STRING: u8 = 0x02;
    pub(crate) const DOCUMENT: u8 = 0x03;
    pub(crate) const ARRAY: u8 = 0x04;
    pub(crate) const BINARY: u8 = 0x05;
    pub(crate) const BOOL: u8 = 0x08;
    pub(crate) const NULL: u8 = 0x0A;
    pub(crate) const INT64: u8 = 0x12;
}

/// 2^63: the first double that is no i64.
const I64_END: f64 = 9_223_372_036_854_775_808.0;

/// Appends the element `name` with the object that `json` is.
pub(crate) fn push_json(bytes: &mut Vec<u8>, name: &str, json: &str) -> Result<()> {
    let kind_at = push_header(bytes, name);
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let pushed = Slot { bytes, kind_at }.deserialize(&mut deserializer);
    pushed.and_then(|()| deserializer.end()).map_err(|_| damaged())
}

/// Appends `name` with a string.
pub(crate) fn push_text(bytes: &mut Vec<u8>, name: &str, text: &str) {
    let kind_at = push_header(bytes, name);
    push_text_value(bytes, kind_at, text);
}

/// Appends `name` with an integer.
pub(crate) fn push_integer(bytes: &mut Vec<u8>, name: &str, integer: i64) {
    let kind_at = push_header(bytes, name);
    bytes[kind_at] = kind::INT64;
    bytes.extend_from_slice(&integer.to_le_bytes());
}

/// Appends `name` with `true` or `false`.
pub(crate) fn push_bool(bytes: &mut Vec<u8>, name: &str, flag: bool) {
    let kind_at = push_header(bytes, name);
    bytes[kind_at] = kind::BOOL;
    bytes.push(u8::from(flag));
}

/// Appends `name` with generic binary data.
pub(crate) fn push_binary(bytes: &mut Vec<u8>, name: &str, binary: &[u8]) {
    let kind_at = push_header(bytes, name);
    bytes[kind_at] = kind::BINARY;
    bytes.extend_from_slice(&length(binary.len()));
    bytes.push(0);
    bytes.extend_from_slice(binary);
}

/// Begins a document: its length is put in by [`end_document`].
pub(crate) fn begin_document(bytes: &mut Vec<u8>) -> usize {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; 4]);
    start
}

/// Ends the document that began at `start`.
pub(crate) fn end_document(bytes: &mut Vec<u8>, start: usize) {
    bytes.push(0);
    let total = length(bytes.len() - start);
    bytes[start..start + 4].copy_from_slice(&total);
}

/// A place for the type, the name and its end; the type follows with the value.
fn push_header(bytes: &mut Vec<u8>, name: &str) -> usize {
    let kind_at = bytes.len();
    bytes.push(0);
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(0);
    kind_at
}

fn push_text_value(bytes: &mut Vec<u8>, kind_at: usize, text: &str) {
    bytes[kind_at] = kind::STRING;
    bytes.extend_from_slice(&length(text.len() + 1));
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
}

/// A document has at most 1 MiB of JSON, so no length here comes near the bound.
fn length(bytes: usize) -> [u8; 4] {
    i32::try_from(bytes).unwrap_or(i32::MAX).to_le_bytes()
}

/// Where one value goes: behind its header, whose type is still open.
struct Slot<'bytes> {
    bytes: &'bytes mut Vec<u8>,
    kind_at: usize,
}

impl Slot<'_> {
    fn push(self, kind: u8, value: &[u8]) {
        self.bytes[self.kind_at] = kind;
        self.bytes.extend_from_slice(value);
    }
}

impl<'de> DeserializeSeed<'de> for Slot<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Slot<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> std::result::Result<(), E> {
        self.push(kind::NULL, &[]);
        Ok(())
    }

    fn visit_bool<E>(self, flag: bool) -> std::result::Result<(), E> {
        self.push(kind::BOOL, &[u8::from(flag)]);
        Ok(())
    }

    fn visit_i64<E>(self, integer: i64) -> std::result::Result<(), E> {
        self.push(kind::INT64, &integer.to_le_bytes());
        Ok(())
    }

    /// Beyond i64 an integer is a double.
    fn visit_u64<E>(self, integer: u64) -> std::result::Result<(), E> {
        match i64::try_from(integer) {
            Ok(integer) => self.push(kind::INT64, &integer.to_le_bytes()),
            Err(_) => self.push(kind::DOUBLE, &(integer as f64).to_le_bytes()),
        }
        Ok(())
    }

    fn visit_f64<E>(self, double: f64) -> std::result::Result<(), E> {
        if double.fract() == 0.0 && (-I64_END..I64_END).contains(&double) {
            self.push(kind::INT64, &(double as i64).to_le_bytes());
        } else {
            self.push(kind::DOUBLE, &double.to_le_bytes());
        }
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> std::result::Result<(), E> {
        push_text_value(self.bytes, self.kind_at, text);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<(), A::Error> {
        self.bytes[self.kind_at] = kind::DOCUMENT;
        let start = begin_document(self.bytes);
        while let Some(kind_at) = members.next_key_seed(Name { bytes: &mut *self.bytes })? {
            members.next_value_seed(Slot { bytes: &mut *self.bytes, kind_at })?;
        }
        end_document(self.bytes, start);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<(), A::Error> {
        self.bytes[self.kind_at] = kind::ARRAY;
        let start = begin_document(self.bytes);
        let mut index = 0usize;
        loop {
            // The header goes in before it is known whether there is an item; without one it is taken back.
            let end = self.bytes.len();
            let kind_at = push_index(self.bytes, index);
            if items.next_element_seed(Slot { bytes: &mut *self.bytes, kind_at })?.is_none() {
                self.bytes.truncate(end);
                break;
            }
            index += 1;
        }
        end_document(self.bytes, start);
        Ok(())
    }
}

fn push_index(bytes: &mut Vec<u8>, index: usize) -> usize {
    let kind_at = bytes.len();
    bytes.push(0);
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = index;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    bytes.extend_from_slice(&digits[at..]);
    bytes.push(0);
    kind_at
}

/// Where one key goes; gives the place of its value's type.
struct Name<'bytes> {
    bytes: &'bytes mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = usize;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> std::result::Result<usize, E> {
        // BSON names end at U+0000; the engine refuses such keys.
        if key.contains('\0') {
            return Err(E::custom("a key with U+0000"));
        }
        let kind_at = self.bytes.len();
        self.bytes.push(0);
        names::push_escaped(self.bytes, key);
        self.bytes.push(0);
        Ok(kind_at)
    }
}
