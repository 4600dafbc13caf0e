//! The feed of accounts: each carries the transaction of its last write.
//!
//! As in the change log of documents, what is new is what a snapshot sees and an earlier one did not. There is no log here: an
//! account that is written again leaves the window it was in and is in a later one, so it is never missed, and nothing has to
//! be trimmed. Within a window accounts go by transaction, which is the order of the index.

use syntrix_storage_core::backend::UserChanges;
use syntrix_storage_core::{Error, ExpiredReason, Position, Result};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::account::record;
use crate::error::damaged;
use crate::position::{Anchor, LogPlace, Snapshot};
use crate::row::{unsigned, value};
use crate::session::Parameter;
use crate::store::Store;
use crate::users::CHANGE;

/// Tells places of accounts from those of documents, whose anchors have nonces from 0 on.
const BOUNDARY: Anchor = Anchor { sequence: 0, nonce: -1 };

/// At most `limit` accounts that were written behind `place`.
pub(crate) async fn since(store: &Store, place: &Position, limit: usize) -> Result<UserChanges> {
    let from = LogPlace::decode(place)?;
    let limit = limit.max(1);
    let rows = read(store, &from, limit).await?;
    let first = rows.first().ok_or_else(damaged)?;
    let (uncut, timeline) = (snapshot(first, CHANGE + 2)?, timeline(first, CHANGE + 4)?);
    // The highest transaction goes back where an older one has waited for the row: a place is measured by the server's own.
    let beyond = |snapshot: &Snapshot| snapshot.xmax > uncut.xmax;
    // Another server was promoted. It may have lost transactions and given out their numbers again.
    let is_other = from.timeline != 0 && timeline != from.timeline;
    if is_other || beyond(&from.seen) || from.window.as_ref().is_some_and(beyond) {
        return Err(Error::token_expired(ExpiredReason::Diverged, None));
    }
    let now = on_disk(uncut, first, CHANGE + 3)?;
    let there = rows.iter().filter(|row| !matches!(row.try_get(0), Ok(None::<&str>)));
    let full = there.clone().count() > limit;
    let end = from.window.clone().unwrap_or_else(|| now.clone());
    let is_behind = end != now;
    let last = there.clone().take(limit).last().filter(|_| full);
    let next = match last.map(anchor).transpose()? {
        Some(anchor) => LogPlace { seen: from.seen, window: Some(end), anchor, timeline },
        None => LogPlace { timeline, ..LogPlace::boundary(end, BOUNDARY) },
    };
    let records = there.take(limit).map(record).collect::<Result<_>>()?;
    Ok(UserChanges { records, end: next.encode(), more: full || is_behind })
}

/// One statement, hence one snapshot; at least one row, and one more than the limit if there are more.
async fn read(store: &Store, from: &LogPlace, limit: usize) -> Result<Vec<Row>> {
    let (xmax, open) = (from.seen.xmax_text(), from.seen.open_texts());
    let window = from.window.as_ref().map(Snapshot::to_text);
    let (last_xid, last_sequence) = match &from.window {
        Some(_) => (from.anchor.nonce.to_string(), from.anchor.sequence),
        None => ("0".to_owned(), 0),
    };
    let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let values: [Parameter<'_>; 6] = [
        (&xmax, Type::TEXT),
        (&open, Type::TEXT_ARRAY),
        (&last_xid, Type::TEXT),
        (&last_sequence, Type::INT8),
        (&window, Type::TEXT),
        (&one_more, Type::INT8),
    ];
    store.pool.session().await?.query(&store.texts.user_changes, &values).await
}

/// Where a row stands in its window.
fn anchor(row: &Row) -> Result<Anchor> {
    Ok(Anchor { sequence: value(row, CHANGE)?, nonce: value(row, CHANGE + 1)? })
}

/// The place behind the last write.
pub(crate) async fn end(store: &Store) -> Result<Position> {
    let rows = store.pool.session().await?.query(&store.texts.user_changes_end, &[]).await?;
    let row = rows.first().ok_or_else(damaged)?;
    let (now, timeline) = (on_disk(snapshot(row, 0)?, row, 1)?, timeline(row, 2)?);
    Ok(LogPlace { timeline, ..LogPlace::boundary(now, BOUNDARY) }.encode())
}

fn snapshot(row: &Row, column: usize) -> Result<Snapshot> {
    Snapshot::parse(value(row, column)?).ok_or_else(damaged)
}

/// The snapshot up to the transaction in a column.
fn on_disk(snapshot: Snapshot, row: &Row, column: usize) -> Result<Snapshot> {
    Ok(snapshot.up_to(unsigned(value(row, column)?)?))
}

fn timeline(row: &Row, column: usize) -> Result<u32> {
    Ok(value::<i32>(row, column)?.cast_unsigned())
}
