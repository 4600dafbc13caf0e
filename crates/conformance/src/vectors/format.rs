//! A vector as it is written.

use serde::Deserialize;
use serde_json::{Map, Value};
use syntrix_storage_core::{Direction, DocumentPath, Filter, OrderBy, Query, Result, WriteOptions};

use super::macros;
use crate::check::{CaseResult, Failure};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vector {
    pub(super) name: String,
    #[serde(default)]
    pub(super) setup: Vec<SetupDocument>,
    pub(super) op: Call,
    pub(super) expect: Expected,
}

impl Vector {
    pub(super) fn parse(line: &str) -> CaseResult<Self> {
        let no_vector = |error| Failure::new(format_args!("the line is no vector: {error}"));
        let value = macros::expand(serde_json::from_str(line).map_err(no_vector)?)?;
        serde_json::from_value(value).map_err(no_vector)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SetupDocument {
    pub(super) path: String,
    pub(super) data: Value,
    pub(super) at: Option<i64>,
    #[serde(default)]
    pub(super) updates: u32,
    #[serde(default)]
    pub(super) deleted: bool,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Call {
    Query(Question),
    Pages(Question),
    Create {
        path: String,
        data: Value,
        at: Option<i64>,
    },
    Update {
        path: String,
        data: Value,
        #[serde(default)]
        precondition: Vec<Condition>,
        at: Option<i64>,
    },
    Patch {
        path: String,
        patch: Value,
        #[serde(default)]
        precondition: Vec<Condition>,
        at: Option<i64>,
    },
    Delete {
        path: String,
        #[serde(default)]
        precondition: Vec<Condition>,
        at: Option<i64>,
    },
    Get {
        path: String,
        at: Option<i64>,
    },
    Sequence {
        steps: Vec<Step>,
    },
}

impl Call {
    pub(super) fn path(&self) -> Option<&str> {
        match self {
            Self::Create { path, .. }
            | Self::Update { path, .. }
            | Self::Patch { path, .. }
            | Self::Delete { path, .. }
            | Self::Get { path, .. } => Some(path),
            Self::Query(_) | Self::Pages(_) | Self::Sequence { .. } => None,
        }
    }

    pub(super) fn at(&self) -> Option<i64> {
        match self {
            Self::Query(question) | Self::Pages(question) => question.at,
            Self::Create { at, .. }
            | Self::Update { at, .. }
            | Self::Patch { at, .. }
            | Self::Delete { at, .. }
            | Self::Get { at, .. } => *at,
            Self::Sequence { .. } => None,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Step {
    #[serde(flatten)]
    pub(super) call: Call,
    #[serde(rename = "expectError")]
    pub(super) expect_error: Option<String>,
}

impl Step {
    pub(super) fn only(call: Call) -> Self {
        Self { call, expect_error: None }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Question {
    collection: String,
    #[serde(default)]
    filters: Vec<Condition>,
    #[serde(default)]
    order_by: Vec<Term>,
    limit: Option<u32>,
    start_after: Option<Place>,
    #[serde(default)]
    show_deleted: bool,
    pub(super) indexes: Option<Vec<Index>>,
    at: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Condition {
    field: String,
    op: String,
    value: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Term {
    field: String,
    direction: Direction,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    values: Vec<Value>,
    path: String,
}

/// Its `name` is the vector's own; a store derives another one.
#[derive(Debug, Deserialize)]
pub(super) struct Index {
    pub(super) collection: String,
    pub(super) fields: Vec<Term>,
}

impl Question {
    pub(super) fn to_query(&self) -> Result<Query> {
        let mut query = Query::new(&self.collection)?.show_deleted(self.show_deleted);
        for condition in &self.filters {
            query = query.with_filter(condition.to_filter()?);
        }
        for term in &self.order_by {
            query = query.order_by(&term.field, term.direction)?;
        }
        if let Some(limit) = self.limit {
            query = query.limit(limit);
        }
        if let Some(Place { values, path }) = &self.start_after {
            query = query.start_after(values.clone(), DocumentPath::parse(path)?);
        }
        Ok(query)
    }
}

impl Condition {
    fn to_filter(&self) -> Result<Filter> {
        Filter::new(&self.field, self.op.parse()?, self.value.clone())
    }
}

pub(super) fn order(terms: &[Term]) -> Result<Vec<OrderBy>> {
    terms.iter().map(|term| OrderBy::new(&term.field, term.direction)).collect()
}

pub(super) fn write_options(precondition: &[Condition]) -> Result<WriteOptions> {
    let add = |options: WriteOptions, condition: &Condition| {
        Ok(options.with_precondition(condition.to_filter()?))
    };
    precondition.iter().try_fold(WriteOptions::default(), add)
}

#[derive(Debug, Deserialize)]
pub(super) struct Expected {
    pub(super) ids: Option<Vec<String>>,
    pub(super) pages: Option<Vec<Vec<String>>>,
    pub(super) doc: Option<Map<String, Value>>,
    #[serde(flatten)]
    pub(super) error: Option<ExpectedError>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ExpectedError {
    #[serde(rename = "error")]
    pub(super) kind: String,
    pub(super) reason: Option<String>,
    pub(super) suggestion: Option<Value>,
}

impl ExpectedError {
    pub(super) fn of_kind(kind: String) -> Self {
        Self { kind, reason: None, suggestion: None }
    }
}
