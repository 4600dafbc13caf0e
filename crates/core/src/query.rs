//! Queries as callers write them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cursor::Cursor;
use crate::document::Document;
use crate::error::Result;
use crate::field::Field;
use crate::filter::{Filter, Operator};
use crate::path::{CollectionPath, DocumentPath};
use crate::token::ResumeToken;

/// Documents in a page when the query names no limit.
pub const LIMIT_DEFAULT: u32 = 100;
/// Most documents in a page.
pub const LIMIT_MAX: u32 = 1000;

/// Ascending or descending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// Smallest first.
    #[serde(rename = "asc")]
    Ascending,
    /// Largest first.
    #[serde(rename = "desc")]
    Descending,
}

impl Direction {
    /// `asc` or `desc`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ascending => "asc",
            Self::Descending => "desc",
        }
    }

    /// The other direction.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }

    /// `ordering` as seen in this direction.
    #[must_use]
    pub const fn apply(self, ordering: std::cmp::Ordering) -> std::cmp::Ordering {
        match self {
            Self::Ascending => ordering,
            Self::Descending => ordering.reverse(),
        }
    }
}

/// A field and the direction to sort it in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderBy {
    field: Field,
    direction: Direction,
}

impl OrderBy {
    /// Checks and takes a field to order by.
    ///
    /// # Errors
    ///
    /// [`Reason::FieldPath`](crate::Reason::FieldPath).
    pub fn new(field: &str, direction: Direction) -> Result<Self> {
        Ok(Self::of(Field::parse(field)?, direction))
    }

    /// An order by a field that is parsed already.
    pub fn of(field: Field, direction: Direction) -> Self {
        Self { field, direction }
    }

    /// The field.
    pub fn field(&self) -> &Field {
        &self.field
    }

    /// The direction.
    pub fn direction(&self) -> Direction {
        self.direction
    }
}

/// Where a page starts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum After {
    Cursor(Cursor),
    Values(Vec<Value>, DocumentPath),
}

/// A question to one collection: filters that must all hold, an order, a limit.
///
/// Documents whose order fields are not all comparable are not in the result. Ties are broken by the document's key
/// in the direction of the last order field. Without an order, a range filter orders by its field; else by key.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use syntrix_storage_core::{Direction, Operator, Query};
///
/// # fn main() -> syntrix_storage_core::Result<()> {
/// let query = Query::new("rooms/lobby/messages")?
///     .filter("author", Operator::Equal, json!("ada"))?
///     .order_by("sentAt", Direction::Descending)?
///     .limit(20);
/// assert_eq!(query.collection().as_str(), "rooms/lobby/messages");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    pub(crate) collection: CollectionPath,
    pub(crate) filters: Vec<Filter>,
    pub(crate) order: Vec<OrderBy>,
    pub(crate) limit: u32,
    pub(crate) after: Option<After>,
    pub(crate) show_deleted: bool,
}

impl Query {
    /// All live documents of the collection at `path`.
    ///
    /// # Errors
    ///
    /// [`Reason::Path`](crate::Reason::Path).
    pub fn new(path: &str) -> Result<Self> {
        Ok(Self::of(CollectionPath::parse(path)?))
    }

    /// All live documents of `collection`.
    pub fn of(collection: CollectionPath) -> Self {
        let (filters, order, limit) = (Vec::new(), Vec::new(), LIMIT_DEFAULT);
        Self { collection, filters, order, limit, after: None, show_deleted: false }
    }

    /// Adds a condition; all must hold. Two on one field are two conditions.
    ///
    /// # Errors
    ///
    /// As [`Filter::new`].
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use syntrix_storage_core::{Operator, Query};
    ///
    /// let adults = Query::new("people")?.filter("age", Operator::GreaterOrEqual, 18)?;
    /// assert!(adults.filter("age", Operator::Less, json!(null)).is_err());
    /// # Ok::<(), syntrix_storage_core::Error>(())
    /// ```
    pub fn filter(
        self,
        field: &str,
        operator: Operator,
        operand: impl Into<Value>,
    ) -> Result<Self> {
        Ok(self.with_filter(Filter::new(field, operator, operand)?))
    }

    /// Adds a condition that is checked already.
    #[must_use]
    pub fn with_filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    /// Adds a field to sort by; the first one added decides first. At most 4.
    ///
    /// # Errors
    ///
    /// [`Reason::FieldPath`](crate::Reason::FieldPath).
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::{Direction, Query};
    ///
    /// let newest = Query::new("people")?.order_by("createdAt", Direction::Descending)?.limit(10);
    /// # drop(newest);
    /// # Ok::<(), syntrix_storage_core::Error>(())
    /// ```
    pub fn order_by(mut self, field: &str, direction: Direction) -> Result<Self> {
        self.order.push(OrderBy::new(field, direction)?);
        Ok(self)
    }

    /// Most documents in the page, 1 to 1000; 100 if never set.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// Continues behind the page that gave `cursor`.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::{Cursor, DocumentStore, Query, QueryOptions, Result};
    ///
    /// async fn count(store: &dyn DocumentStore, query: Query) -> Result<usize> {
    ///     let (mut count, mut next) = (0, Some(query.clone()));
    ///     while let Some(page) = next {
    ///         let page = store.query(page, QueryOptions::default()).await?;
    ///         count += page.documents.len();
    ///         next = page.next.map(|cursor| query.clone().after(cursor));
    ///     }
    ///     Ok(count)
    /// }
    /// ```
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(After::Cursor(cursor));
        self
    }

    /// Starts behind a place in the order: one value per order field, and the path that breaks ties.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use syntrix_storage_core::{Direction, DocumentPath, Query};
    ///
    /// // Behind everybody of 40 whose key is not higher than ada's; ada need not exist.
    /// let query = Query::new("people")?
    ///     .order_by("age", Direction::Ascending)?
    ///     .start_after(vec![json!(40)], DocumentPath::parse("people/ada")?);
    /// # drop(query);
    /// # Ok::<(), syntrix_storage_core::Error>(())
    /// ```
    #[must_use]
    pub fn start_after(mut self, values: Vec<Value>, path: DocumentPath) -> Self {
        self.after = Some(After::Values(values, path));
        self
    }

    /// Includes tombstones.
    #[must_use]
    pub fn show_deleted(mut self, show: bool) -> Self {
        self.show_deleted = show;
        self
    }

    /// The collection it reads.
    pub fn collection(&self) -> &CollectionPath {
        &self.collection
    }
}

/// One page of a query's result.
#[derive(Clone, Debug)]
pub struct Page {
    /// The documents in order.
    pub documents: Vec<Document>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<Cursor>,
    /// Where to [watch](crate::DocumentStore::watch) from to see every change after this very page; only if asked.
    pub resume_token: Option<ResumeToken>,
}
