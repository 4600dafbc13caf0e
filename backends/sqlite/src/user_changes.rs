//! The feed of accounts: each stands at the number of its last write.

use rusqlite::{Connection, params};
use syntrix_storage_core::backend::UserChanges;
use syntrix_storage_core::{Error, ExpiredReason, Position, Result};

use crate::error::from_sqlite;
use crate::readers::Snapshot;
use crate::user_row::{columns, record};

/// By the number of the last write, which stands behind the record.
const CHANGES: &str = concat!(
    "SELECT ",
    columns!(),
    ",change_seq FROM users WHERE change_seq > ?1 ORDER BY change_seq LIMIT ?2"
);
/// Where the number stands in [`CHANGES`].
const CHANGE_NUMBER: usize = 26;
/// One look into an index.
const LAST: &str = "SELECT coalesce(max(change_seq), 0) FROM users";

/// The number of the last write of any account.
pub(crate) fn last_number(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached(LAST)?.query_row([], |row| row.get(0))
}

/// The place behind the last write.
pub(crate) fn end(connection: &Connection) -> Result<Position> {
    last_number(connection).map(place).map_err(|error| from_sqlite(&error))
}

/// At most `limit` accounts that were written behind `from`.
pub(crate) fn since(connection: &Connection, from: &Position, limit: usize) -> Result<UserChanges> {
    let failed = |error: rusqlite::Error| from_sqlite(&error);
    let _snapshot = Snapshot::begin(connection)?;
    let after = i64::try_from(from.sequence).unwrap_or(i64::MAX);
    if after > last_number(connection).map_err(failed)? {
        return Err(Error::token_expired(ExpiredReason::Diverged, None));
    }
    let limit = limit.max(1);
    let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut statement = connection.prepare_cached(CHANGES).map_err(failed)?;
    let mut rows = statement.query(params![after, one_more]).map_err(failed)?;
    let mut changes = UserChanges { records: Vec::new(), end: from.clone(), more: false };
    while let Some(row) = rows.next().map_err(failed)? {
        if changes.records.len() == limit {
            changes.more = true;
            break;
        }
        changes.end = place(row.get(CHANGE_NUMBER).map_err(failed)?);
        changes.records.push(record(row)?);
    }
    Ok(changes)
}

fn place(number: i64) -> Position {
    Position { sequence: number as u64, ..Position::default() }
}
