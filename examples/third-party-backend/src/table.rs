//! Rows: a document under its path, an index declaration under its name.

use redb::{Database, TableDefinition};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use syntrix_storage::{
    Body, Document, DocumentPath, Error, ErrorKind, Metadata, Result, Timestamp, Version,
};

use crate::factory::unavailable;

pub(crate) const DOCUMENTS: TableDefinition<'_, &str, &str> = TableDefinition::new("documents");
pub(crate) const INDEXES: TableDefinition<'_, &str, &str> = TableDefinition::new("indexes");

/// Creates the tables, so that readers find them.
pub(crate) fn prepare(database: &Database) -> Result<()> {
    let transaction = database.begin_write().map_err(unavailable)?;
    transaction.open_table(DOCUMENTS).map_err(unavailable)?;
    transaction.open_table(INDEXES).map_err(unavailable)?;
    transaction.commit().map_err(unavailable)
}

/// A stored document; its body stays text.
#[derive(Serialize, Deserialize)]
struct Row<'text> {
    version: i64,
    created: i64,
    updated: i64,
    deleted: bool,
    #[serde(borrow)]
    data: &'text RawValue,
}

pub(crate) fn encode(document: &Document) -> Result<String> {
    let metadata = document.metadata();
    let data = serde_json::from_str(document.raw()).map_err(damaged)?;
    let row = Row {
        version: metadata.version.get(),
        created: metadata.created_at.as_milliseconds(),
        updated: metadata.updated_at.as_milliseconds(),
        deleted: metadata.deleted,
        data,
    };
    serde_json::to_string(&row).map_err(damaged)
}

pub(crate) fn decode(path: DocumentPath, text: &str) -> Result<Document> {
    let row: Row<'_> = serde_json::from_str(text).map_err(damaged)?;
    let metadata = Metadata {
        version: Version::new(row.version),
        created_at: Timestamp::from_milliseconds(row.created),
        updated_at: Timestamp::from_milliseconds(row.updated),
        deleted: row.deleted,
    };
    Ok(Document::from_parts(path, metadata, Body::from_canonical(row.data.get())))
}

/// The source would quote the row, so it stays out.
fn damaged(_: serde_json::Error) -> Error {
    Error::new(ErrorKind::Internal, "").with_message("a stored row is damaged")
}
