//! Cursors: where the next page starts, bound to the query that made them. They name no backend.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::error::{Error, Reason, Result};
use crate::path::DocumentId;
use crate::scalar::Scalar;
use crate::value::COMPARABLE_BYTES_MAX;

const CURSOR_VERSION: u8 = 1;
const CHECK_BYTES: usize = 8;
/// 4 strings of 512 bytes and their frames, in base64, with room to spare.
const CURSOR_TEXT_MAX: usize = 4096;

/// Where the next page of a query starts, as URL-safe text.
///
/// It contains the order values of the last document in readable encoding: treat it like the page itself.
/// It may be stored, survives restarts, and is valid on any backend; only the query that made it accepts it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Cursor(String);

impl Cursor {
    /// Takes text that [`Cursor::as_str`] gave. It is checked when a query uses it.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, `A-Z a-z 0-9 - _`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn encode(fingerprint: &Fingerprint, place: &Place) -> Self {
        let mut bytes = vec![CURSOR_VERSION];
        bytes.push(place.values.len() as u8);
        place.values.iter().for_each(|value| encode_scalar(&mut bytes, value));
        bytes.extend_from_slice(place.key.as_bytes());
        Self::seal(fingerprint, bytes)
    }

    pub(crate) fn decode(&self, fingerprint: &Fingerprint) -> Result<Place> {
        decode_place(&self.unseal(fingerprint)?).ok_or_else(invalid)
    }

    /// The text of `payload`, bound to the query of `fingerprint`.
    pub(crate) fn seal(fingerprint: &Fingerprint, mut payload: Vec<u8>) -> Self {
        let check = fingerprint.check(&payload);
        payload.extend_from_slice(&check);
        Self(BASE64_URL_SAFE_NO_PAD.encode(payload))
    }

    /// What was sealed for the same query.
    pub(crate) fn unseal(&self, fingerprint: &Fingerprint) -> Result<Vec<u8>> {
        if self.0.len() > CURSOR_TEXT_MAX {
            return Err(invalid());
        }
        let mut payload = BASE64_URL_SAFE_NO_PAD.decode(&self.0).map_err(|_| invalid())?;
        let end = payload.len().checked_sub(CHECK_BYTES).ok_or_else(invalid)?;
        let check = payload.split_off(end);
        if fingerprint.check(&payload) != check[..] {
            return Err(invalid());
        }
        Ok(payload)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Cursor({})", self.0)
    }
}

/// A place in a query's order: one value per effective order field, and the key that breaks ties.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// One value per effective order field.
    pub values: Vec<Scalar>,
    /// Breaks ties.
    pub key: DocumentId,
}

/// Digest of collection, filters and effective order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(pub(crate) [u8; 32]);

impl Fingerprint {
    fn check(&self, payload: &[u8]) -> [u8; CHECK_BYTES] {
        let hash = blake3::keyed_hash(&self.0, payload);
        let mut check = [0; CHECK_BYTES];
        check.copy_from_slice(&hash.as_bytes()[..CHECK_BYTES]);
        check
    }
}

pub(crate) fn invalid() -> Error {
    Error::invalid(
        "cursor",
        Reason::Cursor,
        "the cursor is damaged or belongs to another query; start again without it",
    )
}

/// Tag and value; also the form in which scalars enter a fingerprint.
pub(crate) fn encode_scalar(bytes: &mut Vec<u8>, value: &Scalar) {
    match value {
        Scalar::Null => bytes.push(1),
        Scalar::Integer(integer) => {
            bytes.push(2);
            bytes.extend_from_slice(&integer.to_be_bytes());
        }
        Scalar::Double(double) => {
            bytes.push(3);
            bytes.extend_from_slice(&double.to_be_bytes());
        }
        Scalar::String(text) => {
            bytes.push(4);
            bytes.extend_from_slice(&(text.len() as u16).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        Scalar::Bool(flag) => bytes.extend_from_slice(&[5, u8::from(*flag)]),
    }
}

/// The check is no secret, so a cursor may have been made by anybody: only values that a document can have come out of it.
fn decode_place(payload: &[u8]) -> Option<Place> {
    let mut reader = Reader(payload);
    if reader.byte()? != CURSOR_VERSION {
        return None;
    }
    let count = reader.byte()?;
    let values = (0..count).map(|_| decode_scalar(&mut reader)).collect::<Option<Vec<_>>>()?;
    let key = DocumentId::from_bytes(reader.array()?);
    reader.0.is_empty().then_some(Place { values, key })
}

fn decode_scalar(reader: &mut Reader<'_>) -> Option<Scalar> {
    Some(match reader.byte()? {
        1 => Scalar::Null,
        2 => Scalar::Integer(i64::from_be_bytes(reader.array()?)),
        3 => Scalar::from_stored_double(f64::from_be_bytes(reader.array()?))?,
        4 => {
            let length = usize::from(u16::from_be_bytes(reader.array()?));
            let text = std::str::from_utf8(reader.take(length)?).ok()?;
            (length <= COMPARABLE_BYTES_MAX).then(|| Scalar::String(text.to_owned()))?
        }
        5 => Scalar::Bool(reader.byte()? != 0),
        _ => return None,
    })
}

/// Reads a byte slice front to back; `None` where it ends early.
pub(crate) struct Reader<'bytes>(pub(crate) &'bytes [u8]);

impl<'bytes> Reader<'bytes> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'bytes [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|taken| taken[0])
    }

    pub(crate) fn array<const COUNT: usize>(&mut self) -> Option<[u8; COUNT]> {
        self.take(COUNT)?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(values: Vec<Scalar>) -> Result<Place> {
        let fingerprint = Fingerprint([7; 32]);
        let place = Place { values, key: DocumentId::from_bytes([1; 16]) };
        Cursor::encode(&fingerprint, &place).decode(&fingerprint)
    }

    #[test]
    fn a_made_up_cursor_brings_in_no_value_that_a_document_cannot_have() {
        let longest = Scalar::String("x".repeat(COMPARABLE_BYTES_MAX));
        for value in [Scalar::Null, Scalar::Double(0.5), Scalar::Double(1e19), longest] {
            assert_eq!(decode(vec![value.clone()]).unwrap().values, [value]);
        }
        let doubles = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0, -0.0];
        let mut impossible: Vec<_> = doubles.into_iter().map(Scalar::Double).collect();
        impossible.push(Scalar::String("x".repeat(COMPARABLE_BYTES_MAX + 1)));
        for value in impossible {
            assert_eq!(decode(vec![value]).unwrap_err().reason(), Some(Reason::Cursor));
        }
    }

    #[test]
    fn any_payload_with_a_right_check_is_read_or_refused_but_never_panics() {
        let fingerprint = Fingerprint([7; 32]);
        for length in 0..64 {
            for filler in 0..=6u8 {
                for count in [0, 1, 4, 255] {
                    let mut payload = vec![filler; length];
                    payload.splice(0..length.min(2), [CURSOR_VERSION, count]);
                    payload.extend_from_slice(&fingerprint.check(&payload));
                    let cursor = Cursor(BASE64_URL_SAFE_NO_PAD.encode(payload));
                    drop(cursor.decode(&fingerprint));
                }
            }
        }
    }
}
