//! What a reader must not be behind: one write, as text that other handles and processes can be given.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::cursor::Reader;
use crate::document::{Document, Version};
use crate::error::{Error, ErrorKind, Result};
use crate::path::DocumentPath;
use crate::time::Timestamp;

const FORMAT: u8 = 1;
const CHECK_BYTES: usize = 8;
/// The longest path, in base64, and some more.
const TEXT_BYTES_MAX: usize = 1024;
/// No secret: the check tells damage. A made-up token can do no more than send a read to the primary.
const CHECK_CONTEXT: &str = "syntrix-storage session token 1";

/// A write that somebody was told about, as URL-safe text. It holds the document's path in readable encoding.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionToken(String);

/// The write of a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SeenWrite {
    /// Which document.
    pub path: DocumentPath,
    /// The version that was seen.
    pub version: Version,
    /// Of which life of the path.
    pub created_at: Timestamp,
}

impl SeenWrite {
    /// That `document` was seen as it is.
    pub fn of(document: &Document) -> Self {
        let (path, version) = (document.path().clone(), document.version());
        Self { path, version, created_at: document.created_at() }
    }

    /// Whether `found` is not older than this. A wrong clock makes it doubt, never believe.
    pub fn is_in(&self, found: Option<&Document>) -> bool {
        found.is_some_and(|found| {
            found.version() >= self.version && found.created_at() >= self.created_at
        })
    }
}

impl SessionToken {
    /// Takes text that [`SessionToken::as_str`] gave. It is checked when a read uses it.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, `A-Z a-z 0-9 - _`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The token of a write to the data `store_id`.
    pub fn of(store_id: [u8; 8], write: &SeenWrite) -> Self {
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&store_id);
        bytes.extend_from_slice(&write.version.get().to_be_bytes());
        bytes.extend_from_slice(&write.created_at.as_milliseconds().to_be_bytes());
        bytes.extend_from_slice(write.path.as_str().as_bytes());
        let check = check(&bytes);
        bytes.extend_from_slice(&check);
        Self(BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The write, if the token belongs to the data `store_id`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TokenMalformed`] or [`ErrorKind::TokenForeign`].
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::{
    ///     DocumentPath, ErrorKind, SeenWrite, SessionToken, Timestamp, Version,
    /// };
    ///
    /// let path = DocumentPath::parse("rooms/lobby")?;
    /// let write = SeenWrite { path, version: Version::FIRST, created_at: Timestamp::default() };
    /// let token = SessionToken::of(*b"store-id", &write);
    /// assert_eq!(token.open(*b"store-id")?, write);
    /// assert_eq!(token.open(*b"other-id").unwrap_err().kind(), ErrorKind::TokenForeign);
    /// # Ok::<(), syntrix_storage_core::Error>(())
    /// ```
    pub fn open(&self, store_id: [u8; 8]) -> Result<SeenWrite> {
        let (of, write) = self.decode().ok_or_else(malformed)?;
        if of != store_id {
            return Err(Error::new(ErrorKind::TokenForeign, "")
                .with_message("the session token was made by another store; read without it"));
        }
        Ok(write)
    }

    fn decode(&self) -> Option<([u8; 8], SeenWrite)> {
        if self.0.len() > TEXT_BYTES_MAX {
            return None;
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(&self.0).ok()?;
        let (payload, sum) = bytes.split_at_checked(bytes.len().checked_sub(CHECK_BYTES)?)?;
        if check(payload) != sum {
            return None;
        }
        let mut reader = Reader(payload);
        if reader.byte()? != FORMAT {
            return None;
        }
        let store_id = reader.array()?;
        let version = Version::new(i64::from_be_bytes(reader.array()?));
        let created_at = Timestamp::from_milliseconds(i64::from_be_bytes(reader.array()?));
        let path = DocumentPath::parse(std::str::from_utf8(reader.0).ok()?).ok()?;
        Some((store_id, SeenWrite { path, version, created_at }))
    }
}

fn check(payload: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    let hash = blake3::Hasher::new_derive_key(CHECK_CONTEXT).update(payload).finalize();
    check.copy_from_slice(&hash.as_bytes()[..CHECK_BYTES]);
    check
}

fn malformed() -> Error {
    Error::new(ErrorKind::TokenMalformed, "")
        .with_message("the session token is damaged; read without it, or strongly")
}

impl fmt::Display for SessionToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SessionToken({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_truncation_is_malformed() {
        let path = DocumentPath::parse("rooms/lobby").unwrap();
        let write = SeenWrite { path, version: Version::new(7), created_at: Timestamp::default() };
        let bytes =
            BASE64_URL_SAFE_NO_PAD.decode(SessionToken::of([1; 8], &write).as_str()).unwrap();
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 4;
            for bytes in [&damaged[..], &bytes[..place]] {
                let token = SessionToken::from_text(BASE64_URL_SAFE_NO_PAD.encode(bytes));
                assert_eq!(token.open([1; 8]).unwrap_err().kind(), ErrorKind::TokenMalformed);
            }
        }
    }

    #[test]
    fn an_older_life_of_a_path_does_not_satisfy_whatever_its_version() {
        let at = Timestamp::from_milliseconds;
        let path = DocumentPath::parse("rooms/lobby").unwrap();
        let body = crate::document::Body::empty;
        let old = Document::first(path.clone(), at(1), body()).replaced(at(2), body());
        let seen = SeenWrite::of(&Document::first(path, at(5), body()));
        assert!(!seen.is_in(Some(&old)) && !seen.is_in(None));
        assert!(SeenWrite::of(&old).is_in(Some(&old)));
    }
}
