//! The planner: what a query asks of a backend, decided once for all backends.

use std::cmp::Ordering;
use std::fmt;
use std::io::Write as _;

use serde_json::Value;

use crate::cursor::{self, Cursor, Fingerprint, Place};
use crate::document::Document;
use crate::error::{Error, Reason, Result};
use crate::extract::Extractor;
use crate::field::Field;
use crate::filter::{self, Filter, Operand, Operator};
use crate::index::{CollectionPattern, IndexDefinition};
use crate::path::{CollectionPath, DocumentId, DocumentPath};
use crate::query::{After, Direction, LIMIT_MAX, OrderBy, Query};
use crate::scalar::Scalar;

/// Most fields in an order.
pub const ORDER_FIELDS_MAX: usize = 4;

/// A checked query: what a backend has to answer, in the order it has to answer it.
#[derive(Clone, Debug)]
pub struct QueryPlan {
    collection: CollectionPath,
    pattern: CollectionPattern,
    filters: Vec<Filter>,
    order: Vec<OrderBy>,
    limit: u32,
    after: Option<Place>,
    show_deleted: bool,
    index: Option<IndexDefinition>,
    fingerprint: Fingerprint,
}

impl QueryPlan {
    /// Checks `query` and finds the index that serves it among `indexes`, the ready ones of the store.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument), or
    /// [`ErrorKind::IndexRequired`](crate::ErrorKind::IndexRequired) with the suggestion.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::{Direction, ErrorKind, Operator, Query, QueryPlan};
    ///
    /// let query = Query::new("rooms/lobby/messages")?
    ///     .filter("author", Operator::Equal, "ada")?
    ///     .order_by("sentAt", Direction::Descending)?;
    /// let error = QueryPlan::new(query.clone(), &[]).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::IndexRequired);
    /// let index = error.suggestion().unwrap().to_definition()?;
    /// assert!(QueryPlan::new(query, &[index]).is_ok());
    /// # Ok::<(), syntrix_storage_core::Error>(())
    /// ```
    pub fn new(query: Query, indexes: &[IndexDefinition]) -> Result<Self> {
        let mut plan = Self::check(query)?;
        plan.assign_index(indexes)?;
        Ok(plan)
    }

    /// Checks `query` without looking for an index yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument).
    pub fn check(mut query: Query) -> Result<Self> {
        filter::check_count(&query.filters)?;
        check_limit(query.limit)?;
        check_order(&query.order)?;
        let order = take_order(&mut query);
        let fingerprint = fingerprint(&query, &order);
        let after = query.after.map(|after| place(after, &order, &fingerprint)).transpose()?;
        let pattern = CollectionPattern::of(&query.collection);
        Ok(Self {
            collection: query.collection,
            pattern,
            filters: query.filters,
            order,
            limit: query.limit,
            after,
            show_deleted: query.show_deleted,
            index: None,
            fingerprint,
        })
    }

    /// Finds the index that serves the query among `indexes`, the ready ones of the store.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::IndexRequired`](crate::ErrorKind::IndexRequired) with the suggestion.
    pub fn assign_index(&mut self, indexes: &[IndexDefinition]) -> Result<()> {
        self.index = self.choose_index(indexes)?;
        Ok(())
    }

    /// The collection to read.
    pub fn collection(&self) -> &CollectionPath {
        &self.collection
    }

    /// The collection with `*` for its document segments.
    pub fn pattern(&self) -> &CollectionPattern {
        &self.pattern
    }

    /// All conditions; each must hold.
    pub fn filters(&self) -> &[Filter] {
        &self.filters
    }

    /// The effective order; empty means by key, ascending.
    pub fn order(&self) -> &[OrderBy] {
        &self.order
    }

    /// The direction in which the key breaks ties.
    pub fn key_direction(&self) -> Direction {
        self.order.last().map_or(Direction::Ascending, OrderBy::direction)
    }

    /// Most documents in the page.
    pub fn limit(&self) -> usize {
        self.limit as usize
    }

    /// How many rows a backend returns at most: one more than the page, which tells whether there is a next one.
    pub fn rows_max(&self) -> usize {
        self.limit() + 1
    }

    /// The place behind which the page starts.
    pub fn after(&self) -> Option<&Place> {
        self.after.as_ref()
    }

    /// Whether tombstones are part of the result.
    pub fn show_deleted(&self) -> bool {
        self.show_deleted
    }

