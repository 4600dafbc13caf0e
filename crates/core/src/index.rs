//! Composite indexes: declaration, name, and the collections they serve.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::error::{Error, Reason, Result};
use crate::path::{CollectionPath, check_segments};
use crate::query::{Direction, OrderBy};

/// Most indexes in one store.
pub const INDEXES_MAX: usize = 32;
/// Most fields in one index.
pub const INDEX_FIELDS_MAX: usize = 4;
/// Most bytes of canonical field paths in one index, together.
pub const INDEX_BYTES_MAX: usize = 256;

/// The collections an index serves: a collection path in which `*` as a document segment stands for any one segment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionPattern(SmolStr);

impl CollectionPattern {
    /// Checks and takes a pattern.
    ///
    /// # Errors
    ///
    /// [`Reason::Path`] if it is no collection path.
    pub fn parse(text: &str) -> Result<Self> {
        if check_segments("collection", text)? % 2 == 0 {
            let message = "an index pattern is a collection path: an odd number of segments";
            return Err(Error::invalid("collection", Reason::Path, message));
        }
        Ok(Self(SmolStr::new(text)))
    }

    /// The pattern with `*` for every document segment of `collection`.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::{CollectionPath, CollectionPattern};
    ///
    /// let messages = CollectionPath::parse("rooms/lobby/messages")?;
    /// assert_eq!(CollectionPattern::of(&messages).as_str(), "rooms/*/messages");
    /// # Ok::<(), syntrix_storage_core::Error>(())
    /// ```
    pub fn of(collection: &CollectionPath) -> Self {
        let segments: Vec<_> = segments(collection.as_str())
            .map(|segment| match segment {
                PatternSegment::Collection(name) => name,
                PatternSegment::Any | PatternSegment::Document(_) => "*",
            })
            .collect();
        Self(segments.join("/").into())
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments with their roles, for a backend that writes the pattern into its own language.
    pub fn segments(&self) -> impl Iterator<Item = PatternSegment<'_>> {
        segments(&self.0)
    }

    /// Whether `collection` matches, segment by segment.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::{CollectionPath, CollectionPattern};
    ///
    /// let pattern = CollectionPattern::parse("rooms/*/messages")?;
    /// assert!(pattern.matches(&CollectionPath::parse("rooms/lobby/messages")?));
    /// assert!(!pattern.matches(&CollectionPath::parse("rooms")?));
    /// # Ok::<(), syntrix_storage_core::Error>(())
    /// ```
    pub fn matches(&self, collection: &CollectionPath) -> bool {
        let mut actual = collection.as_str().split('/');
        let matched = self.segments().all(|segment| match (segment, actual.next()) {
            (PatternSegment::Any, Some(_)) => true,
            (PatternSegment::Collection(name) | PatternSegment::Document(name), Some(other)) => {
                name == other
            }
            (_, None) => false,
        });
        matched && actual.next().is_none()
    }
}

/// One segment of a [`CollectionPattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternSegment<'text> {
    /// A collection's name, literal even when it is `*`.
    Collection(&'text str),
    /// A document's id, literal.
    Document(&'text str),
    /// Any document id.
    Any,
}

fn segments(text: &str) -> impl Iterator<Item = PatternSegment<'_>> {
    text.split('/').enumerate().map(|(position, segment)| match (position % 2, segment) {
        (0, name) => PatternSegment::Collection(name),
        (_, "*") => PatternSegment::Any,
        (_, name) => PatternSegment::Document(name),
    })
}

impl fmt::Display for CollectionPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for CollectionPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

/// An index as the planner and the backends see it: checked, with its derived name. Cheap to clone.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::{Direction, IndexDefinition, OrderBy};
///
/// # fn main() -> syntrix_storage_core::Result<()> {
/// let fields = vec![OrderBy::new("room", Direction::Ascending)?, OrderBy::new("ts", Direction::Ascending)?];
/// let index = IndexDefinition::new("rooms/*/messages", fields)?;
/// assert_eq!(index.name(), "ix_a2499e22cd6c");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexDefinition {
    name: Arc<str>,
    pattern: CollectionPattern,
    fields: Arc<[OrderBy]>,
}

