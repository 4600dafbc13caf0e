//! The route's records in the ledgers: their names, their form, and how they are read and written.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use syntrix_storage_core::backend::{Ledger, LedgerKey, StoreId};
use syntrix_storage_core::{DocumentPath, Error, ErrorKind, Position, Result};

/// The form of all records of this release.
const FORMAT: u32 = 1;

pub(crate) const LEASE: &str = "documents/lease";
pub(crate) const CHECKPOINT: &str = "documents/checkpoint";
pub(crate) const FILL: &str = "documents/fill";
pub(crate) const PIN: &str = "documents/pin";
pub(crate) const DEAD: &str = "documents/dead/";
/// By it a native replica shows how far it is: it replicates that as it does everything else. On the primary.
pub(crate) const PULSE: &str = "documents/pulse";

/// Who may replicate. On the shadow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LeaseBody {
    /// A random name; what else it says is for people.
    pub(crate) holder: String,
    /// One more with every holder.
    pub(crate) term: u64,
    /// One more with every sign of life.
    pub(crate) beat: u64,
    /// The holder gave it up: nobody needs to wait.
    pub(crate) released: bool,
}

/// Up to where the shadow has everything. On the shadow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CheckpointBody {
    /// Store id of the primary.
    pub(crate) primary: String,
    pub(crate) term: u64,
    pub(crate) position: PositionBody,
    /// Everything from before the route is there, too.
    pub(crate) filled: bool,
    /// Number of the fill that is under way or was the last.
    pub(crate) fill: u64,
    /// How often the primary's history was gone.
    pub(crate) history_lost: u64,
    /// The route was given up: what is there says nothing any more.
    pub(crate) void: bool,
}

/// How far a fill is. On the shadow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FillBody {
    /// Which fill.
    pub(crate) fill: u64,
    /// Everything up to this path was copied.
    pub(crate) copied_to: Option<String>,
    pub(crate) copied: u64,
    /// The copy is whole; what is there too much on the shadow is looked for up to this path.
    pub(crate) copy_done: bool,
    pub(crate) swept_to: Option<String>,
    pub(crate) removed: u64,
    pub(crate) sweep_done: bool,
}

/// Keeps tombstones from being purged. On the primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PinBody {
    /// Store id of the shadow.
    pub(crate) shadow: String,
    /// When it was set, by the clock of who did; for people.
    pub(crate) since_ms: i64,
}

/// Says nothing but that it was written. On the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PulseBody {}

/// A document that the shadow refuses. On the shadow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeadBody {
    pub(crate) path: String,
    pub(crate) version: i64,
    pub(crate) reason: String,
}

/// A record as it lies in a ledger.
#[derive(Serialize, Deserialize)]
struct Envelope<B> {
    format: u32,
    #[serde(flatten)]
    body: B,
}

/// A [`Position`] in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PositionBody {
    sequence: u64,
    nonce: u64,
    /// Hexadecimal.
    state: String,
}

impl From<&Position> for PositionBody {
    fn from(position: &Position) -> Self {
        let state = position.state.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { sequence: position.sequence, nonce: position.nonce, state }
    }
}

impl TryFrom<&PositionBody> for Position {
    type Error = Error;

    fn try_from(body: &PositionBody) -> Result<Self> {
        let byte = |pair: &[u8]| {
            std::str::from_utf8(pair).ok().and_then(|text| u8::from_str_radix(text, 16).ok())
        };
        let state: Option<Vec<u8>> = body.state.as_bytes().chunks(2).map(byte).collect();
        let state = state.ok_or_else(|| damaged(CHECKPOINT))?;
        Ok(Self { sequence: body.sequence, nonce: body.nonce, state })
    }
}

pub(crate) fn key(name: &str) -> Result<LedgerKey> {
    LedgerKey::parse(name)
}

pub(crate) fn dead_key(path: &DocumentPath) -> Result<LedgerKey> {
    LedgerKey::parse(format!("{DEAD}{:?}", path.key()))
}

/// The key of a record that is about what `name` names, whatever characters that has.
pub(crate) fn named_key(prefix: &str, name: &str) -> Result<LedgerKey> {
    let digest = blake3::hash(name.as_bytes()).to_hex();
    LedgerKey::parse(format!("{prefix}{}", &digest[..32]))
}

pub(crate) fn id_text(id: StoreId) -> String {
    id.to_string()
}

/// A record with its revision.
pub(crate) async fn read<B: DeserializeOwned>(
    ledger: &dyn Ledger,
    name: &str,
) -> Result<Option<(u64, B)>> {
    let Some(record) = ledger.read(&key(name)?).await? else { return Ok(None) };
    decode(name, &record.body).map(|body| Some((record.revision, body)))
}

pub(crate) fn decode<B: DeserializeOwned>(name: &str, body: &[u8]) -> Result<B> {
    match serde_json::from_slice::<Envelope<B>>(body) {
        Ok(Envelope { format: FORMAT, body }) => Ok(body),
        _ => Err(damaged(name)),
    }
}

/// Writes a record; `None` if it does not have the revision `expected` any more.
pub(crate) async fn write<B: Serialize + Sync>(
    ledger: &dyn Ledger,
    name: &str,
    expected: Option<u64>,
    body: &B,
) -> Result<Option<u64>> {
    let record = Envelope { format: FORMAT, body };
    let body = serde_json::to_vec(&record).map_err(|error| damaged(name).with_source(error))?;
    ledger.write(&key(name)?, expected, body).await
}

fn damaged(name: &str) -> Error {
    Error::new(ErrorKind::Internal, "replicate")
        .with_message(
            "a record of the route cannot be read; it is damaged or was written by a later release",
        )
        .with_fact("record", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_comes_back_as_it_was() {
        let position = Position { sequence: u64::MAX, nonce: 7, state: vec![0, 255, 16] };
        let body = PositionBody::from(&position);
        assert_eq!(Position::try_from(&body).unwrap(), position);
        let damaged = PositionBody { state: "0".into(), ..body.clone() };
        assert_eq!(Position::try_from(&damaged).unwrap().state, [0], "one digit is a byte, too");
        assert!(Position::try_from(&PositionBody { state: "zz".into(), ..body }).is_err());
    }

    #[test]
    fn a_record_of_another_form_is_not_read_as_ours() {
        let read = |text: &str| decode::<PinBody>(PIN, text.as_bytes());
        assert_eq!(read(r#"{"format":1,"shadow":"ab","sinceMs":7}"#).unwrap().since_ms, 7);
        for other in [r#"{"format":2,"shadow":"ab","sinceMs":7}"#, r#"{"shadow":"ab","sinceMs":7}"#]
        {
            assert_eq!(read(other).unwrap_err().kind(), ErrorKind::Internal);
        }
    }

    #[test]
    fn a_dead_letter_is_named_by_the_id_of_its_document() {
        let key = dead_key(&DocumentPath::parse("rooms/lobby").unwrap()).unwrap();
        assert_eq!(key.as_str().len(), DEAD.len() + 32);
    }
}