    /// The operator's index that serves the query; a backend that needs its pattern in the text finds it here.
    pub fn index(&self) -> Option<&IndexDefinition> {
        self.index.as_ref()
    }

    /// Whether the rows come from one index range, so that the work is bounded by the page and not by the collection.
    pub fn is_bounded(&self) -> bool {
        let residual = |filter: &Filter| match filter.operator() {
            Operator::NotEqual | Operator::Contains | Operator::In => true,
            operator => operator.is_range() && !self.orders_by(filter.field()),
        };
        let served = self.index.is_some() || (self.filters.is_empty() && self.order.is_empty());
        served && !self.filters.iter().any(residual)
    }

    fn orders_by(&self, field: &Field) -> bool {
        self.order.iter().any(|term| term.field() == field)
    }

    /// The reference test: whether `document` belongs to the result, page and cursor aside.
    pub fn selects(&self, document: &Document, data: &Value) -> bool {
        (self.show_deleted || !document.is_deleted())
            && self.filters.iter().all(|filter| filter.matches(document, data))
    }

    /// The document's place in the effective order; `None` if it has no comparable value in an order field.
    pub fn place_of(&self, document: &Document) -> Option<Place> {
        let mut extractor = Extractor::new(document);
        let values =
            self.order.iter().map(|term| extractor.scalar(term.field())).collect::<Option<_>>();
        Some(Place { values: values?, key: *document.path().key() })
    }

    /// The reference order of two places.
    pub fn compare(&self, left: &Place, right: &Place) -> Ordering {
        let pairs = left.values.iter().zip(&right.values);
        let by_value = pairs
            .zip(&self.order)
            .map(|((left, right), term)| term.direction().apply(left.cmp(right)));
        by_value
            .fold(Ordering::Equal, Ordering::then)
            .then_with(|| self.key_direction().apply(left.key.cmp(&right.key)))
    }

    /// The cursor that continues behind `document`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) if the document is not one of this plan's.
    pub fn cursor_after(&self, document: &Document) -> Result<Cursor> {
        let place = self.place_of(document).ok_or_else(|| {
            Error::new(crate::ErrorKind::Internal, "query")
                .with_message("the backend returned a document without a comparable order value")
                .with_fact("path", document.path())
        })?;
        Ok(Cursor::encode(&self.fingerprint, &place))
    }

    /// Distinct fields with `==` or `in`, in byte order of their canonical form.
    fn equality_fields(&self) -> Vec<&Field> {
        let is_equality = |filter: &&Filter| {
            matches!(filter.operator(), Operator::Equal | Operator::In)
                && !filter.field().is_never_indexed()
        };
        let mut fields: Vec<_> =
            self.filters.iter().filter(is_equality).map(Filter::field).collect();
        fields.sort_by_cached_key(|field| field.to_string());
        fields.dedup();
        fields
    }

    /// The index rule: one field needs none, more need exactly the equality fields, then the order fields.
    fn choose_index(&self, indexes: &[IndexDefinition]) -> Result<Option<IndexDefinition>> {
        let equalities = self.equality_fields();
        let orders: Vec<_> = self
            .order
            .iter()
            .filter(|term| !equalities.contains(&term.field()) && !term.field().is_never_indexed())
            .collect();
        let fields = equalities.len() + orders.len();
        if fields == 0 {
            return Ok(None);
        }
        let serving = indexes.iter().find(|index| {
            index.pattern().matches(&self.collection) && serves(index, &equalities, &orders)
        });
        match serving {
            Some(index) => Ok(Some(index.clone())),
            None if fields == 1 => Ok(None),
            None => Err(self.index_required(&equalities, &orders)),
        }
    }

    fn index_required(&self, equalities: &[&Field], orders: &[&OrderBy]) -> Error {
        let fields = equalities
            .iter()
            .map(|field| OrderBy::of((*field).clone(), Direction::Ascending))
            .chain(orders.iter().map(|term| (*term).clone()))
            .collect();
        match IndexDefinition::new(self.pattern.as_str(), fields) {
            Ok(index) => Error::index_required(index.to_suggestion()),
            Err(error) => {
                error.with_fact("query", "no index can serve it; use fewer or shorter fields")
            }
        }
    }
}

