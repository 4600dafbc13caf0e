//! Field paths: one place in a document, named in filters, orders, index declarations and patches.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::document::Document;
use crate::error::{Error, Reason, Result};
use crate::scalar::Scalar;
use crate::value::KEY_BYTES_MAX;

/// Most segments in a field path: no value lies deeper.
pub const FIELD_SEGMENTS_MAX: usize = 64;

/// A field the store itself keeps beside the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SystemField {
    /// The whole path.
    Fullpath,
    /// The collection path.
    Collection,
    /// The document above the collection; empty at the top.
    Parent,
    /// When the document was created or revived, milliseconds.
    CreatedAt,
    /// When it was last written, milliseconds.
    UpdatedAt,
    /// Counts successful writes.
    Version,
    /// Whether this is a tombstone.
    Deleted,
}

impl SystemField {
    const ALL: [Self; 7] = [
        Self::Fullpath,
        Self::Collection,
        Self::Parent,
        Self::CreatedAt,
        Self::UpdatedAt,
        Self::Version,
        Self::Deleted,
    ];

    /// The name in filters and in the flat document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fullpath => "fullpath",
            Self::Collection => "collection",
            Self::Parent => "parent",
            Self::CreatedAt => "createdAt",
            Self::UpdatedAt => "updatedAt",
            Self::Version => "version",
            Self::Deleted => "deleted",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str() == name)
    }

    /// Whether a data object may not have this key at its top level.
    pub(crate) fn is_reserved(name: &str) -> bool {
        name == "_id" || Self::parse(name).is_some()
    }

    /// The field's value in `document`.
    pub fn of(self, document: &Document) -> Scalar {
        match self {
            Self::Fullpath => Scalar::String(document.path().as_str().to_owned()),
            Self::Collection => Scalar::String(document.path().collection_text().to_owned()),
            Self::Parent => Scalar::String(document.path().parent().to_owned()),
            Self::CreatedAt => Scalar::Integer(document.created_at().as_milliseconds()),
            Self::UpdatedAt => Scalar::Integer(document.updated_at().as_milliseconds()),
            Self::Version => Scalar::Integer(document.version().get()),
            Self::Deleted => Scalar::Bool(document.is_deleted()),
        }
    }
}

/// The keys that lead to one place in the data. Compared as a list, never as text.
///
/// Written `a.b`, with backticks around a key that is empty or has a dot or backtick: ``releases.`1.0.1`.status``.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Arc<[String]>);

impl FieldPath {
    /// The keys from the top down; at least one.
    pub fn keys(&self) -> &[String] {
        &self.0
    }

    /// The value at this path; objects are entered, arrays never.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use syntrix_storage_core::Field;
    ///
    /// let data = json!({"releases": {"1.0.1": [7]}});
    /// let Field::Data(path) = Field::parse("releases.`1.0.1`")? else { unreachable!() };
    /// assert_eq!(path.find(&data), Some(&json!([7])));
    /// let Field::Data(path) = Field::parse("releases.`1.0.1`.0")? else { unreachable!() };
    /// assert_eq!(path.find(&data), None);
    /// # Ok::<(), syntrix_storage_core::Error>(())
    /// ```
    pub fn find<'value>(&self, data: &'value Value) -> Option<&'value Value> {
        self.0.iter().try_fold(data, |value, key| value.as_object()?.get(key))
    }
}

impl fmt::Display for FieldPath {
    /// The canonical form: a key is bare where it can be and quoted otherwise.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, key) in self.0.iter().enumerate() {
            if position > 0 {
                formatter.write_str(".")?;
            }
            if key.is_empty() || key.contains(['.', '`']) {
                write!(formatter, "`{}`", key.replace('`', "``"))?;
            } else {
                formatter.write_str(key)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for FieldPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A field that filters, orders and indexes can name.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::Field;
///
/// # fn main() -> syntrix_storage_core::Result<()> {
/// assert_eq!(Field::parse("`room`")?, Field::parse("room")?);
/// assert_eq!(Field::parse("releases.`1.0.1`")?.to_string(), "releases.`1.0.1`");
/// assert!(Field::parse("version.minor").is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// A field the store keeps.
    System(SystemField),
    /// A place in the data.
    Data(FieldPath),
}

impl Field {
    /// Parses a field path; a system name, quoted or not, is the system field.
    ///
    /// # Errors
    ///
    /// [`Reason::FieldPath`].
    pub fn parse(text: &str) -> Result<Self> {
        let keys = parse_keys(text)?;
        let first = keys[0].as_str();
        if first == "_id" || (first == "id" && keys.len() == 1) {
            return Err(invalid(text, "this name cannot be addressed; use fullpath instead"));
        }
        if first == "id" {
            return Err(invalid(text, "id is never stored, so nothing lies below it"));
        }
        match SystemField::parse(first) {
            Some(field) if keys.len() == 1 => Ok(Self::System(field)),
            Some(_) => Err(invalid(text, "nothing lies below a system field")),
            None => Ok(Self::Data(FieldPath(keys.into()))),
        }
    }

