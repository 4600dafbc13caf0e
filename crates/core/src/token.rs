//! Resume tokens: a store's position, sealed so that no other store and no forger can use it.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::cursor::Reader;
use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

const MAGIC: &[u8; 2] = b"w1";
const FLAGS: u8 = 0;
const CHECK_BYTES: usize = 4;
const MAC_BYTES: usize = 16;
/// Most bytes of a token's text.
pub const TOKEN_BYTES_MAX: usize = 4096;

/// Where a watch stopped, as URL-safe text. Opaque: store it, compare it for equality, give it back.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ResumeToken(String);

impl ResumeToken {
    /// Takes text that [`ResumeToken::as_str`] gave. It is checked when a watch uses it.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, `A-Z a-z 0-9 - _`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResumeToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for ResumeToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ResumeToken({})", self.0)
    }
}

/// A place in a backend's history.
///
/// The anchor names one change, by number and by a random nonce that a restored or diverged history does not repeat.
/// Backends whose order is more than a number put the rest into `state`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// Number of the last change before this place; 0 before the first.
    pub sequence: u64,
    /// The nonce stored with that change; 0 before the first.
    pub nonce: u64,
    /// What else the backend needs to continue; opaque to everybody else.
    pub state: Vec<u8>,
}

/// What seals tokens: from the store's metadata row.
#[derive(Clone)]
pub struct TokenSeal {
    kind: u8,
    store_id: [u8; 8],
    epoch: u64,
    key: [u8; 32],
}

impl TokenSeal {
    /// The seal of the store `store_id` in its `epoch`; `kind` is the backend's number in tokens.
    pub const fn new(kind: u8, store_id: [u8; 8], epoch: u64, key: [u8; 32]) -> Self {
        Self { kind, store_id, epoch, key }
    }

    /// Which history this is; a restore or a restart without history begins another one.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Which data its tokens belong to.
    pub fn store_id(&self) -> [u8; 8] {
        self.store_id
    }

