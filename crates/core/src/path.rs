//! Document and collection paths, and the id a path hashes to.

use std::fmt;

use smol_str::SmolStr;

use crate::error::{Error, Reason, Result};

/// Most bytes in a document or collection path.
pub const PATH_BYTES_MAX: usize = 512;

/// First 16 bytes of BLAKE3 over the full path: the primary key in every backend.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId([u8; 16]);

impl DocumentId {
    /// The id with these bytes, as a backend stored it.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    fn of(fullpath: &str) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::hash(fullpath.as_bytes()).as_bytes()[..16]);
        Self(id)
    }
}

impl fmt::Debug for DocumentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// The path of a document: `collection/id`, or deeper `collection/id/collection/id`.
///
/// Cheap to clone. An even number of segments, at most 512 bytes in all; a segment is not empty, not `.` or `..`,
/// and has no control characters. Every other character is allowed and none is ever a pattern.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::DocumentPath;
///
/// # fn main() -> syntrix_storage_core::Result<()> {
/// let path = DocumentPath::parse("rooms/lobby/messages/m1")?;
/// assert_eq!(path.collection_text(), "rooms/lobby/messages");
/// assert_eq!(path.id(), "m1");
/// assert!(DocumentPath::parse("rooms").is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DocumentPath {
    /// Short paths lie in place: reading one of many that were parsed beforehand touches no other memory.
    text: SmolStr,
    collection_bytes: usize,
    key: DocumentId,
}

impl DocumentPath {
    /// Checks and takes a path.
    ///
    /// # Errors
    ///
    /// [`Reason::Path`] if a rule above is broken.
    pub fn parse(text: &str) -> Result<Self> {
        let segments = check_segments("path", text)?;
        if segments % 2 != 0 {
            return Err(invalid(
                "path",
                "a document path has an even number of segments: collection/id",
            ));
        }
        Self::from_stored(text, DocumentId::of(text))
    }

    /// A path as a backend stored it beside its key; only the shape needed here is checked.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) if the text is no document path: the stored row is damaged.
    pub fn from_stored(text: &str, key: DocumentId) -> Result<Self> {
        match text.rfind('/') {
            Some(collection_bytes) if collection_bytes > 0 => {
                Ok(Self { text: SmolStr::new(text), collection_bytes, key })
            }
            _ => Err(Error::new(crate::ErrorKind::Internal, "")
                .with_message("a stored row has no valid path")
                .with_fact("key", format!("{key:?}"))),
        }
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The last segment.
    pub fn id(&self) -> &str {
        &self.text[self.collection_bytes + 1..]
    }

    /// The path without the last segment.
    pub fn collection_text(&self) -> &str {
        &self.text[..self.collection_bytes]
    }

    /// The collection the document lies in.
    pub fn collection(&self) -> CollectionPath {
        CollectionPath(SmolStr::new(self.collection_text()))
    }

    /// The document the collection lies under; empty for a top-level collection.
    pub fn parent(&self) -> &str {
        parent_of(self.collection_text())
    }

    /// The primary key in every backend.
    pub fn key(&self) -> &DocumentId {
        &self.key
    }
}

impl PartialEq for DocumentPath {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for DocumentPath {}

impl PartialOrd for DocumentPath {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for DocumentPath {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl std::hash::Hash for DocumentPath {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// The path of a collection: an odd number of segments, otherwise as [`DocumentPath`].
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::CollectionPath;
///
/// # fn main() -> syntrix_storage_core::Result<()> {
/// let messages = CollectionPath::parse("rooms/lobby/messages")?;
/// assert_eq!(messages.document("m1")?.as_str(), "rooms/lobby/messages/m1");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionPath(SmolStr);

impl CollectionPath {
    /// Checks and takes a path.
    ///
    /// # Errors
    ///
    /// [`Reason::Path`] if a rule is broken.
    pub fn parse(text: &str) -> Result<Self> {
        let segments = check_segments("collection", text)?;
        if segments % 2 == 0 {
            return Err(invalid(
                "collection",
                "a collection path has an odd number of segments: collection, or collection/id/collection",
            ));
        }
        Ok(Self(SmolStr::new(text)))
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The document the collection lies under; empty for a top-level collection.
    pub fn parent(&self) -> &str {
        parent_of(&self.0)
    }

    /// The path of the document `id` in this collection.
    ///
    /// # Errors
    ///
    /// [`Reason::Path`] if `id` is no valid segment.
    pub fn document(&self, id: &str) -> Result<DocumentPath> {
        if id.contains('/') {
            return Err(invalid("id", "a document id is one path segment and has no '/'"));
        }
        DocumentPath::parse(&format!("{}/{id}", self.0))
    }
}

macro_rules! text_forms {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), formatter)
            }
        }

        impl std::str::FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::parse(text)
            }
        }
    };
}

text_forms!(DocumentPath);
text_forms!(CollectionPath);

fn parent_of(collection: &str) -> &str {
    collection.rfind('/').map_or("", |end| &collection[..end])
}

/// Checks every segment and returns how many there are.
pub(crate) fn check_segments(field: &'static str, text: &str) -> Result<usize> {
    if text.len() > PATH_BYTES_MAX {
        return Err(invalid(field, "a path has at most 512 bytes")
            .with_fact("bytes", text.len())
            .with_fact("limit", PATH_BYTES_MAX));
    }
    let mut count = 0;
    for segment in text.split('/') {
        check_segment(field, segment)?;
        count += 1;
    }
    Ok(count)
}

fn check_segment(field: &'static str, segment: &str) -> Result<()> {
    if segment.is_empty() {
        return Err(invalid(field, "a path segment is empty; remove the extra '/'"));
    }
    if segment == "." || segment == ".." {
        return Err(invalid(field, "'.' and '..' are no path segments"));
    }
    if segment.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return Err(invalid(field, "a path segment has a control character"));
    }
    Ok(())
}

fn invalid(field: &'static str, message: &'static str) -> Error {
    Error::invalid(field, Reason::Path, message)
}
