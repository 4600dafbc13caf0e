//! The change log: reading it from a place, its end, and cutting off its beginning.

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use syntrix_storage_core::backend::{Change, Feed, FeedPage};
use syntrix_storage_core::{
    Document, Error, ExpiredReason, Metadata, Position, Result, Timestamp, Version,
};

use crate::apply::event_from_code;
use crate::error::{damaged, from_sqlite};
use crate::readers::Snapshot;
use crate::row;

const FLOOR: &str = "SELECT floor_seq, floor_nonce, floor_at FROM metadata";
const ANCHOR: &str = "SELECT nonce FROM changes WHERE seq = ?1";
const OLDEST: &str = "SELECT committed_at FROM changes ORDER BY seq LIMIT 1";
const NEWEST: &str = "SELECT seq, nonce, committed_at FROM changes ORDER BY seq DESC LIMIT 1";
pub(crate) const PAGE: &str = "SELECT id,fullpath,version,created_at,updated_at,deleted,data,event,seq,nonce,committed_at,\
    before_version,before_created_at,before_updated_at,before_data \
    FROM changes WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3";
/// Commit times never decrease along the log, so what is too old is a prefix.
const LAST_TO_TRIM: &str = "SELECT seq, nonce, committed_at FROM \
    (SELECT seq, nonce, committed_at FROM changes ORDER BY seq LIMIT ?1) \
    WHERE committed_at < ?2 ORDER BY seq DESC LIMIT 1";

/// One change's number, nonce and time.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    sequence: i64,
    nonce: i64,
    committed_at: i64,
}

impl Anchor {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { sequence: row.get(0)?, nonce: row.get(1)?, committed_at: row.get(2)? })
    }

    fn position(self) -> Position {
        Position { sequence: self.sequence as u64, nonce: self.nonce as u64, state: Vec::new() }
    }
}

/// At most `limit` changes from `from` on, none behind `until`; one view for the checks and the rows.
pub(crate) fn feed(
    connection: &Connection,
    from: &Feed,
    until: Option<&Position>,
    limit: usize,
) -> Result<FeedPage> {
    let _snapshot = Snapshot::begin(connection)?;
    let floor = floor(connection)?;
    let start = match from {
        Feed::Oldest => floor.position(),
        Feed::After(position) => {
            check_anchor(connection, floor, position)?;
            position.clone()
        }
    };
    read_page(connection, start, until, limit.max(1))
}

fn read_page(
    connection: &Connection,
    start: Position,
    until: Option<&Position>,
    limit: usize,
) -> Result<FeedPage> {
    let until = until.map_or(i64::MAX, sequence);
    let failed = |error: rusqlite::Error| from_sqlite(&error);
    let mut statement = connection.prepare_cached(PAGE).map_err(failed)?;
    let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut rows = statement.query(params![sequence(&start), until, one_more]).map_err(failed)?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        if changes.len() == limit {
            return Ok(page(changes, start, true));
        }
        changes.push(change(row)?);
    }
    Ok(page(changes, start, false))
}

fn page(changes: Vec<Change>, start: Position, more: bool) -> FeedPage {
    let end = changes.last().map_or(start, |change| change.position.clone());
    FeedPage { changes, end, more }
}

/// Numbers alone do not tell a restored file from the one that made the token; the nonce of the change does.
fn check_anchor(connection: &Connection, floor: Anchor, position: &Position) -> Result<()> {
    let failed = |error: rusqlite::Error| from_sqlite(&error);
    if sequence(position) < floor.sequence {
        let oldest: Option<i64> = connection
            .prepare_cached(OLDEST)
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)).optional())
            .map_err(failed)?;
        let oldest = oldest.map(Timestamp::from_milliseconds);
        return Err(Error::token_expired(ExpiredReason::Trimmed, oldest));
    }
    let nonce = if sequence(position) == floor.sequence {
        Some(floor.nonce)
    } else {
        let mut statement = connection.prepare_cached(ANCHOR).map_err(failed)?;
        statement.query_row([sequence(position)], |row| row.get(0)).optional().map_err(failed)?
    };
    if nonce == Some(position.nonce as i64) {
        return Ok(());
    }
    Err(Error::token_expired(ExpiredReason::Diverged, None))
}

/// The place behind the last change, and its time; of an empty log its floor.
pub(crate) fn end(connection: &Connection) -> Result<(Position, Timestamp)> {
    let failed = |error: rusqlite::Error| from_sqlite(&error);
    let mut statement = connection.prepare_cached(NEWEST).map_err(failed)?;
    let newest = statement.query_row([], Anchor::read).optional().map_err(failed)?;
    let end = newest.map_or_else(|| floor(connection), Ok)?;
    Ok((end.position(), Timestamp::from_milliseconds(end.committed_at)))
}

/// Removes at most `limit` changes committed before `before`; the new floor is part of the same transaction.
pub(crate) fn trim(connection: &mut Connection, before: Timestamp, limit: usize) -> Result<usize> {
    trim_batch(connection, before, limit).map_err(|error| from_sqlite(&error))
}

fn trim_batch(
    connection: &mut Connection,
    before: Timestamp,
    limit: usize,
) -> rusqlite::Result<usize> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let last = transaction
        .prepare_cached(LAST_TO_TRIM)?
        .query_row(params![limit, before.as_milliseconds()], Anchor::read)
        .optional()?;
    let Some(last) = last else { return Ok(0) };
    let trimmed = transaction
        .prepare_cached("DELETE FROM changes WHERE seq <= ?1")?
        .execute([last.sequence])?;
    transaction
        .prepare_cached("UPDATE metadata SET floor_seq = ?1, floor_nonce = ?2, floor_at = ?3")?
        .execute(params![last.sequence, last.nonce, last.committed_at])?;
    transaction.commit()?;
    Ok(trimmed)
}

fn floor(connection: &Connection) -> Result<Anchor> {
    connection
        .prepare_cached(FLOOR)
        .and_then(|mut statement| statement.query_row([], Anchor::read))
        .map_err(|error| from_sqlite(&error))
}

fn sequence(position: &Position) -> i64 {
    i64::try_from(position.sequence).unwrap_or(i64::MAX)
}

fn change(row: &Row<'_>) -> Result<Change> {
    let document = row::document(row)?;
    let event_type = event_from_code(row::integer(row, 7)?).ok_or_else(damaged)?;
    let anchor = Anchor {
        sequence: row::integer(row, 8)?,
        nonce: row::integer(row, 9)?,
        committed_at: row::integer(row, 10)?,
    };
    Ok(Change {
        event_type,
        before: before(row, &document)?,
        document,
        commit_time: Timestamp::from_milliseconds(anchor.committed_at),
        position: anchor.position(),
    })
}

fn before(row: &Row<'_>, document: &Document) -> Result<Option<Document>> {
    if row::value(row, 11)? == rusqlite::types::ValueRef::Null {
        return Ok(None);
    }
    let metadata = Metadata {
        version: Version::new(row::integer(row, 11)?),
        created_at: Timestamp::from_milliseconds(row::integer(row, 12)?),
        updated_at: Timestamp::from_milliseconds(row::integer(row, 13)?),
        deleted: false,
    };
    Ok(Some(Document::from_parts(document.path().clone(), metadata, row::body(row, 14)?)))
}