fn serves(index: &IndexDefinition, equalities: &[&Field], orders: &[&OrderBy]) -> bool {
    let terms = index.fields();
    if terms.len() != equalities.len() + orders.len() {
        return false;
    }
    let (first, rest) = terms.split_at(equalities.len());
    let same_fields = rest.iter().zip(orders).all(|(term, order)| term.field() == order.field());
    let mut turned =
        rest.iter().zip(orders).map(|(term, order)| term.direction() != order.direction());
    let turned_first = turned.next();
    first.iter().all(|term| equalities.contains(&term.field()))
        && same_fields
        && turned.all(|other| Some(other) == turned_first)
}

fn check_limit(limit: u32) -> Result<()> {
    if (1..=LIMIT_MAX).contains(&limit) {
        return Ok(());
    }
    Err(Error::invalid("limit", Reason::Limit, "a page has 1 to 1000 documents")
        .with_fact("value", limit)
        .with_fact("limit", LIMIT_MAX))
}

fn check_order(order: &[OrderBy]) -> Result<()> {
    let repeated = |(position, term): (usize, &OrderBy)| {
        order[..position].iter().any(|earlier| earlier.field() == term.field())
    };
    if order.len() > ORDER_FIELDS_MAX || order.iter().enumerate().any(repeated) {
        let message = "an order has at most 4 fields, each once";
        return Err(Error::invalid("order_by", Reason::OrderBy, message)
            .with_fact("fields", order.len())
            .with_fact("limit", ORDER_FIELDS_MAX));
    }
    Ok(())
}

/// The order that was asked for, taken out of the query, or that of the first range filter.
fn take_order(query: &mut Query) -> Vec<OrderBy> {
    if !query.order.is_empty() {
        return std::mem::take(&mut query.order);
    }
    let range = query.filters.iter().find(|filter| filter.operator().is_range());
    range
        .map(|filter| OrderBy::of(filter.field().clone(), Direction::Ascending))
        .into_iter()
        .collect()
}

fn place(after: After, order: &[OrderBy], fingerprint: &Fingerprint) -> Result<Place> {
    let place = match after {
        After::Cursor(cursor) => cursor.decode(fingerprint)?,
        After::Values(values, path) => place_from_values(&values, &path)?,
    };
    if place.values.len() == order.len() { Ok(place) } else { Err(cursor::invalid()) }
}

fn place_from_values(values: &[Value], path: &DocumentPath) -> Result<Place> {
    let scalar =
        |value: &Value| Scalar::from_operand("cursor", value).map_err(|_| cursor::invalid());
    Ok(Place { values: values.iter().map(scalar).collect::<Result<_>>()?, key: *path.key() })
}

fn fingerprint(query: &Query, order: &[OrderBy]) -> Fingerprint {
    let mut bytes = Vec::with_capacity(256);
    push_text(&mut bytes, query.collection.as_str());
    for filter in &query.filters {
        push_text(&mut bytes, filter.field());
        push_text(&mut bytes, filter.operator().as_str());
        match filter.operand() {
            Operand::One(value) => cursor::encode_scalar(&mut bytes, value),
            Operand::Many(values) => {
                bytes.push(values.len() as u8);
                values.iter().for_each(|value| cursor::encode_scalar(&mut bytes, value));
            }
        }
    }
    for term in order {
        push_text(&mut bytes, term.field());
        push_text(&mut bytes, term.direction().as_str());
    }
    Fingerprint(*blake3::hash(&bytes).as_bytes())
}

/// The text's length and the text.
fn push_text(bytes: &mut Vec<u8>, text: impl fmt::Display) {
    let length_at = bytes.len();
    bytes.extend_from_slice(&[0; 4]);
    // Writing to a Vec cannot fail.
    let _ = write!(bytes, "{text}");
    let length = (bytes.len() - length_at - 4) as u32;
    bytes[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Reads rows a backend stored under `key` and makes sure that they are the asked document's.
///
/// # Errors
///
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) if two paths share a key: a hash collision or a damaged row.
pub fn check_stored_path(asked: &DocumentPath, stored: &str) -> Result<()> {
    if asked.as_str() == stored {
        return Ok(());
    }
    Err(Error::new(crate::ErrorKind::Internal, "")
        .with_message("the row under this document's key belongs to another path")
        .with_fact("path", asked)
        .with_fact("key", format!("{:?}", DocumentId::from_bytes(*asked.key().as_bytes()))))
}
