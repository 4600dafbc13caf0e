//! What a write left behind, short enough for a journal.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use syntrix_storage::Document;

use crate::data;
use crate::failure::{Context, Failure, Result};

/// A tombstone, or the hash of a document's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fingerprint {
    /// The write was a delete.
    Deleted,
    /// BLAKE3 over the data with its keys sorted.
    Data(String),
}

impl Fingerprint {
    /// Of a document as it is stored.
    ///
    /// # Errors
    ///
    /// When its text is no JSON.
    pub(crate) fn of_document(document: &Document) -> Result<Self> {
        if document.is_deleted() {
            return Ok(Self::Deleted);
        }
        let data = document.value().context(|| format!("decoding {}", document.path()))?;
        Ok(Self::of(&data))
    }

    /// As [`Fingerprint::of_document`], of a document that must be all there.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub(crate) fn of_whole(document: &Document) -> Result<Self> {
        let left = Self::of_document(document)?;
        if document.is_deleted() || document.value().is_ok_and(|data| data::is_whole(&data)) {
            return Ok(left);
        }
        let (path, version) = (document.path(), document.version());
        Err(Failure::new(format!("version {version} of {path} is only partly there")))
    }

    /// Of a live document's data. `Value` keeps its keys sorted, so member order does not matter.
    fn of(data: &Value) -> Self {
        Self::Data(blake3::hash(data.to_string().as_bytes()).to_hex().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::from_str;

    #[test]
    fn the_order_of_members_does_not_matter_and_values_do() {
        let of = |text: &str| Fingerprint::of(&from_str(text).unwrap());
        assert_eq!(of(r#"{"a":1,"b":{"c":2,"d":3}}"#), of(r#"{"b":{"d":3,"c":2},"a":1}"#));
        assert_ne!(of(r#"{"a":1}"#), of(r#"{"a":2}"#));
    }
}