impl IndexDefinition {
    /// Checks a declaration and derives its name.
    ///
    /// # Errors
    ///
    /// [`Reason::Path`] for the pattern, [`Reason::IndexTooWide`] for more than 4 fields or 256 bytes of field paths,
    /// [`Reason::Index`] for a field named twice or one that every index has anyway.
    pub fn new(pattern: &str, fields: Vec<OrderBy>) -> Result<Self> {
        let pattern = CollectionPattern::parse(pattern)?;
        check_width(&fields)?;
        check_fields(&fields)?;
        Ok(Self { name: derive_name(&pattern, &fields).into(), pattern, fields: fields.into() })
    }

    /// Derived from pattern and fields: the same index has the same name everywhere.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The collections it serves.
    pub fn pattern(&self) -> &CollectionPattern {
        &self.pattern
    }

    /// Its fields in order; the document id follows the last one.
    pub fn fields(&self) -> &[OrderBy] {
        &self.fields
    }

    /// The machine-readable form.
    pub fn to_suggestion(&self) -> IndexSuggestion {
        let field = |term: &OrderBy| SuggestedField {
            field: term.field().to_string(),
            direction: term.direction(),
        };
        IndexSuggestion {
            name: self.name.as_ref().to_owned(),
            collection: self.pattern.to_string(),
            fields: self.fields.iter().map(field).collect(),
        }
    }
}

fn check_width(fields: &[OrderBy]) -> Result<()> {
    let bytes: usize = fields.iter().map(|term| term.field().to_string().len()).sum();
    if fields.is_empty() || fields.len() > INDEX_FIELDS_MAX || bytes > INDEX_BYTES_MAX {
        let message = "an index has 1 to 4 fields of together at most 256 bytes";
        return Err(Error::invalid("fields", Reason::IndexTooWide, message)
            .with_fact("fields", fields.len())
            .with_fact("bytes", bytes));
    }
    Ok(())
}

fn check_fields(fields: &[OrderBy]) -> Result<()> {
    for (position, term) in fields.iter().enumerate() {
        let name = term.field().to_string();
        if fields[..position].iter().any(|earlier| earlier.field() == term.field()) {
            return Err(Error::invalid(name, Reason::Index, "an index names a field once"));
        }
        if term.field().is_never_indexed() {
            let message = "collection, parent and deleted are part of every index; leave them out";
            return Err(Error::invalid(name, Reason::Index, message));
        }
    }
    Ok(())
}

/// `ix_` and 12 hex digits of BLAKE3 over the canonical parts joined by U+0000, which occurs in none of them.
fn derive_name(pattern: &CollectionPattern, fields: &[OrderBy]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(pattern.as_str().as_bytes());
    for term in fields {
        hasher.update(b"\0").update(term.field().to_string().as_bytes());
        hasher.update(b"\0").update(term.direction().as_str().as_bytes());
    }
    format!("ix_{}", &hasher.finalize().to_hex()[..12])
}

/// The index a query needs, in the form the error carries and `index create` takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexSuggestion {
    /// Derived from the rest; checked when given back.
    #[serde(default)]
    pub name: String,
    /// The collection pattern.
    pub collection: String,
    /// The fields in index order.
    pub fields: Vec<SuggestedField>,
}

/// One field of an [`IndexSuggestion`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuggestedField {
    /// Canonical field path.
    pub field: String,
    /// Its direction.
    pub direction: Direction,
}

impl IndexSuggestion {
    /// One line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The checked declaration.
    ///
    /// # Errors
    ///
    /// As [`IndexDefinition::new`], and [`Reason::Index`] if a name is given that is not the derived one.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::IndexSuggestion;
    ///
    /// let json = r#"{"collection":"c","fields":[{"field":"room","direction":"asc"}]}"#;
    /// let suggestion: IndexSuggestion = serde_json::from_str(json).unwrap();
    /// assert!(suggestion.to_definition()?.name().starts_with("ix_"));
    /// # Ok::<(), syntrix_storage_core::Error>(())
    /// ```
    pub fn to_definition(&self) -> Result<IndexDefinition> {
        let fields = self.fields.iter().map(|term| OrderBy::new(&term.field, term.direction));
        let definition = IndexDefinition::new(&self.collection, fields.collect::<Result<_>>()?)?;
        if !self.name.is_empty() && self.name != definition.name() {
            let message = "an index name is derived from its definition; leave it out";
            return Err(Error::invalid("name", Reason::Index, message)
                .with_fact("expected", definition.name()));
        }
        Ok(definition)
    }
}
