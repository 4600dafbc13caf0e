//! A stored document: path, version, times and a body that stays raw JSON until somebody asks.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::ser::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::path::DocumentPath;
use crate::time::Timestamp;

/// Counts the successful writes of one document: 1 after the first create, and on over tombstones.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Version(i64);

impl Version {
    /// The version after the first create.
    pub const FIRST: Self = Self(1);

    /// The version with this number, as a backend stored it.
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The version after one more write.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// A document's data as JSON text. Cheap to clone; decoded only on demand.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(Arc<str>);

impl Body {
    /// The body of a tombstone.
    pub fn empty() -> Self {
        Self(Arc::from("{}"))
    }

    /// Text that [`encode_data`](crate::encode_data) made, or that a backend read back.
    pub fn from_canonical(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The JSON text. The order of members is the backend's and not significant.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Body {
    /// Shows the size only: bodies do not belong in logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Body({} bytes)", self.0.len())
    }
}

/// A document as it is at one version.
///
/// Serialises to the flat form `{id, collection, …data, version, createdAt, updatedAt, deleted?}` with sorted keys.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::{Body, Document, DocumentPath, Timestamp};
///
/// # fn main() -> syntrix_storage_core::Result<()> {
/// let path = DocumentPath::parse("rooms/lobby")?;
/// let body = Body::from_canonical(r#"{"topic":"rust"}"#);
/// let document = Document::first(path, Timestamp::from_milliseconds(1000), body);
/// assert_eq!(document.value()?["topic"], "rust");
/// assert_eq!(
///     serde_json::to_string(&document).unwrap(),
///     r#"{"collection":"rooms","createdAt":1000,"id":"lobby","topic":"rust","updatedAt":1000,"version":1}"#,
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    path: DocumentPath,
    version: Version,
    created_at: Timestamp,
    updated_at: Timestamp,
    deleted: bool,
    body: Body,
}

/// The fields of a [`Document`] beside path and body, as a backend stores them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Counts writes.
    pub version: Version,
    /// When it was created or revived; tells one life of a path from the next.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// Whether this is a tombstone.
    pub deleted: bool,
}

impl Document {
    /// A document from what a backend stored.
    pub fn from_parts(path: DocumentPath, metadata: Metadata, body: Body) -> Self {
        let Metadata { version, created_at, updated_at, deleted } = metadata;
        Self { path, version, created_at, updated_at, deleted, body }
    }

    /// A document created now at a path that has no tombstone.
    pub fn first(path: DocumentPath, now: Timestamp, body: Body) -> Self {
        let metadata =
            Metadata { version: Version::FIRST, created_at: now, updated_at: now, deleted: false };
        Self::from_parts(path, metadata, body)
    }

    /// This tombstone brought back to life: the version continues, `created_at` is new.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::{Body, Document, DocumentPath, Timestamp, Version};
    ///
    /// let at = Timestamp::from_milliseconds;
    /// let first = Document::first(DocumentPath::parse("rooms/lobby")?, at(1), Body::empty());
    /// let revived = first.tombstone(at(2)).revived(at(3), Body::empty());
    /// assert_eq!((revived.version(), revived.created_at()), (Version::new(3), at(3)));
    /// # Ok::<(), syntrix_storage_core::Error>(())
    /// ```
    #[must_use]
    pub fn revived(&self, now: Timestamp, body: Body) -> Self {
        let updated_at = now.max(self.updated_at);
        let metadata = Metadata {
            version: self.version.next(),
            created_at: updated_at,
            updated_at,
            deleted: false,
        };
        Self::from_parts(self.path.clone(), metadata, body)
    }

    /// This document with another body, one version later.
    #[must_use]
    pub fn replaced(&self, now: Timestamp, body: Body) -> Self {
        Self::from_parts(self.path.clone(), self.next_metadata(now, false), body)
    }

    /// The tombstone of this document, one version later.
    #[must_use]
    pub fn tombstone(&self, now: Timestamp) -> Self {
        Self::from_parts(self.path.clone(), self.next_metadata(now, true), Body::empty())
    }

    fn next_metadata(&self, now: Timestamp, deleted: bool) -> Metadata {
        Metadata {
            version: self.version.next(),
            created_at: self.created_at,
            updated_at: now.max(self.updated_at),
            deleted,
        }
    }

    /// The document's path.
    pub fn path(&self) -> &DocumentPath {
        &self.path
    }

    /// The last segment of the path.
    pub fn id(&self) -> &str {
        self.path.id()
    }

    /// Counts the successful writes.
    pub fn version(&self) -> Version {
        self.version
    }

    /// When the document was created or revived.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// When the document was last written; never goes back.
    pub fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    /// Whether this is a tombstone.
    pub fn is_deleted(&self) -> bool {
        self.deleted
    }

    /// Version, times and tombstone mark together.
    pub fn metadata(&self) -> Metadata {
        Metadata {
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
            deleted: self.deleted,
        }
    }

    /// The data as raw JSON, without parsing it.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The data as JSON text.
    pub fn raw(&self) -> &str {
        self.body.as_str()
    }

    /// The data as a tree.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if the stored text is damaged.
    pub fn value(&self) -> Result<Value> {
        self.decode()
    }

    /// The data as the caller's own type.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if the data does not fit `T`.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde::Deserialize;
    /// use syntrix_storage_core::{Body, Document, DocumentPath, Timestamp};
    ///
    /// #[derive(Deserialize)]
    /// struct Room {
    ///     topic: String,
    /// }
    ///
    /// let path = DocumentPath::parse("rooms/lobby")?;
    /// let document = Document::first(path, Timestamp::default(), Body::from_canonical(r#"{"topic":"rust"}"#));
    /// assert_eq!(document.decode::<Room>()?.topic, "rust");
    /// # Ok::<(), syntrix_storage_core::Error>(())
    /// ```
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(self.raw()).map_err(|error| self.undecodable(&error))
    }

    /// serde_json's own text may quote a value, so only the position is kept.
    fn undecodable(&self, error: &serde_json::Error) -> Error {
        Error::new(ErrorKind::Internal, "")
            .with_message("the document's data does not decode into the asked type")
            .with_fact("path", &self.path)
            .with_fact("version", self.version)
            .with_fact("category", format!("{:?}", error.classify()))
            .with_fact("column", error.column())
    }

    /// The flat form: data and system fields side by side.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if the stored text is damaged.
    pub fn flat(&self) -> Result<Map<String, Value>> {
        let mut flat: Map<String, Value> = self.decode()?;
        flat.insert("id".into(), self.id().into());
        flat.insert("collection".into(), self.path.collection_text().into());
        flat.insert("version".into(), self.version.get().into());
        flat.insert("createdAt".into(), self.created_at.as_milliseconds().into());
        flat.insert("updatedAt".into(), self.updated_at.as_milliseconds().into());
        if self.deleted {
            flat.insert("deleted".into(), true.into());
        }
        Ok(flat)
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.flat().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}