    /// Seals `position`.
    pub fn seal(&self, position: &Position, commit_time: Timestamp) -> ResumeToken {
        let mut bytes = Vec::with_capacity(96);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[self.kind, FLAGS]);
        bytes.extend_from_slice(&self.store_id);
        push_varint(&mut bytes, self.epoch);
        push_varint(&mut bytes, commit_time.as_milliseconds().max(0) as u64);
        push_varint(&mut bytes, position.sequence);
        bytes.extend_from_slice(&position.nonce.to_be_bytes());
        push_varint(&mut bytes, position.state.len() as u64);
        bytes.extend_from_slice(&position.state);
        let check = checksum(&bytes);
        bytes.extend_from_slice(&check);
        let mac = self.mac(&bytes);
        bytes.extend_from_slice(&mac);
        ResumeToken(BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Opens a token of this store.
    ///
    /// The plain checksum comes first: it tells damage from a token of another store, whose MAC cannot be checked here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TokenMalformed`] or [`ErrorKind::TokenForeign`].
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::{ErrorKind, Position, ResumeToken, Timestamp, TokenSeal};
    ///
    /// let seal = TokenSeal::new(1, *b"store-id", 7, [9; 32]);
    /// let token = seal.seal(&Position::default(), Timestamp::default());
    /// assert_eq!(seal.open(&token)?.epoch, 7);
    /// let damaged = ResumeToken::from_text(&token.as_str()[1..]);
    /// assert_eq!(seal.open(&damaged).unwrap_err().kind(), ErrorKind::TokenMalformed);
    /// # Ok::<(), syntrix_storage_core::Error>(())
    /// ```
    pub fn open(&self, token: &ResumeToken) -> Result<OpenedToken> {
        let bytes = decode(token).ok_or_else(malformed)?;
        let (sealed, mac) =
            bytes.split_at_checked(bytes.len().saturating_sub(MAC_BYTES)).ok_or_else(malformed)?;
        let payload = sealed.len().checked_sub(CHECK_BYTES).ok_or_else(malformed)?;
        let (payload, check) = sealed.split_at(payload);
        if checksum(payload) != check {
            return Err(malformed());
        }
        let envelope = parse(payload).ok_or_else(malformed)?;
        if envelope.kind != self.kind || envelope.store_id != self.store_id {
            return Err(Error::new(ErrorKind::TokenForeign, "watch").with_message(
                "the token was made by another store; read again and watch from that read",
            ));
        }
        if blake3::Hash::from_bytes(pad(&self.mac(sealed))) != blake3::Hash::from_bytes(pad(mac)) {
            return Err(malformed());
        }
        Ok(envelope.opened)
    }

    fn mac(&self, sealed: &[u8]) -> [u8; MAC_BYTES] {
        let mut mac = [0; MAC_BYTES];
        mac.copy_from_slice(&blake3::keyed_hash(&self.key, sealed).as_bytes()[..MAC_BYTES]);
        mac
    }
}

impl fmt::Debug for TokenSeal {
    /// Leaves the key out.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TokenSeal")
            .field("kind", &self.kind)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedToken {
    /// The history it belongs to.
    pub epoch: u64,
    /// When the change at the position was committed.
    pub commit_time: Timestamp,
    /// Where to continue.
    pub position: Position,
}

struct Envelope {
    kind: u8,
    store_id: [u8; 8],
    opened: OpenedToken,
}

fn decode(token: &ResumeToken) -> Option<Vec<u8>> {
    if token.0.len() > TOKEN_BYTES_MAX {
        return None;
    }
    BASE64_URL_SAFE_NO_PAD.decode(&token.0).ok()
}

fn parse(payload: &[u8]) -> Option<Envelope> {
    let mut reader = Reader(payload);
    if reader.take(MAGIC.len())? != MAGIC {
        return None;
    }
    let kind = reader.byte()?;
    if reader.byte()? != FLAGS {
        return None;
    }
    let store_id = reader.array()?;
    let epoch = varint(&mut reader)?;
    let commit_time = Timestamp::from_milliseconds(i64::try_from(varint(&mut reader)?).ok()?);
    let sequence = varint(&mut reader)?;
    let nonce = u64::from_be_bytes(reader.array()?);
    let length = usize::try_from(varint(&mut reader)?).ok()?;
    let state = reader.take(length)?.to_vec();
    let position = Position { sequence, nonce, state };
    let opened = OpenedToken { epoch, commit_time, position };
    reader.0.is_empty().then_some(Envelope { kind, store_id, opened })
}

fn malformed() -> Error {
    Error::new(ErrorKind::TokenMalformed, "watch")
        .with_message("the token is damaged; read again and watch from that read")
}

/// Comparing BLAKE3 hashes takes constant time; a MAC is half of one.
fn pad(mac: &[u8]) -> [u8; 32] {
    let mut padded = [0; 32];
    padded[..mac.len()].copy_from_slice(mac);
    padded
}

fn checksum(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECK_BYTES]);
    check
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn varint(reader: &mut Reader<'_>) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = reader.byte()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal() -> TokenSeal {
        TokenSeal::new(2, *b"store-id", 7, [9; 32])
    }

    fn token() -> ResumeToken {
        let position = Position { sequence: 300, nonce: u64::MAX, state: vec![1, 2, 3] };
        seal().seal(&position, Timestamp::from_milliseconds(1_700_000_000_000))
    }

    #[test]
    fn a_token_opens_to_what_was_sealed() {
        let opened = seal().open(&token()).unwrap();
        assert_eq!((opened.epoch, opened.position.sequence), (7, 300));
        assert_eq!(opened.position.state, [1, 2, 3]);
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_malformed() {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token().as_str()).unwrap();
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[position] ^= 1 << bit;
                assert_malformed(&BASE64_URL_SAFE_NO_PAD.encode(damaged));
            }
            assert_malformed(&BASE64_URL_SAFE_NO_PAD.encode(&bytes[..position]));
        }
        for text in ["", "!", "AAAA", &"A".repeat(5000)] {
            assert_malformed(text);
        }
    }

    #[test]
    fn a_forged_position_with_a_right_checksum_is_malformed() {
        let forger = TokenSeal { key: [1; 32], ..seal() };
        let forged = forger.seal(&Position::default(), Timestamp::default());
        assert_malformed(forged.as_str());
    }

    #[test]
    fn another_stores_token_is_foreign() {
        let other = TokenSeal { store_id: *b"other-id", key: [3; 32], ..seal() };
        let token = other.seal(&Position::default(), Timestamp::default());
        assert_eq!(seal().open(&token).unwrap_err().kind(), ErrorKind::TokenForeign);
    }

    fn assert_malformed(text: &str) {
        let error = seal().open(&ResumeToken::from_text(text)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TokenMalformed);
    }
}
