//! Rows to documents and back.

use rusqlite::Row;
use rusqlite::types::ValueRef;
use syntrix_storage_core::{
    Body, Document, DocumentId, DocumentPath, Metadata, Result, Timestamp, Version,
};

use crate::error::{damaged, from_sqlite};

/// What [`document`] reads, in its order.
pub(crate) const COLUMNS: &str = "id,fullpath,version,created_at,updated_at,deleted,data";

/// The document in a row of [`COLUMNS`].
pub(crate) fn document(row: &Row<'_>) -> Result<Document> {
    let path = path(row, 0)?;
    let (metadata, body) = (metadata(row, 2)?, body(row, 6)?);
    Ok(Document::from_parts(path, metadata, body))
}

/// The path in a key column and the column behind it.
#[inline]
pub(crate) fn path(row: &Row<'_>, column: usize) -> Result<DocumentPath> {
    let ValueRef::Blob(key) = value(row, column)? else { return Err(damaged()) };
    let key = key.try_into().map_err(|_| damaged())?;
    DocumentPath::from_stored(text(row, column + 1)?, DocumentId::from_bytes(key))
}

/// Version, times and tombstone mark in four columns.
#[inline]
pub(crate) fn metadata(row: &Row<'_>, column: usize) -> Result<Metadata> {
    Ok(Metadata {
        version: Version::new(integer(row, column)?),
        created_at: Timestamp::from_milliseconds(integer(row, column + 1)?),
        updated_at: Timestamp::from_milliseconds(integer(row, column + 2)?),
        deleted: integer(row, column + 3)? != 0,
    })
}

#[inline]
pub(crate) fn body(row: &Row<'_>, column: usize) -> Result<Body> {
    text(row, column).map(Body::from_canonical)
}

#[inline]
pub(crate) fn integer(row: &Row<'_>, column: usize) -> Result<i64> {
    match value(row, column)? {
        ValueRef::Integer(integer) => Ok(integer),
        _ => Err(damaged()),
    }
}

#[inline]
pub(crate) fn text<'row>(row: &'row Row<'_>, column: usize) -> Result<&'row str> {
    value(row, column)?.as_str().map_err(|_| damaged())
}

#[inline]
pub(crate) fn value<'row>(row: &'row Row<'_>, column: usize) -> Result<ValueRef<'row>> {
    row.get_ref(column).map_err(|error| from_sqlite(&error))
}