    /// Whether an index never needs to list the field, because every index has it anyway.
    pub(crate) fn is_never_indexed(&self) -> bool {
        matches!(
            self,
            Self::System(SystemField::Collection | SystemField::Parent | SystemField::Deleted)
        )
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(field) => formatter.write_str(field.as_str()),
            Self::Data(path) => fmt::Display::fmt(path, formatter),
        }
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A patch key: like a field, but `id` is told apart and system names are refused.
pub(crate) enum PatchTarget {
    OwnId,
    Data(FieldPath),
}

pub(crate) fn parse_patch_target(text: &str) -> Result<PatchTarget> {
    let keys = parse_keys(text)?;
    let (first, alone) = (keys[0].as_str(), keys.len() == 1);
    match (first, alone) {
        ("id", true) => Ok(PatchTarget::OwnId),
        ("id", false) => Err(invalid(text, "id is never stored, so nothing lies below it")),
        (name, true) if SystemField::is_reserved(name) => Err(crate::value::reserved(name)),
        (name, false) if SystemField::is_reserved(name) => {
            Err(invalid(text, "nothing lies below a system field"))
        }
        _ => Ok(PatchTarget::Data(FieldPath(keys.into()))),
    }
}

fn parse_keys(text: &str) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    let mut rest = text;
    loop {
        let (key, after) = parse_key(text, rest)?;
        if key.len() > KEY_BYTES_MAX || key.contains('\0') {
            return Err(invalid_key(text, "a segment has at most 512 bytes and no U+0000"));
        }
        keys.push(key);
        if keys.len() > FIELD_SEGMENTS_MAX {
            return Err(invalid_key(text, "a field path has at most 64 segments"));
        }
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(keys),
            None => return Err(invalid(text, "after a closing backtick comes '.' or the end")),
        }
    }
}

/// One segment and what follows it.
fn parse_key<'text>(whole: &str, rest: &'text str) -> Result<(String, &'text str)> {
    if let Some(quoted) = rest.strip_prefix('`') {
        return parse_quoted(whole, quoted);
    }
    let end = rest.find('.').unwrap_or(rest.len());
    let (key, after) = rest.split_at(end);
    if key.is_empty() {
        return Err(invalid(whole, "a segment is empty; write the empty key as ``"));
    }
    if key.contains('`') {
        return Err(invalid(whole, "a key with a backtick is quoted and the backtick doubled"));
    }
    Ok((key.to_owned(), after))
}

fn parse_quoted<'text>(whole: &str, quoted: &'text str) -> Result<(String, &'text str)> {
    let mut key = String::new();
    let mut rest = quoted;
    loop {
        let Some(end) = rest.find('`') else {
            return Err(invalid(whole, "a quoted segment has no closing backtick"));
        };
        key.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('`') {
            Some(after) => {
                key.push('`');
                rest = after;
            }
            None => return Ok((key, rest)),
        }
    }
}

fn invalid(text: &str, message: &'static str) -> Error {
    if text.len() > KEY_BYTES_MAX {
        return invalid_key(text, message);
    }
    Error::invalid(text.replace('\0', "\u{fffd}"), Reason::FieldPath, message)
}

/// For a path too long or too odd to be shown.
fn invalid_key(text: &str, message: &'static str) -> Error {
    Error::invalid("field", Reason::FieldPath, message).with_fact("bytes", text.len())
}
